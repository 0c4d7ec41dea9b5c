from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from limner.data.kinds import Paired
from limner.errors import BadCheckpoint, BadInput
from limner.parity.check import verdict
from limner.parity.game import moves
from limner.published import open_as
from limner.rng import Rng, torch_rng
from limner.runs import Run
from limner.system import Translates
from limner.systems.translation.pixel_domain_transfer import PixelDomainTransfer
from limner.train import Options, Trainer

RECORDS = Path(__file__).parent / "parity"
TINY = PixelDomainTransfer.Config(width=4, discriminator_width=4)


class Shirts:
    """A shade in the left half of the source is all of the target: the same thing, nowhere the same pixels."""

    def take(self, numbers: Sequence[int]) -> Paired:
        shades = torch.stack([torch.rand(3, 1, 1, generator=torch_rng(0, "shade", n)) * 2 - 1 for n in numbers])
        source = torch.zeros(len(shades), 3, 64, 64)
        source[..., :32] = shades
        return Paired(source, shades.expand(-1, -1, 64, 64))


def test_it_is_the_recorded_one() -> None:
    result = verdict(RECORDS / "pixel-domain-transfer-networks-losses.json")
    assert result.passed, "\n".join(result.lines)


def test_the_domain_discriminator_learns_what_belongs_together(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PixelDomainTransfer(replace(TINY, discriminator_width=8, discriminator_rate=3e-3))
    options = Options(steps=30, batch=6, threads=1, sample=0, precision="fp32")
    Trainer("pixel-domain-transfer", model, Shirts(), Run(tmp_path / "run"), options).fit()
    batch = Shirts().take(range(1000, 1064))
    with torch.no_grad():
        belong = model.eval().belong(batch.source, batch.target) > model.belong(batch.source, batch.target.roll(1, 0))
    assert belong.float().mean() > 0.7


def test_an_unrelated_target_is_real_but_no_pair() -> None:
    torch.manual_seed(0)
    model = PixelDomainTransfer(TINY)
    batch = Shirts().take([0, 1])
    played = moves(model, batch, Rng(0, [0, 1]))
    others = batch.target.roll(1, 0)
    real = nn.functional.softplus(-model.discriminator(others)).mean()
    no_pair = nn.functional.softplus(model.belong(batch.source, others)).mean()
    assert torch.allclose(played["discriminator"].losses["unrelated"], real / 3)
    assert torch.allclose(played["domain_discriminator"].losses["unrelated"], no_pair / 3)


def test_the_papers_code_is_all_that_is_left_of_the_source() -> None:
    torch.manual_seed(0)
    model = PixelDomainTransfer(replace(TINY, code=5)).eval()
    sizes = []
    for layer in model.converter:
        layer.register_forward_hook(lambda layer, _, out: sizes.append(out.shape[1:].numel()))
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 3, 64, 64)
    assert min(sizes) == 5


def test_pictures_of_any_size_come_back_at_their_own() -> None:
    torch.manual_seed(0)
    model = PixelDomainTransfer(TINY).eval()
    assert isinstance(model, Translates)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    converted = model.translate(pictures)
    assert converted.shape == pictures.shape and converted.dtype == np.uint8
    assert np.array_equal(model.translate(pictures[1:]), converted[1:])
    wide = pictures.repeat(3, 2)[:, ::2]
    assert model.translate(wide).shape == wide.shape == (2, 32, 192, 3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="multiple of 16"):
        replace(TINY, size=72)
    model = PixelDomainTransfer(TINY)
    with pytest.raises(BadInput, match="--batch 2"):
        next(model.play(Shirts().take([0]), Rng(0, [0])))
    with pytest.raises(BadInput, match="80x80 and should be 64x64"):
        next(model.play(Paired(torch.zeros(2, 3, 80, 80), torch.zeros(2, 3, 80, 80)), Rng(0, [0, 1])))
    with pytest.raises(BadInput, match="uint8"):
        model.translate(np.zeros((1, 64, 64, 3)))


def test_sgd_is_the_papers() -> None:
    (player,) = {type(p.optimiser(p.parameters())) for p in PixelDomainTransfer(TINY).players.values()}
    assert player is torch.optim.Adam
    optimiser = PixelDomainTransfer(replace(TINY, optimiser="sgd", converter_rate=2e-4)).players["converter"].optimiser
    groups = optimiser([nn.Parameter(torch.zeros(1))]).param_groups
    assert (groups[0]["momentum"], groups[0]["lr"]) == (0.9, 2e-4)


def test_weights_of_the_reimplementation_open() -> None:
    model = PixelDomainTransfer(replace(TINY, width=6))
    theirs = {"converter": "G.converter", "discriminator": "D.discriminator", "domain_discriminator": "A.discriminator"}
    released = {
        f"{theirs[network]}.{rest}": value
        for name, value in model.state_dict().items()
        for network, _, rest in [name.partition(".")]
    }
    opened = open_as("pixel-domain-transfer", released, "all", {})
    assert opened.config == model.config
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in opened.state_dict().items())
    with pytest.raises(BadCheckpoint, match="no place"):
        open_as("pixel-domain-transfer", released | {"G.converter.30.weight": torch.zeros(1)}, "all", {})
