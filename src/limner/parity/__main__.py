"""`python -m limner.parity RECORD.json ...`: one line per output, PASS or FAIL, exit status 1 if anything fails."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from limner.parity.check import Verdict, one_thread, verdict


def _verdicts(paths: list[Path], jobs: int) -> Iterator[Verdict]:
    if jobs <= 1 or len(paths) <= 1:
        yield from map(verdict, paths)
        return
    # One record per process and then a new one: no more than `jobs` networks are ever in memory.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(paths)), spawn, one_thread, max_tasks_per_child=1) as pool:
        try:
            yield from pool.map(verdict, paths)
        except BrokenProcessPool:
            yield Verdict(False, ("FAIL  a process was killed, most likely for memory: try again with fewer --jobs",))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m limner.parity", description=__doc__)
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD.json")
    parser.add_argument("--jobs", type=int, default=1, help="records checked at the same time (default 1)")
    arguments = parser.parse_args()
    passed = 0
    for result in _verdicts(arguments.records, arguments.jobs):
        print("\n".join(result.lines), flush=True)
        passed += result.passed
    print(f"{passed} of {len(arguments.records)} records pass")
    return 0 if passed == len(arguments.records) else 1


if __name__ == "__main__":
    sys.exit(main())
