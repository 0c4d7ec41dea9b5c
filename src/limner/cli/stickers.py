"""`limner stickers`: the Sticker World."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from limner.cli.common import size_in

if TYPE_CHECKING:
    import tyro


@dataclass
class Fetch:
    """Get the Sticker World's art: npm packages, hash and licence checked.

    Example: limner stickers fetch
    """

    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """A folder with the packages (.tgz or unpacked) instead of npm."""
    force: bool = False
    """Get it anew although it is there."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.stickers.art import fetch

        print(fetch(source=self.source, force=self.force))
        return 0


@dataclass
class Show:
    """Draw a contact sheet of every kind of Sticker World data.

    Example: limner stickers show -o sheets
    """

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("sheets")
    """Folder for the sheets."""
    seed: int = 0
    """Other seeds show other scenes."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.stickers.sheet import show

        for path in show(self.out, seed=self.seed):
            print(path)
        return 0


@dataclass
class Make:
    """Make a folder of Sticker World data.

    Example: limner stickers make edits --count 1000 --size 256x144 -o edits
    """

    kind: tyro.conf.Positional[Literal["captioned", "edits", "paired", "unpaired", "labelled"]]
    """What kind of data."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder."""
    count: int = 100
    """How many samples."""
    size: str = "256x144"
    """Width x height in pixels."""
    seed: int = 0
    """Sample i is a function of the seed and i."""
    split: Literal["train", "held-out"] = "train"
    """Held-out scenes have combinations of nouns, place and time that training never shows."""
    pairing: Literal["lines", "labels", "night"] = "lines"
    """Of paired data: line drawing to colour, label map to scene, or day to night."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.stickers.folders import make

        make(
            self.kind, self.count, size_in(self.size), self.out, seed=self.seed, split=self.split, pairing=self.pairing
        )  # fmt: skip
        print(self.out)
        return 0


@dataclass
class Book:
    """Fit a book of patches to storybook scenes: a codec for models that write pictures in codes.

    Example: limner stickers book --codes 8192 -o book
    """

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The model folder."""
    codes: int = 8192
    """Entries of the book."""
    layers: bool = False
    """Of places and of things alone, which are laid one over the other, instead of whole scenes."""
    scenes: int = 5000
    """How many scenes it is fitted to."""
    rounds: int = 8
    """Rounds of Lloyd's algorithm."""
    seed: int = 0
    """Scene i is a function of the seed and i."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.stickers import make_book

        print(
            make_book(
                self.out, codes=self.codes, layers=self.layers, scenes=self.scenes, rounds=self.rounds, seed=self.seed
            )
        )
        return 0
