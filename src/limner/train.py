"""The trainer: plays a system's game, step after step, and can be stopped at any moment.

Every random number is a function of (seed, step, index) and every schedule a function of the step, so a checkpoint
holds only weights, optimiser moments and the step; a run that was killed and started again ends with the same bits
as one that never stopped.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from limner import __version__
from limner.errors import BadCheckpoint, BadInput, Interrupted, NotFinite
from limner.rng import Rng, derive
from limner.runs import Checkpoint, Run, read_checkpoint, write_bytes
from limner.system import Game, Player, System, to_uint8


class Source(Protocol):
    """Training data: batch content is a pure function of the samples' numbers, counted over the whole training."""

    def take(self, numbers: Sequence[int]) -> Any:
        """The batch of these samples: a dataclass of tensors with `to(device)`."""
        ...


@dataclass(frozen=True)
class Options:
    """How long and how a system is trained.

    steps: training steps in all
    batch: samples a step, over all processes and micro-batches
    accumulate: micro-batches a step, played in lock-step; memory falls, numbers stay
    seed: every random draw is a function of it
    precision: bf16 autocast, fp32, or auto (bf16 where the hardware multiplies it natively)
    threads: CPU threads of torch, 0 for as many as it finds: one a core, or what OMP_NUM_THREADS says
    save: seconds between checkpoints
    sample: steps between sheets of samples, 0 for none
    log: steps between log lines
    budget: minutes after which the run stops well (and can be resumed), 0 for no limit
    shard: split a single player's weights over the processes (FSDP2)
    """

    steps: int = 10_000
    batch: int = 16
    accumulate: int = 1
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int = 0
    save: float = 120.0
    sample: int = 500
    log: int = 20
    budget: float = 0.0
    shard: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.accumulate < 1:
            raise BadInput("--steps, --batch and --accumulate must be at least 1.")
        if self.batch % (self.accumulate * world_size()):
            raise BadInput(
                f"--batch {self.batch} can't be split over {world_size()} processes, {self.accumulate} micro-batches. "
                f"Choose a multiple of {self.accumulate * world_size()}."
            )


LOOKED_BACK = 3000  # samples at most from which a system concludes
TIMED = 4  # steps after which a listener hears for the first time how long it will take

