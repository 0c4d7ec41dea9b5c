"""What limner imports is what it asks pip for: a package that another one happens to bring may be gone tomorrow."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Besides, extras that the tests do without.
NOT_INSTALLED = {"cv2": "opencv-python-headless", "peft": "peft", "piper": "piper-tts", "ray": "ray"}
ONLY_TYPES = {"_typeshed"}


def imported() -> dict[str, Path]:
    """Top-level module -> a file that imports it."""
    found = {}
    for file in (ROOT / "src/limner").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            found |= {name.partition(".")[0]: file for name in names}
    return found


def plain(name: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    declared = {plain(re.split(r"[\s<>=!~\[;]", name)[0]) for name in wanted}
    brought = packages_distributions() | {module: [name] for module, name in NOT_INSTALLED.items()}
    missing = {
        module: file.relative_to(ROOT).as_posix()
        for module, file in imported().items()
        if module not in sys.stdlib_module_names | ONLY_TYPES | {"limner"}
        and declared.isdisjoint(map(plain, brought.get(module, ())))
    }
    assert missing == {}
