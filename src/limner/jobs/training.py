"""What `limner train` does: finds the data, builds the system for it, and trains it with progress in the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, cast, get_type_hints

import numpy as np
import torch

from limner.data.folder import Folder
from limner.data.kinds import Labelled, Paired
from limner.errors import BadInput
from limner.film.estimate import duration
from limner.hub import keep_tokenizer, load
from limner.jobs.sources import Told, open_source
from limner.published import vgg
from limner.rng import derive
from limner.runs import Run
from limner.system import System, Translates, config_from, to_uint8
from limner.systems import find, make
from limner.train import Listener, Options, Progress, Source, Trainer, rank

MEASURED = 8  # held-out pictures that the running metric is taken on
SHOWN = 5  # complaints about the data that are printed; limner data check has all


def fitting_config(name: str, source: Source, changes: Mapping[str, Any] | None = None) -> Any:
    """The system's config with what the data decide filled in (vocabularies, grids, classes); `changes` come on top."""
    kind, changed = find(name).Config, dict(changes or {})
    if hasattr(source, "decides"):
        parts = {option for option, value in changed.items() if isinstance(value, Mapping)}  # on top of what is decided
        options = {option.name for option in dataclasses.fields(kind)} - (changed.keys() - parts)
        for option, value in source.decides(options).items():
            if option in parts and dataclasses.is_dataclass(value) and not isinstance(value, type):
                value = config_from(type(value), dataclasses.asdict(value) | changed[option], option)
            if option == "size" and get_type_hints(kind).get(option) is int:  # of a system for squares
                if value[0] != value[1]:
                    raise BadInput(f"{name} trains on squares, not on {value[1]}x{value[0]}: crop the data.")
                value = value[0]
            if option in options:
                changed[option] = value
    return config_from(kind, changed, name)


def build(name: str, config: Any, source: Source, seed: int) -> System:
    """The system as training begins: weights drawn from the seed, and those of the model that its data come from."""
    torch.manual_seed(derive(seed, "weights"))
    system = make(name, config, "--set")
    if hasattr(source, "lend"):
        source.lend(system)
    return system


def train(
    name: str,
    data: str,
    out: Path,
    options: Options,
    *,
    changes: Mapping[str, Any] | None = None,
    prepare: Mapping[str, Any] | None = None,
    start_from: Path | None = None,
    vgg_file: Path | None = None,
    listener: Listener | None = None,
    told: Told = lambda text: None,
) -> Path:
    """Train (or go on training) and return the last checkpoint's folder.

    changes: to the system's config
    prepare: changes to how the pictures of a folder are prepared
    start_from, vgg_file: for a new run; a run that goes on has its weights. A system with `begin_as` can start from a
        model of another kind, and has the options that it says with `options_of` from there
    told: hears which data are used, what of them is left out, and what is lacking without `vgg_file`
    """
    if vgg_file is not None:
        changes = seeing(name, changes or {})
    base, kind = None, cast(Any, find(name))
    if start_from is not None and hasattr(kind, "begin_as"):
        going_on = (Run(out).config() or {}).get("config") if Run(out).checkpoints else None
        base = load(start_from) if going_on is None else None
        changes, start_from = {**(going_on or kind.options_of(base)), **(changes or {})}, None
    source = open_source(data, find(name), options.seed, prepare, told)
    config = fitting_config(name, source, changes)
    if vgg_file is None and start_from is None and not Run(out).checkpoints and (warning := blind(name, config)):
        told(warning)
    return _trained(name, config, data, source, Run(out), options, start_from or base, vgg_file, listener, told)


