"""What the verbs of `limner edits` do: each goes on where it was stopped, and says what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from limner.edits.filters import PRESETS, Filter, Sample, distribution
from limner.edits.grammar import WORLDS, Grammar, GrammarWriter
from limner.edits.pair import (
    CHOSEN,
    DONE,
    SCORES,
    Pairing,
    Recipe,
    claim,
    has_pictures,
    needed,
    read_samples,
    write_lines,
)
from limner.edits.shards import pairs_of, write_latents, write_shards
from limner.edits.spread import part_of, spread
from limner.edits.triplets import read_captions, read_triplets
from limner.edits.write import EXAMPLES, ServerWriter, Tally, Writer, forbidding, write
from limner.errors import BadInput
from limner.hub import load
from limner.runs import write_json

Told = Callable[[str], None]
Counted = Callable[[int, int], None]


def part(text: str) -> tuple[int, int]:
    """`2/8` as (2, 8)."""
    which, _, parts = text.partition("/")
    if not (which.isdecimal() and parts.isdecimal() and int(which) < int(parts)):
        raise BadInput(f"--part {text}: write it as 0/8 to 7/8, for the first to the last of eight.")
    return int(which), int(parts)


@dataclass(frozen=True)
class WriteOrder:
    """How triplets are written; the fields are options of `limner edits write`."""

    captions: str
    writer: str
    writer_model: str
    count: int | None
    seed: int
    part: str
    together: int
    examples: Path | None
    forbid: Path | None
    moderate: bool


def write_triplets(out: Path, order: WriteOrder, told: Told, counted: Counted) -> Tally:
    """Captions -> triplets in a file."""
    if order.count is not None and order.count < 1:
        raise BadInput(f"--count {order.count}: from 1.")
    world = next((world for world in WORLDS if order.captions in (world, f"{world}:held-out")), None)
    writer: Writer
    if world is not None:
        grammar = Grammar(world, order.seed, held_out=order.captions.endswith(":held-out"))
        known = GrammarWriter(grammar, order.count or 1000)
        sources, writer = known.sources, known
    elif order.writer == "grammar":
        raise BadInput(
            f"--captions {order.captions}: the grammar writes about scenes of its own, --captions "
            f"{' or '.join(WORLDS)}. For other captions give --writer: a server's address, or a folder of a language "
            "model."
        )
    else:
        sources = read_captions(Path(order.captions), told)
    flagged: Callable[[str], bool] = lambda text: False
    if order.writer != "grammar":
        writer = _writer(order)
    if order.forbid is not None:
        flagged = forbidding(order.forbid)
    if order.moderate:
        if not isinstance(writer, ServerWriter):
            raise BadInput("--moderate asks the --writer's server; for others list words in a file: --forbid FILE.")
        listed = flagged
        flagged = lambda text: listed(text) or writer.flagged(text)
    whole = write(
        sources, writer, out, part=part(order.part), count=order.count, together=order.together, flagged=flagged,
        told=lambda tally: counted(tally.done + tally.rejected, tally.done + tally.rejected + tally.left),
    )  # fmt: skip
    if not whole.done:
        raise BadInput(f"No triplets came of {order.captions}: see {out}.rejected.jsonl for what was wrong with each.")
    return whole


def _writer(order: WriteOrder) -> Writer:
    if "://" in order.writer:
        if not order.writer_model:
            raise BadInput("--writer-model: which of the server's models shall write?")
        return ServerWriter(
            order.writer, order.writer_model, EXAMPLES if order.examples is None else read_triplets(order.examples)
        )
    from limner.edits.language import LanguageModel

    return LanguageModel(Path(order.writer), order.seed)


@dataclass(frozen=True)
class Thresholds:
    """Which filter: a preset, with single values of one's own."""

    preset: str
    image: float | None
    text: float | None
    direction: float | None
    keep: int | None

    def filter(self) -> Filter:
        if self.preset not in PRESETS:
            raise BadInput(f"There is no filter {self.preset!r}; there are: {', '.join(PRESETS)}.")
        given = {name: getattr(self, name) for name in ("image", "text", "direction", "keep")}
        return Filter(**{**vars(PRESETS[self.preset]), **{k: v for k, v in given.items() if v is not None}})


