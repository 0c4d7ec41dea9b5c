"""Files that attack whoever opens them: `files()` gives each by name. Nothing here is ever run by the tests.

Where it can, a file holds good weights beside the attack, so that being refused is no accident.
"""

from __future__ import annotations

import io
import itertools
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator

import numpy as np

MARKER = "MARKER"  # what the attacks would make in the working directory
STREAM_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def files() -> Iterator[tuple[str, bytes]]:
    kinds = (named, crafted, budgets, tensors, zips, streams, tars, safetensors, numpys, hdf5s, torch7s, msgpacks)
    for kind in (*kinds, tensorflows):
        for name, content in kind():
            yield f"{kind.__name__}: {name}", content


# Pickles


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def text(words: str) -> bytes:
    return b"X" + struct.pack("<I", len(words)) + words.encode()


def row(values: list[int]) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def described(size=(2, 2), stride=(2, 1), offset=0, count=4, kind="FloatStorage", key="0") -> bytes:
    """The instructions that make one tensor."""
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + integer(count) + b"tQ"
    arguments = b"(" + storage + integer(offset) + row(list(size)) + row(list(stride)) + b"\x89}t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


WEIGHTS = text("weight") + described() + b"s"
"""One good entry for the dictionary on the stack."""


def beside(instructions: bytes) -> bytes:
    """A pickle of a dictionary with a good weight, and what the instructions leave on the stack."""
    return b"\x80\x02}" + WEIGHTS + text("more") + instructions + b"s."


