"""CLIP: files of OpenAI's and of transformers', views of any size, and the similarities of edits."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limner.errors import BadCheckpoint, BadInput, CannotDo
from limner.metrics.edits import EditSimilarity, Similarities, open_encoder, similarities
from limner.nn.clip import CLIP, Sizes, build_clip
from limner.parity.fill import fill_tensor
from limner.published.clip import open_clip
from limner.rng import torch_rng
from limner.systems.diffusion.tokens import word_tokenizer
from test_latent import write_tokenizer

TINY = Sizes(24, 32, 8, 64, 3, 1, 514, 77, 64, 2, 1)


def published(sizes=TINY, seed=0):
    """Weights under OpenAI's names, by the shapes that its program gives them."""
    shapes = {
        "positional_embedding": (sizes.tokens, sizes.text_width),
        "text_projection": (sizes.text_width, sizes.space),
        "logit_scale": (),
        "visual.class_embedding": (sizes.width,),
        "visual.positional_embedding": ((sizes.side // sizes.patch) ** 2 + 1, sizes.width),
        "visual.proj": (sizes.width, sizes.space),
        "visual.conv1.weight": (sizes.width, 3, sizes.patch, sizes.patch),
        "token_embedding.weight": (sizes.vocabulary, sizes.text_width),
    }
    towers = (("visual.", sizes.width, sizes.depth), ("", sizes.text_width, sizes.text_depth))
    for name, width in (
        ("visual.ln_pre", sizes.width),
        ("visual.ln_post", sizes.width),
        ("ln_final", sizes.text_width),
    ):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for tower, width, depth in towers:
        for number in range(depth):
            block = f"{tower}transformer.resblocks.{number}"
            sides = {"attn.in_proj_": (3, 1), "attn.out_proj.": (1, 1), "mlp.c_fc.": (4, 1), "mlp.c_proj.": (1, 4)}
            for name, (rows, columns) in sides.items():
                shapes |= {
                    f"{block}.{name}weight": (rows * width, columns * width),
                    f"{block}.{name}bias": (rows * width,),
                }
            for name in ("ln_1", "ln_2"):
                shapes |= {f"{block}.{name}.weight": (width,), f"{block}.{name}.bias": (width,)}
    return {name: fill_tensor(name, shape, seed) for name, shape in shapes.items()}


def scripted(weights, path):
    """The weights as torch.jit.save leaves them: a module with code, its parameters in modules of modules."""

    class Holder(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    root = Holder()
    for name, value in weights.items():
        *modules, leaf = name.split(".")
        holder = root
        for part in modules:
            if part not in dict(holder.named_children()):
                holder.add_module(part, Holder())
            holder = getattr(holder, part)
        holder.register_parameter(leaf, nn.Parameter(value.half(), requires_grad=False))
    for name, size in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 514)):
        root.register_buffer(name, torch.tensor(size))
    root.transformer.resblocks.get_submodule("0").attn_mask = torch.full((77, 77), -torch.inf).triu(1)
    torch.jit.script(root).save(path)


def pictures(count=3, size=(40, 56), seed=0):
    return torch.rand(count, 3, *size, generator=torch_rng(seed, "pictures"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    home = tmp_path_factory.mktemp("clip")
    write_tokenizer(home / "tokenizer")
    scripted(published(), home / "ViT-T-8.pt")
    return home / "ViT-T-8.pt"


def test_openais_archive_and_the_folder_of_transformers_are_one_network(archive, tmp_path):
    ours = open_clip(archive)
    assert ours.network.dtype == torch.float32
    assert torch.equal(ours.network.visual_projection.weight, published()["visual.proj"].half().float().T)
    ours.network.save_pretrained(tmp_path / "folder")
    ours.tokenizer.save_pretrained(tmp_path / "folder")
    folder = open_clip(tmp_path / "folder")
    torch.testing.assert_close(folder.pictures(pictures()), ours.pictures(pictures()))
    torch.testing.assert_close(folder.words(["a fox", ""]), ours.words(["a fox", ""]))
    # and it is what the library itself computes from pixels of the trained size and from tokens
    pixels = pictures(size=(32, 32))
    theirs = folder.network.get_image_features(folder.normalised(pixels)).pooler_output
    torch.testing.assert_close(folder.pictures(pixels), F.normalize(theirs, dim=-1))
    theirs = folder.network.get_text_features(folder.tokens(["a fox at night"])).pooler_output
    torch.testing.assert_close(folder.words(["a fox at night"]), F.normalize(theirs, dim=-1))


def test_words_beyond_77_tokens_are_cut(archive):
    clip = open_clip(archive)
    long = "a fox " * 100
    assert clip.tokens([long]).shape == (1, 77)
    assert clip.tokens([long]).argmax() == 76
    assert clip.words([long]).norm(dim=-1).item() == pytest.approx(1)


def test_the_grid_of_positions_keeps_its_directions():
    clip = CLIP(build_clip(TINY))
    side = TINY.side // TINY.patch
    weight = clip.network.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():  # every patch knows its row, and nothing else
        weight[1:] = torch.arange(side).repeat_interleave(side)[:, None].float()
    wide = clip.positions(TINY.side, 2 * TINY.side)[0, 1:, 0].view(side, 2 * side)
    assert (wide.std(1) < 1e-4).all() and wide[-1, 0] > wide[0, 0] + 2
    swapped = clip.positions(TINY.side, 2 * TINY.side, published_grid=True)[0, 1:, 0].view(2 * side, side)
    assert (swapped.std(1) < 1e-4).all()  # laid out row by row for a picture that is wide
    assert torch.equal(clip.positions(TINY.side, TINY.side, published_grid=True)[0], weight)


def test_gradients_reach_the_pictures_and_no_weight():
    clip = CLIP(build_clip(TINY))
    seen = pictures().requires_grad_()
    clip.pictures(seen)[:, 0].sum().backward()
    assert seen.grad.abs().max() > 0
    assert not any(p.requires_grad for p in clip.parameters())


def test_without_a_tokenizer_it_says_where_to_put_one():
    with pytest.raises(CannotDo, match=r"vocab\.json"):
        CLIP(build_clip(TINY)).words(["a fox"])


@pytest.mark.parametrize("change", ["lacks", "misshapes", "foreign"])
def test_what_is_no_clip_is_refused(change, tmp_path):
    weights = published()
    if change == "lacks":
        del weights["visual.proj"]
    elif change == "misshapes":
        weights["visual.ln_pre.weight"] = torch.ones(7)
    else:
        weights["visual.layer1.0.conv1.weight"] = torch.ones(7)
    torch.save(weights, tmp_path / "clip.pt")
    with pytest.raises(BadCheckpoint, match=r"clip\.pt"):
        open_clip(tmp_path / "clip.pt")


def test_a_folder_whose_config_claims_more_than_it_holds_is_refused(archive, tmp_path):
    folder = tmp_path / "folder"
    open_clip(archive).network.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 10**9
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadCheckpoint, match="2 text layers"):
        open_clip(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(BadCheckpoint, match="two towers"):
        open_clip(folder)


# ------------------------------------------------------------------------------------------------ metrics of edits


class Colours:
    """An encoder whose space is red, green and blue."""

    name = "colours"

    def pictures(self, pictures):
        return F.normalize(pictures.mean((2, 3)), dim=-1)

    def words(self, words):
        return torch.eye(3)[[("red", "green", "blue").index(word) for word in words]]


def plain(*colours):
    return np.stack([np.full((4, 4, 3), colour, np.uint8) for colour in colours])


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_the_direction_is_of_the_change():
    metric = EditSimilarity(Colours())
    metric.update(plain(RED, RED, RED), plain(GREEN, BLUE, RED), ["red"] * 3, ["green"] * 3)
    found = {name: result.value for name, result in metric.values().items()}
    # as asked: 1; another colour: 1/2; nothing changed: 0, and no NaN
    assert found == pytest.approx({"sim_0": 1, "sim_1": 1 / 3, "sim_direction": 0.5, "sim_image": 1 / 3})
    direction = metric.values()["sim_direction"]
    assert direction.n == 3 and direction.error == pytest.approx(0.5 / 3**0.5)
    assert "colours" in direction.protocol and "[0, 1]" in direction.protocol


def test_parts_merge_into_the_whole_and_other_protocols_do_not():
    whole, first, second = (EditSimilarity(Colours()) for _ in range(3))
    edits = plain(RED, GREEN, BLUE), plain(GREEN, GREEN, RED), ["red", "blue", "green"], ["green", "red", "red"]
    whole.update(*edits)
    first.update(*(side[:1] for side in edits))
    second.update(*(side[1:] for side in edits))
    first.merge(second)
    for name, result in whole.values().items():
        assert first.values()[name].value == pytest.approx(result.value)
        assert first.values()[name].error == pytest.approx(result.error)
    with pytest.raises(BadInput, match="merged"):
        whole.merge(EditSimilarity(Colours(), published_script=True))


def test_the_published_script_gives_pictures_in_another_range():
    seen = []

    class Watching(Colours):
        def pictures(self, pictures):
            seen.append((pictures.min().item(), pictures.max().item()))
            return super().pictures(pictures)

    for published_script in (False, True):
        EditSimilarity(Watching(), published_script=published_script).update(plain(RED), plain(RED), ["red"], ["red"])
    assert seen == [(0, 1)] * 2 + [(-1, 1)] * 2


@pytest.mark.parametrize("wrong", ["counts", "kind"])
def test_what_is_no_edit_is_refused(wrong):
    metric = EditSimilarity(Colours())
    with pytest.raises(BadInput):
        if wrong == "counts":
            metric.update(plain(RED, RED), plain(RED), ["red"], ["red"])
        else:
            metric.update(plain(RED).astype(np.float32), plain(RED), ["red"], ["red"])


def test_the_storybooks_encoder_knows_what_is_in_a_picture():
    from limner.hub import load

    encoder, storybook = open_encoder("storybook"), load("storybook")
    words = ["a fox in a meadow", "a whale in the sea"]
    drawn = np.concatenate([storybook.draw(each, count=2, keep=1, large=False).pictures for each in words])
    metric = EditSimilarity(encoder)
    right = metric.each(drawn[:1], drawn[1:], words[:1], words[1:])
    assert right.sim_direction.item() > 0.5 and right.sim_0.item() > right.sim_image.item()
    wrong = metric.each(drawn[:1], drawn[1:], words[1:], words[:1])
    assert wrong.sim_direction.item() == pytest.approx(-right.sim_direction.item())
    same = metric.each(drawn[:1], drawn[:1], words[:1], words[1:])
    assert same.sim_direction.item() == 0 and same.sim_image.item() == pytest.approx(1, abs=1e-6)
    # as the storybook itself scores them
    cosines = encoder.pictures(torch.from_numpy(drawn).movedim(-1, 1) / 255) @ encoder.words(words[:1])[0]
    assert cosines.tolist() == pytest.approx(storybook.score(drawn, words[0]), abs=1e-5)


def test_encoders_are_known_by_what_they_are(archive, tmp_path):
    assert open_encoder(archive).name == "CLIP ViT-3/8 at 32 pixels"
    with pytest.raises(BadInput, match="StickerReader"):
        open_encoder("sticker-reader")


def test_similarities_of_unit_vectors():
    f0, f1, g0, g1 = (F.normalize(torch.randn(5, 8, generator=torch_rng(0, name)), dim=-1) for name in "abcd")
    found = similarities(f0, f1, g0, g1)
    assert isinstance(found, Similarities)
    torch.testing.assert_close(found.sim_image, (f0 * f1).sum(-1))
    torch.testing.assert_close(found.sim_direction, F.cosine_similarity(f1 - f0, g1 - g0))


def test_a_small_tokenizer_serves_too():
    clip = CLIP(build_clip(Sizes(8, 16, 8, 64, 2, 1, 521, 77, 64, 1, 1)), word_tokenizer(["fox", "owl"], 77))
    assert clip.words(["fox", "owl"]).shape == (2, 8)
