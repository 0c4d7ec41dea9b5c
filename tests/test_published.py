"""The reader of published files, on files as their programs write them. Hostile files: test_hostile.py."""

import collections
import io
import pickle
import struct
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from limner.errors import BadCheckpoint
from limner.published.pickles import Inert, Name
from limner.published.read import read, tensors

WRITTEN = Path(__file__).parent / "published"


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


@pytest.mark.parametrize("modern", [True, False])
def test_a_file_cut_anywhere_is_one_kind_of_error(tmp_path, modern):
    path = tmp_path / "model.ckpt"
    torch.save(checkpoint(), path, _use_new_zipfile_serialization=modern)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 97)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadCheckpoint, match=r"model\.ckpt"):
            read(path)


def test_files_that_are_something_else(tmp_path):
    for name, content, words in (
        ("text", b"hello", "not a weights file"),
        ("empty", b"", "empty"),
        ("picture", b"\x89PNG\r\n", "not a weights file"),
        ("pickle", pickle.dumps({"a": 1}), "no weights"),
        ("packed", b"\x1f\x8b" + b"0" * 50, "unpack"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadCheckpoint, match=words):
            tensors(path)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a", b"b")
    with pytest.raises(BadCheckpoint, match=r"data\.pkl"):
        read(tmp_path / "zip")
    with pytest.raises(BadCheckpoint, match="No such file"):
        read(tmp_path / "none")


# Whole networks


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        self.wrapped = torch.nn.ModuleDict({"inner": torch.nn.Linear(2, 2)})
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.gain = torch.nn.Parameter(torch.tensor(2.0))
        self.tied = self.wrapped["inner"]


@pytest.mark.parametrize("layout", ["zip", "stream", "plain pickle"])
def test_a_network_saved_as_an_object_is_its_state_dict(tmp_path, layout):
    net, path = Net(), tmp_path / "net.pth"
    if layout == "plain pickle":
        path.write_bytes(pickle.dumps({"ema": net}))
    else:  # the older layout saves the network's source, too
        torch.save({"ema": net}, path, _use_new_zipfile_serialization=layout == "zip")
    state = {f"ema.{name}": value for name, value in net.state_dict().items()}
    found = tensors(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert isinstance(read(path)["ema"], Inert)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_read_without_its_code(tmp_path):
    """CLIP is published so."""

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
            self.register_buffer("scale", torch.tensor([2.0]))
            self.sizes, self.words = [1, 2], {"a": 1.5}

        def forward(self, x):
            return self.net(x) * self.scale * self.sizes[0] * self.words["a"]

    tower = Tower().half()
    torch.jit.script(tower).save(str(tmp_path / "ViT.pt"))
    found, state = tensors(tmp_path / "ViT.pt"), tower.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_lists_of_state_dicts(tmp_path):
    torch.save({"model": [{"fc.weight": torch.ones(2)}, {"rnn.bias": torch.ones(3)}]}, tmp_path / "vse.pth")
    assert tensors(tmp_path / "vse.pth").keys() == {"model.0.fc.weight", "model.1.rnn.bias"}


def test_what_an_optimiser_keeps_is_left_out(tmp_path):
    net = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    torch.save({"gen": net.state_dict(), "gen_opt": optimiser.state_dict(), "ep": 3}, tmp_path / "00003.pth")
    assert tensors(tmp_path / "00003.pth").keys() == {"gen.weight", "gen.bias"}


def test_networks_with_their_source_inside(tmp_path, monkeypatch):
    """StyleGAN's way: the pickle calls torch_utils.persistence with the network's source, class and state."""

    class EasyDict(dict):
        pass

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("called")

    for module, thing in (("dnnlib.util", EasyDict), ("torch_utils.persistence", _reconstruct_persistent_obj)):
        thing.__module__, thing.__qualname__ = module, thing.__name__
        for name in (module.partition(".")[0], module):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        setattr(sys.modules[module], thing.__name__, thing)

    class Persistent:
        def __init__(self, net):
            self.net = net

        def __reduce__(self):
            meta = EasyDict(type="class", version=6, module_src="raise SystemExit", class_name="Generator")
            meta["state"] = self.net.__dict__ | {"_init_kwargs": {"z_dim": 512}}
            return _reconstruct_persistent_obj, (meta,), None

    net = Net()
    path = tmp_path / "network-snapshot.pkl"
    for protocol in (2, 3, 4):
        path.write_bytes(pickle.dumps({"G_ema": Persistent(net), "kwargs": EasyDict(size=4)}, protocol))
        found = tensors(path)
        assert found.keys() == {f"G_ema.{name}" for name in net.state_dict()}
        assert torch.equal(found["G_ema.layers.0.weight"], net.layers[0].weight)
        generator = read(path)["G_ema"]
        assert generator.name == Name("", "Generator")
        assert generator.state["_init_kwargs"] == {"z_dim": 512}


def test_files_of_2016(tmp_path):
    """The tar of PyTorch before 0.1.10. PyTorch itself agrees on what is in it."""
    numbers = np.arange(12, dtype="<f4")
    storages = pickle.dumps(1, 2) + pickle.dumps((10, "cpu", torch.FloatStorage), 2)
    storages += struct.pack("<q", 12) + numbers.tobytes() + pickle.dumps([(11, 10, 6, 4)], 2)
    described = [(20, 10, (3, 4), (4, 1), 0), (21, 11, (2, 2), (1, 2), 0)]
    views = pickle.dumps(len(described), 2)
    for key, storage, size, stride, offset in described:
        views += pickle.dumps((key, storage, torch.FloatTensor), 2)
        views += struct.pack(f"<i4x{2 * len(size) + 1}q", len(size), *size, *stride, offset)

    class Referring(pickle.Pickler):
        def persistent_id(self, thing):
            return str(thing) if type(thing) is int else None

    program = io.BytesIO()
    Referring(program, 2).dump({"a": 20, "b": 21})
    path = tmp_path / "old.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in (("storages", storages), ("tensors", views), ("pickle", program.getvalue())):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    theirs, ours = torch.load(path, weights_only=False), tensors(path)
    assert {name: tensor.tolist() for name, tensor in ours.items()} == {n: t.tolist() for n, t in theirs.items()}


def test_parts_of_a_storage_as_pytorch_once_saved_them(tmp_path):
    """("storage", class, key, place, count, (key of the part, offset, length)); parameters of 0.3 are classes."""

    class Referring(pickle.Pickler):
        def persistent_id(self, thing):
            return thing if isinstance(thing, tuple) and thing[:1] == ("storage",) else None

    class Old:
        def __reduce__(self):
            storage = ("storage", torch.FloatStorage, "7", "cuda:0", 6, ("8", 2, 3))
            tensor = (torch._utils._rebuild_tensor, (storage, 1, (2,), (1,)))
            return torch.nn.Parameter, (Reduced(tensor),), (True, False, collections.OrderedDict())

    class Reduced:
        def __init__(self, how):
            self.how = how

        def __reduce__(self):
            return self.how

    file = io.BytesIO()
    for thing in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {"a": Old()}, ["7"]):
        Referring(file, 2).dump(thing)
    file.write(struct.pack("<q6f", 6, *range(6)))
    (tmp_path / "old.pth").write_bytes(file.getvalue())
    assert tensors(tmp_path / "old.pth")["a"].tolist() == [3, 4]


# Other programs' formats


def test_numpy_files(tmp_path):
    arrays = {
        "dc0/W": np.arange(6, dtype="f4").reshape(2, 3),
        "bn0/N": np.array(7),
        "order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "other end": np.arange(3, dtype=">i2"),
        "flags": np.array([True, False]),
        "none": np.zeros((0, 4), "f2"),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "snapshot.npz", **arrays)
        found = tensors(tmp_path / "snapshot.npz")
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name].numpy(), arrays[name]) for name in arrays)
    np.save(tmp_path / "one.npy", arrays["dc0/W"])
    assert torch.equal(read(tmp_path / "one.npy"), torch.arange(6.0).reshape(2, 3))


