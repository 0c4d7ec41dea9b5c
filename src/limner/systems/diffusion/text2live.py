"""Text2LIVE: a painted layer over one picture, learned from that picture and CLIP alone (Bar-Tal et al., ECCV 2022).

A small generator is trained from nothing for every picture and every edit. It takes the picture to a layer of colours
and opacity; the layer over the picture is the edit. Textures and see-through effects (fire, snow, gold) are what it is
good at; it moves nothing, and adds no things. It knows nothing but what CLIP tells it, in five losses:

    composition   the whole fits its caption, and differs from what it was as the two captions differ
    screen        the layer alone, over a green screen, shows what it is to show
    structure     patches of the whole are as alike, one to another, as they were
    sparsity      no more opacity than it takes
    bootstrap     for the first steps, opacity where CLIP finds a region that is named
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from limner.diffusion import Progress
from limner.errors import BadInput, NotFinite
from limner.nn.clip import CLIP
from limner.rng import torch_rng
from limner.system import Drawing, from_uint8
from limner.systems.diffusion.pictures import check_picture

SCREEN = (0.0, 177 / 255, 64 / 255)
"""The green behind the layer."""

COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))
"""Square root of the covariance of colours in photographs: columns are directions, lightness first."""

TEMPLATES = (
    "photo of {}.", "high quality photo of {}.", "a photo of {}.", "the photo of {}.", "image of {}.",
    "an image of {}.", "high quality image of {}.", "a high quality image of {}.", "the {}.", "a {}.",
    "{}.", "{}", "{}!", "{}...",
)  # fmt: skip
SCREEN_TEMPLATES = ("{} over a green screen.", "{} in front of a green screen.")
"""A caption is encoded with all of them, and every step takes some."""

LONGEST = 4  # times the shorter side; what is longer is compressed

Watch = Callable[[int, dict[str, float]], None]
"""Sees the losses of every step, unweighted, by name."""


@dataclass(frozen=True)
class Config:
    """The published options for pictures."""

    down: int = 128  # channels of the generator's way down
    up: int = 128  # and up again
    skip: int = 4  # of what passes each scale by
    scales: int = 7
    size: int = 512  # shorter side that the generator sees, in pixels
    views: int = 16  # of a picture that CLIP is shown for each loss
    view: int = 224  # shorter side of a view
    longest_view: int = 320
    longest_structure: int = 380
    rate: float = 0.0025
    decay: float = 0.99  # of the rate, a step
    least_rate: float = 1e-5
    composition: float = 1.0  # weights of the losses
    screen: float = 1.0
    structure: float = 2.0
    sparsity: float = 6.0
    area: float = 0.01  # within sparsity: mean opacity
    count: float = 0.01  # within sparsity: about how many pixels aren't clear
    bootstrap: float = 10.0  # at first; falls to 0 in a line
    whole_every: int = 75  # steps between those that see the whole picture beside a crop
    published_grid: bool = False  # True: CLIP's positions on oblong views with their sides exchanged, as published

    def __post_init__(self) -> None:
        least = math.ceil(self.least / 0.68)  # a crop's shorter side is at least 0.8 * 0.85 of the picture's
        if self.size < least:
            raise BadInput(f"Text2LIVE with {self.scales} scales needs size={least} or more, not {self.size}.")

    @property
    def least(self) -> int:
        """Pixels a side that the generator needs, so that two are left to mirror at its coarsest scale."""
        return int(2**self.scales) + 1


@dataclass(frozen=True)
class Layered(Drawing):
    """Edited pictures, and the layers that edit them."""

    layers: np.ndarray = field(kw_only=True)  # uint8 (N, H, W, 4), RGB and opacity, not premultiplied


# The generator (section 3.1 and appendix A.1: a deep image prior, Ulyanov et al., 2018)


class Generator(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] -> layers (B, 4, H, W) in [0, 1]: colours and opacity.

    Batch norm takes the statistics of what it is given, when it paints the final layer, too: one picture is all that it
    ever sees.
    """

    decorrelation: Tensor

    def __init__(self, down: int = 128, up: int = 128, skip: int = 4, scales: int = 7) -> None:
        super().__init__()
        self.scales = nn.ModuleList()
        for scale in range(scales):
            below = up if scale + 1 < scales else down
            self.scales.append(Scale(down if scale else 3, down, below, up, skip, top=not scale))
        self.paint = nn.Conv2d(up, 4, 1)
        directions = torch.tensor(COLOURS) / torch.tensor([1.6, 1.0, 1.0])
        self.register_buffer("decorrelation", (directions / directions.norm(dim=0).max()).T.contiguous())

    def forward(self, pictures: Tensor) -> Tensor:
        painted = self.paint(self._through(0, pictures))
        colours = (painted[:, :3].movedim(1, -1) @ self.decorrelation).movedim(-1, 1)
        return torch.cat([colours, painted[:, 3:]], 1).sigmoid()

    def _through(self, number: int, x: Tensor) -> Tensor:
        scale: Scale = self.scales[number]  # type: ignore[assignment]  # a list of modules
        deep = scale.deep(x)
        if number + 1 < len(self.scales):
            deep = self._through(number + 1, deep)
        return scale.join(scale.skip(x), F.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False))


