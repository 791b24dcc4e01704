# SPDX-License-Identifier: Apache-2.0
#
# Everything is set up on the way; when nothing is left to set up, each target starts at once.

.DEFAULT_GOAL := help
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
SETUP := pyproject.toml scripts/setup.sh

.PHONY: help run selftest test e2e soak lint bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.ready-run ## Set up, start the five services, and say where to look; Ctrl-C stops all
	@echo "==> starting Wattline; its metrics will be at http://$${WATTLINE_WEB_LISTEN_ADDRESS:-127.0.0.1:28283}/metrics"
	@exec $(if $(AS_ROOT),$(AS_ROOT) -E) $(BIN)/wattline up

selftest: $(VENV)/.ready-selftest ## Measure a simulated machine whose truth is known (as root, a minute and a half)
	@$(AS_ROOT) $(BIN)/wattline selftest $(ARGS)

test: $(VENV)/.ready-dev ## Set up and run the tests (as root: they use the real kernel)
	@echo "==> running the tests"
	@$(AS_ROOT) env PATH="$(BIN):$$PATH" $(BIN)/python -m pytest $(ARGS)

e2e: $(VENV)/.ready-dev ## The tests that take long (as root)
	@echo "==> running the tests that take long"
	@$(AS_ROOT) env PATH="$(BIN):$$PATH" $(BIN)/python -m pytest -m e2e $(ARGS)

soak: $(VENV)/.ready-dev ## The tests that take longer still (as root)
	@echo "==> running the tests that take longer still"
	@$(AS_ROOT) env PATH="$(BIN):$$PATH" $(BIN)/python -m pytest -m soak $(ARGS)

lint: $(VENV)/.ready-dev ## ruff, mypy --strict, import-linter
	@echo "==> ruff";  $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "==> mypy";  $(BIN)/mypy
	@echo "==> import-linter"; $(BIN)/lint-imports --no-cache

bench: $(VENV)/.ready-dev ## Run the benchmarks (ratios within one run; absolute times mean little)
	@for script in $(basename $(notdir $(wildcard bench/*.py))); do echo "==> $$script"; $(AS_ROOT) env PATH="$(BIN):$$PATH" $(BIN)/python -m bench.$$script || exit 1; done

clean: ## Remove the virtual environment and caches (not the Debian packages)
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready-run: $(SETUP)
	@scripts/setup.sh run
	@touch $@

$(VENV)/.ready-selftest: $(SETUP)
	@scripts/setup.sh selftest
	@touch $@ $(VENV)/.ready-run

$(VENV)/.ready-dev: $(SETUP)
	@scripts/setup.sh dev
	@touch $@ $(VENV)/.ready-run $(VENV)/.ready-selftest
