"""One training step of pix2pix, CycleGAN, MUNIT and SPADE at the published sizes, against the authors' own programs.

    python benchmarks/training.py [--published DIR] [--systems NAME[:WIDTH] ...] [--rounds 3] [--loading NAME ...]
                                  [--page docs/results/training-speed.md]

DIR holds checkouts of the authors' repositories under their names: pytorch-CycleGAN-and-pix2pix, MUNIT, SPADE. A
process each trains the same weights on the same pictures: the published program in float32, limner in float32, and
limner as it trains by itself (bfloat16 where the hardware has it). Their steps take turns, so that whatever else the
machine does hits them alike, and the ratios are medians over the rounds. Times are CPU seconds of a step, of all
threads: on a shared machine they change less than the clock's. Without DIR, limner alone is measured.

Besides: how equal the losses are, peak memory, the share of the speed of a large matrix product of the same precision,
and (--loading) how long a training on a folder of pictures waits for them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from yardstick import matrix_product  # torch is imported only by the processes that train: it counts as their memory

SYSTEMS = ("pix2pix", "cyclegan", "munit", "spade")
SIZE = 256
WIDTH = 64  # as published, of all four
MATRIX = 2048
PUBLISHED, FLOAT, DEFAULT = "published", "float32", "limner"

PAGE = """# Training steps, measured

Made by `python benchmarks/training.py {arguments}`:
one training step on one picture (or pair) of 256 x 256 at the published width of 64 channels (or the width that is
said), with {threads} threads, of the authors' programs in float32, of limner in float32, and of limner as it trains by
itself ({precision}, channels last). The same weights and pictures; steps take turns, and ratios are medians of
{rounds} round{plural}. Seconds are CPU seconds of all threads.

{table}

"Losses" is the largest relative difference between the authors' losses and limner's in float32, over the totals of
both players, in the first step and in the second, which shows that the updates are equal, too. The second can't agree
as closely: Adam's first update moves every weight by the learning rate, up or down, also those whose gradient is all
rounding; SPADE's Adam, whose first moment has no memory, shows it most. "Products" is the time that large matrix
products of the same precision would take for the step's arithmetic, measured in turns with the steps, over the step's
time. Dropout is off on both sides, for their random numbers can't be made the same; SPADE's VGG-19 has random weights.
{loading}
The machine: 2 cores; a product of two 1500 x 1500 matrices in float32 took {unit:.0f} ms of one of them. Load before
and after: {load}. Clock time was {clock:.1f} times the CPU seconds: other work had the rest.
"""

LOADING = """
Waiting for data, in a training on a folder of 256-pixel pictures: {shares}. That is the time between two
steps, all of it, over the time from step to step.
"""


@dataclass(frozen=True)
class Step:
    """What a step took, and what came of it.

    cpu, clock: seconds; cpu of all threads
    losses: of each player
    speed: of the matrix products that followed, floating-point operations a CPU second; 0 where none was asked for
    """

    cpu: float
    clock: float
    losses: dict[str, float]
    speed: float = 0.0


@dataclass(frozen=True)
class Job:
    """Who trains what.

    side: PUBLISHED, FLOAT or DEFAULT
    scratch: a folder, where the published program leaves its first weights for the others
    """

    system: str
    side: str
    width: int
    threads: int
    scratch: Path
    published: Path | None


# ------------------------------------------------------------------------------------------- in a process of its own


def config(name: str, width: int) -> Any:
    """The published options; dropout is off, see PAGE."""
    from limner.systems.translation.cyclegan import CycleGAN
    from limner.systems.translation.munit import MUNIT
    from limner.systems.translation.pix2pix import Pix2Pix
    from limner.systems.translation.spade import SPADE

    made = {
        "pix2pix": lambda: Pix2Pix.Config(width=width, discriminator_width=width, dropout=0.0),
        "cyclegan": lambda: CycleGAN.Config(width=width, discriminator_width=width),
        "munit": lambda: MUNIT.Config(width=width, discriminator_width=width),
        "spade": lambda: SPADE.Config(width=width, discriminator_width=width, perceptual=10.0),
    }
    return made[name]()


class Same:
    """Data of one batch."""

    def __init__(self, name: str) -> None:
        import torch

        from limner.data.kinds import Labelled, Paired, Unpaired

        chance = torch.Generator().manual_seed(1)
        one, other = (2 * torch.rand(1, 3, SIZE, SIZE, generator=chance) - 1 for _ in range(2))
        if name == "spade":
            cells = torch.randint(0, 182, (1, 16, 16), generator=chance)
            classes = cells.repeat_interleave(SIZE // 16, 1).repeat_interleave(SIZE // 16, 2)
            self.batch: Any = Labelled(one, classes, classes % 7 + 1)
        else:
            self.batch = Paired(one, other) if name == "pix2pix" else Unpaired(one, other)

    def take(self, numbers: Sequence[int]) -> Any:
        return self.batch


class Limner:
    """limner's own trainer, step by step."""

    def __init__(self, job: Job) -> None:
        import torch

        from limner.runs import Run
        from limner.systems import find
        from limner.train import Options, Trainer

        torch.manual_seed(0)
        system = find(job.system)(config(job.system, job.width))
        if job.system == "spade":
            from published_steps import drawn_vgg

            system.vgg.load_state_dict(drawn_vgg().state_dict())
        if (given := job.scratch / "weights.pt").exists():
            found = system.load_state_dict(torch.load(given), strict=False)
            # What only we keep: CycleGAN's past in buffers, which begins empty.
            assert not found.unexpected_keys and all(".past_" in f".{name}" for name in found.missing_keys), found
        options = Options(steps=10**6, batch=1, precision="fp32" if job.side == FLOAT else "auto", sample=0)
        self.trainer = Trainer(job.system, system, Same(job.system), Run(job.scratch / job.side), options)
        self.precision = self.trainer.options.precision

    def step(self) -> dict[str, float]:
        losses: dict[str, float] = {}
        for term, value in self.trainer.play(self.trainer._fetch(self.trainer.step)).items():
            player = term.partition("/")[0]
            losses[player] = losses.get(player, 0.0) + value
        self.trainer.step += 1
        return losses


