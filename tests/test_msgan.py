from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.data.kinds import Captioned, Paired
from limner.errors import BadCheckpoint, BadInput
from limner.losses import mode_seeking
from limner.parity.check import verdict
from limner.parity.record import Record
from limner.published import open_as
from limner.rng import Rng, torch_rng
from limner.runs import Run
from limner.system import Draws, Styled, Translates
from limner.systems.translation.msgan import MSGAN
from limner.systems.translation.msgan_dcgan import MSGANDCGAN
from limner.train import Options, Trainer

RECORDS = Path(__file__).parent / "parity"
TINY = MSGAN.Config(style=2, depth=3, width=8, discriminator_width=8, discriminator_layers=1)
SMALL = MSGANDCGAN.Config(classes=("fox", "tree"), noise=4, width=4)


class Shades:
    """Noise whose targets have a shade that nothing in the source tells."""

    def take(self, numbers: Sequence[int]) -> Paired:
        def drawn(name: str, *shape: int) -> torch.Tensor:
            return torch.stack([torch.rand(shape, generator=torch_rng(0, name, n)) * 1.6 - 0.8 for n in numbers])

        return Paired(drawn("source", 3, 16, 16), drawn("shade", 1, 1, 1).expand(-1, 3, 16, 16))


@pytest.mark.parametrize("network", ["dcgan-cifar10", "pix2pix-losses"])
def test_it_is_the_published_one(network: str) -> None:
    result = verdict(RECORDS / f"msgan-{network}.json")
    assert result.passed, "\n".join(result.lines)


def test_the_term_is_one_ratio_for_the_whole_batch() -> None:
    pictures, others = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    codes, other_codes = torch.zeros(2, 1), torch.tensor([[1.0], [3.0]])
    assert mode_seeking(pictures, others, codes, other_codes).item() == pytest.approx(1 / (0.5 / 2 + 1e-5))
    assert mode_seeking(pictures, pictures, codes, other_codes).item() == pytest.approx(1e5)


def test_the_term_keeps_codes_apart(tmp_path: Path) -> None:
    spread = {}
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        config = replace(TINY, adversarial=0, l1=1, mode_seeking=weight, learning_rate=5e-3)
        model = MSGAN(config)
        options = Options(steps=45, batch=4, threads=1, sample=0, precision="fp32")
        Trainer("msgan", model, Shades(), Run(tmp_path / str(weight)), options).fit()
        source = Shades().take([1000]).source
        with torch.no_grad():
            one, other = (model.eval()(source, model.random_style(seed)) for seed in (1, 2))
        spread[weight] = (one - other).abs().mean().item()
    assert spread[1.0] > 5 * spread[0.0]


def test_both_pictures_are_judged_and_the_first_is_compared_with_the_target() -> None:
    torch.manual_seed(0)
    model = MSGAN(TINY)
    batch = Shades().take([0, 1])
    _, losses = next(model.play(batch, Rng(0, [0, 1])))
    codes = [Rng(0, [0, 1]).normal(name, 2) for name in ("style", "other style")]
    pictures = [model(batch.source, code) for code in codes]
    scores = [model.discriminator(torch.cat([batch.source, picture], 1)) for picture in pictures]
    fooled = sum((score - 1).square().mean() for each in scores for score in each)
    assert torch.allclose(losses["adversarial"], fooled)
    assert torch.allclose(losses["reconstruction"], 10 * (pictures[0] - batch.target).abs().mean())


def test_translating_is_by_seed_or_style() -> None:
    torch.manual_seed(0)
    model = MSGAN(TINY).eval()
    for layer in model.generator.downs:  # drawn weights are too small for a code to show in 8 bits
        layer.weight.data *= 30
    assert isinstance(model, Translates) and not isinstance(model, Styled)
    sources = np.random.default_rng(0).integers(0, 256, (2, 9, 21, 3), np.uint8)
    first = model.translate(sources, seed=1)
    assert first.shape == sources.shape and first.dtype == np.uint8
    assert np.array_equal(first, model.translate(sources, style=model.random_style(1)))
    assert not np.array_equal(first, model.translate(sources, seed=2))
    with pytest.raises(BadInput, match=r"\(1, 2\) or \(2, 2\)"):
        model.translate(sources, style=torch.zeros(3, 2))


def test_options_and_pictures_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match="nothing to learn"):
        replace(TINY, adversarial=0, l1=0)
    with pytest.raises(BadInput, match="depth 2"):
        replace(TINY, depth=1)
    with pytest.raises(BadInput, match="multiples of 8"):
        next(MSGAN(TINY).play(Paired(torch.zeros(1, 3, 12, 16), torch.zeros(1, 3, 12, 16)), Rng(0, [0])))


def test_a_class_is_named_in_words() -> None:
    torch.manual_seed(0)
    model = MSGANDCGAN(SMALL).eval()
    for layer in (model.generator[0], model.generator[3], model.generator[6], model.generator[9]):
        layer.weight.data *= 10
    assert isinstance(model, Draws)
    foxes, trees = (model.draw(words, count=3, seed=5) for words in ("a fox in the snow", "tree"))
    assert foxes.pictures.shape == (3, 32, 32, 3) and foxes.seeds == (5, 6, 7)
    assert np.array_equal(foxes.pictures[1:2], model.draw("fox", seed=6).pictures)
    assert not np.array_equal(foxes.pictures, trees.pictures)
    for words, named in [("a foxtrot", "none of them"), ("a fox under a tree", "fox and tree")]:
        with pytest.raises(BadInput, match=f"{words}' names {named}"):
            model.draw(words)
    with pytest.raises(BadInput, match="each once"):
        replace(SMALL, classes=("fox", "fox"))
    with pytest.raises(BadInput, match="32x32"):
        next(model.play(Captioned(torch.zeros(1, 3, 16, 16), ("fox",)), Rng(0, [0])))


def test_published_files_open_as_what_they_are() -> None:
    pair = open_as("msgan", Record.read(RECORDS / "msgan-pix2pix-losses.json").state(), "400_net_G.pth", {})
    assert pair.config == MSGAN.Config(width=8, discriminator_width=8)
    state = MSGANDCGAN(replace(SMALL, classes=tuple("abcdefghij"))).state_dict()
    names = {"0": "1", "1": "1_bn", "3": "2", "4": "2_bn", "6": "3", "7": "3_bn", "9": "4"}
    judging = {"0": "1", "2": "2", "3": "2_bn", "5": "3", "6": "3_bn", "8": "4"}
    released = {}
    for name, value in state.items():
        network, layer, entry = name.split(".")
        theirs = f"gen.deconv{names[layer]}" if network == "generator" else f"dis.conv{judging[layer]}"
        released[f"{theirs}.{entry}"] = value
    released["gen_opt.state.0.exp_avg"] = torch.zeros(3)
    old = {name: value for name, value in released.items() if not name.endswith("num_batches_tracked")}
    for file in (released, old):
        model = open_as("msgan-dcgan", file, "ckpt.pth", {})
        assert (model.config.noise, model.config.width, len(model.config.classes)) == (4, 4, 10)
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    with pytest.raises(BadCheckpoint, match="doesn't have: enc"):
        open_as("msgan-dcgan", released | {"enc.conv1.weight": torch.zeros(1)}, "ckpt.pth", {})
