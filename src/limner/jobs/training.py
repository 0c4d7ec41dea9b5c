"""What `limner train` does: finds the data, builds the system for it, and trains it with progress in the terminal."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from limner.errors import BadInput
from limner.hub import load
from limner.rng import derive
from limner.runs import Run
from limner.system import System, config_from
from limner.systems import find, make
from limner.train import Listener, Options, Progress, Source, Trainer

DATA_HELP = (
    "stickers:collages (vqgan), stickers:readings (sticker-reader), codes:CODEC (dalle-mini), lineups:CODEC "
    "(dual-encoder), plans:CODEC (layout-painter), written:CODEC (dalle-mini as a writer of plans), repairs:CODEC "
    "(upscaler), where CODEC is a vqgan or patch-codes model; latents:AUTOENCODER (latent-diffusion), a kl-autoencoder"
)


def open_source(data: str, seed: int) -> Source:
    """The training data that `--data` names."""
    kind, _, rest = data.partition(":")
    if data == "stickers:collages":
        from limner.stickers.source import Collages

        return Collages(seed)
    if data == "stickers:readings":
        from limner.stickers.source import Readings

        return Readings(seed)
    if kind in ("codes", "lineups", "plans", "written", "repairs") and rest:
        from limner.stickers.codes import Coded, Plans
        from limner.stickers.repair import Repairs
        from limner.stickers.source import Crowds, Lineups
        from limner.systems.text.patch_codes import PatchCodes
        from limner.systems.text.vqgan import VQGAN

        codec = load(rest)
        if not isinstance(codec, VQGAN | PatchCodes):
            raise BadInput(f"{rest} is no codec of pictures, but a {type(codec).__name__}.")
        if kind == "repairs":
            return Repairs(codec, seed=seed)
        if kind in ("plans", "written"):
            return Plans(codec, seed, written=kind == "written")
        return Coded(codec, Crowds(seed) if kind == "codes" else Lineups(seed))
    if kind == "latents" and rest:
        from limner.stickers.codes import Encoded
        from limner.systems.diffusion.autoencoder import KLAutoencoder

        autoencoder = load(rest)
        if not isinstance(autoencoder, KLAutoencoder):
            raise BadInput(f"{rest} is no kl-autoencoder, but a {type(autoencoder).__name__}.")
        return Encoded(autoencoder, seed)
    raise BadInput(f"--data {data}: there is no such data. There is: {DATA_HELP}.")


def fitting_config(name: str, source: Source, changes: dict[str, Any] | None = None) -> Any:
    """The system's config with what the data decides filled in: vocabularies and grids; `changes` come on top."""
    kind = find(name)
    decided: dict[str, Any] = {}
    if name == "sticker-reader":
        from limner.stickers.source import READABLE
        from limner.stickers.vocabulary import storybook_nouns

        decided = {"nouns": tuple(noun.name for noun in storybook_nouns())}
        decided |= {f"{key}s": names for key, names in READABLE.items()}
    elif name == "layout-painter":
        from limner.stickers.codes import Plans

        if not isinstance(source, Plans):
            raise BadInput(f"{name} is trained on --data plans:CODEC, a vqgan or patch-codes model.")
        decided = dataclasses.asdict(source.painter.config)
    elif name in ("dalle-mini", "dual-encoder"):
        from limner.stickers.codes import TEXT_LENGTH, Coded, Plans

        if name == "dalle-mini" and isinstance(source, Plans):
            plan = source.painter.config
            decided = {"text_vocabulary": len(source.tokenise), "text_length": TEXT_LENGTH, "grid": (1, plan.length)}
            decided |= {"image_vocabulary": plan.vocabulary, "vqgan": None, "words": source.tokenise.words}
            return config_from(kind.Config, decided | (changes or {}), name)
        if not isinstance(source, Coded):
            raise BadInput(f"{name} is trained on --data codes:CODEC or lineups:CODEC, a vqgan or patch-codes model.")
        codebook = source.codec.config.codebook
        decided = {"text_vocabulary": len(source.tokenise), "text_length": TEXT_LENGTH, "grid": source.grid}
        if name == "dalle-mini":
            decided |= {"image_vocabulary": codebook, "vqgan": source.codec.config, "words": source.tokenise.words}
        else:
            decided |= {"codebook": codebook}
    elif name == "latent-diffusion":
        from limner.stickers.codes import TEXT_LENGTH, Encoded
        from limner.systems.diffusion.latent import TextTower
        from limner.systems.diffusion.tokens import vocabulary

        if isinstance(source, Encoded):
            shape = dataclasses.replace(source.autoencoder.config.autoencoder, scale=source.scale())
            text = {"vocabulary": len(vocabulary(source.words)[0]), "tokens": TEXT_LENGTH}
            decided = {"autoencoder": shape, "words": source.words, "joint_text": True, "size": (256, 144)}
            changes = dict(changes or {})
            decided["text"] = dataclasses.replace(TextTower(), **text | changes.pop("text", {}))
    return config_from(kind.Config, decided | (changes or {}), name)


def build(name: str, config: Any, source: Source, seed: int) -> System:
    """The system as training begins: weights drawn from the seed, and the codec that its data was made with."""
    torch.manual_seed(derive(seed, "weights"))
    system = make(name, config, "--set")
    if name == "dalle-mini" and config.vqgan is not None:
        system.vqgan.load_state_dict(source.codec.state_dict())  # type: ignore[attr-defined,union-attr]  # Coded, DalleMini
    if name == "latent-diffusion" and hasattr(source, "autoencoder"):
        system.autoencoder.load_state_dict(source.autoencoder.network.state_dict())  # type: ignore[attr-defined,union-attr]
    return system


def train(
    name: str,
    data: str,
    out: Path,
    options: Options,
    *,
    changes: dict[str, Any] | None = None,
    start_from: Path | None = None,
    listener: Listener | None = None,
) -> Path:
    """Train (or go on training) and return the last checkpoint's folder."""
    source = open_source(data, options.seed)
    system = build(name, fitting_config(name, source, changes), source, options.seed)
    trainer = Trainer(name, system, source, Run(out), options, data=data, start_from=start_from, listener=listener)
    return trainer.fit()


def resume(out: Path, options: Options | None = None, listener: Listener | None = None, **more: Any) -> Path:
    """Go on with a run from what its directory says; `more` replaces single options (steps, budget...)."""
    known = Run(out).config()
    if known is None:
        raise BadInput(f"{out} is no run: it has no config.json. Start one with limner train.")
    if not isinstance(known.get("data"), str):
        raise BadInput(f"{out} was not started by limner train: its config.json doesn't name the data.")
    newest, _ = Run(out).newest()
    meant = {"steps": newest.state["steps"]} if newest else {}
    chosen = dataclasses.replace(options or Options(), **known["options"] | meant | more)
    source = open_source(known["data"], chosen.seed)
    system = build(
        known["system"], config_from(find(known["system"]).Config, known["config"], str(out)), source, chosen.seed
    )
    return Trainer(known["system"], system, source, Run(out), chosen, data=known["data"], listener=listener).fit()


def describe(progress: Progress) -> str:
    """One line for the terminal."""
    losses = "  ".join(f"{name.partition('/')[2]} {value:.4g}" for name, value in progress.losses.items())
    left = (progress.steps - progress.step) * progress.seconds / max(1, progress.step)
    return f"{losses}  {progress.samples_per_second:.1f} samples/s  about {left / 60:.0f} min left"
