"""DALL-E mini: words to a row of picture codes with a BART-like transformer (Dayma et al., 2021; Mega, 2022).

A bidirectional encoder reads the caption, a causal decoder writes the codes of a VQGAN picture row by row, one code a
step, and the VQGAN paints them. Layers are NormFormer's: a normalisation before and one after every attention. There
is no bias in any matrix product, and the normalisations that feed one have a bias but no scale.

The defaults are DALL-E mini (438 M parameters); `MEGA` is DALL-E mega (2.6 G). Neither is OpenAI's DALL-E.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Batch, Captioned
from limner.errors import BadInput, CannotDo
from limner.rng import Rng, torch_rng
from limner.system import Drawing, Game, Player, System, adam, config_from, to_uint8, warmup
from limner.systems.text.patch_codes import PatchCodes
from limner.systems.text.vqgan import VQGAN
from limner.systems.text.words import BEGIN, END, PAD, WordTokeniser


class Tokeniser(Protocol):
    """Captions as the text tokens of a model."""

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Text tokens (B, L), int64: BEGIN, the words, END, then PAD. A longer caption is cut, and keeps its END."""

    def unknown(self, caption: str) -> tuple[str, ...]:
        """The words of a caption that the model has no tokens for."""


@dataclass(frozen=True)
class Tokens(Batch):
    """A batch to train on: captions as text tokens (B, L) and pictures as image tokens (B, rows * columns), int64."""

    text: Tensor
    image: Tensor


