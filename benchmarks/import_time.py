"""How long limner takes to answer: `limner --help` and `import limner`, against a Python that does nothing.

    python benchmarks/import_time.py [--rounds 15]

Prints the CPU seconds of a process, the least of several rounds taken in turn, and what each costs over plain Python.
The aims are 0.3 s for `limner --help` and 0.2 s for `import limner` above plain Python.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

PROGRAMS = {
    "python": ["-c", "pass"],
    "import limner": ["-c", "import limner"],
    "limner --help": ["-m", "limner.cli", "--help"],
    "limner draw --help": ["-m", "limner.cli", "draw", "--help"],
    "import torch": ["-c", "import torch"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """User and system seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    least = {name: float("inf") for name in PROGRAMS}
    for _ in range(rounds):
        for name, arguments in PROGRAMS.items():
            least[name] = min(least[name], cpu_seconds(arguments))
    plain = least["python"]
    print(f"{'':20} {'CPU s':>7} {'above python':>13} {'ratio':>6}")
    for name, seconds in least.items():
        print(f"{name:20} {seconds:7.3f} {seconds - plain:13.3f} {seconds / plain:6.1f}")


if __name__ == "__main__":
    main()
