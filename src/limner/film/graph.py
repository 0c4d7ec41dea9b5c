"""The film as a graph of tasks, and what is fresh, stale, missing or failed in it.

A task says where in the film its result belongs (the slot), which stage makes it, from what parameters and from which
files. Its key follows from these and from nothing else, through `store.key_of`; `scan` (which only looks) and the
builder of `pipeline.py` (which makes) both go through `resolve`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from limner.film.store import Artefact, Entry, Json, Store, key_of, sha256_of

State = Literal["fresh", "stale", "missing", "failed"]


@dataclass(frozen=True)
class File:
    """A file that exists, and its sha256."""

    path: Path
    digest: str


class Input(Protocol):
    """Where a task finds a file."""

    def find(self, made: Mapping[str, Artefact]) -> File | None:
        """The file, or None while the artefact that holds it isn't there."""
        ...


@dataclass(frozen=True)
class Made:
    """A file of another task's artefact."""

    slot: str
    name: str

    def find(self, made: Mapping[str, Artefact]) -> File | None:
        artefact = made.get(self.slot)
        return File(artefact.path(self.name), artefact.files[self.name]) if artefact else None


@dataclass(frozen=True)
class Given:
    """A person's own file."""

    path: Path

    def find(self, made: Mapping[str, Artefact]) -> File | None:
        try:
            return File(self.path, sha256_of(self.path))
        except OSError:
            return File(self.path, "")  # the stage that opens it says what is wrong


@dataclass(frozen=True)
class Chosen:
    """The picture that was picked among a scene's candidates, by a person or by score."""

    slot: str
    pick: int | None
    picked: str

    def find(self, made: Mapping[str, Artefact]) -> File | None:
        artefact = made.get(self.slot)
        if artefact is None:
            return None
        name = choose_candidate(artefact, self.pick, self.picked).name
        return File(artefact.path(name), artefact.files[name])


@dataclass(frozen=True)
class Choice:
    """Which candidate is shown. `stale`: a person chose, but among other pictures than these."""

    name: str
    number: int  # from 1
    by: Literal["person", "score"]
    stale: bool


def choose_candidate(artefact: Artefact, pick: int | None, picked: str) -> Choice:
    """A person's choice holds for the picture that was seen, wherever it stands now. `picked` is the number and the
    beginning of the sha256 of that picture; where it is missing or has another number, `pick` was edited by hand and
    holds for the number. Without a choice, or with a stale one, the best score wins."""
    candidates: list[Json] = artefact.read_json("pictures.json")["candidates"]
    names = [candidate["file"] for candidate in candidates]
    best = max(range(len(names)), key=lambda index: (candidates[index]["score"], -index))
    by_score = Choice(names[best], best + 1, "score", pick is not None)
    if pick is None:
        return by_score
    number, _, digest = picked.partition(":")
    if number == str(pick) and digest:
        seen = [place for place, name in enumerate(names, 1) if artefact.files[name].startswith(digest)]
        return Choice(names[seen[0] - 1], seen[0], "person", False) if seen else by_score
    return Choice(names[pick - 1], pick, "person", False) if pick <= len(names) else by_score


def pin(artefact: Artefact, pick: int) -> str:
    """What `picked` says of a choice: the number, and which picture it was."""
    name = artefact.read_json("pictures.json")["candidates"][pick - 1]["file"]
    return f"{pick}:{artefact.files[name][:16]}"


@dataclass(frozen=True)
class Task:
    slot: str  # "scene 03/voice"
    stage: str
    version: int
    parameters: Mapping[str, Json]
    inputs: Mapping[str, Input] = field(default_factory=dict)
    units: float = 1.0  # expected work, in the stage's unit (see estimate.py)
    scene: str = ""  # id of the scene that fails when this fails


def resolve(task: Task, made: Mapping[str, Artefact]) -> dict[str, File] | None:
    """The files that a task reads, or None while one is missing."""
    files = {name: source.find(made) for name, source in task.inputs.items()}
    found = {name: file for name, file in files.items() if file is not None}
    return found if len(found) == len(files) else None


def task_key(task: Task, files: Mapping[str, File]) -> str:
    return key_of(task.stage, task.version, task.parameters, {name: file.digest for name, file in files.items()})


@dataclass(frozen=True)
class Line:
    """The state of one slot. `why` is empty when it is fresh."""

    slot: str
    state: State
    why: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.state:8} {self.slot}" + (f"  ({self.why})" if self.why else "")


def scan(tasks: Sequence[Task], store: Store) -> tuple[list[Line], dict[str, Artefact]]:
    """The state of every task (in the order given, inputs first) and the artefacts that are fresh. Changes nothing."""
    entries = store.entries()
    failed: dict[str, Entry] = {entry.key: entry for entry in entries if entry.result == "failed"}
    ever = {entry.slot: entry for entry in entries if entry.result == "made"}
    made: dict[str, Artefact] = {}
    lines = []
    for task in tasks:
        files = resolve(task, made)
        if files is None:
            waits = next(slot for source in task.inputs.values() if (slot := getattr(source, "slot", "")) not in made)
            lines.append(Line(task.slot, "stale" if task.slot in ever else "missing", f"needs {waits}"))
            continue
        key = task_key(task, files)
        artefact = store.find(key)
        if artefact is not None:
            made[task.slot] = artefact
            lines.append(Line(task.slot, "fresh", "", artefact.folder))
        elif key in failed:
            lines.append(Line(task.slot, "failed", failed[key].error))
        elif store.exists(key):
            lines.append(Line(task.slot, "missing", "damaged"))
        elif task.slot in ever:
            lines.append(Line(task.slot, "stale", difference(store.recipe(ever[task.slot].key), task, files)))
        else:
            lines.append(Line(task.slot, "missing", "new"))
    return lines, made


def difference(recipe: Mapping[str, Json] | None, task: Task, files: Mapping[str, File]) -> str:
    """Why an artefact is not what the task asks for: "changed: prompt, seed"."""
    if recipe is None:
        return "the last one is gone"
    now = {**task.parameters, **{name: file.digest for name, file in files.items()}}
    before = {**recipe["parameters"], **recipe["inputs"]}
    if recipe["stage"] != task.stage:
        return f"was made by another stage ({recipe['stage']})"
    if recipe["version"] != task.version:
        return "limner makes it differently now"
    changed = [name for name in sorted({*now, *before}) if now.get(name) != before.get(name)]
    return f"changed: {', '.join(changed)}" if changed else "the last one is gone"
