"""What the house asks of every system, each of them tiny. A new system gets these tests for a line in `CASES`."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import limner.systems
from label_world import Blocks
from limner import hub
from limner.data.kinds import (
    Captioned,
    Edits,
    Labelled,
    Masked,
    Paired,
    Pictures,
    Planned,
    Posed,
    Read,
    Retouched,
    Transferred,
    Unpaired,
)
from limner.errors import BadInput, CannotDo
from limner.rng import torch_rng
from limner.runs import Run
from limner.system import System, config_from
from limner.systems import TABLE, find
from limner.systems.diffusion.autoencoder import KLAutoencoder
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
from limner.systems.diffusion.latent import Autoencoder, LatentDiffusion, TextTower, UNet
from limner.systems.diffusion.pixel import PixelDiffusion
from limner.systems.pose.pg2 import PG2
from limner.systems.reader import StickerReader
from limner.systems.segmenter import Segmenter
from limner.systems.text.dalle_mini import DalleMini, Tokens
from limner.systems.text.dual_encoder import DualEncoder
from limner.systems.text.layout_painter import LayoutPainter
from limner.systems.text.patch_codes import PatchCodes
from limner.systems.text.retoucher import Retoucher
from limner.systems.text.scene_edits import Script
from limner.systems.text.storybook import Storybook
from limner.systems.text.storybook_edit import StorybookEdit
from limner.systems.text.vqgan import VQGAN
from limner.systems.translation.adain import AdaIN
from limner.systems.translation.bicyclegan import BicycleGAN
from limner.systems.translation.cross_domain import CrossDomain
from limner.systems.translation.cyclegan import CycleGAN
from limner.systems.translation.drit import DRIT
from limner.systems.translation.gcgan import GcGAN
from limner.systems.translation.msgan import MSGAN
from limner.systems.translation.msgan_dcgan import MSGANDCGAN
from limner.systems.translation.munit import MUNIT
from limner.systems.translation.pix2pix import Pix2Pix
from limner.systems.translation.pix2pixhd import Pix2PixHD
from limner.systems.translation.pixel_domain_transfer import PixelDomainTransfer
from limner.systems.translation.pixelnn import PixelNN
from limner.systems.translation.rfr_inpainting import RFRInpainting
from limner.systems.translation.sean import SEAN
from limner.systems.translation.spade import SPADE
from limner.systems.translation.unit import UNIT
from limner.systems.translation.unit_digits import DigitUNIT
from limner.systems.translation.unit_shared import SharedUNIT
from limner.systems.translation.upscaler import Upscaler
from limner.train import Options, Trainer


def pictures(numbers: Sequence[int], side: int, name: str = "picture") -> torch.Tensor:
    return torch.stack([torch.rand(3, side, side, generator=torch_rng(3, name, n)) * 2 - 1 for n in numbers])


def whole(numbers: Sequence[int], name: str, low: int, high: int, *shape: int) -> torch.Tensor:
    return torch.stack([torch.randint(low, high, shape, generator=torch_rng(3, name, n)) for n in numbers])


def letters(words: Sequence[str], **_: Any) -> SimpleNamespace:
    """Stands in for CLIP's tokeniser: six tokens, one a letter."""
    return SimpleNamespace(input_ids=torch.tensor([[ord(letter) % 18 for letter in f"{word:6}"[:6]] for word in words]))


def with_letters(system: Any) -> None:
    system.tokenizer = letters


