"""What `limner data check` does: looks at every file of a data set, and at what a system would make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from limner.data import decode
from limner.data.files import open_files
from limner.data.folder import Folder, pool
from limner.data.latents import INDEX, LatentFolder
from limner.data.layouts import LAYOUTS, Entry, Listing
from limner.errors import BadInput
from limner.jobs.sources import open_source
from limner.systems import find

Row = tuple[str, ...]


@dataclass
class Report:
    """files: part, what, how many, broken, sizes; uses: kind of data, what would be used; usable: whether anything"""

    files: list[Row] = field(default_factory=list)
    uses: list[Row] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    usable: bool = False

    def lines(self) -> Iterator[str]:
        yield from _table(("part", "what", "files", "broken", "sizes"), self.files)
        yield ""
        yield from _table(("data", "what would be used"), self.uses)
        if self.complaints:
            yield ""
            yield from self.complaints


def _table(head: Row, rows: list[Row]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, tuple("-" * width for width in widths), *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def check(path: Path, name: str | None, progress: Callable[[int, int], None] = lambda done, total: None) -> Report:
    """Look at all files, and at all samples of the kind that the system `name` trains on.

    progress: hears how many are done, and how many there are
    """
    if (path / INDEX).is_file():
        source = LatentFolder(path) if name is None else open_source(str(path), find(name), 0)
        return Report(uses=[("EditLatents", str(source))], usable=True)
    listing = Listing(str(path), open_files(path))
    report = Report(complaints=list(listing.files.complaints))
    total, done = sum(map(len, listing.pictures.values())), 0
    for (part, role), entries in sorted(listing.pictures.items()):
        sizes, broken = set(), 0
        for found in pool().map(lambda one: _looked_at(listing, one), entries):
            done += 1
            progress(done, total)
            if isinstance(found, str):
                broken += 1
                report.complaints.append(found)
            else:
                sizes.add(found)
        report.files.append((part, role, f"{len(entries):,}", f"{broken or ''}", _range(sizes)))
    report.files += [("", f"{suffix}, not used", f"{count:,}", "", "") for suffix, count in listing.unused.items()]
    if name is None:
        _kinds(listing, report)
    else:
        _samples(path, name, report, progress)
    return report


def _looked_at(listing: Listing, one: Entry) -> tuple[int, int] | str:
    """Width and height of a picture, or what is wrong with it."""
    read = decode.numbers if one.role in ("labels", "instances") else decode.picture
    try:
        height, width = read(listing.files.read(one.name), one.name).shape[:2]
    except BadInput as error:
        return str(error)
    return width, height


def _range(sizes: set[tuple[int, int]]) -> str:
    if len(sizes) < 2:
        return "".join(f"{width}x{height}" for width, height in sizes)
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    return " to ".join(f"{width}x{height}" for width, height in (by_area[0], by_area[-1]))


def _kinds(listing: Listing, report: Report) -> None:
    """Which kinds of data the files would do for."""
    for kind, find_layout in LAYOUTS.items():
        try:
            layout = find_layout(listing, listing.training)
        except BadInput as error:
            report.uses.append((kind.__name__, f"no: {error}"))
            continue
        report.uses.append((kind.__name__, str(layout)))
        report.complaints += [f"{kind.__name__}: {complaint}" for complaint in layout.complaints]
        report.usable = True


def _samples(path: Path, name: str, report: Report, progress: Callable[[int, int], None]) -> None:
    """What the system would be trained on, and what of it is no use."""
    source = open_source(str(path), find(name), 0)
    assert isinstance(source, Folder)
    report.complaints += source.layout.complaints
    decided = source.decides(["classes", "unknown"])
    source.classes = decided.get("classes")
    total = sum(len(stream.every) for stream in source.layout.streams)
    wrong = []
    for done, complaint in enumerate(source.complaints(), 1):
        progress(done, total)
        if complaint is not None:
            wrong.append(complaint)
    report.complaints += [complaint for complaint in wrong if complaint not in report.complaints]
    held_out = source.held_out()
    preparation = source.preparation
    report.uses += [
        (source.kind.__name__, str(source.layout)),
        ("broken", f"{len(wrong)} of {total}"),
        *((option, f"{value}") for option, value in decided.items()),
        ("held out", "nothing" if held_out is None else str(held_out.layout)),
        (
            "prepared",
            f"resize={preparation.resize} ({preparation.fit}) crop={preparation.crop} flip={preparation.flip}",
        ),
    ]
    report.usable = len(wrong) < total