class Scale(nn.Module):
    """What happens at one resolution: a narrow way past it, a way down at half of it, and both together again."""

    def __init__(self, incoming: int, down: int, below: int, up: int, skip: int, *, top: bool) -> None:
        """Channels of what comes in, goes down, comes back from below, goes up, and passes by."""
        super().__init__()
        self.skip = convolution(incoming, skip, 1)
        self.deep = nn.Sequential(convolution(incoming, down, 3, stride=2), convolution(down, down, 3))
        self.joined = nn.BatchNorm2d(skip + below)
        self.up = convolution(skip + below, up, 3)
        self.mix = convolution(up, up, 1, norm=not top)

    def join(self, past: Tensor, deep: Tensor) -> Tensor:
        """Both cropped to the smaller around their centres, and mixed."""
        size = [min(sides) for sides in zip(past.shape[-2:], deep.shape[-2:], strict=True)]
        x = torch.cat([centre(past, size), centre(deep, size)], 1)
        mixed: Tensor = self.mix(self.up(self.joined(x)))
        return mixed


def convolution(incoming: int, outgoing: int, kernel: int, stride: int = 1, norm: bool = True) -> nn.Sequential:
    """A mirrored convolution, batch norm or none, and a leaky ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(incoming, outgoing, kernel, stride, kernel // 2, padding_mode="reflect"),
        *([nn.BatchNorm2d(outgoing)] if norm else []),
        nn.LeakyReLU(0.2),
    ]
    return nn.Sequential(*layers)


def centre(x: Tensor, size: Sequence[int]) -> Tensor:
    top, left = ((have - want) // 2 for have, want in zip(x.shape[-2:], size, strict=True))
    return x[..., top : top + size[0], left : left + size[1]]


@dataclass(frozen=True)
class Rendered:
    """A layer (B, 4, H, W), taken apart and laid over what is behind it (section 3.1); all in [0, 1]."""

    colours: Tensor  # (B, 3, H, W)
    alpha: Tensor  # (B, 1, H, W), opacity
    screen: Tensor  # (B, 3, H, W), over green
    composite: Tensor  # (B, 3, H, W), over the picture


def render(layer: Tensor, pictures: Tensor) -> Rendered:
    colours, alpha = layer[:, :3], layer[:, 3:]
    green = layer.new_tensor(SCREEN).view(1, 3, 1, 1)
    return Rendered(colours, alpha, alpha * colours + (1 - alpha) * green, alpha * colours + (1 - alpha) * pictures)


# What CLIP says (section 3.2)


def spherical(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance on the sphere of embeddings (..., D), which are broadcast: 2 asin(|x - y| / 2)^2."""
    chord = (F.normalize(x, dim=-1) - F.normalize(y, dim=-1)).norm(dim=-1)
    distance: Tensor = 2 * (chord / 2).arcsin().square().mean()
    return distance


def directional(before: Tensor, after: Tensor, words_before: Tensor, words_after: Tensor) -> Tensor:
    """1 - cosine of what changed in pictures (V, D) and in words (T, D), mean over all pairs (equation 5)."""
    seen, said = after - before, words_after - words_before
    return 1 - F.cosine_similarity(seen[:, None], said[None], dim=-1).mean()


def self_similarity(states: Tensor) -> Tensor:
    """Cosines (B, n, n) of CLIP's states (B, n, width), one with another: the lie of the land, without its looks."""
    length = states.norm(dim=-1, keepdim=True)
    cosines: Tensor = (states @ states.mT) / (length @ length.mT).clamp(min=1e-8)
    return cosines