def seeing(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` to the system's config, with the published weights of the losses that look through VGG below them."""
    return {**vgg.use_of(name).losses, **changes}


def blind(name: str, config: Any) -> str:
    """What a person should know who trains the system without the VGG that its published training looks through."""
    use = vgg.USES.get(name)
    if use is None or not use.without or any(getattr(config, option) for option in use.losses):
        return ""
    return f"Without --vgg ({use.weights}, which limner doesn't ship) {use.without}."


def resume(
    out: Path,
    options: Options | None = None,
    listener: Listener | None = None,
    told: Told = lambda text: None,
    **more: Any,
) -> Path:
    """Go on with a run from what its directory says; `more` replaces single options (steps, budget...)."""
    known = Run(out).config()
    if known is None:
        raise BadInput(f"{out} is no run: it has no config.json. Start one with limner train.")
    prepare: dict[str, Any] | None = None
    match known.get("data"):
        case {"folder": str(data), "prepare": dict(prepare)}:
            pass
        case str(data):
            pass
        case _:
            raise BadInput(f"{out} was not started by limner train: its config.json doesn't name the data.")
    name = known["system"]
    newest, _ = Run(out).newest()
    meant = {"steps": newest.state["steps"]} if newest else {}
    chosen = dataclasses.replace(options or Options(), **known["options"] | meant | more)
    source = open_source(data, find(name), chosen.seed, prepare, told)
    config = config_from(find(name).Config, known["config"], str(out))
    return _trained(name, config, data, source, Run(out), chosen, None, None, listener, told)


def _trained(
    name: str, config: Any, data: str, source: Source, run: Run, options: Options, start_from: Path | System | None,
    vgg_file: Path | None, listener: Listener | None, told: Told,
) -> Path:  # fmt: skip
    system: Any = build(name, config, source, options.seed)
    if isinstance(start_from, System):
        system.begin_as(start_from)
    elif run.checkpoints:
        keep_tokenizer(system, run.path)
    recipe: Any = data
    if isinstance(source, Folder):
        source.classes, source.unknown = getattr(config, "classes", None), getattr(config, "unknown", True)
        recipe = {"folder": str(Path(data).resolve()), "prepare": dataclasses.asdict(source.preparation)}
        _tell(source, told)
    fresh = not run.checkpoints  # asked by all processes before the first of them saves
    trainer = Trainer(
        name, system, source, run, options,
        data=recipe, start_from=start_from if isinstance(start_from, Path) else None, listener=listener,
        measure=running_metric(system, source),
    )  # fmt: skip
    if fresh and (start_from is not None or vgg_file is not None):
        if vgg_file is not None:
            vgg.give_all(name, trainer.system, vgg_file)
        if rank() == 0:
            keep_tokenizer(system, run.path)
        trainer.save()  # so that going on never needs these files again
    return trainer.fit()


def _tell(source: Folder, told: Told) -> None:
    told(str(source))
    complaints = [*source.listing.files.complaints, *source.layout.complaints]
    for complaint in complaints[:SHOWN]:
        told(complaint)
    if len(complaints) > SHOWN:
        told(f"... and {len(complaints) - SHOWN} more: limner data check {source.listing.where}")


def running_metric(system: System, source: Source) -> Callable[[], dict[str, float]] | None:
    """What measures the system now and then: mean absolute error, of 1, and PSNR in dB on held-out pairs.

    None where the data have no held-out part or no right answer, or the system doesn't translate.
    """
    held_out = source.held_out() if hasattr(source, "held_out") else None
    if held_out is None or not isinstance(system, Translates):
        return None
    takes = signature(system.translate).parameters
    count = min(MEASURED, len(held_out)) if isinstance(held_out, Folder) else MEASURED

    def measure() -> dict[str, float]:
        errors, decibels = [], []
        for number in range(count):
            batch = held_out.take([number])
            keywords = {}
            if isinstance(batch, Paired):
                given, truth = to_uint8(batch.source), to_uint8(batch.target)
            else:
                given, truth = batch.classes.numpy(), to_uint8(batch.pictures)
                if "instances" in takes:
                    keywords = {"instances": batch.instances.numpy()}
            difference = (system.translate(given, **keywords).astype(np.float64) - truth) / 255
            errors.append(np.abs(difference).mean())
            decibels.append(-10 * np.log10(max(np.square(difference).mean(), 1e-10)))
        return {"held-out/L1": float(np.mean(errors)), "held-out/PSNR": float(np.mean(decibels))}

    return measure if isinstance(held_out.take([0]), Paired | Labelled) else None


def estimate(progress: Progress) -> str:
    """How long it will take, in a sentence; empty if that is under a minute."""
    if progress.seconds_left < 60:
        return ""
    return (
        f"About {duration(progress.seconds_left)} for the {progress.steps - progress.step} steps that are left. Ctrl-C "
        "stops at any time; the same command goes on."
    )


def describe(progress: Progress) -> str:
    """One line for the terminal."""
    told = [f"about {duration(progress.seconds_left)} left", f"{progress.samples_per_second:.1f} samples/s"]
    told += [f"{name.replace('/', ' ')} {value:.4g}" for name, value in progress.measured.items()]
    return "  ".join([*told, *(f"{name.partition('/')[2]} {value:.4g}" for name, value in progress.losses.items())])
