# dave-eval. Two commands do everything on a fresh Debian machine:
#   make demo     install what is missing, build, run the main job on the bundled demo, show where the results are
#   make check    the same set-up, then all the tests
#   make report   after make demo: the demo's results as a page for the browser
# Others: make, make soak, make bench, make install PREFIX=/usr/local, make layers, make docs, make format, make tidy, make clean.
# DEVELOPER=1 turns warnings into errors; SANITIZE=address,undefined builds into build/sanitize.

CC      = gcc
PREFIX ?= /usr/local
BUILD  := build$(if $(SANITIZE),/sanitize)
# Debian's Python, which has the packages that `make setup` installs, before any other on the PATH.
PYTHON ?= $(if $(wildcard /usr/bin/python3),/usr/bin/python3,python3)

PACKAGES := ompi-c hdf5-openmpi openblas jansson yaml-0.1 libpng libjpeg libarchive libcrypto zlib expat
PC_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PC_LIBS   := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
REVISION  := $(shell git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)

# Sanitizers instrument away what the compiler would need to know for its warnings about formats.
# No contraction: a result must not depend on how the compiler pairs multiplications and additions.
CFLAGS  ?= -O3 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -Iinclude -Isrc $(CFLAGS) -ffp-contract=off -fno-math-errno -fopenmp-simd \
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
	$(if $(DEVELOPER),-Werror) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -O1 -Wno-format-truncation) \
	-MMD -MP $(patsubst -I%,-isystem %,$(PC_CFLAGS))
LIBS    = -lhdf5_hl $(PC_LIBS) -lm -lpthread

LAYERS  := base kernels formats model metrics attribution pipeline
SOURCES := $(wildcard $(LAYERS:%=src/%/*.c))
OBJECTS := $(SOURCES:src/%.c=$(BUILD)/obj/%.o)
TOOLS   := $(patsubst src/tools/dave_%.c,$(BUILD)/bin/dave-%,$(wildcard src/tools/dave_*.c))
UNIT    := $(wildcard tests/unit/*.c)

all: requirements $(TOOLS)

# What the build needs, said in one line when it is missing.
requirements:
	@.ci/setup build --check

setup:
	@.ci/setup all

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# The revision is baked into one object, rebuilt when it changes.
$(BUILD)/revision: FORCE
	@mkdir -p $(@D)
	@echo '$(REVISION)' | cmp -s - $@ || echo '$(REVISION)' > $@
$(BUILD)/obj/base/version.o: $(BUILD)/revision
$(BUILD)/obj/base/version.o: ALL_CFLAGS += -DGIT_REVISION='"$(REVISION)"'

$(BUILD)/libdave.a: $(OBJECTS)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/bin/dave-%: $(BUILD)/obj/tools/dave_%.o $(BUILD)/libdave.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/obj/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/tests/unit: $(UNIT:%.c=$(BUILD)/obj/%.o) $(BUILD)/libdave.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ -lcunit $(LIBS)

$(BUILD)/tests/pixels: $(BUILD)/obj/tests/pillow/pixels.o $(BUILD)/libdave.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/judge: $(BUILD)/obj/tests/metrics/judge.o $(BUILD)/libdave.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

# Loaded into the programs by tests/runs/test_faults.py: without sanitizers, which want to come first.
$(BUILD)/tests/shim.so: tests/faults/shim.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wshadow $(if $(DEVELOPER),-Werror) -fPIC -shared -o $@ $<

$(BUILD)/tests/board: $(BUILD)/obj/tests/mpi/board.o $(BUILD)/libdave.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/bench: $(BUILD)/obj/tests/bench/pipeline.o $(BUILD)/libdave.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

# The programs of the benchmark; two of them time every matrix product.
BENCHES := $(BUILD)/tests/bench $(BUILD)/tests/kernels $(BUILD)/tests/passes $(BUILD)/tests/dave-eval-timed
TIMED   := -Wl,--wrap=cblas_sgemm
$(BUILD)/tests/passes: $(BUILD)/obj/tests/bench/passes.o $(BUILD)/obj/tests/bench/blas.o $(BUILD)/libdave.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(TIMED) -o $@ $^ $(LIBS)

$(BUILD)/tests/dave-eval-timed: $(BUILD)/obj/tools/dave_eval.o $(BUILD)/obj/tests/bench/blas.o $(BUILD)/libdave.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(TIMED) -o $@ $^ $(LIBS)

$(BUILD)/tests/kernels: $(BUILD)/obj/tests/bench/kernels.o $(BUILD)/libdave.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

programs: $(TOOLS) $(BUILD)/tests/unit $(BUILD)/tests/pixels $(BUILD)/tests/judge $(BUILD)/tests/board $(BENCHES) $(BUILD)/tests/shim.so

demo:
	@.ci/setup demo
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@PYTHON=$(PYTHON) configs/demo/run.sh $(BUILD)

report:
	@.ci/setup analysis
	@test -f $(BUILD)/demo/demo.h5 || { echo 'error: no $(BUILD)/demo/demo.h5: run make demo first' >&2; exit 1; }
	@$(PYTHON) -B analysis/report.py $(BUILD)/demo/demo.h5 -o $(BUILD)/demo/report

check: setup
	@$(MAKE) --no-print-directory -j$$(nproc) programs
	@PYTHON=$(PYTHON) MAKE="$(MAKE)" tests/run.sh $(BUILD)

# The long version of what make check does in short: 200 kills, every failing write, ten minutes a fuzz target. Hours.
soak: setup
	@$(MAKE) --no-print-directory -j$$(nproc) programs
	@PYTHON=$(PYTHON) tests/soak.sh $(BUILD)
	@PYTHON=$(PYTHON) DAVE_LONG=1 tests/run.sh $(BUILD) faults
	@PYTHON=$(PYTHON) DAVE_LONG=1 tests/run.sh $(BUILD) analysis-stats
	@PYTHON=$(PYTHON) DAVE_LONG=1 tests/run.sh $(BUILD) report
	@PYTHON=$(PYTHON) FUZZ_SECONDS=600 tests/run.sh $(BUILD) fuzz

include tests/fuzz/fuzz.mk

# Takes some forty minutes and wants the machine for itself; BENCH="passes torch" make bench: parts of it.
bench:
	@.ci/setup all
	@$(MAKE) --no-print-directory -j$$(nproc) all $(BENCHES)
	@PYTHON=$(PYTHON) tests/bench/run.sh $(BUILD)

layers: $(OBJECTS)
	@tests/layers.sh $(BUILD)

# The generated part of the documentation; a test checks that it is up to date.
docs: $(BUILD)/bin/dave-eval
	@tests/docs.sh $(BUILD) --write

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install $(TOOLS) $(DESTDIR)$(PREFIX)/bin

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

tidy:
	tests/tidy.sh

clean:
	rm -rf build

.PHONY: all requirements setup programs demo report check soak bench layers docs install format tidy clean FORCE
.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
