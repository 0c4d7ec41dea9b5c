"""What `limner convert` does: files that authors have published, into a model folder."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import BadInput
from limner.hub import save
from limner.published import converter, open_as
from limner.published.keys import Incomplete
from limner.published.read import tensors
from limner.published.releases import releases
from limner.rng import derive
from limner.system import System

Files = Mapping[str, Path]
"""A file's name in its release (G, E, ...; empty where the release is one file) -> where it is."""


def convert(given: Sequence[str], system: str, out: Path, changes: Mapping[str, Any]) -> Iterator[str]:
    """Write the model folder; yields lines that tell what was found.

    given: a file, or NAME=FILE for each file of a release
    """
    files = named(given, system)
    if not files:
        raise BadInput(f"Name the file that is to be converted: limner convert FILE --as {system} -o {out}.")
    if out.exists():
        raise BadInput(f"{out} is there already, and nothing is overwritten. Name another folder with -o.")
    found: dict[str, Tensor] = {}
    for name, path in files.items():
        held = tensors(path)
        yield f"{path}: {len(held)} tensors, {sum(value.numel() for value in held.values()):,} numbers"
        found |= {f"{name}.{key}" if name else key: value for key, value in held.items()}
    where = ", ".join(map(str, files.values()))
    module = converter(system)
    if hasattr(module, "options_beside"):  # of a release that says in another file what its weights don't
        changes = {**module.options_beside(files), **changes}
    with warnings.catch_warnings(record=True) as told, torch.random.fork_rng(devices=[]):
        warnings.simplefilter("always", Incomplete)
        torch.manual_seed(derive(0, "weights"))  # of what the release lacks
        model = open_as(system, found, where, changes)
    remarks = [str(each.message) for each in told if issubclass(each.category, Incomplete)]
    options = differing(model)
    yield f"options: {', '.join(f'{name}={value}' for name, value in options.items()) or 'the published ones'}"
    yield from remarks
    readme = card(system, files, remarks)
    if hasattr(module, "write"):  # in a layout that others open, too
        module.write(model, files, out)
        (out / "README.md").write_text(readme, encoding="utf-8")
    else:
        save(model, system, out, card=readme)
    yield str(out)


def named(given: Sequence[str], system: str) -> Files:
    """The files by their names in the release. One without a name is the first of them."""
    known: tuple[str, ...] = getattr(converter(system), "FILES", ())
    names = f"{system} takes {', '.join(f'{name}=FILE' for name in known)}." if known else f"{system} takes one file."
    files: dict[str, Path] = {}
    for each in given:
        name, equals, rest = each.partition("=")
        if name not in known or not equals:
            if equals and not Path(each).exists():
                raise BadInput(f"{each}: no such file, and no file of the release is called {name}. {names}")
            name, rest = known[0] if known else "", each
        if name in files:
            raise BadInput(f"{each}: a second file in the same place. {names}")
        files[name] = Path(rest)
    return files


def differing(model: System) -> dict[str, Any]:
    """The options that aren't the system's defaults."""
    return {
        option.name: value
        for option in dataclasses.fields(model.config)
        if (value := getattr(model.config, option.name)) != option.default
    }


def card(system: str, files: Files, remarks: Sequence[str]) -> str:
    """The folder's README."""
    lines = [f"# {system}, converted from published weights", "", "Made by `limner convert` from:", ""]
    for name, path in files.items():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"- {f'{name}: ' if name else ''}`{path.name}`, sha256 `{digest}`")
    lines += ["", *(f"{remark}." for remark in remarks), "", "## Licence", ""]
    lines.append("That of the weights it was made from, which goes with them. Released weights that limner knows:")
    try:
        known = releases(system)
    except BadInput:
        known = []
    lines += ["", *(f"- {release.address}: {release.licence}" for release in known), ""]
    return "\n".join(lines)
