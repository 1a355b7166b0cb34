# Everything that is done with this repository, by name. All of it happens in .venv and .cache.
# Any make will do from GNU make 3.81 on.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
# One stamp for each set of packages, so that it is installed again only when its lock changes.
STAMPS := $(VENV)/.stamps
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The locks hold everything, so nothing is to be resolved: an older pip resolves a `name[extra]`
# beside a pinned `name` to the newest version, and then finds that it has no hash for it.
LOCKED = --require-hashes --no-deps
UV_COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --universal --generate-hashes

# PYTHON=... names the interpreter that makes .venv; unset: the first one below that will do.
PYTHON ?=
PYTHONS = $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)
USABLE = import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))

# ARGS=... goes to the program that a target runs: make test ARGS='-k challenge'
ARGS ?=

# What needs a test for each branch: the pure rooms. All of tokens is pure but its I/O half.
IO_HALF = bridge/tokens/fetch.py,bridge/tokens/fingerprint.py,bridge/tokens/introspection.py,bridge/tokens/keys.py,bridge/tokens/metadata.py,bridge/tokens/redis_connection.py,bridge/tokens/replay_redis.py,bridge/tokens/verifier.py

.PHONY: help
help: ## list what there is
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "make %-17s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(STAMPS)/run ## create .venv with stepup-bridge in it (PYTHON=python3.12: with that one)
	@echo '$(BIN)/stepup-bridge is ready'

.PHONY: demo
demo: $(STAMPS)/demo ## walk through a step-up in the browser, with a real Envoy in front
	$(BIN)/stepup-bridge demo

.PHONY: demo-once
demo-once: $(STAMPS)/demo ## let the demo play its story by itself, and check it
	$(BIN)/stepup-bridge demo --once

.PHONY: dev
dev: $(STAMPS)/dev ## setup, and all that the targets below need

.PHONY: check
check: lint types imports test coverage ## everything that must pass before a commit

.PHONY: lint
lint: $(STAMPS)/dev ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(STAMPS)/dev ## mypy --strict
	$(BIN)/mypy

.PHONY: imports
imports: $(STAMPS)/dev ## import-linter: which room may import which
	$(BIN)/lint-imports

.PHONY: test
test: $(STAMPS)/dev ## all tests but the end-to-end suite (ARGS='-k NAME': some of them)
	$(BIN)/pytest --numprocesses auto --dist loadfile --cov --cov-report= $(ARGS)

.PHONY: fuzz
fuzz: $(STAMPS)/dev ## the property tests on many more examples, that nobody has seen
	HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest --numprocesses auto -m hypothesis $(ARGS)

.PHONY: coverage
coverage: $(STAMPS)/dev ## the last `make test` took every branch of the pure rooms
	$(BIN)/coverage report --fail-under=100 --omit='$(IO_HALF)'

.PHONY: e2e
e2e: $(STAMPS)/dev ## the end-to-end suite on real gateways, in containers where there are images (ARGS='-k envoy-1.40')
	$(BIN)/pytest e2e $(ARGS)

.PHONY: e2e-images
e2e-images: $(STAMPS)/dev ## the images of the container tests, from packages, into the Docker engine that answers
	$(BIN)/python -m e2e.images

# E2E_ENGINE=required: what cannot run is a failure here, not skipped.
.PHONY: e2e-docker
e2e-docker: $(STAMPS)/dev ## the same in containers, with images from packages; as root it starts an engine, and stops it
	e2e/images/with-engine sh -c '$(BIN)/python -m e2e.images && E2E_ENGINE=required E2E_RUNTIME=docker $(BIN)/pytest e2e $(ARGS)'

.PHONY: conformance
conformance: $(STAMPS)/dev ## the conformance kit through every gateway; writes the table of docs/conformance.md
	$(BIN)/python -m e2e.conformance_table

# Not part of `make e2e`: Java, Maven and Chromium, and minutes.
.PHONY: e2e-keycloak
e2e-keycloak: $(STAMPS)/dev ## the step-up round trip with a real Keycloak and a real browser
	$(BIN)/python -m e2e.keycloak.distribution
	$(BIN)/pytest e2e/keycloak -m keycloak $(ARGS)

