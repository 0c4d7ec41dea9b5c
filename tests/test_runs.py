from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from limner import runs
from limner.errors import BadCheckpoint, DiskFull, LimnerError
from limner.runs import Run, read_checkpoint, read_json, read_tensors, write_bytes, write_folder


def save(run: Run, step: int) -> None:
    run.save(step, {"system": "x"}, {"w": torch.full((3,), float(step))}, {"w/m": torch.zeros(3)}, {"step": step})


CALLS = ("open", "write", "fsync", "replace", "rename", "mkdir")


class Faults:
    """Lets the first `count` calls into the operating system through and fails every later one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int, number: int) -> None:
        self.left, self.number, self.hit = count, number, ""
        for name in CALLS:
            monkeypatch.setattr(runs.os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name: str, call: Any) -> Any:
        def wrapped(*args: Any, **more: Any) -> Any:
            if name == "open" and not args[1] & os.O_WRONLY:
                return call(*args, **more)
            if self.left <= 0:
                self.hit = self.hit or name
                raise OSError(self.number, os.strerror(self.number))
            self.left -= 1
            return call(*args, **more)

        return wrapped


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["disk full", "input/output error"])
def test_a_failure_at_any_write_call_keeps_the_checkpoint_before(tmp_path: Path, number: int) -> None:
    failed: set[str] = set()
    for count in range(200):
        run = Run(tmp_path / f"run-{count}")
        save(run, 1)
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, count, number)
            try:
                save(run, 2)
            except LimnerError as error:
                assert isinstance(error, DiskFull) == (number == errno.ENOSPC)
                assert "run-" in str(error)
        checkpoint, complaints = run.newest(training=True)
        assert checkpoint is not None and not complaints
        if faults.hit:
            assert checkpoint.state["step"] in (1, 2)
            failed.add(faults.hit)
        else:
            assert checkpoint.state["step"] == 2
            break
        save(run, 3)  # there is room again
        newest, _ = run.newest()
        assert newest is not None and newest.state["step"] == 3
    assert {"open", "write", "fsync", "replace", "rename"} <= failed


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_bytes(file, b"old")
    with pytest.MonkeyPatch.context() as patch:
        Faults(patch, 2, errno.ENOSPC)
        with pytest.raises(DiskFull, match=r"a\.txt \(3 bytes\)"):
            write_bytes(file, b"new")
    assert file.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in (1, 2, 3):
        save(run, step)
    assert [path.name for path in run.checkpoints] == ["00000002", "00000003"]


def test_writing_a_folder_again_replaces_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", {"a": b"1", "b": b"2"})
    write_folder(tmp_path / "x", {"a": b"3"})
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == ["a", "manifest.json"]


def test_a_folder_set_aside_by_a_crash_comes_back(tmp_path: Path) -> None:
    run = Run(tmp_path)
    save(run, 7)
    folder = run.checkpoints[0]
    folder.rename(folder.with_name(f".{folder.name}.old"))
    checkpoint, _ = run.newest()
    assert checkpoint is not None and checkpoint.state["step"] == 7


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64, b"\x08" + b"\0" * 7 + b'{"a":1}'])
def test_files_that_are_no_safetensors_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"w\.safetensors"):
        read_tensors(tmp_path / "w.safetensors")


def test_missing_files_are_named(tmp_path: Path) -> None:
    run = Run(tmp_path)
    save(run, 1)
    (run.checkpoints[0] / "state.json").unlink()
    with pytest.raises(BadCheckpoint, match=r"state\.json is missing"):
        read_checkpoint(run.checkpoints[0])
    with pytest.raises(BadCheckpoint, match=r"nowhere\.json is missing"):
        read_json(tmp_path / "nowhere.json")


def test_a_log_line_cut_short_is_forgotten(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.log({"step": 1})
    run.log({"step": 2})
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 3, "lo')
    run.rewind_log(1)
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1}\n'
