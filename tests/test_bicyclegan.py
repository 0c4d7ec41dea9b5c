from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from limner.data.kinds import Paired
from limner.errors import BadCheckpoint, BadInput
from limner.hub import load
from limner.parity.check import verdict
from limner.parity.game import Move, moves
from limner.parity.record import Record
from limner.published import bicyclegan as published
from limner.published import open_as
from limner.rng import Rng, torch_rng
from limner.runs import Run
from limner.system import Styled, Translates
from limner.systems.translation.bicyclegan import BicycleGAN, Generator
from limner.train import Options, Trainer

RECORDS = Path(__file__).parent / "parity"
TINY = BicycleGAN.Config(
    style=2, depth=3, encoder_depth=2, width=8, encoder_width=8, discriminator_width=8, discriminator_layers=1
)
CVAE = replace(TINY, adversarial=0, latent=0)
CLR = replace(TINY, adversarial_vae=0, l1=0, kl=0)


class Shades:
    """Grey squares whose targets have a shade of their own: what the source doesn't say, the code must."""

    def take(self, numbers: Sequence[int]) -> Paired:
        shades = [torch.rand(1, 1, 1, generator=torch_rng(0, "shade", n)) * 1.6 - 0.8 for n in numbers]
        target = torch.stack(shades).expand(-1, 3, 16, 16)
        return Paired(torch.zeros_like(target), target)


def step(config: BicycleGAN.Config, batch: Paired, seed: int = 0) -> tuple[BicycleGAN, dict[str, Move]]:
    torch.manual_seed(0)
    model = BicycleGAN(config)
    return model, moves(model, batch, Rng(seed, range(len(batch))))


def noise(count: int = 2) -> Paired:
    return Paired(*(torch.rand(count, 3, 16, 16, generator=torch_rng(1, name)) * 2 - 1 for name in "ab"))


@pytest.mark.parametrize("network", ["d-multi-256", "e-resnet128", "losses", "unet128-all-bilinear-gray"])
def test_it_is_the_published_one(network: str) -> None:
    result = verdict(RECORDS / f"bicyclegan-{network}.json")
    assert result.passed, "\n".join(result.lines)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["e-conv256", "e-resnet256", "unet256-all", "unet256-input"])
def test_the_large_ones_are_the_published_ones(network: str) -> None:
    result = verdict(RECORDS / f"bicyclegan-{network}.json")
    assert result.passed, "\n".join(result.lines)


def test_a_half_alone_has_its_own_terms_and_players() -> None:
    terms = {name: set(step(config, noise())[1]["generator"].losses) for name, config in [("vae", CVAE), ("lr", CLR)]}
    assert terms == {"vae": {"adversarial_vae", "reconstruction", "kl"}, "lr": {"adversarial", "latent"}}
    assert set(BicycleGAN(CVAE).players) == {"generator", "discriminator_vae"}
    assert set(BicycleGAN(CLR).players) == {"generator", "discriminator"}
    assert set(step(TINY, noise())[1]["generator"].losses) == terms["vae"] | terms["lr"]


def test_one_discriminator_judges_both_and_steps_once() -> None:
    batch = noise(4)
    both, one = step(TINY, batch), step(replace(TINY, one_discriminator=True), batch)
    assert set(one[1]) == {"generator", "discriminator_vae"} and not hasattr(one[0], "discriminator")
    assert set(one[1]["discriminator_vae"].losses) == {"fake", "real", "fake_drawn", "real_drawn"}
    both[0].discriminator.load_state_dict(both[0].discriminator_vae.state_dict())
    one[0].load_state_dict({n: v for n, v in both[0].state_dict().items() if not n.startswith("discriminator.")})
    twice, once = (moves(model, batch, Rng(0, range(4))) for model, _ in (both, one))
    assert torch.allclose(once["generator"].loss, twice["generator"].loss)
    apart = twice["discriminator_vae"], twice["discriminator"]
    assert torch.allclose(once["discriminator_vae"].loss, sum(move.loss for move in apart))
    with pytest.raises(BadInput, match="one_discriminator"):
        replace(CVAE, one_discriminator=True)


def test_the_encoder_learns_from_the_latent_term_only_where_it_has_nothing_else() -> None:
    silent = replace(TINY, adversarial_vae=0, l1=1e-30, kl=0, adversarial=0)
    for config, learns in [(silent, False), (replace(silent, l1=0), True)]:
        model, played = step(config, noise())
        assert (played["generator"].norm(model.encoder) > 1e-6) == learns
        assert played["generator"].norm(model.generator) > 1e-6


def test_real_pictures_for_random_codes_are_the_second_halfs() -> None:
    batch = noise()
    other = Paired(batch.source, batch.target.clone())
    other.target[1] = 0.5
    before, after = (step(TINY, each)[1] for each in (batch, other))
    changed = {
        f"{player}/{term}"
        for player, move in before.items()
        for term, value in move.losses.items()
        if not torch.equal(value, after[player].losses[term])
    }
    assert changed == {"discriminator/real"}


def test_a_conditional_discriminator_sees_the_source() -> None:
    batch = noise()
    other = Paired(batch.source.clone(), batch.target)
    other.source[1] = 0.5
    for conditional in (False, True):
        config = replace(TINY, conditional=conditional)
        before, after = (step(config, each)[1]["discriminator"].losses["real"] for each in (batch, other))
        assert torch.equal(before, after) != conditional


