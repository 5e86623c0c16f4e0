#!/usr/bin/env bash
# The main job on the bundled demo, on two ranks: `make demo` calls this with the build folder.
set -euo pipefail
build=${1:?usage: configs/demo/run.sh BUILD}
here=$(dirname "$0")
out=$build/demo
export OPENBLAS_NUM_THREADS=1
# mpirun refuses to run as root, and counts cores, unless told that we know
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

mkdir -p "$out"
"${PYTHON:-python3}" -B "$here/scenes.py" --seed 7 --count 64 --out "$out/scenes"
mpirun -n 2 "$build/bin/dave-eval" "$here/demo.yaml" --set "data.path=$out/scenes/val" --output "$out/demo.h5" --overwrite
"$build/bin/dave-sheet" "$out/demo.h5" -o "$out/contact_sheet.png" --columns 8
cat <<TXT

Results        $out/demo.h5 (h5ls -r, h5dump, h5py, xarray)
Contact sheet  $out/contact_sheet.png: each scene beside its DAVE map
More           make report: tables, curves and all maps as a page for the browser
TXT
