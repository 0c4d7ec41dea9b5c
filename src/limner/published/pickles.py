"""PyTorch's files, read by an interpreter of pickle that can build data and nothing else.

A pickle is a program, and Python's own machine for it calls whatever the file names. This one knows a handful of
constructors: dictionaries, tuples, tensors. Any other class or function that a file names becomes an `Inert` record of
the name and the arguments; nothing is imported, nothing is called.
"""

from __future__ import annotations

import mmap
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from limner.errors import BadCheckpoint

LEGACY_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a file of torch.save before version 1.6 begins: a pickle of one magic number."""

LARGEST_PROGRAM = 64 << 20  # bytes of pickle, which holds names and shapes; the numbers are elsewhere


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names; never looked up."""

    module: str
    name: str


@dataclass(eq=False)
class Inert:
    """What a pickle says of an object that this reader doesn't build."""

    name: Any
    arguments: Any = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Storage:
    """The flat numbers that tensors look into."""

    numbers: Tensor


DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

OpenStorage = Callable[[str, torch.dtype, int], Tensor]
"""(key, dtype, count) -> the flat numbers of a storage."""


def read_zip(path: Path) -> Any:
    """A file of torch.save since version 1.6: a zip with a pickle and one uncompressed entry for each storage."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            program = next((name for name in entries if name.endswith("/data.pkl")), None)
            if program is None:
                raise BadCheckpoint("a zip file, but not one that PyTorch wrote: it holds no data.pkl.")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise BadCheckpoint("its entries are compressed, which PyTorch's never are.")
            if entries[program].file_size > LARGEST_PROGRAM:
                raise BadCheckpoint("its data.pkl is too large to be a list of tensors.")
            root = program.removesuffix("data.pkl")
            if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
                raise BadCheckpoint("written on a big-endian machine, which limner can't read.")
            pickled = archive.read(program)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, struct.error, RuntimeError) as error:
        raise BadCheckpoint(f"a damaged zip file: {error}.") from None

    with path.open("rb") as file:
        # Copy on write: tensors are pages of the file until somebody changes them.
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def open_storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        entry = entries.get(f"{root}data/{key}")
        if entry is None:
            raise BadCheckpoint(f"the numbers of tensor storage {key!r} are missing.")
        size = count * dtype.itemsize
        header = whole[entry.header_offset : entry.header_offset + 30]
        if len(header) < 30 or header[:4] != b"PK\x03\x04" or entry.file_size < size:
            raise BadCheckpoint(f"tensor storage {key!r} is damaged.")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        start = entry.header_offset + 30 + name_length + extra_length
        if start + size > len(whole):
            raise BadCheckpoint("the file is cut off.")
        return _numbers(whole, start, dtype, count)

    return _run(BytesIO(pickled), open_storage)


def read_legacy(path: Path) -> Any:
    """A file of torch.save before 1.6: a few pickles one after the other, then the storages' numbers."""
    size = path.stat().st_size
    opened: dict[str, Tensor] = {}
    claimed = 0

    def open_storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        nonlocal claimed
        if key not in opened:
            claimed += count * dtype.itemsize
            if claimed > size:
                raise BadCheckpoint("it claims more numbers than the file can hold.")
            opened[key] = torch.zeros(count, dtype=dtype)
        if opened[key].dtype != dtype or len(opened[key]) != count:
            raise BadCheckpoint(f"it describes tensor storage {key!r} in two ways.")
        return opened[key]

    # Mapped: a string that claims to be longer than the file then takes no memory.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        for _ in ("magic number", "protocol", "system"):
            _run(whole, open_storage)
        content = _run(whole, open_storage)
        keys = _run(whole, open_storage)
        if not isinstance(keys, list):
            raise BadCheckpoint("the list of its tensor storages is damaged.")
        for key in keys:
            numbers = opened.get(str(key))
            if numbers is None or whole.read(8) != struct.pack("<q", len(numbers)):
                raise BadCheckpoint(f"tensor storage {key!r} is damaged.")
            stored = bytearray(whole.read(numbers.nbytes))
            if len(stored) != numbers.nbytes:
                raise BadCheckpoint("the file is cut off.")
            if stored:
                numbers.copy_(torch.frombuffer(stored, dtype=numbers.dtype))
    return content


def _numbers(whole: mmap.mmap, start: int, dtype: torch.dtype, count: int) -> Tensor:
    if count == 0:
        return torch.empty(0, dtype=dtype)
    if start % dtype.itemsize:
        return torch.frombuffer(bytearray(whole[start : start + count * dtype.itemsize]), dtype=dtype)
    return torch.frombuffer(whole, dtype=dtype, count=count, offset=start)


# What may be built


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """torch._utils._rebuild_tensor_v2: a view into a storage, checked to stay inside it."""
    numbers = storage.numbers if isinstance(storage, Storage) else None
    if numbers is None or not _naturals(size) or not _naturals(stride) or not _naturals((offset,)):
        raise BadCheckpoint("a tensor is described wrongly.")
    if len(size) != len(stride) or len(size) > 16:
        raise BadCheckpoint("a tensor is described wrongly.")
    count = 1
    for length in size:
        count *= length
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and (last >= len(numbers) or count > len(numbers)):
        raise BadCheckpoint("a tensor reaches outside of its storage.")
    return numbers.as_strided(size, stride, offset) if count else numbers.new_empty(size)


