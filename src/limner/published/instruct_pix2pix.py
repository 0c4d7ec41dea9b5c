"""InstructPix2Pix' published weights: the authors' single file, and the diffusers folder.

Repository: timothybrooks/instruct-pix2pix (instruct-pix2pix-00-22000.ckpt), and `timbrooks/instruct-pix2pix` on the
hub; weights under CreativeML Open RAIL-M, whose use restrictions go with them. The layouts are Stable Diffusion v1's
with a first convolution of eight channels. The file holds the U-Net twice; its moving average is what the authors edit
with, and what is taken here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from limner.published.stable_diffusion import folder_of, tensors_of, write_pipeline
from limner.system import System
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix


def from_folder(path: Path) -> InstructPix2Pix:
    """Open a diffusers folder. BadCheckpoint names what doesn't fit, a text-to-image model among others."""
    return folder_of(InstructPix2Pix, path)


def from_tensors(
    held: Mapping[str, Tensor], where: str, changes: Mapping[str, Any] | None = None, *, average: bool = True
) -> InstructPix2Pix:
    """What the authors' file holds -> the model, which can't read words yet.

    average: take the U-Net's moving average where the file has both
    """
    return tensors_of(InstructPix2Pix, held, where, changes, average=average)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """`limner convert FILE --as instruct-pix2pix`."""
    return from_tensors(tensors, where, changes)


def write(model: System, files: Mapping[str, Path], out: Path) -> None:
    """The model as a diffusers folder, with the tokenizer that lies beside the file."""
    assert isinstance(model, InstructPix2Pix)
    write_pipeline(model, files, out)
