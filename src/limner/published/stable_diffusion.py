"""Stable Diffusion v1 as people have it: a diffusers folder, or one file in CompVis' layout.

Published: CompVis/stable-diffusion-v1-1 to v1-4, runwayml's v1-5 and everything fine-tuned from them; CreativeML Open
RAIL-M, whose use restrictions go with the weights. Both ways read strictly: no entry left over, none missing.

InstructPix2Pix has the same layouts, with a wider first convolution: `folder_of` and `tensors_of` open both kinds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from limner.diffusion import Prediction
from limner.errors import BadCheckpoint, BadInput, MissingExtra
from limner.published import compvis
from limner.published.keys import fill
from limner.published.read import tensors
from limner.system import config_from
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
from limner.systems.diffusion.latent import Autoencoder, LatentDiffusion, TextTower, UNet

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

Kind = TypeVar("Kind", LatentDiffusion, InstructPix2Pix)

FREE_OPTIONS = frozenset({"sample_size", "force_upcast", "upcast_attention"})
"""Options of the library's classes that may differ from ours: they change no number in float32."""

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What diffusers called the autoencoder's attention before version 0.15; the published v1-5 folder still does."""


def from_folder(path: Path) -> LatentDiffusion:
    """Open a diffusers folder of Stable Diffusion v1's kind, of any size. BadCheckpoint names what doesn't fit."""
    return folder_of(LatentDiffusion, path)