def in_zip(program: bytes, **more: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", np.arange(4, dtype="<f4").tobytes())
        for name, content in more.items():
            archive.writestr(name, content)
    return file.getvalue()


def in_stream(program: bytes, keys: tuple[str, ...] = ("0",), count: int = 4) -> bytes:
    head = STREAM_HEAD + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    numbers = b"".join(struct.pack("<q", count) + np.arange(count, dtype="<f4").tobytes() for _ in keys)
    return head + program + pickle.dumps(list(keys), 2) + numbers


COMMAND = f"touch {MARKER}"
CODE = f"open('{MARKER}', 'w')"
CALLS = {
    "os": "system popen execv execvp spawnl posix_spawn unlink remove rename rmdir makedirs chmod kill abort _exit "
    "fork putenv startfile open symlink link truncate setuid",
    "posix": "system execv fork unlink _exit",
    "nt": "system startfile",
    "subprocess": "Popen call run check_call check_output getoutput getstatusoutput",
    "builtins": "eval exec compile __import__ getattr setattr delattr open print input globals vars exit map filter",
    "__builtin__": "eval execfile apply reload file __import__ getattr",
    "commands": "getoutput",
    "popen2": "popen2",
    "importlib": "import_module reload __import__",
    "runpy": "run_path run_module _run_code",
    "code": "interact InteractiveInterpreter.runcode",
    "codeop": "compile_command",
    "pty": "spawn",
    "socket": "socket create_connection",
    "urllib.request": "urlopen urlretrieve",
    "http.client": "HTTPSConnection",
    "ftplib": "FTP",
    "webbrowser": "open",
    "shutil": "rmtree copyfile move unpack_archive",
    "ctypes": "CDLL cast",
    "sys": "exit settrace setrecursionlimit modules",
    "pickle": "loads load Unpickler",
    "marshal": "loads",
    "types": "FunctionType CodeType LambdaType",
    "operator": "attrgetter methodcaller itemgetter call",
    "functools": "reduce partialmethod",
    "timeit": "timeit main",
    "pdb": "run",
    "bdb": "Bdb.run",
    "cProfile": "run",
    "trace": "Trace.run",
    "doctest": "debug_script",
    "multiprocessing": "Process",
    "threading": "Thread",
    "_thread": "start_new_thread",
    "atexit": "register",
    "signal": "raise_signal",
    "logging.config": "dictConfig listen",
    "tempfile": "mktemp NamedTemporaryFile",
    "zipfile": "ZipFile",
    "tarfile": "open",
    "sqlite3": "connect",
    "shelve": "open",
    "dbm": "open",
    "ensurepip": "bootstrap",
    "site": "addsitedir",
    "zipimport": "zipimporter",
    "inspect": "getattr_static",
    "collections": "_sys.modules namedtuple.__globals__",
    "pathlib": "Path.unlink os.system _getfinalpathname",
    "typing": "get_type_hints.__globals__ ForwardRef._evaluate",
    "torch": "load save manual_seed hub.load ops.load_library",
    "torch.hub": "load load_state_dict_from_url HTTPError",
    "torch.jit": "load ScriptModule",
    "torch.serialization": "load",
    "torch.package": "PackageImporter",
    "torch.utils.cpp_extension": "load load_inline BuildExtension",
    "torch.distributed.rpc": "rpc_sync",
    "torch.fx.graph_module": "reduce_graph_module",
    "torch._inductor.codecache": "PyCodeCache.load",
    "torch.testing._internal.common_utils": "TestCase",
    "torch.multiprocessing": "Process",
    "torch._utils": "_rebuild_tensor_v2.__globals__ _import_dotted_name",
    "torch.storage": "_load_from_bytes.__globals__ load",
    "numpy": "load loadtxt memmap.__new__ save",
    "numpy.testing._private.utils": "runstring",
    "numpy.f2py": "compile",
    "numpy.ctypeslib": "load_library",
    "pip._internal.cli.main": "main",
    "setuptools.sandbox": "run_setup",
    "joblib": "load",
    "cloudpickle": "loads",
    "dill": "loads",
    "pandas": "read_pickle eval",
    "yaml": "load unsafe_load",
    "requests": "get",
    "keras.models": "load_model",
    "torch_utils.persistence": "_src_to_module persistent_class",
    "numpy.core.multiarray": "fromfile",
}


def named() -> Iterator[tuple[str, bytes]]:
    """Names that no file of weights needs, called in every way that a pickle knows, in every kind of file."""
    ways = itertools.cycle([
        lambda module, name: f"c{module}\n{name}\n".encode() + b"(" + text(COMMAND) + b"tR",
        lambda module, name: text(module) + text(name) + b"\x93" + text(CODE) + b"\x85R",
        lambda module, name: b"(" + text(COMMAND) + f"i{module}\n{name}\n".encode(),
        lambda module, name: b"(" + f"c{module}\n{name}\n".encode() + text(COMMAND) + b"o",
        lambda module, name: text(module) + text(name) + b"\x93(" + text(COMMAND) + b"t}\x92",
    ])  # fmt: skip
    places = itertools.cycle([in_zip, in_stream])
    for module, names in CALLS.items():
        for name in names.split():
            yield f"{module} {name}", next(places)(beside(next(ways)(module, name)))


def crafted() -> Iterator[tuple[str, bytes]]:
    """Programs that try to get at something by a way of their own."""
    system = b"cos\nsystem\n"
    build = {
        "a name alone": system,
        "a class without its constructor": b"csubprocess\nPopen\n(" + text(COMMAND) + b"t\x81",
        "getattr of a module": b"c__builtin__\ngetattr\n(cos\n__dict__\ntR",
        "getattr chain": b"cbuiltins\ngetattr\n(ctorch\n_C\n" + text("os") + b"tR",
        "call of a call": b"ccollections\nCounter\n)R)R",
        "call of a text": text("os.system") + b")R",
        "call of a tensor": described() + b")R",
        "call of a record": b"cnet\nNet\n)\x81(" + text(COMMAND) + b"tR",
        "call with a list": b"ccollections\nOrderedDict\n]R",
        "call with the dictionary itself": b"ccollections\nOrderedDict\nNR",
        "setstate by a dictionary": b"cnet\nNet\nN" + b"(}" + text("__setstate__") + system + b"stb",
        "build a name": b"cnet\nNet\n}" + text("__setstate__") + text("x") + b"sb",
        "build a tuple": b")}b",
        "build a text": text("x") + b"}b",
        "reduce_ex by hand": b"ccopyreg\n__newobj__\n(cnet\nNet\ntR",
        "reconstructor of a type": b"ccopyreg\n_reconstructor\n(" + system + b"c__builtin__\nobject\nNtR",
        "map over system": b"cbuiltins\nlist\n(cbuiltins\nmap\n(" + system + b"(" + text(COMMAND) + b"ltRtR",
        "partial of system": b"cfunctools\npartial\n(" + system + text(COMMAND) + b"tR",
        "default factory": b"ccollections\ndefaultdict\n(" + system + b"tR",
        "a class by type()": b"cbuiltins\ntype\n(" + text("X") + b")}" + text("__reduce__") + system + b"stR",
        "class of a module in a module": text("torch.nn.os") + text("system") + b"\x93)R",
        "dunder module": text("torch.__builtins__") + text("eval") + b"\x93)R",
        "name with a space": text("os system") + text("x") + b"\x93)R",
        "name with a line end": text("os\nsystem") + text("x") + b"\x93)R",
        "name that is empty": text("") + text("") + b"\x93)R",
        "name that is a list": b"]]\x93)R",
        "name that is a tensor": text("torch") + described() + b"\x93",
        "extension registry 1": b"\x82\x01",
        "extension registry 2": b"\x83\x01\x00",
        "extension registry 4": b"\x84\x01\x00\x00\x00",
        "text persistent id": b"Pos.system\n",
        "persistent id with code": b"(" + text("module") + system + text(MARKER) + text(CODE) + b"tQ",
        "persistent id that is a call": b"(" + text("call") + system + text(COMMAND) + b"tQ",
        "storage of a foreign class": b"(" + text("storage") + system + text("0") + text("cpu") + b"K\x04tQ",
        "storage with a tuple as key": b"(" + text("storage") + b"ctorch\nFloatStorage\n)" + text("cpu") + b"K\x04tQ",
        "buffers out of band": b"\x97",
        "read-only buffer": b"\x97\x98",
        "network without class": b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n(}tR",
        "network with arguments": b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n(}}tR",
        "bytes that are a pickle": b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", 40)
        + (system + b"(" + b"S'" + COMMAND.encode() + b"'\ntR.").ljust(40) + b"tR",
        "a stream in a stream in a stream": b"ctorch.storage\n_load_from_bytes\n(B" + _nested(3) + b"tR",
        "bytes that are text": b"ctorch.storage\n_load_from_bytes\n(" + text("0" * 40) + b"tR",
        "encoding with a codec of one's own": b"c_codecs\nencode\n(" + text("x") + text("zip") + b"tR",
        "encoding of a list": b"c_codecs\nencode\n(]" + text("latin1") + b"tR",
        "array of objects": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
        + b"(K\x01K\x01\x85cnumpy\ndtype\n(" + text("O8") + b"K\x00K\x01tR\x89]tb",
        "array longer than its bytes": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
        + b"(K\x01J\xff\xff\xff\x7f\x85cnumpy\ndtype\n(" + text("f8") + b"K\x00K\x01tR\x89C\x04abcdtb",
    }  # fmt: skip
    for name, instructions in build.items():
        yield name, in_zip(beside(instructions))
    whole = {
        "unknown instruction": b"\x80\x02\xff.",
        "no end": b"\x80\x02}",
        "nothing": b"\x80\x02.",
        "no mark": b"\x80\x02t.",
        "marks alone": b"\x80\x02((((.",
        "what was never kept": b"\x80\x02}h\x09.",
        "kept under a negative number": b"\x80\x02}p-1\ng-2\n.",
        "odd items": b"\x80\x02}(K\x01u.",
        "items of a tuple": b"\x80\x02)(K\x01K\x01u.",
        "a list as a key": b"\x80\x02}]Ns.",
        "itself as a key": b"\x80\x02]q\x00h\x00\x85q\x01a}h\x01Ns.",
        "weights in themselves": b"\x80\x02}q\x00" + text("a") + b"h\x00s.",
        "an odd name": b"\x80\x02}" + text("a\x1b[2J") + described() + b"s.",
        "a name of a megabyte": b"\x80\x02}" + text("a" * (1 << 20)) + described() + b"s.",
        "one name twice": b"\x80\x02}" + text("a.b") + described() + b"s" + text("a") + b"}" + text("b") + described()
        + b"ss.",
        "text that is no text": b"\x80\x02}X\x02\x00\x00\x00\xff\xfeNs.",
        "text with a false length": b"\x80\x02X\xff\xff\xff\x7fabc.",
        "bytes with a false length": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc.",
        "a frame with a false length": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62),
        "a negative length": b"\x80\x02\x8b\xff\xff\xff\xff.",
    }  # fmt: skip
    for name, program in whole.items():
        yield name, in_zip(program)
    yield "a plain pickle", b"\x80\x04" + beside(b"cos\nsystem\n(" + text(COMMAND) + b"tR")[2:]
    yield "a plain pickle of protocol 0", b"cos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR."
    yield "two pickles", pickle.dumps({"a": 1}) + b"cos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR."


