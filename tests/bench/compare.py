"""
The C program against PyTorch (torch_passes.py), in turns on one core:
  compare.py BUILD/tests/passes MODEL... [--batch 4] [--batches 1,4,8] [--rounds 5] [--heap] [--core N]
             [--csv FILE]
PyTorch takes the best of --batches, found in a round before; the program takes --batch (4 is what `auto` means for 197
tokens). A sample of the program includes warp, noise and aggregation, a point the changes to the picture; PyTorch's
are passes alone. Ratios are medians of the rounds' ratios, torch / C: above 1 the program is faster.
CSV: model,what,variant,torch_batch,torch_seconds,c_batch,c_seconds,ratio
"""
import argparse
import os
import statistics
import subprocess

from stages import core_share
from torch_passes import Bench, torch

WHATS = {'sample': 'sample', 'forward': 'point'}  # ours, and what the program calls it
SAMPLES, POINTS = 8, 24


def program_round(program, model, batch):
    """Seconds of the program: {'sample': ..., 'forward': ...}."""
    line = [program, model, str(batch), str(SAMPLES), str(POINTS), '1']
    rows = [row.split(',') for row in subprocess.check_output(line, text=True).splitlines()]
    seconds = {row[2]: float(row[3]) for row in rows}
    return {what: seconds[theirs] for what, theirs in WHATS.items()}


def try_out(bench, variant, what, batch):
    """Seconds of a pass, the better of two where they are short."""
    seconds = bench.seconds(variant, what, batch)
    return seconds if seconds * batch > 1 else min(seconds, bench.seconds(variant, what, batch))


def best_batches(bench, batches):
    """{(variant, what): batch}, after a pass that warms up."""
    best = {}
    for variant in bench.variants:
        bench.seconds(variant, 'forward', batches[0])
        for what in WHATS:
            best[variant, what] = min(batches, key=lambda n: try_out(bench, variant, what, n))
    return best


def compare(model, a):
    """Rows of the table."""
    bench = Bench(model, a.heap)
    best = best_batches(bench, [int(n) for n in a.batches.split(',')])
    ours, theirs = {what: [] for what in WHATS}, {case: [] for case in best}
    for _ in range(a.rounds):
        for what, s in program_round(a.program, model, a.batch).items():
            ours[what].append(s)
        for (variant, what), batch in best.items():
            theirs[variant, what].append(bench.seconds(variant, what, batch))
    for (variant, what), s in theirs.items():
        ratio = statistics.median(t / c for t, c in zip(s, ours[what]))
        yield (bench.name, what, variant, best[variant, what], statistics.median(s), a.batch,
               statistics.median(ours[what]), ratio)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('program')
    parser.add_argument('models', nargs='+')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--batches', default='1,4,8')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--core', type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument('--heap', action='store_true', help='the variants of torch_passes.py --heap')
    parser.add_argument('--csv', help='appended to')
    a = parser.parse_args()
    os.sched_setaffinity(0, {a.core})  # the program inherits it
    print(f'PyTorch {torch.__version__}, {a.rounds} rounds on core {a.core}; ratio: torch / C')
    print(f'{"model":12}{"what":9}{"variant":11}{"torch":>10}{"batch":>7}{"C":>10}{"batch":>7}{"ratio":>8}')
    rows, began = [], os.times()
    for model in a.models:
        for row in compare(model, a):
            name, what, variant, torch_batch, theirs, batch, ours, ratio = row
            print(f'{name:12}{what:9}{variant:11}{theirs:9.4f}s{torch_batch:7}{ours:9.4f}s{batch:7}{ratio:8.3f}',
                  flush=True)
            rows.append(','.join(f'{v:.5f}' if isinstance(v, float) else str(v) for v in row))
    print(f'running {core_share(began):.0%} of the time (much less than 100%: others used the core, measure again)')
    if a.csv:
        with open(a.csv, 'a') as f:
            print(*rows, sep='\n', file=f)


if __name__ == '__main__':
    main()
