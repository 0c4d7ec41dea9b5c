"""DALL-E mini's published weights: four layouts, each a table of names, read with no key left over.

| layout | repository | files | licence |
|---|---|---|---|
| Flax transformer | borisdayma/dalle-mini (mini-1, mega-1-fp16) | `flax_model.msgpack`, `config.json` | Apache-2.0 |
| PyTorch port | kuprel/min-dalle | `encoder.pt`, `decoder.pt`, `detoker.pt` | MIT |
| VQGAN | CompVis/taming-transformers | a Lightning checkpoint's `state_dict` | MIT |
| Flax VQGAN | patil-suraj/vqgan-jax | `flax_model.msgpack`, `config.json` | Apache-2.0 |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from limner.errors import BadCheckpoint, BadInput
from limner.published.keys import Rules, fill, opened, renamed, under
from limner.system import System
from limner.systems.text.dalle_mini import DalleMini
from limner.systems.text.vqgan import VQGAN

Config = TypeVar("Config")

FILES = ("flax", "vqgan", "encoder", "decoder", "detoker")  # of dalle-mini and vqgan-jax, and of min-dalle

ATTENTION: Rules = (
    (r"\bq_proj\b", "query"),
    (r"\bk_proj\b", "key"),
    (r"\bv_proj\b", "value"),
    (r"\bout_proj\b", "out"),
)

EMBEDDING: Rules = (
    (r"\bembed_tokens\b", "tokens"),
    (r"\bembed_positions\b", "positions"),
    (r"\blayernorm_embedding\b", "norm_in"),
    (r"\bfinal_ln\b", "norm_out"),
)

TRANSFORMER_FLAX: Rules = (
    (r"^model\.", ""),
    (r"^lm_head\b", "decoder.head"),
    (r"\blayers\.FlaxBart(?:En|De)coderLayers\b", "layers"),
    (r"\bFlaxBartAttention_0\b", "attention"),
    (r"\bFlaxBartAttention_1\b", "text_attention"),
    (r"\bGLU_0\.LayerNorm_0\b", "glu.norm_in"),
    (r"\bGLU_0\.LayerNorm_1\b", "glu.norm_out"),
    (r"\bGLU_0\.Dense_0\b", "glu.gate"),
    (r"\bGLU_0\.Dense_1\b", "glu.value"),
    (r"\bGLU_0\.Dense_2\b", "glu.out"),
    (r"\bLayerNorm_0\b", "norm_in"),
    (r"\bLayerNorm_1\b", "norm_out"),
    (r"\bLayerNorm_2\b", "text_norm_in"),
    (r"\bLayerNorm_3\b", "text_norm_out"),
    *EMBEDDING,
    *ATTENTION,
)

TRANSFORMER_PORT: Rules = (  # of encoder.pt and of decoder.pt
    (r"^lm_head\b", "head"),
    (r"\bglu\.ln0\b", "glu.norm_in"),
    (r"\bglu\.ln1\b", "glu.norm_out"),
    (r"\bglu\.fc0\b", "glu.gate"),
    (r"\bglu\.fc1\b", "glu.value"),
    (r"\bglu\.fc2\b", "glu.out"),
    (r"\bpre_self_attn_layer_norm\b", "norm_in"),
    (r"\bself_attn_layer_norm\b", "norm_out"),
    (r"\bpre_encoder_attn_layer_norm\b", "text_norm_in"),
    (r"\bencoder_attn_layer_norm\b", "text_norm_out"),
    (r"\bself_attn\b", "attention"),
    (r"\bencoder_attn\b", "text_attention"),
    *EMBEDDING,
    *ATTENTION,
)

VQGAN_TAMING: Rules = (
    (r"^loss\.discriminator\.main\b", "discriminator"),
    (r"^quantize\.embedding\b", "codes"),
    (r"^embedding\b", "codes"),  # detoker.pt
    (r"^quant_conv\b", "to_code"),
    (r"^post_quant_conv\b", "from_code"),
    (r"\bconv_in\b", "stem"),
    (r"\bnorm_out\b", "norm"),
    (r"\bconv_out\b", "head"),
    (r"\b(?:down|up)[._](\d+)\b", r"levels.\1"),
    (r"\bmid\.block_1\b", "middle.0"),
    (r"\bmid\.attn_1\b", "middle.1"),
    (r"\bmid\.block_2\b", "middle.2"),
    (r"\bblock[._](\d+)\b", r"blocks.\1"),
    (r"\battn[._](\d+)\b", r"attention.\1"),
    (r"\b(?:down|up)sample\b", "resize"),
    (r"\bnin_shortcut\b", "shortcut"),
    (r"\bq\.", "query."),
    (r"\bk\.", "key."),
    (r"\bv\.", "value."),
    (r"\bproj_out\b", "out"),
)
"""vqgan-jax joins numbers with an underscore (up_4.block_0) and is otherwise the same."""

LEFT_OVER = re.compile(r"^loss\.perceptual_loss\.")
"""The one part of a published file that isn't the model: the fixed network of VQGAN's perceptual distance."""


def rename(state: Mapping[str, Tensor], rules: Rules, where: str) -> dict[str, Tensor]:
    """A published state dict under our names; `where` is the file, for the error when two entries become one."""
    names = {}
    for key in state:
        if LEFT_OVER.match(key):
            continue
        names[key] = key
        for pattern, replacement in rules:
            names[key] = re.sub(pattern, replacement, names[key])
    return renamed({key: state[key] for key in names}, names, where)


def fill_vqgan(model: VQGAN, state: Mapping[str, Tensor], where: str) -> None:
    """Every entry of `state`, under our names, into `model`. What belongs to training alone stays as it is where the
    release lacks it."""
    training = {k: v for k, v in model.state_dict().items() if k.startswith("discriminator.")}
    fill(model, {**training, **state}, where)


def from_flax(tree: Mapping[str, Any]) -> dict[str, Tensor]:
    """A Flax parameter tree, or its names joined by dots, in PyTorch's layout: kernels with the output first,
    stacked layers apart, `weight` for scales and embeddings."""
    state: dict[str, Tensor] = {}
    for key, value in leaves(tree):
        stem, _, last = key.rpartition(".")
        stack, _, rest = stem.partition("Layers.")
        parts = {f"{stack}Layers.{i}.{rest}": part for i, part in enumerate(value)} if rest else {stem: value}
        for name, part in parts.items():
            if last == "kernel":  # (in, out) or (kh, kw, in, out)
                part = part.movedim((-1, -2), (0, 1)).contiguous()
            state[f"{name}.{'bias' if last == 'bias' else 'weight'}"] = part
    return state


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


# What a release's files hold -> a model


def open_flax(
    options: Mapping[str, Any],
    tree: Mapping[str, Any],
    vqgan: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
    where: str = "flax_model.msgpack",
) -> DalleMini:
    """dalle-mini's `config.json` and parameter tree, and the same two of vqgan-jax, without which it can't paint."""
    painter = None if vqgan is None else replace(config_from_taming(vqgan[0]), value_range=(0.0, 1.0))
    model = DalleMini(replace(config_from_flax(options), vqgan=painter))
    fill(transformer(model), rename(from_flax(tree), TRANSFORMER_FLAX, where), where)
    if vqgan is not None and isinstance(model.vqgan, VQGAN):
        fill_vqgan(model.vqgan, rename(from_flax(vqgan[1]), VQGAN_TAMING, f"VQGAN {where}"), f"VQGAN {where}")
    return model.eval()


def open_port(
    encoder: Mapping[str, Tensor],
    decoder: Mapping[str, Tensor],
    detokenizer: Mapping[str, Tensor] | None = None,
    *,
    head_width: int = 64,
    start_token: int | None = 16384,
) -> DalleMini:
    """min-dalle's `encoder.pt`, `decoder.pt` and `detoker.pt`, whose sizes say all but these two numbers."""
    parts = {"encoder": encoder, "decoder": decoder, "detoker": detokenizer or {}}
    tensors = {f"{part}.{name}": value for part, held in parts.items() for name, value in held.items()}
    try:
        options, ours = port_layout(tensors, "min-dalle's files", head_width)
    except KeyError as error:
        raise BadCheckpoint(f"encoder.pt and decoder.pt lack {error}: they aren't min-dalle's files.") from error
    model = opened("dalle-mini", options | {"start_token": start_token}, ours, "min-dalle's files")
    assert isinstance(model, DalleMini)
    return model.eval()


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """dalle-mini's Flax file, with or without vqgan-jax's; or min-dalle's, of which `detoker` may be missing. The byte
    pairs that read captions aren't part of a model: set them as `tokenise`.

    changes: for Flax, they begin with `options_beside`
    """
    if flax := under("flax.", tensors):
        ours = rename(from_flax(flax), TRANSFORMER_FLAX, where)
        if vqgan := under("vqgan.", tensors):
            painter = VQGAN(changes["vqgan"])
            training = {k: v for k, v in painter.state_dict().items() if k.startswith("discriminator.")}
            held = training | rename(from_flax(vqgan), VQGAN_TAMING, where)
            ours |= {f"vqgan.{name}": value for name, value in held.items()}
        return opened("dalle-mini", changes, ours, where)
    options, ours = port_layout(tensors, where)
    return opened("dalle-mini", options | dict(changes), ours, where)


