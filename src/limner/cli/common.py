"""What several verbs have in common: options in words, and the progress bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from limner.errors import BadInput

if TYPE_CHECKING:
    from rich.progress import TaskID


def changes_in(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """name=value pairs as a config's values: JSON where it is JSON, text otherwise."""
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"{option} {pair}: write it as name=value, for example {option} width=64.")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes


def minutes_in(text: str) -> float:
    """A time such as 10m, 90s, 2h, or a plain number of minutes."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in tuple("smh") else (text, "m")
    try:
        minutes = float(number) * {"s": 1 / 60, "m": 1, "h": 60}[unit]
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < float("inf"):
        raise BadInput(f"--budget {text}: write it as 10m, 90s or 2h.")
    return minutes


def size_in(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()) or not 16 <= int(width) <= 8192 or not 16 <= int(height) <= 8192:
        raise BadInput(f"--size {text}: write width x height in pixels, each from 16 to 8192, for example 256x144.")
    return int(width), int(height)


class Bar:
    """A progress bar."""

    def __enter__(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.bars = Progress(
            BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[told]}"),
            console=Console(stderr=True), redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip
        self.task: TaskID | None = None
        return self

    def __exit__(self, *_: object) -> None:
        if self.task is not None:
            self.bars.stop()

    def listen(self, progress: Any) -> None:
        """Training has come this far."""
        from limner.jobs.training import describe, estimate

        if self.task is None and (line := estimate(progress)):
            self.tell(line)
        self.count(progress.step, progress.steps, describe(progress))

    def count(self, done: int, total: int, told: str = "") -> None:
        if self.task is None:
            self.bars.start()
            self.task = self.bars.add_task("", total=total, told=told)
        self.bars.update(self.task, completed=done, total=total, told=told)

    def tell(self, text: str) -> None:
        """A line that stays, above the bar."""
        self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