def sparsity(alpha: Tensor, area: float, count: float) -> Tensor:
    """Equation 7: the mean opacity, and a smooth count of what isn't clear."""
    return area * alpha.mean() + count * (2 * (5 * alpha).sigmoid() - 1).mean()


def relevance(clip: CLIP, pictures: Tensor, words: Tensor) -> Tensor:
    """Where a picture shows what embeddings (1, D) say: maps (B, side, side) from 0 to 1 of pictures (B, 3, H, W).

    The attention of the last block, weighed by its gradient (Chefer et al., ICCV 2021, equations 5 and 6): what of the
    class' look at each patch makes picture and words more alike.
    """
    block = clip.network.vision_model.encoder.layers[-1]
    attention = block.self_attn
    square = F.interpolate(pictures, size=(clip.side, clip.side), mode="bilinear")
    with torch.no_grad():
        states = clip.states(clip.normalised(square))
        x = block.layer_norm1(states)
        query, key, value = (
            layer(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
        )  # (B, heads, n, width / heads) each
        shares = (query @ key.mT * attention.scale).softmax(-1)
    with torch.enable_grad():
        shares.requires_grad_()
        x = states + attention.out_proj((shares @ value).transpose(1, 2).flatten(2))
        seen = clip.pooled(x + block.mlp(block.layer_norm2(x)))
        (gradient,) = torch.autograd.grad(F.cosine_similarity(seen, words).sum(), shares)
    grid = (gradient * shares.detach()).clamp(min=0).mean(1)[:, 0, 1:]  # (B, patches)
    side = math.isqrt(grid.shape[1])
    maps = F.interpolate(grid.view(-1, 1, side, side), size=square.shape[-2:], mode="bilinear")[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)


# Views of a picture (appendix A.2): numbers that change nothing of what it shows, so that no single view is fooled


def views(picture: Tensor, config: Config, draws: torch.Generator) -> Tensor:
    """(1, 3, H, W) in [0, 1] -> (views, 3, h, w): the whole and crops of 60 to 100 % a side, each turned, tinted."""
    size = shorter_side(picture.shape[-2:], config.view, config.longest_view)
    found = []
    for number in range(config.views):
        part = crop(picture, uniform(draws, 0.6, 1.0), draws) if number else picture
        found.append(augmented(F.interpolate(part, size=size, mode="bilinear"), draws))
    return torch.cat(found)


def augmented(view: Tensor, draws: torch.Generator) -> Tensor:
    """(1, 3, h, w): mirrored half of the time, then turned by up to 15 degrees and moved by 10 %, seen from aside,
    tinted, greyed; white where there was nothing."""
    if chance(draws, 0.5):
        view = view.flip(-1)
    height, width = view.shape[-2:]
    if chance(draws, 0.8):
        angle = math.radians(uniform(draws, -15, 15))
        move = [2 * uniform(draws, -0.1, 0.1) for _ in range(2)]
        view = warped(view, turning(angle, move, width / height), fill=1.0)
    if chance(draws, 0.5):
        corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
        inward = 0.4 * torch.rand(4, 2, generator=draws)  # at most a fifth of a side
        view = warped(view, through(corners * (1 - inward), corners), fill=1.0)
    if chance(draws, 0.7):
        view = tinted(view, draws)
    if chance(draws, 0.15):
        view = grey(view).expand_as(view)
    return view


def turning(angle: float, move: Sequence[float], aspect: float) -> Tensor:
    """(3, 3) from places in the new picture to places in the old one, both in [-1, 1]; aspect is width by height."""
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cosine, sine / aspect, 0.0], [-sine * aspect, cosine, 0.0], [0.0, 0.0, 1.0]])
    return turn @ torch.tensor([[1.0, 0.0, -move[0]], [0.0, 1.0, -move[1]], [0.0, 0.0, 1.0]])


def through(new: Tensor, old: Tensor) -> Tensor:
    """The homography (3, 3) that takes four places (4, 2) to four others."""
    rows, values = [], []
    for (x, y), place in zip(new.tolist(), old.tolist(), strict=True):
        rows.append([x, y, 1, 0, 0, 0, -x * place[0], -y * place[0]])
        rows.append([0, 0, 0, x, y, 1, -x * place[1], -y * place[1]])
        values += place
    found = torch.linalg.solve(torch.tensor(rows, dtype=torch.float64), torch.tensor(values, dtype=torch.float64))
    return torch.cat([found, found.new_ones(1)]).view(3, 3).float()


