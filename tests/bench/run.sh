#!/usr/bin/env bash
# `make bench`: everything measured, medians of rounds. Tables on standard output, CSV in BUILD/bench. Nothing is
# asserted; the machine should have nothing else to do.
#   tests/bench/run.sh BUILD
# BENCH (all of: kernels passes methods torch scaling share adaptive pipeline growth): the sections to run
# BENCH_ROUNDS (5): rounds of torch, scaling and growth
# BENCH_IMAGES (4): images of the ViT-B job in `pipeline`, about 160 s each on a core; 0: what the last run measured
# BENCH_MODEL (vitb16): model of that job and of `share`; vitti16 and deit3b16 are others
set -euo pipefail
build=$(realpath "${1:?usage: tests/bench/run.sh BUILD}")
cd "$(dirname "$0")/../.."
out=$build/bench python=${PYTHON:-python3} eval=$build/bin/dave-eval
export OPENBLAS_NUM_THREADS=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
: "${BENCH:=kernels passes methods torch scaling share adaptive pipeline growth}"
: "${BENCH_ROUNDS:=5}" "${BENCH_IMAGES:=4}" "${BENCH_MODEL:=vitb16}"
core=$(taskset -pc $$ | sed 's/.*[ ,-]//') # what runs on one core keeps to the last one

py() { # SCRIPT ARGUMENTS...
	"$python" -B "tests/bench/$1" "${@:2}"
}
model() { # NAME: the folder of a checkpoint with random weights, made if need be
	local -A architectures=([vitti16]=vit_tiny_patch16_224 [vitb16]=vit_base_patch16_224
		[deit3b16]=deit3_base_patch16_224)
	[ -f "$out/$1/model.safetensors" ] || py make_vit.py "$out/$1" "${architectures[$1]}" >&2
	echo "$out/$1"
}
main_job() { # IMAGES OUTPUT PROGRAM...: the main job on random weights, which are sure of nothing
	"${@:3}" configs/vitb16.yaml --set model.path="$(model "$BENCH_MODEL")" --set data.path="$out/scenes/val" \
		--set metrics.deletion.min_probability=0 --set metrics.deletion.correct_only=false --set data.limit="$1" \
		-o "$2" --overwrite >"${2%.h5}.log" 2>&1
}

kernels() {
	echo "== kernels: matrix products (GFLOP/s, share of large square ones), elementwise ones (ns per element, GB/s)"
	echo kernel,shape,value,unit,share | tee "$out/kernels.csv"
	taskset -c "$core" "$build/tests/kernels" | tee -a "$out/kernels.csv"
}

passes() {
	echo "== passes: seconds per DAVE sample and point of a curve; floor: multiply-adds at the rate of large products"
	echo model,batch,what,seconds,floor,ratio,gemm_share,gflops | tee "$out/passes.csv"
	taskset -c "$core" "$build/tests/passes" "$(model vitti16)" 4 50 64 7 | tee -a "$out/passes.csv"
	for name in vitb16 deit3b16; do
		taskset -c "$core" "$build/tests/passes" "$(model $name)" 4 8 12 7 | tee -a "$out/passes.csv"
	done
}

torch() {
	echo "== passes in PyTorch and in C, in turns"
	if ! "$python" -c 'import torch, PIL' 2>/dev/null; then
		echo "skipped: $python has no torch or no PIL (Debian: python3-torch, python3-pil)"
		return
	fi
	echo model,what,variant,torch_batch,torch_seconds,c_batch,c_seconds,ratio >"$out/torch.csv"
	for heap in "" --heap; do # shellcheck disable=SC2086
		py compare.py "$build/tests/passes" "$(model vitti16)" "$(model vitb16)" --rounds "$BENCH_ROUNDS" \
			--core "$core" --csv "$out/torch.csv" $heap
	done
}

scaling() {
	echo "== scaling: the demo, 32 images, ranks x threads"
	local files=() bind shape round
	for round in $(seq "$BENCH_ROUNDS"); do
		for shape in 1x1 1x2 2x1; do
			bind=()
			[ "$shape" != 1x2 ] || bind=(--bind-to none) # mpirun would bind the two threads to one core
			mpirun -n "${shape%x*}" "${bind[@]}" "$eval" configs/demo/demo.yaml \
				--set data.path="$out/scenes/val" --set engine.threads="${shape#*x}" --limit 32 \
				-o "$out/demo-$shape-$round.h5" --overwrite >"$out/demo.log" 2>&1
			files+=("$out/demo-$shape-$round.h5.progress.jsonl")
		done
	done
	py stages.py --csv "$out/scaling.csv" "${files[@]}"
}

share() {
	echo "== share of matrix products in the main job's loop: $BENCH_MODEL, 1 image, 1 rank"
	rm -f "$out/blas.csv"
	BENCH_BLAS=$out/blas.csv main_job 1 "$out/share.h5" taskset -c "$core" "$build/tests/dave-eval-timed"
	py stages.py --share "$out/blas.csv" --csv "$out/share.csv" "$out/share.h5.progress.jsonl"
}

