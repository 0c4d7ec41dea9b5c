"""The published systems, and the few small ones that limner needs beside them. One file each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from limner.errors import BadInput, CannotDo

if TYPE_CHECKING:
    from limner.system import System

TABLE = {
    "adain": "limner.systems.translation.adain:AdaIN",
    "bicyclegan": "limner.systems.translation.bicyclegan:BicycleGAN",
    "cross-domain": "limner.systems.translation.cross_domain:CrossDomain",
    "cyclegan": "limner.systems.translation.cyclegan:CycleGAN",
    "dalle-mini": "limner.systems.text.dalle_mini:DalleMini",
    "drit": "limner.systems.translation.drit:DRIT",
    "dual-encoder": "limner.systems.text.dual_encoder:DualEncoder",
    "gcgan": "limner.systems.translation.gcgan:GcGAN",
    "instruct-pix2pix": "limner.systems.diffusion.instruct_pix2pix:InstructPix2Pix",
    "kl-autoencoder": "limner.systems.diffusion.autoencoder:KLAutoencoder",
    "latent-diffusion": "limner.systems.diffusion.latent:LatentDiffusion",
    "layout-painter": "limner.systems.text.layout_painter:LayoutPainter",
    "msgan": "limner.systems.translation.msgan:MSGAN",
    "msgan-dcgan": "limner.systems.translation.msgan_dcgan:MSGANDCGAN",
    "munit": "limner.systems.translation.munit:MUNIT",
    "patch-codes": "limner.systems.text.patch_codes:PatchCodes",
    "pg2": "limner.systems.pose.pg2:PG2",
    "pix2pix": "limner.systems.translation.pix2pix:Pix2Pix",
    "pix2pixhd": "limner.systems.translation.pix2pixhd:Pix2PixHD",
    "pixel-diffusion": "limner.systems.diffusion.pixel:PixelDiffusion",
    "pixel-domain-transfer": "limner.systems.translation.pixel_domain_transfer:PixelDomainTransfer",
    "pixelnn": "limner.systems.translation.pixelnn:PixelNN",
    "retoucher": "limner.systems.text.retoucher:Retoucher",
    "rfr-inpainting": "limner.systems.translation.rfr_inpainting:RFRInpainting",
    "sean": "limner.systems.translation.sean:SEAN",
    "segmenter": "limner.systems.segmenter:Segmenter",
    "spade": "limner.systems.translation.spade:SPADE",
    "sticker-reader": "limner.systems.reader:StickerReader",
    "storybook": "limner.systems.text.storybook:Storybook",
    "storybook-edit": "limner.systems.text.storybook_edit:StorybookEdit",
    "unit": "limner.systems.translation.unit:UNIT",
    "unit-digits": "limner.systems.translation.unit_digits:DigitUNIT",
    "unit-shared": "limner.systems.translation.unit_shared:SharedUNIT",
    "upscaler": "limner.systems.translation.upscaler:Upscaler",
    "vqgan": "limner.systems.text.vqgan:VQGAN",
}
"""Name -> where it is. The only place where a class is named by a string; a test holds it against the folders."""


def find(name: str) -> type[System]:
    """The class of the system `name`."""
    if name not in TABLE:
        import difflib

        close = difflib.get_close_matches(name, TABLE, 3, 0.4)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(TABLE)}."
        raise BadInput(f"There is no system called {name}. {hint}")
    module, _, attribute = TABLE[name].partition(":")
    found: type[System] = getattr(importlib.import_module(module), attribute)
    return found


def make(name: str, config: Any, where: str) -> System:
    """The system `name` with its `config`, freshly drawn weights. `BadInput` when the options make no network."""
    try:
        return find(name)(config)
    except (ArithmeticError, AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise BadInput(f"{where}: {name} can't be built with these options: {error or type(error).__name__}") from error


def having(ability: type) -> list[str]:
    """The names of the systems that have an ability (a protocol of `limner.system`)."""
    methods = [name for name in vars(ability) if not name.startswith("_")]
    return [name for name in TABLE if all(hasattr(find(name), method) for method in methods)]


def require(system: object, ability: type, *, name: str) -> None:
    """Raise `CannotDo` unless `system` has `ability`, naming the systems that have it."""
    if isinstance(system, ability):
        return
    from limner.system import ABILITIES

    able = ", ".join(having(ability)) or "none yet"
    raise CannotDo(f"{name} can't {ABILITIES[ability]}. Systems that can: {able}.")
