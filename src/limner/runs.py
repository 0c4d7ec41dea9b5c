"""Run directories: everything of a training in plain files, written so that nothing is ever lost.

    RUN/
      config.json                   the system, its config, the data, the options
      log.jsonl                     one line a logged step
      samples/00001000.png          what it looked like
      checkpoints/00001000/         complete in itself: load it, move it, publish it
        config.json  weights.safetensors  optimizer.safetensors  state.json  manifest.json (sha256 of the others)

A checkpoint is written under a temporary name, flushed to the disk and renamed; the one before it stays until the
new one stands. Nothing is pickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from limner.errors import BadCheckpoint, BadInput, DiskFull, LimnerError

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def explained(path: Path, size: int) -> Iterator[None]:
    """An `OSError` inside becomes an error that says what to do about writing `size` bytes to `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull(
                f"No space left for {path} ({size:,} bytes). What was saved before is untouched: make room, then run "
                "the same command again."
            ) from error
        raise LimnerError(
            f"{path} can't be written: {error.strerror or error}. Check the folder's permissions."
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees either the old content or all of the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(descriptor, view[: 1 << 24]) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{path} is missing: is {path.parent} a limner run or model folder?") from error
    except ValueError as error:
        raise BadCheckpoint(f"{path} is damaged: {error}.") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file."""
    try:
        return load_tensors(path.read_bytes())
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{path} is missing: is {path.parent} a limner run or model folder?") from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadCheckpoint(f"{path} is not a readable safetensors file: {error}.") from error


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a set of files as one: the folder `path` appears complete, with its manifest, or not at all."""
    manifest = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()
    }
    temporary = path.with_name(f".{path.name}.tmp")
    size = sum(len(content) for content in files.values())
    with explained(path, size):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            for name, content in files.items():
                write_bytes(temporary / name, content)
            write_json(temporary / MANIFEST, manifest)
            _sync_folder(temporary)
            if path.exists():  # a folder can't be replaced in one call: step aside, rename, remove
                aside = path.with_name(f".{path.name}.old")
                shutil.rmtree(aside, ignore_errors=True)
                os.rename(path, aside)
                os.rename(temporary, path)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                os.rename(temporary, path)
            _sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def verify_folder(path: Path) -> None:
    """Raise `BadCheckpoint` unless every file of the manifest is there with its sha256."""
    manifest = read_json(path / MANIFEST)
    try:
        hashes = {name: entry["sha256"] for name, entry in manifest.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"{path / MANIFEST} is damaged: it should give the sha256 of every file.") from error
    for name, expected in hashes.items():
        file = path / name
        if not file.is_file():
            raise BadCheckpoint(f"{file} is missing, though {path / MANIFEST} lists it.")
        if hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise BadCheckpoint(f"{file} is damaged: its sha256 is not the one in {MANIFEST}.")


@dataclass(frozen=True)
class Checkpoint:
    """One verified checkpoint, or a published model folder (then without optimiser state)."""

    path: Path
    config: dict[str, Any]
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def read_checkpoint(path: Path, *, training: bool = False) -> Checkpoint:
    """Read and verify one checkpoint folder; the optimiser's tensors only for training."""
    verify_folder(path)
    return Checkpoint(
        path,
        read_json(path / "config.json"),
        read_tensors(path / WEIGHTS),
        read_tensors(path / OPTIMIZER) if training else {},
        read_json(path / "state.json") if (path / "state.json").exists() else {},
    )


class Run:
    """A training's directory."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def checkpoints(self) -> list[Path]:
        """Checkpoint folders, oldest first. Unfinished ones have a dot in front and don't count."""
        folder = self.path / "checkpoints"
        found = sorted(p for p in folder.iterdir() if p.is_dir() and p.name.isdigit()) if folder.is_dir() else []
        # killed between the two renames of a replacement: the one set aside is whole
        for aside in folder.glob(".*.old") if folder.is_dir() else []:
            home = folder / aside.name[1:-4]
            if not home.exists():
                os.rename(aside, home)
                found = sorted([*found, home])
        return found

    def config(self) -> dict[str, Any] | None:
        """What the run was started with, or None for a new run."""
        file = self.path / "config.json"
        return read_json(file) if file.exists() else None

    def start(self, config: Mapping[str, Any]) -> None:
        """Begin a run, or make sure that it is the same one."""
        known = self.config()
        if known is None and self.path.exists() and any(self.path.iterdir()):
            raise BadInput(f"{self.path} is not empty and not a run. Choose another --out.")
        if known is None or not self.checkpoints:  # one that failed at once may be begun with other settings
            write_json(self.path / "config.json", config)
        elif known != json.loads(json.dumps(config)):
            changed = sorted(
                key for key in {*known, *config} if known.get(key) != json.loads(json.dumps(config)).get(key)
            )
            raise BadInput(
                f"{self.path} was started with other settings ({', '.join(changed)}). Use the same ones to resume, or "
                "choose another --out; --start-from takes its weights into a new run."
            )

    def save(
        self,
        step: int,
        config: Any,
        weights: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        state: Any,
        keep: int = 2,
    ) -> Path:
        """Write checkpoint `step`, then drop all but the newest `keep`."""
        path = self.path / "checkpoints" / f"{step:08d}"
        write_folder(
            path,
            {
                "config.json": json.dumps(config, indent=2).encode(),
                WEIGHTS: save_tensors({name: tensor.contiguous() for name, tensor in weights.items()}),
                OPTIMIZER: save_tensors({name: tensor.contiguous() for name, tensor in optimizer.items()}),
                "state.json": json.dumps(state, indent=2).encode(),
            },
        )
        for old in self.checkpoints[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
        return path

    def newest(self, *, training: bool = False) -> tuple[Checkpoint | None, list[str]]:
        """The newest sound checkpoint, and what was wrong with newer ones."""
        complaints: list[str] = []
        for path in reversed(self.checkpoints):
            try:
                return read_checkpoint(path, training=training), complaints
            except BadCheckpoint as error:
                complaints.append(str(error))
        return None, complaints

    def log(self, entry: Mapping[str, Any]) -> None:
        """Append one line to `log.jsonl`."""
        line = json.dumps(entry) + "\n"
        with (
            explained(self.path / "log.jsonl", len(line)),
            open(self.path / "log.jsonl", "a", encoding="utf-8") as file,
        ):
            file.write(line)

    def rewind_log(self, step: int) -> None:
        """Forget log lines after `step`, and a line that a crash cut short: the steps will be played again."""
        file = self.path / "log.jsonl"
        if not file.exists():
            return
        kept = []
        for line in file.read_text("utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue
        write_bytes(file, "".join(line + "\n" for line in kept).encode())
