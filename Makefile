# `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip

# Fuzzers and sanitizers have an environment of their own; sanitized kernels stand in build/.
FUZZ_VENV ?= .venv-fuzz
FUZZ_BIN := $(FUZZ_VENV)/bin
FUZZ_SECONDS ?= 600
SMOKE_SECONDS ?= 30
INPUT_SECONDS ?= 10
HARNESSES ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test crash fuzz fuzz-smoke asan tsan oldest lint bench peers clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

SOURCES := pyproject.toml constraints.txt CMakeLists.txt \
	$(shell find kernels engine workers integrations -type f -not -name '*.pyc')

$(VENV)/.stamp-demo: EXTRAS :=
$(VENV)/.stamp-test: EXTRAS := [test]
# Tests of the GPU's kernels run them on the host.
$(VENV)/.stamp-test: OPTIONS := -C cmake.define.WEFT_EMULATION=ON
$(VENV)/.stamp-demo $(VENV)/.stamp-test: $(SOURCES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt $(OPTIONS) '.$(EXTRAS)'
	@touch $@

install: $(VENV)/.stamp-test ## build and install Weft with its tests' needs into .venv

demo: $(VENV)/.stamp-demo ## index real text of this machine and answer five questions
	$(BIN)/weft demo

test: $(VENV)/.stamp-test ## run all tests
	$(BIN)/python -m pytest

crash: $(VENV)/.stamp-test ## all campaigns at full size: kills, power losses, failing calls and Redis (over an hour)
	WEFT_CRASH=full $(BIN)/python -m pytest tests/crash tests/state tests/check/test_flips.py \
		tests/storage/test_queue.py tests/storage/test_history.py \
		tests/workers/test_worker_kills.py tests/workers/test_redis_faults.py \
		tests/workers/test_full_disk.py tests/workers/test_searchers.py

.SECONDARY: build/asan/.stamp build/tsan/.stamp
build/asan/.stamp: SANITIZERS := address;undefined
build/tsan/.stamp: SANITIZERS := thread

$(FUZZ_VENV)/.stamp: $(SOURCES)
	@test -x $(FUZZ_BIN)/python || $(PYTHON) -m venv $(FUZZ_VENV)
	$(FUZZ_BIN)/python -m pip install --quiet --constraint constraints.txt '.[fuzz]'
	@touch $@

build/%/.stamp: $(FUZZ_VENV)/.stamp
	$(FUZZ_BIN)/cmake -S . -B $(@D) -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  '-DWEFT_SANITIZE=$(SANITIZERS)' -DCMAKE_MAKE_PROGRAM=$(abspath $(FUZZ_BIN))/ninja \
	  -DPython_EXECUTABLE=$(abspath $(FUZZ_BIN))/python \
	  -Dnanobind_DIR="$$($(FUZZ_BIN)/python -m nanobind --cmake_dir)"
	$(FUZZ_BIN)/cmake --build $(@D)
	@touch $@

fuzz: build/asan/.stamp ## fuzz every reader of foreign bytes, FUZZ_SECONDS (600) for each
	$(FUZZ_BIN)/python tests/fuzz/campaign.py --seconds $(FUZZ_SECONDS) \
	  --input-seconds $(INPUT_SECONDS) \
	  --kernels build/asan/kernels/_core.*.so $(HARNESSES)

fuzz-smoke: ## the same for SMOKE_SECONDS (30) each
	$(MAKE) fuzz FUZZ_SECONDS=$(SMOKE_SECONDS)

# $(call sanitized,FOLDER,RUNTIMES,TESTS): pytest with the kernels of build/FOLDER.
sanitized = build/$(1)/weft_kernels_check && \
	LD_PRELOAD="$(foreach runtime,$(2) stdc++,$(shell $(CXX) -print-file-name=lib$(runtime).so))" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	TSAN_OPTIONS=die_after_fork=0:exitcode=66 OPENBLAS_NUM_THREADS=1 PYTHONPATH=tests/support \
	WEFT_KERNELS=$$(echo build/$(1)/kernels/_core.*.so) \
	$(FUZZ_BIN)/python -m pytest -p sanitized_kernels $(3)

asan: build/asan/.stamp ## kernels, storage and search under AddressSanitizer and UBSan
	$(call sanitized,asan,asan ubsan,tests/kernels tests/search tests/storage/test_segment.py \
	  tests/storage/test_tensors.py tests/storage/test_checksums.py tests/fuzz/test_findings.py)

tsan: build/tsan/.stamp ## the kernels under ThreadSanitizer
	$(call sanitized,tsan,tsan,tests/kernels)

# The oldest version that pyproject.toml declares of each framework.
OLDEST ?= langchain-core==1.4.0

oldest: $(VENV)/.stamp-test ## the adapters on the oldest frameworks that are declared
	$(PIP) install --quiet --upgrade --no-deps --target build/oldest $(OLDEST)
	PYTHONPATH=build/oldest $(BIN)/python -m pytest tests/integrations

lint: $(VENV)/.stamp-test ## ruff, and mypy on the installed package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(VENV) && bin/mypy --strict --config-file ../pyproject.toml -p weft

bench: $(VENV)/.stamp-test ## kernels, each family on each target
	$(BIN)/python benchmarks/kernels/bench_kernels.py

# Folder outside the repository for the corpus, the peers' environments and their indexes.
PEERS_CACHE ?= $(HOME)/.cache/weft-benchmarks
PEERS_ARGUMENTS ?=

peers: $(VENV)/.stamp-test ## Weft beside other engines on the same vectors: writes docs/benchmarks.md (hours)
	$(PIP) install --quiet --constraint constraints.txt matplotlib
	$(BIN)/python -m benchmarks.corpus.build --cache $(PEERS_CACHE) --passages 40000
	$(BIN)/python -m benchmarks.peers.run --cache $(PEERS_CACHE) $(PEERS_ARGUMENTS)

clean: ## remove what was built
	rm -rf build dist $(VENV) $(FUZZ_VENV) .demo
