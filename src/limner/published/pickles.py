"""Pickles, read by an interpreter that can build data and nothing else.

A pickle is a program, and Python's own machine for it calls whatever the file names. This one knows a handful of
constructors: dictionaries, tuples, tensors. Any other class that a file names becomes an `Inert` record of the name,
the arguments and the state; nothing is imported, nothing is called. Where the names show that the file is meant to run
something (`os.system`, any function that no weights file needs), it is refused, so that nobody opens it elsewhere.

What the machine does is bounded: by a budget of instructions, in which whatever takes more than a moment or a few
bytes counts as several.
"""

from __future__ import annotations

import codecs
import mmap
import re
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from limner.errors import BadCheckpoint

Content = bytes | mmap.mmap
Resolve = Callable[[Any], Any]
"""What a persistent id stands for: the numbers of a tensor, which lie outside of the pickle."""

BUDGET = 600_000  # instructions; a tensor takes some fifty
LONGEST_TEXT = 4 << 20  # bytes; the longest are the sources that some files carry along
LONGEST_LINE = 1 << 16
MOST_TUPLE_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Inert:
    """What a pickle says of an object that this reader doesn't build."""

    name: Any
    arguments: Any = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)


@dataclass(frozen=True, eq=False, slots=True)
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


def run(
    content: Content, resolve: Resolve | None = None, start: int = 0, end: int | None = None, *, inner: bool = False
) -> tuple[Any, int]:
    """Run the pickle that begins at `start`: the object, and the place after it.

    inner: it lies inside of another pickle, and may hold no third
    """
    machine = Machine(content, resolve, start, len(content) if end is None else end, inner)
    try:
        return machine.run(), machine.at
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError, struct.error) as error:
        raise BadCheckpoint(f"a damaged pickle: {str(error)[:200] or type(error).__name__}.") from None


def stored(identity: Any, open_storage: Callable[[str, torch.dtype, int], Tensor]) -> Any:
    """A persistent id of PyTorch's: ("storage", class, key, device, count) or ("module", class, file, source).

    `open_storage` gives the flat numbers for a key, an element type and a count."""
    if not isinstance(identity, tuple) or not identity or not isinstance(identity[0], str):
        raise BadCheckpoint("its pickle refers to something outside that is no tensor storage.")
    if identity[0] == "module" and len(identity) == 4 and isinstance(identity[1], Name):
        return identity[1]  # the class of a network; its source stays text
    if identity[0] != "storage" or len(identity) not in (5, 6):
        raise BadCheckpoint("its pickle refers to something outside that is no tensor storage.")
    _, kind, key, _, count, *view = identity
    if not isinstance(kind, Name) or kind.module != "torch" or kind.name not in DTYPES:
        raise BadCheckpoint(f"tensors of a kind that limner doesn't read: {kind if isinstance(kind, Name) else '?'}.")
    if not isinstance(key, str | int) or not _naturals((count,)):
        raise BadCheckpoint("a tensor storage is described wrongly.")
    numbers = open_storage(str(key), DTYPES[kind.name], count)
    if not view or view[0] is None:
        return Storage(numbers)
    _, offset, length = view[0]  # PyTorch before 0.4 knew storages that are a part of another
    if not _naturals((offset, length)) or offset + length > count:
        raise BadCheckpoint("a tensor storage is described wrongly.")
    return Storage(numbers[offset : offset + length])


