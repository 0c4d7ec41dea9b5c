"""`limner convert --as latent-diffusion`: a single file in CompVis' layout becomes a folder that diffusers opens, too.

Repository: CompVis/stable-diffusion; weights under CreativeML Open RAIL-M, whose restrictions go with the folder. The
file lacks how words are cut into tokens: CLIP's vocab.json and merges.txt are expected in `tokenizer` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from limner.published.stable_diffusion import from_tensors, write_pipeline
from limner.system import System
from limner.systems.diffusion.latent import LatentDiffusion


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The U-Net's moving average where the file has both."""
    return from_tensors(tensors, where, changes)


def write(model: System, files: Mapping[str, Path], out: Path) -> None:
    """The model as a diffusers folder, with the tokenizer that lies beside the file."""
    assert isinstance(model, LatentDiffusion)
    write_pipeline(model, files, out)
