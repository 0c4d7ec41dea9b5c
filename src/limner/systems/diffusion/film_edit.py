"""Editing a film by instruction, frame by frame, so that it holds together.

InstructPix2Pix edits each frame as a picture. Left to themselves, frames go different ways, and the film flickers. Here
all begin as the same noise, and in every self-attention layer a frame looks also at the first frame and at the one
before it, at the same step: what it draws, it draws as they did (the extended self-attention of Tune-A-Video, Wu et
al., ICCV 2023, and Text2Video-Zero, Khachatryan et al., ICCV 2023). Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from limner import diffusion
from limner.errors import BadInput
from limner.system import from_uint8, to_uint8
from limner.systems.diffusion.attention import Attend, Change, Layer, attending, fused
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
from limner.systems.diffusion.latent import Sampler
from limner.systems.diffusion.pictures import check_picture, resized


@dataclass
class Memory:
    """Keys and values (B, heads, tokens, d) of one frame, by step and layer."""

    held: dict[tuple[int, str], tuple[Tensor, Tensor]] = field(default_factory=dict)


@torch.no_grad()
def edit_film(
    model: InstructPix2Pix,
    frames: Iterable[np.ndarray],
    words: str,
    *,
    seed: int = 0,
    steps: int = 20,
    guidance: float = 7.5,
    image_guidance: float = 1.5,
    sampler: Sampler = "euler_ancestral",
    resolution: int | None = None,
    together: bool = True,
    progress: diffusion.Progress | None = None,
) -> Iterator[np.ndarray]:
    """uint8 frames (H, W, 3), all of one size -> the edited ones, each as soon as it is there.

    Keys and values of two frames are kept, of every step and layer; a film may be as long as it likes. The first frame
    is what `model.edit` makes of it.

    together: frames look at the first one and at the one before; without it they share their noise, and that is all
    progress: hears `(done, total)`, steps of the sampler for the frame at hand, at the start and after each
    """
    if not words.strip():
        raise BadInput("What is to become of the film? Give an instruction.")
    model.unknown(words)  # refuses what it knows nothing of
    text, null = model.encode_words([words]), model.encode_words([""])
    first: Memory | None = None
    before: Memory | None = None
    size: tuple[int, ...] = ()
    for frame in frames:
        check_picture(frame)
        if size and frame.shape != size:
            raise BadInput(
                f"Frames are all of one size; after {size[1]}x{size[0]} came {frame.shape[1]}x{frame.shape[0]}."
            )
        size = frame.shape
        seen = from_uint8(model.working_picture(frame, resolution))[None].to(model.device)
        order = (model.encode_picture(seen), text, null, seed, steps, guidance, image_guidance, sampler)
        at = Steps(diffusion.counting(progress, steps))
        if together:
            own = Memory()
            with attending(model.unet, looking_back(own, [m for m in (first, before) if m is not None], at)):
                latent = model.edit_latent(*order, watch=at.count)
            first, before = first or own, own
        else:
            latent = model.edit_latent(*order, watch=at.count)
        yield resized(to_uint8(model.decode(latent))[0], size[:2])


@dataclass
class Steps:
    """How many steps of the sampler are done, for those who ask and for one who is told."""

    told: diffusion.Watch | None = None
    done: int = 0

    def count(self, step: int, latents: Tensor) -> None:
        self.done = step + 1
        if self.told:
            self.told(step, latents)


def looking_back(own: Memory, others: list[Memory], at: Steps) -> Change:
    """A change of attention: self-attention also looks at what other frames were at the same step, and remembers."""
    unlike = list({id(other): other for other in others}.values())  # the first frame may be the one before

    def change(layer: Layer) -> Attend | None:
        if layer.crosses:
            return None
        place = at.done, layer.name

        def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            own.held[place] = keys, values
            seen = [(keys, values), *(other.held[place] for other in unlike)]
            return fused(queries, torch.cat([k for k, _ in seen], 2), torch.cat([v for _, v in seen], 2))

        return attend

    return change
