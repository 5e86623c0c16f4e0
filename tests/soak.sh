#!/usr/bin/env bash
# Hundreds of kill -9 over the bundled demo, made small: not a part of `make check`, it takes a quarter of an hour.
#   tests/soak.sh BUILD [ROUNDS]    ROUNDS kills, 200 by default; DAVE_TEST_SEED=N for others
set -eu
build=${1:?usage: tests/soak.sh BUILD [ROUNDS]}
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONDONTWRITEBYTECODE=1

"$python" configs/demo/scenes.py --seed 7 --count 64 --out "$build/demo/scenes" >/dev/null
exec "$python" tests/runs/soak_kills.py "$build" "${2:-200}"
