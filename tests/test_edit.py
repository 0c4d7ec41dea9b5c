"""Editing by words: the ability, the verb, and projects of several turns."""

from __future__ import annotations

import numpy as np
import pytest

from limner.errors import CannotDo
from limner.system import Drawing, Edits
from limner.systems import require


class Inverts:
    """Edits by turning every picture into its negative."""

    def edit(self, picture: np.ndarray, words: str, *, count: int = 1, seed: int = 0) -> Drawing:
        seeds = tuple(range(seed, seed + count))
        return Drawing(np.stack([255 - picture for _ in seeds]), None, seeds)


def test_what_edits_is_known_by_its_method() -> None:
    require(Inverts(), Edits, name="inverts")
    with pytest.raises(CannotDo, match=r"storybook can't edit pictures by words. Systems that can:"):
        require(object(), Edits, name="storybook")
