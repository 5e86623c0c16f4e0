"""
Where the time of runs went, from their progress files:
  stages.py [--csv FILE] FILE.h5.progress.jsonl...   several: of the same images, with the speed over the first;
                                                     of NAME-1.h5, NAME-2.h5 ..., the run of the median time
  stages.py --mean FILE                              the rank-seconds of work per image alone
  stages.py --share BLAS.csv [--csv FILE] FILE       the share of matrix products in the loop's time; BLAS.csv: what
                                                     dave-eval-timed wrote in this run, a line per rank
CSV: run,ranks,images,elapsed,speedup and the rank-seconds by stage; --share: see the header
"""
import argparse
import json
import os
import re

WORK = 'decode', 'attribution', 'metrics'
LOOP = WORK + ('write', 'other')


def last_run(path):
    """The first and the last line of the newest run in the file."""
    with open(path) as f:
        lines = [json.loads(line) for line in f]
    start = max(i for i, line in enumerate(lines) if line['event'] == 'start')
    return lines[start], lines[-1]


def core_share(began):
    """The share of the time since os.times() was `began` that this process and its children ran."""
    spent = [now - then for now, then in zip(os.times(), began)]
    return sum(spent[:4]) / spent[4]


def median_runs(paths):
    """{name: run}, in the order of the files."""
    rounds = {}
    for path in paths:
        name = re.sub(r'(-\d+)?\.h5\.progress\.jsonl$', '', os.path.basename(path))
        rounds.setdefault(name, []).append(last_run(path))
    return {name: sorted(runs, key=lambda r: r[1]['elapsed'])[len(runs) // 2] for name, runs in rounds.items()}


def images(start, end):
    return end['done'] - start['already']


def mean(start, end):
    return sum(end['rank_seconds'][k] for k in WORK) / images(start, end)


def print_run(start, end):
    s = end['rank_seconds']
    total, work = sum(s.values()), sum(s[k] for k in WORK)
    print(f'{start["ranks"]} ranks, {images(start, end)} images: loop and summary {end["elapsed"]:.2f} s, '
          f'{mean(start, end):.3f} rank-seconds of work per image')
    print('  ' + ', '.join(f'{k} {v:.3f} s ({v / total:.3%})' for k, v in s.items()))
    print(f'  everything but {", ".join(WORK)}: {(total - work) / total:.3%} of all rank-seconds; '
          f'in the loop without waiting at its end: {(s["write"] + s["other"]) / (total - s["start"]):.3%}')


def write_csv(path, runs, speedups):
    stages = list(next(iter(runs.values()))[1]['rank_seconds'])
    with open(path, 'w') as f:
        print('run,ranks,images,elapsed,speedup', *stages, sep=',', file=f)
        for name, (start, end) in runs.items():
            print(name, start['ranks'], images(start, end), end['elapsed'], f'{speedups[name]:.4f}',
                  *(end['rank_seconds'][k] for k in stages), sep=',', file=f)


def print_share(blas, end, csv):
    with open(blas) as f:
        rows = [[float(v) for v in line.split(',')] for line in f]
    seconds, macs, loop = sum(r[0] for r in rows), sum(r[1] for r in rows), sum(end['rank_seconds'][k] for k in LOOP)
    print(f'matrix products {seconds:.2f} s of {loop:.2f} s of {", ".join(LOOP)}: {seconds / loop:.3%}; '
          f'{macs * 1e-9:.1f} GMAC, {2e-9 * macs / seconds:.1f} GFLOP/s in them, {2e-9 * macs / loop:.1f} in the loop')
    if csv:
        with open(csv, 'w') as f:
            print('gemm_seconds,loop_seconds,share,gmac', file=f)
            print(f'{seconds:.3f},{loop:.3f},{seconds / loop:.5f},{macs * 1e-9:.2f}', file=f)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='+')
    parser.add_argument('--mean', action='store_true')
    parser.add_argument('--share')
    parser.add_argument('--csv')
    a = parser.parse_args()
    runs = median_runs(a.files)
    first = next(iter(runs.values()))
    if a.mean:
        print(mean(*first))
        return
    if a.share:
        print_share(a.share, first[1], a.csv)
        return
    speedups = {name: first[1]['elapsed'] / end['elapsed'] for name, (_, end) in runs.items()}
    for name, run in runs.items():
        print(end=f'{name}: ' if len(runs) > 1 else '')
        print_run(*run)
        if len(runs) > 1:
            print(f'  speed-up {speedups[name]:.3f}')
    if a.csv:
        write_csv(a.csv, runs, speedups)


if __name__ == '__main__':
    main()
