"""What a film will cost in time and disk, before anything is begun.

A first guess comes from the table below (measured on two CPU cores); as soon as the project's ledger has measured
times of a stage on this machine, these take its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.errors import DiskFull
from limner.film.graph import Line, Task
from limner.film.store import Entry

CHARACTERS_PER_SECOND = 14.0  # of unhurried speech; only used before a text has been spoken
_RECENT = 40  # ledger lines of a stage that count

# stage -> (seconds, bytes) for a unit of work, and what the unit is
RATES: Mapping[str, tuple[float, float, str]] = {
    "write": (5.0, 2_000, "scenes"),
    "pictures": (4.0, 700_000, "pictures"),
    "own picture": (0.15, 1_000_000, "pictures"),
    "title": (0.2, 60_000, "cards"),
    "voice": (0.006, 3_200, "characters"),
    "likeness": (0.15, 300, "pictures"),
    "silence": (0.01, 100_000, "voices"),
    "cues": (0.001, 40, "characters"),
    "body": (0.035, 9_000, "megapixels of frames"),
    "dissolve": (0.04, 9_000, "megapixels of frames"),
    "film": (0.04, 250_000, "seconds of film"),
}


@dataclass(frozen=True)
class Row:
    stage: str
    count: int  # artefacts
    seconds: float
    bytes: float
    measured: bool  # on this machine, rather than from the table


@dataclass(frozen=True)
class Estimate:
    rows: tuple[Row, ...]
    ready: int  # artefacts that are fresh already
    free: int  # bytes on the project's disk

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    @property
    def bytes(self) -> float:
        return sum(row.bytes for row in self.rows)

    def check_disk(self, project: Path) -> None:
        """Raises `DiskFull` now rather than half-way."""
        if self.bytes > self.free:
            raise DiskFull(
                f"The film needs about {self.bytes / 1e6:.0f} MB, and the disk of {project} has "
                f"{self.free / 1e6:.0f} MB left. Nothing was begun. Free some space, or use --project on another disk."
            )

    def __str__(self) -> str:
        if not self.rows:
            return f"Everything is fresh ({self.ready} artefacts): nothing to make."
        parts = ", ".join(f"{row.count} x {row.stage} {duration(row.seconds)}" for row in self.rows)
        kept = f"; {self.ready} are fresh" if self.ready else ""
        return (
            f"To make: {parts}{kept}. In all about {duration(self.seconds)} and {self.bytes / 1e6:.0f} MB "
            f"({self.free / 1e9:.1f} GB free)."
        )


def estimate(
    tasks: Sequence[Task], lines: Sequence[Line], entries: Sequence[Entry], project: Path, *,
    seconds_per_picture: float, film_seconds: float, film_fresh: bool,
) -> Estimate:  # fmt: skip
    """The cost of every task whose line is not fresh, and of joining a film of `film_seconds` unless that is fresh."""
    todo = [task for task, line in zip(tasks, lines, strict=True) if line.state != "fresh"]
    work: dict[str, list[float]] = {}
    for task in todo:
        work.setdefault(task.stage, []).append(task.units)
    if todo or not film_fresh:
        work["film"] = [film_seconds]
    rows = []
    for stage, units in work.items():
        seconds, size, _ = RATES[stage]
        recent = [entry for entry in entries if entry.stage == stage and entry.result == "made" and entry.units][
            -_RECENT:
        ]
        if recent:
            seconds = sum(entry.seconds for entry in recent) / sum(entry.units for entry in recent)
            size = sum(entry.bytes for entry in recent) / sum(entry.units for entry in recent)
        elif stage == "pictures":
            seconds = seconds_per_picture
        rows.append(Row(stage, len(units), seconds * sum(units), size * sum(units), bool(recent)))
    return Estimate(tuple(rows), len(tasks) - len(todo), shutil.disk_usage(project).free)


def duration(seconds: float) -> str:
    """ "under 1 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