def _nested(depth: int) -> bytes:
    content = STREAM_HEAD
    for _ in range(depth):
        inner = b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(content)) + content + b"tR"
        content = STREAM_HEAD + b"\x80\x02K\x01." + b"\x80\x02}." + b"\x80\x02" + inner + b"." + b"\x80\x02]."
    return struct.pack("<I", len(content)) + content


def budgets() -> Iterator[tuple[str, bytes]]:
    """Few bytes that ask for much time, memory or depth."""
    doubling = b"".join(b"(" + b"h\x00h\x00" + b"lq\x00" for _ in range(100))
    growing = b"".join(b"}q\x01" + text("a") + b"h\x00s" + text("b") + b"h\x00sh\x01q\x00" for _ in range(60))
    million = b"(" + b"K\x01" * 200_000 + b"t"
    collide = b"".join(b"\x8a\x0a" + (n * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for n in range(20_000))
    programs = {
        "a list of twice itself, 100 times": b"\x80\x02]q\x00" + doubling + b"}" + text("a") + b"h\x00s.",
        "a dictionary of twice itself": b"\x80\x02}q\x00" + growing + b".",
        "a name from such a list": b"\x80\x02]q\x00" + doubling + b"h\x00h\x00\x93.",
        "a storage key from such a list": b"\x80\x02]q\x00" + doubling + b"0(" + text("storage")
        + b"ctorch\nFloatStorage\nh\x00" + text("cpu") + b"K\x04tQ.",
        "deep tuples": b"\x80\x02" + b")" + b"\x85" * 300_000 + b".",
        "deep tuple as a key": b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.",
        "deep lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "deep dictionaries": b"\x80\x02" + (b"}" + text("a")) * 50_000 + b"N" + b"s" * 50_000 + b".",
        "deep rebuilding": b"\x80\x02" + b"ctorch._tensor\n_rebuild_from_type_v2\n(" * 20_000 + b"N" + b"tR" * 20_000
        + b".",
        "a number of 100,000 digits": b"L" + b"9" * 60_000 + b"L\n.",
        "a number of 100,000 bytes": b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b".",
        "a line of a megabyte": b"S'" + b"a" * (1 << 20) + b"'\n.",
        "keys that hash alike": b"\x80\x02}(" + collide + b"u.",
        "tuples that hash somehow": b"\x80\x02}(" + b"".join(
            integer(n) + b"\x85N" for n in range(2_000)) + b"u.",
        "two million instructions": b"\x80\x02" + b"N0" * 1_000_000 + b".",
        "a million sets": b"\x80\x02" + b"\x8f" * 1_000_000 + b".",
        "a million empty lists": b"\x80\x02(" + b"]" * 1_100_000 + b"l.",
        "a million kept": b"\x80\x02" + b"}\x94" * 600_000 + b".",
        "copies of a long tuple": b"\x80\x02" + million + b"q\x00ctorch\nSize\nq\x01("
        + b"h\x01h\x00\x85R" * 50_000 + b"l.",
        "calls with a long tuple": b"\x80\x02" + million + b"q\x00ctorch._utils\n_rebuild_parameter\nq\x01("
        + b"h\x01h\x00R" * 50_000 + b"l.",
        "copies of a dictionary": b"\x80\x02}(" + b"".join(integer(n) + b"N" for n in range(50_000)) + b"uq\x00"
        + b"ccollections\nOrderedDict\nq\x01(" + b"h\x01h\x00\x85R" * 50_000 + b"l.",
        "copies of bytes": b"\x80\x02" + text("a" * 100_000) + text("latin1") + b"\x86q\x00c_codecs\nencode\nq\x01("
        + b"h\x01h\x00R" * 50_000 + b"l.",
        "texts of wide letters": b"\x80\x02(" + (b"X" + struct.pack("<I", 3_000_004) + "\U0001f600".encode()
        + b"a" * 3_000_000) * 5 + b"l.",
        "a hundred thousand tensors": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00(" + described()[len(
            b"ctorch._utils\n_rebuild_tensor_v2\n") + 1 : -1] + b"q\x01(" + b"h\x00h\x01R" * 250_000 + b"l.",
        "records without end": b"\x80\x02cnet\nNet\nq\x00)q\x01(" + b"h\x00h\x01\x81" * 400_000 + b"l.",
    }  # fmt: skip
    for name, program in programs.items():
        yield name, in_zip(program)
    storage = STREAM_HEAD + b"\x80\x02K\x01." + b"\x80\x02}." + b"\x80\x02(" + text("storage")
    storage += (
        b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(50_000) + b"NtQ." + b"\x80\x02]" + text("0")
    )
    storage += b"a." + struct.pack("<q", 50_000) + b"\0" * 200_000
    again = b"ctorch.storage\n_load_from_bytes\nq\x00B" + struct.pack("<I", len(storage)) + storage + b"\x85q\x01("
    yield "the same numbers again and again", b"\x80\x03" + again + b"h\x00h\x01R" * 10_000 + b"l."


