"""limner convert, on files in the authors' layouts; limner published."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from limner import hub
from limner.cli import run
from limner.errors import BadCheckpoint, BadInput, CannotDo
from limner.published import convertible, dalle_mini, open_as
from limner.published.keys import Incomplete, under
from limner.published.releases import markdown, releases
from limner.systems import TABLE
from test_latent import published as stable_diffusion
from test_latent import write_tokenizer
from test_published import packed

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "parity"))
from fill import fill_state_dict  # noqa: E402  (after the path)

State = Mapping[str, Tensor]


Shape = Sequence[int]


def as_it_is(name: str, shape: Shape) -> Shape:
    return shape


def sixteenth(name: str, shape: Shape) -> Shape:
    """Of the multiples of 64 in it: what is beyond them (a code that goes along, classes) stays."""
    return [length // 64 * 4 + length % 64 for length in shape]


def sean(name: str, shape: Shape) -> Shape:
    """The hidden layer of a norm always has 128 channels."""
    smaller = [length // 16 if length % 32 == 0 else length for length in shape]
    if ".mlp_shared." in name:
        smaller[0] = shape[0]
    elif ".mlp_" in name and len(shape) > 1:
        smaller[1] = shape[1]
    return smaller


def rfr(name: str, shape: Shape) -> Shape:
    """Channels are multiples of 8, and 67 = 64 + 3 of a picture."""
    return [19 if length == 67 else length // 4 if length % 8 == 0 else length for length in shape]


def divided(by: int, whole: int) -> Callable[[str, Shape], Shape]:
    """Lengths that are multiples of `whole`, divided."""
    return lambda name, shape: [length if length % whole else length // by for length in shape]


def tensorflow(name: str, shape: Shape) -> Shape:
    """Kernels as (height, width, in, out), matrices as (in, out); the discriminator is an eighth as wide."""
    smaller = [length // 8 if length % 64 == 0 and "Discriminator" in name else length for length in shape]
    return [*smaller[2:], *smaller[1::-1]] if len(smaller) > 1 else smaller


@dataclass(frozen=True)
class Layout:
    """A release: the record that knows its names and shapes, its files by their names, what is saved in each.

    size: makes the record's shapes smaller
    """

    record: str
    files: Mapping[str, str]
    size: Callable[[str, Shape], Shape] = as_it_is
    options: Mapping[str, object] = field(default_factory=dict)

    def state(self) -> State:
        shapes = json.loads((HERE / "parity" / f"{self.record}.json").read_text())["state"]
        return fill_state_dict({
            name: torch.empty(tuple(self.size(name, shape)))
            for name, shape in shapes.items()
            if not name.startswith(("vgg.features.", "loss."))
        })  # fmt: skip

    def contents(self, state: State) -> dict[str, object]:
        """File -> what its author saved. A prefix names a network of the record; "a:b" puts it under b in the file."""
        contents: dict[str, object] = {}
        for file, networks in self.files.items():
            if not networks:
                contents[file] = dict(state)
            elif ":" not in networks:
                contents[file] = under(f"{networks}.", state)
            else:
                pairs = (each.split(":") for each in networks.split())
                contents[file] = {name: under(f"{network}.", state) for network, name in pairs} | training()
        return contents


def training() -> dict[str, object]:
    """What else is in a file that training goes on from."""
    layer = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    return {"gen_opt": optimiser.state_dict(), "ep": 3, "total_it": 1000}


DRIT = ["disA", "disB", "disA2", "disB2", "disContent", "enc_c", "enc_a", "gen"]
SMALL = {"discriminator_width": 8}
LAYOUTS = {
    "adain": Layout("adain-losses", {"vgg": "vgg", "decoder": "decoder"}, sixteenth),
    "bicyclegan": Layout("bicyclegan-losses", {"G": "G", "E": "E"}, options=SMALL),
    "cyclegan": Layout("cyclegan-losses", {"G_A": "G_A"}, options=SMALL),
    "drit": Layout("drit-losses", {"": " ".join(f"{name}:{name}" for name in DRIT)}, sixteenth),
    "gcgan": Layout("gcgan-losses-share-rot", {"G_AB": "G_AB", "D_B": "D_B"}, options=SMALL),
    "msgan": Layout("msgan-pix2pix-losses", {"G": "G"}, options=SMALL),
    "msgan-dcgan": Layout("msgan-dcgan-cifar10", {"": "G:gen D:dis"}, divided(16, 128)),
    "munit": Layout("munit-losses", {"gen": "gen_a:a gen_b:b", "dis": "dis_a:a dis_b:b"}),
    "pg2": Layout("pg2-market", {"": ""}, tensorflow),
    "pix2pix": Layout("pix2pix-losses", {"G": "G", "D": "D"}),
    "pix2pixhd": Layout("pix2pixhd-losses", {"G": "G"}, options=SMALL),
    "pixel-diffusion": Layout("sdedit-pixel", {"": ""}, options={"size": 32}),
    "pixel-domain-transfer": Layout("pixel-domain-transfer-networks-losses", {"G": "G"}, divided(8, 96), SMALL),
    "rfr-inpainting": Layout("rfr-inpainting-losses", {"": "generator:generator"}, rfr),
    "sean": Layout("sean-generator", {"G": ""}, sean, SMALL),
    "spade": Layout("spade-losses", {"G": "G", "E": "E", "D": "D"}, options={"unknown": False}),
    "unit": Layout("unit-losses", {"gen": "gen_a:a gen_b:b", "dis": "dis_a:a dis_b:b"}),
    "unit-digits": Layout("unit-nips-covae32", {"gen": ""}, options=SMALL),
    "unit-shared": Layout("unit-nips-losses", {"gen": "gen", "dis": "dis"}),
    "vqgan": Layout("dalle-mini-vqgan", {"": ":state_dict"}, divided(4, 128), SMALL),
}


@pytest.mark.parametrize("system", LAYOUTS)
def test_a_release_becomes_a_model_folder(
    tmp_path: Path, system: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layout = LAYOUTS[system]
    state = layout.state()
    contents = layout.contents(state) if layout.files != {"": ":state_dict"} else {"": {"state_dict": state}}
    arguments, tensors = [], {}
    options = [word for name, value in layout.options.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    for number, (name, content) in enumerate(contents.items()):
        path = Path(f"latest_net_{name or 'all'}.pth")
        torch.save(content, path, _use_new_zipfile_serialization=bool(number % 2))
        arguments.append(f"{name}={path}" if len(contents) > 1 or system == "cyclegan" else str(path))
        held = content["state_dict"] if system == "vqgan" else content
        tensors |= {f"{name}.{key}" if name else key: value for key, value in flat(held).items()}
    assert run(["convert", *arguments, "--as", system, "-o", "model", *options]) == 0
    told = capsys.readouterr().out
    assert "tensors, " in told and told.rstrip().endswith("model")

    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        expected = open_as(system, tensors, "memory", layout.options).state_dict()
    lacking = [str(each.message).rpartition(": ")[2] for each in remarks if each.category is Incomplete]
    fresh = tuple(f"{name}." for name in lacking[0].split(", ")) if lacking else ()
    found = hub.load("model").state_dict()
    assert found.keys() == expected.keys()
    wrong = [name for name in expected if not name.startswith(fresh) and not torch.equal(found[name], expected[name])]
    assert not wrong, wrong
    assert all(name.rstrip(".") in told for name in fresh)
    card = Path("model/README.md").read_text()
    assert all(f"latest_net_{name or 'all'}.pth" in card for name in contents) and "## Licence" in card


def flat(content: object, prefix: str = "") -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Tensor):
            found[f"{prefix}{name}"] = value
        elif not str(name).endswith("_opt"):
            found |= flat(value, f"{prefix}{name}.")
    return found


def test_every_system_with_published_files_is_tried_here() -> None:
    tried_below = {"dalle-mini", "instruct-pix2pix", "latent-diffusion"}  # the second in its own file
    assert set(convertible()) - tried_below == set(LAYOUTS) & set(TABLE)


def flax_release(folder: Path, record: str, options: Mapping[str, object]) -> tuple[dict[str, object], State]:
    """flax_model.msgpack and config.json, as Flax writes them."""
    content = json.loads((HERE / "parity" / f"{record}.json").read_text())
    state = fill_state_dict({name: torch.empty(tuple(shape)) for name, shape in content["state"].items()})
    tree: dict[str, object] = {}
    for name, value in state.items():
        branch = tree
        for part in name.split(".")[:-1]:
            branch = branch.setdefault(part, {})
        branch[name.rpartition(".")[2]] = value
    config = content["options"] | options
    folder.mkdir()
    (folder / "flax_model.msgpack").write_bytes(packed(tree))
    (folder / "config.json").write_text(json.dumps(config))
    return config, state


def test_a_flax_release_of_dalle_mini_is_read_with_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mini = flax_release(Path("mini"), "dalle-mini-flax", {"decoder_start_token_id": 16384})
    painter = flax_release(Path("vqgan"), "dalle-mini-vqgan-flax", {})
    file, to = "mini/flax_model.msgpack", ["--as", "dalle-mini", "-o"]
    assert run(["convert", file, "vqgan=vqgan/flax_model.msgpack", *to, "whole"]) == 0
    assert run(["convert", f"flax={file}", *to, "half", "--set", "caption_drop=0.2"]) == 0
    expected = dalle_mini.open_flax(*mini, painter)
    whole, half = hub.load("whole"), hub.load("half")
    assert whole.config == expected.config and whole.config.heads == 4
    assert half.config.vqgan is None and half.config.caption_drop == 0.2
    for model in (whole, half):
        found = model.state_dict()
        drawn = tuple(name for name in found if name.startswith("vqgan.discriminator."))  # not part of the release
        assert found.keys() == {name for name in expected.state_dict() if name in found}
        assert all(
            torch.equal(found[n], value) for n, value in expected.state_dict().items() if n in found.keys() - drawn
        )

    for arguments, words in (([f"vqgan={file}"], "give flax=FILE, too"), ([file], r"mini/config\.json: No such file")):
        Path("mini/config.json").unlink(missing_ok=True)
        with pytest.raises(BadInput, match=words):
            run(["convert", *arguments, *to, "none"])
    Path("mini/config.json").write_text('{"d_model": 64}')
    with pytest.raises(BadCheckpoint, match=r"mini/config\.json: not the config\.json"):
        run(["convert", file, *to, "none"])


def test_a_single_stable_diffusion_file_becomes_a_diffusers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(stable_diffusion(), "model.safetensors")
    to = ["convert", "model.safetensors", "--as", "latent-diffusion", "-o"]
    with pytest.raises(BadInput, match="without its tokenizer: put CLIP's"):
        run([*to, "folder"])
    assert not Path("folder").exists()
    write_tokenizer(Path("tokenizer"))
    assert run([*to, "folder"]) == 0 and Path("folder/model_index.json").exists()
    assert "CompVis/stable-diffusion" in Path("folder/README.md").read_text()
    found, expected = hub.load("folder").state_dict(), hub.load("model.safetensors").state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert run([*to, "other", "--set", "prediction=velocity"]) == 0
    assert hub.load("other").config.prediction == "velocity"
    torch.save(dict(list(stable_diffusion().items())[:9]), "less.ckpt")
    with pytest.raises(BadCheckpoint, match=r"less\.ckpt"):
        run(["convert", "less.ckpt", "--as", "latent-diffusion", "-o", "none"])


def released(path: Path, record: str = "pix2pix-losses", network: str = "G") -> Path:
    torch.save(under(f"{network}.", Layout(record, {}).state()), path)
    return path


def test_what_is_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = str(released(Path("latest_net_G.pth")))
    wrong: list[tuple[type[Exception], str, list[str]]] = [
        (BadCheckpoint, "not a published file of cyclegan", [generator, "--as", "cyclegan"]),
        (
            BadInput,
            "a second file in the same place. pix2pix takes G=FILE, D=FILE",
            [generator, generator, "--as", "pix2pix"],
        ),
        (BadInput, "no file of the release is called E", [f"E={generator}", "--as", "pix2pix"]),
        (CannotDo, "opens no published files as upscaler", [generator, "--as", "upscaler"]),
        (CannotDo, "opens no published files as pixpix", [generator, "--as", "pixpix"]),
        (BadInput, "no option of this system", [generator, "--as", "pix2pix", "--set", "colour=3"]),
        (BadCheckpoint, "No such file", ["none.pth", "--as", "pix2pix"]),
        (BadInput, "Name the file", ["--as", "pix2pix"]),
    ]
    for kind, words, arguments in wrong:
        with pytest.raises(kind, match=words):
            run(["convert", *arguments, "-o", "model"])
        assert not Path("model").exists()
    Path("model").mkdir()
    Path("model/mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="nothing is overwritten"):
        run(["convert", generator, "--as", "pix2pix", "-o", "model"])
    assert Path("model/mine.txt").read_text() == "mine"


def test_what_the_release_lacks_is_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = released(Path("step=1 latest_net_G.pth"))
    for out in ("one", "two"):
        torch.manual_seed(len(out) if out == "one" else 99)
        run(["convert", str(generator), "--as", "pix2pix", "-o", out])
    assert Path("one/weights.safetensors").read_bytes() == Path("two/weights.safetensors").read_bytes()


@pytest.mark.parametrize("width", [50_000, 1_000_000_000])
def test_shapes_that_lie_take_no_memory(width: int) -> None:
    """A width without a number behind it."""
    state = dict(LAYOUTS["pix2pix"].state())
    state["G.model.model.0.weight"] = torch.empty(width, 0, 4, 4)
    with pytest.raises((BadInput, BadCheckpoint), match=r"claim|built"):
        open_as("pix2pix", state, "file", {"source_channels": 3})


# The list


def test_the_list_names_systems_and_says_what_one_must_know() -> None:
    for release in releases():
        assert release.system in TABLE or release.system in ("clip", "feature-networks", "vgg")
        assert release.licence and release.format and "/" in release.repository
        assert release.opens or release.note, f"{release.system}: how is it opened?"
    assert [each.system for each in releases("cyclegan")] == ["cyclegan"]
    with pytest.raises(BadInput, match="no released weights of upscaler"):
        releases("upscaler")


def test_the_page_has_the_list_as_the_command_prints_it() -> None:
    page = (HERE.parent / "docs" / "published.md").read_text(encoding="utf-8")
    assert "\n".join(markdown()) in page


def test_the_list_is_printed_without_torch() -> None:
    code = "import sys; from limner.cli import run; run(['published', 'sean']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "CC BY-NC-SA" in done.stdout and "266,907,367" in done.stdout
