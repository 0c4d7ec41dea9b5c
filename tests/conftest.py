"""What all tests share: one thread a process, property tests that find the same every time, and `--slow`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in the processes that tests start

# A shared machine may stall for seconds, so that no example has a deadline.
settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def sticker_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from limner.stickers.art import fetch
    from sticker_shapes import write_packages

    packages, home = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("home")
    fetch(home, source=packages, packages=write_packages(packages))
    return home


@pytest.fixture
def sticker_art(sticker_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sticker art of the tests' own, where limner looks for it."""
    monkeypatch.setenv("LIMNER_HOME", str(sticker_home))
    return sticker_home
