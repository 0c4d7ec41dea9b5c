from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from limner.data.kinds import Unpaired
from limner.errors import BadInput
from limner.parity.compare import count
from limner.published import open_as
from limner.published.cyclegan import NETWORKS, resnet_names
from limner.published.pix2pix import PATCH_NAMES
from limner.rng import Rng, torch_rng
from limner.systems.translation.cyclegan import CycleGAN, History, ResNetGenerator
from playing import learn

TINY = CycleGAN.Config(size=(24, 32), width=4, blocks=1, discriminator_width=4, history=4)
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 13, 30, 3), np.uint8)


def tiny(**options) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(dataclasses.replace(TINY, **options))


def dark_and_bright(numbers) -> Unpaired:
    noise = [torch.rand(2, 3, 24, 32, generator=torch_rng(0, "noise", n)) * 0.6 for n in numbers]
    return Unpaired(torch.stack([a - 0.8 for a, _ in noise]), torch.stack([b + 0.2 for _, b in noise]))


def fakes(values) -> torch.Tensor:
    return torch.tensor([float(value) for value in values]).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def test_it_learns_what_the_domains_differ_in() -> None:
    model = tiny(identity=0.0, width=8)
    batch = dark_and_bright(range(1000, 1008))
    learn(model, dark_and_bright, steps=25, rate=4e-3)
    with torch.no_grad():
        assert model.a_to_b(batch.a).mean() > 0.1 and model.b_to_a(batch.b).mean() < -0.1


def test_generators_have_the_published_size() -> None:
    with torch.device("meta"):
        assert count(ResNetGenerator().parameters()) == 11_378_179
        assert count(ResNetGenerator(blocks=6).parameters()) == 7_837_699
        assert count(CycleGAN().judge_a.parameters()) == 2_764_737


def test_the_history_fills_first_and_then_shows_new_or_takes_in_exchange() -> None:
    history, exchanged = History(4, (2, 2)), 0
    assert torch.equal(history(fakes(range(4)), Rng(0, range(4)), "a"), fakes(range(4)))
    for number in range(4, 64):
        before = sorted(history.pictures[:, 0, 0, 0].tolist())
        shown = history(fakes([number]), Rng(0, [number]), "a")[0, 0, 0, 0].item()
        after = sorted(history.pictures[:, 0, 0, 0].tolist())
        if shown == number:
            assert after == before
        else:
            assert shown in before and after == sorted({*before, float(number)} - {shown})
            exchanged += 1
    assert 20 < exchanged < 40  # as often as not


def test_the_history_is_the_same_in_micro_batches() -> None:
    whole, parts = History(4, (2, 2)), History(4, (2, 2))
    shown = whole(fakes(range(12)), Rng(0, range(12)), "a")
    pieces = [parts(fakes(part), Rng(0, part), "a") for part in (range(5), range(5, 6), range(6, 12))]
    assert torch.equal(shown, torch.cat(pieces)) and torch.equal(whole.pictures, parts.pictures)


def test_the_discriminators_are_shown_the_past() -> None:
    model = tiny()
    model.past_a.filled.fill_(4)
    model.past_b.filled.fill_(4)  # full, of grey pictures
    batch, numbers = dark_and_bright(range(8)), range(8)
    seen = []
    model.judge_a.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    assert list(dict(model.play(batch, Rng(0, numbers)))) == ["generators", "discriminators"]
    fake, real, shown = seen
    assert torch.equal(real, batch.a)
    old = [not torch.equal(one, new) for one, new in zip(shown, fake, strict=True)]
    assert any(old) and not all(old) and not shown[old.index(True)].any()


def test_terms_that_are_switched_off_cost_nothing() -> None:
    calls = []
    model = tiny(identity=0.0, history=0)
    model.a_to_b.register_forward_hook(lambda *_: calls.append(1))
    moves = dict(model.play(dark_and_bright([0]), Rng(0, [0])))
    assert moves["generators"].keys() == {"adversarial_a", "adversarial_b", "cycle_a", "cycle_b"} and len(calls) == 2
    assert model.past_a.pictures.numel() == 0


def test_translating_there_and_back() -> None:
    model = tiny().eval()
    there, back = model.translate(PICTURES), model.translate(PICTURES, backwards=True)
    assert there.shape == back.shape == PICTURES.shape and there.dtype == np.uint8
    assert not np.array_equal(there, back)
    assert np.array_equal(model.translate(PICTURES[1:]), there[1:])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match=r"Set size=\(24, 24\)"):
        batch = dark_and_bright([0])
        list(tiny().play(Unpaired(batch.a[..., :24], batch.b), Rng(0, [0])))
    with pytest.raises(BadInput, match="multiples of 4"):
        CycleGAN.Config(size=(24, 30))
    with pytest.raises(BadInput, match="at least 5 pixels"):
        tiny().translate(PICTURES[:, :4])


def published(model: CycleGAN, network: str) -> dict[str, torch.Tensor]:
    """A network's weights as the published program saves them."""
    blocks = [f"model.{10 + i}.conv_block.5.weight" for i in range(model.config.blocks)]
    names = resnet_names(blocks) if network.startswith("G") else PATCH_NAMES
    theirs = {ours: name for name, ours in names.items()}
    state = getattr(model, NETWORKS[network]).state_dict()
    return {f"{network}.{theirs[name]}": value for name, value in state.items()}


def test_published_files_open_with_sizes_read_off_them() -> None:
    model = tiny(blocks=2)
    files = {name: value for network in NETWORKS for name, value in published(model, network).items()}
    opened = open_as("cyclegan", files, "file", {"size": (24, 32), "history": 4})
    assert opened.config == model.config
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in model.state_dict().items())


def test_one_direction_of_an_old_release_opens_alone() -> None:
    """PyTorch before 0.4 saved running statistics with instance norms, too."""
    model = tiny(blocks=2)
    old = published(model, "G_A") | {
        "G_A.model.2.running_mean": torch.ones(4),
        "G_A.model.2.running_var": torch.ones(4),
    }
    opened = open_as("cyclegan", old, "file", {})
    assert np.array_equal(opened.translate(PICTURES), model.eval().translate(PICTURES))
    assert not np.array_equal(opened.translate(PICTURES, backwards=True), model.translate(PICTURES, backwards=True))
