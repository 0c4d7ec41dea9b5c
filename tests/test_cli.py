"""The command line as a person meets it: help, dry runs, and one clear line for everything that goes wrong."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from limner import cli, hub
from limner.systems.translation.upscaler import Upscaler

HERE = Path(__file__).parent
VERBS = [
    ["draw"], ["edit"], ["film"], ["film", "status"], ["film", "choose"], ["film", "clean"], ["train"], ["resume"],
    ["systems"], ["doctor"],
    ["translate"], ["data", "check"], ["convert"], ["published"], ["eval"],
    ["stickers", "fetch"], ["stickers", "show"], ["stickers", "make"], ["stickers", "book"],
    ["edits", "write"], ["edits", "teach"], ["edits", "pair"], ["edits", "filter"], ["edits", "shard"],
    ["edits", "cost"], ["edits", "sweep"],
]  # fmt: skip
LEAST = {
    "draw": ["a fox"],
    "edit": ["photo.png", "make it night"],
    "film": ["story.txt"],
    "film status": ["film.limner"],
    "film choose": ["film.limner"],
    "film clean": ["film.limner"],
    "train": ["vqgan", "--data", "stickers:collages", "--out", "run"],
    "resume": ["run"],
    "translate": ["run", "a.png", "-o", "painted"],
    "data check": ["facades"],
    "convert": ["latest_net_G.pth", "--as", "pix2pix", "-o", "facades"],
    "eval": ["runs/facades", "--metrics", "psnr,fid"],
    "stickers make": ["edits", "-o", "edits"],
    "stickers book": ["-o", "book"],
    "edits write": ["-o", "triplets.jsonl"],
    "edits teach": ["triplets.jsonl", "-o", "writer"],
    "edits pair": ["triplets.jsonl", "-o", "pairs"],
    "edits filter": ["pairs"],
    "edits shard": ["pairs", "-o", "shards"],
    "edits sweep": ["--data", "pairs", "-o", "sweep", "--curve", "ours=runs/editor"],
}
TRAIN = ["train", "vqgan", "--data", "stickers:collages", "-o", "run"]


@dataclass
class Said:
    code: object
    out: str
    err: str


Limner = Callable[..., Said]


@pytest.fixture
def limner(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Limner:
    """Runs a command line in an empty folder; anything but an exit would be a traceback, and fails the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*args: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["limner", *args])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return Said(stop.value.code or 0, out, err)

    return run


def refused(said: Said, code: int, *words: str) -> None:
    assert said.code == code, said
    assert said.err.strip().startswith("limner: ") and "Traceback" not in said.err
    for word in words:
        assert word in said.err, said.err


# Help


def test_help_lists_the_verbs_without_loading_torch_or_tyro() -> None:
    heavy = {"torch", "numpy", "tyro", "rich"}
    program = f"import sys; from limner import cli; cli.run(['--help']); print(sorted({heavy} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed.splitlines()[-1] == "[]"
    assert all(f"  {verb} " in printed for verb in cli.VERBS)


def test_the_lists_here_are_all_the_verbs() -> None:
    assert {words[0] for words in VERBS} == set(cli.VERBS)
    for verb, group in cli.GROUPS.items():
        assert {words[1] for words in VERBS if words[0] == verb} == set(group)


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_shows_an_example(limner: Limner, words: list[str]) -> None:
    said = limner(*words, "--help")
    assert said.code == 0 and f"Example: limner {' '.join(words)}" in said.out


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_dry_run_prints_what_would_be_done_and_does_nothing(limner: Limner, words: list[str]) -> None:
    said = limner(*words, *LEAST.get(" ".join(words), []), "--dry-run")
    assert said.code == 0, said.err
    assert isinstance(json.loads(said.out), dict)
    assert list(Path.cwd().iterdir()) == []


def test_a_dry_run_of_training_shows_the_whole_configuration(limner: Limner) -> None:
    said = limner("train", *LEAST["train"], "--dry-run", "--set", "width=7", "--steps", "12")
    shown = json.loads(said.out)
    assert shown["config"]["width"] == 7 and shown["config"]["codebook"] == 16384 and shown["options"]["steps"] == 12


