"""CompVis' names (latent-diffusion, stable-diffusion), and ours: the diffusers and transformers classes.

Repository: CompVis/stable-diffusion; weights under CreativeML Open RAIL-M. One file holds everything:
`model.diffusion_model.` the U-Net, `model_ema.` its average with all dots removed from the names, `first_stage_model.`
the autoencoder, `cond_stage_model.transformer.text_model.` the text tower, and buffers of the noise schedule. Each
function returns a whole map, published name -> ours, for the published names it is given; sizes follow from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published.keys import count, under
from limner.systems.diffusion.latent import Autoencoder, TextTower, UNet

SCHEDULE_BUFFERS = frozenset({
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "lvlb_weights",
    "logvar",
    "scale_factor",
})  # fmt: skip

RESIDUAL_BLOCK = {  # of the U-Net
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}

PIXEL_ATTENTION = {  # of the autoencoder
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}


def unet_names(published: Iterable[str]) -> dict[str, str]:
    """`input_blocks.1.0.in_layers.0.weight` -> `down_blocks.0.resnets.0.norm1.weight`, and so on."""
    published = list(published)
    downsamplers = sorted(
        int(m[1]) for name in published if (m := re.match(r"input_blocks\.(\d+)\.0\.op\.weight$", name))
    )
    last_input = max((int(m[1]) for name in published if (m := re.match(r"input_blocks\.(\d+)\.", name))), default=0)
    blocks = (downsamplers[0] if downsamplers else last_input + 1) - 1
    modules = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "middle_block.0": "mid_block.resnets.0",
        "middle_block.1": "mid_block.attentions.0",
        "middle_block.2": "mid_block.resnets.1",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    for level in range(len(downsamplers) + 1):
        for block in range(blocks):
            entry = f"input_blocks.{1 + level * (blocks + 1) + block}"
            modules[f"{entry}.0"] = f"down_blocks.{level}.resnets.{block}"
            modules[f"{entry}.1"] = f"down_blocks.{level}.attentions.{block}"
        modules[f"input_blocks.{(level + 1) * (blocks + 1)}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
        for block in range(blocks + 1):
            entry = f"output_blocks.{level * (blocks + 1) + block}"
            modules[f"{entry}.0"] = f"up_blocks.{level}.resnets.{block}"
            modules[f"{entry}.1"] = f"up_blocks.{level}.attentions.{block}"
        # The upsampler is the last member of its entry: the second where the level has no attention, else the third.
        for member in (1, 2):
            modules[f"{entry}.{member}.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
    return {name: _translate(name, modules, RESIDUAL_BLOCK) for name in published}


def autoencoder_names(published: Iterable[str]) -> dict[str, str]:
    """`decoder.up.3.block.0.norm1.weight` -> `decoder.up_blocks.0.resnets.0.norm1.weight`, and so on."""
    published = list(published)
    top = max((int(m[1]) for name in published if (m := re.match(r"decoder\.up\.(\d+)\.", name))), default=0)
    modules = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for half in ("encoder", "decoder"):
        modules |= {
            f"{half}.conv_in": f"{half}.conv_in",
            f"{half}.mid.block_1": f"{half}.mid_block.resnets.0",
            f"{half}.mid.attn_1": f"{half}.mid_block.attentions.0",
            f"{half}.mid.block_2": f"{half}.mid_block.resnets.1",
            f"{half}.norm_out": f"{half}.conv_norm_out",
            f"{half}.conv_out": f"{half}.conv_out",
        }
    blocks = {int(m[1]) for name in published if (m := re.search(r"\.block\.(\d+)\.", name))}
    for level in range(top + 1):
        for block in blocks:
            modules[f"encoder.down.{level}.block.{block}"] = f"encoder.down_blocks.{level}.resnets.{block}"
            modules[f"decoder.up.{level}.block.{block}"] = f"decoder.up_blocks.{top - level}.resnets.{block}"
        modules[f"encoder.down.{level}.downsample.conv"] = f"encoder.down_blocks.{level}.downsamplers.0.conv"
        modules[f"decoder.up.{level}.upsample.conv"] = f"decoder.up_blocks.{top - level}.upsamplers.0.conv"
    leaves = {"nin_shortcut": "conv_shortcut"}
    return {name: _translate(name, modules, PIXEL_ATTENTION if ".attn_1." in name else leaves) for name in published}


def text_names(published: Iterable[str]) -> dict[str, str]:
    """`transformer.text_model.encoder.layers.0...` -> `encoder.layers.0...`; the class names the rest as CLIP does."""
    return {name: re.sub(r"^(transformer\.)?(text_model\.)?", "", name) for name in published}


def weights_of(whole: Mapping[str, Tensor], where: str, average: bool = True) -> dict[str, dict[str, Tensor]]:
    """A whole checkpoint, sorted into `unet`, `autoencoder` and `text`, each under its own published names.

    `average` takes the U-Net's moving average where the file has one; an `emaonly` file has it under the plain names.
    Anything that a Stable Diffusion v1 file doesn't hold is a BadCheckpoint.
    """
    unet = under("model.diffusion_model.", whole)
    plain = {f"diffusion_model.{name}".replace(".", ""): name for name in unet}
    averaged = under("model_ema.", whole)
    averaged = {name: value for name, value in averaged.items() if name not in ("decay", "num_updates")}
    if averaged and averaged.keys() != plain.keys():
        raise BadCheckpoint(f"{where}: the moving average (model_ema) doesn't belong to the model beside it")
    if averaged and average:
        unet = {plain[name]: value for name, value in averaged.items()}
    parts = {
        "unet": unet,
        "autoencoder": under("first_stage_model.", whole),
        "text": without_position_ids(under("cond_stage_model.", whole)),
    }
    lacking = [part for part, tensors in parts.items() if not tensors]
    if lacking:
        raise BadCheckpoint(
            f"{where}: not a Stable Diffusion v1 checkpoint, it has no {' and no '.join(lacking)}. Weights of another "
            f"system become a model folder first: limner convert {where} --as SYSTEM -o FOLDER."
        )
    known = ("model.diffusion_model.", "model_ema.", "first_stage_model.", "cond_stage_model.")
    foreign = [name for name in whole if not name.startswith(known) and name not in SCHEDULE_BUFFERS]
    if foreign:
        raise BadCheckpoint(f"{where}: Stable Diffusion v1 has no entry {foreign[0]!r} ({len(foreign)} such entries)")
    return parts


def without_position_ids(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Text tower entries without 0, 1, 2, ..., which old versions of transformers saved along."""
    return {name: value for name, value in tensors.items() if not name.endswith(".position_ids")}


