"""Writers retell each scene in words to be spoken and say what its picture shows.

`ExtractiveWriter` works offline and invents nothing: it keeps the story's own sentences and lines, the ones that
say most, in their order. Short scenes are told word for word.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from limner.film.language import count_words, sentences, terms
from limner.film.lexicon import Lexicon, without_speech
from limner.film.prompt import picture_prompts
from limner.film.rhyme import rhymes
from limner.film.split import SceneText
from limner.film.story import Story

Matrix = npt.NDArray[np.float64]

_DAMPING = 0.85  # of TextRank (Mihalcea and Tarau, 2004)
_NOVELTY = 0.3  # 1 - lambda of MMR (Carbonell and Goldstein, 1998)
_OPENING, _ENDING, _DANGLING, _TALK = 0.25, 2.0, 0.4, 0.4  # rewards and costs next to ranks in [0, 1]
_VERBATIM = 1.3  # a scene up to so many times the budget isn't worth shortening
_DANGLES = re.compile(
    r"[\"'“‘]?(?:he|she|it|they|him|her|this|that|these|those|his|their|its|which|who)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Scene:
    """One scene of the film. `original`: the story's words; `narration`: the words that are spoken; `prompt`: the
    picture, in the vocabulary; `cast`: the recurring characters in it; `place`, `time`, `mood`; `unknown`: what the
    writer wanted in the picture and the vocabulary doesn't have."""

    original: str
    narration: str
    prompt: str
    cast: tuple[str, ...]
    place: str
    time: str
    mood: str
    unknown: tuple[str, ...] = ()


class Writer(Protocol):
    """Makes a scene of each part of a story: the same number, in the same order."""

    def write(self, story: Story, scenes: Sequence[SceneText]) -> list[Scene]: ...


@dataclass(frozen=True)
class ExtractiveWriter:
    """`words`: about how many a scene's narration may have; the most telling sentences are kept up to that.
    `lexicon`: what pictures may show; by default what the `storybook` model draws."""

    words: int = 45
    lexicon: Lexicon | None = None

    def write(self, story: Story, scenes: Sequence[SceneText]) -> list[Scene]:
        narrations = [narrate(story, scene, self.words) for scene in scenes]
        originals = [scene.original for scene in scenes]
        prompts = picture_prompts(story, originals, narrations, self.lexicon)
        return [
            Scene(original, narration, prompt.text, prompt.cast, prompt.place, prompt.time, prompt.mood)
            for original, narration, prompt in zip(originals, narrations, prompts, strict=True)
        ]


def narrate(story: Story, scene: SceneText, words: int) -> str:
    """The part of `scene` that is spoken: all of it when it is short, else its most telling sentences or lines.
    Chapter headings aren't spoken, unless there is nothing else."""
    parts = _spoken_blocks(story, scene)
    texts = [text for text, _ in parts]
    if not parts:
        return scene.original
    verse = all(verse for _, verse in parts)
    if count_words(" ".join(texts)) <= words * _VERBATIM:
        return _capital("\n".join(texts) if verse else " ".join(texts))
    if verse:
        return _choose_lines("\n".join(texts), story.language, words)
    last = scene.span.end >= story.blocks[-1].span.end
    return _choose_sentences(texts, story.language, words, last)


def _spoken_blocks(story: Story, scene: SceneText) -> list[tuple[str, bool]]:
    """The text of each paragraph and stanza of a scene, and whether it is verse."""
    blocks = story.blocks
    first = max(0, bisect_right(blocks, scene.span.start, key=lambda block: block.span.start) - 1)
    inside = []
    for block in blocks[first:]:
        if block.span.start >= scene.span.end:
            break
        start, end = max(block.span.start, scene.span.start), min(block.span.end, scene.span.end)
        if start < end and block.kind in ("paragraph", "stanza"):
            inside.append((story.text[start:end].strip(), block.kind == "stanza"))
    return inside


@dataclass(frozen=True)
class _Piece:
    """A sentence or clause; `opens` and `closes`: the quotation marks it lacks when told without its neighbours."""

    text: str
    opens: str = ""
    closes: str = ""


def _choose_sentences(paragraphs: Sequence[str], language: str, words: int, last: bool) -> str:
    pieces = [piece for paragraph in paragraphs for piece in _pieces(paragraph, words)]
    texts = [piece.text for piece in pieces]
    likeness = _likeness(texts, language)
    rank = _rank(likeness)
    rank[0] += _OPENING
    rank[-1] += _ENDING if last else 0.0
    for i, piece in enumerate(pieces):
        talk = 1.0 if piece.opens else 1 - count_words(without_speech(piece.text)) / max(1, count_words(piece.text))
        rank[i] -= _DANGLING * bool(_DANGLES.match(piece.text)) + _TALK * talk
    chosen = _spread(texts, rank, likeness, words)
    told = []
    for i in chosen:
        opens = "" if i - 1 in chosen else pieces[i].opens
        closes = "" if i + 1 in chosen and pieces[i + 1].opens else pieces[i].closes
        told.append(f"{opens}{_capital(pieces[i].text)}{closes}")
    return " ".join(told)


