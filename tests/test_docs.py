"""The pages keep up with the code: every verb and system has its page, and the README's table is the command's."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.cli import GROUPS, VERBS
from limner.systems import TABLE
from page_tables import TABLES, filled

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def test_every_verb_has_a_page_that_names_its_commands() -> None:
    assert {path.stem for path in (DOCS / "verbs").glob("*.md")} == set(VERBS)
    for verb, group in GROUPS.items():
        page = (DOCS / "verbs" / f"{verb}.md").read_text("utf-8")
        assert [name for name in group if f"limner {verb} {name}" not in page] == []


def test_every_system_has_a_page_that_names_its_file() -> None:
    pages = " ".join(path.read_text("utf-8") for path in (DOCS / "systems").glob("*.md"))
    files = {name: f"src/{where.partition(':')[0].replace('.', '/')}.py" for name, where in TABLE.items()}
    assert [name for name, file in files.items() if file not in pages] == []


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_in_pages_are_the_commands(page: str) -> None:
    assert (ROOT / page).read_text("utf-8") == filled(page), "make tables"
