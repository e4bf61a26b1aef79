# Everything a developer does. `make setup` needs Python 3.11 and nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# --no-compile halves the time; Python compiles a module when it is first imported.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
DEMO_DIR ?= runs/demo

# Without compiled files every process compiles all of torch's modules anew: seconds a test.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test prove-gpu lint format stubs bench bench-gpu claims docs clean

setup: $(VENV)/.all

# The demo needs no test tools: it installs the package and its data extra only.
demo: $(VENV)/.core
	$(BIN)/downslope train digits --run-dir $(DEMO_DIR)-$$(date +%Y%m%d-%H%M%S)

test: $(VENV)/.all
	$(BIN)/python -m pytest

# Every program of every rule in every kind of number, of which `make test` takes a sample.
prove-gpu: $(VENV)/.all
	DOWNSLOPE_EVERY_KERNEL=1 $(BIN)/python -m pytest tests/engines/test_gpu.py tests/engines/test_gpu_code.py

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

stubs: $(VENV)/.all
	$(BIN)/python dev/stubs.py

bench: $(VENV)/.all
	$(BIN)/python -m benchmarks.optimizers

bench-gpu: $(VENV)/.all
	$(BIN)/python -m benchmarks.gpu

# What the guides say, tried; writes docs/claims.md.
claims: $(VENV)/.all
	$(BIN)/python -m benchmarks.claims

docs: $(VENV)/.all
	$(BIN)/sphinx-build -W -q docs docs/_build

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build docs/rules

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing downslope (torch is large: about a minute)"
	$(PIP) -e '.[data]'
	@touch $@

$(VENV)/.all: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing downslope with everything (two minutes or so)"
	$(PIP) -e '.[all]'
	@touch $@ $(VENV)/.core