def test_version(limner: Limner) -> None:
    assert limner("--version").out.startswith("limner 0.")


def test_the_doctor_tells_what_is_there(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_HOME", str(Path.cwd() / "home"))
    said = limner("doctor")
    assert said.code == 0
    for words in ("torch 2.", "device: ", "free here", "[x] film: ", "shipped models", "limner stickers fetch"):
        assert words in said.out


def test_systems_are_listed_and_explained(limner: Limner) -> None:
    listed = limner("systems").out.splitlines()
    assert any(line.startswith("vqgan ") for line in listed)
    assert "codebook: int = 16384" in limner("systems", "vqgan").out
    refused(limner("systems", "vqgam"), 2, "vqgam", "Did you mean vqgan")


# Slips


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["drwa"], ["'drwa'", "Did you mean draw?"]),
        (["stickers", "mke"], ["'mke'", "limner stickers make"]),
        (["draw", " "], ["nothing to draw"]),
        (["draw", "a fox", "-n", "0"], ["-n 0", "1 to 64"]),
        (["draw", "a fox", "--to", "a bear"], ["--to and --video"]),
        (["draw", "a fox", "--model", "nowhere"], ["'nowhere'", "no such file or folder"]),
        (["draw", "a fox", "--model", "nobody/nothing"], ["nobody/nothing", "not on this machine"]),
        (["draw", "a fox", "--model", "."], ["no model folder", "config.json"]),
        (["train", "vqgam", "--data", "stickers:collages", "-o", "run"], ["vqgam", "Did you mean vqgan"]),
        (["train", "vqgan", "--data", "nothing", "-o", "run"], ["--data nothing", "no such folder", "collages"]),
        (["train", "upscaler", "--data", "stickers:collages", "-o", "run"], ["Upscaler trains on Paired", "Pictures"]),
        (["train", "upscaler", "--data", "stickers:lines:9x9", "-o", "run"], ["9x9", "WIDTHxHEIGHT"]),
        (["train", "sticker-reader", "--data", ".", "-o", "run"], ["Read data", "no folder holds"]),
        ([*TRAIN, "--prepare", "crop=64"], ["--prepare is for folders"]),
        ([*TRAIN, "--budget", "10x"], ["--budget 10x", "10m"]),
        (["data", "check", "nowhere"], ["nowhere", "no folder, zip or tar"]),
        ([*TRAIN, "--set", "width"], ["name=value"]),
        ([*TRAIN, "--set", "colour=3"], ["colour", "codebook"]),
        ([*TRAIN, "--set", "width=wide"], ["width", "'wide'", "int"]),
        ([*TRAIN, "--set", "width=33"], ["vqgan", "can't be built"]),
        ([*TRAIN, "--batch", "0"], ["--batch", "at least 1"]),
        (["resume", "nowhere"], ["nowhere", "limner train"]),
        (["resume", "."], ["is no run", "limner train"]),
        (["stickers", "make", "edits", "-o", "x", "--size", "3"], ["--size 3", "256x144"]),
        (["film", "nowhere.txt"], ["nowhere.txt"]),
        (["film", "."], ["neither a story nor a film project"]),
        (["film", "status", "."], ["film.toml"]),
        (["film", "clean", "."], ["film.toml"]),
        (["film", "choose", ".", "--scene", "1"], ["--scene and --pick"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_a_slip_is_one_clear_line(limner: Limner, args: list[str], words: list[str]) -> None:
    refused(limner(*args), 2, *words)


def test_an_unknown_option_points_to_the_help(limner: Limner) -> None:
    said = limner("draw", "a fox", "--colour", "red")
    assert said.code == 2 and "--colour" in said.err and "limner draw --help" in said.err


# Files that can't be used


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b" \n\n ", ["empty"]),
        (bytes(range(256)) * 40, ["story.txt"]),
        (b"\x7fELF\x02\x01\x01" + bytes(4000), ["story.txt"]),
    ],
    ids=["empty", "blank", "binary", "program"],
)
def test_what_is_no_story_is_refused(limner: Limner, content: bytes, words: list[str]) -> None:
    Path("story.txt").write_bytes(content)
    refused(limner("film", "story.txt"), 2, *words)
    assert [path.name for path in Path.cwd().rglob("*.mp4")] == []


