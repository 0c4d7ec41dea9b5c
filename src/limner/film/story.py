"""A story as its writer saved it, made ready: title, author, language, and blocks that know where they lie.

`Story.text` is the readable text alone: licence headers, front matter and Markdown signs are gone, soft-wrapped
prose is joined, verse keeps its lines, blocks are parted by an empty line. Every `Span` counts in it.
"""

from __future__ import annotations

import re
import statistics
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limner.errors import BadInput
from limner.film.decode import decode
from limner.film.language import UNSPACED, guess_language

LARGEST_FILE = 20_000_000  # bytes; the longest novels are about 6 MB

Kind = Literal["paragraph", "stanza", "heading", "break"]


@dataclass(frozen=True)
class Span:
    """Characters `start` up to `end` of `Story.text`."""

    start: int
    end: int

    def of(self, text: str) -> str:
        return text[self.start : self.end]


@dataclass(frozen=True)
class Block:
    """A paragraph, a stanza, a chapter heading, or a break made by hand (an empty span).

    `lines`: the lines of a stanza; a paragraph has one."""

    kind: Kind
    span: Span
    lines: tuple[Span, ...]


@dataclass(frozen=True)
class Story:
    """`language` is a BCP-47 primary tag, `"und"` when it can't be told; `source` the file it came from, or empty."""

    title: str
    author: str
    text: str
    language: str
    verse: bool
    source: str
    blocks: tuple[Block, ...]


def read_story(path: Path) -> Story:
    """Reads a text or Markdown file in any common encoding (see `decode`).

    A story without a title of its own is called after its file. Raises BadInput when the file is missing, empty,
    larger than 20 MB, or not text.
    """
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a folder. Give the text file that holds the story.")
        size = path.stat().st_size
        if size > LARGEST_FILE:
            limit = LARGEST_FILE // 1_000_000
            raise BadInput(f"{path} has {size / 1e6:.0f} MB; a story may have up to {limit} MB. Split it into parts.")
        data = path.read_bytes()
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"can't be read ({error.strerror})"
        raise BadInput(f"The story {path} {reason}. Check the path and try again.") from None
    return parse_story(decode(data, str(path)), source=str(path))


def parse_story(text: str, *, source: str = "") -> Story:
    """Finds title, author, language and blocks in `text`. Raises BadInput when there is nothing to tell."""
    text = _clean(text)
    text, title, author = _cut_licence(text)
    text, fields = _cut_front_matter(text)
    title, author = fields.get("title", title), fields.get("author", author)
    groups = _groups([_strip_inline(line) for line in _strip_markdown(text)])
    if not any(_speaks(line.text) for group in groups for line in group):
        where = source or "The story"
        raise BadInput(
            f"{where} is empty: there are no words in it. Write or paste a story into the file and try again."
        )
    groups, title, author = _take_title(groups, title, author)
    verse = _is_verse(groups)
    body, blocks = _lay_out(groups, verse)
    if not title and source:
        title = re.sub(r"[-_\s]+", " ", Path(source).stem).strip().capitalize()
    language = fields.get("language", "") or guess_language(body)
    return Story(title, author, body, language.split("-")[0].split("_")[0].lower(), verse, source, blocks)


@dataclass(frozen=True)
class _Line:
    text: str
    kind: Literal["text", "heading", "break"] = "text"
    indent: int = 0


_Group = list[_Line]
_CONTROLS = {c: None for c in range(32) if chr(c) not in "\n\t"} | {0x7F: None, 0xFEFF: None, 0xAD: None, 0x200B: None}
_RULE = re.compile(r"\s*(?:(?:[-*_~=•·⁂❦☙]\s*){3,}|⁂|❦|☙)\s*")
_LICENCE = re.compile(r"^\W*(START|END) OF (?:THE |THIS )?PROJECT GUTENBERG.*$", re.IGNORECASE | re.MULTILINE)
_FIELD = re.compile(r"^\s*(title|author|language)\s*:\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_BY = re.compile(
    r"(?:written |told |retold )?(?:by|von|par|por|di|door|af|av|written by|作者[：:]|作|著|автор:)\s+(\S.{1,60})",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?:chapter|canto|part|book|fytte|fit|kapitel|chapitre|capítulo|capitolo|глава|scene|story)\b.{0,60}|"
    r"[IVXLC]{1,7}\.?|\d{1,3}\.?|第[一二三四五六七八九十百\d]+[章回節节話话].{0,30}",
    re.IGNORECASE,
)


