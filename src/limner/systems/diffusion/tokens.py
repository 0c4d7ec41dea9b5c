"""A tokenizer of CLIP's kind for a small vocabulary: each of its words is one token, anything else is spelled out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from limner.errors import MissingExtra

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LAST = "</w>"  # closes a token that ends a word


def vocabulary(words: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens with their numbers, and the merges in their order, that make one token of each word.

    A merge that is added for a word joins what the ones before it leave of that word. It comes after them, and so
    changes nothing for words that they already make whole.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    merges: dict[tuple[str, str], int] = {}
    for word in dict.fromkeys(words):
        pieces = _merged([*word[:-1], word[-1] + LAST], merges)
        while len(pieces) > 1:
            merges[pieces[0], pieces[1]] = len(merges)
            pieces = _merged([pieces[0] + pieces[1], *pieces[2:]], merges)
    tokens = [*letters, *(letter + LAST for letter in letters), *("".join(pair) for pair in merges)]
    # CLIP's two special tokens come last. A token that two merges make is one token.
    return {token: i for i, token in enumerate(dict.fromkeys([*tokens, START, END]))}, list(merges)


def _merged(pieces: list[str], merges: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding: of all neighbours that can be joined the pair with the lowest number is, again and again."""
    while len(pieces) > 1:
        ranks = [merges.get((a, b), len(merges)) for a, b in pairwise(pieces)]
        if (best := min(ranks)) == len(merges):
            break
        at = ranks.index(best)
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces


def word_tokenizer(words: Sequence[str], length: int) -> CLIPTokenizer:
    """A CLIPTokenizer that gives `length` tokens and knows these words (letters only, lower case)."""
    try:
        from transformers import CLIPTokenizer
    except ImportError:
        raise MissingExtra("Latent diffusion", "diffusion") from None
    tokens, merges = vocabulary(words)
    return CLIPTokenizer(vocab=tokens, merges=merges, model_max_length=length)
