# Everything runs in a virtual environment of the checkout; nothing is installed outside it and the user's cache folder,
# but Debian's chromium for the browser tests where `make test` runs as root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEVICE ?= Simulated
PYTEST := $(BIN)/python -m pytest -q
FAST_TESTS := tests/unit tests/property tests/golden
# Tests with processes wait more than they work, so more of them run at once than there are cores. A file stays with one
# worker, and each worker has a control plane. Media, the browser and the live cluster have the machine for themselves.
SHARED_TESTS := tests/chart tests/e2e tests/faults
ALONE_TESTS := tests/media tests/ui tests/e2e/test_live_pipeline.py
WORKERS ?= 3
PROGRAMS := etcd kube-apiserver kube-controller-manager kube-scheduler kubectl prometheus promtool helm
.DEFAULT_GOAL := help
.PHONY: help demo demo-controls test test-fast soak soak-media lint generate bench-effects bench-operator bench-autoscaler \
	bench-media bench-gpu bench-glass bench-placement bench-live clean

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
	@tools/install-coturn
	@$(BIN)/python -m devcluster cluster binaries $(PROGRAMS) >/dev/null
	$(PYTEST) -n auto $(FAST_TESTS)
	$(PYTEST) -n $(WORKERS) --dist loadfile --durations=10 $(SHARED_TESTS) --ignore tests/e2e/test_live_pipeline.py
	$(PYTEST) --durations=10 $(ALONE_TESTS)

test-fast: $(VENV)/test.stamp ## What needs no processes and no network: unit, property, golden
	$(PYTEST) -n auto $(FAST_TESTS)

soak: $(VENV)/test.stamp ## Everything that takes minutes: all faults for their full time, kills after every write, mutants
	$(PYTEST) -m soak -n $(WORKERS) --dist loadfile --durations=0 tests/property tests/e2e tests/faults
	$(PYTEST) -m soak --durations=0 tests/media

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

bench-autoscaler: $(VENV)/test.stamp ## Our scaling law against HPA, KEDA, KPA and others on one simulated load; FULL=1: 30 seeds
	@$(BIN)/python bench/autoscaler.py

bench-media: $(VENV)/test.stamp ## The media path against stock aiortc: latency, sessions a core, overload, loss. QUICK=1: about 5 minutes
	@$(BIN)/python bench/media.py $(if $(QUICK),--quick)

bench-gpu: $(VENV)/test.stamp ## The engine on a GPU: frames a second, latency, sessions. Without CUDA it says so
	@$(BIN)/python bench/gpu.py

bench-glass: $(VENV)/test.stamp ## Camera to canvas in headless Chromium, against stock aiortc
	@tools/install-chromium
	@$(BIN)/python bench/glass_to_glass.py

soak-media: $(VENV)/test.stamp ## Clients come and go, half of them killed; memory, threads, sockets flat. MINUTES=30
	@$(BIN)/python bench/soak_media.py $(if $(MINUTES),--minutes $(MINUTES))

bench-placement: $(VENV)/test.stamp ## Where sessions land: placed by the pods against at random
	@$(BIN)/python bench/placement.py

bench-live: $(VENV)/test.stamp ## The real HPA controller and our law on twin pipelines under one real WebRTC load. MINUTES=12
	@$(BIN)/python bench/live.py $(if $(MINUTES),--minutes $(MINUTES))

bench-operator: $(VENV)/test.stamp ## 500, 2,000 and 5,000 pipelines on a real API server, beside a plain kopf operator (an hour)
	@$(BIN)/python bench/operator_scale.py $(if $(SIZES),--sizes $(SIZES)) $(if $(SHORT),--sizes 100 --seconds 5 --tick-seconds 2 --repeats 1)

clean: ## Removes the virtual environment and build/
	rm -rf $(VENV) build
