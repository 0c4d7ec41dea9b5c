"""What a data set of pairs costs before one is drawn: evaluations, operations, hours, disk.

The operations are those of Stable Diffusion v1 at 512 x 512 and CLIP ViT-L/14, counted on the networks; the share of
prompts that keep a pair, and the bytes of a picture, are those of the published sets (313,010 of 451,990 prompts; 727
GB of 4 pairs each without a filter, 436 GB with one).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from limner.errors import BadInput

ROW = 0.803e12  # operations of the U-Net for one row of a batch
DECODED = 5.0e12  # for both pictures of a pair
SCORED = 0.3e12
ROWS = 4  # of a pair: both captions, with and without words
PICTURE = 727e9 / (451_990 * 4 * 2)  # bytes of a JPEG at quality 100
YIELD = 313_010 / 451_990
KEPT = 436e9 / (2 * PICTURE) / 313_010  # pairs of a prompt that keeps any
SCORE_LINE = 230  # bytes
LATENTS = 2 * 3 * 4 * 32 * 32 * 2  # bytes of a pair at 256 x 256, mirrored too


def cost(captions: int, samples: int, steps: Sequence[int], teraflops: float, accelerators: int) -> Iterator[str]:
    """A table, a column for each number of steps. teraflops: what one accelerator sustains"""
    if min(captions, samples, accelerators, *steps) < 1 or not steps or teraflops <= 0:
        raise BadInput("--captions, --samples, --steps and --accelerators are at least 1, and --teraflops above 0.")
    pairs = captions * samples
    evaluations = [pairs * ROWS * count for count in steps]
    work = [rows * ROW + pairs * (DECODED + SCORED) for rows in evaluations]
    hours = [operations / (teraflops * 1e12) / 3600 for operations in work]
    kept = captions * YIELD * KEPT
    rows = {
        "captions": [f"{captions:,}"],
        "pairs that are drawn and scored": [_short(pairs)],
        "U-Net evaluations, 4 rows a pair and step": [_short(count) for count in evaluations],
        "operations, decoding and scoring included": [f"{count:.2g}" for count in work],
        f"hours of one accelerator at {teraflops:g} TFLOPS": [f"{count:,.0f}" for count in hours],
        f"days of {accelerators:,}": [f"{count / 24 / accelerators:,.1f}" for count in hours],
        "pairs kept, at the published yield": [_short(kept)],
        "disk: pictures of what is kept": [f"{kept * 2 * PICTURE / 1e9:,.0f} GB"],
        "disk: all scores": [f"{pairs * SCORE_LINE / 1e9:,.1f} GB"],
        "disk: latents to train on": [f"{kept * LATENTS / 1e9:,.0f} GB"],
    }
    yield "| | " + " | ".join(f"{count} steps" for count in steps) + " |"
    yield "|---|" + "---|" * len(steps)
    for what, values in rows.items():
        yield f"| {what} | " + " | ".join(values * (len(steps) // len(values))) + " |"


def _short(count: float) -> str:
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:,.0f}"
