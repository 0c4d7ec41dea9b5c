from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from limner.data.kinds import Paired
from limner.errors import BadCheckpoint, BadInput
from limner.nn.patch_discriminator import PatchDiscriminator
from limner.parity.compare import count
from limner.published import open_as
from limner.published.pix2pix import PATCH_NAMES, unet_names
from limner.rng import Rng, torch_rng
from limner.systems.translation.pix2pix import LAYERS, Pix2Pix, PixelDiscriminator, UNet, gradient_penalty
from playing import learn

TINY = Pix2Pix.Config(width=8, depth=3, field=34, discriminator_width=4)
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 21, 40, 3), np.uint8)


def tiny(**options) -> Pix2Pix:
    torch.manual_seed(0)
    model = Pix2Pix(dataclasses.replace(TINY, **options))
    for module in model.modules():  # as after training: running statistics that aren't those of any picture
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.5)
    return model.eval()


def pair(batch: int = 2, channels: int = 3, side: int = 16) -> Paired:
    generator = torch_rng(0, "pair")
    source, target = (torch.rand(batch, c, side, side, generator=generator) * 2 - 1 for c in (channels, 3))
    return Paired(source, target)


def negatives(numbers) -> Paired:
    """Smooth pictures and their negatives."""
    rough = [torch.rand(3, 4, 4, generator=torch_rng(0, "negative", n)) * 2 - 1 for n in numbers]
    source = F.interpolate(torch.stack(rough), scale_factor=4.0, mode="bilinear")
    return Paired(source, -source)


def test_it_learns() -> None:
    torch.manual_seed(0)
    model = Pix2Pix(dataclasses.replace(TINY, dropout=0.0))
    batch = negatives(range(1000, 1016))
    with torch.no_grad():
        before = F.l1_loss(model(batch.source), batch.target)
    learn(model, negatives, steps=20, rate=5e-3)
    with torch.no_grad():
        assert F.l1_loss(model(batch.source), batch.target) < before / 1.5


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (lambda: UNet(depth=8), 54_413_955),
        (lambda: UNet(depth=7), 41_828_995),
        (lambda: UNet(depth=8, skips=False), 39_075_459),
        (lambda: PatchDiscriminator(6, layers=LAYERS[70]), 2_768_705),
        (lambda: PatchDiscriminator(6, layers=LAYERS[286]), 11_159_361),
        (lambda: PixelDiscriminator(6), 9_024),
    ],
)
def test_networks_have_the_published_size(network, parameters: int) -> None:
    with torch.device("meta"):
        assert count(network().parameters()) == parameters


@pytest.mark.parametrize("field", LAYERS)
def test_a_score_sees_as_many_pixels_as_the_field_says(field: int) -> None:
    judge = PatchDiscriminator(3, 2, LAYERS[field]).eval()  # batch norm as learned mixes no pixels
    picture = torch.randn(1, 3, field + 120, field + 120, generator=torch_rng(0, "field")).requires_grad_()
    scores = judge(picture)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    rows = picture.grad.abs().sum((0, 1, 3)).nonzero()
    assert rows.max() - rows.min() + 1 == field


def test_the_encoder_decoder_paints_from_the_bottleneck_alone() -> None:
    """Pictures that the last halving can't tell apart: with skips they look different, without they are the same."""
    for skips, same in ((True, False), (False, True)):
        torch.manual_seed(0)
        network = UNet(width=4, depth=3, skips=skips).eval()
        torch.nn.init.zeros_(network.downs[-1][1].weight)
        one, other = network(pair().source)
        assert torch.equal(one, other) == same


def test_dropout_stands_where_the_published_networks_have_it() -> None:
    def dropping(network: UNet) -> list[int]:
        return [k for k, up in enumerate(network.ups) if any(isinstance(layer, torch.nn.Dropout) for layer in up)]

    with torch.device("meta"):
        assert dropping(UNet(depth=8)) == [1, 2, 3] and dropping(UNet(depth=7)) == [1, 2]
        assert dropping(UNet(depth=8, skips=False)) == [0, 1, 2]


def test_the_discriminator_steps_first_and_both_see_one_painting() -> None:
    model, painted = tiny().train(), []
    model.generator.register_forward_hook(lambda module, given, found: painted.append(found))
    moves = dict(model.play(pair(), Rng(0, [0, 1])))
    assert list(moves) == ["discriminator", "generator"] and len(painted) == 1
    assert moves["generator"].keys() == {"adversarial", "reconstruction"}


def test_table_1s_objectives() -> None:
    alone = tiny(adversarial=0)
    assert [(name, list(losses)) for name, losses in alone.play(pair(), Rng(0, [0, 1]))] == [
        ("generator", ["reconstruction"])
    ]
    assert not hasattr(alone, "discriminator")
    moves = dict(tiny(l1=0).play(pair(), Rng(0, [0, 1])))
    assert moves["generator"].keys() == {"adversarial"}
    blind, batch = tiny(conditional=False), pair()
    assert torch.equal(blind.judge(batch.source, batch.target), blind.judge(-batch.source, batch.target))
    seeing = tiny()
    assert not torch.equal(seeing.judge(batch.source, batch.target), seeing.judge(-batch.source, batch.target))
    with pytest.raises(BadInput, match="nothing to learn from"):
        Pix2Pix.Config(adversarial=0, l1=0)


