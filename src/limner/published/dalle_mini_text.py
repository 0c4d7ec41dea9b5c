"""How DALL-E mini reads a caption: its clean-up, step by step in the released order, then BART's byte pairs.

The release cleans with ftfy, emoji and unidecode. Here the standard library does it, which differs in this: of broken
encodings only UTF-8 read as Windows-1252 is mended; an emoji gets its Unicode name ("fox face"), not the CLDR one
("fox"); scripts without a Latin decomposition are dropped, not transliterated; and `<person>`, which the release
replaces at random, is always "a person". Captions in plain English come out the same.
"""

from __future__ import annotations

import html
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limner.errors import BadCheckpoint, MissingExtra
from limner.systems.text.words import BEGIN, END, PAD

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DOT, QUOTE, SLASH = "ɖ", "ɋ", "ʃ"
"""Stand for a protected . ' / while the others become commas. Letters, for they are part of a word meanwhile, and
not ASCII, which everything else is by then."""

LOOK_ALIKES = (
    "ßss æae ÆAE œoe ŒOE øo ØO łl ŁL đd ĐD ðd ÐD þth ÞTh ħh ĦH ıi ŋng ŊNG ‘' ’' ‚, ‛' “\" ”\" „,, «<< »>> ′' "
    "‐- ‑- ‒- –- —-- ―-- −- •* ·* ×x ¡! ¿? ÷/ ©(c) ®(r) °deg €EUR £PS ¢C/"
)
"""A character, then what it becomes. What isn't here is taken apart by Unicode, or dropped."""
ASCII = {ord(entry[0]): entry[1:] for entry in LOOK_ALIKES.split()}

HASHTAG_WORDS = "enwiki-words-frequency.txt"


def normalise(caption: str, costs: Mapping[str, float] | None = None) -> str:
    """A caption as DALL-E mini was trained on it: lower-case ASCII, punctuation as commas, a space in front.

    `costs`: log rank of words by frequency, by which hashtags fall apart; without it they stay whole.
    """
    text = mend(caption)
    text = html.unescape(html.unescape(text))
    text = "".join(f":{unicodedata.name(c, '')}:" if is_emoji(c) else c for c in text)
    text = to_ascii(text).lower()

    text = re.sub(r"<person>(?:[,\s]*(?:and)*[,\s]*<person>)+", " people ", text).replace("<person>", " a person ")
    text = re.sub(r"\A\s*\[\d+\]|\[\d+\]\s*\Z", "", text)  # a wiki reference
    text = re.sub(r"<[^<]+?>", "", text)
    text = re.sub(r"http\S+", "", text)
    for _ in range(2):  # 1,000,000: neighbouring groups share a digit
        text = re.sub(r"(\d),(\d{3})", r"\1\2", text)

    text = re.sub(r"(\w)\.(\w)", rf"\1{DOT}\2", text)
    text = re.sub(r"'(?=(?:[stdm]|ll|re|ve)\b)", QUOTE, text)
    text = re.sub(r"(\d)/(\d)", rf"\1{SLASH}\2", text)
    text = re.sub(r"(\w)-(\w)", r"\1 \2", text)
    text = re.sub(r"([%&/$*])", r" \1 ", text)
    text = re.sub(r"#([a-z0-9_]+)", lambda tag: hashtag(tag[1], costs or {}), text)
    text = re.sub(r"[_#\\]", " ", text)
    text = re.sub(r"['\"`]", ' " ', text)
    text = re.sub(r"[()\[\].,|:;?!=+~\-/{}]", ",", text)
    text = text.replace(DOT, ".").replace(QUOTE, "'").replace(SLASH, "/")

    text = re.sub(r"(\D)\1{3,}", r"\1", text)  # three may be meant: viii
    text = re.sub(r'\s*"[\s"]*', ' " ', text)
    text = re.sub(r"\s*,[\s,]*", ", ", text)
    text = re.sub(r"\s+", " ", text).strip()
    return " " + text.removesuffix(",").removeprefix(",").strip()


def mend(text: str) -> str:
    """UTF-8 that was read as Windows-1252, read right; without control characters."""
    with suppress(UnicodeError):
        text = text.encode("cp1252").decode("utf-8")
    return "".join(c for c in text if c in "\t\n\r" or unicodedata.category(c) != "Cc")


def is_emoji(character: str) -> bool:
    pictures = "\u2600" <= character <= "\u27bf" or character >= "\U0001f300"
    return pictures and unicodedata.category(character) == "So"


def to_ascii(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.translate(ASCII)).translate(ASCII)
    return decomposed.encode("ascii", "ignore").decode()


def hashtag(tag: str, costs: Mapping[str, float]) -> str:
    """ "catsanddogs" -> "cats and dogs": the cut of least cost. Digits stay together."""
    if not costs:
        return tag
    longest = max(map(len, costs))
    parts: list[str] = []
    for piece in re.findall(r"[a-z0-9]+", tag):
        best: list[tuple[float, int]] = [
            (0.0, 0)
        ]  # of the first i letters: their cost, and the length of the last word
        for i in range(1, len(piece) + 1):
            sizes = range(1, min(i, longest) + 1)
            best.append(min((best[i - size][0] + costs.get(piece[i - size : i], math.inf), size) for size in sizes))
        words: list[str] = []
        end = len(piece)
        while end:
            word = piece[end - best[end][1] : end]
            if words and word[-1].isdigit() and words[0][0].isdigit():
                words[0] = word + words[0]
            else:
                words.insert(0, word)
            end -= best[end][1]
        parts += words
    return " ".join(parts)


class BytePairs:
    """BART's tokeniser with DALL-E mini's own vocabulary: captions -> text tokens (B, length)."""

    def __init__(self, tokenizer: Tokenizer, length: int, costs: Mapping[str, float] | None = None) -> None:
        self.tokenizer = tokenizer
        self.length = length
        self.costs = costs

    @classmethod
    def open(cls, folder: Path, length: int = 64) -> BytePairs:
        """Read `vocab.json` and `merges.txt`, and the words for hashtags where they are there too."""
        try:
            from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        except ImportError as error:
            raise MissingExtra("Reading DALL-E mini's vocabulary", "diffusion") from error
        try:
            vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
            lines = (folder / "merges.txt").read_text("utf-8").splitlines()
            merges = [(a, b) for a, b in (line.split() for line in lines if line and not line.startswith("#version"))]
            tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
        except OSError as error:
            raise BadCheckpoint(
                f"{error.filename}: {error.strerror}. DALL-E mini's folder should hold vocab.json and merges.txt."
            ) from error
        except Exception as error:  # tokenizers raises bare exceptions for what it can't use
            raise BadCheckpoint(f"{folder}: vocab.json and merges.txt don't make a tokeniser: {error}") from error
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        known = folder / HASHTAG_WORDS
        words = known.read_text("utf-8").splitlines() if known.is_file() else []
        return cls(tokenizer, length, {line.split()[0]: math.log(rank) for rank, line in enumerate(words, 1) if line})

    def __call__(self, captions: Sequence[str]) -> Tensor:
        tokens = torch.full((len(captions), self.length), PAD)
        for row, caption in zip(tokens, captions, strict=True):
            ids = self.tokenizer.encode(normalise(caption, self.costs)).ids[: self.length - 2]
            row[: len(ids) + 2] = torch.tensor([BEGIN, *ids, END])
        return tokens

    def unknown(self, caption: str) -> tuple[str, ...]:
        """None: bytes can spell anything."""
        return ()