def test_arrays_in_pickles(tmp_path):
    array = np.arange(6, dtype="f4").reshape(2, 3).T
    for protocol in (2, 3, 4, 5):
        pickled = pickle.dumps({"a": array, "b": array.astype(">i8"), "c": array[0, 0]}, protocol)
        (tmp_path / "a.pkl").write_bytes(pickled)
        found = tensors(tmp_path / "a.pkl")
        assert found.keys() == {"a", "b"}
        assert np.array_equal(found["a"].numpy(), array)
        assert np.array_equal(found["b"].numpy(), array)


def test_keras_files():
    found = tensors(WRITTEN / "weights.h5")
    layers = ("conv2d_2", "conv2d_1")  # their order in the network, not the alphabet's
    assert list(found) == [f"{layer}.{layer}.{name}:0" for layer in layers for name in ("kernel", "bias")]
    assert torch.equal(found["conv2d_2.conv2d_2.kernel:0"], torch.arange(6.0).reshape(1, 1, 2, 3) + 2)
    assert found["conv2d_1.conv2d_1.bias:0"].tolist() == [1, 2, 3]


def test_tensorflow_files(tmp_path):
    found = tensors(WRITTEN / "model.ckpt-2.index")
    layers = [f"{scope}/G/Conv_{i}" for scope in ("Pose_AE", "UAEnoFC") for i in (0, 1)]
    weights = [f"{layer}/{name}" for layer in layers for name in ("biases", "weights")]
    assert found.keys() == {*weights, "step", "half"}
    assert found["Pose_AE/G/Conv_1/weights"].shape == (3, 3, 2, 4)
    assert found["UAEnoFC/G/Conv_0/biases"].tolist() == [0, 1, 2, 3]
    assert (found["step"].item(), found["half"].tolist()) == (7, [1, 0.5])
    (tmp_path / "lonely.index").write_bytes((WRITTEN / "model.ckpt-2.index").read_bytes())
    with pytest.raises(BadCheckpoint, match=r"lonely.data-00000-of-00001 should lie beside it"):
        tensors(tmp_path / "lonely.index")


