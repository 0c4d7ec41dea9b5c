"""Puts the trained parts together as the editor that limner ships: assemble.py RUNS OUT [--planner RUN]."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from limner.hub import load, save
from limner.runs import Run
from limner.stickers.orders import script
from limner.systems.text.storybook_edit import StorybookEdit

PARTS = {"eyes": "sticker-reader", "planner": "dalle-mini", "retoucher": "retoucher"}

CARD = """---
license: apache-2.0
tags: [image-editing, limner]
---
# storybook-edit

Changes Sticker World pictures by words: adds, removes, replaces, moves, swaps, counts, paints and resizes things, and
changes place, time, season, weather and style. It ships with limner, and paints what is new with the storybook.

| part | system | made by | numbers |
|---|---|---|---|
{rows}

Data: scenes of the Sticker World (Fluent Emoji and Noto Emoji, composed by a program; drawn anew for every sample,
never stored), their edits and the instructions of a grammar. Held-out combinations of nouns, place and time are kept
out. Hardware: a machine with 2 CPU cores, bf16 autocast. The commands are in `recipes/storybook-edit/make.sh`; the
scores are in `docs/results/editing.md`.

Limits: the Sticker World's pictures and the grammar's words; at most five steps an instruction and eight things a
picture. Everything is seen, and changed, at 256 x 144.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--planner", type=Path, help="another planner's run")
    options = parser.parse_args()
    runs = {name: options.runs / name for name in PARTS}
    if options.planner:
        runs["planner"] = options.planner
    parts = {name: load(run) for name, run in runs.items()}
    configs = {name: part.config for name, part in parts.items()}
    editor = StorybookEdit(StorybookEdit.Config(script=script(), **configs))
    rows = []
    for name, part in parts.items():
        getattr(editor, name).load_state_dict(part.state_dict())
        count = sum(tensor.numel() for tensor in part.state_dict().values())
        rows.append(f"| {name} | {PARTS[name]} | {_samples(Run(runs[name])):,} samples | {count:,} |")
    save(editor, "storybook-edit", options.out, card=CARD.format(rows="\n".join(rows)), half=True)


def _samples(run: Run) -> int:
    step: int = json.loads((run.checkpoints[-1] / "state.json").read_text())["step"]
    return step * int((run.config() or {})["options"]["batch"])


if __name__ == "__main__":
    main()
