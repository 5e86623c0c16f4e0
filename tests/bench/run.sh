#!/usr/bin/env bash
# `make bench`: the pipeline measured. Tables on standard output, CSV in BUILD/bench. Nothing is asserted.
#   tests/bench/run.sh BUILD
# BENCH_IMAGES (4): images of the ViT-B job, about 250 s each on a core; 0: what the last run measured.
set -euo pipefail
build=$(realpath "${1:?usage: tests/bench/run.sh BUILD}")
cd "$(dirname "$0")/../.."
out=$build/bench python=${PYTHON:-python3} eval=$build/bin/dave-eval
export OPENBLAS_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
mkdir -p "$out"
"$python" -B configs/demo/scenes.py --seed 7 --count 64 --out "$out/scenes"

echo "== the board and the writer (mean of all calls)"
: >"$out/pipeline.csv"
for ranks in 1 2; do mpirun -n $ranks "$build/tests/bench" "$out/rows.h5" | tee -a "$out/pipeline.csv"; done

echo "== start: --dry-run over 50,000 images (MPI's start included)"
[ -f "$out/vitb16/model.safetensors" ] || "$python" -B tests/bench/make_vit.py "$out/vitb16" vit_base_patch16_224
seq -f 'val/ILSVRC2012_val_%08.0f.JPEG 7' 50000 >"$out/list.txt"
"$python" -B tests/bench/make_tar.py "$out/shard.tar" 50000
rm -f "$out/shard.tar.index"
for data in list.txt shard.tar shard.tar; do
	kept=$([ -f "$out/$data.index" ] && echo ", its index kept" || true)
	started=$(date +%s.%N)
	"$eval" configs/vitb16.yaml --set model.path="$out/vitb16" --set data.path="$out/$data" --dry-run >/dev/null
	echo "$data$kept: $(echo "$(date +%s.%N) $started" | awk '{ printf "%.2f", $1 - $2 }') s"
done

seconds() { # what a progress file says of the run: seconds of the loop, rank-seconds by stage
	"$python" -B tests/bench/stages.py "$@"
}
echo "== demo, 64 images, 1 and 2 ranks"
for ranks in 1 2; do
	mpirun -n $ranks "$eval" configs/demo/demo.yaml --set data.path="$out/scenes/val" -o "$out/demo$ranks.h5" --overwrite \
		>"$out/demo.log" 2>&1
done
seconds "$out/demo1.h5.progress.jsonl" "$out/demo2.h5.progress.jsonl"

echo "== the main job on ViT-B/16 (random weights), ${BENCH_IMAGES:=4} images, 2 ranks"
[ "$BENCH_IMAGES" = 0 ] || mpirun -n 2 "$eval" configs/vitb16.yaml --set model.path="$out/vitb16" \
	--set data.path="$out/scenes/val" --set metrics.deletion.min_probability=0 \
	--set metrics.deletion.correct_only=false --set data.limit="$BENCH_IMAGES" -o "$out/vitb16.h5" --overwrite \
	>"$out/vitb16.log" 2>&1
seconds "$out/vitb16.h5.progress.jsonl"

# The protocol of the paper judges only images that the model is sure of: times differ by what it costs. Real ones
# where there are any; the demo's pictures are small, so that the protocol costs more there than it does on ViT-B.
shared=${SHARED:-../shared}/data
if [ -d "$shared" ]; then
	what="a DeiT-Tiny, 24 photographs" model=$shared/deit_tiny data=$shared/imagenet_val125/labels.txt limit=24
else
	what="the demo's model, 64 scenes" model=configs/demo/model data=$out/scenes/val limit=64
fi
echo "== times of single images in the main job's protocol: $what, 2 ranks"
rm -rf "$out/logs"
mpirun -n 2 "$eval" configs/vitb16.yaml --set model.path="$model" --set data.path="$data" --limit $limit \
	-o "$out/protocol.h5" --overwrite --log-dir "$out/logs" >"$out/protocol.log" 2>&1
seconds "$out/protocol.h5.progress.jsonl"

echo "== the schedule of 50,000 images on ViT-B/16, simulated"
mean=$("$python" -B tests/bench/stages.py --mean "$out/vitb16.h5.progress.jsonl")
"$python" -B tests/bench/schedule.py "$out/logs" "$out/pipeline.csv" "$mean" -o "$out/schedule.csv"
