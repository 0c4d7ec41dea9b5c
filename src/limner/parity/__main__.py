"""`python -m limner.parity RECORD.json ...`: one line per output, PASS or FAIL, exit status 1 if anything fails."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path

import torch

import limner
from limner.parity.check import Verdict, one_thread, verdict

PAGE = """# Parity, measured

Made by `python -m limner.parity --page docs/results/parity.md tests/parity/*.json`. The largest difference is in units
of the output's standard deviation, over all recorded outputs, losses, gradient norms and parameter counts;
[what that means](../parity.md).

{passed} of {all} records pass.

| system | network | outputs | largest difference | tolerance | |
|---|---|---|---|---|---|
{rows}
"""


def _verdicts(paths: list[Path], jobs: int) -> Iterator[Verdict]:
    if jobs <= 1 or len(paths) <= 1:
        yield from map(verdict, paths)
        return
    # A process checks one record after the other, so that no more than `jobs` networks are ever in memory.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(paths)), spawn, one_thread) as pool:
        try:
            yield from pool.map(verdict, paths)
        except BrokenProcessPool:
            yield Verdict(False, ("FAIL  a process was killed, most likely for memory: try again with fewer --jobs",))


@cache
def _code() -> bytes:
    """A fingerprint of everything that a verdict depends on besides the record."""
    found = hashlib.sha256(torch.__version__.encode())
    root = Path(limner.__file__).parent
    for file in sorted([*root.glob("*.py"), *(f for p in ("nn", "systems", "published", "parity", "metrics")
                                              for f in (root / p).rglob("*.py"))]):  # fmt: skip
        found.update(file.read_bytes())
    return found.digest()


def _remembered(folder: Path, path: Path) -> Path | None:
    """Where a record's verdict is kept, under a name of all that it depends on."""
    try:
        return folder / f"{hashlib.sha256(_code() + path.read_bytes()).hexdigest()}.json"
    except OSError:
        return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m limner.parity", description=__doc__)
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD.json")
    parser.add_argument("--jobs", type=int, default=1, help="records checked at the same time (default 1)")
    parser.add_argument("--cache", type=Path, help="folder that remembers what has passed with the code as it is")
    parser.add_argument("--page", type=Path, help="write the largest differences to this page")
    arguments = parser.parse_args()
    kept = {path: _remembered(arguments.cache, path) for path in arguments.records} if arguments.cache else {}
    known = {path: Verdict(**json.loads(file.read_text())) for path, file in kept.items() if file and file.exists()}
    fresh = _verdicts([path for path in arguments.records if path not in known], arguments.jobs)
    passed, rows = 0, []
    for path in arguments.records:
        result = known.get(path) or next(fresh, None)
        if result is None:  # a killed process has ended the others
            break
        print("\n".join(result.lines), flush=True)
        passed += result.passed
        rows.append((*(result.row or (path.stem, "", "", "", "")), "PASS" if result.passed else "FAIL"))
        if result.passed and (file := kept.get(path)) and path not in known:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(dataclasses.asdict(result)))
    print(f"{passed} of {len(arguments.records)} records pass")
    if arguments.page:
        table = "\n".join(f"| {' | '.join(row)} |" for row in sorted(rows))
        arguments.page.write_text(PAGE.format(passed=passed, all=len(arguments.records), rows=table), "utf-8")
    return 0 if passed == len(arguments.records) else 1


if __name__ == "__main__":
    sys.exit(main())
