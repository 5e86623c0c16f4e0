#!/usr/bin/env bash
# dave-replay against recorded tensors: our own goldens always, those of the published implementation where
# ../shared is present.
set -u
build=${1:?usage: tests/golden.sh BUILD}
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
shared=${SHARED:-../shared}
passed=0 failed=0 skipped=0

compare() { # golden, arguments of dave-replay, ... -- arguments of the comparison
	local golden=$1 out log
	shift
	log=$dir/log
	if "$build/bin/dave-replay" "$golden" -o "$dir/out.h5" "$@" >"$log" 2>&1; then
		"${PYTHON:-python3}" tests/reference/compare_replay.py "$golden" "$dir/out.h5" "$@" >"$log" 2>&1
	fi
	echo "== $golden"
	cat "$log"
	out=$(grep -E '^[0-9]+ passed' "$log" | tail -n 1)
	if [[ $out =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped ]]; then
		passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
	else
		failed=$((failed + 1))
	fi
}

for golden in tests/golden/*.h5; do
	compare "$golden"
done
if [ -d "$shared/golden" ]; then
	compare "$shared/golden/vit_base.h5"
	compare "$shared/golden/vit_ls.h5"
	compare "$shared/golden/vit_qknorm.h5"
	compare "$shared/golden/vit_avg.h5"
	compare "$shared/golden/deit_tiny_real.h5" --model "$shared/data/deit_tiny"
else
	echo "skip: $shared/golden is absent: the published implementation's tensors were not compared"
	skipped=$((skipped + 5))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
