"""A small art set of our own in the layout of the real packages, so that the tests need neither npm nor a network.

Every icon of the vocabulary is a coloured polygon that its name decides, with some empty room around it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import tarfile
from pathlib import Path

from limner.stickers.art import PACKAGES, Package
from limner.stickers.vocabulary import nouns


def polygon(name: str, style: str, view: int) -> str:
    """An SVG body: one corner more or less, wider or taller, by the name."""
    number = int.from_bytes(hashlib.sha256(f"{style} {name}".encode()).digest()[:6], "little")
    corners, hue = 3 + number % 6, number // 7 % 360
    wide, tall = view * (0.25 + number // 11 % 18 / 100), view * (0.25 + number // 13 % 18 / 100)
    angles = [2 * math.pi * k / corners for k in range(corners)]
    points = " ".join(f"{view / 2 + wide * math.sin(a):.2f},{view / 2 - tall * math.cos(a):.2f}" for a in angles)
    if style == "line":
        return f'<polygon points="{points}" fill="none" stroke="currentColor" stroke-width="{view / 16}"/>'
    return f'<polygon points="{points}" fill="hsl({hue}, 80%, 50%)"/>'


def write_package(folder: Path, real: Package, **changes: object) -> Package:
    """Packs an art set as npm would, tarball and unpacked; returns its pins. `changes` go into info.json."""
    index = [package.style for package in PACKAGES].index(real.style)
    view = 128 if real.style == "noto" else 32
    icons = {icon: {"body": polygon(icon, real.style, view)} for icon in {noun.icons[index] for noun in nouns()}}
    aliases = {"a-fox": {"parent": "fox"}}
    content = json.dumps({"prefix": real.style, "icons": icons, "aliases": aliases, "width": view, "height": view})
    info = json.dumps({"license": {"spdx": real.licence}} | changes)
    unpacked = folder / real.name.rpartition("/")[2] / "package"
    unpacked.mkdir(parents=True)
    (unpacked / "icons.json").write_text(content)
    (unpacked / "info.json").write_text(info)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tarball:
        for name, text in (("../../escaped.json", "{}"), ("package/icons.json", content), ("package/info.json", info)):
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tarball.addfile(entry, io.BytesIO(text.encode()))
    (folder / f"{real.stem}.tgz").write_bytes(buffer.getvalue())
    return Package(
        real.style,
        real.name,
        real.version,
        real.licence,
        base64.b64encode(hashlib.sha512(buffer.getvalue()).digest()).decode(),
        hashlib.sha256(content.encode()).hexdigest(),
    )


def write_packages(folder: Path) -> list[Package]:
    return [write_package(folder, real) for real in PACKAGES]
