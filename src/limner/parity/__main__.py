"""`python -m limner.parity RECORD.json ...`: one line per output, PASS or FAIL, exit status 1 if anything fails."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from limner.errors import BadInput, LimnerError
from limner.parity import SYSTEMS
from limner.parity.compare import Difference, differences
from limner.parity.record import Network, Record


@dataclass(frozen=True)
class Verdict:
    """What became of one record: its printed lines, and whether all of it was met."""

    passed: bool
    lines: tuple[str, ...]


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
    passed, lines = True, []
    for record, network, found in results:
        title = f"{record.system} {record.network}{' (post_fill)' if record.post_filled else ''}"
        good = all(each.within(network.tolerance) for each in found)
        passed &= good
        reason = f", because {network.because}" if network.because else ""
        lines.append(f"{'PASS' if good else 'FAIL'}  {title}  [{path.name}, tolerance {network.tolerance:g}{reason}]")
        lines += [f"      {_line(each, network.tolerance)}" for each in found]
    return Verdict(passed, tuple(lines))


def _line(found: Difference, tolerance: float) -> str:
    mark = "ok  " if found.within(tolerance) else "BAD "
    return mark + (
        f"{found.output}: {found.problem}"
        if found.problem
        else f"{found.output}: largest difference {found.absolute:.2e}, relative {found.relative:.2e}"
    )


def _verdicts(paths: list[Path], jobs: int) -> Iterator[Verdict]:
    if jobs <= 1 or len(paths) <= 1:
        yield from map(verdict, paths)
        return
    # One record per process and then a new one: no more than `jobs` networks are ever in memory.
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(paths)), _one_thread, maxtasksperchild=1) as pool:
        yield from pool.imap(verdict, paths, chunksize=1)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m limner.parity", description=__doc__)
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD.json")
    parser.add_argument("--jobs", type=int, default=1, help="records checked at the same time (default 1)")
    arguments = parser.parse_args()
    failed = 0
    for result in _verdicts(arguments.records, arguments.jobs):
        print("\n".join(result.lines), flush=True)
        failed += not result.passed
    print(f"{len(arguments.records) - failed} of {len(arguments.records)} records pass")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
