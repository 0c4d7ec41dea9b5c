"""`limner edits`: data for editing by words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from limner.cli.common import Bar, size_in

if TYPE_CHECKING:
    import tyro


@dataclass
class EditsWrite:
    """Write triplets (caption, instruction, edited caption) from captions; the same command goes on.

    Example: limner edits write --captions storybook --count 1000 -o triplets.jsonl
    """

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file of JSON lines; what is rejected stands beside it, in OUT.rejected.jsonl."""
    captions: str = "storybook"
    """A text file, one a line, or JSON lines with a caption and perhaps a url each; or storybook or stickers, the
    captions of the Sticker World's grammar (storybook:held-out: of scenes that training never shows)."""
    writer: str = "grammar"
    """grammar; the address of an OpenAI-compatible server; or a folder of a language model (limner edits teach)."""
    writer_model: str = ""
    """On a server: the name of its model. Its key is read from LIMNER_WRITER_KEY or OPENAI_API_KEY."""
    count: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Stop when there are so many; from the grammar, how many to write, 1000 if it isn't given."""
    seed: int = 0
    """Of the grammar's scenes, and of a language model's sampling."""
    part: str = "0/1"
    """Which part of the captions: 0/8 to 7/8 for eight processes, each with an --out of its own."""
    together: int = 8
    """Captions that the writer gets at once."""
    examples: Path | None = None
    """Triplets that a chat is shown instead of limner's own."""
    forbid: Path | None = None
    """A file of words and phrases, one a line; captions and triplets with one of them are left out."""
    moderate: bool = False
    """Let the server's moderation look at captions and triplets."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.edits import WriteOrder, write_triplets

        order = WriteOrder(**{option.name: getattr(self, option.name) for option in dataclasses.fields(WriteOrder)})
        with Bar() as bar:
            tally = write_triplets(self.out, order, bar.tell, bar.count)
        print(f"{self.out}: {tally.done:,} triplets, {tally.rejected:,} captions rejected")
        return 0


@dataclass
class EditsTeach:
    """Teach a language model to write triplets: a small one from nothing, or one you have, with LoRA.

    Example: limner edits teach triplets.jsonl -o writer --epochs 3
    """

    triplets: tyro.conf.Positional[Path]
    """JSON lines with caption (or input), edit and output; or prompt and completion."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The model's folder; the training is in OUT.run, and the same command goes on with it."""
    base: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """A folder of a causal language model (transformers, safetensors) to fine-tune; needs the edits extra."""
    epochs: int = 1
    """How often each triplet is seen."""
    batch: int = 16
    """Triplets a step."""
    rate: float | None = None
    """Learning rate: by default 2e-4 with LoRA, 1e-3 from nothing."""
    width: int = 128
    """Of a model from nothing; a multiple of 32."""
    depth: int = 4
    """Layers of a model from nothing."""
    rank: int = 16
    """Of LoRA's matrices."""
    seed: int = 0
    """Of first weights and order."""
    threads: int = 0
    """CPU threads; 0 for as many as there are cores, or what OMP_NUM_THREADS says."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.edits.language import teach
        from limner.edits.triplets import read_triplets

        with Bar() as bar:
            made = teach(
                read_triplets(self.triplets, bar.tell), self.out, base=self.base, epochs=self.epochs, batch=self.batch,
                rate=self.rate, width=self.width, depth=self.depth, rank=self.rank, seed=self.seed,
                threads=self.threads, listener=bar.listen,
            )  # fmt: skip
        print(made)
        return 0


@dataclass
class EditsPair:
    """Draw and score pairs of pictures for triplets, and keep the best; the same command goes on.

    Example: limner edits pair triplets.jsonl -o pairs --filter storybook --samples 16 --workers 2
    """

    triplets: tyro.conf.Positional[Path]
    """JSON lines, as limner edits write makes them."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder, in the published layout."""
    model: str = "storybook"
    """What draws: storybook, or a latent diffusion model (a run, model or diffusers folder, or single file)."""
    encoder: str = "storybook"
    """What scores: storybook, or a CLIP (a folder of transformers, or OpenAI's file)."""
    samples: int = 100
    """Pairs that are drawn and scored for each triplet."""
    filter: Literal["code", "thesis", "random", "none", "storybook"] = "code"
    """Which thresholds choose among them: see limner edits filter."""
    image: float | None = None
    """Least similarity of the two pictures, instead of the filter's."""
    text: float | None = None
    """Least similarity of each picture and its caption."""
    direction: float | None = None
    """Least similarity of the change of the pictures and that of the captions."""
    keep: int | None = None
    """Most pairs that are kept of a triplet."""
    steps: int = 100
    """Of a diffusion model's sampler."""
    size: str | None = None
    """Width x height in pixels of a diffusion model's pictures; by default what it was trained at."""
    together: int = 4
    """Pairs that are drawn in one batch: a diffusion model gets four rows for each."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the drawing."""
    guidance: tuple[float, float] | None = None
    """Between which numbers a sample draws its guidance; by default 7.5 and 15 for a diffusion model, 1 and 3 for the
    storybook. A small model wants less than a published one."""
    count: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """The first so many triplets only."""
    seed: int = 0
    """All samples of a triplet are functions of it and the triplet's number."""
    part: str = "0/1"
    """Which part of the triplets: 0/8 to 7/8 for eight machines that write to the same folder."""
    workers: int = 1
    """Processes; they take the accelerators in turn."""
    threads: int = 1
    """CPU threads of each."""
    ray: str | None = None
    """Spread the work with Ray instead: local, auto, or a cluster's address. Needs the scale extra."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.edits.pair import Recipe
        from limner.jobs.edits import Thresholds, draw_pairs

        size = size_in(self.size)[::-1] if self.size else None
        recipe = Recipe(
            self.seed, self.samples, self.model, self.encoder, self.steps, size, self.together, self.precision,
            self.guidance,
        )  # fmt: skip
        chosen_by = Thresholds(self.filter, self.image, self.text, self.direction, self.keep).filter()
        with Bar() as bar:
            said = draw_pairs(
                self.triplets, self.out, recipe, chosen_by, count=self.count, this_part=self.part,
                workers=self.workers, threads=self.threads, ray=self.ray, told=bar.tell, counted=bar.count,
            )  # fmt: skip
            for line in said:
                print(line)
        return 0


@dataclass
class EditsFilter:
    """Choose anew among all pairs that were scored, by other thresholds.

    Example: limner edits filter pairs --filter thesis --keep 2
    """

    folder: tyro.conf.Positional[Path]
    """What limner edits pair made."""
    filter: Literal["code", "thesis", "random", "none", "storybook"] = "code"
    """code: image 0.7, text 0.2, direction 0.2, the best 4. thesis: image 0.75. random: thresholds of 0. none: all
    pass. storybook: for the storybook's encoder."""
    image: float | None = None
    """Least similarity of the two pictures, instead of the filter's."""
    text: float | None = None
    """Least similarity of each picture and its caption."""
    direction: float | None = None
    """Least similarity of the change of the pictures and that of the captions."""
    keep: int | None = None
    """Most pairs that are kept of a triplet."""
    prune: bool = False
    """Remove the pictures that aren't chosen."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.edits import Thresholds, choose

        chosen_by = Thresholds(self.filter, self.image, self.text, self.direction, self.keep).filter()
        for line in choose(self.folder, chosen_by, prune=self.prune):
            print(line)
        return 0


@dataclass
class EditsShard:
    """Pack chosen pairs for training: tar shards, or the latents of an autoencoder.

    Example: limner edits shard pairs -o shards
    """

    folder: tyro.conf.Positional[Path]
    """Pairs in the published layout."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder for the shards."""
    pairs: int = 1000
    """In a shard."""
    latents: str | None = None
    """A latent diffusion model: write what its autoencoder makes of the pairs and of their mirror images."""
    size: str = "256x256"
    """With --latents: width x height that pictures are resized to first."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.edits import shard

        with Bar() as bar:
            print(
                shard(
                    self.folder, self.out, size=self.pairs, latents=self.latents, resolution=size_in(self.size)[::-1],
                    told=bar.tell, counted=bar.count,
                )
            )  # fmt: skip
        return 0


@dataclass
class EditsCost:
    """Tell what a data set would cost: evaluations, operations, hours, disk. Nothing is made.

    Example: limner edits cost --captions 10000 --samples 16 --steps 25
    """

    captions: int = 450_000
    """Or triplets."""
    samples: int = 100
    """Pairs drawn of each."""
    steps: list[int] = field(default_factory=lambda: [100, 25])
    """Of the sampler; a column for each."""
    teraflops: float = 125.0
    """What one accelerator sustains, in 10^12 operations a second."""
    accelerators: int = 64
    """How many there are."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.edits.cost import cost

        for line in cost(self.captions, self.samples, self.steps, self.teraflops, self.accelerators):
            print(line)
        return 0


