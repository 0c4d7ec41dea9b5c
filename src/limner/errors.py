"""Errors that a person can act on.

Every message says what went wrong, where, and what to do next. The command line prints the message of a
`LimnerError` and exits with its `exit_code`; anything else that escapes is a defect of limner itself.
"""

from __future__ import annotations


class LimnerError(Exception):
    """Something that the user can mend. `str(error)` is the whole story, without a traceback."""

    exit_code = 1


class BadInput(LimnerError):
    """A file, an option or a text that limner can't use: wrong kind, damaged, empty, too large."""

    exit_code = 2


class BadPicture(BadInput):
    """A picture that can't be decoded within limner's limits."""


class BadCheckpoint(BadInput):
    """A weights file or run directory that is damaged, foreign or unsafe to read."""


class MissingExtra(LimnerError):
    """An optional dependency is not installed; the message names the command that installs it."""

    exit_code = 3

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part of limner. Install it with: pip install 'limner[{extra}]'")


class CannotDo(LimnerError):
    """A system was asked for an ability that it doesn't have."""


class NotFinite(LimnerError):
    """Training met NaN or infinity; the message names the step, the player and the loss term."""

    exit_code = 4


class DiskFull(LimnerError):
    """A write failed for want of space; what was there before is still there."""

    exit_code = 5


class Interrupted(LimnerError):
    """The user stopped a job (Ctrl-C); what was finished is kept."""

    exit_code = 130
