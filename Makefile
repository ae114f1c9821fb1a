# What can be done here. `make help` lists it; `make run` and `make test` need nothing set up before
# but Python 3.11, make and git.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON  ?= $(shell command -v python3.11 || command -v python3)
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
PEERS   := .venv-peers/.ready
SPEED   ?= 1
WORKERS ?= 3
GROUPS  := registry lighting scheduler metering ledger admin simulator cli
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## Say what can be done here
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up ------------------------------------------------------------------------------------------------

$(READY): requirements/bootstrap.lock requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Lichtbuch needs Python 3.11 ($(PYTHON) is another one); set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { echo "python3.11 cannot make a virtual environment; on Debian: apt-get install python3.11-venv" >&2; exit 1; }
	@echo "setting up $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.lock 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(READY) ## Make the virtual environment that everything else here uses

.PHONY: system-packages
system-packages: ## Install Chromium, Prometheus and gcc for the tests that need them (Debian, as root)
	@bash tools/system-packages.sh

.PHONY: peer-packages
peer-packages:
	@bash tools/system-packages.sh node:nodejs npm:npm mbpoll:mbpoll

$(PEERS): $(READY) requirements/peers.lock tests/peers/package.json tests/peers/package-lock.json tools/peers.sh | peer-packages
	@bash tools/peers.sh

# --- the main job ------------------------------------------------------------------------------------------

.PHONY: run
run: $(READY) ## Show a town at work: simulator, services, web UI (SPEED=600 shows a night in minutes)
	@exec $(BIN)/python -m cli.demo --speed $(SPEED) $(RUNFLAGS)

# --- tests -------------------------------------------------------------------------------------------------

.PHONY: test
test: $(READY) system-packages ## Run the tests: units and services in WORKERS processes, then the town end to end
	@# One process more than two cores: a quarter of the time a test waits for somebody. The town's nights run in
	@# time-lapse, where a busy machine is late by minutes: no more of them at once than cores.
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not long and not e2e" $(TESTFLAGS)
	$(BIN)/pytest -n 2 --dist loadfile -m "e2e and not long" tests/e2e tests/integration $(TESTFLAGS)

.PHONY: test-peers
test-peers: $(READY) $(PEERS) ## Run the field layer's contract against servers of other makes, which it installs
	$(BIN)/pytest -m "peers" tests/peers $(TESTFLAGS)

.PHONY: test-long
test-long: $(READY) $(PEERS) system-packages ## Run what does not fit a quick run: soaks, other makes, the whole demonstration town
	$(BIN)/pytest -m "long" --timeout 3600 $(TESTFLAGS)

.PHONY: bench
bench: $(READY) ## Run the benchmarks: ratios against a peer on the same work in the same run
	$(BIN)/python -m bench

.PHONY: bench-field
bench-field: $(READY) ## Run the field layer beside a gateway, plain libraries and C (BENCHFLAGS=--quick, or part numbers)
	$(BIN)/python -m bench.field $(BENCHFLAGS)

.PHONY: bench-lighting
bench-lighting: $(READY) ## Run sun, due levels, previews and all-on beside a peer each (BENCHFLAGS=--quick, or part numbers)
	$(BIN)/python -m bench.lighting $(BENCHFLAGS)

.PHONY: bench-metering
bench-metering: $(READY) ## Run ingest, month sums, batches over gRPC and polling beside a peer each (BENCHFLAGS=--quick, or part numbers)
	$(BIN)/python -m bench.metering $(BENCHFLAGS)

# --- checks ------------------------------------------------------------------------------------------------

.PHONY: check
check: $(READY) check-format check-types check-imports check-proto check-locks check-deploy check-addresses ## Check format, lint, types, import rules, protos, locks, manifests

.PHONY: check-format
check-format: $(READY) ## Format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: check-types
check-types: $(READY) ## Types, strictly
	$(BIN)/mypy domain fieldbus servicekit services cli simulator bench tools tests

.PHONY: check-imports
check-imports: $(READY) ## Import rules: which way the parts may lean
	$(BIN)/lint-imports

.PHONY: check-proto
check-proto: $(READY) ## Proto lint, breaking changes against the last release, generated-code drift
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/released.binpb
	$(BIN)/python tools/protogen.py --check

.PHONY: check-locks
check-locks: $(READY) ## Lock files agree with pyproject.toml and carry hashes and no addresses
	$(BIN)/python tools/locks.py --check

.PHONY: check-deploy
check-deploy: $(READY) ## Render the Kubernetes manifests and check them against the schemas
	$(BIN)/python tools/manifests.py

.PHONY: check-addresses
check-addresses: ## No download address in a lock file or a configuration
	@! git grep -nIE '^[[:space:]]*(--?(extra-)?index-url|--find-links|-i )|"resolved": *"http|^(source|url) *= .*https?://' -- '*.txt' '*.lock' '*.toml' '*.json' '*.cfg'

# --- making things -----------------------------------------------------------------------------------------

.PHONY: format
format: $(READY) ## Format the code and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: proto
proto: $(READY) ## Generate proto/gen from proto/lichtbuch
	$(BIN)/python tools/protogen.py

.PHONY: proto-release
proto-release: $(READY) ## Take today's contracts as the release that breaking changes are judged against
	$(BIN)/buf build proto -o proto/released.binpb

.PHONY: lock
lock: $(READY) ## Lock all groups anew (pins stay unless pyproject.toml asks otherwise)
	$(BIN)/python tools/locks.py

.PHONY: image
image: $(READY) ## Build the container image of every service (needs podman or buildah)
	bash deploy/image/build.sh $(GROUPS)

.PHONY: clean
clean: ## Remove everything that can be made again, the demonstration's data included
	rm -rf $(VENV) .venv-peers .run build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