methods() {
	echo "== methods: seconds per image of each, and of four that share passes"
	py methods.py "$eval" "$(model vitti16)" "$out/scenes/val" "$out" --core "$core" --csv "$out/methods.csv"
}

adaptive() {
	local data=${SHARED:-../shared}/data
	echo "== adaptive curves against uniform ones: a DeiT-Tiny, 63 photographs, 2 ranks"
	if [ ! -d "$data" ]; then
		echo "skipped: $data is absent"
		return
	fi
	cat >"$out/adaptive.yaml" <<-TXT
		run: {output: $out/adaptive.h5, seed: 2026}
		model: {path: $(realpath "$data/deit_tiny")}
		data: {path: $(realpath "$data/imagenet_sample"), target: prediction}
		methods: [dave: {samples: 50, alpha: 0.5}]
		metrics:
		  - deletion: {preset: rise}
		  - insertion: {preset: rise}
		  - deletion: {name: deletion_adaptive, preset: rise, points: adaptive}
		  - insertion: {name: insertion_adaptive, preset: rise, points: adaptive}
		store: {maps: none}
	TXT
	mpirun -n 2 "$eval" "$out/adaptive.yaml" --overwrite >"$out/adaptive.log" 2>&1
	py adaptive.py "$out/adaptive.h5" --bar | tee "$out/adaptive.txt"
}

start() {
	echo "== start: --dry-run over 50,000 images (MPI's start included)"
	seq -f 'val/ILSVRC2012_val_%08.0f.JPEG 7' 50000 >"$out/list.txt"
	py make_tar.py "$out/shard.tar" 50000
	rm -f "$out/shard.tar.index"
	echo data,seconds >"$out/start.csv"
	local data kept started seconds
	for data in list.txt shard.tar shard.tar; do
		kept=
		[ ! -f "$out/$data.index" ] || kept=" with its index"
		started=$(date +%s.%N)
		"$eval" configs/vitb16.yaml --set model.path="$(model vitb16)" --set data.path="$out/$data" --dry-run >/dev/null
		seconds=$(echo "$(date +%s.%N) $started" | awk '{ printf "%.2f", $1 - $2 }')
		echo "$data$kept,$seconds" >>"$out/start.csv"
		echo "$data$kept: $seconds s"
	done
}

# The protocol of the paper judges only images that the model is sure of: times differ by what it costs. Real ones
# where there are any; the demo's pictures are small, so that the protocol costs more there than it does on ViT-B.
protocol() {
	local shared=${SHARED:-../shared}/data what model data limit
	if [ -d "$shared" ]; then
		what="a DeiT-Tiny, 24 photographs" model=$shared/deit_tiny data=$shared/imagenet_val125/labels.txt limit=24
	else
		what="the demo's model, 64 scenes" model=configs/demo/model data=$out/scenes/val limit=64
	fi
	echo "== times of single images in the main job's protocol: $what, 2 ranks"
	rm -rf "$out/logs"
	mpirun -n 2 "$eval" configs/vitb16.yaml --set model.path="$model" --set data.path="$data" --limit $limit \
		-o "$out/protocol.h5" --overwrite --log-dir "$out/logs" >"$out/protocol.log" 2>&1
	py stages.py --csv "$out/protocol.csv" "$out/protocol.h5.progress.jsonl"
}

pipeline() {
	echo "== the board and the writer (mean of all calls)"
	: >"$out/pipeline.csv"
	for ranks in 1 2; do mpirun -n $ranks "$build/tests/bench" "$out/rows.h5" | tee -a "$out/pipeline.csv"; done
	start
	echo "== the main job on $BENCH_MODEL (random weights), $BENCH_IMAGES images, 2 ranks"
	[ "$BENCH_IMAGES" = 0 ] || main_job "$BENCH_IMAGES" "$out/$BENCH_MODEL.h5" mpirun -n 2 "$eval"
	py stages.py --csv "$out/main.csv" "$out/$BENCH_MODEL.h5.progress.jsonl"
	protocol
	echo "== the schedule of 50,000 images on $BENCH_MODEL, simulated"
	py schedule.py "$out/logs" "$out/pipeline.csv" "$(py stages.py --mean "$out/$BENCH_MODEL.h5.progress.jsonl")" \
		-o "$out/schedule.csv"
}

growth() {
	echo "== growth of time and memory: ViT-Ti, 1 rank; the last row: memory of ViT-B/16, batch 4"
	py growth.py "$build" "$out/growth" --rounds "$BENCH_ROUNDS" --core "$core"
	cp "$out/growth/growth.csv" "$out/growth.csv"
}

for section in $BENCH; do
	case $section in
	kernels | passes | methods | torch | scaling | share | adaptive | pipeline | growth) ;;
	*) echo "BENCH: no section $section" >&2 && exit 2 ;;
	esac
done
mkdir -p "$out"
"$python" -B configs/demo/scenes.py --seed 7 --count 64 --out "$out/scenes"
for section in $BENCH; do "$section"; done