# The options that decide the numbers of a run; the others may change when it is resumed.
DECISIVE = ("batch", "accumulate", "seed", "precision")


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def native_bf16() -> bool:
    """Whether this machine multiplies bfloat16 in hardware; emulated, it is a hundred times slower than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@dataclass
class Progress:
    """What a listener gets to hear; the command line draws it.

    measured: the running metric when it was last taken; empty where there is none
    seconds: since this start
    seconds_left: to the last step, or to the end of the budget
    """

    step: int
    steps: int
    losses: dict[str, float]
    measured: dict[str, float]
    seconds: float
    seconds_left: float
    samples_per_second: float


Listener = Callable[[Progress], None]


class _Side:
    """A player at the table: its parameters, optimiser and moving average."""

    def __init__(self, name: str, player: Player, names: Mapping[int, str]) -> None:
        self.name = name
        self.player = player
        self.parameters = player.parameters()
        if not self.parameters:
            raise BadInput(f"Player {name} owns no trainable parameter.")
        self.sharded = any(hasattr(parameter, "full_tensor") for parameter in self.parameters)
        self.names = [names[id(parameter)] for parameter in self.parameters]
        self.optimiser = player.optimiser(self.parameters)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.average = (
            None
            if player.ema is None
            else {n: p.detach().clone() for n, p in zip(self.names, self.parameters, strict=True)}
        )

    def step(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Descend along the gradients that are there; refuse to step on what is not finite."""
        if world_size() > 1 and not self.sharded:  # FSDP averages gradients by itself
            self._all_reduce()
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.player.clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.player.clip, norm)
        if not torch.isfinite(_whole(norm)):
            raise NotFinite(
                f"Step {step}: the gradient of player {self.name} is not finite ({', '.join(losses)}). The last "
                "checkpoint is sound: lower the learning rate, or use --precision fp32, and resume."
            )
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.player.rate(step)
        self.optimiser.step()
        if self.average is not None:
            kept = self.player.kept(step)
            for average, parameter in zip(self.average.values(), self.parameters, strict=True):
                average.lerp_(parameter.detach(), 1 - kept)

    def _all_reduce(self) -> None:
        """Mean of the processes' gradients in one flat exchange, the way adversarial training is distributed."""
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        flat = torch.cat([g.flatten() for g in grads])
        torch.distributed.all_reduce(flat)
        flat /= world_size()
        pieces = torch.split(flat, [p.numel() for p in self.parameters])
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            parameter.grad = _like(parameter, piece.view_as(parameter))  # a fused Adam counts on one layout

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's state, by `parameter name/moment`."""
        out: dict[str, Tensor] = {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            for key, value in self.optimiser.state.get(parameter, {}).items():
                out[f"{name}/{key}"] = torch.as_tensor(value)
        return out

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take back optimiser state and average from a checkpoint."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            mine = {k.rsplit("/", 1)[1]: v for k, v in checkpoint.optimizer.items() if k.rsplit("/", 1)[0] == name}
            if mine:
                self.optimiser.state[parameter] = {
                    key: _like(parameter, value) if value.shape == parameter.shape else value.to(parameter.device)
                    for key, value in mine.items()
                }
            if self.average is not None:
                self.average[name] = _like(parameter, checkpoint.weights[f"ema.{name}"])


def load_weights(system: System, weights: Mapping[str, Tensor], *, averaged: bool, where: str) -> None:
    """Load a checkpoint's weights, with the moving averages in place of what they average where `averaged`."""
    plain = {name: tensor for name, tensor in weights.items() if not name.startswith("ema.")}
    if averaged:
        plain |= {name.removeprefix("ema."): tensor for name, tensor in weights.items() if name.startswith("ema.")}
    try:
        system.load_state_dict(plain)
    except RuntimeError as error:
        raise BadCheckpoint(f"{where} doesn't fit {type(system).__name__}: {error}") from error


class Trainer:
    """Trains one system in one run directory.

    name: the system's name in the table, saved with the run
    data: what the run says of its data (any JSON), saved with the run
    measure: takes the running metric, by name; asked whenever a sheet of samples is due
    """

    def __init__(
        self,
        name: str,
        system: System,
        source: Source,
        run: Run,
        options: Options,
        *,
        data: Any = None,
        start_from: Path | None = None,
        listener: Listener | None = None,
        measure: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        self.run, self.source, self.listener, self.measure = run, source, listener, measure
        self.measured: dict[str, float] = {}
        known = run.config() or {}
        precision = options.precision
        if precision == "auto":
            precision = known.get("options", {}).get("precision") or ("bf16" if native_bf16() else "fp32")
        self.options = dataclasses.replace(options, precision=precision)
        self.device = best_device()
        self.config = {
            "system": name,
            "config": dataclasses.asdict(system.config),
            "data": data,
            "options": {key: getattr(self.options, key) for key in DECISIVE},
        }
        self.system = system.to(self.device)
        self.system.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # in place; torch's overloads lack it
        self.system.train()
        if start_from is not None and not run.checkpoints:
            checkpoint = _any_checkpoint(start_from)
            load_weights(self.system, checkpoint.weights, averaged=True, where=str(checkpoint.path))
        if world_size() > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        if rank() == 0:
            run.start(self.config)
        newest, self.complaints = run.newest(training=True)
        if newest is None and self.complaints:
            raise BadCheckpoint("No sound checkpoint is left in this run:\n  " + "\n  ".join(self.complaints))
        if newest is not None:
            load_weights(self.system, newest.weights, averaged=False, where=str(newest.path))
        if self.options.shard:
            self._shard()
        names = {id(parameter): n for n, parameter in self.system.named_parameters()}
        self.sides = {key: _Side(key, player, names) for key, player in self.system.players.items()}
        self.step = 0
        if newest is not None:
            for side in self.sides.values():
                side.restore(newest)
            self.step = int(newest.state["step"])
        if rank() == 0:
            run.rewind_log(self.step)

    def _shard(self) -> None:
        from torch.distributed.fsdp import fully_shard

        if len(self.system.players) != 1 or world_size() == 1:
            raise BadInput("--shard needs several processes (torchrun) and a system with one player.")
        (player,) = self.system.players.values()
        for module in player.modules:
            if isinstance(module, torch.nn.Module):
                fully_shard(module)

    # ------------------------------------------------------------------------------------------------ one step

    def _numbers(self, step: int) -> list[int]:
        """The sample numbers of this process in `step`."""
        share = self.options.batch // world_size()
        first = step * self.options.batch + rank() * share
        return list(range(first, first + share))

    def _fetch(self, step: int) -> list[tuple[Any, Rng]]:
        numbers = self._numbers(step)
        size = len(numbers) // self.options.accumulate
        micro = [numbers[i : i + size] for i in range(0, len(numbers), size)]
        return [(self.source.take(part), Rng(derive(self.options.seed, "play"), part, step)) for part in micro]

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16")

    def play(self, micro: list[tuple[Any, Rng]]) -> dict[str, float]:
        """Play one training step and return its losses by `player/term`."""
        torch.manual_seed(derive(self.options.seed, "step", self.step, rank()))  # dropout and its like
        games: list[Game] = [self.system.play(batch.to(self.device), rng) for batch, rng in micro]
        shown: dict[str, float] = {}
        while True:
            with self._autocast():
                moves = [next(game, None) for game in games]
            if moves[0] is None:
                return shown
            name = moves[0][0]
            side = self.sides[name]
            side.optimiser.zero_grad(set_to_none=True)
            total: dict[str, Tensor] = {}
            for move in moves:
                assert move is not None and move[0] == name, "micro-batches must play the same game"
                for term, value in move[1].items():
                    if not torch.isfinite(value):
                        raise NotFinite(
                            f"Step {self.step}: {name}/{term} is {value.item()}. The last checkpoint is sound: lower "
                            "the learning rate, look at the data, or use --precision fp32, and resume."
                        )
                    total[term] = total.get(term, torch.zeros((), device=value.device)) + value.detach() / len(moves)
                loss = torch.stack([value.float() for value in move[1].values()]).sum() / len(moves)
                # FSDP2 computes with whole parameters that stand in for the pieces; there, one player owns them all
                torch.autograd.backward(loss, inputs=None if self.options.shard else side.parameters)
            side.step(self.step, total)
            shown |= {f"{name}/{term}": value.item() for term, value in total.items()}

    # ------------------------------------------------------------------------------------------------ the loop

    def fit(self) -> Path:
        """Train to the last step (or the budget) and return the newest checkpoint's folder."""
        options = self.options
        if options.threads:
            torch.set_num_threads(options.threads)
        began = warm = saved = time.monotonic()
        first = self.step
        board = _tensorboard(self.run.path) if rank() == 0 else None
        with ThreadPoolExecutor(1) as ahead, _interruptible() as stopped:
            coming = ahead.submit(self._fetch, self.step)
            while self.step < options.steps:
                micro = coming.result()
                coming = ahead.submit(self._fetch, self.step + 1)
                losses = self.play(micro)
                self.step += 1
                now = time.monotonic()
                done = self.step >= options.steps
                out_of_time = bool(options.budget) and now - began > 60 * options.budget
                taken = self.step - first
                if done or out_of_time:
                    self._conclude()
                if taken == 1:
                    warm = now  # what the first step takes says little of the others
                if rank() == 0:
                    pace = (now - warm) / (taken - 1) if taken > 1 else now - began
                    self._report(board, losses, micro[0], now - began, pace, taken=taken, last=done or out_of_time)
                if self._agreed(done or out_of_time or bool(stopped) or now - saved > options.save):
                    self.save()
                    saved = time.monotonic()
                if self._agreed(out_of_time or bool(stopped)):
                    break
            coming.cancel()
        if stopped and not self.step >= options.steps:
            raise Interrupted(f"Stopped at step {self.step}; everything is saved. The same command goes on from there.")
        return self.run.checkpoints[-1]

    def _conclude(self) -> None:
        """Let the system learn what needs the trained weights."""
        count = min(LOOKED_BACK, len(self.source) if isinstance(self.source, Sized) else LOOKED_BACK)
        size = self.options.batch // world_size() // self.options.accumulate
        with self._as_used():
            self.system.conclude(
                self.source.take(range(first, min(first + size, count))) for first in range(0, count, size)
            )

    def _agreed(self, mine: bool) -> bool:
        """Processes decide together, so that none waits for another for ever."""
        if world_size() == 1:
            return mine
        flag = torch.tensor([float(mine)], device=self.device)
        torch.distributed.broadcast(flag, 0)
        return bool(flag.item())

    def save(self) -> None:
        weights = {name: _whole(tensor) for name, tensor in self.system.state_dict().items()}
        moments: dict[str, Tensor] = {}
        for side in self.sides.values():
            moments |= {name: _whole(tensor) for name, tensor in side.tensors().items()}
            if side.average is not None:
                weights |= {f"ema.{name}": _whole(tensor) for name, tensor in side.average.items()}
        if rank() == 0:
            state: dict[str, Any] = {"step": self.step, "steps": self.options.steps, "seed": self.options.seed}
            state |= {"limner": __version__, "torch": torch.__version__}
            self.run.save(self.step, self.config, weights, moments, state)

    def _report(
        self, board: Any, losses: dict[str, float], micro: tuple[Any, Rng], seconds: float, pace: float, *,
        taken: int, last: bool,
    ) -> None:  # fmt: skip
        """Samples, the running metric, the log and the listener, where they are due; the listener also as soon as it
        can be told how long it will take. `pace`: seconds a step; `taken`: steps since this start."""
        options = self.options
        entry = dict(losses)
        if look := bool(options.sample) and (self.step % options.sample == 0 or last):
            self._sample(micro)
            if self.measure is not None and not options.shard:
                with self._as_used():
                    self.measured = self.measure()
                entry |= self.measured
        due = look or last or self.step % options.log == 0
        if due:
            self.run.log({"step": self.step, **entry, "seconds": round(seconds, 2)})
        if due and board is not None:
            for term, value in entry.items():
                board.add_scalar(term, value, self.step)
        if self.listener and (due or taken == TIMED):
            left = (options.steps - self.step) * pace
            if options.budget:
                left = max(0.0, min(left, 60 * options.budget - seconds))
            self.listener(
                Progress(self.step, options.steps, losses, self.measured, seconds, left, options.batch / pace)
            )

    def _sample(self, micro: tuple[Any, Rng]) -> None:
        batch, rng = micro
        if type(self.system).preview is System.preview:
            return
        with self._as_used(), self._autocast():
            pictures = self.system.preview(batch.to(self.device), rng)
        write_bytes(self.run.path / "samples" / f"{self.step:08d}.png", _sheet_png(pictures))

    @contextmanager
    def _as_used(self) -> Iterator[None]:
        """The system as a user would have it now: moving averages for parameters, and not in training."""
        self.system.eval()
        try:
            with torch.no_grad(), self._averaged():
                yield
        finally:
            self.system.train()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The moving averages stand in for the parameters inside."""
        swaps = [
            (parameter, side.average[name])
            for side in self.sides.values()
            if side.average is not None
            for name, parameter in zip(side.names, side.parameters, strict=True)
        ]
        keep = [parameter.detach().clone() for parameter, _ in swaps]
        for parameter, average in swaps:
            parameter.data.copy_(average)
        try:
            yield
        finally:
            for (parameter, _), old in zip(swaps, keep, strict=True):
                parameter.data.copy_(old)


def _whole(tensor: Tensor) -> Tensor:
    """The full tensor on the CPU, gathered if it is sharded."""
    if hasattr(tensor, "full_tensor"):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """`value` in the layout of a parameter, and split over the processes if that is."""
    if hasattr(parameter, "full_tensor"):
        from torch.distributed.tensor import DTensor, distribute_tensor  # slow to import, and seldom needed

        assert isinstance(parameter, DTensor)
        return distribute_tensor(value.to(parameter.device, copy=True), parameter.device_mesh, parameter.placements)
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _any_checkpoint(path: Path) -> Checkpoint:
    """The newest checkpoint of a run directory, or the model folder itself."""
    if (path / "checkpoints").is_dir():
        checkpoint, complaints = Run(path).newest()
        if checkpoint is None:
            raise BadCheckpoint(f"{path} holds no sound checkpoint. " + " ".join(complaints))
        return checkpoint
    return read_checkpoint(path)


def _sheet_png(pictures: Tensor) -> bytes:
    """A contact sheet of at most 32 pictures, as PNG."""
    import io

    import numpy as np
    from PIL import Image

    tiles = to_uint8(pictures[:32])
    count, height, width, _ = tiles.shape
    columns = math.ceil(math.sqrt(count * height / width))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + 2), columns * (width + 2), 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * (height + 2), (i % columns) * (width + 2)
        sheet[y : y + height, x : x + width] = tile
    out = io.BytesIO()
    Image.fromarray(sheet).save(out, "PNG")
    return out.getvalue()


def _tensorboard(path: Path) -> Any:
    """A TensorBoard writer where the package is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(path / "tensorboard"))


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end the current step, save, and stop; a second Ctrl-C stops at once."""
    import signal
    import threading

    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        with nullcontext():
            yield stopped
        return

    def note(number: int, _: Any) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)

    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