# Tensors


def tensors() -> Iterator[tuple[str, bytes]]:
    wrong = {
        "longer than its storage": described([5], [1]),
        "strides beyond it": described([2, 2], [3, 1]),
        "offset beyond it": described([4], [1], offset=1),
        "negative offset": described([4], [1], offset=-1),
        "negative stride": described([2], [-1], offset=2),
        "negative size": described([-2, -2], [2, 1]),
        "fewer strides than sizes": described([2, 2], [1]),
        "more strides than sizes": described([2], [1, 1]),
        "expanded": described([1000, 1000], [0, 0]),
        "overlapping": described([4, 4], [0, 1]),
        "sizes that overflow": described([2**31 - 1, 2**31 - 1, 2**31 - 1], [1, 1, 1]),
        "a thousand dimensions": described([1] * 1000, [1] * 1000),
        "empty, of many sizes": described([0] * 17, [1] * 17),
        "storage longer than its entry": described([4], [1], count=5),
        "storage of two billion": described([4], [1], count=2**31 - 1),
        "negative storage": described([4], [1], count=-1),
        "quantised": described(kind="QInt8Storage"),
        "untyped": described(kind="UntypedStorage"),
        "missing storage": described(key="1"),
        "storage outside": described(key="../../data/0"),
        "storage of an absolute name": described(key="/etc/passwd"),
        "one storage in two types": described() + b"0" + described(kind="IntStorage"),
        "one storage in two lengths": described() + b"0" + described([1], [1], count=2),
        "sizes that are texts": described().replace(row([2, 2]), b"(" + text("2") + text("2") + b"t"),
        "sizes that are true": described().replace(row([2, 2]), b"(\x88\x88t"),
        "sizes that are long": described().replace(row([2, 2]), b"(" + b"\x8a\x09" + b"\0" * 8 + b"\x01" + b"K\x01t"),
        "sizes that are a dictionary": described().replace(row([2, 2]), b"}"),
        "offset that is a float": described().replace(integer(0) + row([2, 2]), b"G" + b"\0" * 8 + row([2, 2])),
    }
    for name, instructions in wrong.items():
        yield name, in_zip(beside(instructions))


# Containers


