"""Hostile files: every one refused, none run, in bounded time and memory. And damaged ones: read or refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from hostile_files import COMMAND, MARKER, WEIGHTS, files, in_stream, in_zip, old_tar
from limner.errors import BadCheckpoint
from limner.published.read import tensors
from test_published import WRITTEN, Lua, packed, torch7

READER = """
import json, resource, signal, sys, time
from pathlib import Path
import torch
from limner.errors import BadCheckpoint
from limner.published.read import tensors

folder = Path(sys.argv[1])
for name in ("good.pt", "good.safetensors", "good.npz"):
    assert tensors(folder / name)  # and whatever is imported at the first use, is now
quiet, seen = {"open", "mmap.__new__", "os.listdir", "os.scandir", "object.__getattr__"}, set()

def hook(event, arguments):
    if event not in quiet or (event == "open" and not str(arguments[1] or "r").startswith("r")):
        seen.add(event)

sys.addaudithook(hook)
pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
if pages:
    limit = pages * resource.getpagesize() + (200 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
names = sorted(folder.glob("hostile-*"))
results = []
for path in names:
    signal.alarm(60)
    before = time.process_time()
    seen.clear()
    try:
        found = f"read: {list(tensors(path))}"
    except BadCheckpoint as error:
        found = str(error)
    except BaseException as error:
        found = f"{type(error).__name__}: {error}"
    results.append([path.name, found, sorted(seen), time.process_time() - before])
signal.alarm(0)
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, list[str], float]]:
    """What a process that may take 200 MB makes of each file: the message, what Python was asked to do, seconds."""
    folder = tmp_path_factory.mktemp("hostile")
    torch.save({"a": torch.ones(2)}, folder / "good.pt")
    save_file({"a": torch.ones(2)}, folder / "good.safetensors")
    np.savez(folder / "good.npz", a=np.ones(2))
    names = {}
    for number, (name, content) in enumerate(files()):
        path = folder / f"hostile-{number:04}"
        path.write_bytes(content)
        names[path.name] = name
    assert len(set(names.values())) == len(names)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(folder)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (folder / MARKER).exists()
    return {names[file]: (found, seen, taken) for file, found, seen, taken in json.loads(done.stdout)}


def test_every_hostile_file_is_refused(answers: dict[str, tuple[str, list[str], float]]) -> None:
    assert len(answers) >= 200
    wrong = {name: found for name, (found, _, _) in answers.items() if "hostile-" not in found.partition(": ")[0]}
    assert not wrong, wrong


def test_none_makes_python_do_anything(answers: dict[str, tuple[str, list[str], float]]) -> None:
    """Python's own audit: nothing is imported, compiled, started, opened but the file itself."""
    assert not {name: seen for name, (_, seen, _) in answers.items() if seen}


def test_none_takes_more_than_it_may(answers: dict[str, tuple[str, list[str], float]]) -> None:
    hungry = {name: found for name, (found, _, _) in answers.items() if "Memory" in found or "memory" in found}
    assert not hungry, hungry


def test_a_file_that_would_run_something_is_named_as_such(answers: dict[str, tuple[str, list[str], float]]) -> None:
    found, _, _ = answers["named: os system"]
    assert "'os.system'" in found and "Nothing was run" in found
    assert all("Nothing was run" in found for name, (found, _, _) in answers.items() if name.startswith("named: "))


def test_the_ammunition_is_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own unpickler does run it; else the tests above would prove nothing."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(b"cos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR.")
    assert (tmp_path / MARKER).exists()


# Damage


def sound(path: Path) -> dict[str, bytes]:
    """A good file of each kind, small. `path` may be written to."""
    weights = {"state_dict": {"a": torch.ones(3, 4), "b": torch.ones(2)}, "epoch": 3, "net": torch.nn.Linear(2, 2)}
    made = {}
    for name, modern in (("zip", True), ("stream", False)):
        torch.save(weights, path, _use_new_zipfile_serialization=modern)
        made[name] = path.read_bytes()
    save_file({"a": torch.ones(3, 4)}, path)
    made["safetensors"] = path.read_bytes()
    with path.open("wb") as file:
        np.savez_compressed(file, a=np.arange(6.0), b=np.ones((2, 3), "f4"))
    made["npz"] = path.read_bytes()
    made["pickle"] = pickle.dumps({"G_ema": torch.nn.Linear(2, 2), "array": np.arange(6.0)}, 4)
    made["msgpack"] = packed({"params": {"a": torch.ones(2, 3), "step": 3}})
    made["hdf5"] = (WRITTEN / "weights.h5").read_bytes()
    made["t7"] = torch7(Lua("nn.Sequential", {"modules": {1: Lua("nn.Linear", {"weight": torch.ones(2, 3)})}}))
    made["tar"] = old_tar()
    made["tensorflow"] = (WRITTEN / "model.ckpt-2.index").read_bytes()
    return made


with tempfile.TemporaryDirectory() as scratch:
    SOUND = sound(Path(scratch) / "sound")


def attempt(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = tensors(path)
    except BadCheckpoint as error:
        assert path.name in str(error)
    else:
        assert all(isinstance(value, torch.Tensor) for value in found.values())


def test_the_good_ones_are_good(tmp_path: Path) -> None:
    (tmp_path / "sound.data-00000-of-00001").write_bytes((WRITTEN / "model.ckpt-2.data-00000-of-00001").read_bytes())
    for kind, content in SOUND.items():
        path = tmp_path / ("sound.index" if kind == "tensorflow" else "sound")
        path.write_bytes(content)
        assert tensors(path), kind
    for make in (in_zip, in_stream):
        path.write_bytes(make(b"\x80\x02}" + WEIGHTS + b"."))
        assert tensors(path)["weight"].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("kind", SOUND)
def test_a_file_cut_anywhere_is_one_kind_of_error(tmp_path: Path, kind: str) -> None:
    whole = SOUND[kind]
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        attempt(tmp_path / "cut", whole[:length])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("kind", SOUND)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    """Bytes changed, pieces left out, doubled or moved: weights or a BadCheckpoint, nothing else."""
    content = bytearray(SOUND[kind])
    places = st.integers(0, len(content) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        content[place] = byte
    for source, length, target in data.draw(st.lists(st.tuples(places, st.integers(0, 64), places), max_size=2)):
        piece = content[source : source + length]
        if data.draw(st.booleans()):
            del content[source : source + length]
        content[target:target] = piece
    attempt(tmp_path / "damaged", bytes(content))


INSTRUCTIONS = [bytes([code]) for code in b"(.012N}])tladesuRobQ\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94"] + [
    b"K\x01", b"J\xff\xff\xff\xff", b"q\x00", b"h\x00", b"X\x07\x00\x00\x00storage", b"X\x01\x00\x00\x000", b"C\x02ab",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"cnet\nNet\n", b"ctorch\nFloatStorage\n",
    b"ctorch\nSize\n", b"ctorch.storage\n_load_from_bytes\n", b"cnumpy\ndtype\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
]  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.lists(st.sampled_from(INSTRUCTIONS), max_size=40))
def test_any_program_is_read_or_refused(tmp_path: Path, program: list[bytes]) -> None:
    attempt(tmp_path / "program", in_zip(b"\x80\x02" + b"".join(program) + b"."))
