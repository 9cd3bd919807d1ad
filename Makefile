# `make test` and its neighbours build .venv when it is absent or older than pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
CUDA_STAMP := .venv-cuda/.installed
DOCS_STAMP := .venv/.installed-docs
PACKAGE_STAMP := .venv-package/.installed

# Compiled kernels are kept from run to run and go away with the environment.
export NUMBA_CACHE_DIR ?= $(CURDIR)/.venv/numba-cache
export MPLBACKEND ?= Agg

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint mutants bench docs package check-cuda gpu reproduce clean

help:
	@echo "targets: demo test test-all lint mutants bench docs package check-cuda gpu reproduce clean"

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

demo: $(STAMP)
	$(BIN)/fasim compare

# make test TESTS=tests/cli: a part of them
test: $(STAMP)
	$(BIN)/python -m pytest $(TESTS)

test-all: $(STAMP)
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

mutants: $(STAMP)
	$(BIN)/python tests/mutants.py

# Hours on the first run; it goes on where it was stopped. PyTorch must be in .venv: pip install -e '.[oracle]'.
bench: $(STAMP)
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/gemms.py
	$(BIN)/python benchmarks/convs.py
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/peak_memory.py
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/render.py

$(DOCS_STAMP): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

# Into build/docs; the examples of the gallery are run.
docs: $(DOCS_STAMP)
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html -d build/doctrees docs build/docs
	@echo "pages: build/docs/index.html"

# What somebody else's environment holds; the wheel is put into it anew each time.
$(PACKAGE_STAMP): pyproject.toml
	$(PYTHON) -m venv --clear .venv-package
	.venv-package/bin/pip install --quiet --disable-pip-version-check .
	@touch $@

package: $(STAMP) $(PACKAGE_STAMP)
	$(BIN)/python tests/check_package.py .venv-package

# An environment of its own, for NVIDIA's compilers take 400 MB; no GPU is needed.
$(CUDA_STAMP): pyproject.toml
	$(PYTHON) -m venv .venv-cuda
	.venv-cuda/bin/pip install --quiet --disable-pip-version-check -e '.[cuda]'
	@touch $@

# On a machine with a GPU: its tests there, then training steps a second and products, a line each in
# benchmarks/results/gpu.jsonl; beside PyTorch's where it has been put into the environment: .venv-cuda/bin/pip install torch
gpu: $(CUDA_STAMP)
	.venv-cuda/bin/pip install --quiet --disable-pip-version-check -e '.[cuda,test]'
	@echo "first tests/cuda on the GPU, then benchmarks for what is left of 8 minutes: 6 at most, 1 at least"
	begun=$$(date +%s); FASIM_CUDA=gpu .venv-cuda/bin/python -m pytest tests/cuda && \
	left=$$(( (480 - $$(date +%s) + begun) / 60 )) && left=$$(( left > 6 ? 6 : left < 1 ? 1 : left )) && \
	FASIM_CUDA=gpu .venv-cuda/bin/python benchmarks/throughput.py --backend cuda --minutes $$left

check-cuda: $(CUDA_STAMP)
	.venv-cuda/bin/python cuda/check_compile.py

# Short runs of the papers' experiments, a few minutes once kernels are compiled; fails when a figure leaves its band.
reproduce: $(STAMP)
	$(BIN)/fasim run --quick

clean:
	rm -rf build dist docs/api/generated docs/gallery docs/sg_execution_times.rst .mypy_cache .ruff_cache .pytest_cache .hypothesis .venv/numba-cache
	find fasim cuda tests -name __pycache__ -type d -prune -exec rm -rf {} +
