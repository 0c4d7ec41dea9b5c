"""Where a data set's files are: a folder, a zip, or tar shards. Each gives names and, for a name, its bytes.

Nothing is unpacked. Names in an archive are only names: none of them is ever used as a path on this machine.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from limner.data.decode import LARGEST_FILE
from limner.errors import BadInput


class Files(Protocol):
    """A data set's files.

    names: relative, with forward slashes, sorted
    complaints: what is wrong with the place itself, such as a tar that was cut off
    """

    names: list[str]
    complaints: list[str]

    def read(self, name: str) -> bytes:
        """A file's content; `BadInput` if it can't be had. Safe to call from several threads."""
        ...


def open_files(path: Path) -> Files:
    """The files at `path`: a folder, a folder of tar shards, a .zip or a .tar."""
    if path.is_dir():
        tree = Tree(path)
        shards = [path / name for name in tree.names if name.endswith(".tar")]
        return Shards(shards) if shards and len(shards) == len(tree.names) else tree
    if not path.exists():
        raise BadInput(f"There is no {path}: no folder, zip or tar of that name.")
    if zipfile.is_zipfile(path):
        return Zip(path)
    if path.suffix == ".tar":
        return Shards([path])
    packed = " Unpack it first." if path.suffix in (".gz", ".tgz", ".bz2", ".xz", ".zst", ".rar", ".7z") else ""
    raise BadInput(f"{path} is no data: that is a folder, a .zip, a .tar, or a folder of .tar shards.{packed}")


def read_file(path: Path) -> bytes:
    """A file's content, as far as limner reads; `BadInput` if it can't be had."""
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror or error}.") from error


def _ordinary(name: str) -> bool:
    """Not what systems leave in folders and archives of their own accord."""
    parts = PurePosixPath(name).parts
    return not any(part.startswith(".") or part == "__MACOSX" for part in parts) and parts[-1:] != ("Thumbs.db",)


class Tree:
    """A folder and all below it; links are followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = sorted(name for name in self._walk() if _ordinary(name))
        self.complaints: list[str] = []

    def _walk(self) -> Iterator[str]:
        seen: set[str] = set()
        for folder, below, files in os.walk(self.path, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:  # a link to a folder above it
                below.clear()
                continue
            seen.add(real)
            inside = Path(os.path.relpath(folder, self.path)).as_posix()
            yield from (file if inside == "." else f"{inside}/{file}" for file in files)

    def read(self, name: str) -> bytes:
        return read_file(self.path / name)


class Zip:
    """A zip; best stored, not compressed, since pictures are compressed already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise BadInput(f"{path} is no zip that can be read: {error}.") from error
        names = (entry.filename for entry in self.zip.infolist() if not entry.is_dir())
        self.names = sorted({name for name in names if _ordinary(name)})
        self.complaints: list[str] = []

    def read(self, name: str) -> bytes:
        try:
            with self.zip.open(name) as file:
                return file.read(LARGEST_FILE + 1)
        except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise BadInput(f"{name} can't be read from {self.path.name}: {error}.") from error


class Shards:
    """Tar files in webdataset's manner: files whose names differ only after the first dot are one sample.

    `000017.source.jpg` is listed as `source/SHARD/000017.jpg`, so that shards have the layouts that folders have.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.complaints: list[str] = []
        self.places: dict[str, tuple[Path, int, int]] = {}  # name: tar, offset, bytes
        for path in paths:
            try:
                self._list(path, several=len(paths) > 1)
            except (OSError, tarfile.TarError) as error:
                self.complaints.append(f"{path.name} is damaged: {error}.")
        if not self.places and self.complaints:
            raise BadInput(" ".join(self.complaints))
        self.names = sorted(self.places)

    def _list(self, path: Path, *, several: bool) -> None:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                if entry.isreg() and not entry.issparse() and _ordinary(entry.name):
                    folder, _, file = entry.name.removeprefix("./").rpartition("/")
                    key, *role, suffix = file.split(".") if "." in file else (file, "")
                    parts = [folder, *role, path.stem * several, f"{key}.{suffix.lower()}"]
                    name = "/".join(part for part in parts if part)
                    self.places[name] = path, entry.offset_data, entry.size
            if tar.fileobj is not None:
                tar.fileobj.seek(tar.offset)  # tarfile takes a damaged header for the end
                if tar.fileobj.read(512).strip(b"\0"):
                    self.complaints.append(f"{path.name} is damaged after {len(self.places)} files.")

    def read(self, name: str) -> bytes:
        path, offset, size = self.places[name]
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                content = file.read(min(size, LARGEST_FILE + 1))
        except OSError as error:
            raise BadInput(f"{name} can't be read from {path.name}: {error.strerror or error}.") from error
        if len(content) < min(size, LARGEST_FILE + 1):
            raise BadInput(f"{name} is cut off: {path.name} ends before it does.")
        return content