def warped(picture: Tensor, homography: Tensor, *, fill: float) -> Tensor:
    """(1, 3, h, w), every pixel taken from where the homography says, bilinearly; `fill` outside."""
    height, width = picture.shape[-2:]
    x, y = ((2 * torch.arange(side) + 1) / side - 1 for side in (width, height))
    places = torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones(height, width)], -1) @ homography.T
    grid = (places[..., :2] / places[..., 2:])[None].to(picture)
    both = torch.cat([picture - fill, picture.new_ones(1, 1, height, width)], 1)
    return F.grid_sample(both, grid, align_corners=False)[:, :3] + fill


def tinted(picture: Tensor, draws: torch.Generator) -> Tensor:
    """Lightness, contrast, saturation and hue changed by up to a tenth each, in any order."""
    strength = [uniform(draws, 0.9, 1.1) for _ in range(3)]
    turn = uniform(draws, -0.1, 0.1)
    changes: list[Callable[[Tensor], Tensor]] = [
        lambda x: (x * strength[0]).clamp(0, 1),
        lambda x: torch.lerp(grey(x).mean(), x, strength[1]).clamp(0, 1),
        lambda x: torch.lerp(grey(x).expand_as(x), x, strength[2]).clamp(0, 1),
        lambda x: hue_turned(x, turn),
    ]
    for number in torch.randperm(len(changes), generator=draws).tolist():
        picture = changes[number](picture)
    return picture


def grey(picture: Tensor) -> Tensor:
    """(B, 3, h, w) -> (B, 1, h, w): luminance by BT.601's weights."""
    weights = picture.new_tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)
    return (picture * weights).sum(1, keepdim=True)


def hue_turned(picture: Tensor, turn: float) -> Tensor:
    """(B, 3, h, w) in [0, 1] with its hues turned by a share of the circle, in HSV (Smith, 1978)."""
    red, green, blue = picture.unbind(1)
    value, which = picture.max(1)
    chroma = value - picture.amin(1)
    some = torch.where(chroma > 0, chroma, 1.0)
    sector = torch.stack([(green - blue) / some, (blue - red) / some + 2, (red - green) / some + 4], 1)
    hue = sector.gather(1, which[:, None])[:, 0] + 6 * turn
    channels = []
    for offset in (5, 3, 1):
        place = (offset + hue) % 6
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, 1)


def crop(picture: Tensor, share: float, draws: torch.Generator) -> Tensor:
    """A part with this share of each side, anywhere."""
    height, width = (max(1, int(side * share)) for side in picture.shape[-2:])
    top, left = (
        int(torch.randint(have - want + 1, (), generator=draws))
        for have, want in zip(picture.shape[-2:], (height, width), strict=True)
    )
    return picture[..., top : top + height, left : left + width]


def training_crop(picture: Tensor, draws: torch.Generator) -> Tensor:
    """What the generator learns from in a step: the picture, seldom tinted, mirrored half of the time, 0.8 to 1.2 times
    as large, and 85 to 100 % of its sides."""
    if chance(draws, 0.1):
        picture = tinted(picture, draws)
    if chance(draws, 0.5):
        picture = picture.flip(-1)
    scale = uniform(draws, 0.8, 1.2)
    size = [int(side * scale) for side in picture.shape[-2:]]
    large = F.interpolate(picture, size=size, mode="bilinear", antialias=True).clamp(0, 1)
    return crop(large, uniform(draws, 0.85, 1.0), draws)


def shorter_side(size: Sequence[int], shorter: int, longest: float) -> tuple[int, int]:
    """Height and width with this shorter side, or the largest of the same shape with this longer one."""
    height, width = size
    scale = shorter / min(size)
    if scale * max(size) > longest:
        scale = longest / max(size)
    return max(1, int(height * scale + 1e-6)), max(1, int(width * scale + 1e-6))


def uniform(draws: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=draws).item()


def chance(draws: torch.Generator, share: float) -> bool:
    return uniform(draws, 0, 1) < share


# Training (section 4.1)