def view(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    """A tensor that looks into a storage, checked to stay inside it."""
    if not isinstance(storage, Storage) or not all(isinstance(each, tuple | list) for each in (size, stride)):
        raise BadCheckpoint("a tensor is described wrongly.")
    if len(size) != len(stride) or len(size) > 16 or not _naturals((offset, *size, *stride)):
        raise BadCheckpoint("a tensor is described wrongly.")
    numbers, count = storage.numbers, 1
    for length in size:
        count *= length
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and (last >= len(numbers) or count > len(numbers)):
        raise BadCheckpoint("a tensor reaches outside of its storage.")
    return numbers.as_strided(size, stride, numbers.storage_offset() + offset) if count else numbers.new_empty(size)


def _naturals(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 62 for value in values)


# What may be built


def _tensor(machine: Machine, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    machine.spend(10)
    return view(storage, offset, size, stride)


def _parameter(machine: Machine, data: Any = None, *_: Any) -> Any:
    return data


def _subclass(machine: Machine, function: Any, _type: Any, arguments: Any, _state: Any = None) -> Any:
    return machine.call(function, arguments)


def _dictionary(machine: Machine, pairs: Any = ()) -> dict[Any, Any]:
    machine.spend(len(pairs))
    made: dict[Any, Any] = {}
    for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
        machine.put(made, key, value)
    return made


def _defaults(machine: Machine, _factory: Any = None) -> dict[Any, Any]:
    return {}


def _list(machine: Machine, items: Any = ()) -> list[Any]:
    machine.spend(len(items))
    return list(items)


def _set(machine: Machine, items: Any = ()) -> set[Any]:
    machine.spend(4 + len(items))
    made: set[Any] = set()
    machine.extend(made, list(items))
    return made


def _size(machine: Machine, lengths: Any = ()) -> tuple[Any, ...]:
    machine.spend(len(lengths))
    return tuple(lengths)


def _encoded(machine: Machine, text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise BadCheckpoint("a damaged pickle: bytes that are no text.")
    machine.copy(len(text))
    return text.encode("latin-1")


def _plain_storage(machine: Machine, content: Any) -> Storage:
    """A tensor's numbers where a module was pickled without torch.save: a file of torch.save inside of the pickle."""
    from limner.published.torch_files import read_stream

    if not isinstance(content, bytes) or machine.inner:
        raise BadCheckpoint("a damaged pickle: the numbers of a tensor are no bytes.")
    machine.copy(len(content))
    machine.spend(20)
    storage = read_stream(content, inner=True)
    if not isinstance(storage, Storage):
        raise BadCheckpoint("a damaged pickle: the numbers of a tensor are something else.")
    return storage


def _new(machine: Machine, kind: Any, _base: Any = None, content: Any = None) -> Any:
    """copy_reg._reconstructor: an object of a class that is filled later, and what it has as a dictionary or list."""
    made = machine.call(kind, (), new=True)
    if isinstance(content, dict | list):
        machine.spend(len(content))
        machine.extend(made, list(content.items() if isinstance(content, dict) else content))
    return made


def _persistent(machine: Machine, description: Any) -> Inert:
    """StyleGAN's way to pickle a network with its source: a class name and a state. The source stays text."""
    if isinstance(description, Inert):
        description = dict(description.items)
    if not isinstance(description, dict) or not isinstance(description.get("class_name"), str):
        raise BadCheckpoint("a damaged pickle: a network without the name of its class.")
    return Inert(Name("", description["class_name"]), (), description.get("state"))


BUILDERS: Mapping[Name, Callable[..., Any]] = {
    Name("torch._utils", "_rebuild_tensor"): _tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    Name("torch.nn.parameter", "Parameter"): _parameter,
    Name("torch.autograd.variable", "Variable"): _parameter,
    Name("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    Name("torch.storage", "_load_from_bytes"): _plain_storage,
    Name("torch", "Size"): _size,
    Name("collections", "OrderedDict"): _dictionary,
    Name("collections", "defaultdict"): _defaults,
    Name("dnnlib.util", "EasyDict"): _dictionary,
    Name("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    Name("copy_reg", "_reconstructor"): _new,
    Name("copyreg", "_reconstructor"): _new,
    Name("_codecs", "encode"): _encoded,
    **{Name(module, "dict"): _dictionary for module in ("builtins", "__builtin__")},
    **{Name(module, "list"): _list for module in ("builtins", "__builtin__")},
    **{Name(module, "set"): _set for module in ("builtins", "__builtin__")},
    **{Name(module, "frozenset"): _set for module in ("builtins", "__builtin__")},
}

# What may be recorded. This guards people who would open the file elsewhere; the machine runs nothing in any case.

HARMLESS_MODULES = frozenset({
    "argparse", "collections", "datetime", "decimal", "enum", "fractions", "math", "numbers", "pathlib", "typing",
    "uuid",
})  # fmt: skip
HARMLESS_NAMES = frozenset({
    *BUILDERS,
    *(Name(module, name) for module in ("builtins", "__builtin__") for name in (
        "bool", "bytearray", "bytes", "complex", "float", "int", "long", "object", "range", "slice", "str", "tuple",
        "type", "unicode", "xrange",
    )),
    Name("functools", "partial"),
    Name("random", "Random"),
    Name("types", "SimpleNamespace"),
})  # fmt: skip
RECORDED_FUNCTIONS = frozenset({
    Name("numpy", "dtype"),
    *(Name(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *(Name(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    Name("torch", "device"),
    *(Name("torch.jit._pickle", name) for name in (
        "build_boollist", "build_doublelist", "build_intlist", "build_tensorlist", "restore_type_tag",
    )),
    Name("torch._utils", "_rebuild_sparse_tensor"),
    Name("torch.nn.backends.thnn", "_get_thnn_function_backend"),
    Name("torch.serialization", "_get_layout"),
})  # fmt: skip
SCRIPTED = "__torch__"
"""Where TorchScript's classes are; their code lies beside the pickle, and isn't read."""
TORCH_CLASSES = re.compile(r"torch(\.(nn|optim|autograd|cuda|distributions)\b.*)?")
PYTHON_2 = frozenset({"__builtin__", "commands", "copy_reg", "cPickle", "new", "popen2", "urllib2"})


def _named(module: Any, name: Any) -> Name:
    """A name as data. What Python's library has beyond the harmless, and ways into an object, are refused."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise BadCheckpoint("a damaged pickle: a name that is no text.")
    found = Name(module, name)
    if found in HARMLESS_NAMES:
        return found
    root = module.partition(".")[0]
    if root == SCRIPTED and all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        return found
    if module == "__main__":
        root = module = "main"
    plain = all(part.isidentifier() and not part.startswith("__") for part in (*module.split("."), *name.split(".")))
    if root in sys.stdlib_module_names or root in PYTHON_2:
        plain = plain and module in HARMLESS_MODULES and not name.startswith("_") and "." not in name
    if not plain:
        raise _refused(found)
    return found


def _refused(name: Name) -> BadCheckpoint:
    shown = ascii(str(name)[:100])
    return BadCheckpoint(
        f"it would make Python use {shown}, which no file of weights needs. Nothing was run. Don't open this file with "
        "anything else, and tell those you have it from."
    )


def _is_class(name: Name) -> bool:
    """By its looks. Functions are called through `RECORDED_FUNCTIONS` alone."""
    torch_s = name.module.partition(".")[0] == "torch"
    upper = name.name.rpartition(".")[2].lstrip("_")[:1].isupper()
    return upper and (not torch_s or bool(TORCH_CLASSES.fullmatch(name.module)))


class Machine:
    """The stack, the memo and the place in the program."""

    def __init__(self, content: Content, resolve: Resolve | None, start: int, end: int, inner: bool) -> None:
        self.content, self.resolve, self.at, self.end, self.inner = content, resolve, start, end, inner
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.left = BUDGET
        self.copies = len(content)  # bytes that may be copied: each once
        self.tuple_keys = 0
        self.unsure: list[Inert] = []

    def run(self) -> Any:
        steps, content, end = STEPS, self.content, self.end
        while self.at < end:
            code = content[self.at]
            self.at += 1
            self.left -= 1
            if self.left < 0:
                raise _too_much()
            if code == 0x2E:  # STOP
                return self.end_of_program()
            step = steps.get(code)
            if step is None:
                raise BadCheckpoint(f"its pickle uses instruction {code:#x}, which files of weights don't.")
            step(self)
        raise BadCheckpoint("a damaged pickle: it has no end.")

    def end_of_program(self) -> Any:
        """What the program made. Classes that look like functions are those of networks, or an attack."""
        for record in self.unsure:
            if not isinstance(record.state, dict) or "_parameters" not in record.state:
                raise _refused(record.name)
        return self.stack.pop()

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise _too_much()

    def copy(self, size: int) -> None:
        self.copies -= size
        if self.copies < 0:
            raise BadCheckpoint("it claims more numbers than the file can hold.")

    # The program's text

    def take(self, count: int) -> bytes:
        begin, self.at = self.at, self.at + count
        if self.at > self.end:
            raise BadCheckpoint("a damaged pickle: it is cut off.")
        return self.content[begin : self.at]

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def line(self) -> bytes:
        stop = self.content.find(b"\n", self.at, min(self.end, self.at + LONGEST_LINE))
        if stop < 0:
            raise BadCheckpoint("a damaged pickle: a line without end.")
        line = self.take(stop - self.at)
        self.at += 1
        return line

    def text(self, length: int) -> str:
        if length > LONGEST_TEXT:
            raise BadCheckpoint("it holds a text that is too long for a file of weights.")
        self.spend(length >> 4)
        return str(self.take(length), "utf-8", "surrogatepass")

    # The stack

    def marked(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        place = self.marks.pop()
        values = self.stack[place:]
        del self.stack[place:]
        return values

    def call(self, function: Any, arguments: Any, new: bool = False) -> Any:
        """What the file wants to be called, built or recorded. `new`: a class without its constructor."""
        if not isinstance(function, Name):
            raise BadCheckpoint("a damaged pickle: a call of something that has no name.")
        if not isinstance(arguments, tuple) or len(arguments) > 64:
            raise BadCheckpoint("a damaged pickle: arguments that are none.")
        builder = BUILDERS.get(function)
        if builder:
            return builder(self, *arguments)
        known = function in HARMLESS_NAMES or function in RECORDED_FUNCTIONS or function.module in HARMLESS_MODULES
        self.spend(1)
        made = Inert(function, arguments)
        if not known and not _is_class(function) and not function.module.startswith(SCRIPTED):
            if not new or function.module.partition(".")[0] in ("torch", "numpy"):
                raise _refused(function)
            self.unsure.append(made)
        return made

    def put(self, target: Any, key: Any, value: Any) -> None:
        if isinstance(target, Inert):
            target.items.append((key, value))
        elif type(target) is dict:
            target[self.key(key)] = value
        else:
            raise BadCheckpoint("a damaged pickle: entries for something that is no dictionary.")

    def extend(self, target: Any, values: list[Any]) -> None:
        if isinstance(target, Inert):
            target.items += values
        elif type(target) is list:
            target += values
        elif type(target) is set:
            target.update(map(self.key, values))
        else:
            raise BadCheckpoint("a damaged pickle: items for something that is no list.")

    def key(self, value: Any) -> Any:
        """The value, if it may be a key: hashed in a moment, and without many others that hash alike."""
        if type(value) is int and abs(value) >= 1 << 60:
            raise BadCheckpoint("a damaged pickle: a key that is too large.")
        if type(value) is tuple:
            self.tuple_keys += 1
            if self.tuple_keys > MOST_TUPLE_KEYS or len(value) > 16:
                raise BadCheckpoint("a damaged pickle: tuples as keys.")
            return tuple(map(self.atom, value))
        return self.atom(value)

    def atom(self, value: Any) -> Any:
        if not isinstance(value, str | int | float | bytes | None | Name | Inert):
            raise BadCheckpoint("a damaged pickle: a key that can be none.")
        return value

    # The instructions that do more than a line

    def memoise(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def integer(self) -> None:
        line = self.line()
        flags = {b"00": False, b"01": True}
        self.stack.append(flags[line] if line in flags else int(line))

    def long(self, length: int) -> None:
        if not 0 <= length <= 1024:
            raise BadCheckpoint("a damaged pickle: a number of more than a thousand bytes.")
        self.stack.append(int.from_bytes(self.take(length), "little", signed=True))

    def string(self) -> None:
        line = self.line()
        if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
            raise BadCheckpoint("a damaged pickle: a text without quotes.")
        self.stack.append(str(codecs.escape_decode(line[1:-1])[0], "latin-1"))

    def tuple_of(self, length: int) -> None:
        if len(self.stack) < length:
            raise BadCheckpoint("a damaged pickle: it takes more than there is.")
        self.stack[-length:] = [tuple(self.stack[-length:])]

    def dictionary(self) -> None:
        pairs = self.marked()
        self.stack.append({})
        self.set_items(pairs)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(values[::2], values[1::2], strict=True):
            self.put(target, key, value)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.put(self.stack[-1], key, value)

    def add(self, values: list[Any]) -> None:
        self.extend(self.stack[-1], values)

    def append(self) -> None:
        value = self.stack.pop()
        self.extend(self.stack[-1], [value])

    def frozen(self) -> None:
        made: set[Any] = set()
        self.spend(4)
        self.extend(made, self.marked())
        self.stack.append(frozenset(made))

    def empty_set(self) -> None:
        self.spend(4)
        self.stack.append(set())

    def global_(self) -> None:
        module, name = self.line(), self.line()
        self.stack.append(_named(str(module, "utf-8"), str(name, "utf-8")))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_named(module, name))

    def reduce(self, new: bool) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.call(function, arguments, new))

    def new_with_keywords(self) -> None:
        keywords, arguments, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
        made = self.call(kind, arguments, new=True)
        if keywords and isinstance(made, Inert):
            made.arguments = (arguments, keywords)
        self.stack.append(made)

    def instance(self) -> None:
        module, name = self.line(), self.line()
        function = _named(str(module, "utf-8"), str(name, "utf-8"))
        self.stack.append(self.call(function, tuple(self.marked())))

    def object(self) -> None:
        function, *arguments = self.marked()
        self.stack.append(self.call(function, tuple(arguments)))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Inert):
            target.state = state
        elif not isinstance(target, dict | Tensor):  # those have attributes, too, that no weights are in
            raise BadCheckpoint("a damaged pickle: a state for something that has none.")

    def persistent(self) -> None:
        if self.resolve is None:
            raise BadCheckpoint("its pickle refers to something outside of it.")
        self.spend(10)
        self.stack.append(self.resolve(self.stack.pop()))


def _too_much() -> BadCheckpoint:
    return BadCheckpoint("it describes more than a file of weights ever holds.")


I1, I2, I4, I8 = (struct.Struct(f"<{form}") for form in "BHIQ")
SIGNED, DOUBLE = struct.Struct("<i"), struct.Struct(">d")


def _push(make: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(make(machine))


Step = Callable[["Machine"], Any]

STEPS: Mapping[int, Step] = {
    code[0]: step
    for code, step in dict[bytes, Step](
        {
            b"\x80": lambda m: m.take(1),  # PROTO
            b"\x95": lambda m: m.take(8),  # FRAME
            b"(": lambda m: m.marks.append(len(m.stack)),
            b"0": lambda m: m.stack.pop(),
            b"1": Machine.marked,
            b"2": _push(lambda m: m.stack[-1]),
            b"N": _push(lambda m: None),
            b"\x88": _push(lambda m: True),
            b"\x89": _push(lambda m: False),
            b"}": _push(lambda m: {}),
            b"]": _push(lambda m: []),
            b")": _push(lambda m: ()),
            b"\x8f": Machine.empty_set,
            b"I": Machine.integer,
            b"J": _push(lambda m: m.number(SIGNED)),
            b"K": _push(lambda m: m.number(I1)),
            b"M": _push(lambda m: m.number(I2)),
            b"L": _push(lambda m: int(m.line().rstrip(b"L"))),
            b"\x8a": lambda m: m.long(m.number(I1)),
            b"\x8b": lambda m: m.long(m.number(SIGNED)),
            b"F": _push(lambda m: float(m.line())),
            b"G": _push(lambda m: m.number(DOUBLE)),
            b"S": Machine.string,
            b"T": _push(lambda m: str(m.take(m.number(I4)), "latin-1")),
            b"U": _push(lambda m: str(m.take(m.number(I1)), "latin-1")),
            b"V": _push(lambda m: str(m.line(), "raw-unicode-escape")),
            b"X": _push(lambda m: m.text(m.number(I4))),
            b"\x8c": _push(lambda m: m.text(m.number(I1))),
            b"\x8d": _push(lambda m: m.text(m.number(I8))),
            b"B": _push(lambda m: m.take(m.number(I4))),
            b"C": _push(lambda m: m.take(m.number(I1))),
            b"\x8e": _push(lambda m: m.take(m.number(I8))),
            b"\x96": _push(lambda m: m.take(m.number(I8))),
            b"p": lambda m: m.memoise(int(m.line())),
            b"q": lambda m: m.memoise(m.number(I1)),
            b"r": lambda m: m.memoise(m.number(I4)),
            b"\x94": lambda m: m.memoise(len(m.memo)),
            b"g": lambda m: m.get(int(m.line())),
            b"h": lambda m: m.get(m.number(I1)),
            b"j": lambda m: m.get(m.number(I4)),
            b"t": _push(lambda m: tuple(m.marked())),
            b"\x85": partial(Machine.tuple_of, length=1),
            b"\x86": partial(Machine.tuple_of, length=2),
            b"\x87": partial(Machine.tuple_of, length=3),
            b"l": _push(Machine.marked),
            b"d": Machine.dictionary,
            b"a": Machine.append,
            b"e": lambda m: m.add(m.marked()),
            b"\x90": lambda m: m.add(m.marked()),
            b"\x91": Machine.frozen,
            b"s": Machine.set_item,
            b"u": lambda m: m.set_items(m.marked()),
            b"c": Machine.global_,
            b"\x93": Machine.stack_global,
            b"R": partial(Machine.reduce, new=False),
            b"\x81": partial(Machine.reduce, new=True),
            b"\x92": Machine.new_with_keywords,
            b"i": Machine.instance,
            b"o": Machine.object,
            b"b": Machine.build,
            b"Q": Machine.persistent,
        }
    ).items()
}
