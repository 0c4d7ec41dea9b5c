import collections
import os
import pickle
import struct
import tracemalloc
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from limner.errors import BadCheckpoint
from limner.published.pickles import LEGACY_HEAD, Inert
from limner.published.read import read, tensors


class Callback:
    """Stands for the foreign objects that Lightning keeps in a checkpoint."""

    def __init__(self, best):
        self.best = best


def checkpoint():
    numbers = torch.arange(12.0).reshape(3, 4)
    weights = collections.OrderedDict(
        plain=numbers,
        view=numbers.T[1:, :2],
        parameter=torch.nn.Parameter(torch.ones(2)),
        half=torch.full((3,), 0.5, dtype=torch.float16),
        brain=torch.full((3,), 0.5, dtype=torch.bfloat16),
        whole=torch.tensor(7),
        flags=torch.tensor([True, False]),
        empty=torch.empty(0, 3),
    )
    return {
        "state_dict": weights,
        "epoch": 3,
        "callbacks": {Callback: Callback(0.5)},
        "lr": [1e-4, None, True, (2, "a")],
    }


@pytest.mark.parametrize("modern", [True, False])
def test_a_pytorch_file_is_read_without_running_it(tmp_path, modern):
    """The zip files of today and the plain pickles of before 1.6; objects of foreign classes come back inert."""
    path = tmp_path / "model.ckpt"
    torch.save(checkpoint(), path, _use_new_zipfile_serialization=modern)
    content = read(path)
    (callback,) = content["callbacks"].values()
    assert isinstance(callback, Inert)
    assert callback.state == {"best": 0.5}
    assert (content["epoch"], content["lr"]) == (3, [1e-4, None, True, (2, "a")])
    for name, value in checkpoint()["state_dict"].items():
        assert torch.equal(content["state_dict"][name], value), name
        assert content["state_dict"][name].dtype == value.dtype
    assert tensors(path).keys() == checkpoint()["state_dict"].keys()


def test_changing_a_read_tensor_leaves_the_file_alone(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"a": torch.ones(5)}, path)
    before = path.read_bytes()
    tensors(path)["a"].fill_(7)
    assert path.read_bytes() == before


def test_safetensors_and_odd_names_and_endings(tmp_path):
    path = tmp_path / "weights.ckpt"  # what it is shows in the bytes, not in the name
    save_file({"a": torch.ones(2)}, path)
    assert torch.equal(tensors(path)["a"], torch.ones(2))


def packed(value):
    """MessagePack as Flax writes it."""
    if isinstance(value, torch.Tensor):
        name = str(value.dtype).removeprefix("torch.")
        raw = value.contiguous().view(torch.uint8).numpy().tobytes() if value.numel() else b""
        body = packed([list(value.shape), name, raw])
        return b"\xc9" + struct.pack(">Ib", len(body), 1) + body
    if isinstance(value, dict):
        return (
            b"\xde" + struct.pack(">H", len(value)) + b"".join(packed(each) for pair in value.items() for each in pair)
        )
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(map(packed, value))
    if isinstance(value, str):
        return (
            bytes([0xA0 | len(value)]) + value.encode()
            if len(value) < 32
            else b"\xd9" + bytes([len(value)]) + value.encode()
        )
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    return b"\xd3" + struct.pack(">q", value)


def test_flax_files(tmp_path):
    a, b = torch.arange(6.0).reshape(2, 3), torch.tensor([0.5], dtype=torch.bfloat16)
    chunked = {
        "__msgpack_chunked_array__": True,
        "shape": {"0": 2, "1": 3},
        "chunks": {"0": a.flatten()[:4], "1": a.flatten()[4:]},
    }
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(packed({"params": {"layer": {"kernel": a, "bias": b}, "large": chunked, "step": 3}}))
    found = tensors(path)
    assert found.keys() == {"layer.kernel", "layer.bias", "large"}
    assert torch.equal(found["layer.kernel"], a)
    assert torch.equal(found["layer.bias"], b)
    assert torch.equal(found["large"], a)
    for cut in (5, 40, -3):
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(BadCheckpoint, match="flax_model"):
            read(path)
    path.write_bytes(b"\x81\xa1a" * 100_000)
    with pytest.raises(BadCheckpoint, match="deep"):
        read(path)


GADGETS = {
    "reduce os.system": b"cos\nsystem\n(S'touch MARKER'\ntR.",
    "reduce builtins.eval": b'c__builtin__\neval\n(S\'open("MARKER", "w")\'\ntR.',
    "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch MARKER\x85R.",
    "instance": b"(S'touch MARKER'\nios\nsystem\n.",
    "object": b"(cos\nsystem\nS'touch MARKER'\no.",
    "new object": b"\x80\x02csubprocess\nPopen\n(S'touch MARKER'\nI1\nNI-1\nNNNNI1\nt\x81.",
    "a pickle in a pickle": b"\x80\x02ctorch.storage\n_load_from_bytes\n(U\x20"
    + b"cos\nsystem\n(S'touch MARKER'\ntR.    "
    + b"tR.",
    "import": b"c__builtin__\n__import__\n(S'MARKER'\ntR.",
    "attribute of an allowed name": b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n)R.",
    "getattr": b"c__builtin__\ngetattr\n(cos\nS'system'\ntR(S'touch MARKER'\ntR.",
    "build a class": b"ccollections\nOrderedDict\n}S'__setstate__'\ncos\nsystem\nsbS'touch MARKER'\nb.",
    "runpy": b'crunpy\n_run_code\n(S\'open("MARKER","w")\'\n}tR.',
    "callable map": b"c__builtin__\nlist\n(c__builtin__\nmap\n(cos\nsystem\n(lp0\nS'touch MARKER'\natRtR.",
    "extension registry": b"\x82\x01.",
    "text persistent id": b"Pos.system\n.",
    "not a storage": b"\x80\x02(X\x06\x00\x00\x00modulecos\nsystem\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.",
    "call of a call": b"cos\nsystem\n(S'touch MARKER'\ntR)R.",
    "unknown opcode": b"\x80\x02\xff.",
    "no stop": b"\x80\x02}",
    "empty stack": b"\x80\x02.",
    "no mark": b"\x80\x02t.",
    "missing memo": b"h\x09.",
    "deep tuple as a key": b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.",
    "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a long number": b"L" + b"9" * 100_000 + b"L\n.",
    "a call of self-made arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nNR.",
}


