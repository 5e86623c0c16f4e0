#!/usr/bin/env bash
# The real DeiT-Tiny on photographs, where ../shared is present: pixels and top-1 against PyTorch on
# Pillow-preprocessed input, image by image; integrated gradients against the logits they add up to.
set -u
build=${1:?usage: tests/real.sh BUILD}
cd "$(dirname "$0")/.." || exit 1
shared=${SHARED:-../shared} data=${SHARED:-../shared}/data
if [ ! -d "$data/deit_tiny" ]; then
	echo "skip: $data is absent: the real network and photographs were not compared, nor completeness"
	echo "0 passed, 0 failed, 4 skipped"
	exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0 skipped=0

tally() { # adds what the comparison says in its log
	local out
	cat "$dir/log"
	out=$(grep -E '^[0-9]+ passed' "$dir/log" | tail -n 1)
	if [[ $out =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped ]]; then
		passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
	else
		failed=$((failed + 1))
	fi
	rm -f "$dir/log"
}

for set in imagenet_sample imagenet_val8 imagenet_val125; do
	echo "== $set"
	cat >"$dir/top1.yaml" <<TXT
run: {output: $dir/$set.h5}
model: {path: $(realpath "$data/deit_tiny")}
data: {path: $(realpath "$data/$set/labels.txt")}
methods: [random]
store: {maps: none}
TXT
	mpirun -n 2 "$build/bin/dave-eval" "$dir/top1.yaml" >/dev/null &&
		"${PYTHON:-python3}" tests/reference/compare_top1.py "$dir/$set.h5" --model "$data/deit_tiny" \
			--data "$data/$set" --labels "$data/$set/labels.txt" >"$dir/log" 2>&1
	tally
done
# pixels, normalised input and logits of every photograph
find "$data/imagenet_sample" "$data/imagenet_val8" "$data/imagenet_val125" -name '*.JPEG' | sort | while read -r image; do
	out=$dir/$(basename "$image").h5
	"$build/bin/dave-replay" --image "$image" --model "$data/deit_tiny" -o "$out" && printf '%s\t%s\n' "$out" "$image"
done >"$dir/pairs"
"${PYTHON:-python3}" tests/reference/compare_pixels.py --pairs "$dir/pairs" --model "$data/deit_tiny" >"$dir/log" 2>&1
tally
# integrated gradients: the sum of the map comes closer to what it stands for
echo "== completeness"
cat >"$dir/steps.yaml" <<TXT
run: {output: $dir/steps.h5}
model: {path: $(realpath "$data/deit_tiny")}
data: {path: $(realpath "$data/imagenet_val8/labels.txt"), limit: 2}
methods: [integrated_gradients: {name: few, steps: 20}, integrated_gradients: {name: many, steps: 100}]
store: {maps: none, raw: true}
TXT
mpirun -n 2 "$build/bin/dave-eval" "$dir/steps.yaml" >/dev/null &&
	"${PYTHON:-python3}" tests/reference/compare_completeness.py "$dir/steps.h5" --model "$data/deit_tiny" >"$dir/log" 2>&1
tally
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