def _patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def zips() -> Iterator[tuple[str, bytes]]:
    good = in_zip(b"\x80\x02}" + WEIGHTS + b".")
    directory, end = good.index(b"PK\x01\x02"), good.rindex(b"PK\x05\x06")
    second = good.index(b"PK\x01\x02", directory + 4)
    for name in (
        "../evil.pkl",
        "/etc/evil",
        "a/../../evil",
        "C:/evil",
        "a\\..\\evil",
        "a//b",
        "a\nb",
        "./a",
        "\x1b[2J",
    ):
        if name != "./a":
            yield f"slip {name!r}", in_zip(b"\x80\x02}" + WEIGHTS + b".", **{name: b"x"})
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02}" + WEIGHTS + b".")
            archive.writestr("archive/data/0", b"\0" * 16)
            archive.writestr("archive/dat4.pkl", beside(b"cos\nsystem\n(" + text(COMMAND) + b"tR"))
        yield "two programs under one name", file.getvalue().replace(b"archive/dat4.pkl", b"archive/data.pkl")
    yield "two roots", in_zip(b"\x80\x02}" + WEIGHTS + b".", **{"other/data.pkl": b"\x80\x02}."})
    yield "no program", in_zip(b"").replace(b"data.pkl", b"dato.pkl")
    program = {"archive/constants.pkl": b"", "archive/code/a.py": b""}
    yield "a TorchScript program without weights", in_zip(b"\x80\x02}.", **program)
    yield "big-endian", in_zip(b"\x80\x02}" + WEIGHTS + b".", **{"archive/byteorder": b"big"})
    yield "encrypted", _patched(_patched(good, 6, b"\x01\0"), directory + 8, b"\x01\0")
    yield "encrypted in the directory alone", _patched(good, directory + 8, b"\x01\0")
    yield "another name inside", _patched(good, 30, b"ARCHIVE")
    yield "packed in an unknown way", _patched(good, directory + 10, b"\x63\0")
    yield "a forged size", _patched(good, directory + 24, struct.pack("<I", 1 << 30))
    yield "two forged sizes", _patched(good, directory + 20, struct.pack("<2I", 1 << 30, 1 << 30))
    yield "a forged place", _patched(good, directory + 42, struct.pack("<I", 1 << 30))
    yield "a place in the directory", _patched(good, directory + 42, struct.pack("<I", directory))
    yield "overlapping entries", _patched(good, second + 42, good[directory + 42 : directory + 46])
    yield "entries in entries", _patched(good, directory + 20, struct.pack("<2I", directory - 46, directory - 46))
    yield "more entries than it says", _patched(good, end + 10, struct.pack("<H", 1))
    yield "a shorter directory", _patched(good, end + 12, struct.pack("<I", 40))
    yield "a directory elsewhere", _patched(good, end + 16, struct.pack("<I", 0))
    yield "a directory of four gigabytes", _patched(good, end + 12, struct.pack("<2I", 0xFFFFFFFE, 0))
    yield "a program in front", b"PK\x03\x04#!/bin/sh\n" + good
    yield "something behind", good + b"#!/bin/sh\n"
    yield "two archives", good + good
    yield "cut off", good[:-30]
    yield "several disks", _patched(good, end + 4, b"\x01\0\x01\0")
    place = struct.pack("<4sIQI", b"PK\x06\x07", 0, 1 << 60, 1)
    yield "wide sizes elsewhere", good[:end] + place + good[end:]
    yield "wide sizes that are missing", _patched(good, directory + 24, b"\xff\xff\xff\xff")
    for name, size in (("of zeros", 50 << 20), ("of a gigabyte's pickle", 64 << 20)):
        with io.BytesIO() as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("archive/data.pkl", b"\0" * size)
            yield f"bomb {name}", file.getvalue()
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02}" + WEIGHTS + b".")
            archive.writestr("archive/data/0", b"\0" * 16)
        yield "compressed as PyTorch never does", file.getvalue()
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.txt", good)
        yield "an archive in an archive", file.getvalue()
    yield "an empty archive", b"PK\x03\x04" + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0, 0, 0, 4, 0)
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    many = entry * 200_000
    yield (
        "entries without number",
        b"PK\x03\x04" + many + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 9, 9, len(many), 4, 0),
    )


def streams() -> Iterator[tuple[str, bytes]]:
    program = b"\x80\x02}" + WEIGHTS + b"."
    good = in_stream(program)
    yield "cut off", good[:-4]
    yield "another length", good[:-24] + struct.pack("<q", 5) + good[-16:]
    yield "negative length", good[:-24] + struct.pack("<q", -4) + good[-16:]
    yield "keys that nothing has", in_stream(program, keys=("1",))
    yield "a key twice", in_stream(program, keys=("0", "0"))
    yield "no keys", in_stream(program, keys=())
    yield "keys that are no list", good.replace(pickle.dumps(["0"], 2), pickle.dumps({"0": 1}, 2))
    yield "keys that are lists", good.replace(pickle.dumps(["0"], 2), pickle.dumps([["0"]], 2))
    yield "a storage of eight gigabytes", in_stream(b"\x80\x02}" + text("a") + described(count=2**31 - 1) + b"s.")
    many = b"".join(text(str(n)) + described(count=1_000_000, key=str(n)) + b"s" for n in range(100))
    yield "a hundred storages of four megabytes", in_stream(b"\x80\x02}" + many + b".")
    yield "the magic number alone", STREAM_HEAD
    for name, view in (("beyond", row([8, 3, 2])), ("negative", row([8, -1, 2])), ("odd", row([8]))):
        storage = (
            b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(4) + view + b"tQ"
        )
        made = b"ctorch._utils\n_rebuild_tensor\n(" + storage + integer(0) + row([1]) + row([1]) + b"tR"
        yield f"a part of a storage, {name}", in_stream(b"\x80\x02}" + text("a") + made + b"s.")


