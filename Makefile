# `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip

.DEFAULT_GOAL := help
.PHONY: help install demo test crash lint bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 10

SOURCES := pyproject.toml constraints.txt CMakeLists.txt \
	$(shell find kernels engine workers integrations -type f -not -name '*.pyc')

$(VENV)/.stamp-demo: EXTRAS :=
$(VENV)/.stamp-test: EXTRAS := [test]
$(VENV)/.stamp-demo $(VENV)/.stamp-test: $(SOURCES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt '.$(EXTRAS)'
	@touch $@

install: $(VENV)/.stamp-test ## build and install Weft with its tests' needs into .venv

demo: $(VENV)/.stamp-demo ## index real text of this machine and answer five questions
	$(BIN)/weft demo

test: $(VENV)/.stamp-test ## run all tests
	$(BIN)/python -m pytest

crash: $(VENV)/.stamp-test ## all campaigns at full size: kills, power losses, failing calls (half an hour)
	WEFT_CRASH=full $(BIN)/python -m pytest tests/crash tests/check/test_flips.py

lint: $(VENV)/.stamp-test ## ruff, and mypy on the installed package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(VENV) && bin/mypy --strict --config-file ../pyproject.toml -p weft

bench: $(VENV)/.stamp-test ## kernels, each family on each target
	$(BIN)/python benchmarks/kernels/bench_kernels.py

clean: ## remove what was built
	rm -rf build dist $(VENV) .demo