# Sizes, from the shapes of the published tensors


def unet_config(published: Mapping[str, Tensor], heads: int = 8) -> UNet:
    """The number of heads leaves no trace in the tensors; v1 has 8 everywhere."""
    ours = {name: published[theirs] for theirs, name in unet_names(published).items()}
    levels = count(ours, r"down_blocks\.(\d+)\.")
    return UNet(
        widths=tuple(ours[f"down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)),
        attention=tuple(f"down_blocks.{level}.attentions.0.norm.weight" in ours for level in range(levels)),
        blocks=count(ours, r"down_blocks\.0\.resnets\.(\d+)\."),
        heads=heads,
    )


def autoencoder_config(published: Mapping[str, Tensor], scale: float = 0.18215) -> Autoencoder:
    """The latent's scale leaves no trace in the tensors."""
    ours = {name: published[theirs] for theirs, name in autoencoder_names(published).items()}
    levels = count(ours, r"encoder\.down_blocks\.(\d+)\.")
    return Autoencoder(
        widths=tuple(ours[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)),
        blocks=count(ours, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        channels=ours["post_quant_conv.weight"].shape[0],
        scale=scale,
    )


def text_config(published: Mapping[str, Tensor], heads: int | None = None) -> TextTower:
    """The number of heads leaves no trace in the tensors; v1 has 64 channels a head."""
    ours = {name: published[theirs] for theirs, name in text_names(published).items()}
    vocabulary, width = ours["embeddings.token_embedding.weight"].shape
    return TextTower(
        vocabulary=vocabulary,
        width=width,
        depth=count(ours, r"encoder\.layers\.(\d+)\."),
        heads=heads or max(1, width // 64),
        hidden=ours["encoder.layers.0.mlp.fc1.weight"].shape[0],
        tokens=ours["embeddings.position_embedding.weight"].shape[0],
    )


def flattened_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our autoencoder's names, with the attention's 1x1 convolutions (C, C, 1, 1) as the matrices (C, C) they are."""
    return {
        name: value.flatten(1) if ".attentions." in name and value.ndim == 4 else value
        for name, value in tensors.items()
    }


def _translate(name: str, modules: Mapping[str, str], leaves: Mapping[str, str]) -> str:
    """Replace the longest known module prefix, and then the longest known beginning of what is left."""
    module, rest = _longest_prefix(name, modules)
    if not module:
        raise BadCheckpoint(f"{name!r} is not the name of anything in a latent diffusion checkpoint")
    leaf, tail = _longest_prefix(rest, leaves)
    return ".".join(filter(None, (modules[module], leaves.get(leaf, ""), tail)))


def _longest_prefix(name: str, table: Mapping[str, str]) -> tuple[str, str]:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in table:
            return prefix, ".".join(parts[length:])
    return "", name
