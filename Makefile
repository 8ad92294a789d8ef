# Everything a person runs. `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# A machine with an NVIDIA device gets the GPU lock, any other the CPU lock.
LOCK := $(if $(wildcard /proc/driver/nvidia/gpus/*),gpu,cpu)
TORCH := 2.13.0
# Where pip finds the CPU build of torch, when its usual index does not have it.
TORCH_INDEX ?=
STAMP := $(VENV)/.installed-$(LOCK)-$(shell cat requirements/$(LOCK).txt pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: help setup demo test check bench fmt lock clean
help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(STAMP)  ## create .venv from the lock that fits this machine (idempotent)

$(STAMP): requirements/$(LOCK).txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null \
	  || { echo "echo-ray needs Python 3.11 or later: make setup PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(LOCK),cpu)
	@echo "installing torch $(TORCH) for CPU ..."
	@$(BIN)/pip install --quiet --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "torch==$(TORCH)+cpu" \
	  || { echo "no CPU build of torch $(TORCH) was found: make setup TORCH_INDEX=<address of PyTorch's CPU wheels>"; exit 2; }
endif
	@echo "installing requirements/$(LOCK).txt (about 3 GB, two minutes) ..."
	@$(BIN)/pip install --quiet --no-deps -r requirements/$(LOCK).txt 2> >(grep -v 'is ignored: it is neither' >&2)
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: setup  ## run the whole loop and write runs/demo/report.html
	@$(BIN)/echo-ray demo

test: setup  ## all tests that need no GPU
	@$(BIN)/python -m pytest

check: setup  ## lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup  ## speed, as ratios measured side by side
	@$(BIN)/python -m tests.benchmarks

fmt: setup  ## format and fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: setup  ## resolve requirements/*.in again (needs uv in .venv)
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --no-annotate --no-header requirements/gpu.in -o requirements/gpu.txt
	@grep -v '^#' requirements/rules.in >> requirements/gpu.txt
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --no-annotate --no-header requirements/cpu.in \
	  | grep -viE '^(nvidia-|triton|torch==|torchaudio|torchcodec|torchvision|cuda)' > requirements/cpu.txt
	@grep -v '^#' requirements/rules.in >> requirements/cpu.txt

clean:  ## remove runs and caches, keep .venv
	@rm -rf runs .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
