"""CompVis' state dicts of any size, name -> shape: what their networks' constructors would make."""

from __future__ import annotations

from collections.abc import Sequence

Layout = dict[str, tuple[int, ...]]


def under(prefix: str, *parts: Layout) -> Layout:
    return {f"{prefix}.{name}": shape for part in parts for name, shape in part.items()}


def affine(name: str, *weight: int, bias: bool = True) -> Layout:
    return {f"{name}.weight": weight} | ({f"{name}.bias": weight[:1]} if bias else {})


def conv(name: str, inside: int, out: int, kernel: int = 3) -> Layout:
    return affine(name, out, inside, kernel, kernel)


def residual(inside: int, out: int, time: int) -> Layout:
    block = affine("in_layers.0", inside) | conv("in_layers.2", inside, out) | affine("emb_layers.1", out, time)
    block |= affine("out_layers.0", out) | conv("out_layers.3", out, out)
    return block | (conv("skip_connection", inside, out, 1) if inside != out else {})


def transformer(width: int, context: int) -> Layout:
    layers: Layout = {}
    for attention, source in (("attn1", width), ("attn2", context)):
        layers |= affine(f"{attention}.to_q", width, width, bias=False)
        layers |= affine(f"{attention}.to_k", width, source, bias=False)
        layers |= affine(f"{attention}.to_v", width, source, bias=False)
        layers |= affine(f"{attention}.to_out.0", width, width)
    layers |= affine("ff.net.0.proj", 8 * width, width) | affine("ff.net.2", width, 4 * width)
    for norm in ("norm1", "norm2", "norm3"):
        layers |= affine(norm, width)
    ends = affine("norm", width) | conv("proj_in", width, width, 1) | conv("proj_out", width, width, 1)
    return ends | under("transformer_blocks.0", layers)


def unet(
    widths: Sequence[int],
    attention: Sequence[bool],
    blocks: int,
    context: int,
    channels: int = 4,
    time: int | None = None,
) -> Layout:
    time = time or 4 * widths[0]
    layout = affine("time_embed.0", time, widths[0]) | affine("time_embed.2", time, time)
    layout |= conv("input_blocks.0.0", channels, widths[0])
    skips, entry, width = [widths[0]], 1, widths[0]
    for level, out in enumerate(widths):
        for _ in range(blocks):
            layout |= under(f"input_blocks.{entry}.0", residual(width, out, time))
            layout |= under(f"input_blocks.{entry}.1", transformer(out, context)) if attention[level] else {}
            skips.append(out)
            width, entry = out, entry + 1
        if level < len(widths) - 1:
            layout |= conv(f"input_blocks.{entry}.0.op", width, width)
            skips.append(width)
            entry += 1
    layout |= under("middle_block.0", residual(width, width, time)) | under(
        "middle_block.2", residual(width, width, time)
    )
    layout |= under("middle_block.1", transformer(width, context))
    entry = 0
    for level in reversed(range(len(widths))):
        out = widths[level]
        for block in range(blocks + 1):
            layout |= under(f"output_blocks.{entry}.0", residual(width + skips.pop(), out, time))
            layout |= under(f"output_blocks.{entry}.1", transformer(out, context)) if attention[level] else {}
            if level and block == blocks:
                layout |= conv(f"output_blocks.{entry}.{2 if attention[level] else 1}.conv", out, out)
            width, entry = out, entry + 1
    return layout | affine("out.0", widths[0]) | conv("out.2", widths[0], channels)


def pixel_block(inside: int, out: int) -> Layout:
    block = affine("norm1", inside) | conv("conv1", inside, out) | affine("norm2", out) | conv("conv2", out, out)
    return block | (conv("nin_shortcut", inside, out, 1) if inside != out else {})


def pixel_middle(width: int) -> Layout:
    attention = affine("norm", width)
    for name in ("q", "k", "v", "proj_out"):
        attention |= conv(name, width, width, 1)
    return (
        under("mid.block_1", pixel_block(width, width))
        | under("mid.attn_1", attention)
        | under("mid.block_2", pixel_block(width, width))
    )


def autoencoder(widths: Sequence[int], blocks: int, channels: int = 4) -> Layout:
    top = len(widths) - 1
    encoder, width = conv("conv_in", 3, widths[0]), widths[0]
    for level, out in enumerate(widths):
        for block in range(blocks):
            encoder |= under(f"down.{level}.block.{block}", pixel_block(width, out))
            width = out
        encoder |= conv(f"down.{level}.downsample.conv", width, width) if level < top else {}
    encoder |= pixel_middle(width) | affine("norm_out", width) | conv("conv_out", width, 2 * channels)

    decoder = conv("conv_in", channels, widths[-1]) | pixel_middle(widths[-1])
    for level in reversed(range(top + 1)):
        for block in range(blocks + 1):
            decoder |= under(f"up.{level}.block.{block}", pixel_block(width, widths[level]))
            width = widths[level]
        decoder |= conv(f"up.{level}.upsample.conv", width, width) if level else {}
    decoder |= affine("norm_out", width) | conv("conv_out", width, 3)
    quantise = conv("quant_conv", 2 * channels, 2 * channels, 1) | conv("post_quant_conv", channels, channels, 1)
    return under("encoder", encoder) | under("decoder", decoder) | quantise


def text(vocabulary: int, width: int, depth: int, hidden: int, tokens: int = 77) -> Layout:
    layer = affine("mlp.fc1", hidden, width) | affine("mlp.fc2", width, hidden)
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        layer |= affine(f"self_attn.{name}", width, width)
    layer |= affine("layer_norm1", width) | affine("layer_norm2", width)
    tower = affine("embeddings.token_embedding", vocabulary, width, bias=False)
    tower |= affine("embeddings.position_embedding", tokens, width, bias=False)
    for i in range(depth):
        tower |= under(f"encoder.layers.{i}", layer)
    return under("transformer.text_model", tower | affine("final_layer_norm", width))
