"""CONTRIBUTING.md's worked example runs as it stands, in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TABLES = {
    "TABLE": "src/limner/systems/__init__.py",
    "SYSTEMS": "src/limner/parity/__init__.py",
    "CASES": "tests/test_every_system.py",
    "LAYOUTS": "tests/test_convert.py",
}


def build(scratch: Path) -> None:
    """The package and the page's files in `scratch`; its lines in the tables they are for."""
    left_out = shutil.ignore_patterns("weights", "__pycache__", "*.png", "*.json", "conftest.py")
    for folder in ("src", "docs", "tests"):
        shutil.copytree(ROOT / folder, scratch / folder, ignore=left_out)
    shutil.copy(ROOT / "README.md", scratch)
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for title, content in re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', page, re.M | re.S):
        if table := re.fullmatch(r"add to (\w+)", title):
            file = scratch / TABLES[table[1]]
            before = f"{table[1]} = {{\n"
            old = file.read_text("utf-8")
            assert before in old
            file.write_text(old.replace(before, before + content), "utf-8")
        else:
            file = scratch / title
            assert not file.exists(), f"{title} is limner's already: the example needs another name"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, "utf-8")


def run(scratch: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(scratch / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=scratch, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_worked_example_runs(tmp_path: Path) -> None:
    build(tmp_path)
    run(tmp_path, "make_record.py")
    assert "1 of 1 records pass" in run(tmp_path, "-m", "limner.parity", "tests/parity/srcnn-network.json")
    run(tmp_path, "tests/page_tables.py")
    suites = (f"tests/test_{name}.py" for name in ("srcnn", "every_system", "convert", "docs"))
    told = run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", *suites, "-k", "srcnn or table or page or tried")
    assert re.search(r"\b\d\d passed", told), told  # its own seven, and the house's


@pytest.mark.slow
def test_the_worked_example_passes_what_make_check_asks(tmp_path: Path) -> None:
    build(tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    run(tmp_path, "-m", "ruff", "check", "src/limner", "tests", "recipes")
    run(tmp_path, "-m", "mypy", *(str(path) for path in (tmp_path / "src").rglob("srcnn.py")))
