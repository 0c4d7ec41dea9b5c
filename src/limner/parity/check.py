"""Checking records: which of our networks answers for each, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from limner.errors import BadInput, LimnerError
from limner.parity import SYSTEMS
from limner.parity.compare import Difference, differences
from limner.parity.record import Network, Record


@dataclass(frozen=True)
class Verdict:
    """What became of one record: its printed lines, whether all of it was met, and its row of the results page."""

    passed: bool
    lines: tuple[str, ...]
    row: tuple[str, ...] = ()  # system, network, values compared, largest relative difference, tolerance


def network_for(record: Record) -> Network:
    """The handler of a record's network; an unknown one is an error that lists those there are."""
    if record.system not in SYSTEMS:
        raise BadInput(f"{record.path}: no parity check for system {record.system!r}; there is {', '.join(SYSTEMS)}")
    networks: dict[str, Network] = import_module(SYSTEMS[record.system]).NETWORKS
    if record.network not in networks:
        known = ", ".join(networks)
        raise BadInput(f"{record.path}: no parity check for {record.system}'s {record.network!r}; there is {known}")
    return networks[record.network]


def check(record: Record) -> list[tuple[Record, Network, list[Difference]]]:
    """Compare everything a record holds: its outputs and, where it has one, those of its second filling."""
    network = network_for(record)
    fillings = [record]
    if "post_fill" in record.content:
        fillings.append(replace(record, post_filled=True))
    return [(filled, network, differences(filled.expected, network.outputs(filled))) for filled in fillings]


def verdict(path: Path) -> Verdict:
    """Check one record file; a file that can't be checked has failed, and says why."""
    try:
        results = check(Record.read(path))
    except LimnerError as error:
        return Verdict(False, (f"FAIL  {error}",))
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        return Verdict(False, (f"FAIL  {path}: it can't be checked as it is: {type(error).__name__}: {error}",))
    passed, lines, worst, compared = True, [], 0.0, 0
    for record, network, found in results:
        title = f"{record.system} {record.network}{' (post_fill)' if record.post_filled else ''}"
        good = all(each.within(network.tolerance) for each in found)
        passed &= good
        worst, compared = max(worst, *(each.relative for each in found)), compared + len(found)
        reason = f", because {network.because}" if network.because else ""
        lines.append(f"{'PASS' if good else 'FAIL'}  {title}  [{path.name}, tolerance {network.tolerance:g}{reason}]")
        lines += [f"      {_line(each, network.tolerance)}" for each in found]
    tolerance = f"{network.tolerance:g}" + (f" ({network.because})" if network.because else "")
    return Verdict(passed, tuple(lines), (record.system, record.network, str(compared), f"{worst:.1e}", tolerance))


def _line(found: Difference, tolerance: float) -> str:
    mark = "ok  " if found.within(tolerance) else "BAD "
    return mark + (
        f"{found.output}: {found.problem}"
        if found.problem
        else f"{found.output}: largest difference {found.absolute:.2e}, relative {found.relative:.2e}"
    )


def one_thread() -> None:
    """Let this process compute on one thread: there is a process for each."""
    import torch

    torch.set_num_threads(1)