class Lua:
    """Writes Torch7's serialisation of an object: `Lua(class, fields)`."""

    def __init__(self, kind, fields):
        self.kind, self.fields = kind, fields


def torch7(value, seen=None):
    seen = {} if seen is None else seen

    def text(words):
        return struct.pack("<i", len(words)) + words.encode()

    if value is None:
        return struct.pack("<i", 0)
    if isinstance(value, bool):
        return struct.pack("<ii", 5, value)
    if isinstance(value, int | float):
        return struct.pack("<id", 1, value)
    if isinstance(value, str):
        return struct.pack("<i", 2) + text(value)
    kind = 3 if isinstance(value, dict) else 4
    if id(value) in seen:
        return struct.pack("<ii", kind, seen[id(value)][0])
    seen[id(value)] = len(seen) + 1, value
    head = struct.pack("<ii", kind, seen[id(value)][0])
    if isinstance(value, dict):
        entries = b"".join(torch7(each, seen) for pair in value.items() for each in pair)
        return head + struct.pack("<i", len(value)) + entries
    if isinstance(value, torch.Tensor):
        seen[object()] = len(seen) + 1, None
        numbers = value.contiguous().numpy().tobytes()
        rank = value.dim()
        described = struct.pack(f"<i{2 * rank + 1}q", rank, *value.shape, *value.contiguous().stride(), 1)
        storage = struct.pack("<ii", 4, len(seen)) + text("V 1") + text("torch.FloatStorage")
        storage += struct.pack("<q", value.numel()) + numbers
        return head + text("V 1") + text("torch.FloatTensor") + described + storage
    return head + text("V 1") + text(value.kind) + torch7(value.fields, seen)


def test_torch7_files(tmp_path):
    weight, bias = torch.arange(6.0).reshape(2, 3), torch.ones(2)
    linear = Lua("nn.Linear", {"weight": weight, "bias": bias, "gradWeight": torch.zeros(2, 3), "train": True})
    norm = Lua("nn.SpatialBatchNormalization", {"running_mean": bias, "running_var": bias, "eps": 1e-5})
    inner = Lua("nn.Sequential", {"modules": {1: Lua("nn.ReLU", {"inplace": True}), 2: norm}})
    net = Lua("nn.Sequential", {"modules": {1: linear, 2: inner, 3: linear}, "_type": "torch.FloatTensor"})
    node = Lua("nngraph.Node", {"data": {"module": linear}, "children": {}})
    node.fields["children"][1] = node  # graphs are circular
    graph = Lua("nn.gModule", {"forwardnodes": {1: Lua("nngraph.Node", {"data": {}}), 2: node}})
    path = tmp_path / "200_net_G.t7"
    path.write_bytes(torch7(net))
    found = tensors(path)
    assert list(found) == ["0.weight", "0.bias", "1.1.running_mean", "1.1.running_var", "2.weight", "2.bias"]
    assert torch.equal(found["0.weight"], weight)
    path.write_bytes(torch7({"protos": {"enc_doc": graph}, "epoch": 3}))
    assert tensors(path).keys() == {"protos.enc_doc.1.weight", "protos.enc_doc.1.bias"}


def test_words_and_their_numbers(tmp_path):
    """captions.pickle and the like: no weights, but read as safely."""
    words = {"to": {"a": 1, "bird": 2}, "captions": [[1, 2], [2]], "sizes": {(2, 3): frozenset({1})}}
    for protocol in range(2, 6):
        (tmp_path / "captions.pickle").write_bytes(pickle.dumps(words, protocol))
        assert read(tmp_path / "captions.pickle") == words


class inconv(torch.nn.Module):  # as authors do call their networks' parts
    pass


def test_networks_whose_classes_are_called_like_functions(tmp_path):
    net = inconv()
    net.gain = torch.nn.Parameter(torch.ones(2))
    torch.save(net, tmp_path / "net.pth")
    assert tensors(tmp_path / "net.pth").keys() == {"gain"}