def as_zip(path, program, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", b"\0" * 16)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("gadget", GADGETS)
def test_a_hostile_file_does_nothing(tmp_path, monkeypatch, gadget, legacy):
    """Whatever the pickle names, nothing is imported or called: the file has no weights, or is refused."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.ckpt"
    if legacy:
        path.write_bytes(LEGACY_HEAD + b"\x80\x02K\x01." + b"\x80\x02}." + GADGETS[gadget])
    else:
        as_zip(path, GADGETS[gadget])
    with pytest.raises(BadCheckpoint, match=r"model\.ckpt"):
        tensors(path)
    assert not (tmp_path / "MARKER").exists()


def test_the_gadgets_are_live_ammunition(tmp_path, monkeypatch):
    """Python's own unpickler does run them; else the test above would prove nothing."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(GADGETS["reduce os.system"])
    assert (tmp_path / "MARKER").exists()


def described(size, stride, offset=0, count=4, kind="FloatStorage", key="0"):
    """A pickle of one tensor so described."""

    def integer(value):
        return b"J" + struct.pack("<i", value)

    def row(values):
        return b"(" + b"".join(map(integer, values)) + b"t"

    storage = (
        b"(U\x07storagectorch\n" + kind.encode() + b"\nU\x01" + key.encode() + b"U\x03cpu" + integer(count) + b"tQ"
    )
    arguments = b"(" + storage + integer(offset) + row(size) + row(stride) + b"\x89}t"
    return b"\x80\x02}U\x01actorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."


def test_a_tensor_must_stay_inside_its_storage(tmp_path):
    path = tmp_path / "model.ckpt"
    as_zip(path, described([2, 2], [2, 1]))
    assert tensors(path)["a"].shape == (2, 2)
    for wrong in (
        described([5], [1]),
        described([2, 2], [3, 1]),
        described([4], [1], offset=1),
        described([4], [1], offset=-1),
        described([2], [-1], offset=2),
        described([2, 2], [1]),
        described([1000, 1000], [0, 0]),
        described([4], [1], count=5),
        described([4], [1], count=-1),
        described([4], [1], kind="QInt8Storage"),
        described([4], [1], key="1"),
    ):
        as_zip(path, wrong)
        with pytest.raises(BadCheckpoint):
            tensors(path)


def test_a_false_length_takes_no_memory(tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_bytes(LEGACY_HEAD + b"\x80\x02X\xff\xff\xff\x7fabc.")
    tracemalloc.start()
    with pytest.raises(BadCheckpoint):
        tensors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 << 20


def test_bombs_are_refused_unopened(tmp_path):
    path = tmp_path / "model.ckpt"
    as_zip(path, b"\0" * (50 << 20), zipfile.ZIP_DEFLATED)
    with pytest.raises(BadCheckpoint, match="compressed"):
        read(path)
    claim = described([1], [1], count=2**31 - 1)
    path.write_bytes(LEGACY_HEAD + b"\x80\x02K\x01." + b"\x80\x02}." + claim + b"\x80\x02]U\x010a.")
    with pytest.raises(BadCheckpoint, match="more numbers"):
        read(path)
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{")
    with pytest.raises(BadCheckpoint, match="safetensors"):
        read(path)


@pytest.mark.parametrize("modern", [True, False])
def test_a_file_cut_anywhere_is_one_kind_of_error(tmp_path, modern):
    path = tmp_path / "model.ckpt"
    torch.save(checkpoint(), path, _use_new_zipfile_serialization=modern)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 97)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadCheckpoint, match=r"model\.ckpt"):
            read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.booleans(), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_damaged_file_is_read_or_refused(tmp_path, modern, changes):
    path = tmp_path / f"model{os.getpid()}.ckpt"
    torch.save({"state_dict": {"a": torch.ones(3, 4), "b": torch.ones(2)}}, path, _use_new_zipfile_serialization=modern)
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        found = tensors(path)
    except BadCheckpoint:
        return
    assert all(isinstance(value, torch.Tensor) for value in found.values())


def test_files_that_are_something_else(tmp_path):
    for name, content in {
        "text": b"hello",
        "empty": b"",
        "picture": b"\x89PNG\r\n",
        "pickle": pickle.dumps({"a": 1}),
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadCheckpoint, match="not a weights file"):
            read(path)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a", b"b")
    with pytest.raises(BadCheckpoint, match=r"data\.pkl"):
        read(tmp_path / "zip")
    with pytest.raises(BadCheckpoint, match="No such file"):
        read(tmp_path / "none")
