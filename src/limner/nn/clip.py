"""CLIP (Radford et al., ICML 2021): one space for pictures and words, in which a picture lies near what is said of it.

The networks are transformers' class, built by sizes; `limner.published.clip` fills them with published weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import BadInput, CannotDo, MissingExtra

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTokenizer

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Colours in [0, 1] of the pictures that CLIP was trained on."""


@dataclass(frozen=True)
class Sizes:
    """Of both towers; by default those of ViT-B/32, with 151,277,313 parameters."""

    space: int = 512  # dimensions that pictures and words share
    side: int = 224  # pixels of the square picture
    patch: int = 32  # pixels a side
    width: int = 768
    depth: int = 12
    heads: int = 12
    vocabulary: int = 49408
    tokens: int = 77
    text_width: int = 512
    text_depth: int = 12
    text_heads: int = 8


LARGE = Sizes(768, 224, 14, 1024, 24, 16, 49408, 77, 768, 12, 12)
"""ViT-L/14, 427,616,513 parameters."""


def build_clip(sizes: Sizes) -> CLIPModel:
    """Both towers with first weights."""
    try:
        from transformers import CLIPConfig, CLIPModel
    except ImportError:
        raise MissingExtra("CLIP", "diffusion") from None
    text = {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.text_width,
        "intermediate_size": 4 * sizes.text_width,
        "projection_dim": sizes.space,
        "num_hidden_layers": sizes.text_depth,
        "num_attention_heads": sizes.text_heads,
        "max_position_embeddings": sizes.tokens,
        # They only choose the state that the class pools, which nobody reads here; the last two of CLIP's vocabulary.
        "bos_token_id": sizes.vocabulary - 2,
        "eos_token_id": sizes.vocabulary - 1,
    }
    vision = {
        "image_size": sizes.side,
        "patch_size": sizes.patch,
        "hidden_size": sizes.width,
        "intermediate_size": 4 * sizes.width,
        "projection_dim": sizes.space,
        "num_hidden_layers": sizes.depth,
        "num_attention_heads": sizes.heads,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=sizes.space))


class CLIP(nn.Module):
    """`pictures` and `words` give unit vectors: their products are cosines, in [-1, 1].

    Nothing here is trained, and gradients flow through the pictures to whatever made them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: CLIPModel, tokenizer: CLIPTokenizer | None = None) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.tokenizer = tokenizer  # comes with a folder; not part of the weights
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    @property
    def name(self) -> str:
        """What a protocol calls it: CLIP ViT-B/32, for example."""
        vision = self.network.config.vision_config
        known = {12: "B", 24: "L", 32: "H"}.get(vision.num_hidden_layers, str(vision.num_hidden_layers))
        size = "" if self.side == 224 else f" at {self.side} pixels"
        return f"CLIP ViT-{known}/{self.patch}{size}"

    @property
    def side(self) -> int:
        """Pixels of the square picture that it was trained on."""
        return int(self.network.config.vision_config.image_size)

    @property
    def patch(self) -> int:
        return int(self.network.config.vision_config.patch_size)

    # Pictures

    def pictures(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> unit vectors (B, space).

        They are resized to a square straight away, bicubically and without antialiasing, and not clamped after: what
        the published metrics do (Brooks et al., 2023). CLIP's own preparation crops, and its numbers differ.
        """
        square = F.interpolate(pictures.to(self.mean), size=(self.side, self.side), mode="bicubic", align_corners=False)
        return F.normalize(self.look(self.normalised(square)), dim=-1)

    def normalised(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> the range that the towers take."""
        return (pictures - self.mean) / self.std

    def look(self, pixels: Tensor, *, published_grid: bool = False) -> Tensor:
        """Normalised (B, 3, H, W) of any size -> embeddings (B, space), of any length; see `positions`."""
        last = self.network.vision_model.encoder.layers[-1]
        return self.pooled(last(self.states(pixels, published_grid=published_grid), None))

    def states(self, pixels: Tensor, *, published_grid: bool = False) -> Tensor:
        """Normalised (B, 3, H, W) -> the class' and the patches' states (B, 1 + n, width) before the last block."""
        vision = self.network.vision_model
        patches: Tensor = vision.embeddings.patch_embedding(pixels)  # (B, width, rows, columns)
        first = vision.embeddings.class_embedding.expand(len(patches), 1, -1)
        positions = self.positions(*pixels.shape[-2:], published_grid=published_grid)
        x: Tensor = vision.pre_layrnorm(torch.cat([first, patches.flatten(2).mT], 1) + positions)
        for block in vision.encoder.layers[:-1]:
            x = block(x, None)
        return x

    def pooled(self, states: Tensor) -> Tensor:
        """States after the last block (B, 1 + n, width) -> embeddings (B, space): what the class' state says."""
        found: Tensor = self.network.visual_projection(self.network.vision_model.post_layernorm(states[:, 0]))
        return found

    def positions(self, height: int, width: int, *, published_grid: bool = False) -> Tensor:
        """Embeddings (1, 1 + n, width) of the class and the patches of a picture of this size, bicubic between the
        trained ones: DINO's way (Caron et al., 2021), which stretches to a tenth of a patch more.

        published_grid: as Text2LIVE's program has it, which exchanges the sides of a picture that isn't square
        """
        trained: Tensor = self.network.vision_model.embeddings.position_embedding.weight[None]
        side = math.isqrt(trained.shape[1] - 1)
        rows, columns = height // self.patch, width // self.patch
        if rows == columns == side and (height == width or not published_grid):
            return trained
        size = (columns, rows) if published_grid else (rows, columns)
        grid = trained[:, 1:].unflatten(1, (side, side)).movedim(-1, 1)
        stretch = tuple((length + 0.1) / side for length in size)
        grid = F.interpolate(grid, scale_factor=stretch, mode="bicubic")
        if grid.shape[-2:] != size:
            raise BadInput(f"CLIP can't look at {width}x{height} pixels: take another size.")
        return torch.cat([trained[:, :1], grid.flatten(2).mT], 1)

    # Words

    def words(self, words: Sequence[str]) -> Tensor:
        """B texts -> unit vectors (B, space). What is longer than 77 tokens is cut."""
        return F.normalize(self.read(self.tokens(words)), dim=-1)

    def tokens(self, words: Sequence[str]) -> Tensor:
        """B texts -> token numbers (B, 77): a start, the words', an end, and what isn't looked at."""
        if self.tokenizer is None:
            raise CannotDo(
                "This CLIP came without a tokenizer, so it can't read words. Put CLIP's vocab.json and merges.txt in a "
                "folder `tokenizer` beside its file, or in its own folder."
            )
        length = self.network.config.text_config.max_position_embeddings
        ids: Tensor = self.tokenizer(
            list(words), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids
        return ids.to(self.mean.device)

    def read(self, tokens: Tensor) -> Tensor:
        """Token numbers (B, 77) -> embeddings (B, space) from the state of the end token, the largest number."""
        states = self.network.text_model(tokens).last_hidden_state
        found: Tensor = self.network.text_projection(states[torch.arange(len(tokens)), tokens.argmax(-1)])
        return found
