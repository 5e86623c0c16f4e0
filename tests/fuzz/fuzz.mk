# Fuzzing: the library once more, instrumented by clang for libFuzzer and the sanitizers, and a program for each
# fuzz_NAME.c of this folder. Part of the top Makefile; tests/fuzz/run.sh makes `fuzzers` and runs them.

FUZZ_CC   = clang
FUZZ_WITH = address,undefined
FUZZ_OBJ := $(BUILD)/fuzz/obj
FUZZERS  := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_CFLAGS = $(ALL_CFLAGS) -O1 -Itests/unit -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,$(FUZZ_WITH) \
	-fno-sanitize-recover=all

fuzzers: $(FUZZERS)

$(FUZZ_OBJ)/%.o: src/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -c -o $@ $<

$(FUZZ_OBJ)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -c -o $@ $<

$(BUILD)/fuzz/libdave.a: $(SOURCES:src/%.c=$(FUZZ_OBJ)/%.o)
	@rm -f $@
	ar rcs $@ $^

# Only what a target uses: no MPI, no HDF5.
$(BUILD)/fuzz/fuzz_%: $(FUZZ_OBJ)/tests/fuzz/fuzz_%.o $(FUZZ_OBJ)/tests/unit/scratch.o $(BUILD)/fuzz/libdave.a
	$(FUZZ_CC) -fsanitize=fuzzer,$(FUZZ_WITH) -o $@ $^ -Wl,--as-needed $(LIBS)

.PHONY: fuzzers
-include $(shell find $(FUZZ_OBJ) -name '*.d' 2>/dev/null)
