"""Editing by words: the ability, the verb, and projects of several turns."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner import cli
from limner.errors import BadInput, CannotDo, LimnerError
from limner.jobs import editing
from limner.jobs.turns import Project, cells, changes, drift, take_turn
from limner.provenance import read_marks
from limner.system import Drawing, Edits
from limner.systems import require
from limner.systems.diffusion.instruct_pix2pix import Edited

PHOTO = np.full((24, 40, 3), 200, np.uint8)


class Darkens:
    """Stands in for an editor: it darkens the left half by 20 a seed, and shakes everything a little.

    The picture's latent is its brightness in cells of 8 x 8; every encoding makes it one brighter.
    """

    config = SimpleNamespace(words=())

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def edit(
        self, picture: np.ndarray, words: str, *, count: int = 1, seed: int = 0, steps: int = 3, guidance: float = 1.0,
        latent: torch.Tensor | None = None, progress: Any = None,
    ) -> Drawing:  # fmt: skip
        self.asked.append({"words": words, "guidance": guidance, "latent": latent, "mean": picture.mean()})
        seeds = tuple(range(seed, seed + count))
        made = []
        for number, each in enumerate(seeds):
            for step in range(steps):
                progress and progress(number * steps + step + 1, count * steps)
            after = picture.astype(int) - 2
            after[:, : picture.shape[1] // 2] -= 20 * each
            made.append(after.clip(0, 255).astype(np.uint8))
        seen = torch.full((1, 1, 3, 5), float(picture.mean()) + 1) if latent is None else latent
        latents = torch.stack([torch.full((1, 3, 5), float(one.mean())) for one in made])
        return Edited(np.stack(made), None, seeds, ("zounds",) if "zounds" in words else (), seen=seen, latents=latents)


class Captions:
    """Stands in for a method that goes from caption to caption, and draws nothing but what it is told."""

    def edit(
        self, picture: np.ndarray, words: str, *, before: str = "", count: int = 1, seed: int = 0, strength: float = 0.5
    ) -> Drawing:
        seeds = tuple(range(seed, seed + count))
        return Drawing(np.stack([255 - picture] * count), None, seeds)


@pytest.fixture
def editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Darkens:
    """An editor under every model's name, in a folder with a photo."""
    found = Darkens()
    monkeypatch.setattr(editing, "load", lambda model: found)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.png")
    return found


