# make run | test | check | fix        ARGS="..." hands options on to the program.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: run test soak check fix clean

run: .venv/server.installed
	@exec $(BIN)/dripline-server $(ARGS)

test: .venv/dev.installed
	$(BIN)/python -m pytest $(ARGS)

# Runs of the soak, and what its faults are drawn from.
RUNS ?= 2000
SEED ?= 1

soak: .venv/dev.installed
	DRIPLINE_SOAK_RUNS=$(RUNS) DRIPLINE_SOAK_SEED=$(SEED) $(BIN)/python -m pytest tests/soak $(ARGS)

check: .venv/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy client server tests

fix: .venv/dev.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dripline needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/server.installed: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet -e '.[server]'
	@touch $@

.venv/dev.installed: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet -e '.[server,redis,dev]'
	@touch $@ .venv/server.installed
