# Everything runs in a virtual environment of the checkout; nothing is installed outside it and the user's cache folder,
# but Debian's chromium for the browser tests where `make test` runs as root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEVICE ?= Simulated
PYTEST := $(BIN)/python -m pytest -q
FAST_TESTS := tests/unit tests/property tests/golden
.DEFAULT_GOAL := help
.PHONY: help demo demo-controls test test-fast lint generate bench-effects clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(VENV)/demo.stamp: constraints.txt operator/pyproject.toml mediapod/pyproject.toml devcluster/pyproject.toml
	@echo "Setting up the virtual environment in $(VENV) (about a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -c constraints.txt -e operator -e mediapod -e devcluster
	@touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp tests/requirements.txt
	@echo "Installing the test tools and torch (torch is large; once) ..."
	@$(PIP) install -c constraints.txt -r tests/requirements.txt
	@touch $@

demo: $(VENV)/demo.stamp ## The main job, live: scale up on p95, drain down again. KEEP=1 stays up, DEVICE=CPU needs no simulation
	@$(BIN)/python -m devcluster demo run --device $(DEVICE) $(if $(KEEP),--keep)

demo-controls: $(VENV)/demo.stamp ## Breaks the demo in four ways; each must make it fail
	@$(BIN)/python -m devcluster demo controls

test: lint ## Everything: lint, unit, property, golden, chart, media, end to end, browser
	@tools/install-chromium
	$(PYTEST) $(FAST_TESTS)
	$(PYTEST) -v --durations=15 $(foreach folder,$(FAST_TESTS),--ignore $(folder)) tests

test-fast: $(VENV)/test.stamp ## What needs no processes and no network: unit, property, golden
	$(PYTEST) $(FAST_TESTS)

lint: $(VENV)/test.stamp ## ruff, mypy --strict, layers, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config pyproject.toml
	@$(BIN)/python tools/reference.py --check

generate: $(VENV)/test.stamp ## Writes what is generated: crds/, install.yaml, effects.json, docs/reference
	@tools/generate

bench-effects: $(VENV)/test.stamp ## Milliseconds a frame by effect: OpenCV, torch, and naive torch
	@$(BIN)/python bench/effects.py

clean: ## Removes the virtual environment and build/
	rm -rf $(VENV) build
