# make demo   build, install into .venv and write demo/report.html
# make test   every check and test
# make help   the rest
PYTHON ?= python3
VENV ?= .venv
BUILD ?= build

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CMAKE := $(BIN)/cmake -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DRELPROP_TESTS=ON -S .
CTEST := $(BIN)/ctest --output-on-failure --no-tests=error --test-dir
SOURCES := CMakeLists.txt pyproject.toml README.md \
  $(shell find cpp python -type f -not -path '*/__pycache__/*')
CXX_SOURCES = $(shell find cpp python/bindings tests -name '*.h' -o -name '*.cpp' -o -name '*.inl')

# Only what is installed in the environment is tested.
unexport PYTHONPATH PYTHONHOME

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint types test-cpp test-python test-neon sanitize bench bench-programs format wheel clean

help:
	@echo 'demo         explain the shipped digits, write demo/report.html'
	@echo 'test         lint, types, test-cpp and test-python'
	@echo 'test-neon    C++ tests for AArch64 under emulation (half an hour)'
	@echo 'sanitize     C++ tests under address, undefined-behaviour and thread sanitizers'
	@echo 'bench        relprop against its rivals (40 min); ARGS="--help" lists parts and options'
	@echo 'format       bring all sources into the house format'
	@echo 'wheel        build dist/*.whl'
	@echo 'clean        remove everything that was built or installed here'

demo: $(VENV)/.package
	$(BIN)/python demo/report.py

test: lint types test-cpp test-python

# Dependency groups need pip 25.1.
$(VENV)/.build: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "relprop needs Python 3.10")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --group build
	@touch $@

# Without build isolation the same cmake, ninja and pybind11 serve every build, so that the next
# one is incremental.
$(VENV)/.package: $(VENV)/.build $(SOURCES)
	$(PIP) install --no-build-isolation '.[onnx,images]'
	@touch $@

$(VENV)/.test: $(VENV)/.build
	$(PIP) install --group test
	$(PIP) install --no-deps --group peers
	@touch $@

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CXX_SOURCES)

types: $(VENV)/.test $(VENV)/.package
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --allowlist tests/stubtest.txt relprop._core

test-cpp: $(VENV)/.build
	$(CMAKE) -B $(BUILD)/cpp
	$(BIN)/cmake --build $(BUILD)/cpp
	$(CTEST) $(BUILD)/cpp

test-python: $(VENV)/.test $(VENV)/.package
	$(BIN)/python -m pytest $(ARGS)

# Needs a compiler for AArch64 with its C library, and QEMU's user mode. NEON: options for ctest.
test-neon: $(VENV)/.build
	$(CMAKE) -B $(BUILD)/neon -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
	  '-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu'
	$(BIN)/cmake --build $(BUILD)/neon
	$(CTEST) $(BUILD)/neon $(NEON)

# libgomp is not instrumented, so the thread sanitizer sees a build without OpenMP: what it checks is
# that threads of the caller can share a plan.
sanitize: $(VENV)/.build
	$(CMAKE) -B $(BUILD)/asan -DRELPROP_SANITIZE=address,undefined
	$(BIN)/cmake --build $(BUILD)/asan
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(CTEST) $(BUILD)/asan
	$(CMAKE) -B $(BUILD)/tsan -DRELPROP_SANITIZE=thread -DRELPROP_OPENMP=OFF
	$(BIN)/cmake --build $(BUILD)/tsan
	TSAN_OPTIONS=halt_on_error=1 $(CTEST) $(BUILD)/tsan

bench: bench-programs $(VENV)/.test $(VENV)/.package
	$(BIN)/python -m benchmarks $(ARGS)

bench-programs: $(VENV)/.build
	$(CMAKE) -B $(BUILD)/bench -DRELPROP_BENCH=ON
	$(BIN)/cmake --build $(BUILD)/bench

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

wheel: $(VENV)/.build
	$(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) $(BUILD) dist demo/report.html demo/*.png benchmarks/results
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
