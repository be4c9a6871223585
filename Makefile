# One command for each job; each sets up what it needs. `make help` lists them.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
VENV126 := .venv-numpy126
VENVTORCH := .venv-torch
PIP     := -m pip install --quiet --disable-pip-version-check

# The interpreter makes many products of moderate size: a second BLAS thread gains next to nothing on them, and
# costs a factor of ten and more where another process wants the second core.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help demo test test-numpy126 test-torch test-long fuzz accuracy backward memory compat conformance outside check bench wheel clean
.DELETE_ON_ERROR:

help:
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# A stamp for each environment: made again when what it is made from changes.
SOURCES := pyproject.toml setup.py numtrn/intercept/_hook.c numtrn/precision/_fixed.c numtrn/_digest.c

$(VENV)/.run: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python $(PIP) -e '.[dev]'
	touch $@

$(VENV126)/.test: $(SOURCES)
	test -x $(VENV126)/bin/python || $(PYTHON) -m venv $(VENV126)
	$(VENV126)/bin/python $(PIP) -e '.[test]' 'numpy==1.26.4' 'scipy>=1.11,<1.14'
	touch $@

$(VENVTORCH)/.test: $(SOURCES)
	test -x $(VENVTORCH)/bin/python || $(PYTHON) -m venv $(VENVTORCH)
	$(VENVTORCH)/bin/python $(PIP) 'torch==2.13.0'
	$(VENVTORCH)/bin/python $(PIP) -e '.[test]'
	touch $@

demo: $(VENV)/.run ## set up, and run the main job: DF-MP2 energies through kernels
	$(BIN)/python -m numtrn demo

test: $(VENV)/.dev ## set up, and run the project's tests
	$(BIN)/python -m pytest -m 'not long'

test-numpy126: $(VENV126)/.test ## the same tests with NumPy 1.26
	$(VENV126)/bin/python -m pytest -m 'not long'

test-torch: $(VENVTORCH)/.test ## the tests of numtrn.torch, with PyTorch
	$(VENVTORCH)/bin/python -m pytest tests/torch

test-long: $(VENV)/.dev ## the tests that take more than a minute each
	$(BIN)/python -m pytest -m long

fuzz: $(VENV)/.dev ## 20,000 random products against exact arithmetic, of a fixed seed and of a random one
	$(BIN)/python benchmarks/fuzz.py --jobs 2
	$(BIN)/python benchmarks/fuzz.py --jobs 2 --seed random

accuracy: $(VENV)/.run ## write docs/accuracy.md again
	$(BIN)/python benchmarks/accuracy.py

backward: $(VENV)/.run ## write docs/backward.md again
	$(BIN)/python benchmarks/backward.py

memory: $(VENV)/.run ## peak host memory of one large product
	$(BIN)/python benchmarks/memory.py

compat: $(VENV)/.dev ## the own tests of NumPy, SciPy and opt_einsum inside a block
	$(BIN)/python compat/run.py

conformance: $(VENV)/.dev ## the Array API standard's own suite (NUMTRN_ARRAY_API_TESTS names its checkout)
	$(BIN)/python $(PIP) -e '.[conformance]'
	$(BIN)/python compat/array_api/run.py

outside: $(VENV)/.dev ## kernels of others on the interpreter (see compat/README.md for the variables)
	$(BIN)/python compat/outside_kernels/run.py

check: $(VENV)/.dev ## lint, types, the directions of imports, and the source of the kernels
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m numtrn check kernels/*.py

bench: $(VENV)/.run ## what interception adds to a call, and what the interpreter and host arithmetic cost
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/interpreter.py
	$(BIN)/python benchmarks/host.py

wheel: $(VENV)/.dev ## build the wheel and try it in a clean environment
	sh .ci/wheel

clean: ## remove environments and what was built
	rm -rf $(VENV) $(VENV126) $(VENVTORCH) build dist *.egg-info numtrn/*.so numtrn/intercept/*.so numtrn/precision/*.so