class Published:
    """The authors' program, on what limner's trainer would give it."""

    precision = "fp32"

    def __init__(self, job: Job) -> None:
        import torch
        from published_steps import opened

        assert job.published is not None
        self.program = opened(job.system, job.width, job.published)
        torch.save(self.program.weights(), job.scratch / "weights.pt")
        self.batch, self.number = Same(job.system).batch, 0

    def step(self) -> dict[str, float]:
        from limner.rng import Rng, derive

        rng = Rng(derive(0, "play"), [self.number], self.number)
        self.number += 1
        return {player: float(loss.detach()) for player, loss in self.program.step(self.batch, rng).items()}


def serve(job: Job, orders: Connection) -> None:
    """Train, a step an order: "step", "count" (for the arithmetic of a step), or "stop" (for peak memory, in bytes)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(job.threads)
    trained = Published(job) if job.side == PUBLISHED else Limner(job)
    matrix = torch.rand(MATRIX, MATRIX).to(torch.bfloat16 if trained.precision == "bf16" else torch.float32)
    orders.send(trained.precision)
    while (order := orders.recv()) != "stop":
        counter = FlopCounterMode(display=False)
        began, spent = time.perf_counter(), time.process_time()
        if order == "count":
            with counter:
                losses = trained.step()
        else:
            losses = trained.step()
        clock, cpu = time.perf_counter() - began, time.process_time() - spent
        spent = time.process_time()
        matrix @ matrix
        speed = 2 * MATRIX**3 / (time.process_time() - spent)
        orders.send((Step(cpu, clock, losses, speed), counter.get_total_flops()))
    unit = 1 if sys.platform == "darwin" else 1024
    orders.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def waiting(name: str, width: int, threads: int, steps: int) -> float:
    """Of a training on a folder, the share of the time that no step is being taken, once it is under way."""
    import numpy as np
    from PIL import Image

    from limner.data.files import open_files
    from limner.data.folder import Folder
    from limner.data.kinds import Paired, Unpaired
    from limner.data.layouts import Listing
    from limner.runs import Run
    from limner.systems import find
    from limner.train import Options, Trainer

    chance = np.random.default_rng(0)
    across, folders = (2, ["train"]) if name == "pix2pix" else (1, ["trainA", "trainB"])
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "data"
        for folder in folders:
            (place / folder).mkdir(parents=True)
            for number in range(64):  # smooth noise: about as many bytes as a photograph
                coarse = Image.fromarray(chance.integers(0, 256, (32, 32 * across, 3), dtype=np.uint8))
                whole = coarse.resize((SIZE * across, SIZE), Image.Resampling.BICUBIC)
                whole.save(place / folder / f"{number}.jpg", quality=90)
        source = Folder(Listing(str(place), open_files(place)), Paired if name == "pix2pix" else Unpaired)
        options = Options(steps=steps, batch=1, sample=0, save=1e9, threads=threads)
        trainer = Trainer(name, find(name)(config(name, width)), source, Run(Path(scratch) / "run"), options)
        play, times = trainer.play, []

        def timed(micro: Any) -> dict[str, float]:
            times.append(time.perf_counter())
            losses = play(micro)
            times.append(time.perf_counter())
            return losses

        trainer.play = timed
        trainer.fit()
    gaps = [after - before for before, after in zip(times[1::2], times[2::2], strict=False)]
    return sum(gaps) / (times[-2] - times[1])


# -------------------------------------------------------------------------------------------------- measuring, telling


class Worker:
    """A process that trains, and what it said."""

    def __init__(self, job: Job) -> None:
        self.orders, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=serve, args=(job, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.precision: str = self.orders.recv()
        self.steps: list[Step] = []
        self.flops = self.memory = 0

    def step(self, order: str = "step") -> None:
        self.orders.send(order)
        step, flops = self.orders.recv()
        self.steps.append(step)
        self.flops = self.flops or flops

    def stop(self) -> None:
        self.orders.send("stop")
        self.memory = self.orders.recv()
        self.process.join()

    @property
    def measured(self) -> list[Step]:
        """The first step allocates what the others use again."""
        return self.steps[1:]

    @property
    def seconds(self) -> float:
        return median(step.cpu for step in self.measured)

    def share(self, flops: int) -> float:
        """Of the speed of matrix products."""
        return median(flops / step.cpu / step.speed for step in self.measured)


def ratio(slow: Worker, quick: Worker) -> float:
    """Round by round, how many times `quick` fits into `slow`."""
    return median(a.cpu / b.cpu for a, b in zip(slow.measured, quick.measured, strict=True))


def difference(one: Step, other: Step) -> float:
    """The largest relative difference of the players' losses."""
    return max(abs(one.losses[player] - loss) / abs(loss) for player, loss in other.losses.items())


