# SPDX-License-Identifier: Apache-2.0
#
# Everything is set up on the way; when nothing is left to set up, each target starts at once.

.DEFAULT_GOAL := help
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help run install uninstall selftest test e2e soak lint bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Set up, start the five services, and say where to look; Ctrl-C stops all
	@scripts/setup.sh run
	@echo "==> starting Wattline"
	@exec $(if $(AS_ROOT),$(AS_ROOT) -E) "$(BIN)/wattline" up

install: ## Install as a service of systemd (PREFIX=/usr/local, DESTDIR=)
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' scripts/install.sh install

uninstall: ## Remove what `make install` has put there
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' scripts/install.sh uninstall

selftest: ## Measure a simulated machine whose truth is known (as root, a minute and a half)
	@scripts/setup.sh selftest
	@$(AS_ROOT) "$(BIN)/wattline" selftest $(ARGS)

test: ## Set up and run the tests (as root: they use the real kernel)
	@scripts/setup.sh test
	@echo "==> running the tests"
	@$(AS_ROOT) env PATH="$(BIN):$$PATH" scripts/test.sh $(ARGS)

e2e: ## The tests that take long (as root)
	@scripts/setup.sh test
	@echo "==> running the tests that take long"
	@$(AS_ROOT) env PATH="$(BIN):$$PATH" "$(BIN)/python" -m pytest -m e2e $(ARGS)

soak: ## The tests that take longer still (as root)
	@scripts/setup.sh test
	@echo "==> running the tests that take longer still"
	@$(AS_ROOT) env PATH="$(BIN):$$PATH" "$(BIN)/python" -m pytest -m soak $(ARGS)

lint: ## ruff, mypy --strict, import-linter
	@scripts/setup.sh dev
	@echo "==> ruff";  "$(BIN)/ruff" check . && "$(BIN)/ruff" format --check .
	@echo "==> mypy";  "$(BIN)/mypy"
	@echo "==> import-linter"; "$(BIN)/lint-imports" --no-cache

bench: ## Run the benchmarks (ratios within one run; absolute times mean little)
	@scripts/setup.sh test
	@for script in $(basename $(notdir $(wildcard bench/*.py))); do echo "==> $$script"; $(AS_ROOT) env PATH="$(BIN):$$PATH" "$(BIN)/python" -m bench.$$script || exit 1; done

lock: ## Resolve requirements/*.in anew (ARGS=--upgrade: take the newest versions within pyproject's bounds)
	@scripts/setup.sh run
	@PYTHON="$(BIN)/python" scripts/lock.sh $(ARGS)

clean: ## Remove the virtual environment and caches (not the Debian packages)
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