# Not part of `make e2e`: Node.js and Chromium.
.PHONY: e2e-oidc-provider
e2e-oidc-provider: $(STAMPS)/dev e2e-oidc-provider-packages ## JWT, opaque and DPoP-bound tokens of a real oidc-provider
	$(BIN)/pytest e2e/oidc_provider -m oidc_provider $(ARGS)

.PHONY: e2e-oidc-provider-packages
e2e-oidc-provider-packages: e2e/oidc_provider/node_modules/.package-lock.json

e2e/oidc_provider/node_modules/.package-lock.json: e2e/oidc_provider/package-lock.json
	npm ci --prefix e2e/oidc_provider --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: lua
lua: kong ## the same as `make kong`

.PHONY: kong
kong: $(STAMPS)/dev ## the Kong plugin: luacheck, specs, tests; as root it installs nginx and Lua
	PYTHON=$(BIN)/python kong/spec/run $(ARGS)

.PHONY: bench
bench: $(STAMPS)/dev ## what a check costs (BENCH_SCALE=0.1: quick and rough)
	$(BIN)/python tests/bench/bench_check.py

.PHONY: bench-gateways
bench-gateways: $(STAMPS)/dev ## what a check adds to a request through real gateways
	PYTHONPATH=.:tests $(BIN)/python tests/bench/bench_gateways.py

.PHONY: format
format: $(STAMPS)/dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: $(STAMPS)/dev ## write requirements/ anew after pyproject.toml (ARGS=--upgrade: newest versions)
	$(UV_COMPILE) $(ARGS) pyproject.toml --extra demo --extra redis --group dev --group build -o requirements/dev.txt
	$(UV_COMPILE) pyproject.toml --extra demo -c requirements/dev.txt -o requirements/demo.txt
	$(UV_COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/run.txt
	$(UV_COMPILE) pyproject.toml --extra redis -c requirements/dev.txt -o requirements/image.txt
	$(UV_COMPILE) --group build -c requirements/dev.txt -o requirements/build.txt
	@if grep -nE '^ *--(extra-)?(index|find)|://' requirements/*.txt; then \
	  echo 'make lock: a lock names where packages come from; it must not' >&2; exit 1; \
	fi

.PHONY: clean
clean: ## delete what the other targets made, .venv too
	rm -rf $(VENV) .cache e2e/oidc_provider/node_modules .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist

# A stamp may be missing while .venv is there and works: then it is kept.
$(STAMPS)/venv:
	@if ! $(BIN)/python -c '$(USABLE)' 2>/dev/null || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  for python in $(PYTHONS); do \
	    if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then \
	      echo "$$("$$python" --version) makes $(VENV)"; \
	      "$$python" -m venv --clear $(VENV) || exit 1; \
	      break; \
	    fi; \
	  done; \
	fi
	@if ! $(BIN)/python -c '$(USABLE)' 2>/dev/null; then \
	  echo 'make: no Python 3.11 or newer with venv and ensurepip among: $(PYTHONS)' >&2; \
	  echo 'make: install one (Debian: apt-get install python3 python3-venv), or name it: make setup PYTHON=/path/to/python3' >&2; \
	  exit 1; \
	fi
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/run: requirements/build.txt requirements/run.txt pyproject.toml | $(STAMPS)/venv
	@echo 'Installing stepup-bridge into $(VENV)'
	@$(PIP_INSTALL) $(LOCKED) -r requirements/build.txt -r requirements/run.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(STAMPS)/demo: requirements/demo.txt $(STAMPS)/run
	@echo 'Installing what the demo needs into $(VENV)'
	@$(PIP_INSTALL) $(LOCKED) -r requirements/demo.txt
	@touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/run
	@echo 'Installing what development needs into $(VENV)'
	@$(PIP_INSTALL) $(LOCKED) -r requirements/dev.txt
	@touch $@
