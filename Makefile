# SPDX-License-Identifier: Apache-2.0
# The front door: each target installs what it lacks (tools/setup), builds with Meson and Ninja,
# and does its job. Nothing here knows about source files; the meson.build lists do.
.DEFAULT_GOAL := help
.PHONY: help build run demo test check bench fuzz model faults install clean

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
SEEDS ?= 1000
JOBS ?= $(shell nproc)
LISTEN ?= 127.0.0.1:$(or $(GRAVITON_HTTP_PORT),8081)
ifeq ($(origin CC),default)
CC := gcc
endif
export CC

help:
	@echo "make run      build, then serve ./graviton-data over HTTP, LISTEN=$(LISTEN)"
	@echo "make demo     build, then store, change, read back and check real files of this machine"
	@echo "make test     build and run every test, plain and under the sanitizers"
	@echo "make build    the program at $(BUILD)/graviton, the library beside it"
	@echo "make check    format, warnings of two compilers, clang-tidy, house rules"
	@echo "make bench    figures, each beside a baseline of the same run"
	@echo "make fuzz     every decoder under libFuzzer, FUZZ_SECONDS=$(FUZZ_SECONDS) each"
	@echo "make model    random operations against a model, SEEDS=$(SEEDS) on every pair of backends"
	@echo "make faults   power cuts at every call, each sync left out, each stored byte changed (long)"
	@echo "make install  library, headers, program, man page under PREFIX=$(PREFIX) (DESTDIR too)"
	@echo "make clean    remove what the others made"

build:
	@tools/setup build
	@tools/build "$(BUILD)"

# The store is made at the first run, and is there again at the next.
run: build
	@echo "Serving ./graviton-data at http://$(LISTEN). From another terminal:"
	@echo
	@echo "  curl --data-binary @README.md http://$(LISTEN)/api/blobs      # stores it, prints its id"
	@echo "  curl http://$(LISTEN)/api/blobs/ID                            # gives it back, checked"
	@echo "  curl 'http://$(LISTEN)/api/blobs?order=newest'                # what is there"
	@echo "  curl http://$(LISTEN)/metrics                                 # what was done"
	@echo
	@echo "Ctrl-C ends it when what is in flight has ended."
	@echo
	@exec "$(BUILD)/graviton" serve --listen "$(LISTEN)"

demo: build
	@tools/demo "$(BUILD)"

test:
	@tools/setup test
	@tools/run-tests

check:
	@tools/setup check
	@tools/check

bench:
	@tools/setup bench
	@tools/build build-bench -Dbuildtype=release
	@meson test -C build-bench --benchmark --verbose --no-rebuild

fuzz:
	@tools/setup fuzz
	@tools/fuzz "$(FUZZ_SECONDS)"

# Files in memory where the system has them: the test makes and removes many.
model: build
	@TMPDIR="$${TMPDIR:-$$(test -w /dev/shm && echo /dev/shm || echo /tmp)}" \
		"$(BUILD)/tests/model/model" --seeds "$(SEEDS)" --jobs "$(JOBS)"

# As for model.
faults: build
	@TMPDIR="$${TMPDIR:-$$(test -w /dev/shm && echo /dev/shm || echo /tmp)}" \
		tests/fault/power.py "$(BUILD)/graviton" "$(BUILD)/tests/fault/record.so" \
		--spoil "$(BUILD)/tests/fault/fault-spoil" --exhaustive
	@TMPDIR="$${TMPDIR:-$$(test -w /dev/shm && echo /dev/shm || echo /tmp)}" tests/fault/mutate.py
	@TMPDIR="$${TMPDIR:-$$(test -w /dev/shm && echo /dev/shm || echo /tmp)}" \
		tests/fault/flip.py "$(BUILD)/graviton" --spoil "$(BUILD)/tests/fault/fault-spoil" --every

# The prefix is part of what is built (pkg-config's file, the man page's paths), so a directory of
# its own is configured for it; install itself never compiles, and so never does that as root.
install:
	@tools/setup build
	@tools/build build-install -Dbuildtype=release "-Dprefix=$(abspath $(PREFIX))"
	@DESTDIR="$(DESTDIR)" meson install --no-rebuild --quiet -C build-install
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" -eq 0 ]; then ldconfig; fi

clean:
	rm -rf build build-*/
