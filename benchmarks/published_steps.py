"""Training steps of the authors' own programs, for `training.py` to hold ours against.

Each class finds its program in a folder, builds it at its published options and on a CPU, and steps it. Nothing of the
programs is changed; what they import and don't need for a training step is stood in for, see `stand_in`.
"""

from __future__ import annotations

import io
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch
import torch.utils.serialization
from torch import Tensor, nn

from limner.data.kinds import Labelled, Paired, Unpaired
from limner.nn.vgg import VGG
from limner.published import cyclegan, munit, pix2pix, spade
from limner.published.keys import renamed
from limner.rng import Rng


class Program(Protocol):
    folder: str
    """The repository's name."""

    def __init__(self, width: int) -> None: ...

    def weights(self) -> dict[str, Tensor]:
        """All weights under limner's names."""
        ...

    def step(self, batch: Any, rng: Rng) -> dict[str, Tensor]:
        """One training step; the players' losses, under limner's names."""
        ...


def drawn_vgg() -> VGG:
    """VGG-19 with the same random weights for everyone: what it computes is beside the point here, how long counts."""
    torch.manual_seed(19)
    return VGG(19, "relu5_1")


def stand_in(name: str, **contents: Any) -> None:
    """A module of this name with nothing but these contents; whatever else is asked of it is None."""
    module = ModuleType(name)
    for key, value in ({"__getattr__": lambda key: None} | contents).items():
        setattr(module, key, value)
    sys.modules[name] = module


def prepare(folder: Path) -> None:
    """Make a program's modules importable, and `.cuda()` do nothing.

    What the programs import and aren't given: torchvision, whose transforms load pictures and whose VGG-19 is built as
    `drawn_vgg`; SPADE's synchronised batch norm, a repository of its own, which is torch's on a single device; dill,
    yaml and load_lua, which read and write files.
    """
    sys.path.insert(0, str(folder))
    nn.Module.cuda = lambda self, *_: self
    Tensor.cuda = lambda self, *_: self
    vgg = Namespace(vgg19=lambda pretrained: drawn_vgg())
    stand_in("torchvision", models=vgg)
    for name in ("torchvision.transforms", "torchvision.utils", "dill", "yaml"):
        stand_in(name)
    torch.utils.serialization.load_lua = None
    stand_in("models.networks.sync_batchnorm", SynchronizedBatchNorm2d=nn.BatchNorm2d)


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def translation_options(**options: Any) -> Namespace:
    """What pix2pix and CycleGAN's program is told, by its defaults."""
    return Namespace(
        gpu_ids=[],
        isTrain=True,
        checkpoints_dir=tempfile.gettempdir(),
        name="benchmark",
        preprocess="resize_and_crop",
        direction="AtoB",
        input_nc=3,
        output_nc=3,
        netD="basic",
        n_layers_D=3,
        init_type="normal",
        init_gain=0.02,
        lr=2e-4,
        beta1=0.5,
        pool_size=50,
        **options,
    )


class Pix2Pix:
    folder = "pytorch-CycleGAN-and-pix2pix"

    def __init__(self, width: int) -> None:
        from models.pix2pix_model import Pix2PixModel

        options = translation_options(
            netG="unet_256", norm="batch", no_dropout=True, gan_mode="vanilla", lambda_L1=100.0, ngf=width, ndf=width
        )
        self.model = Pix2PixModel(options)

    def weights(self) -> dict[str, Tensor]:
        painter, judge = self.model.netG.state_dict(), self.model.netD.state_dict()
        names = pix2pix.unet_names(pix2pix.unet_depth(painter))
        return prefixed("generator", renamed(painter, names, "G")) | prefixed(
            "discriminator", renamed(judge, pix2pix.PATCH_NAMES, "D")
        )

    def step(self, batch: Paired, rng: Rng) -> dict[str, Tensor]:
        self.model.set_input({"A": batch.source, "B": batch.target, "A_paths": [], "B_paths": []})
        self.model.optimize_parameters()
        return {"generator": self.model.loss_G, "discriminator": self.model.loss_D}


class CycleGAN:
    folder = "pytorch-CycleGAN-and-pix2pix"

    def __init__(self, width: int) -> None:
        from models.cycle_gan_model import CycleGANModel

        options = translation_options(
            netG="resnet_9blocks", norm="instance", no_dropout=True, gan_mode="lsgan", ngf=width, ndf=width,
            lambda_A=10.0, lambda_B=10.0, lambda_identity=0.5,
        )  # fmt: skip
        self.model = CycleGANModel(options)

    def weights(self) -> dict[str, Tensor]:
        found = {}
        for theirs, ours in cyclegan.NETWORKS.items():
            state = getattr(self.model, f"net{theirs}").state_dict()
            names = cyclegan.resnet_names(state) if theirs.startswith("G") else pix2pix.PATCH_NAMES
            found |= prefixed(ours, renamed(state, names, theirs))
        return found

    def step(self, batch: Unpaired, rng: Rng) -> dict[str, Tensor]:
        self.model.set_input({"A": batch.a, "B": batch.b, "A_paths": [], "B_paths": []})
        self.model.optimize_parameters()
        return {"generators": self.model.loss_G, "discriminators": self.model.loss_D_A + self.model.loss_D_B}


