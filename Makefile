# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
OUT ?= runs/demo
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

# Real data for the tests where they lie beside the project; tests that need them are skipped and counted elsewhere.
ifneq ($(wildcard ../shared/data/.),)
export LIMBECK_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test quick unit check architecture format docs bench torture clean

demo: $(VENV)/installed
	$(BIN)/limbeck distill --out $(OUT) --overwrite

test: $(VENV)/installed-dev
	$(MAKE) --no-print-directory check
	$(PYTEST) --durations 10 -r s

quick: $(VENV)/installed-dev
	$(MAKE) --no-print-directory --jobs 2 check unit

unit: $(VENV)/installed-dev
	$(PYTEST) --quiet -m "not slow and not browser" tests/unit

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/architecture.py --check

architecture: $(VENV)/installed-dev
	$(BIN)/python tools/architecture.py

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

bench: $(VENV)/installed
	$(BIN)/limbeck bench loss
	$(BIN)/limbeck bench step

# An hour of kills, damage, full disks and odd inputs; TORTURE=quick takes two minutes. Writes docs/reliability.md.
torture: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	$(BIN)/python tools/chromium.py
	$(BIN)/python tools/axe.py
	touch $@
