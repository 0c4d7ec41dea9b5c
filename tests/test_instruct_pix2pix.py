"""InstructPix2Pix: what it begins as, what it learns from, what guides it, sizes, files, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from limner import hub
from limner.cli import run
from limner.data.kinds import EditLatents, Edits
from limner.errors import BadCheckpoint, BadInput
from limner.jobs.training import resume, train
from limner.parity.check import verdict
from limner.parity.fill import fill_tensor
from limner.published import instruct_pix2pix, stable_diffusion
from limner.rng import Rng
from limner.system import Edits as CanEdit
from limner.system import Player, adam
from limner.systems.diffusion.instruct_pix2pix import Edited, InstructPix2Pix, working_size
from limner.systems.diffusion.latent import LatentDiffusion
from limner.train import Options
from test_latent import OWN, WORDS, published, write_tokenizer

RECORDS = Path(__file__).parent / "parity"
SHARED = ("autoencoder", "text", "unet", "size", "words")
TINY = InstructPix2Pix.Config(**{name: getattr(OWN, name) for name in SHARED}, ema_updates=1)
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 36, 3), np.uint8)
QUICK: dict[str, Any] = {"steps": 2, "resolution": 16}


def editor(seed: int = 0, **changes: Any) -> InstructPix2Pix:
    """A tiny editor whose every channel says something."""
    torch.manual_seed(seed)
    model = InstructPix2Pix(dataclasses.replace(TINY, **changes)).eval()
    torch.nn.init.normal_(model.unet.conv_in.weight)
    torch.nn.init.normal_(model.unet.conv_out.weight, std=0.1)
    return model


def batch(count: int = 2) -> Edits:
    pictures = torch.rand(2, count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Edits(pictures[0], ("a fox",) * count, pictures[1], ("a tree",) * count, ("a fox",) * count)


@pytest.mark.parametrize("name", ["unet", "euler", "euler-ancestral", "edit", "loss", "ema"])
def test_it_is_the_published_one(name: str) -> None:
    result = verdict(RECORDS / f"instruct-pix2pix-{name}.json")
    assert result.passed, "\n".join(result.lines)


@pytest.mark.slow
def test_it_is_the_published_one_at_full_size() -> None:
    result = verdict(RECORDS / "instruct-pix2pix-unet-full.json")
    assert result.passed, "\n".join(result.lines)


def test_it_edits_in_half_the_precision() -> None:
    model = editor()
    whole = model.edit(PICTURE, "a fox", **QUICK).pictures.astype(int)
    half = model.to(torch.bfloat16).edit(PICTURE, "a fox", **QUICK)
    assert isinstance(half, Edited) and half.latents.dtype == torch.float32
    assert np.abs(half.pictures - whole).mean() < 0.1 * whole.std()


# From a text-to-image model


def test_it_begins_as_a_text_to_image_model_that_no_picture_sways() -> None:
    torch.manual_seed(1)
    base = LatentDiffusion(OWN).eval()
    torch.nn.init.normal_(base.unet.conv_out.weight)
    model = InstructPix2Pix(InstructPix2Pix.Config(**InstructPix2Pix.options_of(base))).eval()
    assert not model.unet.conv_in.weight[:, 4:].any()  # before any model is taken over, too
    model.begin_as(base)
    latents, picture = torch.randn(2, 1, 4, 8, 8)
    t, text = torch.tensor([500.0]), base.encode_words(["a fox"])
    with torch.no_grad():
        torch.testing.assert_close(model.predict(latents, t, picture, text), base.predict(latents, t, text))
    assert model.config.words == WORDS and model.tokenizer is base.tokenizer

    next(model.play(batch(), Rng(0, [0, 1])))[1]["denoising"].backward()
    gradient = model.unet.conv_in.weight.grad
    assert gradient is not None and gradient[:, 4:].any()  # what is zero can learn
    again = editor(2)
    again.begin_as(model)
    assert torch.equal(again.unet.conv_in.weight, model.unet.conv_in.weight)
    with pytest.raises(BadInput, match="not as a Player"):
        InstructPix2Pix.options_of(Player((), adam(1)))


# Training


def test_words_and_picture_are_dropped_in_three_bands() -> None:
    draw = torch.tensor([0.0, 0.049, 0.05, 0.0999, 0.1, 0.1499, 0.15, 0.9])
    words, picture = InstructPix2Pix.dropped(editor(), draw)
    assert words.tolist() == [True] * 4 + [False] * 4
    assert picture.tolist() == [False, False, True, True, True, True, False, False]


def test_what_is_dropped_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = editor(dropout=0.2), {}

    def record(latents: torch.Tensor, t: torch.Tensor, picture: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        seen.update(picture=picture, text=text)
        return latents

    monkeypatch.setattr(model, "predict", record)
    rng = Rng(0, range(60))
    list(model.play(batch(60), rng))
    words, picture = model.dropped(rng.uniform("dropout"))
    null, said = model.encode_words([""]), model.encode_words(["a fox"])
    for row in range(60):
        assert torch.equal(seen["picture"][row] == 0, torch.full((4, 8, 8), bool(picture[row])))
        torch.testing.assert_close(seen["text"][row], (null if words[row] else said)[0])
    assert len({(bool(w), bool(p)) for w, p in zip(words, picture, strict=True)}) == 4


def test_it_sees_the_unscaled_mode_and_learns_the_scaled_sample() -> None:
    model, edits = editor(dropout=0.0), batch()
    with torch.no_grad():
        before, after = (model.autoencoder.encode(each, return_dict=False)[0] for each in (edits.before, edits.after))
        torch.testing.assert_close(model.encode_picture(edits.before), before.mean)
        torch.testing.assert_close(
            model.encode(edits.after, torch.ones(2, 4, 8, 8)), 0.18215 * (after.mean + after.std)
        )
    beforehand = EditLatents(before.mean, edits.instructions, after.mean, after.std)
    losses = [next(model.play(data, Rng(0, [0, 1])))[1]["denoising"] for data in (edits, beforehand)]
    torch.testing.assert_close(*losses)
    shown = [model.preview(data, Rng(0, [0, 1])) for data in (edits, beforehand)]
    assert shown[0].shape == shown[1].shape == (6, 3, 16, 16)
    torch.testing.assert_close(shown[0][2::3], shown[1][2::3])


def test_the_average_is_updated_several_times_a_step() -> None:
    one, four = (Player((), adam(1), ema=0.9999, ema_updates=n) for n in (1, 4))
    assert [one.kept(step) for step in (0, 1)] == [2 / 11, 3 / 12]
    assert four.kept(0) == pytest.approx(math.prod((1 + n) / (10 + n) for n in (4, 5, 6, 7)))
    assert four.kept(10**6) == pytest.approx(0.9999**4)
    assert editor(ema_updates=3).players["unet"].ema_updates == 3


# Guidance and samplers


def test_guidance_is_equation_4_3() -> None:
    model = editor()
    picture, latents = torch.randn(2, 2, 4, 8, 8)
    t, text, null = torch.tensor([500.0, 20.5]), model.encode_words(["a fox", "a tree"]), model.encode_words([""])
    with torch.no_grad():
        both = model.predict(latents, t, picture, text)
        alone = model.predict(latents, t, picture, null.expand_as(text))
        none = model.predict(latents, t, torch.zeros_like(picture), null.expand_as(text))
        for words, seen in ((7.5, 1.5), (1, 1.5), (7.5, 1), (2, 2), (1, 1), (0, 1)):
            expected = none + seen * (alone - none) + words * (both - alone)
            torch.testing.assert_close(
                model.guided(picture, text, null, words, seen)(latents, t), expected, atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize(("scales", "rows"), [((7.5, 1.5), 3), ((7.5, 1), 2), ((2, 2), 2), ((1, 1), 1)])
def test_rows_that_count_nothing_are_not_evaluated(
    scales: tuple[float, float], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = editor(), []
    monkeypatch.setattr(model, "predict", lambda latents, *_: seen.append(len(latents)) or latents)
    text = torch.zeros(1, 8, 64)
    model.guided(torch.zeros(1, 4, 8, 8), text, text, *scales)(torch.zeros(1, 4, 8, 8), torch.zeros(1))
    assert seen == [rows]


@pytest.mark.parametrize(
    "options",
    [{}, {"karras": True}, {"sampler": "euler"}, {"sampler": "ddim"}, {"sampler": "dpm_solver", "karras": True}],
)
def test_the_edit_of_a_seed_is_the_same_whatever_the_count(options: dict[str, Any]) -> None:
    model = editor()
    assert isinstance(model, CanEdit)
    several = model.edit(PICTURE, "a fox", count=2, seed=4, **QUICK, **options)
    alone = model.edit(PICTURE, "a fox", seed=5, **QUICK, **options)
    assert several.pictures.shape == (2, *PICTURE.shape) and several.pictures.dtype == np.uint8
    assert (several.seeds, alone.seeds) == ((4, 5), (5,))
    assert np.array_equal(several.pictures[1], alone.pictures[0])
    assert not np.array_equal(several.pictures[0], several.pictures[1])


def test_words_picture_and_scales_all_count() -> None:
    model = editor()
    made = [
        model.edit(PICTURE, "a fox", **QUICK),
        model.edit(PICTURE, "under trees", **QUICK),
        model.edit(255 - PICTURE, "a fox", **QUICK),
        model.edit(PICTURE, "a fox", guidance=2, **QUICK),
        model.edit(PICTURE, "a fox", image_guidance=4, **QUICK),
        model.edit(PICTURE, "a fox", karras=True, **QUICK | {"steps": 4}),
    ]
    assert len({each.pictures.tobytes() for each in made}) == len(made)


def test_without_words_the_picture_comes_back() -> None:
    drawn = editor().edit(PICTURE, "  ", count=2)
    assert all(np.array_equal(each, PICTURE) for each in drawn.pictures) and len(drawn.pictures) == 2


def test_a_small_model_says_which_words_it_knows() -> None:
    model = editor()
    assert model.edit(PICTURE, "blue Fox now", **QUICK).unknown[:2] == ("blue", "now")
    with pytest.raises(BadInput, match=r"none of the words ponlo, de, noche\. It knows a, box, boxes, fox"):
        model.edit(PICTURE, "¡Ponlo de noche!", **QUICK)


# Sizes


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((640, 480), (512, 384)),
        ((1000, 700), (512, 384)),
        ((900, 500), (576, 320)),
        ((333, 500), (384, 576)),
        ((207, 244), (384, 512)),
    ],
)
def test_the_published_sizes(given: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert working_size(*given, 512) == wanted


def test_exact_arithmetic_has_no_accidents() -> None:
    assert working_size(207, 244, 512, exact=True) == (448, 512)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 12), st.sampled_from([8, 16, 64]))
def test_exact_sizes_are_multiples_that_cover_what_was_asked(w: int, h: int, cells: int, multiple: int) -> None:
    resolution = cells * multiple
    width, height = working_size(w, h, resolution, multiple, exact=True)
    assert width % multiple == 0 == height % multiple and min(width, height) >= multiple
    assert (width >= height) == (w >= h) or width == height
    assert min(width, height) >= min(w, h) * resolution / max(w, h) - 1e-6
    transposed = working_size(h, w, resolution, multiple, exact=True)
    assert transposed == (height, width)
    published = working_size(w, h, resolution, multiple)
    assert abs(min(width, height) - min(published)) in (0, multiple)


def test_the_whole_picture_is_squeezed_and_the_published_way_crops_its_middle() -> None:
    model = editor()
    wide = np.zeros((20, 36, 3), np.uint8)
    wide[:, :2] = 255
    whole, cropped = (model.working_picture(wide, 16, resize) for resize in ("whole", "published"))
    assert whole.shape == cropped.shape == (12, 20, 3)
    assert whole[:, 0].mean() > 200 > 60 > cropped[:, 1].mean()


def test_a_picture_of_the_trainings_shape_is_edited_at_the_trainings_size() -> None:
    model = editor(size=(12, 20))  # latents of 3 x 5, which the U-Net halves to 2 x 3
    draw = np.random.default_rng(0)
    for shape in ((12, 20, 3), (24, 40, 3)):
        picture = draw.integers(0, 256, shape, np.uint8)
        assert model.working_picture(picture).shape == (12, 20, 3)
        assert model.edit(picture, "a fox", steps=2).pictures.shape == (1, *shape)
    assert model.working_picture(draw.integers(0, 256, (12, 12, 3), np.uint8)).shape != (12, 20, 3)


def test_a_tower_that_has_read_captions_alone_learns_with_the_u_net() -> None:
    for joint in (False, True):
        model = editor(joint_text=joint)
        (_, losses), *_ = model.play(batch(), Rng(0, [0, 1], 0))
        losses["denoising"].backward()
        learned = [parameter.grad for parameter in model.text.parameters() if parameter.grad is not None]
        owned = {id(parameter) for parameter in model.players["unet"].parameters()}
        assert bool(learned) == joint == (id(model.text.embeddings.token_embedding.weight) in owned)


@given(st.integers(1, 200), st.integers(1, 200))
def test_pictures_of_all_shapes_have_a_size_or_are_refused(width: int, height: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    try:
        working = MODEL.working_picture(picture, 16)
    except BadInput as error:
        assert "too narrow" in str(error) and max(width, height) > 4 * min(width, height)
    else:
        assert max(working.shape) <= 64 and not working.shape[0] % 4 and not working.shape[1] % 4


MODEL = editor()


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(BadInput, match="uint8"):
        MODEL.edit(picture, "a fox")


@pytest.mark.parametrize("changes", [{"dropout": 0.4}, {"ema_updates": 0}])
def test_options_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(changes))):
        dataclasses.replace(TINY, **changes)


# The verb


def test_two_turns_of_a_project_pass_the_latent_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    model, seen = editor(), list[torch.Tensor]()
    encode = model.encode_picture
    monkeypatch.setattr(model, "encode_picture", lambda pictures: seen.append(pictures) or encode(pictures))
    monkeypatch.setattr("limner.jobs.editing.load", lambda name: model)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PICTURE).save("photo.png")
    how = ["--project", "p", "--steps", "2", "--resolution", "16", "--repaint"]
    assert run(["edit", "photo.png", "a fox", *how]) == run(["edit", "under trees", *how]) == 0
    assert len(seen) == 1  # the second turn starts from what the first made of the picture's latent
    assert not np.array_equal(np.array(Image.open("p/1.png")), np.array(Image.open("p/2.png")))
    kept = model.edit(PICTURE, "a fox", **QUICK)
    assert isinstance(kept, Edited)
    again = model.edit(kept.pictures[0], "under trees", latent=kept.latents, **QUICK)
    assert np.array_equal(again.pictures[0], np.array(Image.open("p/2.png")))
    assert run(["edit", "a fox", *how, "--resolution", "32"]) == 0
    assert len(seen) == 3  # at another size it can't


# Files


def published_editor(seed: int = 0) -> dict[str, torch.Tensor]:
    """What the authors' file holds, for a tiny model: Stable Diffusion's names, and a wider first convolution."""
    name = "model.diffusion_model.input_blocks.0.0.weight"
    weights = published(seed)
    return {**weights, name: fill_tensor(name, (len(weights[name]), 8, 3, 3), seed)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' layout with its average, and Stable Diffusion's, with a tokenizer beside them."""
    home = tmp_path_factory.mktemp("models")
    write_tokenizer(home / "tokenizer")
    weights, other = published_editor(), published_editor(1)
    averages = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): other[name]
        for name in weights
        if name.startswith("model.diffusion_model.")
    }
    averages |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(88_000)}
    torch.save({"state_dict": weights | averages, "global_step": 22_000}, home / "editor.ckpt")
    save_file(published(), home / "drawer.safetensors")
    stable_diffusion.from_single_file(home / "drawer.safetensors").save_folder(home / "drawer")
    return home


