"""What every published system is made of: `System`, `Player`, the training game, and the abilities.

A system writes its training as the paper writes its algorithm: `play` is a generator that yields a player's name
and that player's named, already weighted losses. The trainer backpropagates their sum into the parameters that the
player owns, steps it, and resumes the generator.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass
from types import UnionType
from typing import Any, ClassVar, Literal, Protocol, Union, get_args, get_origin, get_type_hints, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from limner.data.prepare import Preparation
from limner.errors import BadInput, CannotDo
from limner.rng import Rng

Losses = Mapping[str, Tensor]
"""Loss terms by the paper's names: scalars, already weighted."""

Game = Generator[tuple[str, Losses], None, None]
"""What `System.play` returns: it yields `(player, losses)` once for every optimiser step of a training step."""

OptimiserMaker = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def constant(step: int) -> float:
    """A learning rate that stays as it is."""
    return 1.0


def warmup(steps: int) -> Callable[[int], float]:
    """A factor that rises linearly from 1/steps to 1 over the first `steps` steps."""
    return lambda step: min(1.0, (step + 1) / steps)


def falling(steps: int) -> Callable[[int], float]:
    """A factor that falls linearly from 1 to a twentieth over the first `steps` steps, and stays there."""
    return lambda step: max(0.05, 1 - step / steps)


