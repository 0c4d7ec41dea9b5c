"""The tables in pages that commands print: `python tests/page_tables.py` writes them, `test_docs.py` asks for them."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from limner.cli import run

ROOT = Path(__file__).parent.parent
TABLES = {
    "README.md": ["systems", "--markdown"],
    "docs/published.md": ["published", "--markdown"],
    "docs/verbs/edits.md": ["edits", "cost"],
}


def filled(page: str) -> str:
    """The page with what its command prints now between `<!-- table -->` and `<!-- /table -->`."""
    with redirect_stdout(io.StringIO()) as printed:
        run(TABLES[page])
    before, _, rest = (ROOT / page).read_text("utf-8").partition("<!-- table -->\n")
    _, mark, after = rest.partition("<!-- /table -->")
    assert mark, f"{page} has no place for its table."
    return f"{before}<!-- table -->\n{printed.getvalue()}{mark}{after}"


if __name__ == "__main__":
    for page in TABLES:
        (ROOT / page).write_text(filled(page), "utf-8")
