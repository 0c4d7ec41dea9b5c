"""Words as tokens, for models of a small and known vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

BEGIN, PAD, END = 0, 1, 2  # BART's special text tokens
UNKNOWN = 3


class WordTokeniser:
    """Captions -> tokens, one a word: BEGIN, the words, END, then PAD, (B, length) int64."""

    def __init__(self, words: Iterable[str], length: int) -> None:
        self.words = tuple(words)
        self.length = length
        self.numbers = {word: UNKNOWN + 1 + i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        """The size of the vocabulary, special tokens included."""
        return UNKNOWN + 1 + len(self.words)

    @staticmethod
    def split(caption: str) -> list[str]:
        """Words and marks, in lower case."""
        return re.findall(r"[a-z0-9'-]+|[,:]", caption.lower())

    def __call__(self, captions: Sequence[str]) -> Tensor:
        rows = torch.full((len(captions), self.length), PAD)
        for row, caption in zip(rows, captions, strict=True):
            known = [self.numbers[word] for word in self.split(caption) if word in self.numbers][: self.length - 2]
            row[: len(known) + 2] = torch.tensor([BEGIN, *known, END])
        return rows

    def unknown(self, caption: str) -> tuple[str, ...]:
        """The words of a caption that have no token, each once; they are left out when it is read."""
        found = re.findall(r"[^\W_]+(?:['-][^\W_]+)*", caption.lower())
        return tuple(dict.fromkeys(word for word in found if word not in self.numbers))
