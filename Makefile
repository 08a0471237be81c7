# What one types in this repository. `make` alone lists it.
#
# Set-up happens by itself and once: a stamp in .venv is newer than the lock file, or set-up runs again.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA := narrowgate-data
READY := $(VENV)/.ready
# How long each fuzz target runs; CI and a release can afford more.
FUZZ_SECONDS ?= 20

.PHONY: help setup cluster up tour down test check static unit property format contract e2e fault bench bench-lineage bench-masking bench-search bench-sessions fuzz lock clean

help: ## List what can be made (this)
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv from the lock file and install Narrowgate into it
	@true

$(READY): requirements/dev.txt pyproject.toml dev/setup.sh
	@PYTHON='$(PYTHON)' dev/setup.sh $(VENV)
	@touch $@

cluster: $(READY) ## Start a Kubernetes of our own; with KUBECONFIG set, use that one
	@$(BIN)/python dev/cluster/cluster.py up

up: cluster ## Start everything, show around, and leave it running
	@$(BIN)/python dev/tour.py up --data-dir $(DATA)

tour: $(READY) ## Show around again what `make up` started
	@$(BIN)/python dev/tour.py show --data-dir $(DATA)

down: ## Stop the gate and the cluster; what they stored stays in narrowgate-data
	@if [ -x $(BIN)/narrowgate ] && [ -d $(DATA) ]; then $(BIN)/narrowgate down --data-dir $(DATA); fi
	@$(PYTHON) dev/cluster/cluster.py down

test: setup static cluster ## Everything: check, contract, e2e, fault; what CI runs
	@$(BIN)/python dev/every_test.py

check: setup ## Format, lint, types, layers; unit, property and house tests (under a minute)
	@$(MAKE) -j2 --output-sync=target property static unit

unit: $(READY) ## Values only, and the habits of the house
	@$(BIN)/python -m pytest -q tests/unit tests/house

property: $(READY) ## Laws, tried by Hypothesis
	@$(BIN)/python -m pytest -q tests/property

static: $(READY) ## Format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

contract: cluster ## One suite per port on every implementation; a real API server as oracle
	@$(BIN)/python -m pytest tests/contract

e2e: cluster ## A real cluster, a real kubectl, one sentence per scenario
	@$(BIN)/python -m pytest tests/e2e

fault: cluster ## The k-th write, read, connect fails: nothing passes unrecorded
	@$(BIN)/python -m pytest tests/fault

bench: cluster ## The gate beside direct, nginx, Go's ReverseProxy and kube-rbac-proxy (BENCH="--quick")
	@$(BIN)/python -m bench $(BENCH)

bench-masking: $(READY) ## What masking costs, beside copying and beside reading and writing anew
	@$(BIN)/python -m bench.masking

bench-sessions: cluster ## What recording and masking sessions cost (SESSIONS="--rounds 1")
	@$(BIN)/python -m bench.sessions $(SESSIONS)

bench-lineage: $(READY) ## What it costs that pods are placed in the chain that had them made
	@$(BIN)/python -m bench.lineage

bench-search: $(READY) ## Searching the record, at one to ten million entries (SEARCH="--entries 1000000")
	@$(BIN)/python -m bench.search $(SEARCH)

fuzz: $(READY) ## Every codec against random bytes (FUZZ_SECONDS=20 each)
	@for target in tests/fuzz/fuzz_*.py; do echo "$$target"; $(BIN)/python $$target --seconds $(FUZZ_SECONDS); done

lock: $(READY) ## Write the lock files anew from pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo 'make lock: uv is not installed, on this machine: pip install uv' >&2; exit 1; }
	@uv pip compile --quiet --universal --upgrade --generate-hashes --no-header pyproject.toml -o requirements/runtime.txt
	@uv pip compile --quiet --universal --upgrade --generate-hashes --no-header --group dev -c requirements/runtime.txt \
		pyproject.toml -o requirements/dev.txt

clean: ## Remove what was built and cached here; keeps narrowgate-data and a running cluster
	@rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests dev bench -name __pycache__ -type d -prune -exec rm -rf {} +
