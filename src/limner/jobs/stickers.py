"""Jobs of the Sticker World's verbs that need more than one room of the house."""

from __future__ import annotations

from pathlib import Path

from limner.hub import save
from limner.stickers.codes import fit_book
from limner.systems.text.patch_codes import PatchCodes


def make_book(out: Path, *, codes: int, layers: bool, scenes: int, rounds: int, seed: int) -> str:
    """Fit a book of patches and save it; says how good it is."""
    from rich.progress import Progress

    with Progress() as bars:
        bar = bars.add_task("fitting", total=rounds)
        book = fit_book(
            PatchCodes.Config(codes, channels=4 if layers else 3), scenes, seed=seed, rounds=rounds,
            told=lambda done, error: bars.update(bar, completed=done),
        )  # fmt: skip
    what = f"the layers of {scenes}" if layers else str(scenes)
    save(
        book, "patch-codes", out, card=f"A book of {codes} patches, fitted to {what} storybook scenes (seed {seed}).\n"
    )
    return str(out)
