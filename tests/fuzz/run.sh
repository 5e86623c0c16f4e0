#!/usr/bin/env bash
# Builds the fuzz targets and runs each for SECONDS from its corpus, as many side by side as there are processors.
# What a run finds stays in BUILD/fuzz: inputs that reach new code in corpus/, crashes in crashes/, messages in NAME.log.
#   tests/fuzz/run.sh BUILD SECONDS [NAME]   only the targets whose name contains NAME
set -u
build=${1:?usage: tests/fuzz/run.sh BUILD SECONDS [NAME]}
seconds=${2:?usage: tests/fuzz/run.sh BUILD SECONDS [NAME]}
only=${3:-}
cd "$(dirname "$0")/../.." || exit 1
here=tests/fuzz out=$build/fuzz
mkdir -p "$out"
names=$(ls $here/fuzz_*.c | sed 's,.*/fuzz_\(.*\)\.c,\1,' | grep -F -e "$only")

end() { # passed, failed, skipped
	echo "$1 passed, $2 failed, $3 skipped"
	[ "$2" = 0 ]
	exit
}

# gcc has no libFuzzer, clang may come without its run-time library, and a container may forbid the search for leaks.
echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n && 0; }' |
	clang -x c -fsanitize=fuzzer,address,undefined -o "$out/probe" - >"$out/probe.log" 2>&1 &&
	"$out/probe" -runs=1 >>"$out/probe.log" 2>&1 || {
	echo "skip fuzz: no clang with libFuzzer that runs here (Debian packages clang libclang-rt-14-dev; see $out/probe.log)"
	end 0 0 "$(echo "$names" | wc -w)"
}
"${MAKE:-make}" -s -j"$(nproc)" BUILD="$build" fuzzers >"$out/build.log" 2>&1 || {
	echo "FAIL fuzz: the targets do not build"
	tail -n 20 "$out/build.log"
	end 0 1 0
}

# One target. Files that it writes go to memory where possible.
fuzz() {
	local name=$1 log=$out/$1.log started=$SECONDS options=() runs
	[ ! -f "$here/$name.dict" ] || options=("-dict=$here/$name.dict")
	mkdir -p "$out/corpus/$name" "$out/crashes/$name"
	"$out/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
		-artifact_prefix="$out/crashes/$name/" "${options[@]}" "$out/corpus/$name" "$here/corpus/$name" >"$log" 2>&1
	local rc=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	if [ $rc = 0 ] && [ "${runs:-0}" -gt 0 ]; then
		echo "ok   fuzz $name: $runs runs in $((SECONDS - started)) s"
		return
	fi
	echo "FAIL fuzz $name: exit status $rc after $((SECONDS - started)) s; see $log"
	# what is wrong, the first stack as far as it is ours, and the input
	grep -aE '^BUG:|runtime error:|ERROR: |^SUMMARY:' "$log" | head -n 4 | sed 's/^/    /'
	awk '$1 == "#0" && n++ { exit } /^ +#[0-9]+ .*(src|tests)\/[^ ]*\.c:[0-9]+/' "$log" | head -n 6
	grep -aE 'Test unit written to|^ParseDictionaryFile' "$log" | sed 's/^/    /'
}

files=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" dave-fuzz-XXXXXX) || exit 1
trap 'rm -rf "$files"' EXIT
export -f fuzz
export here out seconds TMPDIR=$files OPENBLAS_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=1:allow_addr2line=1
export UBSAN_OPTIONS=print_stacktrace=1
echo "$names" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}' | tee "$out/results"
end "$(grep -c '^ok' "$out/results")" "$(grep -c '^FAIL' "$out/results")" 0
