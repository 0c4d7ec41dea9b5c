"""The sticker art: fetched whole or not at all, checked, rasterised once."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limner.errors import BadInput, LimnerError
from limner.stickers.art import PACKAGES, STYLES, Art, art, art_folder, fetch
from limner.stickers.vocabulary import nouns
from sticker_shapes import write_package, write_packages


def test_tarballs_and_unpacked_packages_give_the_same_art(tmp_path: Path) -> None:
    source = tmp_path / "deep" / "packages"
    source.mkdir(parents=True)
    packages = write_packages(source)
    fetch(tmp_path / "a", source=source, packages=packages)
    for package in packages:
        (source / f"{package.stem}.tgz").unlink()
    fetch(tmp_path / "b", source=source, packages=packages)
    for style in STYLES:
        assert (tmp_path / f"a/stickers/{style}.json").read_bytes() == (
            tmp_path / f"b/stickers/{style}.json"
        ).read_bytes()
    assert not list(tmp_path.rglob("escaped.json"))  # a name in the tarball never becomes a path


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    source = tmp_path / "packages"
    source.mkdir()
    packages = write_packages(source)
    fetch(tmp_path / "home", source=source, packages=packages)
    fetch(tmp_path / "home", source=tmp_path / "gone", packages=packages)
    with pytest.raises(BadInput, match="no folder"):
        fetch(tmp_path / "home", source=tmp_path / "gone", packages=packages, force=True)


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    packages = write_packages(tmp_path)
    for package in packages:
        (tmp_path / f"{package.stem}.tgz").write_bytes(b"not what was published")
    with pytest.raises(BadInput, match="sha512 differs"):
        fetch(tmp_path / "home", source=tmp_path, packages=packages)
    for package in packages:
        (tmp_path / f"{package.stem}.tgz").unlink()
    with pytest.raises(BadInput, match="sha256 differs"):
        fetch(tmp_path / "home", source=tmp_path, packages=[replace(packages[0], icons_sha256="0" * 64), *packages[1:]])
    with pytest.raises(LimnerError, match="limner stickers fetch"):
        Art(art_folder(tmp_path / "home"))


def test_a_tarball_cut_short_is_refused_even_if_its_hash_were_right(tmp_path: Path) -> None:
    import base64
    import hashlib

    packages = write_packages(tmp_path)
    tarball = tmp_path / f"{packages[0].stem}.tgz"
    half = tarball.read_bytes()[:2000]
    tarball.write_bytes(half)
    pinned = replace(packages[0], tarball_sha512=base64.b64encode(hashlib.sha512(half).digest()).decode())
    with pytest.raises(BadInput, match="can't be unpacked"):
        fetch(tmp_path / "home", source=tmp_path, packages=[pinned, *packages[1:]])


def test_another_licence_is_refused(tmp_path: Path) -> None:
    packages = [write_package(tmp_path, PACKAGES[0], license={"spdx": "CC-BY-NC-4.0"})]
    with pytest.raises(BadInput, match="CC-BY-NC"):
        fetch(tmp_path / "home", source=tmp_path, packages=packages)


def test_an_empty_folder_and_a_missing_npm_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="npm pack @iconify-json/fluent-emoji-flat"):
        fetch(tmp_path / "home", source=tmp_path / "empty")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(LimnerError, match="needs npm"):
        fetch(tmp_path / "home")


def test_npm_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error: no route to anywhere' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    with pytest.raises(LimnerError, match="no route to anywhere"):
        fetch(tmp_path / "home")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    with pytest.raises(LimnerError, match="can't be written"):
        fetch(tmp_path / "home", source=tmp_path, packages=write_packages(tmp_path))


def test_art_that_was_damaged_later_is_noticed(tmp_path: Path) -> None:
    fetch(tmp_path / "home", source=tmp_path, packages=write_packages(tmp_path))
    folder = art_folder(tmp_path / "home")
    (folder / "fluent.json").write_text("{}")
    with pytest.raises(BadInput, match="damaged"):
        Art(folder).sprite("fluent", "fox", 32)


def test_a_sprite_is_trimmed_and_stands_on_its_lower_edge(sticker_art: Path) -> None:
    for style in STYLES:
        alpha = art().sprite(style, "fox", 64)[..., 3]
        rows, columns = np.flatnonzero((alpha > 64).any(1)), np.flatnonzero((alpha > 64).any(0))
        assert rows[-1] >= 61
        assert max(rows[-1] - rows[0], columns[-1] - columns[0]) >= 58
        assert abs(columns[0] - (63 - columns[-1])) <= 2
    assert np.array_equal(art().sprite("fluent", "a-fox", 64), art().sprite("fluent", "fox", 64))


def test_line_drawings_are_paper_inside(sticker_art: Path) -> None:
    drawn = art().sprite("line", "fox", 64)
    assert tuple(drawn[40, 32]) == (255, 255, 255, 255)
    assert drawn[0, 0, 3] == 0


def test_rasters_are_kept_and_a_broken_one_is_made_again(tmp_path: Path) -> None:
    fetch(tmp_path / "home", source=tmp_path, packages=write_packages(tmp_path))
    folder = art_folder(tmp_path / "home")
    first = Art(folder).sprite("noto", "owl", 24)
    (stored,) = (folder / "sprites").rglob("*.npy")
    stored.write_bytes(stored.read_bytes()[:50])
    assert np.array_equal(Art(folder).sprite("noto", "owl", 24), first)
    (folder / "noto.json").unlink()  # the icons themselves are not needed any more
    assert np.array_equal(Art(folder).sprite("noto", "owl", 24), first)


def test_processes_share_the_rasters(tmp_path: Path) -> None:
    fetch(tmp_path / "home", source=tmp_path, packages=write_packages(tmp_path))
    code = "from limner.stickers.art import art\nfor name in ('fox', 'owl', 'pig'): art().sprite('fluent', name, 40)"
    runs = [
        subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"LIMNER_HOME": str(tmp_path / "home")})
        for _ in range(3)
    ]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert len(list(art_folder(tmp_path / "home").rglob("*.npy"))) == 3
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
def test_the_pinned_packages_draw_every_noun(tmp_path: Path) -> None:
    folder = fetch(tmp_path)  # by npm
    real = Art(folder)
    missing = [
        (style, n.name)
        for n in nouns()
        for style, icon in zip(STYLES, n.icons, strict=True)
        if not real.has(style, icon)
    ]
    assert missing == []
