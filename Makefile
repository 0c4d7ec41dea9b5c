# Everything is set up in .venv; nothing is needed but Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: film test slow check docs tables clean

film: .venv/film.done  ## narrated films of two public-domain texts, in films/
	$(BIN)/limner film examples/fox-and-grapes.txt -o films/fox-and-grapes.mp4 --yes
	$(BIN)/limner film examples/owl-and-pussycat.txt -o films/owl-and-pussycat.mp4 --yes

test: .venv/dev.done  ## the tests, and every parity record
	$(BIN)/python -m pytest
	$(BIN)/python -m limner.parity --jobs 2 --cache .venv/parity tests/parity/*.json

slow: .venv/dev.done  ## the tests that take minutes, too
	$(BIN)/python -m pytest --slow

check: .venv/dev.done  ## lint, types, floors, documentation
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet

docs: .venv/dev.done
	$(BIN)/mkdocs serve

tables: .venv/dev.done  ## the tables in the pages that commands print
	$(BIN)/python tests/page_tables.py
	$(BIN)/python -m limner.parity --jobs 2 --cache .venv/parity --page docs/results/parity.md tests/parity/*.json

$(BIN)/pip:
	$(PYTHON) -c "import sys; sys.exit('limner needs Python 3.11 or newer, this is ' + sys.version.split()[0] if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv .venv

.venv/film.done: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e '.[film]'
	touch $@

.venv/dev.done: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e '.[film,diffusion,stickers,hub,provenance,dev]'
	touch $@

clean:
	rm -rf .venv site build
