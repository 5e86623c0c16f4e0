#!/usr/bin/env bash
# The evaluation of every method on the demo's known objects, with few samples: configs/demo/evaluation.yaml, and what it
# must show.
set -eu
build=$(realpath "${1:?usage: tests/evaluation.sh BUILD}")
cd "$(dirname "$0")/.."
out=$build/tests/evaluation python=${PYTHON:-python3}
export OPENBLAS_NUM_THREADS=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
mkdir -p "$out"
"$python" -B configs/demo/scenes.py --seed 7 --count 64 --out "$out/scenes"
few=()
for m in dave effective_equivariant effective_smooth smoothgrad; do few+=(--set "methods.$m.samples=8"); done
mpirun -n 2 "$build/bin/dave-eval" configs/demo/evaluation.yaml --set "data.path=$out/scenes/val" \
	--set "data.boxes=$out/scenes/boxes.csv" "${few[@]}" --set methods.integrated_gradients.steps=8 \
	--output "$out/evaluation.h5" --overwrite >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
exec "$python" -B tests/runs/check_evaluation.py "$out/evaluation.h5"