class Madgrad(torch.optim.Optimizer):
    """MADGRAD (Defazio and Jelassi, 2021, algorithm 1): dual averaging with the cube root of summed squares.

    With g the gradient and its weight decay, and w = rate sqrt(k + 1) in step k:
    s += w g,  v += w g^2,  z = x_0 - s / (v^(1/3) + eps),  x = momentum x + (1 - momentum) z.
    The published program adds eps to the rate, too, and so does this one.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], rate: float, momentum: float = 0.9, decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": momentum, "weight_decay": decay, "eps": 1e-6})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures here
        for group in self.param_groups:
            for x in group["params"]:
                if x.grad is None:
                    continue
                state = self.state[x]
                if not state:
                    state |= {"step": 0, "start": x.clone(), "sum": torch.zeros_like(x), "squares": torch.zeros_like(x)}
                weight = (group["lr"] + group["eps"]) * math.sqrt(state["step"] + 1)
                gradient = x.grad + group["weight_decay"] * x
                state["step"] += 1
                state["sum"].add_(gradient, alpha=weight)
                state["squares"].addcmul_(gradient, gradient, value=weight)
                z = state["start"] - state["sum"] / (state["squares"].pow(1 / 3) + group["eps"])
                x.lerp_(z, 1 - group["momentum"])


@dataclass(frozen=True)
class Aim:
    """Embeddings of what is asked: (templates, D) of the captions, (1, D) of the region."""

    before: Tensor
    after: Tensor
    screen: Tensor
    region: Tensor | None


class Text2LIVE:
    """Edits one picture at a time, and learns nothing from one to the next. Needs a CLIP; published with ViT-B/32."""

    def __init__(self, clip: CLIP, config: Config | None = None) -> None:
        self.clip = clip
        self.config = config or Config()

    def edit(
        self,
        picture: np.ndarray,
        words: str,
        *,
        before: str = "",
        screen: str | None = None,
        region: str | None = None,
        steps: int = 1000,
        count: int = 1,
        seed: int = 0,
        watch: Watch | None = None,
        progress: Progress | None = None,
    ) -> Layered:
        """uint8 (H, W, 3), what it is to show, and what it shows (`before`) -> `count` edits of seed, seed + 1, ...

        screen: what the layer alone shows; `words`, if not given
        region: where to begin ("horse"); CLIP points it out
        steps: of training, for each of the edits
        progress: hears `(done, total)`, of these, at the start and after each
        """
        check_picture(picture)
        if not words.strip() or not before.strip():
            raise BadInput(
                "Text2LIVE goes from one caption to another: say what the picture shows (before), and what it is to "
                "show."
            )
        if steps < 1 or count < 1:
            raise BadInput(f"Text2LIVE trains for one step or more, for one edit or more; not {steps} and {count}.")
        size = shorter_side(picture.shape[:2], self.config.size, math.inf)
        size = min(size[0], LONGEST * self.config.size), min(size[1], LONGEST * self.config.size)
        small = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR)
        source = ((from_uint8(np.asarray(small)) + 1) / 2)[None].to(self.clip.mean.device)
        aim = self.aim(before, words, screen or words, region)
        seeds = tuple(range(seed, seed + count))
        done = 0

        def stepped(step: int, losses: dict[str, float]) -> None:
            nonlocal done
            done += 1
            if watch:
                watch(step, losses)
            if progress:
                progress(done, count * steps)

        if progress:
            progress(0, count * steps)
        layers = np.stack([self._layer(source, aim, steps, each, picture.shape[:2], stepped) for each in seeds])
        opacity = layers[..., 3:].astype(np.float32) / 255
        composites = opacity * layers[..., :3] + (1 - opacity) * picture
        return Layered(composites.round().astype(np.uint8), None, seeds, layers=layers)

    @torch.no_grad()
    def aim(self, before: str, after: str, screen: str, region: str | None) -> Aim:
        def read(words: str, templates: Sequence[str]) -> Tensor:
            return self.clip.read(self.clip.tokens([template.format(words) for template in templates]))

        return Aim(
            read(before, TEMPLATES),
            read(after, TEMPLATES),
            read(screen, SCREEN_TEMPLATES),
            None if region is None else read(region, ("{}",)),
        )

    def _layer(
        self, source: Tensor, aim: Aim, steps: int, seed: int, size: tuple[int, ...], watch: Watch | None
    ) -> np.ndarray:
        """Train a generator on one picture (1, 3, h, w), and its layer, uint8 (H, W, 4)."""
        generator = self.trained(source, aim, steps, seed, watch)
        with torch.no_grad():
            layer = F.interpolate(generator(source), size=size, mode="bicubic", antialias=True)[0]
        return (255 * layer.clamp(0, 1)).round().byte().movedim(0, -1).cpu().numpy()

    def trained(self, source: Tensor, aim: Aim, steps: int, seed: int, watch: Watch | None = None) -> Generator:
        """A generator, trained on a picture (1, 3, h, w) in [0, 1] from nothing."""
        config = self.config
        with torch.random.fork_rng([]):  # first weights are drawn as torch draws them
            torch.manual_seed(torch_rng(seed, "text2live").initial_seed())
            generator = Generator(config.down, config.up, config.skip, config.scales).to(source)
        optimiser = Madgrad(generator.parameters(), config.rate, decay=0.01)
        for step in range(steps):
            draws = torch_rng(seed, "step", step)
            pictures = [training_crop(source, draws)] + [source] * (step % config.whole_every == 0)
            until = steps if aim.region is not None else 0
            terms = self.losses(generator, pictures, aim, draws)
            weights = self.weights | {"bootstrap": config.bootstrap * (1 - (step + 1) / max(1, until))}
            loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
            if not loss.isfinite():
                bad = ", ".join(name for name, value in terms.items() if not value.isfinite())
                raise NotFinite(f"Text2LIVE, step {step}: not finite ({bad}). Try another seed, or a lower rate.")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            for group in optimiser.param_groups:
                group["lr"] = max(config.least_rate, config.decay * group["lr"])
            if watch:
                watch(step, {name: value.item() for name, value in terms.items()})
        return generator

    @property
    def weights(self) -> dict[str, float]:
        config = self.config
        return {
            "caption": config.composition,
            "direction": config.composition,
            "screen": config.screen,
            "structure": config.structure,
            "sparsity": config.sparsity,
        }

    def losses(
        self, generator: Generator, pictures: Sequence[Tensor], aim: Aim, draws: torch.Generator
    ) -> dict[str, Tensor]:
        """The unweighted terms, each the mean over pictures (1, 3, h, w)."""
        config = self.config
        found: list[dict[str, Tensor]] = []
        for picture in pictures:
            made = render(generator(picture), picture)
            some = chosen(len(aim.after), draws)
            terms = {
                "caption": spherical(
                    self.seen(made.composite, draws)[:, None], aim.after[chosen(len(aim.after), draws)]
                ),
                "direction": directional(
                    self.seen(picture, draws), self.seen(made.composite, draws), aim.before[some], aim.after[some]
                ),
                "screen": spherical(self.seen(made.screen, draws)[:, None], aim.screen[chosen(len(aim.screen), draws)]),
                "structure": F.mse_loss(self.structure(made.composite), self.structure(picture)),
                "sparsity": sparsity(made.alpha, config.area, config.count),
            }
            if aim.region is not None:
                where = relevance(self.clip, picture, aim.region)
                small = F.interpolate(made.alpha, size=where.shape[-2:], mode="bilinear")[:, 0]
                terms["bootstrap"] = F.mse_loss(small, where)
            found.append(terms)
        return {name: torch.stack([terms[name] for terms in found]).mean() for name in found[0]}

    def seen(self, picture: Tensor, draws: torch.Generator) -> Tensor:
        """Embeddings (views, D) of fresh views of a picture (1, 3, h, w) in [0, 1]."""
        pixels = self.clip.normalised(views(picture, self.config, draws))
        return self.clip.look(pixels, published_grid=self.config.published_grid)

    def structure(self, picture: Tensor) -> Tensor:
        """Self-similarity (1, n, n) of a picture (1, 3, h, w) in [0, 1]."""
        config = self.config
        size = shorter_side(picture.shape[-2:], config.view, config.longest_structure)
        pixels = self.clip.normalised(F.interpolate(picture, size=size, mode="bilinear"))
        return self_similarity(self.clip.states(pixels, published_grid=config.published_grid))


def chosen(count: int, draws: torch.Generator) -> Tensor:
    """Numbers below `count`: one to all of them, some maybe twice."""
    many = int(torch.randint(1, count + 1, (), generator=draws))
    return torch.randint(count, (many,), generator=draws)
