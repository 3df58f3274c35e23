# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
OUT ?= runs/demo
export PYTHONDONTWRITEBYTECODE := # so that a process started by a test need not compile everything again
OLDEST_PYTHON ?= python3.10
OLDEST_PIP ?=
OLDEST_TESTS ?= tests/unit tests/contracts
# Other releases of pydantic say the same in other words.
SCHEMA_TEST := tests/unit/test_config.py::test_the_published_schema_is_the_one_that_is_checked
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dist loadgroup --numprocesses

# Real data for the tests where they lie beside the project; tests that need them are skipped and counted elsewhere.
ifneq ($(wildcard ../shared/data/.),)
export LIMBECK_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test test-oldest quick unit check architecture format docs bench torture audit hashes clean

demo: $(VENV)/installed
	$(BIN)/limbeck distill --out $(OUT) --overwrite

test: $(VENV)/installed-dev
	$(MAKE) --no-print-directory check
	$(PYTEST) 3 --durations 10 -r s

# Unit and contract tests with the oldest versions that pyproject.toml allows, in an environment of their own: about three
# gigabytes, unless OLDEST_PIP="--index-url ..." names PyTorch's index of builds for the CPU, a tenth of that.
test-oldest: $(VENV)/oldest/installed
	OMP_NUM_THREADS=1 PYTHONPATH=src $(VENV)/oldest/bin/python -m pytest --numprocesses 3 --dist loadgroup --quiet -r s \
		--override-ini filterwarnings=default -m "not slow and not browser" \
		--deselect $(SCHEMA_TEST) $(OLDEST_TESTS)

quick: $(VENV)/installed-dev
	$(MAKE) --no-print-directory --jobs 2 check unit

unit: $(VENV)/installed-dev
	$(PYTEST) 2 --quiet -m "not slow and not browser" tests/unit

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/architecture.py --check
	$(BIN)/python tools/badges.py --check

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

# Known vulnerabilities of the pinned versions; exit code 3 where the service could not be asked.
audit: $(VENV)/tools/installed
	$(VENV)/tools/bin/python tools/audit.py

# The hashed list for releases, written again after constraints.txt changed.
hashes: $(VENV)/tools/installed
	$(VENV)/tools/bin/python tools/hashed.py

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

$(VENV)/tools/installed: $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/python -m pip install --quiet --disable-pip-version-check pip-audit pip-tools
	touch $@

$(VENV)/oldest/installed: pyproject.toml tools/oldest.py
	mkdir -p $(VENV)
	$(OLDEST_PYTHON) -m venv $(VENV)/oldest
	$(VENV)/oldest/bin/python -m pip install --quiet --disable-pip-version-check packaging tomli
	$(VENV)/oldest/bin/python tools/oldest.py > $(VENV)/oldest/constraints.txt
	$(VENV)/oldest/bin/python -m pip install --disable-pip-version-check --constraint $(VENV)/oldest/constraints.txt $(OLDEST_PIP) \
		--editable . hypothesis pytest pytest-timeout pytest-xdist
	touch $@
