#!/usr/bin/env bash
# The layers of src/README.md, checked: who includes whom, who calls which library, and that each header compiles alone.
#   tests/layers.sh BUILD   (the objects must have been built)
set -u
build=${1:?usage: tests/layers.sh BUILD}
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0

declare -A below=(
	[base]="base"
	[kernels]="base kernels"
	[formats]="base formats"
	[model]="base kernels formats model"
	[metrics]="base kernels metrics"
	[attribution]="base kernels model attribution"
	[pipeline]="base kernels formats model metrics attribution pipeline"
	[tools]="base kernels formats model metrics attribution pipeline"
)

result() { # name, what is wrong (empty: nothing)
	if [ -z "$2" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		printf 'FAIL %s\n%s\n' "$1" "$2"
	fi
}

for layer in "${!below[@]}"; do
	allowed=$(echo "${below[$layer]}" | tr ' ' '|')
	files=$(find "src/$layer" "include/$layer" -name '*.[ch]' 2>/dev/null)
	result "includes of $layer" "$(grep -nE '^#include "' $files | grep -vE "#include \"($allowed)/")"
done

# A source includes its own header first, where it has one.
wrong=
for c in $(find src -name '*.c'); do
	own=${c#src/} own=${own%.c}.h
	[ -f "include/$own" ] || continue
	first=$(grep -m 1 '^#include' "$c")
	[ "$first" = "#include \"$own\"" ] || wrong+="$c begins with $first"$'\n'
done
result "own header first" "$wrong"

# Libraries: the header in one room only.
library() { # name, pattern of the include, pattern of the files that may
	result "$1" "$(grep -rnE "#include *[<\"]($2)" src include | grep -vE "^($3)")"
}
library "MPI" 'mpi\.h' 'src/pipeline/(comm|board|store)\.c'
library "HDF5" 'hdf5' 'src/formats/h5\.c|src/pipeline/(store|store_create|store_read|store_verify)\.c'
library "BLAS" 'cblas\.h' 'src/kernels/gemm\.c'
library "JPEG and PNG" 'jpeglib\.h|png\.h' 'src/formats/(image|png_write)\.c'
library "libarchive" 'archive(_entry)?\.h' 'src/formats/tar\.c'
library "expat" 'expat\.h' 'src/formats/annotations\.c'
library "jansson" 'jansson\.h' 'include/formats/json\.h'
library "YAML" 'yaml\.h' 'src/formats/yaml_doc\.c'

# Symbols: what the objects really call.
symbols() { # name, layers, pattern
	local found=
	for layer in $2; do
		for o in "$build/obj/$layer"/*.o; do
			[ -f "$o" ] && found+=$(nm -u "$o" | grep -E " ($3)" | sed "s|^|$o:|")
		done
	done
	result "$1" "$found"
}
symbols "MPI symbols only in pipeline" "base kernels formats model metrics attribution tools" 'MPI_|ompi_'
symbols "HDF5 symbols only in formats and pipeline" "base kernels model metrics attribution tools" 'H5[A-Z]'
symbols "no allocation, printing or files in kernels" "kernels" \
	'(x_)?(malloc|calloc|realloc|aligned_alloc|free)$|x_|(f|s|sn|v)?printf|f?puts|fopen|fwrite|open$|write$'
symbols "no allocation in attribution and metrics" "attribution metrics" '(x_)?(malloc|calloc|realloc|aligned_alloc)$'

# Each header compiles alone.
flags=$(pkg-config --cflags ompi-c hdf5-openmpi openblas jansson)
for h in $(find include -name '*.h'); do
	result "$h alone" "$(printf '#include "%s"\n' "${h#include/}" |
		${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -Iinclude $flags -fopenmp-simd -Wall -Werror -fsyntax-only -x c - 2>&1)"
done

long=$(wc -l $(find src include tests -name '*.[ch]') | awk '$2 != "total" && $1 > 600')
result "no file over 600 lines" "$long"
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