BOOK = VQGAN.Config(
    width=32, multipliers=(1, 2), blocks=1, attention_levels=(1,), channels=16, codebook=12, code_width=8,
    discriminator_width=8, discriminator_start=1, revive=2, learning_rate=1e-3,
)  # fmt: skip
PAINTER = LayoutPainter.Config(
    ("sea", "town"), ("day", "night"), ("fox", "tree"), (1, 2), (0.0, 0.5), grid=(2, 3), things=2, codebook=12, width=8
)
UPSCALER = Upscaler.Config(factor=2, width=8, blocks=1)
DALLE_MINI = DalleMini.Config(
    text_vocabulary=6, image_vocabulary=12, width=32, encoder_layers=1, decoder_layers=1, heads=2, glu_width=48,
    text_length=6, grid=(2, 2), vqgan=BOOK, words=("fox", "tree"), warmup=1, ema=0.9,
)  # fmt: skip
JUDGE = DualEncoder.Config(
    text_vocabulary=6, text_length=6, codebook=12, grid=(2, 2), width=16, text_layers=1, picture_layers=1, heads=2,
    space=8,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    config: Any
    data: Callable[[Sequence[int]], Any] | None = None
    """The batch of these sample numbers; None: a system without training of its own."""
    complete: Callable[[Any], None] = lambda system: None
    """Adds what is not part of the weights."""

    def build(self, name: str, seed: int = 0) -> System:
        torch.manual_seed(seed)
        system = find(name)(self.config)
        self.complete(system)
        return system

    def take(self, numbers: Sequence[int]) -> Any:
        assert self.data is not None
        return self.data(numbers)


def tokens(numbers: Sequence[int]) -> Tokens:
    text = whole(numbers, "text", 3, 6, 6)
    text[:, 0], text[:, 4:] = 0, torch.tensor([2, 1])  # BEGIN, three words, END, PAD
    return Tokens(text, whole(numbers, "image", 0, 12, 4))


def unpaired(numbers: Sequence[int]) -> Unpaired:
    return Unpaired(pictures(numbers, 16), pictures(numbers, 16, "of the other domain"))


def planned(numbers: Sequence[int]) -> Planned:
    """Plans of a thing: place, time, then noun, left and bottom; the tokens count up in this order."""
    ends = [(1, 3), (3, 5), (5, 7), (7, 10), (10, 13), *3 * ((0, 1),)]
    plans = [whole(numbers, f"plan {i}", low, high, 1) for i, (low, high) in enumerate(ends)]
    return Planned(torch.cat(plans, -1), whole(numbers, "codes", 0, 12, 6))


READER = StickerReader.Config(
    nouns=("fox", "tree"),
    places=("sea", "town"),
    times=("day", "night"),
    seasons=("summer", "winter"),
    styles=("fluent", "noto"),
    weathers=("clear", "fog"),
    colours=("red", "blue"),
    width=8,
    features=16,
)
SCRIPT = Script(
    READER.places, READER.times, READER.seasons, READER.weathers, READER.styles, READER.nouns, ("foxes", "trees"),
    READER.colours,
)  # fmt: skip
RETOUCHER = Retoucher.Config(("gone", "red"), READER.nouns, widths=(8, 8), told=8)
CASES = {
    "pixelnn": Case(
        PixelNN.Config(
            size=(12, 12),
            layers=("relu1_2", "relu2_1"),
            width=4,
            hidden=8,
            padding=2,
            descriptor_padding=2,
            pixels=9,
            exemplars=3,
        ),
        lambda numbers: Paired(pictures(numbers, 12, "source"), pictures(numbers, 12, "target")),
    ),
    "pixel-domain-transfer": Case(
        PixelDomainTransfer.Config(width=4, discriminator_width=4),
        lambda numbers: Paired(pictures(numbers, 64, "source"), pictures(numbers, 64, "target")),
    ),
    "msgan": Case(
        MSGAN.Config(style=2, depth=3, width=4, discriminator_width=4, discriminator_layers=1),
        lambda numbers: Paired(pictures(numbers, 16, "source"), pictures(numbers, 16, "target")),
    ),
    "msgan-dcgan": Case(
        MSGANDCGAN.Config(classes=("fox", "tree"), noise=3, width=4),
        lambda numbers: Captioned(pictures(numbers, 32), tuple(("a fox", "a tree")[n % 2] for n in numbers)),
    ),
    "adain": Case(
        AdaIN.Config(width=8),
        lambda numbers: Unpaired(pictures(numbers, 12, "a"), pictures(numbers, 12, "b")),
    ),
    "bicyclegan": Case(
        BicycleGAN.Config(
            style=2, depth=3, encoder_depth=2, width=4, encoder_width=4, discriminator_width=4, discriminator_layers=1
        ),
        lambda numbers: Paired(pictures(numbers, 16, "source"), pictures(numbers, 16, "target")),
    ),
    "cross-domain": Case(
        CrossDomain.Config(size=64, width=2, exclusive=2),
        lambda numbers: Paired(pictures(numbers, 64), pictures(numbers, 64, "of the other domain")),
    ),
    "cyclegan": Case(
        CycleGAN.Config(size=(24, 24), width=4, blocks=1, discriminator_width=4, history=3),
        lambda numbers: Unpaired(pictures(numbers, 24, "a"), pictures(numbers, 24, "b")),
    ),
    "dalle-mini": Case(DALLE_MINI, tokens),
    "drit": Case(
        DRIT.Config(width=2, style_width=2, discriminator_width=2, scales=2, content_depth=1, content_steps=1),
        lambda numbers: Unpaired(pictures(numbers, 44), pictures(numbers, 44, "of the other domain")),
    ),
    "dual-encoder": Case(JUDGE, tokens),
    "gcgan": Case(
        GcGAN.Config(size=(24, 24), shared=False, width=4, blocks=1, discriminator_width=4, history=3),
        lambda numbers: Unpaired(pictures(numbers, 24, "a"), pictures(numbers, 24, "b")),
    ),
    "instruct-pix2pix": Case(
        InstructPix2Pix.Config(
            autoencoder=Autoencoder(widths=(32, 32), blocks=1),
            text=TextTower(vocabulary=20, width=16, depth=1, heads=2, hidden=16, tokens=6),
            unet=UNet(widths=(32, 32), attention=(True, False), blocks=1, heads=2),
            size=(16, 16),
            dropout=0.3,
        ),
        lambda numbers: Edits(
            pictures(numbers, 16, "before"),
            tuple(f"fox {n}" for n in numbers),
            pictures(numbers, 16, "after"),
            tuple(f"fox {n}" for n in numbers),
            tuple(f"ox {n}" for n in numbers),
        ),
        with_letters,
    ),
    "kl-autoencoder": Case(
        KLAutoencoder.Config(
            autoencoder=Autoencoder(widths=(32, 32), blocks=1), crop=24, discriminator_start=0, discriminator_width=8
        ),
        lambda numbers: Pictures(pictures(numbers, 32)),
    ),
    "latent-diffusion": Case(
        LatentDiffusion.Config(
            autoencoder=Autoencoder(widths=(32, 32), blocks=1),
            text=TextTower(vocabulary=20, width=16, depth=1, heads=2, hidden=16, tokens=6),
            unet=UNet(widths=(32, 32), attention=(True, False), blocks=1, heads=2),
            size=(16, 16),
            warmup=1,
        ),
        lambda numbers: Captioned(pictures(numbers, 16), tuple(f"fox {n}" for n in numbers)),
        with_letters,
    ),
    "layout-painter": Case(PAINTER, planned),
    "munit": Case(
        MUNIT.Config(width=4, downs=1, blocks=1, style_width=2, discriminator_depth=2, scales=2, cycle=1.0),
        unpaired,
    ),
    "patch-codes": Case(PatchCodes.Config(codebook=8, patch=4)),
    "pg2": Case(
        PG2.Config(size=(32, 16), width=2, code=3, discriminator_width=2, first_stage=1),
        lambda numbers: Posed(
            pictures(numbers, 32, "source")[..., :16],
            whole(numbers, "joints", 0, 16, 18, 2).float(),
            pictures(numbers, 32, "target")[..., :16],
            whole(numbers, "target joints", 0, 16, 18, 2).float(),
        ),
    ),
    "pix2pix": Case(
        Pix2Pix.Config(width=4, depth=3, field=34, discriminator_width=4),
        lambda numbers: Paired(pictures(numbers, 16), pictures(numbers, 16, "target")),
    ),
    "pix2pixhd": Case(
        Pix2PixHD.Config(
            classes=3,
            features=2,
            clusters=2,
            width=4,
            downsamplings=1,
            blocks=1,
            enhancers=1,
            enhancer_blocks=1,
            encoder_width=4,
            encoder_downsamplings=1,
            discriminator_width=4,
            discriminator_layers=2,
        ),
        Blocks().take,
    ),
    "pixel-diffusion": Case(
        PixelDiffusion.Config(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(8,), timesteps=8),
        lambda numbers: Pictures(pictures(numbers, 16)),
    ),
    "sean": Case(
        SEAN.Config(
            classes=3,
            size=(32, 32),
            width=2,
            code=4,
            encoder_width=2,
            discriminator_width=4,
            discriminator_layers=2,
        ),
        Blocks(32).take,
    ),
    "spade": Case(
        SPADE.Config(
            classes=3,
            size=(32, 32),
            width=2,
            vae=True,
            style=4,
            encoder_width=2,
            discriminator_width=4,
            discriminator_layers=2,
        ),
        Blocks(32).take,
    ),
    "sticker-reader": Case(
        READER,
        lambda numbers: Read(
            pictures(numbers, 32),
            torch.cat([whole(numbers, "noun", 0, 2, 2, 1), whole(numbers, "cell", 0, 4, 2, 2)], -1),
            whole(numbers, "colour", 0, 3, 2),
            whole(numbers, "side", 1, 13, 2),
            *(whole(numbers, kind, 0, 2) for kind in ("places", "times", "seasons", "styles", "weathers")),
        ),
    ),
    "retoucher": Case(
        RETOUCHER,
        lambda numbers: Retouched(
            pictures(numbers, 16),
            pictures(numbers, 16, "region")[:, :1] > 0,
            whole(numbers, "noun", 0, 3),
            whole(numbers, "change", 0, 2),
            pictures(numbers, 16, "after"),
        ),
    ),
    "rfr-inpainting": Case(
        RFRInpainting.Config(width=8, iterations=2),
        lambda numbers: Masked(pictures(numbers, 32), pictures(numbers, 32, "mask")[:, :1] > 0.5),
    ),
    "segmenter": Case(
        Segmenter.Config(classes=3, width=8),
        lambda numbers: Labelled(
            pictures(numbers, 16),
            whole(numbers, "classes", 0, 3, 16, 16),
            whole(numbers, "instances", 0, 3, 16, 16),
        ),
    ),
    "storybook": Case(
        Storybook.Config(
            painter=PAINTER,
            planner=dataclasses.replace(
                DALLE_MINI, image_vocabulary=PAINTER.vocabulary, grid=(1, PAINTER.length), vqgan=None
            ),
            book=PatchCodes.Config(codebook=12, patch=4, channels=4),
            codec=PatchCodes.Config(codebook=12, patch=4),
            judge=JUDGE,
            upscaler=UPSCALER,
        )
    ),
    "storybook-edit": Case(
        StorybookEdit.Config(
            script=SCRIPT,
            eyes=READER,
            planner=dataclasses.replace(
                DALLE_MINI, image_vocabulary=len(SCRIPT.tokens), grid=(1, SCRIPT.length), vqgan=None
            ),
            retoucher=RETOUCHER,
        )
    ),
    "unit": Case(UNIT.Config(width=4, downs=1, blocks=1, discriminator_depth=2, scales=2), unpaired),
    "unit-digits": Case(
        DigitUNIT.Config(width=4, discriminator_width=4),
        lambda numbers: Transferred(
            pictures(numbers, 32), pictures(numbers, 32, "of the other domain"), whole(numbers, "class", 0, 10)
        ),
    ),
    "unit-shared": Case(
        SharedUNIT.Config(
            width=4, downs=1, encoder_blocks=1, decoder_blocks=1, discriminator_width=4, own_layers=1, shared_layers=1
        ),
        unpaired,
    ),
    "upscaler": Case(
        UPSCALER,
        lambda numbers: Paired(pictures(numbers, 8), pictures(numbers, 16, "large")),
    ),
    "vqgan": Case(BOOK, lambda numbers: Pictures(pictures(numbers, 32))),
}
TRAINED = sorted(name for name, case in CASES.items() if case.data)
every_system = pytest.mark.parametrize("name", sorted(CASES))
every_trained_system = pytest.mark.parametrize("name", TRAINED)


def train(name: str, path: Path, steps: int, **options: Any) -> Trainer:
    case = CASES[name]
    fixed = Options(steps=steps, batch=2, threads=1, save=1e9, sample=2, log=1, precision="fp32")
    trainer = Trainer(name, case.build(name), case, Run(path), dataclasses.replace(fixed, **options))
    trainer.fit()
    return trainer


def saved(path: Path) -> dict[str, torch.Tensor]:
    checkpoint, complaints = Run(path).newest(training=True)
    assert checkpoint is not None and not complaints
    return checkpoint.weights | checkpoint.optimizer


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def test_the_cases_cover_the_table() -> None:
    assert CASES.keys() == TABLE.keys()


def test_the_table_is_what_the_folders_hold() -> None:
    folder = Path(limner.systems.__file__).parent
    found = set()
    for file in folder.rglob("*.py"):
        module = importlib.import_module(".".join(["limner.systems", *file.relative_to(folder).with_suffix("").parts]))
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, System) and value.__module__ == module.__name__:
                assert dataclasses.is_dataclass(value.Config), f"{value} has no Config"
                found.add(f"{module.__name__}:{value.__name__}")
    assert found == set(TABLE.values())