def _speaks(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    text = re.sub(r"[\x0b\x0c\x85]", "\n", text).translate(_CONTROLS).expandtabs(4)
    return unicodedata.normalize("NFC", re.sub(r"[\ud800-\udfff]", "\ufffd", text))


def _cut_licence(text: str) -> tuple[str, str, str]:
    """Project Gutenberg's header and footer; its "Title:" and "Author:" lines are kept as fields."""
    title = author = ""
    for mark in list(_LICENCE.finditer(text))[::-1]:
        if mark[1].upper() == "END":
            text = text[: mark.start()]
        else:
            fields = {name.lower(): value for name, value in _FIELD.findall(text[: mark.start()])}
            title, author = fields.get("title", ""), fields.get("author", "")
            text = text[mark.end() :]
            break
    return re.sub(r"\A\s*(?:E-text prepared|Produced|Transcribed) by .*\n(?:.+\n)*", "\n", text), title, author


def _cut_front_matter(text: str) -> tuple[str, dict[str, str]]:
    """The `---` block of names and values that Markdown files may begin with."""
    match = re.match(r"\s*---[ ]*\n((?:[ \t]*(?:[\w-]+[ ]*:.*|- .*|#.*)?\n){1,60}?)(?:---|\.\.\.)[ ]*(?:\n|\Z)", text)
    if not match or ":" not in match[1]:
        return text, {}
    fields = {
        name.lower(): value.strip("\"' ")
        for name, value in re.findall(r"^([\w-]+)[ ]*:[ ]*(\S.*?)[ ]*$", match[1], re.MULTILINE)
    }
    fields["language"] = fields.get("language", fields.get("lang", ""))
    return text[match.end() :], {name: value for name, value in fields.items() if value}


def _strip_markdown(text: str) -> list[_Line]:
    """Lines with their block signs (headings, quotes, rules, fences, comments) taken off and remembered."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    lines: list[_Line] = []
    for raw in text.split("\n"):
        quoted = re.sub(r"^\s{0,3}(?:>\s?)+", "", raw)
        line = quoted.strip()
        if re.fullmatch(r"(?:```|~~~)\w*", line):
            lines.append(_Line(""))
        elif len(line) >= 3 and re.fullmatch(r"=+|-+", line) and lines and _short(lines[-1]) and _starts_alone(lines):
            lines[-1] = _Line(lines[-1].text, "heading")  # a heading underlined
        elif _RULE.fullmatch(line) and len(line) <= 80 and line:
            lines.append(_Line("", "break"))
        elif heading := re.fullmatch(r"#{1,6}\s+(.*?)\s*#*", line):
            lines.append(_Line(heading[1], "heading"))
        else:
            lines.append(_Line(line, indent=len(quoted) - len(quoted.lstrip())))
    return lines


def _short(line: _Line) -> bool:
    return line.kind == "text" and 0 < len(line.text) <= 70


def _starts_alone(lines: list[_Line]) -> bool:
    return len(lines) < 2 or not lines[-2].text


def _strip_inline(line: _Line) -> _Line:
    """Emphasis, links, pictures and escapes; the words stay."""
    text = line.text
    if any(sign in text for sign in "*_[`\\<"):
        text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
        text = re.sub(r"\[([^\]]+)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)", r"\1", text)
        text = re.sub(r"(?<![\w*])(\*{1,3})(?=\S)(.+?)(?<=\S)\1(?![\w*])", r"\2", text)
        text = re.sub(r"(?<![\w_])(_{1,3})(?=\S)(.+?)(?<=\S)\1(?![\w_])", r"\2", text)
        text = re.sub(r"`([^`]+)`", r"\1", text)
        text = re.sub(r"</?(?:br|p|em|i|b|strong|center|div|span)\b[^<>]*>", " ", text)
        text = re.sub(r"\\([\\*_`\[\]#>~-])", r"\1", text)
    return _Line(re.sub(r"\s+", " ", text).strip(), line.kind, line.indent)


def _groups(lines: list[_Line]) -> list[_Group]:
    """Lines between empty lines; a heading or a break stands alone."""
    groups: list[_Group] = [[]]
    for line in lines:
        if line.kind != "text":
            if line.kind == "break" or _speaks(line.text):
                groups += [[line], []]
        elif line.text:
            groups[-1].append(line)
        elif groups[-1]:
            groups.append([])
    return [group for group in groups if group]


def _take_title(groups: list[_Group], title: str, author: str) -> tuple[list[_Group], str, str]:
    """The title and author lines at the top, taken out of the story."""
    while groups and groups[0][0].kind == "break":
        groups = groups[1:]
    rest = groups
    if len(groups) > 1 and _could_be_title(groups[0], groups[1:]):
        head, rest = groups[0], groups[1:]
        found, *more = [line.text for line in head]
        if more and (by := _BY.fullmatch(more[-1])):
            author, more = author or by[1], more[:-1]
        if not title or _same(title, found) or head[0].kind == "heading":
            title = title or _title_case(" ".join([found, *more]))
        else:
            rest = groups
    if len(rest) > 1 and len(rest[0]) == 1 and (by := _BY.fullmatch(rest[0][0].text)):
        author, rest = author or by[1], rest[1:]
    return rest, title.strip('"“”«»*_ '), _title_case(author.strip("*_ .,"))


def _could_be_title(head: _Group, rest: list[_Group]) -> bool:
    if not any(_speaks(line.text) for group in rest for line in group):
        return False
    if head[0].kind == "heading":
        return True
    texts = [line.text for line in head]
    if len(texts) > 1 and _BY.fullmatch(texts[-1]):
        texts = texts[:-1]
    if len(texts) > 2 or any(len(text) > 70 for text in texts) or _NUMBERED.fullmatch(texts[0]):
        return False
    line = texts[-1]
    if re.search(r"[,;:。，、—-]$", line) or (
        line.endswith(".") and line[:-1].upper() != line[:-1] and len(line.split()) > 7
    ):
        return False
    if line.isupper() or len(texts) < len(head):
        return True
    if not any(c.isupper() or c.islower() for c in line):  # a script without capitals
        return len(line) <= 25 and not re.search(r"[。！？」』]$", line)
    small = {
        "a",
        "an",
        "the",
        "of",
        "and",
        "in",
        "on",
        "to",
        "at",
        "or",
        "for",
        "with",
        "who",
        "that",
        "from",
        "und",
        "et",
        "y",
        "e",
        "de",
        "la",
    }
    names = [word for word in line.split() if word.lower() not in small]
    longer = any(len(line.text) > len(texts[0]) for group in rest[:2] for line in group)
    return (
        bool(names)
        and not line.endswith((".", "!", "”", '"'))
        and ((len(texts) == 1 and longer) or names[0][0].isupper())
    )


def _same(a: str, b: str) -> bool:
    return "".join(filter(str.isalnum, a.lower())) == "".join(filter(str.isalnum, b.lower()))


def _title_case(text: str) -> str:
    """Capitals that shout are set as a title; anything else stays as written."""
    if not text.isupper() or len(text) < 4:
        return text.rstrip(".") if text.count(".") == 1 else text
    small = {"a", "an", "the", "of", "and", "in", "on", "to", "at", "or", "for", "with", "from", "who"}
    set_words = [
        w if i and w in small else "-".join(p[:1].upper() + p[1:] for p in w.split("-"))
        for i, w in enumerate(text.rstrip(".").lower().split())
    ]
    return " ".join(set_words)


def _is_verse(groups: list[_Group]) -> bool:
    """Verse breaks its lines before the margin and begins most of them with a capital (where there are capitals).

    Hard-wrapped prose fills its lines: all but the last of each paragraph are about equally long.
    """
    runs = [[line.text for line in group] for group in groups if len(group) > 1]
    lines = [text for run in runs for text in run]
    single = sum(len(group) == 1 and group[0].kind == "text" and len(group[0].text) > 80 for group in groups)
    if len(lines) < 2 or single > len(runs) or statistics.median(map(len, lines)) > 64:
        return False
    later = [text.lstrip("\"'“‘«(—-") for run in runs for text in run[1:]]
    cased = [text for text in later if text[:1].isupper() or text[:1].islower()]
    if len(cased) * 2 > len(later):
        capitals = sum(text[0].isupper() for text in cased) / len(cased)
        full = [len(text) for run in runs for text in run[:-1]]
        even = len(full) > 3 and statistics.pstdev(full) < 0.08 * statistics.mean(full) and capitals < 0.75
        pauses = sum(bool(re.search(r"\W$", text)) for text in lines) / len(lines)
        return (capitals >= 0.6 and not even) or (capitals < 0.6 and max(map(len, lines)) < 48 and pauses > 0.5)
    return max(map(len, lines)) <= 36 and statistics.median(map(len, lines)) <= 24


def _lay_out(groups: list[_Group], verse: bool) -> tuple[str, tuple[Block, ...]]:
    """The text of the story and the blocks in it."""
    pieces: list[str] = []
    blocks: list[Block] = []
    at = 0
    for group in groups:
        for kind, lines in _as_blocks(group, verse):
            if kind == "break":
                if blocks and blocks[-1].kind != "break":
                    blocks.append(Block("break", Span(at, at), ()))
                continue
            start = at = at + (2 if pieces else 0)
            spans = []
            for line in lines:
                spans.append(Span(at, at + len(line)))
                at += len(line) + 1
            at -= 1
            pieces.append("\n".join(lines))
            blocks.append(Block(kind, Span(start, at), tuple(spans)))
    while blocks and blocks[-1].kind == "break":
        blocks.pop()
    return "\n\n".join(pieces), tuple(blocks)


def _as_blocks(group: _Group, verse: bool) -> list[tuple[Kind, list[str]]]:
    first = group[0]
    if first.kind != "text":
        return [(first.kind, [first.text])]
    texts = [line.text for line in group]
    if not any(map(_speaks, texts)):
        return [("break", [])] if len(" ".join(texts)) < 12 else []
    if len(texts) == 1 and _NUMBERED.fullmatch(texts[0]):
        return [("heading", texts)]
    if verse and max(map(len, texts)) <= 100:
        if len(texts) > 2 and _NUMBERED.fullmatch(texts[0]):
            return [("heading", texts[:1]), ("stanza", texts[1:])]
        return [("stanza", texts)]
    if len(texts) > 1 and statistics.median(map(len, texts)) > 100:  # one line is one paragraph
        return [("paragraph", [text]) for text in texts]
    return [("paragraph", [_join(part)]) for part in _by_indent(group)]


def _by_indent(group: _Group) -> list[list[str]]:
    """Paragraphs that are told apart by an indented first line only."""
    flush = sum(line.indent == 0 for line in group) > len(group) / 3
    parts: list[list[str]] = []
    for line in group:
        if not parts or (flush and line.indent > 0):
            parts.append([])
        parts[-1].append(line.text)
    return parts


def _join(lines: list[str]) -> str:
    """Soft-wrapped lines as one; unspaced scripts and words at a hyphen join without a space."""
    text = lines[0]
    for line in lines[1:]:
        unspaced = re.search(rf"[{UNSPACED}。、，！？」』]$", text) and re.match(rf"[{UNSPACED}「『]", line)
        hyphen = re.search(r"[a-zà-ÿ]{2}-$", text) and re.match(r"[a-zà-ÿ]{2}", line)
        text += line if unspaced or hyphen else " " + line
    return text
