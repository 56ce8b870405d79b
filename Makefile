# Two commands do everything: `make run GOAL="..."` and `make test`. Needs Linux, GNU make, and Python 3.11 or newer
# with venv; no Docker, no services, no key. Everything made here is below .venv and .data.

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
LITELLM := $(VENV)/litellm
DBOS := $(VENV)/dbos
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq --no-warn-script-location
TESTS ?= tests
# the statement goes through the environment, untouched: it may hold quotes and dollar signs
export COGNITIONOS_GOAL := $(value GOAL)
# without compiled files every start takes seconds longer
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help setup dev run up down doctor test test-long check format lock bench bench-engine bench-gateway bench-grounding bench-semantic clean

help: ## show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMPS)/package ## make .venv with the cognitionos command in it
	@:

dev: $(STAMPS)/dev $(STAMPS)/package ## setup, and what the tests need
	@:

run: setup ## run a goal: make run GOAL="..."
	@test -n "$$COGNITIONOS_GOAL" || { echo 'usage: make run GOAL="what is to be done"' >&2; exit 2; }
	@$(BIN)/cognitionos run -- "$$COGNITIONOS_GOAL"

up: setup ## keep everything running and print the URL; Ctrl-C stops it
	@$(BIN)/cognitionos up

down: setup ## stop what runs in the background
	@$(BIN)/cognitionos down

doctor: setup ## name what is missing
	@$(BIN)/cognitionos doctor

# The tests wait more than they compute. Each process has servers of its own; given ones are for one process.
PARALLEL ?= $(if $(TEST_DATABASE_URL)$(TEST_REDIS_URL),0,3)

test: dev check ## lint, types, contracts and tests, against real servers
	@$(BIN)/python -m pytest -m "not long" -n $(PARALLEL) --dist loadfile $(TESTS)

test-long: dev ## the long kits
	@$(BIN)/python -m pytest -m long -o faulthandler_timeout=1800 $(TESTS)

check: dev ## lint, format, types, contracts
	@$(BIN)/ruff check --quiet src tests migrations
	@$(BIN)/ruff format --quiet --check src tests migrations || { echo "run 'make format'" >&2; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: dev ## format the code and fix what can be fixed
	@$(BIN)/ruff check --quiet --fix src tests migrations || true
	@$(BIN)/ruff format src tests migrations

bench: dev ## measure: gateway overhead, a 1,000-task run, memory search
	@$(BIN)/python -m tests.bench

bench-semantic: dev ## hits and false hits of the semantic cache: PAIRS=FILE of {"text_a", "text_b", "label"} lines
	@$(BIN)/python -m tests.bench.semantic $(PAIRS)

bench-grounding: dev ## planted falsehoods found in answers: ANSWERS=FILE of {"evidence", "answer", "false_claims"} lines
	@$(BIN)/python -m tests.bench grounding $(ANSWERS)

bench-gateway: dev $(STAMPS)/litellm ## measure the gateway beside LiteLLM's proxy; SOAK=200000: and its memory
	@$(BIN)/python -m tests.bench gateway --litellm=$(LITELLM) --hanging $(if $(SOAK),--soak=$(SOAK))

bench-engine: dev $(STAMPS)/dbos ## measure the engine beside DBOS: runs of TASKS=10000 tasks
	@$(BIN)/python -m tests.bench engine --tasks=$(or $(TASKS),10000) --dbos=$(DBOS)

lock: ## resolve requirements/*.in into hash-locked *.txt (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv" >&2; exit 1; }
	cd requirements && for name in run dev bench bench-engine; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; \
	done

clean: ## remove .venv and caches; data stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
	@find src tests migrations -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last: an install that was interrupted is repeated.

$(STAMPS)/venv:
	@found=; for name in python3.13 python3.12 python3.11 python3 python; do \
	  if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	  then found=$$name; break; fi; \
	done; \
	test -n "$$found" || { \
	  echo "No Python 3.11 or newer with venv on the PATH (Debian, Ubuntu: apt install python3 python3-venv)" >&2; exit 1; }; \
	echo "Making $(VENV) with $$($$found --version) ..."; \
	$$found -m venv --clear $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: requirements/run.txt $(STAMPS)/venv
	@$(call install,run)

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/run
	@$(call install,dev)

# beside the product, never in it: a comparison only, with hashes
$(STAMPS)/litellm: requirements/bench.txt $(STAMPS)/venv
	@echo "Installing LiteLLM's proxy into $(LITELLM) (once, two minutes) ..."
	@$(BIN)/python -m venv --clear $(LITELLM)
	@$(LITELLM)/bin/python -m pip --disable-pip-version-check --no-input install -qq --no-warn-script-location \
	  --require-hashes --no-deps --no-compile -r requirements/bench.txt
	@$(LITELLM)/bin/python -m compileall -q -j2 $(LITELLM)/lib >/dev/null 2>&1 || true
	@touch $@

$(STAMPS)/dbos: requirements/bench-engine.txt $(STAMPS)/venv
	@echo "Installing DBOS into $(DBOS) (once) ..."
	@$(BIN)/python -m venv --clear $(DBOS)
	@$(DBOS)/bin/python -m pip --disable-pip-version-check --no-input install -qq --no-warn-script-location \
	  --require-hashes --no-deps --no-compile -r requirements/bench-engine.txt
	@$(DBOS)/bin/python -m compileall -q -j2 $(DBOS)/lib >/dev/null 2>&1 || true
	@touch $@

$(STAMPS)/package: pyproject.toml $(STAMPS)/run
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q -j2 src
	@touch $@

define install
echo "Installing $$(grep -c '^[a-z].*==' requirements/$(1).txt) packages of requirements/$(1).txt (once, about a minute) ..."; \
$(PIP) --require-hashes --no-deps --no-compile -r requirements/$(1).txt || exit 1; \
echo "Compiling them ..."; \
$(BIN)/python -m compileall -q -j2 "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" >/dev/null 2>&1 || true; \
touch $@
endef
