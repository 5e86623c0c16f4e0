#!/usr/bin/env bash
# The generated parts of the documentation, between the marks, against what the program says of itself.
#   tests/docs.sh BUILD           fails where they differ
#   tests/docs.sh BUILD --write   brings them up to date (make docs)
set -u
build=${1:?usage: tests/docs.sh BUILD [--write]}
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0

section() { # file, option that prints the section
	local new
	new=$(mktemp)
	{
		sed '/<!-- generated -->/q' "$1"
		"$build/bin/dave-eval" "$2"
		sed -n '/<!-- end of generated -->/,$p' "$1"
	} >"$new"
	if cmp -s "$1" "$new"; then
		passed=$((passed + 1))
	elif [ "${3:-}" = --write ]; then
		cp "$new" "$1"
		echo "updated $1"
	else
		failed=$((failed + 1))
		echo "FAIL $1 is out of date: run make docs"
		diff "$1" "$new" | head -n 20
	fi
	rm -f "$new"
}
section configs/README.md --reference-keys "${2:-}"
section analysis/README.md --reference-schema "${2:-}"
[ "${2:-}" = --write ] && exit 0

# Every configuration that is shipped is at least a configuration (its model and data need not be here).
for c in configs/*.yaml configs/demo/*.yaml; do
	message=$("$build/bin/dave-eval" --dry-run --set model.path=/nonexistent "$c" 2>&1)
	if [[ $message == *"/nonexistent/model.safetensors: cannot open"* ]]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $c: $message"
	fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