@dataclass
class EditsSweep:
    """Plot how much edits obey against how much they keep, over each method's strength; the same command goes on.

    Example: limner edits sweep --data edits --curve ours=runs/editor --curve sdedit=sd-v1-5@sdedit -o sweep
    """

    data: str
    """Edits with captions: a folder, zip or tar of your own, or stickers:edits. What is held out is measured on."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for edits.jsonl, points.jsonl and plot.png."""
    curve: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """NAME=MODEL or NAME=MODEL@METHOD: sdedit, sdedit-instruction, prompt-to-prompt, prompt-to-prompt-instruction, or
    as-it-is, for an editor without a strength; instruct-pix2pix, if none is given. Once for each curve."""
    encoder: str = "storybook"
    """What measures: storybook, a folder of CLIP, or OpenAI's ViT-L-14.pt."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 200
    """Edits for each point."""
    points: int = 7
    """Points of each curve."""
    steps: int = 25
    """Of the sampler; published: 100."""
    text_guidance: float = 7.5
    """How much the words count, with all methods."""
    seed: int = 0
    """Of the data's order; edit k is made from the noise of seed + k, at every point."""
    published_script: bool = False
    """Give pictures to the encoder in [-1, 1], as the published sweep does; the numbers are other numbers."""
    pictures: Path | None = None
    """Keep the edits in this folder, and take from it those that are there: for the same sweep by another --encoder."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.sweeping import Curve, Order, sweep

        order = Order(
            self.data, [Curve.read(text) for text in self.curve], self.encoder, self.count, self.points, self.steps,
            self.text_guidance, self.seed, self.published_script, self.pictures,
        )  # fmt: skip
        with Bar() as bar:
            points = sweep(order, self.out, told=bar.tell, progress=bar.count)
        for name, each in points.items():
            for point in each:
                swept = f"{point['option']} {point['value']:g}" if point["option"] else point["method"]
                print(f"{name}, {swept}: direction {point['sim_direction']:.4f}, image {point['sim_image']:.4f}")
        print(self.out / "plot.png")
        return 0
