"""Text2LIVE's names for its generator (omerbt/Text2LIVE, MIT). Weights aren't published: each picture has its own.

Its program numbers the members of nested sequences from 1: those of a scale lie in the seventh member of the way down
at the scale above.
"""

from __future__ import annotations

LAYERS = {
    "1.0.1.1": "skip.0",
    "1.0.2": "skip.1",
    "1.1.1.1": "deep.0.0",
    "1.1.2": "deep.0.1",
    "1.1.4.1": "deep.1.0",
    "1.1.5": "deep.1.1",
    "2": "joined",
    "3.1": "up.0",
    "4": "up.1",
    "6.1": "mix.0",
    "7": "mix.1",
}
"""Of one scale. The topmost has no normalisation at the end, so that its 7 is none."""

CONVOLUTION, NORM = ("weight", "bias"), ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def names(scales: int) -> dict[str, str]:
    """Every published name of a generator with so many scales -> ours."""
    found = {f"8.1.{what}": f"paint.{what}" for what in CONVOLUTION} | {"9.colcorr_t": "decorrelation"}
    for scale in range(scales):
        for theirs, ours in LAYERS.items():
            if scale or theirs != "7":
                kinds = CONVOLUTION if theirs.endswith(".1") else NORM
                found |= {f"{'1.1.7.' * scale}{theirs}.{what}": f"scales.{scale}.{ours}.{what}" for what in kinds}
    return found