def waning(steps: int, warm: int = 100) -> Callable[[int], float]:
    """A factor that rises over the first `warm` steps and falls on half a cosine to a fiftieth at `steps`."""
    return lambda step: min(1.0, (step + 1) / warm) * max(0.02, 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


def halving(steps: int) -> Callable[[int], float]:
    """A factor that halves after every `steps` steps."""
    return lambda step: float(0.5 ** (step // steps))


def held_then_falling(hold: int, fall: int) -> Callable[[int], float]:
    """A factor of 1 for the first `hold` steps, which then falls linearly and reaches 0 after `fall` more."""
    return lambda step: min(1.0, max(0.0, 1 - (step + 1 - hold) / (fall + 1)))


def adam(
    rate: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, decay: float = 0.0
) -> OptimiserMaker:
    """Adam (Kingma and Ba, 2015). `decay` is the old kind: added to the gradient, before the moments."""
    return lambda parameters: torch.optim.Adam(parameters, rate, betas, eps, decay, fused=True)


def adamw(
    rate: float, betas: tuple[float, float] = (0.9, 0.999), decay: float = 0.01, eps: float = 1e-8
) -> OptimiserMaker:
    """AdamW (Loshchilov and Hutter, 2019)."""
    return lambda parameters: torch.optim.AdamW(parameters, rate, betas, eps, decay, fused=True)


@dataclass(frozen=True)
class Player:
    """One side of a training game.

    modules: the modules (or single parameters) that this player's losses may change
    optimiser: makes the optimiser from their parameters
    rate: factor on the optimiser's learning rate, as a function of the step (from 0)
    ema: decay of an exponential moving average of the parameters for each of its updates, or None
    ema_updates: how often a step it is updated; some programs do it after every micro-batch
    clip: largest norm of the player's gradient, or None
    """

    modules: tuple[nn.Module | nn.Parameter, ...]
    optimiser: OptimiserMaker
    rate: Callable[[int], float] = constant
    ema: float | None = None
    ema_updates: int = 1
    clip: float | None = None

    def kept(self, step: int) -> float:
        """The share of itself that the moving average keeps of what it was before optimiser step `step` (from 0) when
        the next begins. Update n, counted from 1, keeps (1 + n) / (10 + n) until that reaches `ema`: a young average
        forgets its random start. (Of the updates after micro-batches, the last in a step is the first to see it.)"""
        first = self.ema_updates * (step + 1)
        updates = range(first, first + self.ema_updates)
        return math.prod(min(self.ema or 0.0, (1 + n) / (10 + n)) for n in updates)

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters that the player owns, each once, in a fixed order."""
        found: dict[int, nn.Parameter] = {}
        for module in self.modules:
            for parameter in [module] if isinstance(module, nn.Parameter) else module.parameters():
                if parameter.requires_grad:
                    found.setdefault(id(parameter), parameter)
        return list(found.values())


class System(nn.Module):
    """A published method. `Config` is a frozen dataclass; the constructor takes one, or nothing for its defaults."""

    Config: ClassVar[type]
    preparation: ClassVar[Preparation] = Preparation()
    """How pictures of a folder are resized, cropped and mirrored to train on, as the published loader does it."""
    players: dict[str, Player]

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def play(self, batch: Any, rng: Rng) -> Game:
        """One training step on `batch`, written as the paper's algorithm. All randomness comes from `rng`."""
        raise CannotDo(f"{type(self).__name__} has no training of its own.")
        yield

    def conclude(self, batches: Iterable[Any]) -> None:
        """What is learned once, when the training ends or stops for its budget: from the training data, each sample of
        a folder once, or thousands of what has no end. For what needs weights that stay. Nothing by default."""

    def preview(self, batch: Any, rng: Rng) -> Tensor:
        """Pictures `(N, 3, H, W)` in [-1, 1] that show a person how far the training has come."""
        raise CannotDo(f"{type(self).__name__} has nothing to show while it trains.")


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Parameters of `modules` take no gradients inside: gradients still flow through to what came before."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def config_from(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """A config dataclass of `kind` from JSON values. A name that it doesn't have, or a value of another type than the
    field's, is `BadInput`, which says `where` and what would do."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - set(fields)):
        raise BadInput(f"{where}: {', '.join(unknown)} is no option of this system. It has: {', '.join(fields)}.")
    hints = get_type_hints(kind)

    def plain(value: Any) -> Any:
        return tuple(plain(item) for item in value) if isinstance(value, list) else value

    checked = {name: plain(value) for name, value in values.items()}
    for name, value in checked.items():
        if not _fits(value, hints[name]):
            raise BadInput(f"{where}: {name} can't be {value!r}; it is of type {fields[name].type}.")
    if missing := [n for n, f in fields.items() if n not in checked and f.default is f.default_factory is MISSING]:
        raise BadInput(f"{where}: this system needs its {', '.join(missing)} to be given.")
    return kind(**checked)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value may stand where a config says `hint`. A nested config may still be a mapping."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        each = arguments[:1] * len(value) if arguments[-1] is ... and isinstance(value, tuple) else arguments
        return isinstance(value, tuple) and len(value) == len(each) and all(map(_fits, value, each))
    if dataclasses.is_dataclass(hint):
        return isinstance(value, Mapping | hint)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def to_uint8(pictures: Tensor) -> np.ndarray:
    """Pictures `(..., 3, H, W)` in [-1, 1] as uint8 `(..., H, W, 3)`: clipped and rounded."""
    scaled = (pictures.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).movedim(-3, -1).contiguous().numpy()


def from_uint8(pictures: np.ndarray) -> Tensor:
    """uint8 pictures `(..., H, W, 3)` as float `(..., 3, H, W)` in [-1, 1]."""
    return torch.from_numpy(np.array(pictures, order="C")).movedim(-1, -3).float() / 127.5 - 1


# ---------------------------------------------------------------------------------------------------- abilities


@dataclass(frozen=True)
class Drawing:
    """Pictures drawn from words, best first when they were scored.

    pictures: uint8 `(N, H, W, 3)`
    scores: text-picture score of each, higher is better, or None when the system can't score
    seeds: the seed that makes each picture again on its own
    unknown: words of the prompt that the model does not know, in order
    """

    pictures: np.ndarray
    scores: tuple[float, ...] | None
    seeds: tuple[int, ...]
    unknown: tuple[str, ...] = ()


@runtime_checkable
class Draws(Protocol):
    """words -> pictures"""

    def draw(self, words: str, *, count: int = 1, seed: int = 0) -> Drawing: ...


@runtime_checkable
class Edits(Protocol):
    """picture + words -> pictures that obey them

    `picture` is uint8 (H, W, 3) of any size, and the results are of the same. `words` are an instruction ("make it
    night"); for a method that goes by captions they are the caption of the edited picture, and such a method takes
    `before`, the caption of the picture as it is. Beside these, a system takes only those of the following keywords
    that mean something to it, under these names:

    before: the caption of the picture as it is
    steps: of the sampler
    guidance: how far the words are exaggerated; 1 is as trained
    image_guidance: how far the picture is held on to; 1 is as trained
    strength: the share of the way to noise that the picture goes before it comes back, 0 to 1
    progress: hears `(done, total)` at the start and as it goes, in steps that take about as long
    """

    def edit(self, picture: np.ndarray, words: str, *, count: int = 1, seed: int = 0) -> Drawing: ...


@runtime_checkable
class Finds(Protocol):
    """pictures + words -> a score for each picture, higher fits better"""

    def score(self, pictures: np.ndarray, words: str) -> Sequence[float]: ...


@runtime_checkable
class Translates(Protocol):
    """picture -> picture

    `pictures` are uint8 (N, H, W, 3) of any size; the result is uint8 of the same N, H and W. A system takes beside
    them only those of these keywords that mean something to it, under these names:

    seed: of whatever is drawn at random; one seed gives every picture of the call the same style
    style: codes (N or 1, ...) as `Styled` gives them, instead of a random one
    instances: int (N, H, W), instance numbers for a label map
    mask: bool (N, H, W), True where something is to be done (filled in, restyled)
    backwards: from the second domain to the first

    A system that starts from label maps takes the class numbers as uint8 (N, H, W) for `pictures`.
    """

    def translate(self, pictures: np.ndarray) -> np.ndarray: ...


@runtime_checkable
class Styled(Protocol):
    """pictures or chance -> styles, which can be mixed, and which `translate` takes as `style`"""

    def style_of(self, pictures: np.ndarray) -> Tensor: ...

    def random_style(self, seed: int) -> Tensor: ...


@runtime_checkable
class Reposes(Protocol):
    """a person's picture + joints -> the person in that pose

    `pictures` are uint8 (N, H, W, 3) of any size; the result is of the same. `joints` are numbers (N, 18, 2), in the
    order of `limner.data.joints`: x and y in pixels of the result, NaN where unseen.
    """

    def repose(self, pictures: np.ndarray, joints: np.ndarray) -> np.ndarray: ...


ABILITIES: dict[type, str] = {
    Draws: "draw pictures from words",
    Edits: "edit pictures by words",
    Finds: "rank pictures by words",
    Translates: "translate pictures",
    Styled: "take a style from a picture",
    Reposes: "put a person into another pose",
}