def options_beside(files: Mapping[str, Path]) -> dict[str, Any]:
    """A Flax release's options, from the `config.json` beside each of its files: shapes don't say them all."""
    if "flax" not in files:
        if "vqgan" in files:
            raise BadInput("vqgan=FILE is the painter of a Flax transformer: give flax=FILE, too.")
        return {}
    config = config_beside(files["flax"], config_from_flax)
    options = {field.name: getattr(config, field.name) for field in fields(config)}
    painter = config_beside(files["vqgan"], config_from_taming) if "vqgan" in files else None
    return options | {"vqgan": painter and replace(painter, value_range=(0.0, 1.0))}


def config_beside(file: Path, read: Callable[[Mapping[str, Any]], Config]) -> Config:
    path = file.with_name("config.json")
    try:
        return read(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}. A Flax release is both, {file.name} and its config.json.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(f"{path}: not the config.json of {file.name}: it lacks or misstates {error}.") from error


def port_layout(
    tensors: Mapping[str, Tensor], where: str, head_width: int = 64
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Options and tensors under our names, from those of min-dalle's `FILES`."""
    halves = {half: rename(under(f"{half}.", tensors), TRANSFORMER_PORT, where) for half in ("encoder", "decoder")}
    painter = rename(under("detoker.", tensors), VQGAN_TAMING, where)
    words, width = halves["encoder"]["tokens.weight"].shape
    options = {
        "text_vocabulary": words,
        "image_vocabulary": len(halves["decoder"]["tokens.weight"]) - 1,
        "width": width,
        "encoder_layers": sum(name.endswith(".glu.out.weight") for name in halves["encoder"]),
        "decoder_layers": sum(name.endswith(".glu.out.weight") for name in halves["decoder"]),
        "heads": width // head_width,
        "glu_width": len(halves["encoder"]["layers.0.glu.gate.weight"]),
        "text_length": len(halves["encoder"]["positions.weight"]),
        "grid": square(len(halves["decoder"]["positions.weight"])),
        "norm_scales": "layers.0.norm_in.weight" in halves["encoder"],
        "vqgan": config_from_detokenizer(painter) if painter else None,
    }
    parts = {**halves, "vqgan": painter}
    return options, {f"{part}.{name}": value for part, held in parts.items() for name, value in held.items()}


def transformer(model: DalleMini) -> nn.Module:
    return nn.ModuleDict({"encoder": model.encoder, "decoder": model.decoder})


# Published options -> our configurations


def config_from_flax(options: Mapping[str, Any], grid: tuple[int, int] | None = None) -> DalleMini.Config:
    """`config.json` of a dalle-mini checkpoint."""
    heads = options["encoder_attention_heads"], options["decoder_attention_heads"]
    glu = options["encoder_ffn_dim"], options["decoder_ffn_dim"]
    expected = {"ln_positions": "normformer", "use_glu": True, "use_bias": False}
    wrong = [f"{key} {options[key]!r}" for key, value in expected.items() if options.get(key, value) != value]
    if wrong or len(set(heads)) > 1 or len(set(glu)) > 1:
        raise BadCheckpoint(
            f"config.json: a DALL-E mini with {', '.join(wrong) or f'heads {heads} and feed-forward widths {glu}'} was "
            "never released, and limner can't build it. Use mini-1, mega-1 or a model trained with their options."
        )
    return DalleMini.Config(
        text_vocabulary=options["encoder_vocab_size"],
        image_vocabulary=options["image_vocab_size"],
        width=options["d_model"],
        encoder_layers=options["encoder_layers"],
        decoder_layers=options["decoder_layers"],
        heads=heads[0],
        glu_width=glu[0],
        text_length=options["max_text_length"],
        grid=grid or square(options["image_length"]),
        start_token=options.get("decoder_start_token_id"),
    )


def config_from_port(options: Mapping[str, Any]) -> DalleMini.Config:
    """The arguments of min-dalle's networks, with the scales that the port's normalisations have in memory. Its files
    lack them: read those with `norm_scales=False`."""
    return DalleMini.Config(
        norm_scales=True,
        text_vocabulary=options["text_vocab_count"],
        image_vocabulary=options["image_vocab_count"],
        width=options["embed_count"],
        encoder_layers=options["layer_count"],
        decoder_layers=options["layer_count"],
        heads=options["attention_head_count"],
        glu_width=options["glu_embed_count"],
        text_length=options["text_token_count"],
        grid=square(options.get("image_token_count", 256)),
    )


def config_from_taming(options: Mapping[str, Any]) -> VQGAN.Config:
    """`model.params` of a taming-transformers configuration, or the flat `config.json` of vqgan-jax."""
    layers = options.get("ddconfig", options)
    levels = range(len(layers["ch_mult"]))
    return VQGAN.Config(
        width=layers["ch"],
        multipliers=tuple(layers["ch_mult"]),
        blocks=layers["num_res_blocks"],
        attention_levels=tuple(i for i in levels if layers["resolution"] // 2**i in layers["attn_resolutions"]),
        channels=layers["z_channels"],
        codebook=options["n_embed"],
        code_width=options["embed_dim"],
        beta=options.get("beta", 0.25),
        legacy=options.get("legacy", True),
    )


def config_from_detokenizer(state: Mapping[str, Tensor], eps: float = 1e-5) -> VQGAN.Config:
    """The configuration of min-dalle's `detoker.pt`, whose entries under our names are `state`."""
    codebook, code_width = state["codes.weight"].shape
    return VQGAN.Config(
        codebook=codebook, code_width=code_width, norm_eps=eps, value_range=(0.0, 1.0), decoder_only=True
    )


def square(length: int) -> tuple[int, int]:
    side = round(length**0.5)
    if side * side != length:
        raise BadCheckpoint(f"config.json: {length} image tokens are no square grid. Say which grid it is.")
    return side, side