def folder_of(kind: type[Kind], path: Path) -> Kind:
    """Open a diffusers folder of Stable Diffusion v1's networks as a system of this kind."""
    unet, autoencoder, text = (json_in(path / part / "config.json") for part in ("unet", "vae", "text_encoder"))
    scheduler = json_in(path / "scheduler" / "scheduler_config.json")
    if scheduler.get("beta_schedule") != "scaled_linear" or scheduler.get("trained_betas") is not None:
        raise BadCheckpoint(f"{path / 'scheduler'}: not Stable Diffusion v1's noise schedule, which is scaled_linear.")
    predictions: dict[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "velocity"}
    prediction = predictions.get(scheduler.get("prediction_type", "epsilon"))
    if prediction is None:
        raise BadCheckpoint(f"{path / 'scheduler'}: no prediction_type of limner's ({', '.join(predictions)}).")
    where = str(path)
    try:
        attention = tuple(kind == "CrossAttnDownBlock2D" for kind in unet["down_block_types"])
        levels = len(autoencoder["block_out_channels"]) - 1
        side = int(unet["sample_size"]) << levels
        _check_channels(kind, int(unet["in_channels"]), int(unet["out_channels"]), where)
        config = kind.Config(
            autoencoder=Autoencoder(
                widths=tuple(autoencoder["block_out_channels"]),
                blocks=autoencoder["layers_per_block"],
                channels=autoencoder["latent_channels"],
                scale=autoencoder.get("scaling_factor", 0.18215),
                groups=autoencoder.get("norm_num_groups", 32),
            ),
            text=TextTower(
                vocabulary=text["vocab_size"],
                width=text["hidden_size"],
                depth=text["num_hidden_layers"],
                heads=text["num_attention_heads"],
                hidden=text["intermediate_size"],
                tokens=text["max_position_embeddings"],
            ),
            unet=UNet(
                widths=tuple(unet["block_out_channels"]),
                attention=attention,
                blocks=unet["layers_per_block"],
                heads=unet["attention_head_dim"],
                groups=unet.get("norm_num_groups", 32),
            ),
            size=(side, side),
            beta=(scheduler["beta_start"], scheduler["beta_end"]),
            timesteps=scheduler["num_train_timesteps"],
            prediction=prediction,
            zero_terminal_snr=bool(scheduler.get("rescale_betas_zero_snr", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(
            f"{where}: not a Stable Diffusion v1 folder: its configs lack or misstate {error}."
        ) from None
    model = _built(kind, config, where)
    _same(model.unet.config, unet, path / "unet" / "config.json")
    _same(model.autoencoder.config, autoencoder, path / "vae" / "config.json")
    if text.get("hidden_act", "quick_gelu") != "quick_gelu":
        raise BadCheckpoint(
            f"{path / 'text_encoder'}: Stable Diffusion v1's text tower uses quick_gelu, not {text['hidden_act']}."
        )
    fill(model.unet, tensors(weights_in(path / "unet", "diffusion_pytorch_model")), f"{where}/unet")
    fill(
        model.autoencoder,
        _modern_attention(tensors(weights_in(path / "vae", "diffusion_pytorch_model"))),
        f"{where}/vae",
    )
    words = compvis.without_position_ids(tensors(weights_in(path / "text_encoder", "model", "pytorch_model")))
    fill(
        model.text, {name.removeprefix("text_model."): value for name, value in words.items()}, f"{where}/text_encoder"
    )
    model.tokenizer = tokenizer_in(path / "tokenizer")
    return model.eval()


def from_single_file(path: Path, tokenizer: Path | None = None, *, average: bool = True) -> LatentDiffusion:
    """Open one file with everything in it, .ckpt or .safetensors, in CompVis' layout.

    tokenizer: a folder with vocab.json and merges.txt; without it, `tokenizer` beside the file, if that is there
    average: take the U-Net's moving average where the file has both
    """
    model = from_tensors(tensors(path), str(path), average=average)
    model.tokenizer = tokenizer_in(tokenizer) if tokenizer else tokenizer_beside(path)
    return model


def write_pipeline(model: LatentDiffusion | InstructPix2Pix, files: Mapping[str, Path], out: Path) -> None:
    """A converted single file as a diffusers folder, with the tokenizer that lies beside the file."""
    (path,) = files.values()
    model.tokenizer = tokenizer_beside(path)
    if model.tokenizer is None:
        raise BadInput(
            f"{path} can't be converted without its tokenizer: put CLIP's vocab.json and merges.txt (the tokenizer "
            f"folder of any Stable Diffusion v1) in {path.parent / 'tokenizer'}."
        )
    model.save_folder(out)


def tokenizer_beside(path: Path) -> CLIPTokenizer | None:
    """What cuts words for a single file: the folder `tokenizer` beside it, if that is there."""
    beside = path.parent / "tokenizer"
    return tokenizer_in(beside) if beside.is_dir() else None


def from_tensors(
    held: Mapping[str, Tensor], where: str, changes: Mapping[str, Any] | None = None, *, average: bool = True
) -> LatentDiffusion:
    """What a single file holds, under CompVis' names -> the model, which can't read words yet.

    changes: options of the system that leave no trace in the shapes
    """
    return tensors_of(LatentDiffusion, held, where, changes, average=average)


def tensors_of(
    kind: type[Kind],
    held: Mapping[str, Tensor],
    where: str,
    changes: Mapping[str, Any] | None = None,
    *,
    average: bool = True,
) -> Kind:
    """`from_tensors` for a system of this kind."""
    parts = compvis.weights_of(held, where, average)
    try:
        unet = compvis.unet_config(parts["unet"])
        autoencoder = compvis.autoencoder_config(parts["autoencoder"])
        text = compvis.text_config(parts["text"])
        names = {
            "unet": compvis.unet_names(parts["unet"]),
            "autoencoder": compvis.autoencoder_names(parts["autoencoder"]),
            "text": compvis.text_names(parts["text"]),
        }
    except (KeyError, IndexError, ValueError) as error:
        raise BadCheckpoint(f"{where}: not Stable Diffusion v1's layout: it lacks or misshapes {error}.") from None
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{where}: {error}") from None
    ours = {part: {names[part][name]: value for name, value in parts[part].items()} for part in parts}
    _check_channels(kind, ours["unet"]["conv_in.weight"].shape[1], autoencoder.channels, where)
    found = {"autoencoder": autoencoder, "text": text, "unet": unet}
    model = _built(kind, config_from(kind.Config, found | dict(changes or {}), where), where)
    fill(model.unet, ours["unet"], where)
    fill(model.autoencoder, compvis.flattened_attention(ours["autoencoder"]), where)
    fill(model.text, ours["text"], where)
    return model.eval()


def is_editor(path: Path) -> bool:
    """Whether a diffusers folder's U-Net takes a picture's latent beside the noisy one, as InstructPix2Pix' does."""
    unet = json_in(path / "unet" / "config.json")
    return isinstance(unet.get("out_channels"), int) and unet.get("in_channels") == 2 * unet["out_channels"]


def holds_editor(held: Mapping[str, Tensor]) -> bool:
    """The same of what a single file holds."""
    first, last = (held.get(f"model.diffusion_model.{name}.weight") for name in ("input_blocks.0.0", "out.2"))
    return first is not None and last is not None and first.shape[1:2] == (2 * len(last),)


def _check_channels(kind: type[Kind], taken: int, latent: int, where: str) -> None:
    """What a U-Net takes says which system it is of."""
    if taken == latent and kind is InstructPix2Pix:
        raise BadCheckpoint(
            f"{where}: a text-to-image model, which sees no picture. `limner train instruct-pix2pix --start-from "
            f"{where} --data EDITS -o RUN` makes an editor of it."
        )
    if taken == 2 * latent and kind is LatentDiffusion:
        raise BadCheckpoint(
            f"{where}: InstructPix2Pix, whose U-Net takes a picture's latent beside the noisy one, and not Stable "
            f"Diffusion v1 itself. `limner edit PICTURE WORDS --model {where}` edits with it."
        )
    if taken not in (latent, 2 * latent):
        raise BadCheckpoint(f"{where}: its U-Net takes {taken} channels, for latents of {latent}: an inpainting model?")


def _built(kind: type[Kind], config: Any, where: str) -> Kind:
    """The networks without numbers: no time spent on a random start, no memory beside the file's own."""
    try:
        with torch.device("meta"):
            model = kind(config)
    except (ValueError, RuntimeError, TypeError) as error:
        raise BadCheckpoint(f"{where}: its sizes make no model: {error}") from None
    tokens = torch.arange(config.text.tokens)[None]
    model.text.embeddings.register_buffer("position_ids", tokens, persistent=False)
    return model


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: Path) -> None:
    for option, value in theirs.items():
        plain = tuple(value) if isinstance(value, list) else value
        if option in ours and option not in FREE_OPTIONS and not option.startswith("_") and ours[option] != plain:
            raise BadCheckpoint(
                f"{where}: not Stable Diffusion v1's kind of model: {option} is {value}, not {ours[option]}."
            )


def _modern_attention(autoencoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    def modern(name: str) -> str:
        head, _, leaf = name.rpartition(".")
        head, _, module = head.rpartition(".")
        return f"{head}.{OLD_ATTENTION[module]}.{leaf}" if ".attentions." in name and module in OLD_ATTENTION else name

    return compvis.flattened_attention({modern(name): value for name, value in autoencoder.items()})


def weights_in(folder: Path, *stems: str) -> Path:
    """The file of weights in a folder of the hub's: `stem.safetensors`, or an older kind."""
    candidates = [
        folder / f"{stem}{variant}.{suffix}"
        for suffix in ("safetensors", "bin")
        for variant in ("", ".fp16", ".non_ema")
        for stem in stems
    ]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise BadCheckpoint(f"{folder}: no weights in it; it should hold {candidates[0].name}.")
    return found


def json_in(path: Path) -> dict[str, Any]:
    """A JSON object; anything else is a BadCheckpoint."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadCheckpoint(f"{path}: not the folder of such a model, or not all of it: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{path}: not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise BadCheckpoint(f"{path}: should be a JSON object.")
    return content


def tokenizer_in(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer from its files; nothing is asked of the network."""
    try:
        from transformers import CLIPTokenizer
    except ImportError:
        raise MissingExtra("CLIP's tokenizer", "diffusion") from None
    if not (folder / "tokenizer.json").is_file() and not (folder / "vocab.json").is_file():
        raise BadCheckpoint(f"{folder}: no tokenizer in it; it should hold vocab.json and merges.txt.")
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the library raises many kinds, its Rust core a bare Exception
        raise BadCheckpoint(f"{folder}: a damaged tokenizer: {error}") from None
