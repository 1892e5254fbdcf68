# Everything runs in a virtual environment of the checkout; nothing is installed outside it and the user's cache folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
.DEFAULT_GOAL := help
.PHONY: help demo demo-controls test lint clean

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

lint: $(VENV)/test.stamp ## ruff, mypy --strict, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config pyproject.toml

clean: ## Removes the virtual environment and build/
	rm -rf $(VENV) build