class SPADE:
    folder = "SPADE"

    def __init__(self, width: int) -> None:
        from trainers.pix2pix_trainer import Pix2PixTrainer

        options = Namespace(
            gpu_ids=[], isTrain=True, continue_train=False, label_nc=182, contain_dontcare_label=True,
            no_instance=False, output_nc=3, crop_size=256, aspect_ratio=1.0, num_upsampling_layers="normal",
            use_vae=False, z_dim=256, netG="spade", ngf=width, norm_G="spectralspadesyncbatch3x3", netD="multiscale",
            netD_subarch="n_layer", num_D=2, n_layers_D=4, ndf=width, norm_D="spectralinstance", gan_mode="hinge",
            no_ganFeat_loss=False, lambda_feat=10.0, no_vgg_loss=False, lambda_vgg=10.0, init_type="xavier",
            init_variance=0.02, lr=2e-4, beta1=0.0, beta2=0.9, no_TTUR=False, semantic_nc=184,
        )  # fmt: skip
        self.trainer = Pix2PixTrainer(options)

    def weights(self) -> dict[str, Tensor]:
        model = self.trainer.pix2pix_model
        return (
            prefixed("generator", spade.ours(model.netG.state_dict(), spade.GENERATOR, "G"))
            | prefixed("discriminator", spade.ours(model.netD.state_dict(), spade.DISCRIMINATOR, "D"))
            | prefixed("vgg", drawn_vgg().state_dict())
        )

    def step(self, batch: Labelled, rng: Rng) -> dict[str, Tensor]:
        data = {"label": batch.classes[:, None], "instance": batch.instances[:, None], "image": batch.pictures}
        self.trainer.run_generator_one_step(data)
        self.trainer.run_discriminator_one_step(data)
        return {
            "generator": sum(self.trainer.g_losses.values()).mean(),
            "discriminator": sum(self.trainer.d_losses.values()).mean(),
        }


class MUNIT:
    folder = "MUNIT"

    def __init__(self, width: int) -> None:
        # The program is older than the underscores of torch.nn.init.
        for name in ("normal", "kaiming_normal", "constant", "xavier_normal", "orthogonal"):
            setattr(nn.init, name, getattr(nn.init, f"{name}_"))
        import trainer

        self.options = {
            "lr": 1e-4, "weight_decay": 1e-4, "beta1": 0.5, "beta2": 0.999, "init": "kaiming", "lr_policy": "step",
            "step_size": 100_000, "gamma": 0.5, "gan_w": 1, "recon_x_w": 10, "recon_s_w": 1, "recon_c_w": 1,
            "recon_x_cyc_w": 0, "vgg_w": 0, "display_size": 1, "input_dim_a": 3, "input_dim_b": 3,
            "gen": {"dim": width, "mlp_dim": 256, "style_dim": 8, "activ": "relu", "n_downsample": 2, "n_res": 4,
                    "pad_type": "reflect"},
            "dis": {"dim": width, "norm": "none", "activ": "lrelu", "n_layer": 4, "gan_type": "lsgan", "num_scales": 3,
                    "pad_type": "reflect"},
        }  # fmt: skip
        self.module = trainer
        self.model = trainer.MUNIT_Trainer(self.options)

    def weights(self) -> dict[str, Tensor]:
        found = {}
        for kind in ("gen", "dis"):
            for side in "ab":
                found |= prefixed(side, getattr(self.model, f"{kind}_{side}").state_dict())
        return munit.ours(found, "MUNIT")

    def step(self, batch: Unpaired, rng: Rng) -> dict[str, Tensor]:
        names = ("style to judge, a", "style to judge, b", "style, a", "style, b")
        draws = iter([rng.normal(name, 8)[..., None, None] for name in names])
        randn, torch.randn = torch.randn, lambda *_: next(draws)  # ours draws the same styles
        try:
            self.model.dis_update(batch.a, batch.b, self.options)
            self.model.gen_update(batch.a, batch.b, self.options)
        finally:
            torch.randn = randn
        return {"generators": self.model.loss_gen_total, "discriminators": self.model.loss_dis_total}


PROGRAMS: dict[str, type[Program]] = {"pix2pix": Pix2Pix, "cyclegan": CycleGAN, "munit": MUNIT, "spade": SPADE}


def opened(name: str, width: int, folder: Path) -> Program:
    """The program of this system, from a folder of repositories."""
    program = PROGRAMS[name]
    prepare((folder / program.folder).resolve())
    torch.manual_seed(0)
    with redirect_stdout(io.StringIO()):  # they print what they build
        return program(width)
