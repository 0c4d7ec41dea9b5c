"""What `limner draw` does: candidates as files that say what made them, or a walk between two prompts as a film."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limner.errors import BadInput, CannotDo
from limner.hub import load
from limner.provenance import SourceType, encode_picture, mark_mp4
from limner.runs import write_bytes
from limner.system import Draws
from limner.systems import require

TRAINED: SourceType = "trainedAlgorithmicMedia"


def draw(words: str, out: Path, *, model: str, count: int, seed: int) -> Iterator[str]:
    """Draw and write PNG files, best first; yields a line for each."""
    if not words.strip():
        raise BadInput('There is nothing to draw. Say what: limner draw "a fox under a tree at night".')
    if not 1 <= count <= 64:
        raise BadInput(f"-n {count}: from 1 to 64 candidates at a time.")
    system: Any = load(model)
    require(system, Draws, name=model)
    drawing = system.draw(words, count=count, seed=seed)
    if drawing.unknown:
        yield f"not known to {model}, left out: {', '.join(drawing.unknown)}"
    stem = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60] or "drawing"
    for place, picture in enumerate(drawing.pictures):
        recipe = {"words": words, "model": model, "seed": drawing.seeds[place]}
        path = out / f"{stem}-{drawing.seeds[place]}.png"
        write_bytes(path, encode_picture(picture, ".png", source_type=TRAINED, recipe=recipe, description=words))
        score = "" if drawing.scores is None else f"  score {drawing.scores[place]:.3f}"
        yield f"{path}{score}"


def walk(first: str, last: str, video: Path, *, model: str, seed: int, seconds: float, fps: int = 24) -> str:
    """A film of the way from one prompt's picture to another's: slerp in noise and text states."""
    system: Any = load(model)
    if not hasattr(system, "interpolate"):
        raise CannotDo(
            f"{model} can't walk between prompts: it writes discrete codes, which have nothing in between. A latent "
            "diffusion model can: --model with a Stable Diffusion folder or a latent-diffusion run."
        )
    frames = system.interpolate(first, last, frames=max(2, round(seconds * fps)), seed=seed)
    write_film(frames, video, fps=fps, recipe={"from": first, "to": last, "model": model, "seed": seed})
    return str(video)


def write_film(frames: Sequence[np.ndarray], video: Path, *, fps: int, recipe: dict[str, Any]) -> None:
    """A silent MP4 of uint8 frames (H, W, 3) that says what made it; an odd row or column is cut off."""
    from limner.film.encode import encode_segment, join_film

    height, width = (side - side % 2 for side in np.asarray(frames[0]).shape[:2])
    segment = video.with_suffix(".part.mp4")
    try:
        video.parent.mkdir(parents=True, exist_ok=True)
        pictures = (np.asarray(frame)[:height, :width] for frame in frames)
        encode_segment(pictures, segment, size=(width, height), fps=fps, quality="final")
        silence = np.zeros(round(len(frames) / fps * 48_000), np.float32)
        join_film(
            video, [segment], sound=(silence, 48_000), fps=fps, chapters=[], subtitles=[], language="en",
            metadata={"comment": json.dumps(recipe)},
        )  # fmt: skip
        mark_mp4(video, TRAINED, recipe)
    finally:
        segment.unlink(missing_ok=True)
