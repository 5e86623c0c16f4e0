#!/usr/bin/env bash
# Decoding and resizing against Pillow, byte for byte, on generated files and on the photographs of ../shared.
set -u
build=${1:?usage: tests/pillow.sh BUILD}
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" tests/pillow/make_images.py "$dir" || exit 1
photographs=()
[ -d "${SHARED:-../shared}/data" ] && photographs=("${SHARED:-../shared}/data")
"${PYTHON:-python3}" tests/pillow/compare.py "$build/tests/pixels" "$dir" "${photographs[@]}"
