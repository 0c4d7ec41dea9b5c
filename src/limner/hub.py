"""Models on disk and how to get at them: `load` anything that limner can draw with, `save` a model folder.

A model folder is `config.json`, `weights.safetensors`, `manifest.json` (sha256) and `README.md` (the card).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save as save_tensors

from limner.errors import BadCheckpoint, BadInput, MissingExtra
from limner.published.stable_diffusion import from_folder, from_single_file
from limner.runs import Run, read_checkpoint, write_folder
from limner.system import System, config_from
from limner.systems import find, make
from limner.train import load_weights

SHIPPED = Path(__file__).parent / "weights"
SINGLE_FILES = (".ckpt", ".safetensors", ".pt", ".pth", ".bin")


def load(name: str | Path) -> System:
    """A system with its weights, ready to use.

    name: a model that ships with limner ("storybook", "sticker-reader"), a run directory or one of its checkpoints, a
    model folder, a diffusers folder, a hub id ("owner/name", already on this machine), or a single-file Stable
    Diffusion v1 checkpoint. Anything else is `BadInput`; a damaged file is `BadCheckpoint`.
    """
    path = Path(name)
    if path.is_dir():
        if (path / "model_index.json").exists():
            return from_folder(path)
        if (path / "checkpoints").is_dir():
            checkpoint, complaints = Run(path).newest()
            if checkpoint is None:
                raise BadCheckpoint(f"{path} holds no sound checkpoint. " + " ".join(complaints))
            return _built(checkpoint.config, checkpoint.weights, str(path))
        return _from_folder(path)
    if path.is_file():
        if path.suffix not in SINGLE_FILES:
            raise BadInput(f"{path} is no model: a single-file checkpoint ends in {', '.join(SINGLE_FILES)}.")
        return from_single_file(path)
    if (SHIPPED / str(name) / "config.json").exists():
        return _from_folder(SHIPPED / str(name))
    if str(name).count("/") == 1 and not str(name).startswith("."):
        return from_folder(_cached_snapshot(str(name)))
    shipped = sorted(p.parent.name for p in SHIPPED.glob("*/config.json"))
    raise BadInput(
        f"There is no model {name!r}: no such file or folder, and limner ships {', '.join(shipped) or 'none'}."
    )


def _from_folder(path: Path) -> System:
    if not (path / "config.json").exists():
        raise BadInput(f"{path} is no model folder: it has no config.json (or model_index.json).")
    checkpoint = read_checkpoint(path)
    return _built(checkpoint.config, checkpoint.weights, str(path))


def _built(config: Mapping[str, Any], weights: Mapping[str, Any], where: str) -> System:
    known = config if isinstance(config, Mapping) else {}
    name, options = known.get("system"), known.get("config")
    if not isinstance(name, str) or not isinstance(options, Mapping):
        raise BadCheckpoint(f"{where}: config.json names no system with its config. Was it made by limner?")
    system = make(name, config_from(find(name).Config, options, where), where)
    load_weights(
        system,
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()},
        averaged=True,
        where=where,
    )
    return system.eval()


def _cached_snapshot(name: str) -> Path:
    """The folder of a hub model that is already on this machine; limner downloads nothing unasked."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtra("A hub model", "hub") from error
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError, OSError) as error:
        raise BadInput(
            f"The hub model {name} is not on this machine. Download it first (hf download {name}), or give a folder."
        ) from error


def save(system: System, name: str, path: Path, *, card: str, half: bool = False) -> None:
    """Write a model folder. `half` stores float16; `card` is the README."""
    weights = {key: t.detach().cpu().contiguous() for key, t in system.state_dict().items()}
    if half:
        weights = {key: t.half() if t.is_floating_point() else t for key, t in weights.items()}
    config = {"system": name, "config": dataclasses.asdict(system.config)}
    write_folder(
        path,
        {
            "config.json": (json.dumps(config, indent=2) + "\n").encode(),
            "weights.safetensors": save_tensors(weights),
            "README.md": card.encode(),
        },
    )