def test_the_authors_file_opens_with_its_average(home: Path) -> None:
    first = "model.diffusion_model.input_blocks.0.0.weight"
    opened = hub.load(home / "editor.ckpt")
    assert isinstance(opened, InstructPix2Pix) and opened.tokenizer is not None
    assert torch.equal(opened.unet.conv_in.weight, fill_tensor(first, (32, 8, 3, 3), 1))
    held = stable_diffusion.tensors(home / "editor.ckpt")
    plain = instruct_pix2pix.from_tensors(held, "the file", average=False)
    assert torch.equal(plain.unet.conv_in.weight, held[first])
    assert torch.equal(plain.unet.conv_out.weight, held["model.diffusion_model.out.2.weight"])


def test_it_becomes_a_folder_that_diffusers_edits_with_alike(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionInstructPix2PixPipeline

    monkeypatch.chdir(home)
    assert run(["convert", "editor.ckpt", "--as", "instruct-pix2pix", "-o", "folder"]) == 0
    model = hub.load("folder")
    assert isinstance(model, InstructPix2Pix)
    expected = hub.load("editor.ckpt").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())

    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained("folder", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert type(pipeline.scheduler).__name__ == "EulerAncestralDiscreteScheduler"
    from diffusers import EulerDiscreteScheduler  # draws nothing

    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    picture = torch.rand(1, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(1, 4, 4, 8, generator=torch.Generator().manual_seed(1))
    theirs = pipeline(
        "a fox", image=picture, num_inference_steps=4, latents=noise, guidance_scale=5.0, image_guidance_scale=1.4,
        output_type="latent",
    ).images  # fmt: skip
    with torch.no_grad():
        guided = model.guided(
            model.encode_picture(2 * picture - 1), model.encode_words(["a fox"]), model.encode_words([""]), 5.0, 1.4
        )
        from limner.diffusion import denoiser

        ours = model.sample(denoiser(guided, model.schedule, "epsilon"), noise, 4, "euler")
    assert (ours - theirs).abs().max() < 1e-2 * theirs.std()


def test_each_loader_says_what_the_other_kind_is(home: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"--start-from .*drawer .*makes an editor of it"):
        instruct_pix2pix.from_folder(home / "drawer")
    with pytest.raises(BadCheckpoint, match="a text-to-image model"):
        instruct_pix2pix.from_tensors(published(), "the file")
    with pytest.raises(BadCheckpoint, match="InstructPix2Pix, whose U-Net takes a picture's latent"):
        stable_diffusion.from_single_file(home / "editor.ckpt")
    nine = {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(32, 9, 3, 3)}
    with pytest.raises(BadCheckpoint, match="takes 9 channels"):
        instruct_pix2pix.from_tensors({**published(), **nine}, "the file")
    assert isinstance(hub.load(home / "drawer"), LatentDiffusion)


def edits_folder(path: Path) -> str:
    """Four edits in the hub's layout."""
    from PIL import Image

    path.mkdir()
    rows = []
    for n in range(4):
        for name in ("before", "after"):
            Image.fromarray(np.full((16, 16, 3), 40 * n + len(name), np.uint8)).save(path / f"{name}-{n}.png")
        files = {"original_image": f"before-{n}.png", "edited_image": f"after-{n}.png"}
        rows.append(json.dumps(files | {"edit_prompt": "make it a fox"}))
    (path / "metadata.jsonl").write_text("\n".join(rows))
    return str(path)


def test_training_starts_from_a_diffusers_folder_and_keeps_its_tokenizer(home: Path, tmp_path: Path) -> None:
    options = Options(steps=1, batch=1, threads=1, sample=0, precision="fp32")
    data, out, drawer = edits_folder(tmp_path / "edits"), tmp_path / "run", home / "drawer"
    more: dict[str, Any] = {"changes": {"ema_updates": 2}, "prepare": {"resize": 16, "crop": 16}, "start_from": drawer}
    train("instruct-pix2pix", data, out, options, **more)
    model, base = hub.load(out), hub.load(drawer)
    assert isinstance(model, InstructPix2Pix) and isinstance(base, LatentDiffusion)
    assert model.config.unet == base.config.unet and model.config.ema_updates == 2
    assert torch.equal(model.autoencoder.quant_conv.weight, base.autoencoder.quant_conv.weight)
    torch.testing.assert_close(model.unet.conv_in.weight[:, :4], base.unet.conv_in.weight, atol=1e-3, rtol=0)
    assert model.edit(PICTURE, "a fox", **QUICK).pictures.shape == (1, *PICTURE.shape)

    train("instruct-pix2pix", data, out, dataclasses.replace(options, steps=2), **more)
    resume(out, steps=3)
    assert len(hub.load(out / "checkpoints" / "00000003").encode_words(["a fox"])) == 1
