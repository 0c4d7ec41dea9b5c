"""PG2: a person on a picture, painted in another pose, in two stages (Ma et al., NIPS 2017).

Stage I puts the person into the pose: a U-Net with a bottleneck of 64 numbers, which can carry a figure from one place
to another, paints all of it, and blurs. Stage II refines: it adds a difference map, learned against a discriminator,
and leaves what is right as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.joints import JOINTS
from limner.data.kinds import Posed
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.losses import cross_entropy
from limner.rng import Rng
from limner.system import Game, Player, System, adam, from_uint8, frozen, to_uint8

RADIUS = 4  # pixels, of a joint's disc
LIMBS = (
    (2, 3), (2, 6), (3, 4), (4, 5), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11), (2, 12), (12, 13), (13, 14), (2, 1),
    (1, 15), (15, 17), (1, 16), (16, 18), (2, 17), (2, 18), (9, 12), (12, 6), (9, 3), (17, 18),
)  # fmt: skip
"""Joints (from 1) between which a body is: the paper's skeleton, and lines across shoulders, hips and ears."""


class PG2(System):
    """Condition picture (B, 3, H, W) in [-1, 1] and target pose (B, 18, H, W), -1 or 1 -> the person in that pose."""

    config: Config
    preparation = Preparation(resize=(128, 64), crop=None, flip=False)

    @dataclass(frozen=True)
    class Config:
        """The defaults are those for Market-1501. The program for DeepFashion has a skip connection more in stage II,
        leaves stage I's picture out of the discriminator's batch, and has the refiner raise the condition's score, too.
        """

        program: Literal["market", "deepfashion"] = "market"
        size: tuple[int, int] = (128, 64)  # height and width; DeepFashion: 256, 256
        width: int = 128  # channels of the first layers
        code: int = 64  # numbers in the middle of stage I
        discriminator_width: int = 64
        l1: float = 10.0  # weight of the difference from the target in stage II; DeepFashion: 50 (paper: 1)
        learning_rate: float = 2e-5
        first_stage: int = 22_000  # steps of stage I; what follows is stage II

        def __post_init__(self) -> None:
            height, width = self.size
            multiple = 2 ** (self.blocks - 1)
            if height < 32 or height % multiple or width % multiple:
                raise BadInput(
                    f"size={list(self.size)}: pictures are 32 pixels high or more, and of this height, both sides are "
                    f"multiples of {multiple}."
                )

        @property
        def blocks(self) -> int:
            """Of stage I, the last of them at eight rows or so; stage II has two less."""
            return int(math.log2(max(1, self.size[0]))) - 2

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.integrator = Integrator(config.size, config.width, config.blocks, config.code)
        self.refiner = Refiner(config.width, config.blocks - 2, config.program == "deepfashion")
        self.discriminator = Discriminator(config.size, config.discriminator_width, config.blocks - 1)
        make = adam(config.learning_rate, betas=(0.5, 0.999))
        self.players = {
            "integrator": Player((self.integrator,), make),
            "refiner": Player((self.refiner,), make),
            "discriminator": Player((self.discriminator,), make),
        }

    def forward(self, condition: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures of stage I and of stage II, (B, 3, H, W). Neither is clipped to [-1, 1]."""
        coarse: Tensor = self.integrator(condition, pose)
        return coarse, coarse + self.refiner(coarse, condition)

    def play(self, batch: Posed, rng: Rng) -> Game:
        """Sections 3.1 and 3.2. Stage I learns alone and then stays as it is."""
        condition, target = batch.source, batch.target
        self._check(target)
        pose, body = self.pose(batch.target_joints), self.body(batch.target_joints)
        if rng.step < self.config.first_stage:
            yield "integrator", difference(self.integrator(condition, pose), target, body)
            return
        with torch.no_grad():
            coarse = self.integrator(condition, pose)
        refined = coarse + self.refiner(coarse, condition)
        with frozen(self.discriminator):
            scores = self.judge(target, condition, coarse, refined)
        raised = ["refined"] if self.config.program == "market" else ["refined", "condition"]
        fake = torch.cat([scores[name] for name in raised])
        weighted = {term: self.config.l1 * loss for term, loss in difference(refined, target, body).items()}
        yield "refiner", {"adversarial": cross_entropy(fake, True), **weighted}
        with torch.no_grad():  # by the refiner as it is now, after its step
            refined = coarse + self.refiner(coarse, condition)
        scores = self.judge(target, condition, coarse, refined)
        yield (
            "discriminator",
            {
                "real": cross_entropy(scores["target"], True) / 2,
                "condition": cross_entropy(scores["condition"], False) / 4,  # a real person in the wrong pose
                "fake": cross_entropy(scores["refined"], False) / 4,
            },
        )

    def judge(self, target: Tensor, condition: Tensor, coarse: Tensor, refined: Tensor) -> dict[str, Tensor]:
        """Raw scores (B,) of each. All go through the discriminator together: its batch norms know no other statistics
        than those of the pictures at hand, and what else is among them makes a difference."""
        pictures = {"target": target, "condition": condition, "coarse": coarse, "refined": refined}
        if self.config.program == "deepfashion":
            del pictures["coarse"]
        scores: Tensor = self.discriminator(torch.cat(list(pictures.values())))
        return dict(zip(pictures, scores.chunk(len(pictures)), strict=True))

    def pose(self, joints: Tensor) -> Tensor:
        """Joints (B, 18, 2) in pixels -> (B, 18, H, W): 1 on a joint's disc and -1 elsewhere."""
        return 2 * discs(joints[:, :, None], *self.config.size).float() - 1

    def body(self, joints: Tensor) -> Tensor:
        """Joints (B, 18, 2) in pixels -> (B, 1, H, W): 1 where the body is about, else 0 (M_B of eq. 2)."""
        return body(joints, *self.config.size)

    def preview(self, batch: Posed, rng: Rng) -> Tensor:
        """The condition, the joints of the target pose, both stages, and the target."""
        condition, target = batch.source[:4], batch.target[:4]
        pose = self.pose(batch.target_joints[:4])
        seen = pose.amax(1, keepdim=True).expand(-1, 3, -1, -1)
        return torch.stack([condition, seen, *self(condition, pose), target], 1).flatten(0, 1)

    @torch.inference_mode()
    def repose(self, pictures: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """See `Reposes`. Pictures of another size are resized to the system's own, and the results back."""
        if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8 or not pictures.size:
            raise BadInput(
                f"PG2 takes uint8 pictures (N, H, W, 3), at least one, not {pictures.dtype} {pictures.shape}."
            )
        if joints.shape != (len(pictures), len(JOINTS), 2) or joints.dtype.kind not in "fiu":
            raise BadInput(
                f"PG2 takes the joints of {len(pictures)} people, numbers ({len(pictures)}, {len(JOINTS)}, 2), x and y "
                f"in pixels and NaN where unseen, not {joints.dtype} {joints.shape}."
            )
        device, given = next(self.parameters()).device, pictures.shape[1:3]
        scale = torch.tensor([ours / theirs for ours, theirs in zip(self.config.size[::-1], given[::-1], strict=True)])
        points = (torch.from_numpy(joints.astype(np.float32)) + 0.5) * scale - 0.5
        condition = resized(from_uint8(pictures), self.config.size)
        _, refined = self(condition.to(device), self.pose(points.to(device)))
        return to_uint8(resized(refined, given))

    def _check(self, pictures: Tensor) -> None:
        if tuple(pictures.shape[-2:]) != self.config.size:
            (height, width), (rows, columns) = pictures.shape[-2:], self.config.size
            raise BadInput(
                f"The pictures are {width}x{height} and should be {columns}x{rows}. Resize them, or set size."
            )


def difference(painted: Tensor, target: Tensor, body: Tensor) -> dict[str, Tensor]:
    """Eq. 2, as two terms: mean absolute difference, and once more where the body is (0 or 1, (B, 1, H, W))."""
    distance = (painted - target).abs()
    return {"everywhere": distance.mean(), "body": (distance * body).mean()}


def discs(points: Tensor, height: int, width: int) -> Tensor:
    """Points (..., P, 2), x and y in pixels -> bool (..., H, W): what is within RADIUS of any. NaN has no disc."""
    x, y = points.trunc().unbind(-1)
    down = torch.arange(height, device=points.device) - y[..., None]  # (..., P, H)
    across = torch.arange(width, device=points.device) - x[..., None]
    near: Tensor = down.square()[..., None] + across.square()[..., None, :] <= RADIUS**2
    return near.any(-3)


def body(joints: Tensor, height: int, width: int) -> Tensor:
    """Joints (B, 18, 2) -> (B, 1, H, W), 0 or 1: discs along the limbs whose ends are both seen, closed by 5 x 5."""
    found = torch.zeros(len(joints), height, width, dtype=torch.bool, device=joints.device)
    for first, second in LIMBS:
        start, end = joints[:, first - 1], joints[:, second - 1]
        pieces = ((end - start).norm(dim=-1) // RADIUS).nan_to_num(1).clamp(1, height + width)  # no longer inside
        steps = torch.arange(int(pieces.max()) + 1, device=joints.device)
        along = (steps / pieces[:, None]).clamp(max=1)[..., None]  # (B, S, 1)
        found |= discs(start[:, None] + (end - start)[:, None] * along, height, width)
    dilated = F.max_pool2d(found[:, None].float(), 5, 1, 2)
    return -F.max_pool2d(-dilated, 5, 1, 2)


def resized(pictures: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(pictures.shape[-2:]) == tuple(size):
        return pictures
    return F.interpolate(pictures, list(size), mode="bicubic", antialias=True)


class Halving(nn.Conv2d):
    """Stride 2 on even sides, padded as TensorFlow does it: what is odd goes to the right and to the bottom."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__(channels, width, kernel, stride=2)
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        self.pads = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pads))


def two(channels: int, width: int) -> nn.Sequential:
    first, second = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def glorot(module: nn.Module) -> None:
    """First weights of both generators: uniform (Glorot and Bengio, 2010), biases 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # it has a bias


class Integrator(nn.Module):
    """Stage I, G1: picture (B, 3, H, W) and pose (B, 18, H, W) -> (B, 3, H, W), not clipped.

    The skip connections are at the places of the condition; the code in the middle is what moves.
    """

    def __init__(self, size: tuple[int, int], width: int, blocks: int, code: int) -> None:
        super().__init__()
        widths = [width * (k + 1) for k in range(blocks)]
        rows, columns = (side // 2 ** (blocks - 1) for side in size)
        joined = [width + widths[-1], *(2 * w for w in reversed(widths[:-1]))]  # with the skip connections
        self.first = nn.Conv2d(3 + len(JOINTS), width, 3, padding=1)
        self.encoder = nn.ModuleList(two(w, w) for w in widths)
        self.down = nn.ModuleList(Halving(w, wider, 3) for w, wider in pairwise(widths))
        self.squeeze = nn.Linear(rows * columns * widths[-1], code)
        self.expand = nn.Linear(code, rows * columns * width)
        self.decoder = nn.ModuleList(two(w, w) for w in joined)
        self.up = nn.ModuleList(nn.Conv2d(w, narrower, 1) for w, narrower in zip(joined, widths[-2::-1], strict=False))
        self.last = nn.Conv2d(joined[-1], 3, 3, padding=1)
        self.map = (rows, columns, width)
        self.apply(glorot)

    def forward(self, condition: Tensor, pose: Tensor) -> Tensor:
        x = self.first(torch.cat([condition, pose], 1)).relu()
        skips = []
        for k, block in enumerate(self.encoder):
            x = self.down[k - 1](x).relu() if k else x
            x = x + block(x)
            skips.append(x)
        x = self.expand(self.squeeze(x.movedim(1, -1).flatten(1)))  # cells in rows, each with all its channels
        x = x.unflatten(1, self.map).movedim(-1, 1)
        for k, block in enumerate(self.decoder):
            x = self.up[k - 1](doubled(x)).relu() if k else x
            x = torch.cat([x, skips.pop()], 1)
            x = x + block(x)
        painted: Tensor = self.last(x)
        return painted


class Refiner(nn.Module):
    """Stage II, G2: what stage I painted and the condition, each (B, 3, H, W) -> a difference map (B, 3, H, W)."""

    def __init__(self, width: int, blocks: int, outer_skip: bool) -> None:
        super().__init__()
        widths = [width * (k + 1) for k in range(blocks)]
        skipped = [*reversed(widths[1:]), width * outer_skip]
        self.outer_skip = outer_skip
        self.first = nn.Conv2d(6, width, 3, padding=1)
        self.encoder = nn.ModuleList(two(w, wider) for w, wider in pairwise([width, *widths]))
        self.down = nn.ModuleList(Halving(w, w, 3) for w in widths[:-1])
        before = [widths[-1], *[width] * (blocks - 1)]
        self.decoder = nn.ModuleList(two(w + skip, width) for w, skip in zip(before, skipped, strict=True))
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        self.apply(glorot)

    def forward(self, coarse: Tensor, condition: Tensor) -> Tensor:
        x = self.first(torch.cat([coarse, condition], 1)).relu()
        skips = []
        for k, block in enumerate(self.encoder):
            x = block(self.down[k - 1](x).relu() if k else x)
            skips.append(x)
        for k, block in enumerate(self.decoder):
            x = doubled(x) if k else x
            skip = skips.pop()
            x = block(torch.cat([x, skip], 1) if skips or self.outer_skip else x)
        found: Tensor = self.last(x)
        return found


def doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Discriminator(nn.Module):
    """DCGAN's: pictures (B, 3, H, W) -> raw scores (B,)."""

    def __init__(self, size: tuple[int, int], width: int, layers: int) -> None:
        super().__init__()
        widths = [width * min(2**layer, 8) for layer in range(layers)]
        stages: list[nn.Module] = [Halving(3, width, 5), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            norm = nn.BatchNorm2d(after, track_running_stats=False)
            stages += [Halving(before, after, 5), norm, nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*stages)
        self.score = nn.Linear(widths[-1] * (size[0] >> layers) * (size[1] >> layers), 1)
        for layer in [*self.layers, self.score]:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                spread = 0.02 * math.sqrt(3)  # uniform, with DCGAN's standard deviation
                nn.init.uniform_(layer.weight, -spread, spread)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has a bias

    def forward(self, pictures: Tensor) -> Tensor:
        scores: Tensor = self.score(self.layers(pictures).flatten(1))
        return scores[:, 0]