@every_system
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    one, same, other = (CASES[name].build(name, seed).state_dict() for seed in (0, 0, 1))
    assert_same(one, same)
    drawn = any(True for _ in find(name)(CASES[name].config).parameters())
    assert drawn == any(not torch.equal(one[key], other[key]) for key in one)


@every_system
def test_a_config_survives_json(name: str) -> None:
    config = CASES[name].config
    assert config_from(type(config), json.loads(json.dumps(dataclasses.asdict(config))), name) == config


@every_system
def test_unknown_and_misfitting_options_are_refused(name: str) -> None:
    config = CASES[name].config
    values = dataclasses.asdict(config)
    with pytest.raises(BadInput, match=f"{name}: colour is no option of this system. It has: {next(iter(values))}"):
        config_from(type(config), values | {"colour": 1}, name)
    for option, value in values.items():
        wrong = 3 if isinstance(value, str) else "many"
        with pytest.raises(BadInput, match=option):
            config_from(type(config), values | {option: wrong}, name)


@every_system
def test_a_model_folder_gives_the_system_back(name: str, tmp_path: Path) -> None:
    system = CASES[name].build(name)
    hub.save(system, name, tmp_path / "model", card="# A test\n")
    loaded = hub.load(tmp_path / "model")
    assert type(loaded) is type(system) and loaded.config == system.config and not loaded.training
    assert_same(system.state_dict(), loaded.state_dict())


