"""A step of editing with InstructPix2Pix at the published size, against diffusers' own pipeline.

    python benchmarks/edit_unet.py [--precisions fp32 bf16] [--rounds 3] [--threads 1] [--small]
                                   [--page docs/results/editing-speed.md]

The weights are random and the same ones: the pipeline is made of our model's own networks, so that memory holds them
once. Both sides edit a latent of 64 x 64 by states of 77 x 768 with two guidance scales, in two steps of the ancestral
Euler sampler; neither the autoencoder nor the text tower runs. Their edits take turns, so that whatever else the
machine does hits them alike, and ratios are medians over the rounds. Times are CPU seconds of all threads: on a shared
machine they change less than the clock's. Peak memory is of a step in a process of its own.

Besides: what guidance costs, by the rows that the U-Net is given, and reading the instruction.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from yardstick import matrix_product  # torch is imported only by the processes that edit: it counts as their memory

THEIRS, OURS = "diffusers", "limner"
STEPS = 2
ROWS = {1: (1.0, 1.0), 2: (7.5, 1.0), 3: (7.5, 1.5)}
"""How many rows the U-Net is given -> the text and image scales that take so many."""

PAGE = """# Editing at the published size, measured

Made by `python benchmarks/edit_unet.py {arguments}`: a step of InstructPix2Pix
({parameters:,} parameters in the U-Net, {shape}, three rows) in diffusers'
`StableDiffusionInstructPix2PixPipeline` and in limner, with {threads} thread{plural}. The weights are random, and the
same ones. Edits of {steps} steps take turns, and ratios are medians of {rounds} rounds. Seconds are CPU seconds of all
threads; memory is the peak of a process that makes a step, and holds autoencoder and text tower, too.

{table}

"Difference" is the largest between what the U-Net says on either side in the first step, in standard deviations of it.

What guidance costs in limner: both scales take three rows; an image scale of 1 takes two, and both scales 1 take one.
The instruction and no words are read once for an edit, not once for a step.

{rows}

The machine: 2 cores; a product of two 1500 x 1500 matrices in float32 took {unit:.0f} ms of one of them. Load before
and after: {load}. Clock time was {clock:.1f} times the CPU seconds: other work had the rest.
"""


@dataclass(frozen=True)
class Race:
    """What was measured in a precision.

    cpu, clock: seconds a step of either side, one for each round
    difference: of what the U-Net says first, in standard deviations
    rows: CPU seconds a step of ours by the number of rows
    reading: CPU seconds
    """

    cpu: dict[str, list[float]]
    clock: dict[str, list[float]]
    difference: float
    rows: dict[int, float]
    reading: float
    parameters: int
    shape: str

    @property
    def ratio(self) -> float:
        return median(theirs / ours for theirs, ours in zip(self.cpu[THEIRS], self.cpu[OURS], strict=True))


# ------------------------------------------------------------------------------------------- in a process of its own


class Bench:
    """A model of random weights, and how either side edits with it."""

    def __init__(self, precision: str, threads: int, small: bool) -> None:
        import torch
        from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionInstructPix2PixPipeline

        from limner.rng import torch_rng
        from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
        from limner.systems.diffusion.latent import Autoencoder, TextTower, UNet

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        tiny: dict[str, Any] = {
            "autoencoder": Autoencoder(widths=(32, 32, 32), blocks=1),
            "text": TextTower(vocabulary=64, width=32, depth=1, heads=2, hidden=32),
            "unet": UNet(widths=(32, 64), attention=(True, True), blocks=1, heads=4),
            "size": (64, 64),
        }
        torch.set_default_dtype(self.dtype)  # weights are made as they stay: else making them would be the peak
        self.model = model = InstructPix2Pix(InstructPix2Pix.Config(**(tiny if small else {}))).eval()
        torch.set_default_dtype(torch.float32)
        torch.nn.init.normal_(model.unet.conv_in.weight, std=0.02)  # those of the picture are zero otherwise
        shape, width = (1, *model.latent_shape()), model.config.text.width
        self.shape = f"latents of {shape[2]} x {shape[3]}, states of 77 x {width}"
        self.picture = torch.randn(shape, generator=torch_rng(0, "picture"))
        self.noise = torch.randn(shape, generator=torch_rng(0, "noise"))  # what our seed 0 begins with
        self.states = torch.randn(2, 1, 77, width, generator=torch_rng(0, "text")).to(self.dtype)
        scheduler = EulerAncestralDiscreteScheduler(
            num_train_timesteps=model.config.timesteps, beta_start=model.config.beta[0],
            beta_end=model.config.beta[1], beta_schedule="scaled_linear", timestep_spacing="linspace",
        )  # fmt: skip
        self.pipeline = StableDiffusionInstructPix2PixPipeline(
            vae=model.autoencoder, text_encoder=model.text, tokenizer=None, unet=model.unet, scheduler=scheduler,
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        self.pipeline.set_progress_bar_config(disable=True)
        self.said: list[Any] = []  # by the U-Net, each time
        model.unet.register_forward_hook(lambda unet, given, made: self.said.append(made[0]))

    def edit(self, side: str, steps: int = STEPS, scales: tuple[float, float] = ROWS[3]) -> None:
        import torch

        text, null = self.states
        if side == OURS:
            with torch.inference_mode():
                self.model.edit_latent(self.picture, text, null, 0, steps, *scales)
        else:
            self.pipeline(
                prompt_embeds=text, negative_prompt_embeds=null, image=self.picture.to(self.dtype),
                latents=self.noise.to(self.dtype), num_inference_steps=steps, guidance_scale=scales[0],
                image_guidance_scale=scales[1], output_type="latent",
            )  # fmt: skip

    def read(self) -> None:
        import torch

        with torch.inference_mode():
            self.model.text(torch.zeros(2, 77, dtype=torch.long))


def raced(precision: str, rounds: int, threads: int, small: bool) -> Race:
    bench = Bench(precision, threads, small)

    def took(what: Callable[[], None]) -> tuple[float, float]:
        """CPU and clock seconds."""
        clock, cpu = time.perf_counter(), time.process_time()
        what()
        return time.process_time() - cpu, time.perf_counter() - clock

    cpu: dict[str, list[float]] = {THEIRS: [], OURS: []}
    clock: dict[str, list[float]] = {THEIRS: [], OURS: []}
    first = {}
    for number in range(rounds + 1):  # the first allocates what the others use again
        for side in (THEIRS, OURS):
            bench.said.clear()
            spent, passed = took(lambda side=side: bench.edit(side))
            first[side] = bench.said[0].float()
            if number:
                cpu[side].append(spent / STEPS)
                clock[side].append(passed / STEPS)
    difference = float((first[OURS] - first[THEIRS]).abs().max() / first[THEIRS].std())
    rows = {number: took(lambda scales=scales: bench.edit(OURS, 1, scales))[0] for number, scales in ROWS.items()}
    parameters = sum(weight.numel() for weight in bench.model.unet.parameters())
    return Race(cpu, clock, difference, rows, took(bench.read)[0], parameters, bench.shape)


def peak(side: str, precision: str, threads: int, small: bool) -> int:
    """Bytes that a process has had at most after an edit."""
    Bench(precision, threads, small).edit(side, 1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -------------------------------------------------------------------------------------------------- measuring, telling


def alone(work: Callable[..., Any], *given: Any) -> Any:
    """What a function returns in a process that has done nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, given)


