"""From the bytes of a text file to its characters, whatever encoding its writer's program used.

Byte order marks and UTF-8 decide at once. Otherwise every legacy encoding that can read the bytes is tried, and
the one whose result looks most like writing wins: letters beside letters of their own script, lower case inside
words, the characters that languages use often. Standard library only.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter

from limner.errors import BadInput

_MARKS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_LEGACY = (
    "cp1252", "mac_roman", "latin_1", "cp932", "euc_jp", "gb18030", "big5", "cp949", "koi8_r", "cp1251", "cp1250",
    "cp1253", "cp1255", "cp1256", "cp874", "cp1254",
)  # fmt: skip
_NOT_TEXT = {
    b"%PDF": "a PDF", b"PK\x03\x04": "a zip package (Word, EPUB, OpenDocument ...)",
    b"\xd0\xcf\x11\xe0": "an old Word file", b"{\\rtf": "a rich-text (RTF) file", b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture", b"GIF8": "a picture", b"RIFF": "a sound, picture or film", b"ID3": "a sound",
    b"OggS": "a sound", b"\x1f\x8b": "a gzip archive", b"\x7fELF": "a program", b"MZ\x90": "a program",
    b"SQLite": "a database",
}  # fmt: skip

# The letters (beyond ASCII) that ordinary writing is made of; everything else is a sign of a wrong guess.
_WESTERN = frozenset("éèàçêâîôûùëïüöäßñóíáúåøæœãõ’‘“”„«»—–…¿¡ÉÀÖÄÜÅØ°£€")
_CENTRAL = frozenset("ąćęłńśźżčďěňřšťůžýőűăâîșțşţáéíóúöü„”’–—")
_HAN = frozenset(
    "的一是不了人我在有他这為为之大来來以个個中上们們到说說国國和地也子时時道出而要于就下得可你年生自会會那后後能对對着著事其里裡所去行过過家十"
    "用发發天如然作方成者多日都三小军二无無同么麼经經法当當起与與好看学學进進种種将將还還分此心前面又定见見只主没沒公从從知山水火木金土月狐狸葡萄"
    "老虎王女男父母兄弟花草鸟鳥鱼魚马馬牛羊狗猫貓森林海川雨雪風风春夏秋冬朝夜昔話手目口足今何思言語本入高長长白黒黑赤青"
)
_CYRILLIC = frozenset("оеаинтсрвлкмдпуяыьгзбчйхжшюцщэёі")
_GREEK = frozenset("αοιετσνηυρπκμλςωδγχθφβξζψάέήίόύώ")
_CONTEXT = re.compile(r"[^\x00-\x7f]")


def decode(data: bytes, source: str) -> str:
    """The text in `data`. Raises BadInput, naming `source`, when it is no text at all."""
    for mark, marked in _MARKS:
        if data.startswith(mark):
            return data.decode(marked, "replace")
    for magic, kind in _NOT_TEXT.items():
        if data.startswith(magic):
            raise BadInput(
                f"{source} is {kind}, not a text file. Save the story as plain text or Markdown and try again."
            )
    controls = len(re.findall(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", data[:100_000]))
    if b"\x00" in data or controls > len(data[:100_000]) // 100:
        if encoding := _wide(data):
            return data.decode(encoding, "replace")
        raise BadInput(f"{source} is a binary file, not text. Give a story as plain text or Markdown.")
    if b"\x1b$" in data:
        return data.decode("iso2022_jp", "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" or _mostly_utf8(data):
            return data.decode("utf-8", "replace")
    return data.decode(guess_legacy(data), "replace")


def _wide(data: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: the reading that gives writing of one script without control characters."""
    for encoding, unit in (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2)):
        try:
            text = data[: min(len(data), 8000) // unit * unit].decode(encoding)
        except UnicodeDecodeError as error:
            if error.start < 7990:
                continue
            text = data[: error.start].decode(encoding)
        scripts = Counter(_script(character) for character in text)
        known = scripts.total() - scripts["space"]
        if known and scripts["control"] == 0 and max(scripts[s] for s in scripts if s != "space") > 0.7 * known:
            return encoding
    return None


def _script(character: str) -> str:
    code = ord(character)
    if character.isspace() or (code >= 32 and not character.isalnum() and unicodedata.category(character)[0] in "PSM"):
        return "space"
    if unicodedata.category(character)[0] == "C" and character not in "\ufeff\u200b\u200c\u200d\u200e\u200f":
        return "control"
    if 0x3040 <= code <= 0x30FF or 0x4E00 <= code <= 0x9FFF:
        return "han"
    return "hangul" if 0xAC00 <= code <= 0xD7A3 else "latin" if code < 0x250 else hex(code >> 8)


def _mostly_utf8(data: bytes) -> bool:
    """A UTF-8 file with a few damaged bytes: far more good multi-byte characters than bad bytes."""
    text = data.decode("utf-8", "replace")
    bad = text.count("�")
    return sum(1 for _ in _CONTEXT.finditer(text)) - bad > 20 * bad


def guess_legacy(data: bytes) -> str:
    """The legacy encoding in which `data` reads best."""
    lines = [line for line in data.split(b"\n") if any(byte > 127 for byte in line)]
    sample = b"\n".join(lines)[:48_000].rsplit(b"\n", 1)[0] if len(lines) > 1 else data[:48_000]
    best, best_score = "cp1252", float("-inf")
    for encoding in _LEGACY:
        try:
            text = sample.decode(encoding)
        except UnicodeDecodeError as error:
            if error.start < len(sample) - 4:  # a character cut by the sample's end is no evidence
                continue
            text = sample[: error.start].decode(encoding)
        score = _plausible(text)
        if score > best_score + 1e-9:
            best, best_score = encoding, score
    return best


def _plausible(text: str) -> float:
    """Mean plausibility, in about [-2, 1], of the characters of `text` beyond ASCII."""
    total, count = 0.0, 0
    for match in _CONTEXT.finditer(text):
        at = match.start()
        total += _weigh(text[at], text[at - 1 : at], text[at + 1 : at + 2])
        count += 1
    return total / max(count, 1)


def _weigh(character: str, before: str, after: str) -> float:
    code, latin_beside = (
        ord(character),
        (before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha()),
    )
    if 0x3041 <= code <= 0x30FF:
        return 0.9
    if 0x4E00 <= code <= 0x9FFF:
        return -1.5 if latin_beside else 1.0 if character in _HAN else 0.45
    if 0xAC00 <= code <= 0xD7A3:
        return -1.0 if latin_beside or not _common_hangul(character) else 0.9
    if 0x3000 <= code <= 0x303F or 0xFF01 <= code <= 0xFF5E:
        return 0.6
    if 0x0400 <= code <= 0x04FF:
        if latin_beside or (character.isupper() and before.islower()):
            return -1.5
        if character.isupper() and before.isupper():
            return 0.3  # a whole text of capitals is a wrong guess more often than a shout
        return 0.8 if character.lower() in _CYRILLIC else -0.5
    if 0x0370 <= code <= 0x03FF:
        misplaced = (character.isupper() and before.islower()) or (character == "ς" and after.isalpha())
        return -1.5 if latin_beside or misplaced else 0.8 if character.lower() in _GREEK else 0.0
    if 0x05D0 <= code <= 0x05EA or 0x0620 <= code <= 0x064A or 0x0E01 <= code <= 0x0E5B:
        return -1.5 if latin_beside else 0.8
    if code < 0x2100:
        return _weigh_western(character, before, after)
    return -2.0  # private use, box drawing, half-width kana, rare extensions: the marks of a wrong guess


def _common_hangul(character: str) -> bool:
    """Whether it is one of the 2,350 syllables of KS X 1001, which nearly all Korean writing keeps to."""
    try:
        return len(character.encode("euc_kr")) == 2  # longer: spelt out by its parts
    except UnicodeEncodeError:
        return False


def _weigh_western(character: str, before: str, after: str) -> float:
    if character in "’‘“”„«»¿¡":
        opens = character in "‘“„«¿¡"
        misplaced = (opens and before.isalpha()) or (character in "”»" and after.isalpha())
        return 0.0 if misplaced else 1.0
    if character in "—–… ":
        return 0.9
    if character.isalpha() and ord(character) < 0x250:
        if character.isupper() and (before.islower() or (after.islower() and before.isalpha())):
            return -1.5
        if not (before.isalpha() or after.isalpha()):
            return 0.5 if character in "àÀéèóíáúöåÅÉâăîśżąęšžůřčěö" else -1.0
        if not any(beside.isascii() and beside.isalpha() for beside in (before, after)):
            return -1.0  # in Latin writing an accented letter stands beside a plain one
        return 1.0 if character in _WESTERN else 0.8 if character in _CENTRAL else -0.4
    return -0.2 if character in "°£€§©®·" else -1.2