@pytest.mark.parametrize(
    ("objective", "fake", "real", "fooled"),
    [
        ("least squares", lambda s: s.square() / 2, lambda s: (s - 1).square() / 2, lambda s: (s - 1).square()),
        ("wasserstein", lambda s: s / 2, lambda s: -s / 2, lambda s: -s),
    ],
)
def test_other_objectives(objective, fake, real, fooled) -> None:
    model, batch = tiny(objective=objective, dropout=0.0).train(), pair()
    told = dict(model.play(batch, Rng(0, [0, 1])))
    scores, truth = model.judge(batch.source, model(batch.source)), model.judge(batch.source, batch.target)
    for found, wanted in (
        (told["discriminator"]["fake"], fake(scores)),
        (told["discriminator"]["real"], real(truth)),
        (told["generator"]["adversarial"], fooled(scores)),
    ):
        assert torch.allclose(found, wanted.mean(), atol=1e-5)
    assert ("penalty" in told["discriminator"]) == (objective == "wasserstein")


def test_a_critics_gradient_is_held_at_length_one() -> None:
    """A linear critic has one gradient everywhere, and descending on the penalty brings its length to 1."""
    torch.manual_seed(0)
    judge, between = torch.nn.Conv2d(6, 1, 16), torch.rand(3, 6, 16, 16)
    penalty = gradient_penalty(judge, between)
    assert torch.allclose(penalty, (judge.weight.norm() - 1).square(), atol=1e-5)
    torch.nn.init.constant_(judge.weight, 0.1)
    for _ in range(100):
        (slope,) = torch.autograd.grad(gradient_penalty(judge, between), judge.weight)
        judge.weight.data -= 0.1 * slope
    assert abs(float(judge.weight.detach().norm()) - 1) < 1e-3


def test_translating_is_drawn_by_the_seed_and_leaves_the_model_alone() -> None:
    model = tiny(depth=6, width=2)  # deep enough for dropout
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one, same, other = (model.translate(PICTURES, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert np.array_equal(model.translate(PICTURES[1:2], seed=1), one[1:2])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())


def test_without_noise_the_seed_means_nothing_and_norms_are_the_learned_ones() -> None:
    model = tiny(noisy=False)
    still = model.translate(PICTURES, seed=1)
    assert np.array_equal(still, model.translate(PICTURES, seed=2))
    noisy = tiny()
    assert not np.array_equal(still, noisy.translate(PICTURES, seed=1))


def test_a_size_that_does_not_divide_is_padded_and_cropped() -> None:
    model = tiny(noisy=False)
    cropped = model.translate(PICTURES)
    assert cropped.shape == PICTURES.shape and cropped.dtype == np.uint8
    reflected = np.concatenate([PICTURES, PICTURES[:, -2:-5:-1]], 1)  # 21 rows and the three before the last
    assert np.array_equal(model.translate(reflected)[:, :21], cropped)
    assert model.translate(PICTURES[:, :1, :1]).shape == (3, 1, 1, 3)


def test_heatmaps_of_a_pose_are_a_source_like_any_other() -> None:
    model = tiny(source_channels=18)
    batch = pair(channels=18)
    assert dict(model.train().play(batch, Rng(0, [0, 1]))).keys() == {"discriminator", "generator"}
    assert model.eval().preview(batch, Rng(0, [0, 1])).shape == (6, 3, 16, 16)
    assert model.translate(np.zeros((1, 16, 16, 18), np.uint8)).shape == (1, 16, 16, 3)
    with pytest.raises(BadInput, match="Set source_channels"):
        list(model.play(pair(), Rng(0, [0, 1])))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match=r"\(N, H, W, 3\)"):
        tiny().translate(PICTURES[0])
    with pytest.raises(BadInput, match="multiples of 8"):
        list(tiny().play(pair(side=20), Rng(0, [0, 1])))
    with pytest.raises(BadInput, match="at least 24 pixels"):
        list(tiny(field=70).play(pair(), Rng(0, [0, 1])))
    with pytest.raises(BadInput, match="depth"):
        Pix2Pix.Config(depth=1)


@pytest.mark.parametrize(
    "options", [{}, {"norm": "instance", "field": 1}, {"source_channels": 1, "conditional": False}]
)
def test_published_files_open_with_sizes_read_off_them(options) -> None:
    model = tiny(depth=4, **options)
    judge = {f"net.{n}": v for n, v in model.discriminator.state_dict().items()}
    if model.config.field != 1:
        theirs = {ours: name for name, ours in PATCH_NAMES.items()}
        judge = {theirs[n]: v for n, v in model.discriminator.state_dict().items()}
    theirs = {ours: name for name, ours in unet_names(4).items()}
    file = {f"G.{theirs[n]}": v for n, v in model.generator.state_dict().items()}
    opened = open_as("pix2pix", file | {f"D.{n}": v for n, v in judge.items()}, "file", {"dropout": 0.0})
    assert opened.config == dataclasses.replace(model.config, dropout=0.0)
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in model.state_dict().items())
    alone = open_as("pix2pix", file, "file", {})
    assert torch.equal(alone.generator.state_dict()["downs.0.0.weight"], model.generator.downs[0][0].weight)
    with pytest.raises(BadCheckpoint, match="file"):
        open_as("pix2pix", {"G.model.0.weight": torch.zeros(3, 3, 4, 4)}, "file", {})
