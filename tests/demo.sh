#!/usr/bin/env bash
# The demo, as `make demo` runs it, and what it must show: the bundled model recognises the scenes, and DAVE is a better
# ranking of pixels than a random one.
set -u
build=${1:?usage: tests/demo.sh BUILD}
cd "$(dirname "$0")/.." || exit 1
configs/demo/run.sh "$build" || exit 1
exec "${PYTHON:-python3}" tests/runs/check_demo.py "$build/demo/demo.h5" "$build/demo/contact_sheet.png"
