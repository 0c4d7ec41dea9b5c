"""How a long job tells what it is doing: a callback object, so that the library itself prints nothing."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import TaskID

    from limner.film.estimate import Estimate


class Progress(Protocol):
    """Hears of everything that a person may want to see while a film is made."""

    def estimated(self, estimate: Estimate) -> None:
        """What there is to do, before it begins."""

    def begin(self, stage: str, total: int) -> None:
        """`total` artefacts of `stage` are to be made."""

    def advance(self, stage: str) -> None:
        """One of them is finished (or failed, with a note)."""

    def note(self, message: str) -> None:
        """Something a person should read: a failure, a stale choice, unknown words."""


class Silent:
    """Says nothing: the default of the library."""

    def estimated(self, estimate: Estimate) -> None: ...

    def begin(self, stage: str, total: int) -> None: ...

    def advance(self, stage: str) -> None: ...

    def note(self, message: str) -> None: ...


class Bars:
    """Progress bars in the terminal, one for each stage. Use it as a context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self._console, transient=not self._console.is_terminal,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def estimated(self, estimate: Estimate) -> None:
        self._console.print(str(estimate), highlight=False, markup=False, soft_wrap=True)

    def begin(self, stage: str, total: int) -> None:
        self._bars.start()  # not before: a question may be asked after the estimate
        for name in self._tasks:  # the clock of a finished stage stands still
            self._bars.stop_task(self._tasks[name])
        self._tasks[stage] = self._bars.add_task(stage, total=total)

    def advance(self, stage: str) -> None:
        self._bars.advance(self._tasks[stage])

    def note(self, message: str) -> None:
        self._bars.console.print(message, highlight=False, markup=False, soft_wrap=True)