@every_trained_system
def test_two_steps_are_finite_and_move_every_player(name: str, tmp_path: Path) -> None:
    before = CASES[name].build(name)
    trainer = train(name, tmp_path, 2)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    terms = {term: value for line in lines for term, value in line.items() if "/" in term}
    assert {term.split("/")[0] for term in terms} == set(trainer.system.players)
    assert all(term.split("/")[1].replace("_", "").isalpha() and math.isfinite(terms[term]) for term in terms)
    for player, old in before.players.items():
        moved = [
            not torch.equal(a, b)
            for a, b in zip(old.parameters(), trainer.system.players[player].parameters(), strict=True)
        ]
        assert any(moved), f"{player} stands still"
    assert all(torch.isfinite(value).all() for value in trainer.system.state_dict().values())
    if type(trainer.system).preview is not System.preview:
        assert (tmp_path / "samples" / "00000002.png").read_bytes().startswith(b"\x89PNG")


@every_trained_system
def test_stopping_and_resuming_changes_no_bit(name: str, tmp_path: Path) -> None:
    train(name, tmp_path / "whole", 3, sample=0)
    for stop in (1, 3):
        train(name, tmp_path / "parts", stop, sample=1)
    assert_same(saved(tmp_path / "whole"), saved(tmp_path / "parts"))


