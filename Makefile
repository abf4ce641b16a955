# Everything runs in .venv, made from Python 3.11 and nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SPEC ?= configs/quickstart.yaml
# Two tests at a time, for many wait while Ray starts. A file's tests stay together, since they
# share runs; in the order of the folders the long ones come first.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install docs sweep test test-unit test-envpool test-atari lint format ui lab notebooks bench chaos acceptance constraints clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMP) ## Make .venv and install the project with its exact versions

# torch comes first and by its exact version: left to the others' ranges, pip may choose a
# release whose default build brings gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

sweep: $(STAMP) ## Run the quickstart sweep (SPEC=... for another)
	$(BIN)/sweeper run $(SPEC)

test: $(STAMP) ## Run all tests but the slow tier
	$(PYTEST) tests -m 'not acceptance'

test-unit: $(STAMP) ## Run the tests that take seconds
	$(PYTEST) tests/unit

# Not among the other tests' packages: its assets are 300 MB to download, 750 MB installed.
test-envpool: $(STAMP) ## Install envpool (300 MB) and run the tests that need it
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[envpool]'
	$(BIN)/python -m pytest tests/unit/environments/test_envpool_envs.py tests/integration/environments/test_envpool_run.py

# Not among the other tests' packages: OpenCV is 60 MB to download.
test-atari: $(STAMP) ## Install the Atari games (65 MB) and run the tests that need them
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[atari]'
	$(BIN)/python -m pytest tests/integration/environments/test_atari_run.py

lint: $(STAMP) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## Write the pages and tables that are made from the code
	$(BIN)/python tools/write_spec_reference.py
	$(BIN)/python tools/write_parity_table.py

ui: $(STAMP) ## Open the MLflow UI on the runs' database
	$(BIN)/sweeper ui

lab: $(STAMP) ## Open the notebooks in JupyterLab
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[lab]'
	$(BIN)/jupyter lab --notebook-dir notebooks

notebooks: $(STAMP) ## Execute the notebooks (FAST=1: with small numbers)
	$(BIN)/python tools/run_notebooks.py $(if $(FAST),--fast)

bench: $(STAMP) ## Run the benchmarks (an hour or more; each prints its table)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/getting_started.py
	$(BIN)/python benchmarks/ppo_throughput.py
	$(BIN)/python benchmarks/dqn_throughput.py
	$(BIN)/python benchmarks/orchestration.py

chaos: $(STAMP) ## Kill sweeps at random moments and resume them; 200 short ones under load (an hour)
	$(BIN)/python tests/chaos/kill_campaign.py
	$(BIN)/python tests/chaos/kill_campaign.py --learning --trials 20 --driver-kills 10 --worker-kills 5
	$(BIN)/python tests/chaos/kill_campaign.py --bucket --backend torch --trials 12 --driver-kills 8 --worker-kills 4
	$(BIN)/python tests/chaos/short_launches.py

acceptance: $(STAMP) ## Run the slow tier: real learning, the benchmarks' short forms, many examples
	$(BIN)/python -m pytest tests -m 'acceptance or hypothesis' --hypothesis-profile long --timeout 3600

constraints: $(STAMP) ## Pin the installed versions in constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | $(BIN)/python tools/merge_constraints.py

clean: ## Delete .venv and caches; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