def raced(name: str, width: int, rounds: int, threads: int, published: Path | None) -> dict[str, Worker]:
    """The sides of one system, their steps in turns."""
    with tempfile.TemporaryDirectory() as scratch:
        sides = ([PUBLISHED] if published else []) + [FLOAT, DEFAULT]
        workers = {side: Worker(Job(name, side, width, threads, Path(scratch), published)) for side in sides}
        for number in range(rounds + 1):
            for side, worker in workers.items():
                worker.step("count" if side == FLOAT and not number else "step")
        for worker in workers.values():
            worker.stop()
    return workers


HEAD = (
    "system", "published, s", "limner float32, s", "limner, s", "published / float32", "published / limner",
    "losses, first step", "second", "memory, MB: published", "float32", "limner", "products: float32", "limner",
)  # fmt: skip


def row(name: str, width: int, workers: dict[str, Worker]) -> list[str]:
    """Cells under HEAD; a dash where there is no published program to hold against."""
    theirs, single, ours = workers.get(PUBLISHED), workers[FLOAT], workers[DEFAULT]

    def with_theirs(form: str, found: Any) -> str:
        return form.format(found(theirs)) if theirs else "-"

    return [
        name if width == WIDTH else f"{name}, {width} channels",
        with_theirs("{:.2f}", lambda t: t.seconds),
        f"{single.seconds:.2f}",
        f"{ours.seconds:.2f}",
        with_theirs("{:.2f}", lambda t: ratio(t, single)),
        with_theirs("{:.2f}", lambda t: ratio(t, ours)),
        with_theirs("{:.0e}", lambda t: difference(single.steps[0], t.steps[0])),
        with_theirs("{:.0e}", lambda t: difference(single.steps[1], t.steps[1])),
        with_theirs("{:.0f}", lambda t: t.memory / 2**20),
        f"{single.memory / 2**20:.0f}",
        f"{ours.memory / 2**20:.0f}",
        f"{single.share(single.flops):.2f}",
        f"{ours.share(single.flops):.2f}",
    ]


def table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *rows))


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="a folder with the authors' repositories")
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, metavar="NAME[:WIDTH]")
    parser.add_argument("--rounds", type=int, default=3, help="steps of each side, after a first one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loading", nargs="*", default=SYSTEMS[:2], choices=SYSTEMS[:3], metavar="NAME")
    parser.add_argument("--loading-steps", type=int, default=6)
    parser.add_argument("--page", type=Path, help="write the results page here")
    options = parser.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "passive"  # a thread that waits for another counts for nothing
    before, unit, rows, slow, shares, precision = load(), matrix_product(), [], [], [], ""

    def tell(news: str) -> None:
        """Said at once, and written at once: a stopped run leaves a page of what it has measured."""
        print(news, flush=True)
        if options.page:
            arguments = " ".join(sys.argv[1:]).replace(str(options.published), "DIR")
            page = PAGE.format(
                arguments=arguments, threads=options.threads, precision=precision, rounds=options.rounds,
                plural="s" * (options.rounds > 1), table=table(rows),
                loading=LOADING.format(shares=", ".join(shares)) if shares else "", unit=1000 * unit,
                load=f"{before} and {load()}", clock=median(slow),
            )  # fmt: skip
            options.page.write_text(page, "utf-8")

    for system in options.systems:
        name, _, asked = system.partition(":")
        width = int(asked or WIDTH)
        workers = raced(name, width, options.rounds, options.threads, options.published)
        rows.append(row(name, width, workers))
        slow += [step.clock / step.cpu for worker in workers.values() for step in worker.measured]
        precision = {"bf16": "bfloat16", "fp32": "float32"}[workers[DEFAULT].precision]
        tell(table(rows) if len(rows) == 1 else table(rows).splitlines()[-1])
    for name in options.loading:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            share = pool.apply(waiting, (name, WIDTH, options.threads, options.loading_steps))
        shares.append(f"{name} {100 * share:.1f} % of the time")
        tell(shares[-1])


if __name__ == "__main__":
    main()
