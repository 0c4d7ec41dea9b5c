"""The tasks of a film, from what film.toml says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from limner.film.estimate import CHARACTERS_PER_SECOND
from limner.film.graph import Chosen, Given, Input, Made, Task
from limner.film.illustrate import Illustrator, Likens, fingerprint, open_illustrator
from limner.film.project import Project, ProjectScene
from limner.film.stages import STAGES
from limner.film.store import Artefact, Json
from limner.film.timing import Shot, dissolve_frames, lay_out, shot_frames
from limner.film.voice import Voice, open_voice
from limner.rng import derive

TITLE = "title"  # the id of the shot that shows the title; scenes have numbers
ANIMATIC = "animatic/"  # before the slots of a rough film, which is kept beside the good one


@dataclass(frozen=True)
class Makers:
    """Who draws and who speaks, and the words by which their work is known."""

    illustrator: Illustrator
    voice: Voice
    illustrator_identity: str
    voice_identity: str


def open_makers(
    project: Project, folder: Path, *, illustrator: Illustrator | None = None, voice: Voice | None = None
) -> Makers:
    """Opens what film.toml names, unless it is given. Nothing heavy is loaded."""
    illustrator = illustrator or open_illustrator(project.pictures.illustrator, folder)
    identity = "" if voice is None else voice.name
    if voice is None:
        kind, _, rest = project.voice.name.partition(":")
        path = folder / rest
        if rest and path.exists():
            voice = open_voice(f"{kind}:{path}", project.story.language)
            files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
            identity = f"{kind}:{fingerprint(path, files)}"
        else:
            voice = open_voice(project.voice.name, project.story.language)
            identity = voice.name
    return Makers(illustrator, voice, illustrator.identity, identity)


def animatic_of(project: Project) -> Project:
    """The same film, rough: one candidate, few pixels, few frames."""
    height = min(project.film.height, 360)
    film = dataclasses.replace(project.film, height=height, fps=12, quality="draft")
    return dataclasses.replace(project, film=film, pictures=dataclasses.replace(project.pictures, candidates=1))


@dataclass(frozen=True)
class Plan:
    """Everything that there is to make for one film.

    `failed`: scene id -> message, for scenes that get a card instead of a picture. `mute`: ids of scenes that could
    not be spoken. `prefix` goes before every slot. `ready`: scene id -> the task of a good film's picture, which an
    animatic shows rather than draw its own.
    """

    project: Project
    folder: Path
    makers: Makers
    prefix: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)
    mute: frozenset[str] = frozenset()
    ready: Mapping[str, Task] = field(default_factory=dict)

    @property
    def shots(self) -> list[ProjectScene]:
        """The title, as a scene of its own, and the scenes."""
        story = self.project.story
        if not self.project.film.title_card or not story.title:
            return list(self.project.scene)
        spoken = ". ".join(filter(None, (story.title, story.author)))
        return [ProjectScene(TITLE, spoken, spoken), *self.project.scene]

    def tasks(self) -> list[Task]:
        """Every task but the joining, inputs first: voices, pictures, bodies of the shots, dissolves between them; and
        for the report, how alike the cast looks."""
        shots = self.shots
        return [
            *(self._voice(scene) for scene in shots),
            *(self._cues(scene) for scene in self.project.scene),
            *(
                self._picture(scene) for scene in sorted(shots, key=lambda scene: scene.id == TITLE)
            ),  # it shows the first
            *(self._likeness(noun, scenes) for noun, scenes in self.cast().items()),
            *(self._body(scene) for scene in shots),
            *(self._dissolve(before, after) for before, after in pairwise([None, *shots, None])),
        ]

    def picture_tasks(self) -> dict[str, Task]:
        """Scene id -> the task that makes its pictures."""
        return {scene.id: self._picture(scene) for scene in self.project.scene}

    def slot(self, id: str | None, what: str) -> str:
        """The place of an artefact: "scene 03/voice", "title/body"."""
        return f"{self.prefix}{_name(id)}/{what}"

    def picture_slot(self, id: str) -> str:
        return self.ready[id].slot if id in self.ready and id not in self.failed else self.slot(id, "pictures")

    def segment_slots(self) -> list[str]:
        """The slots of the film's pieces in the order in which they are joined."""
        slots = []
        for before, after in pairwise([None, *(scene.id for scene in self.shots), None]):
            slots.append(self._dissolve_slot(before, after))
            if after is not None:
                slots.append(self.slot(after, "body"))
        return slots

    def cast(self) -> dict[str, list[ProjectScene]]:
        """Each noun that several scenes show, and these scenes."""
        shown: dict[str, list[ProjectScene]] = {}
        for scene in self.project.scene:
            if scene.id not in self.failed:
                for noun in dict.fromkeys(scene.cast):
                    shown.setdefault(noun, []).append(scene)
        return {noun: scenes for noun, scenes in shown.items() if len(scenes) > 1}

    def likeness_slot(self, noun: str) -> str:
        return f"{self.prefix}cast {noun}/likeness"

    def times(self, made: Mapping[str, Artefact]) -> list[Shot]:
        """The shots as the voices time them; a voice that is not there yet is guessed by the length of its text."""
        seconds = []
        for scene in self.shots:
            artefact = made.get(self.slot(scene.id, "voice"))
            if artefact:
                facts = artefact.read_json("voice.json")
                seconds.append(facts["samples"] / facts["rate"])
            else:
                seconds.append(_guessed(scene))
        return lay_out(seconds, self.project.film.fps)

    def chosen(self, scene: ProjectScene) -> Chosen:
        if scene.id in self.failed or scene.id == TITLE:
            return Chosen(self.picture_slot(scene.id), None, "")
        return Chosen(self.picture_slot(scene.id), scene.pick, scene.picked)

    def _voice(self, scene: ProjectScene) -> Task:
        slot = self.slot(scene.id, "voice")
        if scene.id in self.mute:
            return _task(slot, "silence", {"seconds": min(max(round(_guessed(scene), 2), 2.5), 20.0)}, scene.id, 1)
        recorded = self.makers.voice_identity.startswith("recorded")  # the only voice that goes by a scene's place
        parameters = {
            "voice": self.makers.voice_identity,
            "language": self.project.story.language,
            "text": scene.narration,
            "number": self._number(scene) if recorded else 0,
        }
        return _task(slot, "voice", parameters, scene.id, len(scene.narration))

    def _picture(self, scene: ProjectScene) -> Task:
        project, slot, size = self.project, self.slot(scene.id, "pictures"), list(self.project.film.size)
        parameters: dict[str, Json]
        if scene.id in self.failed:
            name = "Title" if scene.id == TITLE else f"Scene {self._number(scene)}"
            reason = f"{name}: {self.failed[scene.id]}"
            return _task(slot, "failure", {"text": scene.narration, "reason": reason, "size": size}, scene.id, 1)
        if scene.id == TITLE:
            story = project.story
            parameters = {"title": story.title, "author": story.author, "language": story.language, "size": size}
            cover = next((other for other in project.scene if other.id not in self.failed), None)
            inputs = {"picture": self.chosen(cover)} if cover else {}
            return _task(slot, "title", parameters, scene.id, 1, **inputs)
        if scene.id in self.ready:
            return self.ready[scene.id]
        if scene.picture:
            return _task(slot, "own picture", {"size": size}, scene.id, 1, picture=Given(self.folder / scene.picture))
        parameters = {
            "illustrator": self.makers.illustrator_identity,
            "prompt": scene.prompt or scene.narration,
            "count": project.pictures.candidates,
            "seed": derive(project.pictures.seed, "picture", scene.id) % 2**32,
            "size": size,
            "number": self._number(scene) if self.makers.illustrator.ordered else 0,
        }
        return _task(slot, "pictures", parameters, scene.id, project.pictures.candidates)

    def _likeness(self, noun: str, scenes: Sequence[ProjectScene]) -> Task:
        """An illustrator that can compare one character in two pictures does so; for others whole pictures are compared
        by their colours, which is a much weaker statement and is named as such."""
        protocol = "colours of the whole pictures"
        if isinstance(self.makers.illustrator, Likens):
            protocol = f"{self.makers.illustrator_identity}'s own comparison of the character"
        parameters = {"noun": noun, "scenes": [scene.id for scene in scenes], "protocol": protocol}
        inputs = {f"scene {scene.id}": self.chosen(scene) for scene in scenes}
        return _task(self.likeness_slot(noun), "likeness", parameters, "", len(scenes), **inputs)

    def _cues(self, scene: ProjectScene) -> Task:
        parameters = {
            "text": scene.narration,
            "language": self.project.story.language,
            "drawn": self._captioned(scene),
            "letters": 26 if self.project.film.aspect == "9:16" else 42,
        }
        voice = Made(self.slot(scene.id, "voice"), "voice.json")
        return _task(self.slot(scene.id, "cues"), "cues", parameters, scene.id, len(scene.narration), voice=voice)

    def _body(self, scene: ProjectScene) -> Task:
        captioned = self._captioned(scene)
        parameters = {
            **self._look(),
            "move": self._move(scene),
            "captions": self.project.film.captions if captioned else "none",
            "language": self.project.story.language,
        }
        voice = Made(self.slot(scene.id, "voice"), "voice.json")
        inputs: dict[str, Input] = {"picture": self.chosen(scene), "voice": voice}
        if captioned:
            inputs["cues"] = Made(self.slot(scene.id, "cues"), "cues.json")
        width, height = self.project.film.size
        frames = shot_frames(_guessed(scene), self.project.film.fps)
        units = frames * width * height / 1e6
        return _task(self.slot(scene.id, "body"), "body", parameters, scene.id, units, **inputs)

    def _dissolve(self, before: ProjectScene | None, after: ProjectScene | None) -> Task:
        inputs: dict[str, Input] = {}
        moves: dict[str, Json] = {}
        for side, scene in (("from", before), ("to", after)):
            if scene is not None:
                moves[f"{side} move"] = self._move(scene)
                inputs[f"{side}_picture"] = self.chosen(scene)
        slot = self._dissolve_slot(before.id if before else None, after.id if after else None)
        width, height = self.project.film.size
        units = dissolve_frames(self.project.film.fps) * width * height / 1e6
        return _task(slot, "dissolve", {**self._look(), **moves}, "", units, **inputs)

    def _captioned(self, scene: ProjectScene) -> bool:
        return scene.id not in self.failed and scene.id != TITLE and self.project.film.captions != "none"

    def _look(self) -> dict[str, Json]:
        film = self.project.film
        return {"size": list(film.size), "fps": film.fps, "quality": film.quality}

    def _move(self, scene: ProjectScene) -> Json:
        """What plans the camera's path; None for cards, whose text must stand still."""
        if scene.id in self.failed or scene.id == TITLE:
            return None
        return [self.project.pictures.seed, derive(0, "move", scene.id) % 2**16]

    def _number(self, scene: ProjectScene) -> int:
        return 0 if scene.id == TITLE else [other.id for other in self.project.scene].index(scene.id) + 1

    def _dissolve_slot(self, before: str | None, after: str | None) -> str:
        return f"{self.prefix}{_name(before)} to {_name(after)}/dissolve"


def _name(id: str | None) -> str:
    return "black" if id is None else TITLE if id == TITLE else f"scene {id}"


def _guessed(scene: ProjectScene) -> float:
    """Seconds that a narration will take, before it is spoken."""
    return len(scene.narration) / CHARACTERS_PER_SECOND


def _task(slot: str, stage: str, parameters: Mapping[str, Json], scene: str, units: float, **inputs: Input) -> Task:
    named = {name.replace("_", " "): source for name, source in inputs.items()}
    return Task(slot, stage, STAGES[stage][0], parameters, named, units, scene)
