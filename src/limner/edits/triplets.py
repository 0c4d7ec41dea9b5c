"""Triplets: a caption, an instruction, and the caption of the picture that obeys it. Their format and their files.

A language model gets the caption and `PROMPT_END`, and writes the instruction, `BETWEEN`, the edited caption and `END`.
The separators are the published ones, which makes triplets of any model and any time interchangeable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.data.files import read_file
from limner.errors import BadInput

PROMPT_END, BETWEEN, END = "\n##\n", "\n%%\n", "\nEND"
LONGEST = 2000  # characters of a caption or an instruction; 77 tokens, which CLIP reads, are about 300
SHOWN = 3  # broken lines that a message names


@dataclass(frozen=True)
class Source:
    """A caption to make a triplet of, and where its picture is, if it has one."""

    caption: str
    url: str = ""


@dataclass(frozen=True)
class Triplet:
    caption: str
    edit: str
    output: str
    url: str = ""

    @property
    def prompt(self) -> str:
        return prompt(self.caption)

    @property
    def completion(self) -> str:
        return f"{self.edit}{BETWEEN}{self.output}{END}"

    def line(self) -> str:
        """As a line of a file of triplets."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"


def prompt(caption: str) -> str:
    return caption + PROMPT_END


def same(first: str, second: str) -> bool:
    """Whether two captions are the same but for capitals, white space and the mark at the end."""
    return first.strip().strip(".!?").lower() == second.strip().strip(".!?").lower()


def judged(source: Source, completion: str, flagged: Callable[[str], bool] = lambda text: False) -> Triplet | str:
    """The triplet that a completion makes, or why it is rejected: the published rules, and that nothing is empty.

    flagged: whether a text is one that nobody should see
    """
    parts = completion.partition(END)[0].split(BETWEEN)  # a server that knows no stop words runs on behind the end
    if len(parts) != 2:
        return f"it has {len(parts)} parts between separators, not 2"
    edit, output = (" ".join(part.split()) for part in parts)
    if not edit or not output:
        return "the instruction or the edited caption is empty"
    if max(len(edit), len(output)) > LONGEST:
        return f"the instruction or the edited caption has more than {LONGEST:,} characters"
    if same(source.caption, output):
        return "the edited caption is the caption"
    if flagged(edit) or flagged(output):
        return "it was flagged by moderation"
    return Triplet(source.caption, edit, output, source.url)


def read_triplets(path: Path, told: Callable[[str], None] | None = None) -> list[Triplet]:
    """A file of JSON lines with caption (or input), edit and output; or prompt and completion, as models are taught.

    A line that is none is left out and `told`; without `told` it is an error. A file without a single one is.
    """
    found: list[Triplet] = []
    wrong: list[str] = []
    for number, row in _rows(path):
        triplet = None if row is None else triplet_of(row)
        if triplet is None:
            wrong.append(f"{path}, line {number}: should be a JSON object with caption, edit and output.")
        else:
            found.append(triplet)
    _complain(path, wrong, told)
    if not found:
        raise BadInput(f"{path} holds no triplets. `limner edits write` makes them.")
    return found


def triplet_of(row: Any) -> Triplet | None:
    """A JSON value as a triplet, if it is one."""
    if not isinstance(row, dict):
        return None
    if isinstance(text := row.get("prompt"), str) and isinstance(completion := row.get("completion"), str):
        made = judged(Source(text.removesuffix(PROMPT_END)), completion)
        return made if isinstance(made, Triplet) else None
    found = (row.get("caption", row.get("input")), row.get("edit"), row.get("output"))  # two key names were published
    texts = [" ".join(text.split()) if isinstance(text, str) else "" for text in found]
    if not all(texts) or max(map(len, texts)) > LONGEST:
        return None
    return Triplet(texts[0], texts[1], texts[2], url if isinstance(url := row.get("url", ""), str) else "")


def read_captions(path: Path, told: Callable[[str], None] | None = None) -> list[Source]:
    """Captions of a text file, one a line, or of JSON lines with caption, text or TEXT and perhaps url or URL.

    Each caption and each URL counts once. Bad lines are treated as by `read_triplets`.
    """
    found: list[Source] = []
    wrong: list[str] = []
    seen: set[str] = set()
    plain = path.suffix.lower() != ".jsonl"
    for number, row in _plain(path) if plain else _rows(path):
        source = Source(row) if isinstance(row, str) and plain else _source(row)
        if source is None or not source.caption or len(source.caption) > LONGEST:
            what = f"a caption of at most {LONGEST:,} characters" if plain else "a JSON object with a caption"
            wrong.append(f"{path}, line {number}: should be {what}.")
        elif source.caption not in seen and (not source.url or source.url not in seen):
            seen |= {source.caption, source.url}
            found.append(source)
    _complain(path, wrong, told)
    if not found:
        raise BadInput(f"{path} holds no captions: it should have one a line, or JSON lines with a caption each.")
    return found


def _source(row: Any) -> Source | None:
    if not isinstance(row, dict):
        return None
    caption = next((row[key] for key in ("caption", "text", "TEXT", "input") if isinstance(row.get(key), str)), None)
    url = next((row[key] for key in ("url", "URL") if isinstance(row.get(key), str)), "")
    return None if caption is None else Source(" ".join(caption.split()), url)


def _plain(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if caption := " ".join(line.split()):
            yield number, caption


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The numbers and values of a file's lines that aren't blank; None for one that is no JSON."""
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError):
            yield number, None


def _text(path: Path) -> str:
    if path.is_dir():
        raise BadInput(f"{path} is a folder; captions and triplets are in a file.")
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no text in UTF-8: {error}. Convert it first.") from error


def _complain(path: Path, wrong: list[str], told: Callable[[str], None] | None) -> None:
    if not wrong:
        return
    first = wrong[:SHOWN]
    if told is None:
        raise BadInput(" ".join(first))
    for line in first:
        told(line)
    if len(wrong) > SHOWN:
        told(f"... and {len(wrong) - SHOWN:,} more lines of {path} are left out.")


def written(triplets: Iterable[Triplet]) -> bytes:
    """A file of triplets."""
    return "".join(triplet.line() for triplet in triplets).encode()