def test_a_picture_is_no_story(limner: Limner) -> None:
    Image.new("RGB", (64, 64), "red").save("story.png")
    refused(limner("film", "story.png"), 2, "story.png")


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("stolen",)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin", "model.safetensors"])
def test_a_hostile_pickle_runs_nothing(limner: Limner, name: str) -> None:
    Path(name).write_bytes(pickle.dumps({"state_dict": Hostile()}))
    refused(limner("draw", "a fox", "--model", name), 2, name)
    assert not Path("stolen").exists()


def test_a_file_that_is_no_model_is_refused(limner: Limner) -> None:
    Path("model.txt").write_text("weights")
    refused(limner("draw", "a fox", "--model", "model.txt"), 2, "model.txt", ".safetensors")
    Path("model.safetensors").write_bytes(b"\xff" * 64)
    refused(limner("draw", "a fox", "--model", "model.safetensors"), 2, "model.safetensors")


def test_a_diffusers_folder_with_missing_parts_names_them(limner: Limner) -> None:
    Path("sd").mkdir()
    Path("sd/model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    refused(limner("draw", "a fox", "--model", "sd"), 2, str(Path("sd/unet/config.json")))


def small_model(path: Path) -> Path:
    hub.save(Upscaler(Upscaler.Config(factor=2, width=4, blocks=1)), "upscaler", path, card="# Small\n")
    return path


def test_a_system_that_cannot_draw_names_those_that_can(limner: Limner) -> None:
    small_model(Path("model"))
    refused(limner("draw", "a fox", "--model", "model"), 1, "draw pictures from words", "storybook", "dalle-mini")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda model: (model / "weights.safetensors").unlink(), ["weights.safetensors", "missing"]),
        (lambda model: (model / "manifest.json").write_text("{"), ["manifest.json", "damaged"]),
        (lambda model: (model / "manifest.json").write_text("[]"), ["manifest.json", "damaged"]),
        (lambda model: (model / "manifest.json").unlink(), ["manifest.json", "missing"]),
        (lambda model: (model / "config.json").write_text("[]"), ["config.json", "sha256"]),
    ],
    ids=["no weights", "cut manifest", "other manifest", "no manifest", "other config"],
)
def test_a_damaged_model_is_named(limner: Limner, damage: Callable[[Path], object], words: list[str]) -> None:
    damage(small_model(Path("model")))
    refused(limner("draw", "a fox", "--model", "model"), 2, *words)


# Training from the command line, and Ctrl-C


def train_verb(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "train_verb.py"), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_ctrl_c_ends_training_well_and_the_run_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    sizes = [word for pair in ("factor=2", "width=4", "blocks=1") for word in ("--set", pair)]
    command = ["train", "upscaler", "--data", "noise", "-o", str(run), "--batch", "2", "--threads", "1", "--log", "1"]
    process = train_verb(*command, *sizes, "--steps", "1000000")
    wait_for(process, (run / "log.jsonl").exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "everything is saved" in err and "Traceback" not in err
    step = json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"]

    process = train_verb("resume", str(run), "--steps", str(step + 2), "--threads", "1")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert Path(out.strip()).name == f"{step + 2:08d}" and Path(out.strip()).is_dir()


def test_ctrl_c_ends_a_film_well(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (160, 90), colour).save(pictures / f"{i}.png")
    scenes = [f"The fox walked on and on and came to tree number {n}." for n in range(12)]  # long enough to be stopped
    (tmp_path / "story.txt").write_text("\n\n---\n\n".join(scenes))
    command = [sys.executable, "-m", "limner.cli", "film", "story.txt", "-o", "film.mp4", "--illustrator", "pictures"]
    process = subprocess.Popen(
        [*command, "--height", "360", "--yes"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    drawn = lambda: any(name.endswith(".png") for *_, names in os.walk(tmp_path / "film.limner") for name in names)
    wait_for(process, drawn)  # os.walk, since folders are renamed meanwhile
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "the same command goes on" in err and "Traceback" not in err
    assert not (tmp_path / "film.mp4").exists()
