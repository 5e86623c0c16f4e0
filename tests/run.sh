#!/usr/bin/env bash
# The one runner: `make check` calls it with the build folder. Every part prints `N passed, N failed, N skipped` as its
# last line; the sums are the last line here. A part that dies without that line counts as a failure.
#   tests/run.sh BUILD [NAME]   only the parts whose name contains NAME
set -u
build=${1:?usage: tests/run.sh BUILD [NAME]}
only=${2:-}
cd "$(dirname "$0")/.." || exit 1
export PYTHON=${PYTHON:-python3} PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1
export SHARED=${SHARED:-../shared}
logs=$build/tests/logs
mkdir -p "$logs"

passed=0 failed=0 skipped=0
part() {
	local name=$1 log=$logs/$1.log started=$SECONDS last
	shift
	case $name in *"$only"*) ;; *) return ;; esac
	"$@" >"$log" 2>&1
	local rc=$?
	last=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
	if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		local p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]} s=${BASH_REMATCH[3]}
		# dead after its count, or nothing tested at all
		if [ $rc != 0 ] && [ "$f" = 0 ] || [ $((p + f + s)) = 0 ]; then f=$((f + 1)); fi
	else
		local p=0 f=1 s=0
		last="no result (exit status $rc)"
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%-16s %s (%d s)\n' "$name" "$last" $((SECONDS - started))
	[ "$s" = 0 ] || grep -iE '^ *skip' "$log" | head -n 20 | sed 's/^ */    /'
	if [ "$f" != 0 ]; then
		echo "---- $log"
		tail -n 40 "$log"
		echo "----"
	fi
}

part layers tests/layers.sh "$build"
part docs tests/docs.sh "$build"
part unit "$build/tests/unit"
part simd tests/simd/run.sh
part board mpirun -n 4 "$build/tests/board"
part pillow tests/pillow.sh "$build"
part golden tests/golden.sh "$build"
for script in tests/runs/test_*.py; do
	name=$(basename "$script" .py)
	part "${name#test_}" "$PYTHON" "$script" "$build"
done
for name in results stats tables figures compare; do
	part "analysis-$name" "$PYTHON" "tests/analysis/test_$name.py" "$build"
done
part nodes "$PYTHON" tests/nodes/test_nodes.py "$build"
part slurm "$PYTHON" tests/slurm/test_slurm.py "$build"
part fuzz tests/fuzz/run.sh "$build" "${FUZZ_SECONDS:-5}"
part demo tests/demo.sh "$build"
part evaluation tests/evaluation.sh "$build"
part real tests/real.sh "$build"
part report "$PYTHON" tests/analysis/test_report.py "$build"

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
