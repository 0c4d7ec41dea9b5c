"""Puts the trained parts together as the model folder that limner ships: assemble.py RUNS OUT."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from limner.hub import load, save
from limner.runs import Run
from limner.systems.text.storybook import Storybook

PARTS = {
    "planner": "dalle-mini",
    "painter": "layout-painter",
    "book": "patch-codes",
    "codec": "patch-codes",
    "judge": "dual-encoder",
    "upscaler": "upscaler",
}

CARD = """---
license: apache-2.0
tags: [text-to-image, limner]
---
# storybook

Draws flat picture-book scenes from words: {nouns} nouns, in places, by day, at dusk and at night. It ships with limner.

| part | system | made by | numbers |
|---|---|---|---|
{rows}

Data: scenes of the Sticker World (Fluent Emoji, MIT, composed by a program; drawn anew for every sample, never stored).
Held-out combinations of nouns, place and time are kept out of every sample.
Hardware: a machine with 2 CPU cores, bf16 autocast. The commands are in `recipes/storybook/make.sh`; the scores are in
`docs/results/storybook.md`.

Limits: clear weather, one size, no colours, up to five things. Two of a kind look alike. What it has no word for is
listed, not drawn.
"""


def main(runs: Path, out: Path) -> None:
    parts = {name: load(runs / name) for name in PARTS}
    config = Storybook.Config(**{name: part.config for name, part in parts.items()})
    storybook = Storybook(config)
    rows = []
    for name, part in parts.items():
        getattr(storybook, name).load_state_dict(part.state_dict())
        made = "patches of scenes of the training side"
        if samples := sum(_samples(Run(path)) for path in runs.glob(f"{name}*")):  # its first run and those after
            made = f"{samples:,} samples"
        count = sum(tensor.numel() for tensor in part.state_dict().values())
        rows.append(f"| {name} | {PARTS[name]} | {made} | {count:,} |")
    from limner.stickers.vocabulary import storybook_nouns

    card = CARD.format(nouns=len(storybook_nouns()), rows="\n".join(rows))
    save(storybook, "storybook", out / "storybook", card=card, half=True)
    reader_card = "# sticker-reader\n\nNames what a Sticker World picture shows. See docs/systems/sticker-reader.md.\n"
    save(load(runs / "reader"), "sticker-reader", out / "sticker-reader", card=reader_card, half=True)


def _samples(run: Run) -> int:
    """How many samples a run has trained on."""
    known = run.config() or {}
    if "options" not in known:
        return 0
    step: int = json.loads((run.checkpoints[-1] / "state.json").read_text())["step"]
    return step * int(known["options"]["batch"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
