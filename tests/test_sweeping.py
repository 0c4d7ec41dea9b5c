"""limner edits sweep: the curves of obeying against keeping."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from limner.data.kinds import Edits
from limner.errors import BadInput, CannotDo
from limner.jobs import sweeping
from limner.jobs.plots import Point, curves, ticks
from limner.jobs.sweeping import Curve, Order, sweep
from limner.provenance import read_marks
from limner.system import Drawing
from test_clip import Colours

COUNT = 5


class Recolourings:
    """Red squares that are to become green, each a little different."""

    def held_out(self):
        return self

    def take(self, numbers):
        shades = torch.stack([torch.tensor([1.0, -1.0, -0.9 + 0.1 * number]) for number in numbers])
        before = shades[:, :, None, None].expand(-1, -1, 4, 4)
        return Edits(
            before, ("make it green",) * len(numbers), before, ("red",) * len(numbers), ("green",) * len(numbers)
        )


class Mixer:
    """Mixes in green, the less the more the picture's guidance is."""

    edits = 0

    def edit(self, picture, words, *, count=1, seed=0, image_guidance=1.0, steps=9, guidance=1.0):
        assert (words, steps, guidance) == ("make it green", 25, 7.5)
        type(self).edits += 1
        share = (2.4 - image_guidance) / 2
        green = np.zeros_like(picture) + np.array([0, 255, 0], np.uint8)
        return Drawing((share * green + (1 - share) * picture).astype(np.uint8)[None], None, (seed,))


class Plain:
    def edit(self, picture, words, *, count=1, seed=0):
        return Drawing(np.roll(picture, 1, 2)[None], None, (seed,))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    Mixer.edits = 0
    monkeypatch.setattr(sweeping, "open_source", lambda *_, **__: Recolourings())
    monkeypatch.setattr(sweeping, "open_encoder", lambda where: Colours())
    made = {"mixer": Mixer(), "plain": Plain()}
    monkeypatch.setattr(sweeping, "METHODS", dict.fromkeys(("instruct-pix2pix", "sdedit"), made.__getitem__))


def order(*texts, **changes):
    curves = [Curve.read(text) for text in texts or ("ours=mixer",)]
    return Order("recolourings", curves, **({"count": COUNT, "points": 3} | changes))


def test_more_guidance_keeps_more_and_obeys_less(tmp_path):
    points = sweep(order(points=7), tmp_path)["ours"]
    assert [point["scale_img"] for point in points] == [1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2]  # the published values
    image, direction = ([point[name] for point in points] for name in ("sim_image", "sim_direction"))
    assert image == sorted(image) and direction[0] > 0.8
    published = {"sim_0", "sim_1", "sim_direction", "sim_image", "num_samples", "split", "scale_txt", "scale_img",
                 "steps", "seed"}  # fmt: skip
    assert published <= points[0].keys() and points[0]["num_samples"] == COUNT and points[0]["scale_txt"] == 7.5
    assert points[0]["errors"]["sim_image"] > 0 and "colours" in points[0]["protocol"]
    written = [json.loads(line) for line in (tmp_path / "points.jsonl").read_text().splitlines()]
    assert written == points
    assert Image.open(tmp_path / "plot.png").size == (960, 640)
    assert read_marks(tmp_path / "plot.png").recipe["encoder"] == "storybook"


def test_it_goes_on_where_it_was_stopped(tmp_path):
    def stop(done, total):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(order(), tmp_path / "a", progress=stop)
    assert Mixer.edits == 8
    with (tmp_path / "a" / "edits.jsonl").open("a") as file:
        file.write('{"curve": "ours", "mod')  # cut off
    resumed = sweep(order(), tmp_path / "a")
    assert Mixer.edits == 3 * COUNT
    assert resumed == sweep(order(), tmp_path / "b")
    # more edits and another curve are added to what is there
    Mixer.edits = 0
    both = sweep(order("ours=mixer", "plain=plain@as-it-is", count=COUNT + 1), tmp_path / "a")
    assert Mixer.edits == 3 and both["ours"][0]["num_samples"] == COUNT + 1 and len(both["plain"]) == 1


def test_kept_pictures_are_measured_by_another_encoder_without_being_made_again(tmp_path):
    once = sweep(order(pictures=tmp_path / "made"), tmp_path / "a")
    made = Mixer.edits
    assert made == 3 * COUNT and sweep(order(pictures=tmp_path / "made"), tmp_path / "b") == once
    assert Mixer.edits == made
    sweep(order(pictures=tmp_path / "made", seed=7), tmp_path / "c")  # other noise, other edits
    assert Mixer.edits == 2 * made


def test_edits_can_come_from_a_source_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeping, "open_source", None)
    assert sweep(order(), tmp_path, source=Recolourings())["ours"]


def test_a_folders_pictures_are_measured_at_their_own_size(tmp_path, monkeypatch):
    monkeypatch.undo()
    draw, seen = np.random.default_rng(0), []
    for number in range(40):
        folder = tmp_path / "pairs" / f"{number:07d}"
        folder.mkdir(parents=True)
        (folder / "prompt.json").write_text(json.dumps({"caption": "red", "edit": "go", "output": "green"}))
        for side in (0, 1):
            Image.fromarray(draw.integers(0, 256, (18, 32, 3), np.uint8)).save(folder / f"5_{side}.png")

    class Looker(Plain):
        def edit(self, picture, words, *, count=1, seed=0):
            seen.append(picture.shape)
            return super().edit(picture, words)

    monkeypatch.setattr(sweeping, "open_encoder", lambda where: Colours())
    monkeypatch.setattr(sweeping, "METHODS", {"instruct-pix2pix": lambda model: Looker()})
    whole = Order(str(tmp_path / "pairs"), [Curve.read("plain=plain@as-it-is")], count=2)
    sweep(whole, tmp_path / "out")
    assert seen == [(18, 32, 3)] * 2