def table(*rows: list[str]) -> str:
    head, *others = rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *others))


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=3, help="edits of each side, after a first one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="tiny networks, to see whether this runs")
    parser.add_argument("--page", type=Path, help="write the results page here")
    options = parser.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "passive"  # a thread that waits for another counts for nothing
    before, unit = load(), matrix_product()
    compared = [[
        "precision", "diffusers, s", "limner, s", "diffusers / limner", "difference", "memory, MB: diffusers", "limner",
    ]]  # fmt: skip
    costs = [["precision", *(f"{number} row{'s' * (number > 1)}, s a step" for number in ROWS), "reading, s an edit"]]
    slow: list[float] = []
    for precision in options.precisions:
        race: Race = alone(raced, precision, options.rounds, options.threads, options.small)
        memory = {side: alone(peak, side, precision, options.threads, options.small) for side in (THEIRS, OURS)}
        compared.append([
            {"fp32": "float32", "bf16": "bfloat16"}[precision],
            *(f"{median(race.cpu[side]):.2f}" for side in (THEIRS, OURS)),
            f"{race.ratio:.2f}",
            f"{race.difference:.0e}",
            *(f"{memory[side] / 2**20:.0f}" for side in (THEIRS, OURS)),
        ])  # fmt: skip
        costs.append([compared[-1][0], *(f"{seconds:.2f}" for seconds in race.rows.values()), f"{race.reading:.2f}"])
        slow += [clock / cpu for side in race.cpu for clock, cpu in zip(race.clock[side], race.cpu[side], strict=True)]
        print(table(*compared), table(*costs), sep="\n\n", flush=True)
        if options.page:  # at once: a stopped run leaves a page of what it has measured
            page = PAGE.format(
                arguments=" ".join(sys.argv[1:]), parameters=race.parameters, shape=race.shape,
                threads=options.threads, plural="s" * (options.threads > 1), steps=STEPS, rounds=options.rounds,
                table=table(*compared), rows=table(*costs), unit=1000 * unit, load=f"{before} and {load()}",
                clock=median(slow),
            )  # fmt: skip
            options.page.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