def test_the_style_is_taken_where_the_config_says() -> None:
    everywhere = Generator(3, 2, 8, 3, everywhere=True, bilinear=False, dropout=0)
    at_input = Generator(3, 2, 8, 3, everywhere=False, bilinear=True, dropout=0)
    assert [down.in_channels for down in everywhere.downs] == [5, 10, 18]
    assert [down.in_channels for down in at_input.downs] == [5, 8, 16]


def test_only_luminance_counts_for_one_channel() -> None:
    model = BicycleGAN(replace(TINY, source_channels=1)).eval()
    grey = np.full((1, 16, 16, 3), 100, np.uint8)
    tinted = grey + np.array([10, 0, 0], np.uint8)
    tinted[..., 2] = 100 - round(10 * 0.299 / 0.114)
    assert np.abs(model.translate(grey).astype(int) - model.translate(tinted)).max() <= 1


def test_codes_learn_what_the_source_does_not_say(tmp_path: Path) -> None:
    config = replace(CVAE, width=16, kl=0.001, adversarial_vae=0, learning_rate=2e-3)
    options = Options(steps=120, batch=8, threads=1, sample=0, precision="fp32")
    torch.manual_seed(0)
    Trainer("bicyclegan", BicycleGAN(config), Shades(), Run(tmp_path / "run"), options).fit()
    model = load(tmp_path / "run")
    batch = Shades().take(range(1000, 1016))
    with torch.no_grad():
        codes, _ = model.encoder(batch.target)
        own, anothers = (F.l1_loss(model(batch.source, each), batch.target) for each in (codes, codes.roll(1, 0)))
    assert own < anothers / 2


def test_a_style_is_drawn_by_seed_given_or_taken_from_a_picture() -> None:
    torch.manual_seed(0)
    model = BicycleGAN(replace(TINY, style_at="input")).eval()
    assert isinstance(model, Translates) and isinstance(model, Styled)
    for layer in model.generator.downs[:1]:  # drawn weights are too small for a code to show in 8 bits
        layer.weight.data *= 100
    sources = np.random.default_rng(0).integers(0, 256, (2, 13, 22, 3), np.uint8)
    first = model.translate(sources, seed=1)
    assert first.shape == sources.shape and first.dtype == np.uint8
    assert np.array_equal(first, model.translate(sources, style=model.random_style(1)))
    assert np.array_equal(first[1:], model.translate(sources[1:], seed=1))
    assert not np.array_equal(first, model.translate(sources, seed=2))
    styles = model.style_of(sources)
    assert styles.shape == (2, 2)
    mixed = model.translate(sources, style=(styles[:1] + styles[1:]) / 2)
    assert mixed.shape == sources.shape
    alone = model.translate(sources[1:], style=styles[1:])
    assert np.array_equal(model.translate(sources, style=styles)[1:], alone)


def test_what_does_not_fit_is_refused() -> None:
    model = BicycleGAN(TINY).eval()
    sources = np.zeros((2, 16, 16, 3), np.uint8)
    for style in (torch.zeros(2), torch.zeros(3, 2), torch.zeros(2, 3)):
        with pytest.raises(BadInput, match=r"\(1, 2\) or \(2, 2\)"):
            model.translate(sources, style=style)
    with pytest.raises(BadInput, match="uint8 pictures"):
        model.translate(sources.astype(np.float32))
    with pytest.raises(BadInput, match="--batch 2, 4"):
        next(model.play(noise(3), Rng(0, range(3))))
    with pytest.raises(BadInput, match="multiples of 8"):
        next(model.play(Paired(torch.zeros(2, 3, 16, 20), torch.zeros(2, 3, 16, 20)), Rng(0, range(2))))
    with pytest.raises(BadInput, match="all weights are 0"):
        replace(CVAE, adversarial_vae=0, l1=0)
    with pytest.raises(BadInput, match="depth 2"):
        replace(TINY, depth=1)


def release(network: str) -> dict[str, torch.Tensor]:
    return Record.read(RECORDS / f"bicyclegan-{network}.json").state()


def test_published_files_open_as_what_they_are() -> None:
    model = open_as("bicyclegan", release("losses"), "facades", {})
    assert model.config == BicycleGAN.Config(width=8, encoder_width=8, discriminator_width=8)
    grey = {f"G.{name}": value for name, value in release("unet128-all-bilinear-gray").items()}
    config = open_as("bicyclegan", grey, "latest_net_G.pth", {"encoder_width": 8}).config
    assert (config.source_channels, config.depth, config.upsampling, config.width) == (1, 7, "bilinear", 16)
    plain = BicycleGAN(replace(TINY, style_at="input", encoder="plain", conditional=True, scales=1))
    sizes = published.sizes(plain.state_dict())
    assert replace(BicycleGAN.Config(), **sizes) == replace(
        BicycleGAN.Config(), **{name: getattr(plain.config, name) for name in sizes}
    )


def test_an_entry_that_belongs_nowhere_is_refused() -> None:
    state = release("losses")
    with pytest.raises(BadCheckpoint, match="facades"):
        open_as("bicyclegan", state | {"G.model.down.1.weight": torch.zeros(1)}, "facades", {})
    with pytest.raises(BadCheckpoint, match="belong to none"):
        open_as("bicyclegan", state | {"F.weight": torch.zeros(1)}, "facades", {})
