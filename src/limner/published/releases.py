"""The table of released weights: `releases.toml`, whose facts are those of the systems' fact sheets."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from limner.errors import BadInput

TABLE = Path(__file__).with_suffix(".toml")
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Release:
    """A set of weights; the fields are the table's."""

    system: str
    repository: str
    licence: str
    format: str
    what: str = ""
    parameters: Mapping[str, int] = field(default_factory=dict)
    note: str = ""

    @property
    def address(self) -> str:
        owner_and_name, _, branch = self.repository.partition(", branch ")
        return f"https://github.com/{owner_and_name}" + (f"/tree/{branch}" if branch else "")

    @property
    def opens(self) -> bool:
        """Has limner a module that opens it?"""
        return find_spec(f"limner.published.{self.system.replace('-', '_')}") is not None

    def lines(self) -> Iterator[str]:
        """For a person at a terminal."""
        yield f"{self.system}: {self.what or 'sets of weights not listed; what its program saves'}"
        yield f"  where    {self.address}"
        yield f"  licence  {self.licence}"
        yield f"  format   {self.format}"
        if self.parameters:
            yield f"  size     {', '.join(self.sizes())}"
        if self.note:
            yield f"  note     {self.note}"

    def sizes(self) -> Iterator[str]:
        for network, count in self.parameters.items():
            yield f"{network} {count:,} parameters ({count * FLOAT / 1e6:,.0f} MB in single precision)"

    def row(self) -> str:
        """Of a Markdown table."""
        sizes = "; ".join(f"{network} {count / 1e6:,.1f} M" for network, count in self.parameters.items())
        cells = (
            f"`{self.system}`",
            self.what,
            f"[{self.repository}]({self.address})",
            self.licence,
            self.format,
            sizes,
        )
        return f"| {' | '.join(cells)} |"


def releases(system: str | None = None) -> list[Release]:
    """All, or those of one system. BadInput where there are none."""
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8"))["release"]
    found = [Release(**entry) for entry in entries if system in (None, entry["system"])]
    if not found:
        known = ", ".join(sorted({entry["system"] for entry in entries}))
        raise BadInput(f"limner knows no released weights of {system}. It knows those of {known}.")
    return found


def markdown() -> Iterator[str]:
    """The table of the documentation, line by line."""
    yield "| system | released | where | licence | files | parameters |"
    yield "|---|---|---|---|---|---|"
    for release in releases():
        yield release.row()
