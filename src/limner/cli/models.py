"""Verbs about models: what there is, what authors have released, what is installed."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from limner.cli.common import changes_in
from limner.errors import BadInput

if TYPE_CHECKING:
    import tyro


@dataclass
class Convert:
    """Turn weights that authors have published into a model folder. The files are read without running them.

    Example: limner convert latest_net_G.pth --as pix2pix -o facades
    """

    files: tyro.conf.Positional[list[str]]
    """The release's file, or NAME=FILE for each where it has several: G=latest_net_G.pth E=latest_net_E.pth."""
    system: Annotated[str, tyro.conf.arg(name="as")]
    """What system it is: see limner published."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The model folder."""
    set: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """Options that the weights don't tell, as name=value; limner systems NAME lists them."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.converting import convert

        for line in convert(self.files, self.system, self.out, changes_in(self.set)):
            print(line)
        return 0


@dataclass
class Published:
    """List the weights that authors have released: where, licence, files, size.

    Example: limner published cyclegan
    """

    system: tyro.conf.Positional[str | None] = None
    """Those of one system."""
    markdown: bool = False
    """Print the list as a Markdown table."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.published.releases import markdown, releases

        for line in markdown() if self.markdown else (line for each in releases(self.system) for line in each.lines()):
            print(line)
        return 0


@dataclass
class Systems:
    """List the systems, or one system's options.

    Example: limner systems vqgan
    """

    name: tyro.conf.Positional[str | None] = None
    """One system, to see its options."""
    markdown: bool = False
    """Print the list as a Markdown table, with what each system can do."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.systems import TABLE, find

        if self.name is None:
            about = {name: (sys.modules[find(name).__module__].__doc__ or "").strip().splitlines()[0] for name in TABLE}
            plain = (f"{name:20} {text}" for name, text in about.items())
            for line in _markdown_table(about) if self.markdown else plain:
                print(line)
            return 0
        if self.markdown:
            raise BadInput("--markdown is for the whole list: give it without a system's name.")
        from limner.jobs.sources import kinds_of

        system = find(self.name)
        if kinds := kinds_of(system.play, "batch"):
            print(f"trains on {' or '.join(kind.__name__ for kind in kinds)} data")
        for option in dataclasses.fields(system.Config):
            default = "" if option.default is dataclasses.MISSING else f" = {option.default!r}"
            print(f"{option.name}: {option.type}{default}")
        return 0


@dataclass
class Doctor:
    """Tell what is installed, what is missing and for what, the device, threads and disk.

    Example: limner doctor
    """

    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.doctor import examine

        for line in examine():
            print(line)
        return 0


def _markdown_table(about: dict[str, str]) -> Iterator[str]:
    from limner.system import ABILITIES
    from limner.systems import having

    able = {verb: having(ability) for ability, verb in ABILITIES.items()}
    yield "| system | what it is | abilities |"
    yield "|---|---|---|"
    for name, text in about.items():
        yield f"| `{name}` | {text} | {', '.join(verb for verb, names in able.items() if name in names)} |"
