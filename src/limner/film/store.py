"""The artefact store: every picture, voice and segment is kept under the hash of what made it.

`key_of` is the only function that turns (stage, version, parameters, inputs) into a key. It is used to write and
to check, so an artefact can't be born stale, and "nothing changed" always means "nothing to do".

    store/ab/ab12.../artefact.json      what made it, and the sha256 of each file
    store/ab/ab12.../1.png ...
    ledger.jsonl                        one line for each artefact made or failed, and why

An artefact is written to a temporary folder, fsynced and renamed: it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import BadInput, DiskFull

Json = Any  # what json.dumps takes: dicts with string keys, lists, strings, numbers, booleans, None

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def key_of(stage: str, version: int, parameters: Mapping[str, Json], inputs: Mapping[str, str]) -> str:
    """The key of an artefact: 32 hex digits over the stage, its code version, its parameters and the sha256 of each
    input file. Equal arguments give equal keys on every machine."""
    text = json.dumps(
        [stage, version, dict(parameters), dict(inputs)], sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sha256_of(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def writing(where: Path) -> Iterator[None]:
    """Turns a full disk into `DiskFull`, and any other refusal of the file system into `BadInput`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"No space left while writing {where}. What was finished is kept; free some space and run the same "
                "command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise BadInput(
                f"Can't write {where}: {error.strerror}. Choose another place with --project or -o."
            ) from error
        raise


def sync(path: Path) -> None:
    """Flushes a file, or a folder's list of names, to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no handle for a folder's names
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Replaces `path` by `data`, whole or not at all; the old file stays if anything fails."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Artefact:
    """Something that was made, checked against its own record."""

    key: str
    folder: Path
    recipe: Mapping[str, Json]  # stage, version, parameters, inputs
    files: Mapping[str, str]  # name -> sha256
    seconds: float

    def path(self, name: str) -> Path:
        return self.folder / name

    def read_json(self, name: str) -> Json:
        return json.loads(self.path(name).read_text("utf-8"))

    @property
    def bytes(self) -> int:
        return sum(self.path(name).stat().st_size for name in self.files)


@dataclass(frozen=True)
class Entry:
    """One line of the ledger."""

    slot: str  # the place in the film: "scene 03/voice"
    stage: str
    key: str
    result: str  # "made" or "failed"
    why: str  # "new", "changed: narration", "damaged", ...
    seconds: float = 0.0
    units: float = 0.0  # how much work it was, in the stage's unit (see estimate.py)
    bytes: int = 0
    error: str = ""
    time: float = 0.0


class Store:
    """The artefacts and the ledger of one project folder."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.root = project / "store"
        self.ledger = project / "ledger.jsonl"
        self._verified: dict[str, Artefact] = {}

    def folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def exists(self, key: str) -> bool:
        return (self.folder(key) / "artefact.json").is_file()

    def recipe(self, key: str) -> Mapping[str, Json] | None:
        """What made an artefact, unverified; None if it isn't there or can't be read."""
        try:
            record = json.loads((self.folder(key) / "artefact.json").read_text("utf-8"))
            return dict(record["recipe"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def find(self, key: str) -> Artefact | None:
        """The artefact, if it is there and every file has its sha256; a damaged one counts as absent."""
        if key in self._verified:
            return self._verified[key]
        folder = self.folder(key)
        try:
            record = json.loads((folder / "artefact.json").read_text("utf-8"))
            files = {str(name): str(digest) for name, digest in record["files"].items()}
            if any(sha256_of(folder / name) != digest for name, digest in files.items()):
                return None
            artefact = Artefact(key, folder, record["recipe"], files, float(record["seconds"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        self._verified[key] = artefact
        return artefact

    def make(
        self, stage: str, version: int, parameters: Mapping[str, Json], inputs: Mapping[str, str],
        maker: Callable[[Path], None],
    ) -> Artefact:  # fmt: skip
        """Calls `maker` with an empty folder and keeps what it leaves there under `key_of(...)`.

        Raises `DiskFull`; whatever `maker` raises passes through, and nothing is left behind.
        """
        key = key_of(stage, version, parameters, inputs)
        temporary = self.root / f"part-{key}-{os.getpid()}"
        with writing(self.root):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            try:
                begun = time.perf_counter()
                maker(temporary)
                files = {}
                for path in sorted(temporary.iterdir()):
                    sync(path)
                    files[path.name] = sha256_of(path)
                record = {
                    "recipe": {
                        "stage": stage, "version": version, "parameters": dict(parameters), "inputs": dict(inputs)
                    },
                    "files": files,
                    "seconds": round(time.perf_counter() - begun, 4),
                }  # fmt: skip
                write_atomic(temporary / "artefact.json", (json.dumps(record, indent=1) + "\n").encode())
                final = self.folder(key)
                final.parent.mkdir(parents=True, exist_ok=True)
                if final.exists():  # a damaged one: out of the way, then away
                    os.replace(final, self.root / f"part-{key}-damaged-{os.getpid()}-{time.monotonic_ns()}")
                os.replace(temporary, final)
                sync(final.parent)
            finally:
                self.sweep()
        artefact = self.find(key)
        if artefact is None:
            raise BadInput(
                f"{self.folder(key)} was damaged while it was written. Check the disk, and run the command again."
            )
        return artefact

    def sweep(self) -> None:
        """Removes what killed or failed writers left. Only the owner of the project's lock may call it."""
        for path in self.root.glob("part-*"):
            shutil.rmtree(path, ignore_errors=True)

    def record(self, entry: Entry) -> None:
        """Appends a line to the ledger, flushed to the disk."""
        line = json.dumps({**entry.__dict__, "time": round(time.time(), 3)}, ensure_ascii=False)
        with writing(self.ledger), self.ledger.open("ab+") as file:
            if file.tell():  # a torn last line of a killed process must not swallow this one
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """The ledger from the beginning; lines that can't be read are passed over."""
        entries = []
        with contextlib.suppress(FileNotFoundError):
            for line in self.ledger.read_text("utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, TypeError):
                    entries.append(Entry(**json.loads(line)))
        return entries

    def unused(self, keep: Collection[str]) -> list[tuple[Path, int]]:
        """Folders (and their bytes) of artefacts whose key is not in `keep`. Nothing is ever removed by itself."""
        return [
            (folder, sum(path.stat().st_size for path in folder.iterdir()))
            for folder in sorted(self.root.glob("??/*"))
            if folder.name not in keep
        ]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time may work on a project. The lock goes with its process, even a killed one."""
        with writing(self.project):
            self.project.mkdir(parents=True, exist_ok=True)
            file = (self.project / ".lock").open("ab")
        with file:
            try:
                _lock(file.fileno())
            except OSError as error:
                raise BadInput(
                    f"Another limner is working on {self.project}. Wait for it, or give this film another --project."
                ) from error
            self.sweep()
            yield


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