def _tar(**members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def old_tar(storages=None, tensors=None, program=None) -> bytes:
    one = pickle.dumps(1, 2) + b"\x80\x02(K\x0a" + text("cpu") + b"ctorch\nFloatStorage\nt."
    one += struct.pack("<q4f", 4, 1, 2, 3, 4) + pickle.dumps([], 2)
    two = pickle.dumps(1, 2) + b"\x80\x02(K\x14K\x0actorch\nFloatTensor\nt." + struct.pack("<i4x3q", 1, 4, 1, 0)
    return _tar(
        storages=storages or one, tensors=tensors or two, pickle=program or b"\x80\x02}" + text("a") + b"K\x14Qs."
    )


def tars() -> Iterator[tuple[str, bytes]]:
    begin = pickle.dumps(1, 2) + b"\x80\x02(K\x14K\x0actorch\nFloatTensor\nt."
    head = pickle.dumps(1, 2) + b"\x80\x02(K\x0a" + text("cpu")
    yield "a program", old_tar(program=beside(b"cos\nsystem\n(" + text(COMMAND) + b"tR"))
    yield "a call", old_tar(program=b"\x80\x02}" + text("a") + b"K\x14Qs" + text("b") + b"cos\nsystem\n)Rs.")
    yield "a tensor that isn't there", old_tar(program=b"\x80\x02}" + text("a") + b"K\x15Qs.")
    yield "a tensor beyond its storage", old_tar(tensors=begin + struct.pack("<i4x3q", 1, 5, 1, 0))
    yield "negative strides", old_tar(tensors=begin + struct.pack("<i4x3q", 1, 4, -1, 3))
    yield "a million dimensions", old_tar(tensors=begin + struct.pack("<i4x3q", 1_000_000, 5, 1, 0))
    yield "a billion tensors", old_tar(tensors=pickle.dumps(1_000_000_000, 2))
    yield "a billion storages", old_tar(storages=pickle.dumps(1_000_000_000, 2))
    yield "a storage of a class of its own", old_tar(storages=head + b"cos\nsystem\nt.")
    yield "a long storage", old_tar(storages=head + b"ctorch\nFloatStorage\nt." + struct.pack("<q", 1 << 40))
    yield "a negative storage", old_tar(storages=head + b"ctorch\nFloatStorage\nt." + struct.pack("<q", -1))
    yield "slip", _tar(**{"../evil": b"x", "/etc/evil": b"x"})
    good = old_tar()
    yield "a forged size", _patched(good, 124, b"77777777777\0")
    yield "a size that is none", _patched(good, 124, b"-0000000001\0")
    yield "cut off", good[:700]


def safetensors() -> Iterator[tuple[str, bytes]]:
    def file(header: object, data: bytes = b"\0" * 16) -> bytes:
        head = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(head)) + head + data

    def one(**changes: object) -> dict[str, object]:
        return {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes}

    yield "a header of an exabyte", struct.pack("<Q", 1 << 60) + b"{"
    yield "a header longer than the file", struct.pack("<Q", 1 << 20) + b"{}"
    yield "no JSON", file(b"{" + b"x" * 100)
    yield "deep JSON", file(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    yield "deep objects", file(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    yield "a list", file(b"{" + b"]")
    yield "offsets beyond", file(one(data_offsets=[0, 1 << 40]))
    yield "offsets backwards", file(one(data_offsets=[16, 0]))
    yield "negative offsets", file(one(data_offsets=[-16, 0]))
    yield "a hole", file(one(data_offsets=[0, 16]), b"\0" * 32)
    yield "another size", file(one(shape=[5]))
    yield "sizes that overflow", file(one(shape=[1 << 40, 1 << 40]))
    yield "negative sizes", file(one(shape=[-4]))
    yield "a type of its own", file(one(dtype="O8"))
    yield "overlapping", file(one() | {"b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})
    yield "nothing in it", file({"__metadata__": {"a": "b"}}, b"")
    yield "names to be printed", file({"\x1b[2J": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})


def numpys() -> Iterator[tuple[str, bytes]]:
    def npy(header: str, data: bytes = b"\0" * 16, version: int = 1, length: int | None = None) -> bytes:
        head = header.encode("latin-1")
        size = len(head) if length is None else length
        return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") + head + data

    def say(kind="<f4", shape="(4,)", fortran="False") -> str:
        return f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n"

    evil = pickle.dumps([1])[:-1] + b"0cos\nsystem\n(" + text(COMMAND) + b"tR."
    single = {
        "objects": npy(say("|O"), evil),
        "objects of eight bytes": npy(say("|O8"), evil),
        "texts": npy(say("<U4")),
        "raw bytes": npy(say("|V4")),
        "dates": npy(say("<M8[s]")),
        "records": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }"),
        "records of objects": npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (4,), }", evil),
        "code for a header": npy(f"__import__('os').system('{COMMAND}')"),
        "code in a shape": npy(say(shape=f"({CODE},)")),
        "code in a type": npy(say(kind="<f4' + '")),
        "more keys": npy(say().rstrip("}\n, ") + ", 'x': 1}"),
        "longer than the file": npy(say(shape="(5,)")),
        "of an exabyte": npy(say(shape="(1152921504606846976,)")),
        "sizes that overflow": npy(say(shape="(4294967296, 4294967296, 4)")),
        "a number of many digits": npy(say(shape="(" + "9" * 4000 + ",)")),
        "many dimensions": npy(say(shape="(" + "1, " * 1000 + ")")),
        "negative": npy(say(shape="(-4,)")),
        "a header of four gigabytes": npy(say(), version=2, length=0xFFFFFFFF),
        "a deep header": npy("(" * 4000),
        "more than it says": npy(say(shape="(3,)")),
        "floats of one byte": npy(say("<f1", "(16,)")),
    }
    for name, content in single.items():
        yield name, content
        if name in ("objects", "of an exabyte", "code for a header"):
            with io.BytesIO() as file:
                with zipfile.ZipFile(file, "w") as archive:
                    archive.writestr("w.npy", content)
                yield f"{name}, in a .npz", file.getvalue()
    with io.BytesIO() as file:
        np.savez_compressed(file, a=np.zeros(20 << 20, np.uint8))
        yield "a bomb", file.getvalue()
        packed = bytearray(file.getvalue())
    directory = packed.index(b"PK\x01\x02")
    packed[directory + 24 : directory + 28] = struct.pack("<I", 200)
    yield "a bomb with a forged size", bytes(packed)
    with io.BytesIO() as file:
        np.savez(file, a=np.arange(4))
        forged = bytearray(file.getvalue())
    forged[forged.index(b"PK\x01\x02") + 16] ^= 1
    yield "a forged checksum", bytes(forged)
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("w.npy", b"cos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR.")
        yield "no array", file.getvalue()


def hdf5s() -> Iterator[tuple[str, bytes]]:
    def message(kind: int, body: bytes) -> bytes:
        return struct.pack("<HHB3x", kind, len(body), 0) + body

    def header(*messages: bytes) -> bytes:
        block = b"".join(messages)
        return struct.pack("<BxHII4x", 1, len(messages), 1, len(block)) + block

    def superblock(root: int) -> bytes:
        return (
            b"\x89HDF\r\n\x1a\n"
            + bytes([0, 0, 0, 0, 0, 8, 8, 0])
            + struct.pack("<HHI4Q", 4, 16, 0, 0, 0, 0, 0)
            + (struct.pack("<QQII16x", 0, root, 0, 0))
        )

    def group(tree: int, heap: int) -> bytes:
        return header(message(17, struct.pack("<QQ", tree, heap)))

    def heap(at: int, names: bytes) -> bytes:
        return struct.pack("<4s4xQQQ", b"HEAP", len(names), 0, at + 32) + names

    def tree(*children: int, level: int = 0) -> bytes:
        return struct.pack("<4sBBHQQ", b"TREE", 0, level, len(children), 0, 0) + b"".join(
            struct.pack("<QQ", 0, child) for child in children
        )

    def node(*entries: tuple[int, int, int]) -> bytes:
        return struct.pack("<4sxxH", b"SNOD", len(entries)) + b"".join(
            struct.pack("<QQII16x", name, place, cache, 0) for name, place, cache in entries
        )

    def space(*sizes: int) -> bytes:
        return message(1, struct.pack(f"<BBB5x{len(sizes)}Q", 1, len(sizes), 0, *sizes))

    kind = message(3, bytes([0x11, 0x20, 0x1F, 0]) + struct.pack("<I", 4) + b"\0" * 12)
    base = 96

    def build(leaf: bytes, entries=None, tree_=None, names: bytes = b"\0weight\0") -> bytes:
        """A root group with one member at 2048."""
        content = bytearray(4096)

        def put(at: int, what: bytes) -> None:
            content[at : at + len(what)] = what

        put(0, superblock(base))
        put(base, group(256, 512))
        put(256, tree_ or tree(768))
        put(512, heap(512, names))
        put(768, node(*(entries or [(1, 2048, 0)])))
        put(2048, leaf)
        return bytes(content)

    def array(place: int, length: int, *sizes: int, how: int = 1, version: int = 3, type_: bytes = kind) -> bytes:
        return header(space(*sizes), type_, message(8, struct.pack("<BBQQ", version, how, place, length)))

    texts = message(3, bytes([0x19, 0x01, 0, 0]) + struct.pack("<I", 16) + b"\0" * 12)
    cases = {
        "a group in itself": build(b"", entries=[(1, base, 0)]),
        "a group in a group in itself": build(group(1024, 512), entries=[(1, 2048, 0)])[:1024]
        + tree(768) + b"\0" * 3000,
        "a tree in itself": build(b"", tree_=tree(256, level=1)),
        "a tree of other levels": build(b"", tree_=tree(256, level=200)),
        "a header that continues in itself": build(header(message(16, struct.pack("<QQ", 2064, 24)))),
        "an address beyond": build(b"", entries=[(1, 1 << 40, 0)]),
        "a link": build(b"", entries=[(1, 2048, 2)]),
        "a name beyond its heap": build(array(3000, 16, 4), entries=[(1 << 40, 2048, 0)]),
        "a name without end": build(array(3000, 16, 4), names=b"\0weight"),
        "a heap of an exabyte": build(array(3000, 16, 4))[:520] + struct.pack("<Q", 1 << 60)
        + build(array(3000, 16, 4))[528:],
        "an array of an exabyte": build(array(3000, 1 << 60, 1 << 58)),
        "an array beyond": build(array(4090, 16, 4)),
        "an array that isn't as long as it says": build(array(3000, 16, 5)),
        "sizes that overflow": build(array(3000, 16, 1 << 63, 1 << 63, 4)),
        "a hundred dimensions": build(array(3000, 16, *[1] * 100)),
        "pieces": build(array(3000, 16, 4, how=2)),
        "numbers in other files": build(array(3000, 16, 4) [:2] + array(3000, 16, 4, version=4)[2:]),
        "texts": build(array(3000, 16, 1, type_=texts)),
        "nothing": build(header(message(0, b""))),
        "a header of another version": build(b"OHDR" + b"\0" * 60),
        "another layout": b"\x89HDF\r\n\x1a\n" + bytes([3, 8, 8, 0]) + b"\0" * 100,
        "cut off": build(array(3000, 16, 4))[:300],
        "the head alone": b"\x89HDF\r\n\x1a\n",
        "a group as root that is none": build(b"")[:base] + header(space(4)) + b"\0" * 500,
    }  # fmt: skip
    yield from cases.items()
    many = bytearray(build(b"", entries=[(1, 2048 + 104 * i, 0) for i in range(30)]))
    for i in range(30):
        leaf = array(0, 4096, 1024)
        many += b"\0" * max(0, 2048 + 104 * i + len(leaf) - len(many))
        many[2048 + 104 * i : 2048 + 104 * i + len(leaf)] = leaf
    yield "the same numbers again and again", bytes(many)


def torch7s() -> Iterator[tuple[str, bytes]]:
    def words(what: str) -> bytes:
        return struct.pack("<i", len(what)) + what.encode()

    def thing(number: int, kind: str) -> bytes:
        return struct.pack("<ii", 4, number) + words("V 1") + words(kind)

    def tensor(rank: int, numbers: tuple[int, ...], storage: bytes) -> bytes:
        return thing(1, "torch.FloatTensor") + struct.pack(f"<i{len(numbers)}q", rank, *numbers) + storage

    def storage(count: int, data: bytes = b"\0" * 16) -> bytes:
        return thing(2, "torch.FloatStorage") + struct.pack("<q", count) + data

    table = struct.pack("<iii", 3, 1, 1) + struct.pack("<i", 2) + words("a")
    yield "a tensor beyond its storage", tensor(1, (5, 1, 1), storage(4))
    yield "an offset of 0", tensor(1, (4, 1, 0), storage(4))
    yield "negative strides", tensor(1, (4, -1, 4), storage(4))
    yield "a storage of an exabyte", tensor(1, (4, 1, 1), storage(1 << 60))
    yield "a negative storage", tensor(1, (4, 1, 1), storage(-1))
    yield "a million dimensions", tensor(1_000_000, (4, 1, 1), storage(4))
    yield "a tensor as its own storage", tensor(1, (4, 1, 1), struct.pack("<ii", 4, 1))
    yield "a text of two gigabytes", table + struct.pack("<ii", 2, 0x7FFFFFFF)
    yield "a text of a negative length", table + struct.pack("<ii", 2, -8)
    yield "a table of two billion", struct.pack("<iii", 3, 1, 0x7FFFFFFF)
    yield "deep tables", b"".join(struct.pack("<iii", 3, n, 1) + struct.pack("<id", 1, 1) for n in range(1, 20_000))
    yield "a function", table + struct.pack("<iii", 8, 2, 4) + b"\x1bLJ\x01" + struct.pack("<iii", 3, 3, 0)
    yield "an unknown type", table + struct.pack("<i", 99)
    yield "a class of tensors of its own", table + thing(2, "torch.EvilTensor") + b"\0" * 64
    yield "a table in itself", table + struct.pack("<ii", 3, 1)


def msgpacks() -> Iterator[tuple[str, bytes]]:
    def array(body: bytes) -> bytes:
        return b"\x81\xa1a\xc7" + bytes([len(body)]) + b"\x01" + body

    yield "deep maps", b"\x81\xa1a" * 100_000
    yield "deep arrays", b"\x81\xa1a" + b"\x91" * 100_000
    yield "arrays in arrays' bodies", b"\x81\xa1a" + b"\xc9\x00\x00\xff\xff\x01" * 5_000
    yield "a map of four billion", b"\xdf\xff\xff\xff\xff\xa1a\x01"
    yield "an array of four billion", b"\x81\xa1a\xdd\xff\xff\xff\xff"
    yield "bytes of four gigabytes", b"\x81\xa1a\xc6\xff\xff\xff\xff"
    yield "two million values", b"\x81\xa1a\xdc\xff\xff" + b"\xdc\xff\xff" + b"\xc0" * 2_000_000
    yield "an array as long as a number", array(b"\x93\x91\x04\xa7float32\xcf" + struct.pack(">Q", 1 << 40))
    yield "an array of objects", array(b"\x93\x91\x04\xa6object\xc4\x04abcd")
    yield "an array that isn't as long as it says", array(b"\x93\x91\x05\xa7float32\xc4\x10" + b"\0" * 16)
    yield "negative sizes", array(b"\x93\x91\xff\xa7float32\xc4\x10" + b"\0" * 16)
    yield "sizes that are a text", array(b"\x93\xa1x\xa7float32\xc4\x10" + b"\0" * 16)
    yield "an extension of its own", b"\x81\xa1a\xd4\x42\x00"
    yield "pieces that are missing", b"\x81\xa1a\x83\xd9\x19__msgpack_chunked_array__\xc3\xa5shape\x80\xa6chunks\x80"
    yield "a map as a key", b"\x82\xa1a\xc0\x80\xc0"


def tensorflows() -> Iterator[tuple[str, bytes]]:
    def varint(value: int) -> bytes:
        out = b""
        while value > 0x7F:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        return out + bytes([value])

    def block(*entries: tuple[bytes, bytes]) -> bytes:
        body = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
        return body + struct.pack("<II", 0, 1)

    def table(data: bytes, index: bytes | None = None, footer: bytes | None = None) -> bytes:
        top = block((b"z", varint(0) + varint(len(data)))) if index is None else index
        foot = varint(0) + varint(0) + varint(len(data) + 5) + varint(len(top))
        magic = struct.pack("<Q", 0xDB4775248B80FB57)
        return data + b"\0" * 5 + top + b"\0" * 5 + (footer or foot.ljust(40, b"\0")) + magic

    head = (b"", b"\x08\x01")
    yield "numbers elsewhere", table(block(head, (b"a", b"\x08\x01\x18\x00\x28\x04")))
    yield "numbers in a folder above", table(block((b"", b"\x08\xff\xff\xff\xff\x07"), (b"a", b"\x08\x01\x18\x7f")))
    yield "big-endian", table(block((b"", b"\x08\x01\x10\x01")))
    yield "a block beyond", table(block(head), index=block((b"z", varint(1 << 40) + varint(1 << 40))))
    yield (
        "a packed block",
        table(block(head))[: len(block(head))] + b"\x01" + table(block(head))[len(block(head)) + 1 :],
    )
    yield "a footer beyond", table(block(head), footer=b"\xff" * 40)
    yield "a number without end", table(block((b"", b"\x08" + b"\xff" * 20)))
    yield "a name of a false length", table(b"\0\xff\xff\xff\x7f\x01" + struct.pack("<II", 0, 1))
    yield "no variables", table(block(head))
    yield "restarts without number", table(block(head)[:-4] + b"\xff\xff\xff\xff")
    yield "the end alone", struct.pack("<Q", 0xDB4775248B80FB57)
