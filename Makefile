# headway: `make run` to use it, `make test` to prove it. Both need only Python 3.11+, make and git.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes that run the tests: one more than there are cores, as many tests wait for processes of their own.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 8 ? cores + 1 : 8)))
UV := $(BIN)/uv

.DEFAULT_GOAL := help
.PHONY: help run install dev check format test bench bench-serving bench-tracking bench-writing bench-pages bench-growth bench-capture bench-overhead bench-idle migration constraints clean

help: ## This list.
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.server ## Install if need be, start, and print one sign-in link. ARGS="--port 9000" is passed on.
	@exec $(BIN)/headway up $(ARGS)

install: $(VENV)/.server ## The virtual environment with the server.

dev: $(VENV)/.dev ## The virtual environment with all that tests and checks need.

check: $(VENV)/.dev ## Format, lint, types, architecture, docs.
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py tests/test_docs.py

format: $(VENV)/.dev ## Write the files as `make check` wants them.
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix src tests bench

test: $(VENV)/.dev ## Everything: installs what the tests need (browser, PostgreSQL), then runs all tests. ARGS="-k runs", WORKERS=0.
	@scripts/test-needs
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

bench: bench-serving bench-tracking bench-writing ## Us and the peers, side by side in one run. Prints ratios.

bench-serving: $(VENV)/.dev ## Requests a second of an endpoint, beside `mlflow models serve` and a bare FastAPI app.
	$(BIN)/python bench/serving.py $(ARGS)

bench-tracking: $(VENV)/.dev ## Start, memory, log_metric, search, charts, beside `mlflow server`.
	$(BIN)/python bench/tracking.py $(ARGS)

bench-pages: $(VENV)/.dev ## How soon the runs page is there with 5, 500 and 100,000 runs, in headless Chromium.
	$(BIN)/python bench/pages.py $(ARGS)

bench-growth: $(VENV)/.dev ## The same questions at 1,000, 10,000 and 100,000 runs, drawn. ARGS="--to 1000000".
	$(BIN)/python bench/growth.py $(ARGS)

bench-writing: $(VENV)/.dev ## Writing runs, both databases, beside `mlflow server`, a null server, Aim and trackio.
	$(BIN)/python bench/writing.py $(ARGS)

bench-idle: $(VENV)/.dev ## What a server takes while nobody uses it, beside `mlflow server`. 5 minutes.
	$(BIN)/python bench/idle.py $(ARGS)

bench-capture: $(VENV)/.dev ## What capture finds in public scripts. ARGS="CORPUS_FOLDER LABELS_FOLDER".
	$(BIN)/python bench/capture.py $(ARGS)

bench-overhead: $(VENV)/.dev ## What capture costs a program, beside mlflow.autolog(). 4 minutes.
	$(BIN)/python bench/overhead.py $(ARGS)

migration: $(VENV)/.dev ## Write the next migration from the tables: make migration M="what changes".
	$(BIN)/python scripts/migration "$(M)"

constraints: $(VENV)/.dev ## Pin anew the versions that installs use.
	$(UV) pip compile -q pyproject.toml --all-extras --group dev --universal --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --upgrade -o constraints.txt

clean: ## Remove the virtual environment and caches.
	rm -rf $(VENV) .build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "headway needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make run PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt

$(VENV)/.server: $(UV) pyproject.toml constraints.txt package-lock.json hatch_build.py
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[server]'
	@$(BIN)/python -m compileall -q src  # a start reads 400 modules: compiled, it takes half the time
	@touch $@

$(VENV)/.dev: $(VENV)/.server
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt --group dev
	@touch $@