class DalleMini(System):
    """Words to pictures. `draw` needs a tokeniser and a VQGAN; training and `sample` work on tokens alone."""

    config: Config
    tokenise: Tokeniser | None = None

    @dataclass(frozen=True)
    class Config:
        text_vocabulary: int = 50264
        image_vocabulary: int = 16384  # what the decoder can write; its embedding has one row more, to start from
        width: int = 1024
        encoder_layers: int = 12
        decoder_layers: int = 12
        heads: int = 16
        glu_width: int = 2730
        text_length: int = 64
        grid: tuple[int, int] = (16, 16)  # rows, columns of codes
        start_token: int | None = None  # None: the extra row, `image_vocabulary`
        norm_scales: bool = False  # the min-dalle port gives every normalisation a scale, left at 1
        vqgan: VQGAN.Config | PatchCodes.Config | None = field(
            default_factory=lambda: VQGAN.Config(value_range=(0.0, 1.0))
        )
        words: tuple[str, ...] = ()  # a vocabulary of whole words; without one, byte pairs are set from outside

        caption_drop: float = 0.1  # share of captions emptied in training, for guidance
        init_std: float = 0.02
        learning_rate: float = 1e-4
        warmup: int = 10_000  # steps; constant after
        ema: float | None = None  # decay of a moving average of the weights; published: none

        def __post_init__(self) -> None:
            if isinstance(self.vqgan, Mapping):  # read from JSON
                kind = VQGAN.Config if "multipliers" in self.vqgan else PatchCodes.Config
                object.__setattr__(self, "vqgan", config_from(kind, self.vqgan, "vqgan"))

        @property
        def start(self) -> int:
            return self.image_vocabulary if self.start_token is None else self.start_token

        @property
        def image_length(self) -> int:
            return self.grid[0] * self.grid[1]

        @property
        def codebook(self) -> int:
            """Tokens below this are codes that the VQGAN can paint; the decoder may know more (mega: 16415)."""
            return self.image_vocabulary if self.vqgan is None else min(self.vqgan.codebook, self.image_vocabulary)

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0, config.init_std)
        self.vqgan: VQGAN | PatchCodes | None = None  # made on its own; frozen here
        if config.vqgan is not None:
            codec = PatchCodes(config.vqgan) if isinstance(config.vqgan, PatchCodes.Config) else VQGAN(config.vqgan)
            self.vqgan = codec.requires_grad_(False)
        if config.words:
            self.tokenise = WordTokeniser(config.words, config.text_length)
        transformer, optimiser = (self.encoder, self.decoder), adam(config.learning_rate)
        player = Player(transformer, optimiser, warmup(config.warmup), config.ema, clip=1.0)
        self.players = {"transformer": player}

    # Training

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """Logits (B, N, image_vocabulary + 1) of image tokens (B, N), each from the tokens before it and the text."""
        started = F.pad(image[:, :-1], (1, 0), value=self.config.start)
        logits: Tensor = self.decoder(started, self.encoder(text), text != PAD)
        return logits

    def play(self, batch: Tokens | Captioned, rng: Rng) -> Game:
        """Cross-entropy of the image tokens. Some captions are emptied, so that the model can be guided. Training from
        `Tokens` saves encoding the pictures again and again."""
        tokens = self.read(batch) if isinstance(batch, Captioned) else batch
        self.check(tokens)
        text, image = tokens.text, tokens.image
        dropped = rng.uniform("caption drop") < self.config.caption_drop
        text = torch.where(dropped.to(text.device)[:, None], empty_caption(text), text)
        logits = self(text, image)
        yield "transformer", {"cross_entropy": F.cross_entropy(logits.flatten(0, 1), image.flatten())}

    def preview(self, batch: Tokens | Captioned, rng: Rng) -> Tensor:
        """The pictures of the batch, then what is drawn for its captions."""
        tokens = self.read(batch) if isinstance(batch, Captioned) else batch
        _, vqgan = self.complete()
        drawn = self.sample(tokens.text, rng.numbers)
        return torch.cat([vqgan.decode(codes.view(-1, *self.config.grid)) for codes in (tokens.image, drawn)])

    def read(self, batch: Captioned) -> Tokens:
        """Pictures and captions as tokens."""
        tokenise, vqgan = self.complete()
        image = vqgan.encode(batch.pictures).flatten(1)
        return Tokens(tokenise(batch.captions).to(image.device), image)

    def complete(self) -> tuple[Tokeniser, VQGAN | PatchCodes]:
        """The two ends of the model, or `CannotDo` when it was loaded without one."""
        if self.tokenise is None or self.vqgan is None:
            raise CannotDo(
                f"DALL-E mini: this model was loaded without its {'VQGAN' if self.vqgan is None else 'tokeniser'}, so "
                "it has tokens only. Load it from a folder with all its parts."
            )
        return self.tokenise, self.vqgan

    def check(self, tokens: Tokens) -> None:
        """Tokens that this model can't read raise `BadInput`."""
        config, text, image = self.config, tokens.text, tokens.image
        if text.shape[1] > config.text_length or image.shape[1:] != (config.image_length,):
            raise BadInput(
                f"DALL-E mini: text tokens {tuple(text.shape)} and image tokens {tuple(image.shape)} don't fit "
                f"at most {config.text_length} words and a grid of {config.grid[0]}x{config.grid[1]} codes. "
                "Tokenise with this model's configuration."
            )
        for name, ids, size in (("text", text, config.text_vocabulary), ("image", image, config.image_vocabulary)):
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= size:
                raise BadInput(
                    f"DALL-E mini: {name} tokens run from {low} to {high}, the {name} vocabulary from 0 to {size - 1}. "
                    f"Tokenise with this model's {'tokeniser' if name == 'text' else 'VQGAN'}."
                )

    # Inference

    @torch.inference_mode()
    def sample(
        self,
        text: Tensor,
        seeds: Sequence[int],
        *,
        guidance: float = 10.0,
        top_k: int | None = None,
        top_p: float | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Image tokens (B, rows * columns) below `config.codebook` for text tokens (B, L).

        Row i depends on `seeds[i]` and its own text alone. `guidance` is the super conditioning of `guide`; 1 is none,
        and costs half. Published: 10 and all codes; in min-dalle 16 and `top_k=256`.
        """
        guided = guidance != 1.0
        rows = len(text)
        if guided:
            text = torch.cat([empty_caption(text), text])  # (2B, L)
        reader = Reader(self.decoder, self.encoder(text), text != PAD)
        chance = torch.stack(
            [
                torch.rand(self.config.image_length, generator=torch_rng(seed, "draw"), dtype=torch.float64)
                for seed in seeds
            ]
        ).to(text.device)
        tokens = torch.full((rows, self.config.image_length + 1), self.config.start, device=text.device)
        for position in range(self.config.image_length):
            previous = tokens[:, position : position + 1]
            logits = reader.step(previous.repeat(2, 1) if guided else previous)[:, : self.config.codebook]
            if guided:
                unconditional, conditional = logits.chunk(2)
                logits = guide(unconditional, conditional, guidance)
            choice = probabilities(logits, top_k=top_k, top_p=top_p, temperature=temperature)
            tokens[:, position + 1] = pick(choice, chance[:, position])
        return tokens[:, 1:]

    @torch.no_grad()
    def likelihood(self, text: Tensor, image: Tensor) -> list[float]:
        """How likely the model finds image tokens (B, N) for text tokens (B, L): the geometric mean of the chances of
        each row's tokens, in (0, 1]."""
        losses = F.cross_entropy(self(text, image).flatten(0, 1), image.flatten(), reduction="none")
        likely: list[float] = (-losses.view(len(image), -1).mean(1)).exp().tolist()
        return likely

    def draw(
        self,
        words: str,
        *,
        count: int = 1,
        seed: int = 0,
        guidance: float = 10.0,
        top_k: int | None = None,
        top_p: float | None = None,
        temperature: float = 1.0,
    ) -> Drawing:
        """`count` candidate pictures; candidate i is that of `seed + i`, whatever the count. Options as in `sample`."""
        tokenise, vqgan = self.complete()
        seeds = tuple(range(seed, seed + count))
        text = tokenise([words]).to(self.decoder.positions.weight.device).expand(count, -1)
        codes = self.sample(text, seeds, guidance=guidance, top_k=top_k, top_p=top_p, temperature=temperature)
        pictures = vqgan.decode(codes.view(-1, *self.config.grid))
        return Drawing(to_uint8(pictures), None, seeds, tokenise.unknown(words))


MEGA = DalleMini.Config(
    text_vocabulary=50272,
    image_vocabulary=16415,
    width=2048,
    encoder_layers=24,
    decoder_layers=24,
    heads=32,
    glu_width=4096,
    start_token=16384,
    init_std=0.01,
)


def empty_caption(text: Tensor) -> Tensor:
    """BEGIN, END and padding in the shape of text tokens (B, L)."""
    empty = torch.full_like(text, PAD)
    empty[:, 0], empty[:, 1] = BEGIN, END
    return empty


def guide(unconditional: Tensor, conditional: Tensor, guidance: float) -> Tensor:
    """Super conditioning: logits pushed away from those of the empty caption."""
    return unconditional + guidance * (conditional - unconditional)


def probabilities(
    logits: Tensor, *, top_k: int | None = None, top_p: float | None = None, temperature: float = 1.0
) -> Tensor:
    """Logits (B, V) -> the chance of each token: the `top_k` best (all that tie with the last), at this temperature,
    and of those the fewest that hold `top_p` of the chance together."""
    if top_k is not None:
        least = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    chances = ((logits - logits.amax(-1, keepdim=True)) / temperature).softmax(-1)
    if top_p is not None:
        ordered, order = chances.sort(-1, descending=True)
        beyond = ordered.cumsum(-1) - ordered >= top_p
        chances = chances.masked_fill(beyond.gather(-1, order.argsort(-1)), 0)
        chances = chances / chances.sum(-1, keepdim=True)
    return chances


def pick(chances: Tensor, where: Tensor) -> Tensor:
    """The token (B,) at which the running sum of `chances` (B, V) passes `where` (B,) in [0, 1)."""
    running = chances.double().cumsum(-1)
    return torch.searchsorted(running, where[:, None] * running[:, -1:], right=True).squeeze(1)


# The networks. B captions, L text tokens, N image tokens, H heads, W = width, D = W / H.


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """(B, N, W) -> (B, H, N, D)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def memory(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What can be attended to in x (B, N, W): keys and values, (B, H, N, D) each."""
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(
        self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        y = F.scaled_dot_product_attention(self.split(self.query(x)), *memory, attn_mask=mask, is_causal=causal)
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out


class GatedUnit(nn.Module):
    """GLU with GELU, normalised before it and again at its full width (Shazeer, 2020; Shleifer et al., 2021)."""

    def __init__(self, width: int, glu_width: int, scales: bool) -> None:
        super().__init__()
        self.norm_in = inner_norm(width, scales)
        self.gate = nn.Linear(width, glu_width, bias=False)
        self.value = nn.Linear(width, glu_width, bias=False)
        self.norm_out = inner_norm(glu_width, scales)
        self.out = nn.Linear(glu_width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_in(x)
        out: Tensor = self.out(self.norm_out(F.gelu(self.gate(x)) * self.value(x)))
        return out


class EncoderLayer(nn.Module):
    def __init__(self, config: DalleMini.Config) -> None:
        super().__init__()
        self.norm_in = inner_norm(config.width, config.norm_scales)
        self.attention = Attention(config.width, config.heads)
        self.norm_out = nn.LayerNorm(config.width)
        self.glu = GatedUnit(config.width, config.glu_width, config.norm_scales)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.norm_in(x)
        x = x + self.norm_out(self.attention(y, self.attention.memory(y), mask))
        out: Tensor = x + self.glu(x)
        return out


class DecoderLayer(nn.Module):
    def __init__(self, config: DalleMini.Config) -> None:
        super().__init__()
        self.norm_in = inner_norm(config.width, config.norm_scales)
        self.attention = Attention(config.width, config.heads)
        self.norm_out = nn.LayerNorm(config.width)
        self.text_norm_in = inner_norm(config.width, config.norm_scales)
        self.text_attention = Attention(config.width, config.heads)
        self.text_norm_out = nn.LayerNorm(config.width)
        self.glu = GatedUnit(config.width, config.glu_width, config.norm_scales)

    def forward(self, x: Tensor, text: tuple[Tensor, Tensor], mask: Tensor, past: Past | None = None) -> Tensor:
        """x (B, N, W); with a `past`, x (B, 1, W) is the next token alone."""
        y = self.norm_in(x)
        memory = self.attention.memory(y)
        if past is not None:
            memory = past.extend(*memory)
        x = x + self.norm_out(self.attention(y, memory, causal=past is None))
        x = x + self.text_norm_out(self.text_attention(self.text_norm_in(x), text, mask))
        out: Tensor = x + self.glu(x)
        return out


class Encoder(nn.Module):
    """Text tokens (B, L) -> states (B, L, W). Padding is not attended to; what stands at it is of no meaning."""

    def __init__(self, config: DalleMini.Config) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.text_vocabulary, config.width)
        self.positions = nn.Embedding(config.text_length, config.width)
        self.norm_in = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.norm_out = inner_norm(config.width, config.norm_scales)

    def forward(self, text: Tensor) -> Tensor:
        x = self.norm_in(self.tokens(text) + self.positions.weight[: text.shape[1]])
        for layer in self.layers:
            x = layer(x, attend_to(text != PAD))
        out: Tensor = self.norm_out(x)
        return out


class Decoder(nn.Module):
    """Image tokens (B, N) that begin with the start token, text states (B, L, W) and which of them are words (B, L)
    -> logits (B, N, image_vocabulary + 1) of the token that follows each."""

    def __init__(self, config: DalleMini.Config) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.image_vocabulary + 1, config.width)
        self.positions = nn.Embedding(config.image_length, config.width)
        self.norm_in = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm_out = inner_norm(config.width, config.norm_scales)
        self.head = nn.Linear(config.width, config.image_vocabulary + 1, bias=False)

    def forward(self, image: Tensor, states: Tensor, words: Tensor) -> Tensor:
        x = self.norm_in(self.tokens(image) + self.positions.weight[: image.shape[1]])
        for layer in self.stack:
            x = layer(x, layer.text_attention.memory(states), attend_to(words))
        out: Tensor = self.head(self.norm_out(x))
        return out

    @property
    def stack(self) -> Sequence[DecoderLayer]:
        return cast("Sequence[DecoderLayer]", self.layers)


class Past:
    """The keys and values of the tokens so far: `extend` by one token, and get all."""

    def __init__(self, like: Tensor, heads: int, length: int) -> None:
        rows, width = like.shape[0], like.shape[-1]
        self.keys, self.values = like.new_empty(2, rows, heads, length, width // heads)
        self.length = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        at, self.length = self.length, self.length + 1
        self.keys[:, :, at], self.values[:, :, at] = keys[:, :, 0], values[:, :, 0]
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Reader:
    """A decoder with its memory of a text and of the tokens it was fed. Gives what the full pass gives, in time
    linear in the length of the row."""

    def __init__(self, decoder: Decoder, states: Tensor, words: Tensor) -> None:
        self.decoder = decoder
        self.mask = attend_to(words)
        self.texts = [layer.text_attention.memory(states) for layer in decoder.stack]
        length = decoder.positions.num_embeddings
        self.pasts = [Past(states, layer.attention.heads, length) for layer in decoder.stack]
        self.position = 0

    def step(self, tokens: Tensor) -> Tensor:
        """Feed one more token of each row (B, 1); logits (B, image_vocabulary + 1) of the next."""
        decoder = self.decoder
        x = decoder.norm_in(decoder.tokens(tokens) + decoder.positions.weight[self.position])
        for layer, text, past in zip(decoder.stack, self.texts, self.pasts, strict=True):
            x = layer(x, text, self.mask, past)
        self.position += 1
        logits: Tensor = decoder.head(decoder.norm_out(x))[:, 0]
        return logits


class ShiftNorm(nn.Module):
    """Layer normalisation with a bias and no scale: the matrix that follows has one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:]) + self.bias.to(x.dtype)


def inner_norm(width: int, scale: bool) -> nn.Module:
    """What stands before a matrix product: as published without a scale, as ported with one."""
    return nn.LayerNorm(width) if scale else ShiftNorm(width)


def attend_to(words: Tensor) -> Tensor:
    """(B, L), true at words -> a mask (B, 1, 1, L) for every head and query."""
    return words[:, None, None, :]
