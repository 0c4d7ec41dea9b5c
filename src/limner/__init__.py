"""limner: what a person can say, show or pose becomes pictures and films.

import limner
drawing = limner.load("storybook").draw("a fox under a tree at night", count=4)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.system import System

__version__ = "0.1.0"


def load(name: str | Path) -> System:
    """A system with its weights: a shipped model's name, a run, a model or diffusers folder, a single file."""
    from limner.hub import load

    return load(name)


def catalogue() -> tuple[str, ...]:
    """The names of the systems that limner has."""
    from limner.systems import TABLE

    return tuple(TABLE)