def _naturals(values: Any) -> bool:
    return isinstance(values, tuple | list) and all(type(value) is int and 0 <= value < 1 << 62 for value in values)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _subclass(function: Any, _type: Any, arguments: Any, _state: Any = None) -> Any:
    return _call(function, arguments)


def _dictionary(pairs: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for pair in pairs.items() if isinstance(pairs, dict) else pairs:
        key, value = pair
        _put(made, key, value)
    return made


def _sequence(items: Any = ()) -> tuple[Any, ...]:
    return tuple(items)


BUILDERS: Mapping[Name, Callable[..., Any]] = {
    Name("torch._utils", "_rebuild_tensor"): _tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    Name("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    Name("torch", "Size"): _sequence,
    Name("collections", "OrderedDict"): _dictionary,
}


def _call(function: Any, arguments: Any) -> Any:
    if not isinstance(arguments, tuple):
        raise BadCheckpoint("a damaged pickle: arguments that are no tuple.")
    builder = BUILDERS.get(function) if isinstance(function, Name) else None
    return builder(*arguments) if builder else Inert(function, arguments)


def _put(target: Any, key: Any, value: Any) -> None:
    if isinstance(target, Inert):
        target.items.append((key, value))
    elif type(target) is dict and _is_plain(key):
        target[key] = value
    else:
        raise BadCheckpoint("a damaged pickle: entries for something that is no dictionary.")


def _extend(target: Any, values: list[Any]) -> None:
    if isinstance(target, Inert):
        target.items += values
    elif type(target) is list:
        target.extend(values)
    elif type(target) is set and all(map(_is_plain, values)):
        target.update(values)
    else:
        raise BadCheckpoint("a damaged pickle: items for something that is no list.")


def _is_plain(value: Any) -> bool:
    """May it be a key? Hashing a tuple of tuples of tuples, a million deep, would overflow the C stack."""
    atoms = (str, int, float, bytes, type(None), Name, Inert)
    return isinstance(value, atoms) or (type(value) is tuple and all(isinstance(each, atoms) for each in value))


# The machine

_MARK = object()

CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}

LITERALS = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip


def _run(file: IO[bytes] | mmap.mmap, open_storage: OpenStorage) -> Any:
    """Run the pickle at the file's position, to its end."""
    try:
        return _Machine(open_storage).run(file)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError, struct.error) as error:
        raise BadCheckpoint(f"a damaged pickle: {error}.") from None


class _Machine:
    def __init__(self, open_storage: OpenStorage) -> None:
        self.open_storage = open_storage
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: IO[bytes] | mmap.mmap) -> Any:
        for opcode, argument, _ in pickletools.genops(file):  # type: ignore[arg-type]  # a map reads like a file
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise BadCheckpoint("a damaged pickle: it has no end.")

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in CONSTANTS:
            stack.append(CONSTANTS[opcode]())
            return
        if opcode in LITERALS:
            stack.append(argument)
            return
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self.memo[int(argument)] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(self.memo[int(argument)])
            case "TUPLE":
                stack.append(tuple(self.marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = int(opcode[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "LIST":
                stack.append(self.marked())
            case "DICT":
                stack.append({})
                self.set_items(self.marked(below=1))
            case "FROZENSET":
                made: set[Any] = set()
                _extend(made, self.marked())
                stack.append(frozenset(made))
            case "APPEND":
                value = stack.pop()
                _extend(stack[-1], [value])
            case "APPENDS" | "ADDITEMS":
                values = self.marked()
                _extend(stack[-1], values)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _put(stack[-1], key, value)
            case "SETITEMS":
                self.set_items(self.marked())
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.marked()
            case "DUP":
                stack.append(stack[-1])
            case "GLOBAL":
                module, _, name = str(argument).partition(" ")
                stack.append(Name(module, name))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(Name(str(module), str(name)))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "NEWOBJ_EX":
                keywords, arguments, function = stack.pop(), stack.pop(), stack.pop()
                stack.append(Inert(function, (*arguments, keywords)))
            case "INST":
                module, _, name = str(argument).partition(" ")
                stack.append(_call(Name(module, name), tuple(self.marked())))
            case "OBJ":
                function, *arguments = self.marked()
                stack.append(_call(function, tuple(arguments)))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Inert):
                    stack[-1].state = state
            case "BINPERSID":
                stack.append(self.persistent(stack.pop()))
            case _:
                raise BadCheckpoint(f"its pickle uses {opcode}, which files of weights don't.")

    def marked(self, below: int = 0) -> list[Any]:
        """Take what lies above the last mark, and the mark; the topmost `below` entries stay where they are."""
        kept = [self.stack.pop() for _ in range(below)]
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        self.stack += kept
        return values[::-1]

    def set_items(self, values: list[Any]) -> None:
        for key, value in zip(values[::2], values[1::2], strict=True):
            _put(self.stack[-1], key, value)

    def persistent(self, identity: Any) -> Storage:
        """("storage", class, key, device, count): PyTorch's way to say which numbers a tensor looks into."""
        if not (isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage"):
            raise BadCheckpoint("its pickle refers to something outside that is no tensor storage.")
        _, kind, key, _, count, *view = identity
        if not isinstance(kind, Name) or kind.module != "torch" or kind.name not in DTYPES:
            raise BadCheckpoint(f"tensors of a kind that limner doesn't read: {getattr(kind, 'name', kind)}.")
        if not _naturals((count,)) or any(view):
            raise BadCheckpoint("a tensor storage is described wrongly.")
        return Storage(self.open_storage(str(key), DTYPES[kind.name], count))