def draw_pairs(
    triplets: Path,
    out: Path,
    recipe: Recipe,
    chosen_by: Filter,
    *,
    count: int | None,
    this_part: str,
    workers: int,
    threads: int,
    ray: str | None,
    told: Told,
    counted: Counted,
) -> Iterator[str]:
    """Triplets -> pairs of pictures in a folder. Yields what there is to say at the end."""
    total = len(read_triplets(triplets, told))
    claim(out, recipe)
    mine = part_of(min(total, count or total), *part(this_part))
    todo = needed(mine, out, chosen_by)
    if len(todo) < len(mine):
        told(f"{len(mine) - len(todo):,} of {len(mine):,} triplets are done already.")
    job = Pairing(triplets.resolve(), out.resolve(), recipe, chosen_by)
    for done, _ in enumerate(spread(todo, job, workers=workers, threads=threads, ray=ray), 1):
        counted(done, len(todo))
    yield from choose(out, chosen_by)


def choose(root: Path, chosen_by: Filter, *, prune: bool = False) -> Iterator[str]:
    """Choose anew among all samples that were scored, and list the choice in metadata.jsonl and seeds.json.

    Pictures that aren't chosen stay where they are, unlisted, unless `prune`. Samples that are chosen now and have no
    pictures are counted, and drawn by the next `draw_pairs`. Yields lines that say what came of it; raises `BadInput`
    with the scores' distribution when nothing is kept, and leaves the folder as it was.
    """
    folders = sorted(folder for folder in _folders(root) if (folder / DONE).exists())
    if not folders:
        raise BadInput(f"{root} holds no finished pairs. Make them with limner edits pair.")
    samples: dict[Path, list[Sample]] = {folder: read_samples(folder / SCORES) for folder in folders}
    chosen = {folder: chosen_by.chosen(found) for folder, found in samples.items()}
    every = [sample for found in samples.values() for sample in found]
    if not any(chosen.values()):
        lines = "\n".join(distribution(every, chosen_by))
        raise BadInput(f"The filter keeps none of {len(every):,} pairs. The scores' quantiles:\n{lines}")
    listed: list[tuple[str, list[str]]] = []
    lacking = unlisted = 0
    for folder, wanted in chosen.items():
        have = [sample for sample in wanted if has_pictures(folder, sample)]
        lacking += len(wanted) - len(have)
        write_lines(folder / CHOSEN, have)
        names = {str(sample.seed) for sample in have}
        for picture in folder.glob("*_[01].jpg"):
            if picture.name.partition("_")[0] not in names:
                unlisted += 1
                if prune:
                    picture.unlink()
        if have:
            listed.append((folder.name, sorted(names, key=int)))
    write_json(root / "seeds.json", listed)
    kept = sum(len(seeds) for _, seeds in listed)
    yield from distribution(every, chosen_by)
    yield f"{kept:,} of {len(every):,} pairs are kept, of {len(listed):,} of {len(folders):,} triplets."
    if lacking:
        yield (
            f"{lacking:,} more are chosen and have no pictures: draw them with the same limner edits pair and these "
            "thresholds."
        )
    if unlisted:
        yield f"{unlisted:,} pictures that aren't chosen {'were removed' if prune else 'stay; --prune removes them'}."


def _folders(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise BadInput(f"There is no folder {root}. Pairs of pictures are made by limner edits pair.")
    return (folder for folder in root.iterdir() if folder.is_dir() and folder.name.isdecimal())


def shard(
    root: Path, out: Path, *, size: int, latents: str | None, resolution: tuple[int, int], told: Told, counted: Counted
) -> str:
    """Pack the chosen pairs of a folder."""
    pairs = pairs_of(root, told)
    if latents is None:
        count = write_shards(pairs, out, size=size, told=told, progress=counted)
        return f"{out}: {count:,} pairs in tar shards"
    model = load(latents)
    if not hasattr(model, "autoencoder"):
        raise BadInput(
            f"{latents} is a {type(model).__name__}, which has no autoencoder. Give a latent diffusion model."
        )
    factor = model.config.autoencoder.factor
    if resolution[0] % factor or resolution[1] % factor:
        raise BadInput(f"--size {resolution[1]}x{resolution[0]}: sides are multiples of {factor} for {latents}.")

    count = write_latents(
        pairs, out, model, latents, resolution=resolution, size=size, told=told, progress=counted
    )  # fmt: skip
    return f"{out}: latents of {count:,} pairs, mirrored too"
