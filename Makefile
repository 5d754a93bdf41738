# The front door; CMake does the work (CMakePresets.json).
#   make            build/pare                     make demo       a real model, compressed and measured: report.html
#   make setup      install what pare needs        make check      install what is missing, build, run the whole test suite
#   make install    program, library, headers      make bench      speed and memory beside other programs (bench/)
#   make format     clang-format                   make fuzz       fuzz every parser for a minute each
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)

.PHONY: all setup demo check asan tsan fuzz bench format install clean

all: .cache/pare/plotly.min.js
	@test -f build/build.ninja || cmake --preset release >/dev/null
	@cmake --build build --parallel $(JOBS) --target pare

.cache/pare/plotly.min.js:
	tools/fetch_chart_library.sh

setup:
	tools/setup.sh build

demo: setup
	$(MAKE) --no-print-directory all
	tools/demo.sh

check:
	tools/setup.sh check
	tools/check.sh

# LLVM's OpenMP is not instrumented: TSan sees pare's own accesses, and takes the runtime's barriers from its Archer
tsan: export TSAN_OPTIONS = ignore_noninstrumented_modules=1
asan tsan:
	cmake --preset $@ >/dev/null
	cmake --build build/$@ --parallel $(JOBS)
	ctest --test-dir build/$@ --output-on-failure

fuzz:
	cmake --preset fuzz >/dev/null
	cmake --build build/fuzz --parallel $(JOBS)
	tools/fuzz.sh build/fuzz 60

bench: all
	bench/evaluate.sh demo/model.gguf $(or $(MODEL),demo/model.gguf) demo/test.txt

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

install: all
	cmake --build build --parallel $(JOBS)
	cmake --install build --prefix $(PREFIX)

clean:
	rm -rf build
