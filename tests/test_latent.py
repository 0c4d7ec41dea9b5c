import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import compvis_layout
from limner.data.kinds import Captioned, Latents
from limner.errors import BadCheckpoint, BadInput, CannotDo
from limner.hub import load
from limner.parity.fill import fill_tensor
from limner.published.compvis import SCHEDULE_BUFFERS
from limner.published.stable_diffusion import from_folder, from_single_file
from limner.rng import Rng
from limner.system import Draws, to_uint8
from limner.systems.diffusion.latent import Autoencoder, LatentDiffusion, TextTower, UNet
from limner.systems.diffusion.tokens import LAST, _merged, vocabulary

WIDTHS = (32, 64)
TINY = LatentDiffusion.Config(
    autoencoder=Autoencoder(widths=(32, 32, 32), blocks=1),
    text=TextTower(vocabulary=514, width=64, depth=2, heads=1, hidden=128),
    unet=UNet(widths=WIDTHS, attention=(True, False), blocks=1),
    size=(16, 32),
)


class Foreign:
    """What a trainer leaves behind in its checkpoints."""


def write_tokenizer(folder):
    """A tokenizer of CLIP's kind that knows bytes and two merges."""
    folder.mkdir()
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(each) for each in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = [*letters, *(f"{each}</w>" for each in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps(special | {"pad_token": "<|endoftext|>", "model_max_length": 77})
    )


def filled(layout, seed=0):
    return {name: fill_tensor(name, shape, seed) for name, shape in layout.items()}


def published(seed=0):
    """A whole checkpoint under CompVis' names, as the tiny model's would be."""
    return filled(
        {
            **compvis_layout.under("model.diffusion_model", compvis_layout.unet(WIDTHS, (True, False), 1, 64)),
            **compvis_layout.under("first_stage_model", compvis_layout.autoencoder((32, 32, 32), 1)),
            **compvis_layout.under("cond_stage_model", compvis_layout.text(514, 64, 2, 128)),
            **dict.fromkeys(SCHEDULE_BUFFERS - {"logvar", "scale_factor", "lvlb_weights"}, (1000,)),
        },
        seed,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A .safetensors and a .ckpt file with a tokenizer beside them, and the folder that the first was saved to."""
    home = tmp_path_factory.mktemp("models")
    write_tokenizer(home / "tokenizer")
    weights = published()
    save_file(weights, home / "model.safetensors")
    averages = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): fill_tensor(name, tuple(value.shape), 1)
        for name, value in weights.items()
        if name.startswith("model.diffusion_model.")
    }
    averages |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(5)}
    positions = {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    whole = {"state_dict": weights | averages | positions, "callbacks": {Foreign: Foreign()}, "global_step": 470_000}
    torch.save(whole, home / "model.ckpt")
    from_single_file(home / "model.safetensors").save_folder(home / "folder")
    return home


@pytest.fixture(scope="module")
def model(home):
    return from_folder(home / "folder")


def same_weights(a, b):
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_single_file_is_used_to_the_last_key(home, model):
    """The file's shapes give the sizes; its EMA is what draws, unless the plain weights are asked for."""
    plain = from_single_file(home / "model.ckpt", average=False)
    assert (plain.config.unet, plain.config.autoencoder, plain.config.text) == (TINY.unet, TINY.autoencoder, TINY.text)
    assert same_weights(plain, model)
    averaged = from_single_file(home / "model.ckpt")
    name = "model.diffusion_model.input_blocks.0.0.weight"
    assert torch.equal(averaged.unet.conv_in.weight, fill_tensor(name, (32, 4, 3, 3), 1))
    assert torch.equal(averaged.autoencoder.quant_conv.weight, model.autoencoder.quant_conv.weight)
    assert not any(tensor.is_meta for tensor in [*averaged.parameters(), *averaged.buffers()])


def test_the_front_door_opens_all_of_them(home, model):
    for name in ("folder", "model.safetensors"):
        assert same_weights(load(home / name), model)
    assert isinstance(model, Draws)


def test_diffusers_opens_the_folder_and_draws_the_same(home, model):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(home / "folder", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        "a fox",
        latents=model.noise(3, (16, 32)),
        num_inference_steps=5,
        guidance_scale=4.0,
        negative_prompt="rain",
        height=16,
        width=32,
        output_type="np",
    ).images[0]
    ours = model.draw("a fox", seed=3, steps=5, guidance=4.0, size=(16, 32), negative="rain").pictures[0]
    assert np.abs(ours / 255 - theirs).max() < 0.01


@pytest.mark.parametrize("sampler", ["ddim", "euler", "euler_ancestral", "dpm_solver"])
def test_the_picture_of_a_seed_is_the_same_whatever_the_count(model, sampler):
    options = {"steps": 3, "size": (16, 32), "sampler": sampler}
    several = model.draw("a fox", count=2, seed=4, **options)
    alone = model.draw("a fox", seed=5, **options)
    assert (several.seeds, alone.seeds) == ((4, 5), (5,))
    assert np.array_equal(several.pictures[1], alone.pictures[0])
    assert not np.array_equal(several.pictures[0], several.pictures[1])
    assert several.pictures.shape == (2, 16, 32, 3)


def test_words_steer_and_guidance_of_one_is_no_guidance(model):
    options = {"steps": 2, "size": (16, 16)}
    fox = model.draw("a fox", guidance=1, **options).pictures
    assert not np.array_equal(fox, model.draw("a whale", guidance=1, **options).pictures)
    assert np.array_equal(fox, model.draw("a fox", guidance=1, negative="rain", **options).pictures)
    assert not np.array_equal(fox, model.draw("a fox", guidance=5, **options).pictures)


def test_words_beyond_the_last_token_are_listed(model):
    assert model.draw("a fox", steps=1, size=(16, 16)).unknown == ()
    assert model.unread("x " * 75 + "late words") == ("late", "words")


def test_a_walk_begins_and_ends_at_the_plain_pictures(model):
    options = {"steps": 2, "size": (16, 16)}
    frames = model.interpolate("a fox", "a whale", "rain", frames=3, seeds=(1, 2, 2), **options)
    assert frames.shape == (5, 16, 16, 3)
    for frame, words, seed in ((0, "a fox", 1), (2, "a whale", 2), (4, "rain", 2)):
        assert np.array_equal(frames[frame], model.draw(words, seed=seed, **options).pictures[0])
    assert not np.array_equal(frames[1], frames[0])
    assert not np.array_equal(frames[1], frames[2])
    with pytest.raises(BadInput, match="two texts"):
        model.interpolate("a fox", frames=3)


def test_pictures_go_to_latents_and_back(model):
    pictures = torch.rand(2, 3, 16, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = model.encode(pictures)
    assert latents.shape == (2, 4, 4, 8)
    assert model.decode(latents).shape == pictures.shape
    assert torch.equal(model.encode(pictures, torch.zeros_like(latents)), latents)
    assert not torch.equal(model.encode(pictures, torch.ones_like(latents)), latents)


def test_training_learns_to_denoise(home):
    model = from_folder(home / "folder")
    player = model.players["unet"]
    optimiser = player.optimiser(player.parameters())
    batch = Captioned(torch.zeros(2, 3, 16, 16), ("a fox", "a whale"))
    frozen = model.autoencoder.quant_conv.weight.clone()

    def loss(step):
        ((name, losses),) = model.play(batch, Rng(0, [2 * step, 2 * step + 1], step))
        assert (name, list(losses)) == ("unet", ["denoising"])
        return losses["denoising"]

    before = loss(0).item()
    for _ in range(10):
        optimiser.zero_grad()
        loss(0).backward()
        optimiser.step()
    assert loss(0).item() < 0.9 * before
    assert torch.equal(model.autoencoder.quant_conv.weight, frozen)
    assert to_uint8(model.eval().preview(batch, Rng(0, [0, 1]))).shape == (2, 16, 16, 3)


def test_captions_are_dropped_for_guidance(home, model, monkeypatch):
    seen = []

    def record(words):
        seen.extend(words)
        return torch.zeros(len(words), 77, 64)

    monkeypatch.setattr(model, "encode_words", record)
    list(model.play(Captioned(torch.zeros(64, 3, 8, 8), ("fox",) * 64), Rng(0, range(64))))
    assert 1 <= seen.count("") <= 15


def test_velocity_and_zero_terminal_snr_survive_the_folder(home, tmp_path):
    config = LatentDiffusion.Config(**{**vars(TINY), "prediction": "velocity", "zero_terminal_snr": True})
    model = LatentDiffusion(config).eval()
    model.tokenizer = from_folder(home / "folder").tokenizer
    model.save_folder(tmp_path / "saved")
    again = from_folder(tmp_path / "saved")
    assert (again.config.prediction, again.config.zero_terminal_snr) == ("velocity", True)
    assert same_weights(again, model)
    drawn = again.draw("a fox", steps=3, size=(16, 16), sampler="dpm_solver")
    assert drawn.pictures.std() > 0
    with pytest.raises(BadInput, match="ddim"):
        again.draw("a fox", steps=3, size=(16, 16), sampler="euler")
    with pytest.raises(BadInput, match="velocity"):
        LatentDiffusion.Config(zero_terminal_snr=True)
    with pytest.raises(BadInput, match="already"):
        model.save_folder(tmp_path / "saved")


def test_an_old_folder_of_pickles_is_read(home, model, tmp_path):
    """As the published v1-5 folder was: .bin files, a text_model prefix, the autoencoder's old attention names."""
    folder = tmp_path / "old"
    for part in ("unet", "vae", "text_encoder", "scheduler", "tokenizer"):
        (folder / part).mkdir(parents=True)
        for file in (home / "folder" / part).iterdir():
            if file.suffix != ".safetensors":
                (folder / part / file.name).write_bytes(file.read_bytes())
    unet, vae, text = (
        load_file(next((home / "folder" / part).glob("*.safetensors"))) for part in ("unet", "vae", "text_encoder")
    )
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        vae = {name.replace(f".attentions.0.{new}.", f".attentions.0.{old}."): value for name, value in vae.items()}
    text = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in text.items()}
    text["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(unet, folder / "unet" / "diffusion_pytorch_model.bin")
    torch.save(vae, folder / "vae" / "diffusion_pytorch_model.bin", _use_new_zipfile_serialization=False)
    torch.save(text, folder / "text_encoder" / "pytorch_model.bin")
    assert same_weights(from_folder(folder), model)


def test_what_is_not_stable_diffusion_is_said_to_be_so(home, tmp_path):
    path = tmp_path / "model.safetensors"
    weights = published()

    def refuse(changed, pattern):
        save_file(changed, path)
        with pytest.raises(BadCheckpoint, match=pattern):
            from_single_file(path)

    refuse({"a": torch.ones(2)}, "no unet and no autoencoder and no text")
    refuse(weights | {"control_model.weight": torch.ones(2)}, "no entry 'control_model.weight'")
    refuse({k: v for k, v in weights.items() if k != "model.diffusion_model.out.2.bias"}, "lacks conv_out.bias")
    refuse(weights | {"model.diffusion_model.extra.weight": torch.ones(2)}, "not the name of anything")
    refuse(weights | {"model_ema.diffusion_modelout2bias": torch.ones(4)}, "moving average")
    refuse(weights | {"model.diffusion_model.out.2.bias": torch.ones(7)}, "shape")
    refuse(weights | {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(32, 9, 3, 3)}, "inpainting")


@pytest.mark.parametrize(
    ("file", "change", "pattern"),
    [
        ("unet/config.json", {"use_linear_projection": True}, "use_linear_projection"),
        ("unet/config.json", {"attention_head_dim": [5, 10]}, "attention_head_dim|make no model"),
        ("unet/config.json", {"block_out_channels": "wide"}, "make no model"),
        ("vae/config.json", {"latent_channels": 16}, "in_channels is 4, not 16"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "linear"}, "scaled_linear"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "prediction_type"),
        ("text_encoder/config.json", {"hidden_act": "gelu"}, "quick_gelu"),
        ("unet/diffusion_pytorch_model.safetensors", None, "no weights"),
        ("tokenizer/tokenizer.json", b"{", "tokenizer"),
        ("vae/config.json", b"{", "not JSON"),
    ],
)
def test_a_wrong_folder_is_an_error_that_says_what(home, tmp_path, file, change, pattern):
    folder = tmp_path / "wrong"
    for source in (home / "folder").rglob("*.*"):
        target = folder / source.relative_to(home / "folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
    path = folder / file
    before = path.read_bytes() if path.suffix == ".json" else b""
    path.unlink()
    if change is not None:
        path.write_bytes(change if isinstance(change, bytes) else json.dumps(json.loads(before) | change).encode())
    with pytest.raises(BadCheckpoint, match=pattern):
        from_folder(folder)


def test_without_a_tokenizer_it_says_where_to_put_one(home, tmp_path):
    path = tmp_path / "model.safetensors"
    path.symlink_to(home / "model.safetensors")
    model = from_single_file(path)
    with pytest.raises(CannotDo, match=r"vocab\.json"):
        model.draw("a fox")
    assert from_single_file(path, home / "tokenizer").draw("a fox", steps=1, size=(16, 16)).pictures.shape == (
        1,
        16,
        16,
        3,
    )


def test_sizes_that_are_no_multiple_and_unknown_samplers(model):
    with pytest.raises(BadInput, match="multiples of 4"):
        model.draw("a fox", size=(16, 33))
    with pytest.raises(BadInput, match="not for ddim"):
        model.sample(lambda x, t: None, model.noise(0, (16, 16)), 2, "ddim", karras=True)
    with pytest.raises(BadInput, match="No sampler 'magic'"):
        model.draw("a fox", size=(16, 16), sampler="magic")


def test_the_config_survives_json():
    again = LatentDiffusion.Config(**json.loads(json.dumps({"unet": vars(TINY.unet), "text": vars(TINY.text)})))
    assert again.text == TINY.text


# A model of one's own


WORDS = ("a", "fox", "ox", "box", "boxes", "tree", "under")
OWN = LatentDiffusion.Config(
    autoencoder=Autoencoder(widths=(32, 32), blocks=1),
    text=TextTower(vocabulary=len(vocabulary(WORDS)[0]), width=64, depth=1, heads=1, hidden=64, tokens=8),
    unet=UNet(widths=(32, 32), attention=(True, False), blocks=1, heads=2),
    size=(16, 16),
    words=WORDS,
    joint_text=True,
    warmup=1,
    learning_rate=1e-3,
)


@given(st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=30))
def test_every_word_of_a_small_tokenizer_is_one_token(words):
    tokens, merges = vocabulary(words)
    ranks = {pair: i for i, pair in enumerate(merges)}
    for word in words:
        assert _merged([*word[:-1], word[-1] + LAST], ranks) == [word + LAST] and word + LAST in tokens
    assert sorted(tokens.values()) == list(range(len(tokens)))


def test_a_small_tokenizer_spells_other_words_and_survives_its_folder(tmp_path):
    model = LatentDiffusion(OWN)
    ids = model.tokenizer("a fox under boxes", add_special_tokens=False).input_ids
    assert len(ids) == 4 and len(model.tokenizer("foxtrot", add_special_tokens=False).input_ids) > 1
    model.save_folder(tmp_path / "folder")
    assert from_folder(tmp_path / "folder").tokenizer("a fox under boxes", add_special_tokens=False).input_ids == ids


def test_a_narrow_model_has_fewer_groups_and_its_folder_says_so(tmp_path):
    narrow = {"autoencoder": {"widths": (8, 16), "blocks": 1, "groups": 4}, "unet": {"widths": (16,), "groups": 8}}
    shapes = {"unet": {"attention": (True,), "blocks": 1, "heads": 2} | narrow["unet"]}
    model = LatentDiffusion(LatentDiffusion.Config(**{**vars(OWN), **narrow, **shapes})).eval()
    assert model.unet.conv_norm_out.num_groups == 8 and model.autoencoder.decoder.conv_norm_out.num_groups == 4
    model.save_folder(tmp_path / "folder")
    again = from_folder(tmp_path / "folder")
    assert (again.config.unet.groups, again.config.autoencoder.groups) == (8, 4) and same_weights(again, model)
    drawn = (each.draw("a fox", steps=2, size=(8, 8)).pictures for each in (model, again))
    assert np.array_equal(*drawn)


def test_words_and_text_tower_have_to_fit():
    with pytest.raises(BadInput, match="set text"):
        LatentDiffusion(dataclasses.replace(OWN, words=(*WORDS, "zebra")))


def own_batch():
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Captioned(pictures, ("a fox", "a tree under boxes"))


def test_latents_encoded_beforehand_are_the_pictures():
    model, batch = LatentDiffusion(OWN).eval(), own_batch()
    with torch.no_grad():
        posterior = model.autoencoder.encode(batch.pictures, return_dict=False)[0]
    beforehand = Latents(posterior.mean, posterior.std, batch.captions)
    losses = [next(model.play(data, Rng(0, [0, 1])))[1]["denoising"] for data in (batch, beforehand)]
    assert torch.allclose(*losses, rtol=1e-5)


def test_pictures_of_any_shape_train():
    batch = Captioned(torch.zeros(2, 3, 8, 24), ("a fox", "a tree"))
    assert next(LatentDiffusion(OWN).play(batch, Rng(0, [0, 1])))[1]["denoising"].isfinite()


@pytest.mark.parametrize("joint", [True, False])
def test_the_text_tower_learns_only_if_told(joint):
    model = LatentDiffusion(dataclasses.replace(OWN, joint_text=joint))
    # The U-Net's output layer begins at zero, so that a first step moves only that.
    torch.nn.init.normal_(model.unet.conv_out.weight)
    next(model.play(own_batch(), Rng(0, [0, 1])))[1]["denoising"].backward()
    moved = [p.grad is not None and bool(p.grad.any()) for p in model.text.parameters()]
    assert any(moved) if joint else not any(moved)
    assert len(model.players["unet"].parameters()) == sum(
        1 for part in ((model.unet, model.text) if joint else (model.unet,)) for _ in part.parameters()
    )
