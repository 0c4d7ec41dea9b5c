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
from limner.published import instruct_pix2pix, stable_diffusion
from limner.published.read import tensors
from limner.runs import Run, read_checkpoint, write_folder
from limner.system import System, config_from
from limner.systems import TABLE, find, make
from limner.systems.text.storybook import Storybook
from limner.systems.text.storybook_edit import StorybookEdit
from limner.train import load_weights

SHIPPED = Path(__file__).parent / "weights"
SINGLE_FILES = (".ckpt", ".safetensors", ".pt", ".pth", ".bin")


def load(name: str | Path) -> System:
    """A system with its weights, ready to use.

    name: a model that ships with limner ("storybook", "storybook-edit", "sticker-reader"), a run directory or one of
    its checkpoints, a model folder, a diffusers folder, a hub id ("owner/name", already on this machine), or a
    single-file checkpoint of Stable Diffusion v1 or InstructPix2Pix. Anything else is `BadInput`; a damaged file is
    `BadCheckpoint`.
    """
    path = Path(name)
    if path.is_dir():
        if (path / "model_index.json").exists():
            return _from_diffusers(path)
        if (path / "checkpoints").is_dir():
            checkpoint, complaints = Run(path).newest()
            if checkpoint is None:
                raise BadCheckpoint(f"{path} holds no sound checkpoint. " + " ".join(complaints))
            system = _built(checkpoint.config, checkpoint.weights, str(path))
            keep_tokenizer(system, path)
            return system
        return _from_folder(path)
    if path.is_file():
        if path.suffix not in SINGLE_FILES:
            raise BadInput(f"{path} is no model: a single-file checkpoint ends in {', '.join(SINGLE_FILES)}.")
        return _from_single_file(path)
    if (SHIPPED / str(name) / "config.json").exists():
        return _from_folder(SHIPPED / str(name))
    if str(name).count("/") == 1 and not str(name).startswith("."):
        return _from_diffusers(_cached_snapshot(str(name)))
    shipped = ", ".join(sorted(p.parent.name for p in SHIPPED.glob("*/config.json"))) or "none"
    if str(name) in TABLE:
        raise BadInput(
            f"limner ships no weights of {name} (it ships {shipped}): give your own, a run, a model folder or a file."
        )
    raise BadInput(f"There is no model {name!r}: no such file or folder, and limner ships {shipped}.")


def _from_diffusers(path: Path) -> System:
    if stable_diffusion.is_editor(path):
        return instruct_pix2pix.from_folder(path)
    return stable_diffusion.from_folder(path)


def _from_single_file(path: Path) -> System:
    held = tensors(path)
    model = (
        instruct_pix2pix.from_tensors(held, str(path))
        if stable_diffusion.holds_editor(held)
        else stable_diffusion.from_tensors(held, str(path))
    )
    model.tokenizer = stable_diffusion.tokenizer_beside(path)
    return model


def _from_folder(path: Path) -> System:
    if not (path / "config.json").exists():
        raise BadInput(f"{path} is no model folder: it has no config.json (or model_index.json).")
    checkpoint = read_checkpoint(path)
    system = _built(checkpoint.config, checkpoint.weights, str(path))
    keep_tokenizer(system, path.parent.parent if path.parent.name == "checkpoints" else path)
    return system


def keep_tokenizer(system: Any, folder: Path) -> None:
    """Hold a system and the folder `tokenizer` of its run or model together: what cuts words for a text tower of CLIP's
    is no weight, and stands beside them. A system that lacks it gets it from there; one that has it writes it."""
    beside = folder / "tokenizer"
    if not hasattr(system, "tokenizer") or system.config.words:
        return
    if system.tokenizer is None and beside.is_dir():
        system.tokenizer = stable_diffusion.tokenizer_in(beside)
    elif system.tokenizer is not None and not beside.is_dir():
        system.tokenizer.save_pretrained(beside)


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
    if isinstance(system, StorybookEdit):
        storybook = load("storybook")
        assert isinstance(storybook, Storybook)
        system.lend(storybook)
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
