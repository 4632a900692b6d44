PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

unexport PYTHONDONTWRITEBYTECODE # every process would compile the program anew

.DEFAULT_GOAL := help
.PHONY: help install demo test unit integration acceptance coverage test-long lint lock format docs clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or name another, as in make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]' --group dev
	@touch $@

install: $(STAMP) ## Make the virtual environment with everything in it

demo: $(STAMP) ## See a session break and mend itself, on this machine alone (under a minute)
	$(BIN)/wa-sessions demo

test: $(STAMP) ## Run the whole test suite (about 10 minutes on two cores)
	$(BIN)/python -m pytest -m 'not long' -n 4 --dist worksteal

unit: $(STAMP) ## Run the fast tests only (seconds)
	$(BIN)/python -m pytest tests/unit -n 4 --dist worksteal

integration: $(STAMP) ## Run the tests that need Postgres or neonize
	$(BIN)/python -m pytest tests/integration

acceptance: $(STAMP) ## Run the tests that drive the installed command
	$(BIN)/python -m pytest tests/acceptance -m 'not long'

coverage: $(STAMP) ## Run unit and integration tests, and say which branches none of them takes (fails below today's share)
	rm -rf .coverage
	mkdir .coverage
	$(BIN)/coverage run -m pytest -n 4 --dist worksteal -m 'not long and not bare' tests/unit tests/integration
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-long: $(STAMP) ## Run the tests that take minutes, and try each law on twenty times as many examples
	$(BIN)/python -m pytest -m long --timeout=1800
	$(BIN)/python -m pytest tests/unit -n 4 --dist worksteal --timeout=1800 --hypothesis-profile=thorough

lint: $(STAMP) ## Check style, types and the dependencies between packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(STAMP) ## Write requirements-dev.lock: what development installs, in one version each
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-tools>=7.5'
	$(BIN)/python scripts/lock.py

format: $(STAMP) ## Put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## Write the reference of commands, settings and events and the picture of the states, from the code itself
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/settings_table.py
	$(BIN)/python scripts/event_reference.py
	$(BIN)/python scripts/state_picture.py

clean: ## Remove what was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .coverage .hypothesis .import_linter_cache