@every_trained_system
def test_a_run_can_be_loaded_where_a_model_can(name: str, tmp_path: Path) -> None:
    trainer = train(name, tmp_path, 1, sample=0)
    loaded = hub.load(tmp_path)
    averaged = {n.removeprefix("ema.") for n in saved(tmp_path) if n.startswith("ema.")}
    mine = trainer.system.state_dict()
    assert all(torch.equal(value, mine[key]) for key, value in loaded.state_dict().items() if key not in averaged)


@every_trained_system
def test_bf16_trains(name: str, tmp_path: Path) -> None:
    trainer = train(name, tmp_path, 1, sample=0, precision="bf16")
    assert all(parameter.dtype == torch.float32 for parameter in trainer.system.parameters())
    assert all(torch.isfinite(value).all() for value in trainer.system.state_dict().values())


@pytest.mark.parametrize("name", sorted(set(CASES) - set(TRAINED)))
def test_what_has_no_training_says_so(name: str, tmp_path: Path) -> None:
    system = CASES[name].build(name)
    assert system.players == {}
    with pytest.raises(CannotDo, match="has no training of its own"):
        Trainer(name, system, Noise(), Run(tmp_path), Options(steps=1, batch=1, threads=1)).fit()


class Noise:
    def take(self, numbers: Sequence[int]) -> Pictures:
        return Pictures(pictures(numbers, 8))
