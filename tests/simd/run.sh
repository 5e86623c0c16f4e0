#!/usr/bin/env bash
# The vectorised kernels give the same bits whatever the instruction set and the compiler: built once for each, the digests
# of their results are compared with those of the build that chooses at run time.
#   tests/simd/run.sh
set -u
cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
sources=(tests/simd/bits.c src/base/{rng,err,num,arena}.c src/attribution/postprocess.c
	src/kernels/{bcos,elementwise,filter,gelu,groupnorm,layernorm,order,relevance,softmax,warp}.c)
flags=(-std=gnu11 -D_GNU_SOURCE -Iinclude -ffp-contract=off -fno-math-errno -fopenmp-simd)
passed=0 failed=0 skipped=0

# The digests of a build: NAME COMPILER FLAG...
digests() {
	local name=$1 compiler=$2
	shift 2
	"$compiler" "${flags[@]}" "$@" -o "$dir/$name" "${sources[@]}" -lm >"$dir/$name.log" 2>&1 && "$dir/$name" >"$dir/$name.txt"
}

compare() {
	local name=$1
	if ! digests "$@"; then
		echo "fail: $name: does not build or run: $(tail -n 1 "$dir/$name.log")"
		failed=$((failed + 1))
	elif diff "$dir/dispatched.txt" "$dir/$name.txt"; then
		echo "pass: $name: $(wc -l <"$dir/$name.txt") digests"
		passed=$((passed + 1))
	else
		echo "fail: $name: other bits than the build that chooses at run time"
		failed=$((failed + 1))
	fi
}

digests dispatched gcc -O3 || { cat "$dir/dispatched.log"; exit 1; }
if [ "$(uname -m)" = x86_64 ]; then
	for level in x86-64 x86-64-v3 x86-64-v4; do
		# what this machine can run, as glibc's loader says
		if [ $level = x86-64 ] || /lib64/ld-linux-x86-64.so.2 --help | grep -q "$level (supported"; then
			compare $level gcc -O3 -DSIMD_CLONES= -march=$level
		else
			echo "skip: this machine does not run $level"
			skipped=$((skipped + 1))
		fi
	done
fi
compare unoptimised gcc -O0 -DSIMD_CLONES=
if command -v clang >/dev/null; then
	compare clang clang -O2
else
	echo "skip: no clang"
	skipped=$((skipped + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