def pixels(path: str | Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_what_edits_is_known_by_its_method() -> None:
    require(Darkens(), Edits, name="darkens")
    with pytest.raises(CannotDo, match=r"storybook can't edit pictures by words. Systems that can: .*instruct-pix2pix"):
        require(object(), Edits, name="storybook")


# The verb


def test_files_folders_candidates_and_a_sheet(editor: Darkens, capsys: pytest.CaptureFixture[str]) -> None:
    Path("more").mkdir()
    Image.fromarray(PHOTO[:16]).save("more/low.png")
    Path("more/broken.png").write_bytes(b"no picture")
    command = [
        "edit",
        "photo.png",
        "more",
        "Make it night!",
        "-n",
        "2",
        "--seed",
        "3",
        "--sheet",
        "--text-guidance",
        "4",
    ]
    assert cli.run(command) == 0
    said = capsys.readouterr()
    names = [f"edited/{name}-make-it-night-{seed}.png" for name in ("photo", "low") for seed in (3, 4)]
    assert said.out.splitlines() == [*names, "edited/before-and-after.png"]
    assert "Left out: more/broken.png" in said.err
    assert pixels(names[1]).shape == (24, 40, 3) and pixels(names[2]).shape == (16, 40, 3)
    assert pixels(names[1])[0, 0, 0] == 200 - 2 - 80 and pixels(names[1])[0, 39, 0] == 198
    marks = read_marks(Path(names[1]))
    assert marks.source_type == "trainedAlgorithmicMedia" and marks.description == "Make it night!"
    assert marks.recipe == {
        "picture": "photo.png", "words": "Make it night!", "model": "storybook-edit", "guidance": 4, "seed": 4,
    }  # fmt: skip
    assert [asked["guidance"] for asked in editor.asked] == [4, 4]


def test_alpha_is_seen_on_white_and_pictures_upright(editor: Darkens) -> None:
    sideways = Image.fromarray(PHOTO)
    exif = sideways.getexif()
    exif[0x0112] = 6
    sideways.save("camera.jpg", exif=exif)
    Image.new("RGBA", (40, 24), (0, 0, 0, 0)).save("clear.png")
    cli.run(["edit", "camera.jpg", "clear.png", "make it night"])
    assert pixels("edited/camera-make-it-night-0.png").shape == (40, 24, 3)
    assert editor.asked[1]["mean"] == 255


def test_candidates_are_ranked_by_direction(
    editor: Darkens, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Eye:
        """Of a picture it sees how dark it is, and takes every word for darkness."""

        name = "an eye"

        def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
            dark = 1 - pictures.mean((1, 2, 3))
            return torch.nn.functional.normalize(torch.stack([dark, 1 - dark], 1))

        def words(self, words: list[str]) -> torch.Tensor:
            return torch.tensor([[1.0, 0.0] if each else [0.0, 1.0] for each in words])

    monkeypatch.setattr("limner.metrics.edits.open_encoder", lambda where: Eye())
    cli.run(["edit", "photo.png", "darker", "-n", "3", "--encoder", "clip"])
    lines = capsys.readouterr().out.splitlines()
    scores = [float(line.partition("score ")[2]) for line in lines]
    assert len(lines) == 3 and scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["photo.png"], "takes pictures and what to do"),
        (["make it night"], "takes pictures and what to do"),
        ([], "takes pictures and what to do"),
        (["photo.png", "  "], "nothing to change"),
        (["photo.png", "night " * 10_000], "10,000 words are too many"),
        (["photo.png", "n" * 4000], "1 words are too many"),
        (["missing.png", "make it night"], "There is no missing.png"),
        (["photo.png", "make", "it", "night"], "There is no make. Pictures come first, and then what to do, in quotes"),
        (["photo.png", "make it night", "-n", "0"], "from 1 to 64"),
        (["photo.png", "make it night", "--steps", "0"], "--steps 0"),
        (["photo.png", "make it night", "--strength", "2"], "--strength 2"),
        (["photo.png", "make it night", "--text-guidance", "nan"], "from 0 to 100"),
        (["photo.png", "make it night", "--resolution", "1"], "--resolution 1"),
        (["photo.png", "make it night", "--method", "magic"], "There are: instruct-pix2pix, sdedit"),
        (["photo.png", "make it night", "--strength", "0.5"], "takes no --strength to edit; it takes --steps"),
        (["photo.png", "a fox at night", "--method", "sdedit"], "needs a text-to-image model of latent diffusion"),
        (["photo.png", "a fox", "--method", "text2live"], "text2live goes by a CLIP"),
        (["photo.png", "make it night", "--from", "1"], "for a --project"),
        (["photo.png", "make it night", "--undo"], "takes pictures and what to do"),
        (["photo.png", "photo.png", "make it night", "--project", "p"], "of one picture, not of 2"),
        (["--project", "p", "--undo"], "no editing project: limner edit PICTURE WORDS --project p begins one"),
        (["make it night", "--project", "p"], "no editing project"),
        (["tiny.png", "make it night"], "nothing to see in so few pixels"),
        (["vast.png", "make it night"], "the limit is 80 megapixels"),
        (["photo.png", "make it night", "-o", "photo.png"], "photo.png is a file. Name a folder"),
        (["film.mp4", "make it night", "-o", "photo.png/in"], "photo.png is a file. Name a folder"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_cannot_be_edited_is_one_clear_error(editor: Darkens, command: list[str], words: str) -> None:
    if "tiny.png" in command:
        Image.new("RGB", (1, 1)).save("tiny.png")
    if "vast.png" in command:
        Image.new("1", (10_000, 10_000)).save("vast.png")
    with pytest.raises(LimnerError) as error:
        cli.run(["edit", *command])
    assert words in str(error.value)
    assert not Path("edited").exists() and not Path("p").exists()


def test_words_that_models_seldom_read_are_told(editor: Darkens, capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["edit", "photo.png", "夜にして"])
    assert "Latin letters" in capsys.readouterr().err
    cli.run(["edit", "photo.png", "zounds"])
    assert "Not known to storybook-edit, or beyond what it reads: zounds" in capsys.readouterr().err
    assert Path("edited/photo-edited-0.png").exists()
    told: list[str] = []
    editing.told_unknown([f"word{number}" for number in range(25)], "m", told.append)
    assert told[0].endswith("word18, word19 and 5 more")


def test_methods_of_two_captions_need_both(editor: Darkens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(editing.METHODS, "prompt-to-prompt", lambda model: Captions())
    with pytest.raises(BadInput, match="what it shows now behind --before"):
        cli.run(["edit", "photo.png", "a fox at night", "--method", "prompt-to-prompt"])
    more = ["--method", "prompt-to-prompt", "--before", "a fox", "--strength", "0.3"]
    cli.run(["edit", "photo.png", "a fox at night", *more])
    recipe = read_marks(Path("edited/photo-a-fox-at-night-0.png")).recipe
    assert recipe is not None and (recipe["method"], recipe["before"]) == ("prompt-to-prompt", "a fox")


def test_a_text_to_image_model_is_no_editor(monkeypatch: pytest.MonkeyPatch, editor: Darkens) -> None:
    from limner.systems.diffusion.latent import LatentDiffusion

    monkeypatch.setattr(editing, "load", lambda model: LatentDiffusion.__new__(LatentDiffusion))
    with pytest.raises(CannotDo, match="--start-from sd --data EDITS"):
        cli.run(["edit", "photo.png", "make it night", "--model", "sd"])


@given(st.text(max_size=40))
def test_any_words_are_done_or_refused(words: str) -> None:
    try:
        editing.check_words(words, lambda told: None)
    except BadInput:
        assert not words.strip()


# Projects


def test_turns_undo_and_branches(editor: Darkens, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--project", "p"]
    cli.run(["edit", "photo.png", "darker", "--seed", "1", *more])
    cli.run(["edit", "darker still", "--seed", "1", *more])
    assert capsys.readouterr().out.splitlines() == ["p/1.png", "p/2.png"]
    assert pixels("p/0.png")[0, 0, 0] == 200 and pixels("p/2.png")[0, 0, 0] == 200 - 2 * 22
    assert (pixels("p/2.png")[:, 30:] == 200).all()  # what hardly changed is as it was

    cli.run(["edit", *more, "--undo"])
    assert capsys.readouterr().out.splitlines() == [
        "p/1.png",
        "  0  photo.png",
        "*   1  darker",
        "      2  darker still",
    ]
    cli.run(["edit", "photo.png", "again", "--from", "0", "-n", "2", *more])
    cli.run(["edit", *more])
    tree = ["  0  photo.png", "    1  darker", "      2  darker still", "*   3  again", "    4  again"]
    assert capsys.readouterr().out.splitlines() == ["p/3.png", "p/4.png", *tree]
    cli.run(["edit", *more, "--from", "2"])
    assert capsys.readouterr().out.splitlines()[2] == "*     2  darker still"

    marks = read_marks(Path("p/2.png"))
    assert marks.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert marks.recipe == {"words": "darker still", "from": 1, "model": "storybook-edit", "seed": 1}
    assert read_marks(Path("p/0.png")).source_type == ""
    with pytest.raises(BadInput, match="has no turn 9; it has 0 to 4"):
        cli.run(["edit", "darker", "--from", "9", *more])
    with pytest.raises(BadInput, match="nothing to undo"):
        for _ in range(3):
            cli.run(["edit", *more, "--undo"])
    Image.fromarray(255 - PHOTO).save("other.png")
    with pytest.raises(BadInput, match=r"of another picture than other\.png"):
        cli.run(["edit", "other.png", "darker", *more])


def test_the_latent_is_kept_where_nothing_changed_and_known_to_its_model_alone(editor: Darkens) -> None:
    more = ["--project", "p"]
    cli.run(["edit", "photo.png", "darker", "--seed", "1", *more])
    cli.run(["edit", "darker still", "--seed", "1", *more])
    first, second = (asked["latent"] for asked in editor.asked)
    assert first is None and second.shape == (1, 1, 3, 5)
    assert (second[..., 4] == 201).all() and (second[..., 0] < 195).all()
    cli.run(["edit", "darker still", *more, "--model", "another"])
    assert editor.asked[-1]["latent"] is None


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        '{"current": 3, "turns": []}',
        '{"current": 0, "turns": [{"number": 0, "from": 0, "words": "", "recipe": {}}]}',
        '{"current": 0, "turns": [{"number": 0, "from": null, "words": "", "recipe": 7}]}',
        '{"current": 1, "turns": [{"number": 0, "from": null, "words": "", "recipe": {}}, {"number": 1, "from": 1,'
        ' "words": "", "recipe": {}}]}',
    ],
)
def test_a_damaged_project_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "turns.json").write_text(content)
    with pytest.raises(BadInput, match=r"turns\.json is damaged"):
        Project.open(tmp_path)


def test_a_folder_of_other_things_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(BadInput, match="is no editing project"):
        Project.begin(tmp_path, PHOTO, "photo.png")


@given(st.lists(st.integers(0, 5), max_size=12))
def test_any_walk_through_the_tree_is_kept_on_disk(tmp_path_factory: pytest.TempPathFactory, walk: list[int]) -> None:
    """0 undoes, 1 goes anywhere, the others take a turn: afterwards the folder says the same."""
    folder = tmp_path_factory.mktemp("projects") / "p"
    project, draw = Project.begin(folder, PHOTO, "photo.png"), random.Random(len(walk))
    (made,) = take_turn(Darkens().edit, PHOTO, "darker")
    for step in walk:
        if step == 0 and project.turn(project.current).start is not None:
            project.undo()
        elif step == 1:
            project.go_to(draw.randrange(len(project.turns)))
        else:
            project.add(project.current, "darker", {"model": "m"}, made)
        again = Project.open(folder)
        assert (again.turns, again.current, again.lines()) == (project.turns, project.current, project.lines())
    assert sum(line.startswith("*") for line in project.lines()) == 1
    assert len(project.lines()) == len(project.turns)


# What stays


def test_only_what_changed_is_pasted() -> None:
    draw = np.random.default_rng(0)
    before = draw.integers(60, 200, (96, 160, 3)).astype(np.uint8)
    after = before.astype(int) + draw.integers(-6, 7, before.shape)  # what an autoencoder does to it
    after[20:70, 30:90] = 250
    after[5, 150] = 255  # a speck
    changed = changes(before, after.clip(0, 255).astype(np.uint8))
    assert changed[18:72, 28:92].all() and not changed[:10].any() and not changed[:, 110:].any()
    assert not changes(before, before).any()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_changes_have_the_pictures_shape(height: int, width: int, seed: int) -> None:
    before, after = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    assert changes(before, after).shape == (height, width)
    assert changes(before, 255 - before).dtype == bool


def test_a_cell_has_changed_if_a_pixel_of_it_has() -> None:
    changed = np.zeros((16, 32), bool)
    changed[9, 17] = True
    assert cells(changed, (2, 4))[0, 0].tolist() == [[False] * 4, [False, False, True, False]]


def test_pasting_and_keeping_stop_the_drift() -> None:
    words = ["leave it"] * 5
    plain = drift(Darkens().edit, PHOTO, words, paste=False, keep=False)
    pasted = drift(Darkens().edit, PHOTO, words, paste=True, keep=True, guidance=2.0)
    # Seed 0 asks for nothing, and later ones darken the left half more and more, which must come through.
    assert plain[0] == 2 and pasted[0] == 0
    assert all(less < more for less, more in zip(pasted, plain, strict=True)) and pasted[-1] > 50


def test_recipes_of_turns_are_json(editor: Darkens) -> None:
    cli.run(["edit", "photo.png", "darker", "--project", "p", "--steps", "2", "--repaint"])
    turn = json.loads(Path("p/turns.json").read_text())["turns"][1]
    assert turn == {
        "number": 1, "from": 0, "words": "darker", "recipe": {"model": "storybook-edit", "steps": 2, "seed": 0},
    }  # fmt: skip
    assert (pixels("p/1.png") == 198).all()


def test_a_long_edit_tells_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told, came = [0.0], [], []
    monkeypatch.setattr(editing.time, "monotonic", lambda: now[0])
    clock = editing.Clock(3, told.append, lambda *at: came.append(at))
    clock.heard(0, 6)
    for done in (1, 2, 3, 4):
        now[0] += 30
        clock.heard(done, 6)
    clock.finished()
    assert came == [
        (0, 18, ""), (1, 18, "8 min 30 s left"), (2, 18, "8 min 0 s left"), (3, 18, "7 min 30 s left"),
        (4, 18, "7 min 0 s left"), (6, 18, "4 min 0 s left"),
    ]  # fmt: skip
    assert told == ["About 8 min 30 s for the rest. Ctrl-C stops at any time; what is written stays."]


def test_stopping_loses_nothing_that_was_written(editor: Darkens, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped_at_the_fifth_step(bar: object, done: int, total: int, told: str = "") -> None:
        if done == 5:
            raise KeyboardInterrupt

    Image.fromarray(PHOTO).save("second.png")
    monkeypatch.setattr("limner.cli.making.Bar.count", stopped_at_the_fifth_step)
    with pytest.raises(KeyboardInterrupt):
        cli.run(["edit", "photo.png", "second.png", "darker"])
    assert [file.name for file in Path("edited").iterdir()] == ["photo-darker-0.png"]


def test_every_method_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From nothing to everything, never back, through the command line; what is written is as without listening."""
    from limner.systems.diffusion.text2live import Text2LIVE
    from small_diffusion import small_diffusion
    from test_text2live import SMALL, Colours

    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.png")
    monkeypatch.setattr(editing, "_diffusion", lambda model, method: small_diffusion())
    monkeypatch.setitem(editing.METHODS, "text2live", lambda model: Text2LIVE(Colours(), SMALL))
    came: list[tuple[int, int]] = []
    monkeypatch.setattr("limner.cli.making.Bar.count", lambda bar, done, total, told="": came.append((done, total)))
    words = {"sdedit": "a fox", "prompt-to-prompt": "a fox", "text2live": "blue"}
    for method, total in {"sdedit": 2 * 3, "prompt-to-prompt": 4 + 4 * 32 + 2 * 4 * 4, "text2live": 2 * 4}.items():
        came.clear()
        more = [] if method == "sdedit" else ["--before", "a hare" if method == "prompt-to-prompt" else "red"]
        cli.run(["edit", "photo.png", words[method], "--method", method, "--steps", "4", "-n", "2", *more])
        done = [at for at, _ in came]
        assert {each for _, each in came} == {total} and (done[0], done[-1]) == (0, total)
        assert done == sorted(done) and len(done) >= 8


def test_layers_are_saved_beside_the_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from limner.systems.diffusion.text2live import Text2LIVE
    from test_text2live import SMALL, Colours

    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.png")
    monkeypatch.setitem(editing.METHODS, "text2live", lambda model: Text2LIVE(Colours(), SMALL))
    cli.run([
        "edit", "photo.png", "blue", "--before", "red", "--method", "text2live", "--steps", "2", "-n", "2", "--layers",
    ])  # fmt: skip
    names = [f"edited/photo-blue-{seed}{kind}.png" for seed in (0, 1) for kind in ("", "-layer")]
    assert capsys.readouterr().out.splitlines() == names
    made, layer = pixels(names[0]), Image.open(names[1])
    over = Image.alpha_composite(Image.fromarray(PHOTO).convert("RGBA"), layer).convert("RGB")
    assert layer.mode == "RGBA" and np.abs(np.array(over).astype(int) - made).max() <= 1
    assert read_marks(Path(names[1])) == read_marks(Path(names[0]))
    for wrong in (["--method", "sdedit"], ["--method", "text2live", "--before", "red", "--project", "p"]):
        with pytest.raises(BadInput, match="--layers is for --method text2live"):
            cli.run(["edit", "photo.png", "blue", "--layers", *wrong])


@pytest.mark.parametrize(
    ("words", "says"), [("zounds", "none of the words zounds. It knows a, at, fox"), ("!?", "no words in '!?'")]
)
@pytest.mark.parametrize("method", ["sdedit", "prompt-to-prompt"])
def test_captions_of_unknown_words_alone_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, words: str, says: str
) -> None:
    from small_diffusion import small_diffusion

    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.png")
    monkeypatch.setattr(editing, "_diffusion", lambda model, method: small_diffusion())
    with pytest.raises(BadInput) as error:
        cli.run(["edit", "photo.png", words, "--method", method, "--before", "a fox"])
    assert says in str(error.value) and not Path("edited").exists()