def test_a_folder_holds_numbers_of_one_kind(tmp_path):
    sweep(order(count=1), tmp_path)
    with pytest.raises(BadInput, match="published_script"):
        sweep(order(count=1, published_script=True), tmp_path)


def test_what_has_no_such_strength_says_how_to_ask(tmp_path):
    with pytest.raises(CannotDo, match="plain=plain@as-it-is"):
        sweep(order("plain=plain"), tmp_path)


@pytest.mark.parametrize("text", ["mixer", "=mixer", "ours=", "ours=mixer@other"])
def test_what_is_no_curve(text):
    with pytest.raises(BadInput, match="NAME=MODEL@METHOD"):
        Curve.read(text)


def test_curves_are_read_and_told_apart():
    assert Curve.read("a b=C:/models/x@sdedit-instruction") == Curve("a b", "C:/models/x", "sdedit-instruction")
    with pytest.raises(BadInput, match="same name"):
        order("a=x", "a=y")
    with pytest.raises(BadInput, match="nothing to sweep"):
        Order("data", [])


def test_edits_without_captions_cannot_be_measured(tmp_path, monkeypatch):
    take = Recolourings.take
    bare = lambda self, numbers: Edits(*[*vars(take(self, numbers)).values()][:3], ("",), ("",))
    monkeypatch.setattr(Recolourings, "take", bare)
    with pytest.raises(BadInput, match="no captions"):
        sweep(order(), tmp_path)


def test_every_method_takes_what_it_is_given():
    from inspect import signature

    from limner.jobs.editing import METHODS
    from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
    from limner.systems.diffusion.prompt_to_prompt import PromptToPrompt
    from limner.systems.diffusion.sdedit import SDEdit

    kinds = {"instruct-pix2pix": InstructPix2Pix, "sdedit": SDEdit, "prompt-to-prompt": PromptToPrompt}
    for way in sweeping.SWEEPS.values():
        assert way.editor in METHODS
        given = {"steps", "guidance", "seed", *way.keywords(way.ends[0], "red")}
        assert given <= signature(kinds[way.editor].edit).parameters.keys()
        assert way.values(7)[0] == way.ends[0] and way.values(7)[-1] == way.ends[1]


# ------------------------------------------------------------------------------------------------ the plot


def test_the_plot_shows_every_curve():
    series = {"one": [Point(0.1, 0.9, 0.01, 0.02), Point(0.2, 0.8)], "two": [Point(0.15, 0.7)]}
    drawn = curves(series, "x", "y")
    assert drawn.shape == (640, 960, 3)
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert (np.abs(drawn.astype(int) - colour).max(-1) < 10).sum() > 40
    assert curves({"one": [Point(0.5, 0.5)]}, "x", "y").shape == drawn.shape  # a single place has a range, too


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.02, 0.31), (940, 1003), (1e-5, 3e-5)])
def test_ticks_are_few_round_and_inside(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 8 and all(low - 1e-12 <= tick <= high + 1e-12 for tick in found)
    assert all(len(f"{tick:g}") <= 7 for tick in found)


# ------------------------------------------------------------------------------------------------ nothing replaced


def test_real_methods_on_a_folder_of_edits(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    from limner.cli import run
    from limner.hub import save
    from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
    from small_diffusion import small_diffusion

    drawer = small_diffusion()
    save(drawer, "latent-diffusion", tmp_path / "drawer", card="small")
    editor = InstructPix2Pix(InstructPix2Pix.Config(**InstructPix2Pix.options_of(drawer)))
    save(editor, "instruct-pix2pix", tmp_path / "editor", card="small")
    draw = np.random.default_rng(0)
    for number in range(3):
        folder = tmp_path / "pairs" / f"000000{number}"
        folder.mkdir(parents=True)
        triplet = {"caption": "a red fox", "edit": "the fox at night", "output": "a fox at night"}
        (folder / "prompt.json").write_text(json.dumps(triplet))
        for side in (0, 1):
            Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"5_{side}.png")
    curves = {"ours": "editor", "noise": "drawer@sdedit", "words": "drawer@prompt-to-prompt"}
    order = [f"--curve={name}={tmp_path}/{model}" for name, model in curves.items()]
    order += [
        "--data",
        str(tmp_path / "pairs"),
        "-o",
        str(tmp_path / "out"),
        "-n",
        "2",
        "--points",
        "2",
        "--steps",
        "2",
    ]
    assert run(["edits", "sweep", *order]) == 0
    said = capsys.readouterr().out
    assert "ours, image guidance 2.2" in said and "noise, strength 0.3" in said and "words, period 1" in said
    points = [json.loads(line) for line in (tmp_path / "out" / "points.jsonl").read_text().splitlines()]
    assert len(points) == 6 and all(np.isfinite(point["sim_direction"]) for point in points)
    assert all(abs(point["sim_0"]) > 0 and point["num_samples"] >= 1 for point in points)