def _pieces(paragraph: str, words: int) -> list[_Piece]:
    """The sentences of a paragraph, long ones in clauses, each with the quotation marks it would lack alone."""
    pieces, mark = [], ""
    for start, end in sentences(paragraph):
        for text in clauses(paragraph[start:end], words, inside=mark):
            before, mark = mark, _open_mark(text, mark)
            pieces.append(_Piece(text, before, _CLOSING.get(mark, "")))
    return pieces


_CLOSING = {'"': '"', "“": "”", "«": "»", "「": "」", "『": "』"}


def _open_mark(text: str, mark: str) -> str:
    """The quotation mark that is open after `text`, when `mark` was open before it."""
    for character in text:
        if mark and character == _CLOSING[mark]:
            mark = ""
        elif not mark and character in _CLOSING:
            mark = character
    return mark


def clauses(sentence: str, words: int, *, inside: str = "") -> list[str]:
    """A sentence of more than `words` words in parts that read as sentences: cut at semicolons, else colons, else
    before "and", "but", "so" and the like, never inside quotation marks (`inside` is the one open before it)."""
    if count_words(sentence) <= words:
        return [sentence]
    for mark in (r";\s+", r":\s+(?![\"“])", r",\s+(?=(?:and|but|so|for|till|when)\b)"):
        parts, start = [], 0
        for match in re.finditer(mark, sentence):
            long = count_words(sentence[start : match.start()]) >= words // 4 <= count_words(sentence[match.end() :])
            if long and not _open_mark(sentence[: match.start()], inside):
                parts.append(sentence[start : match.start()])
                start = match.end()
        if parts:
            return [done for part in (*parts, sentence[start:]) for done in clauses(_as_sentence(part), words)]
    return [sentence]


def _as_sentence(part: str) -> str:
    part = re.sub(r"^(?:and|but)\s+(?=\w)", "", part.strip())
    if part and not re.search(r"[.!?…][\"'”’»]*$", part):
        part = re.sub(r"[,;:—-]*$", "", part) + "."
    return _capital(part)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _likeness(pieces: Sequence[str], language: str) -> Matrix:
    """Cosine of the tf-idf vectors of all pairs of pieces; (N, N), in [0, 1], zero on the diagonal."""
    bags = [terms(piece, language) for piece in pieces]
    vocabulary = {term: i for i, term in enumerate(dict.fromkeys(term for bag in bags for term in bag))}
    counts = np.zeros((len(pieces), max(1, len(vocabulary))))
    for row, bag in enumerate(bags):
        for term in bag:
            counts[row, vocabulary[term]] += 1
    vectors = counts * np.log(1 + len(pieces) / (1 + (counts > 0).sum(0)))
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    likeness: Matrix = vectors @ vectors.T
    np.fill_diagonal(likeness, 0)
    return likeness


def _rank(likeness: Matrix) -> Matrix:
    """TextRank: how much each piece is spoken of by the others, scaled to [0, 1]."""
    count = len(likeness)
    sums = likeness.sum(1, keepdims=True)
    flow = np.where(sums > 0, likeness / np.where(sums > 0, sums, 1), 1 / count)
    rank = np.full(count, 1 / count)
    for _ in range(40):
        rank = (1 - _DAMPING) / count + _DAMPING * rank @ flow
    spread = np.ptp(rank)
    scaled: Matrix = (rank - rank.min()) / spread if spread > 1e-12 else np.full(count, 0.5)
    return scaled


def _spread(pieces: Sequence[str], rank: Matrix, likeness: Matrix, words: int) -> list[int]:
    """Pieces that are telling and unlike one another (MMR), as many as fit into `words`; in the story's order."""
    lengths = [count_words(piece) for piece in pieces]
    chosen: list[int] = []
    left = words * 1.15
    while candidates := [i for i in range(len(pieces)) if i not in chosen and lengths[i] <= left]:
        nearest = likeness[:, chosen].max(1) if chosen else np.zeros(len(pieces))
        best = max(candidates, key=lambda i: (1 - _NOVELTY) * rank[i] - _NOVELTY * nearest[i])
        chosen.append(best)
        left -= lengths[best]
        if left < words * 0.25:
            break
    return sorted(chosen) or [int(np.argmax(rank))]


def _choose_lines(text: str, language: str, words: int) -> str:
    """Whole lines of verse: the best run that begins and ends with a sentence or clause, and closes on a rhyme."""
    lines = text.split("\n")
    rank = _rank(_likeness(lines, language)) + 0.1
    lengths = [count_words(line) for line in lines]
    opens = [i == 0 or bool(re.search(r"[.!?;:…。！？][\"'”’»]*$", lines[i - 1])) for i in range(len(lines))]
    closes = [*opens[1:], True]
    best, best_score = (0, len(lines)), -1.0
    for start in range(len(lines)):
        total = 0
        for end in range(start + 1, len(lines) + 1):
            total += lengths[end - 1]
            if total > words * 1.15 and end > start + 1:
                break
            score = float(rank[start:end].sum()) * (1 + 0.3 * opens[start] + 0.5 * closes[end - 1])
            score *= (
                1 + 0.3 * (any(rhymes(line, lines[end - 1]) for line in lines[start : end - 1])) + 0.1 * (start == 0)
            )
            if score > best_score:
                best, best_score = (start, end), score
    return "\n".join(lines[slice(*best)])
