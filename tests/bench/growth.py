"""
How time and memory grow, measured on the real program, one rank on one core:
  growth.py BUILD OUT [--data FOLDER] [--rounds 3] [--core N] [--no-base]
Seconds per image against the size of the picture, depth, samples and images, on ViT-Ti with short curves; the peak of
the anonymous memory (the checkpoint is mapped, so it is not in there) of the same runs and of ViT-B/16 at batch 4
and 50 samples (--no-base: without it) against what --dry-run says. Tables on standard output; OUT: folder for models
and runs, and growth.csv: series,value,seconds,gmac,gflops,peak_mb,estimate_mb,ratio
Seconds: rank-seconds of the loop per image, medians of the rounds. ratio: peak over estimate; "more" in the table:
peak less estimate, which is what the libraries (MPI, HDF5, BLAS) take for themselves.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import time

from make_vit import make
from stages import LOOP, core_share, last_run

TINY, BASE = 'vit_tiny_patch16_224', 'vit_base_patch16_224'
USUAL = {'size': 224, 'depth': 12, 'samples': 10, 'images': 1}
SERIES = {'size': (224, 384, 512), 'depth': (6, 12, 24), 'samples': (10, 25, 50), 'images': (1, 2, 4)}
STEPS = 8  # of each of the two curves


class Program:
    def __init__(self, build, out, data, core):
        self.eval, self.out, self.data, self.core = os.path.join(build, 'bin', 'dave-eval'), out, data, core
        self.root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')

    def model(self, architecture, size, depth):
        folder = os.path.join(self.out, f'{architecture.split("_")[1]}-{size}-{depth}')
        if not os.path.exists(os.path.join(folder, 'model.safetensors')):
            make(folder, architecture, size, depth)
        return folder

    def command(self, case, output):
        settings = {'model.path': self.model(case['model'], case['size'], case['depth']), 'data.path': self.data,
                    'data.limit': case['images'], 'methods.dave.samples': case['samples'],
                    'engine.batch': case['batch'], 'metrics.deletion.steps': STEPS, 'metrics.insertion.steps': STEPS,
                    'metrics.deletion.min_probability': 0, 'metrics.deletion.correct_only': 'false'}
        return [self.eval, os.path.join(self.root, 'configs', 'vitb16.yaml'), '-o', output, '--overwrite',
                *(word for k, v in settings.items() for word in ('--set', f'{k}={v}'))]

    def start(self, command, **kwargs):
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True,
                                preexec_fn=lambda: os.sched_setaffinity(0, {self.core}), **kwargs)

    def plan(self, case):
        """What --dry-run says: GMAC of an image, MB of a rank."""
        process = self.start(self.command(case, os.path.join(self.out, 'plan.h5')) + ['--dry-run'],
                             stdout=subprocess.PIPE)
        text = process.communicate()[0]
        return [float(re.search(p, text).group(1)) for p in (r'# work .* ([\d.]+) GMAC', r'# memory +([\d.]+) MB')]

    def measure(self, case):
        """Seconds per image of the loop, peak MB of anonymous memory."""
        output = os.path.join(self.out, 'growth.h5')
        process, peak = self.start(self.command(case, output), stdout=subprocess.DEVNULL), 0
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.01)
        if process.returncode:
            raise SystemExit('growth.py: failed: ' + ' '.join(process.args))
        start, end = last_run(output + '.progress.jsonl')
        seconds = sum(end['rank_seconds'][k] for k in LOOP)
        return seconds / (end['done'] - start['already']), peak


def anonymous(pid):
    """MB (of 10^6 bytes, as the program counts); 0 when the process is gone."""
    try:
        with open(f'/proc/{pid}/status') as f:
            return sum(int(line.split()[1]) for line in f if line.startswith('RssAnon')) * 1024e-6
    except OSError:
        return 0


def tiny(**changes):
    return {'model': TINY, 'batch': 'auto', **USUAL, **changes}


def measure_all(program, cases, rounds):
    """{case as text: (seconds, GMAC, peak MB, estimated MB)}; the rounds go through all cases in turns."""
    runs = {json.dumps(c): [] for c in cases}
    for _ in range(rounds):
        for text in runs:
            runs[text].append(program.measure(json.loads(text)))
    found = {}
    for text, of in runs.items():
        gmac, estimate = program.plan(json.loads(text))
        found[text] = statistics.median(s for s, _ in of), gmac, max(p for _, p in of), estimate
    return found


def table(rows, csv):
    print(f'{"":9}{"":>10}{"s/image":>10}{"x first":>9}{"GMAC":>8}{"x first":>9}{"GFLOP/s":>9}'
          f'{"peak MB":>9}{"dry run":>9}{"more":>7}{"ratio":>7}')
    first = {}
    with open(csv, 'w') as f:
        print('series,value,seconds,gmac,gflops,peak_mb,estimate_mb,ratio', file=f)
        for series, value, (s, gmac, peak, estimate) in rows:
            s0, gmac0 = first.setdefault(series, (s, gmac))
            print(f'{series:9}{value:>10}{s:10.3f}{s / s0:9.2f}{gmac:8.1f}{gmac / gmac0:9.2f}{2 * gmac / s:9.1f}'
                  f'{peak:9.1f}{estimate:9.0f}{peak - estimate:7.1f}{peak / estimate:7.2f}')
            print(f'{series},{value},{s:.4f},{gmac},{2 * gmac / s:.1f},{peak:.1f},{estimate:.0f},'
                  f'{peak / estimate:.3f}', file=f)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('out')
    parser.add_argument('--data')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--core', type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument('--no-base', action='store_true')
    a = parser.parse_args()
    os.makedirs(a.out, exist_ok=True)
    program = Program(os.path.abspath(a.build), os.path.abspath(a.out),
                      a.data or os.path.join(os.path.abspath(a.build), 'bench', 'scenes', 'val'), a.core)
    cases = {(name, v): tiny(**{name: v}) for name, values in SERIES.items() for v in values}
    base = {'model': BASE, 'batch': 4, **USUAL, 'samples': 50}
    began = os.times()
    found = measure_all(program, cases.values(), a.rounds)
    rows = [(name, v, found[json.dumps(case)]) for (name, v), case in cases.items()]
    if not a.no_base:
        rows.append(('ViT-B/16', 50, measure_all(program, [base], 1)[json.dumps(base)]))
    table(rows, os.path.join(a.out, 'growth.csv'))
    print(f'running {core_share(began):.0%} of the time (much less than 100%: others used the core, measure again)')


if __name__ == '__main__':
    main()
