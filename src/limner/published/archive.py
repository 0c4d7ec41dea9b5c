"""Zip files, read strictly: nothing is unpacked to the disk, and nothing may be said in two ways.

Only what PyTorch and numpy write is taken: every entry under its own plain name, in its own bytes, uncompressed or
deflated within bounds. Sizes are checked before memory is taken.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from mmap import mmap

from limner.errors import BadCheckpoint

LARGEST_DIRECTORY = 8 << 20  # bytes; some hundred thousand entries
STORED, DEFLATED = 0, 8
SLACK, RATIO = 16 << 20, 16
"""What all entries of a file may inflate to: so many bytes, and so many for each byte of the file. Weights hardly
shrink at all."""

END = struct.Struct("<4s4H2IH")
END_64_PLACE = struct.Struct("<4sIQI")
END_64 = struct.Struct("<4sQ2H2I4Q")
ENTRY = struct.Struct("<4s6H3I5H2I")
LOCAL = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True, slots=True)
class Entry:
    """A member: its bytes are `stored` from `start` on, and `size` when inflated."""

    name: str
    start: int
    stored: int
    size: int
    method: int
    checksum: int


def entries(whole: mmap) -> dict[str, Entry]:
    """Every member by its name. Anything that isn't plain is a BadCheckpoint."""
    try:
        found = _directory(whole)
    except (struct.error, ValueError, IndexError) as error:
        raise BadCheckpoint(f"a damaged zip file: {error}.") from None
    by_place = sorted(found.values(), key=lambda entry: entry.start)
    if any(first.start + first.stored > second.start for first, second in pairwise(by_place)):
        raise BadCheckpoint("a forged zip file: its entries overlap.")
    if sum(entry.size for entry in by_place) > SLACK + RATIO * len(whole):
        raise BadCheckpoint("a zip bomb: its entries would inflate to far more than weights do.")
    return found


def content(whole: mmap, entry: Entry) -> bytes:
    """An entry's bytes, inflated where it is deflated, and checked."""
    packed = whole[entry.start : entry.start + entry.stored]
    if entry.method == DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            packed = inflater.decompress(packed, entry.size + 1)
        except zlib.error as error:
            raise BadCheckpoint(f"a damaged zip file: {entry.name}: {error}.") from None
    if len(packed) != entry.size or zlib.crc32(packed) != entry.checksum:
        raise BadCheckpoint(f"a damaged zip file: {entry.name} isn't what the directory says.")
    return packed


def _directory(whole: mmap) -> dict[str, Entry]:
    start, size, count = _place(whole)
    if size > LARGEST_DIRECTORY:
        raise BadCheckpoint("a zip file with far more entries than weights have.")
    found: dict[str, Entry] = {}
    at = start
    while at < start + size:
        entry, at = _entry(whole, at, start)
        if entry.name in found:
            raise BadCheckpoint(f"a forged zip file: it has {entry.name} twice.")
        if not entry.name.endswith("/"):
            found[entry.name] = entry
    if at != start + size or len(found) > count:
        raise BadCheckpoint("a damaged zip file: its directory isn't as long as it says.")
    return found


def _place(whole: mmap) -> tuple[int, int, int]:
    """Where the directory begins, its bytes and its entries: it must reach to the record that ends the file."""
    end = whole.rfind(b"PK\x05\x06", max(0, len(whole) - END.size - 0xFFFF))
    if end < 0:
        raise BadCheckpoint("a damaged zip file: it is cut off.")
    _, disk, _, _, count, size, start, comment = END.unpack(whole[end : end + END.size])
    if disk or end + END.size + comment != len(whole):
        raise BadCheckpoint("a damaged zip file: it doesn't end where it says.")
    before = end - END_64_PLACE.size
    if before >= 0 and whole[before : before + 4] == b"PK\x06\x07":
        _, _, place, _ = END_64_PLACE.unpack(whole[before:end])
        if place + END_64.size > before:
            raise BadCheckpoint("a damaged zip file: its directory is elsewhere.")
        signature, *_, count, size, start = END_64.unpack(whole[place : place + END_64.size])
        if signature != b"PK\x06\x06":
            raise BadCheckpoint("a damaged zip file: its directory is elsewhere.")
        end = place
    if start + size != end:
        raise BadCheckpoint("a damaged zip file: its directory is elsewhere.")
    return start, size, count


def _entry(whole: mmap, at: int, directory: int) -> tuple[Entry, int]:
    fields = ENTRY.unpack(whole[at : at + ENTRY.size])
    signature, _, _, flags, method, _, _, checksum, stored, size, name_length, extra_length, comment = fields[:13]
    place = fields[-1]
    after = at + ENTRY.size + name_length + extra_length + comment
    raw = whole[at + ENTRY.size : at + ENTRY.size + name_length]
    extra = whole[at + ENTRY.size + name_length : at + ENTRY.size + name_length + extra_length]
    name = str(raw, "utf-8")
    if signature != b"PK\x01\x02":
        raise BadCheckpoint("a damaged zip file: its directory is broken.")
    parts = name.rstrip("/").split("/")
    if not name.isprintable() or "\\" in name or not all(parts) or ".." in parts or ":" in parts[0]:
        raise BadCheckpoint(f"a forged zip file: it has an entry called {name[:100]!a}.")
    if flags & 1:
        raise BadCheckpoint("an encrypted zip file.")
    if method not in (STORED, DEFLATED):
        raise BadCheckpoint(f"a zip file with entries packed in a way ({method}) that weights never are.")
    wide = [name for name, value in (("size", size), ("stored", stored), ("place", place)) if value == 0xFFFFFFFF]
    if wide:
        values = dict(zip(wide, _wide(extra, len(wide)), strict=True))
        size, stored, place = values.get("size", size), values.get("stored", stored), values.get("place", place)
    if method == STORED and stored != size:
        raise BadCheckpoint(f"a forged zip file: {name} has two sizes.")
    signature, *_, local_length, local_extra = LOCAL.unpack(whole[place : place + LOCAL.size])
    start = place + LOCAL.size + local_length + local_extra
    if signature != b"PK\x03\x04" or whole[place + LOCAL.size : place + LOCAL.size + local_length] != raw:
        raise BadCheckpoint(f"a forged zip file: {name} isn't where the directory says.")
    if start + stored > directory:
        raise BadCheckpoint(f"a forged zip file: {name} is longer than the file.")
    return Entry(name, start, stored, size, method, checksum), after


def _wide(extra: bytes, count: int) -> tuple[int, ...]:
    """Sizes of 64 bits, which stand in field 1 of the extra data."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            return struct.unpack_from(f"<{count}Q", extra, at + 4)
        at += 4 + length
    raise BadCheckpoint("a damaged zip file: a size is missing.")
