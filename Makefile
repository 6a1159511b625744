# `make run` and `make test` set up what is missing and do the rest. Set PYTHON to choose an interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard csrc/*.c csrc/*.h csrc/*.py) setup.py pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help run test lint bench native clean

help:
	@echo "make run    replicate a stream into shard processes on this machine, and prove it key by key"
	@echo "make test   build everything and pass all tests"
	@echo "make lint   ruff and mypy --strict;  make native   the C core's own tests, also under sanitizers"
	@echo "make bench  the benchmarks beside the rivals;  make clean   remove what was built"

# One stamp for the virtual environment and the build in it; made anew when the C core or the metadata change.
$(VENV)/ready: $(SOURCES)
	@command -v $(PYTHON) >/dev/null || { echo "kevy-ring needs Python 3.10 or newer: '$(PYTHON)' was not found"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "kevy-ring needs Python 3.10 or newer: $$($(PYTHON) --version) is too old (set PYTHON)"; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || { echo "kevy-ring needs a C compiler (Debian: apt install gcc libc6-dev python3-dev)"; exit 1; }
	@test -x $(BIN)/python || { echo "making a virtual environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "building kevy-ring and installing what it and its tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'setuptools>=77' 'cffi>=1.16' wheel
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev]'
	@touch $@

run: $(VENV)/ready
	@$(BIN)/kevy-ring ingest

test: $(VENV)/ready
	$(BIN)/python -m pytest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

native:
	$(MAKE) -C csrc test asan tsan stress mutants

bench: $(VENV)/ready
	@sh bench/run.sh

clean:
	rm -rf $(VENV) .venv-bench build dist csrc/build bench/native/build src/*.egg-info src/kevy_ring/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
