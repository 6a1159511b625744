# make run     replicate a stream over TCP into shard processes on this machine, and compare the results
# make test    build everything and run all tests, in TEST_WORKERS processes at once
# make lint    ruff and mypy
# make docs    the documentation, as a site in site/
# make bench   the benchmarks
# make torture kill -9 at random under load, and compare the results (TORTURE="--minutes 5 --seed 7")
# make clean   remove everything that the other targets made
# Each target makes the virtual environment in .venv that it needs. PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
# The tests mostly wait, so more workers than processors help. Each file stays in one worker.
# The files start in the order of tests/conftest.py; by default xdist would start those with few tests last, also long ones.
TEST_WORKERS ?= 4
VENV := .venv
BIN := $(VENV)/bin
BUILT_FROM := pyproject.toml setup.py csrc/build_ffi.py $(wildcard csrc/*.h $(foreach layer,ring inbox wire rdb python,csrc/$(layer)/*.[ch]))
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check -qq install

.DELETE_ON_ERROR:
.PHONY: run test lint docs bench torture clean

run: $(VENV)/for-run
	@$(BIN)/kevy-ring ingest

test: $(VENV)/for-work
	@$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

lint: $(VENV)/for-work
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Any warning is an error.
docs: $(VENV)/for-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the documentation is in site/index.html"

torture: $(VENV)/for-work
	@$(BIN)/python tests/support/torture.py $(TORTURE)

# The benchmarks have their own environment, .venv-bench. BENCH="CASE ... --quick" chooses the cases.
bench: $(BIN)/python
	@PYTHON=$(PYTHON) bench/setup.sh
	@.venv-bench/bin/python -m bench $(BENCH)

clean:
	@rm -rf $(VENV) .venv-bench site bench/native/build build dist csrc/build csrc/fuzz/build src/*.egg-info src/kevy_ring/_core.*.so
	@rm -rf .nox .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src tests bench csrc docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Editable installs of three sizes: for the command, for work on it, and for its documentation.
$(VENV)/for-run: $(BUILT_FROM) | $(BIN)/python
	@echo "building the C core and installing kevy-ring into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[cli]'
	@touch $@

$(VENV)/for-work: $(BUILT_FROM) | $(BIN)/python
	@echo "building the C core and installing kevy-ring and its tools into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/for-run

$(VENV)/for-docs: $(BUILT_FROM) | $(BIN)/python
	@echo "installing the tools for the documentation into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[docs]'
	@touch $@ $(VENV)/for-run

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "kevy-ring: no $(PYTHON) found (Debian: apt install python3)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "kevy-ring: Python 3.11 or newer is needed; choose one with make PYTHON=..." >&2; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null \
	  || { echo "kevy-ring: no C compiler found (Debian: apt install gcc libc6-dev python3-dev)" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
	  || { echo "kevy-ring: no Python.h found (Debian: apt install python3-dev)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "kevy-ring: Python cannot make virtual environments (Debian: apt install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
