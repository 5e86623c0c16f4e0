"""
The statistics of analysis/stats.py written anew from their definitions, value by value and without its code, and reading of
results files by h5py alone: what the tests of the analysis recompute every number with.
"""
import itertools
import math
import os
import subprocess
import sys

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ANALYSIS = os.path.join(HERE, '..', '..', 'analysis')
SEED, RESAMPLES = 20260, 10_000


def finite(values):
    return [float(v) for v in values if math.isfinite(v)]


def mean(values):
    values = finite(values)
    return math.fsum(values) / len(values) if values else math.nan


def deviation(values):
    values = finite(values)
    if len(values) < 2:
        return math.nan
    m = mean(values)
    return math.sqrt(math.fsum((v - m) ** 2 for v in values) / (len(values) - 1))


def percentile(values, q):
    """Linear between the order statistics."""
    values = sorted(values)
    at = q * (len(values) - 1)
    i = int(at)
    return values[i] if i + 1 == len(values) else values[i] + (at - i) * (values[i + 1] - values[i])


def resampled_means(values, resamples=RESAMPLES):
    """The documented draws: numpy's default generator of (seed, n), n positions a resample."""
    values = np.array(finite(values))
    n = len(values)
    return list(values[np.random.default_rng([SEED, n]).integers(0, n, (resamples, n), np.uint32)].mean(1))


def interval(values, resamples=RESAMPLES):
    if not finite(values):
        return math.nan, math.nan
    means = resampled_means(values, resamples)
    return percentile(means, .025), percentile(means, .975)


def exact_means(values):
    """Means of all n^n resamples."""
    return [math.fsum(draw) / len(values) for draw in itertools.product(values, repeat=len(values))]


def differences(a, b):
    return [x - y if math.isfinite(x) and math.isfinite(y) else math.nan for x, y in zip(a, b)]


def ranks(values):
    """Ranks from 1, ties share their mean."""
    return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]


def wilcoxon(d):
    """Two-sided p: zeros dropped; by all signs for few, else the normal approximation with the correction for ties."""
    d = [v for v in finite(d)]
    if not d:
        return math.nan
    d = [v for v in d if v != 0]
    if not d:
        return 1.
    r, n = ranks([abs(v) for v in d]), len(d)
    plus = sum(k for k, v in zip(r, d) if v > 0)
    least = min(plus, n * (n + 1) / 2 - plus)
    if n <= 50 and len(set(r)) == n:
        # how many of the 2^n choices of signs have each sum of ranks
        ways = [1]
        for k in range(1, n + 1):
            ways = [(ways[s] if s < len(ways) else 0) + (ways[s - k] if s >= k else 0) for s in range(len(ways) + k)]
        return min(1., 2 * sum(ways[:int(least) + 1]) / 2 ** n)
    ties = sum(r.count(k) ** 3 - r.count(k) for k in set(r))
    variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48
    return math.erfc(abs(least - n * (n + 1) / 4) / math.sqrt(variance) / math.sqrt(2))


def holm(p):
    found, worst = [math.nan] * len(p), 0.
    tests = sorted(i for i in range(len(p)) if math.isfinite(p[i]))
    for done, i in enumerate(sorted(tests, key=lambda i: p[i])):
        worst = max(worst, min(1., p[i] * (len(tests) - done)))
        found[i] = worst
    return found


def win_rate(a, b, better):
    wins = [.5 if x == y else float((x < y) == (better == 'lower')) for x, y in zip(a, b)
            if math.isfinite(x) and math.isfinite(y)]
    return sum(wins) / len(wins) if wins else math.nan


def class_means(values, labels):
    classes = {}
    for v, k in zip(values, labels):
        if math.isfinite(v):
            classes.setdefault(int(k), []).append(v)
    return [mean(classes[k]) for k in sorted(classes)]


def raw_figure(path, name):
    """'method/metric/figure' from the file, NaN where the row is not done, or the file lacks it."""
    with h5py.File(path, 'r', locking=False) as f:
        done = f['images/status'][:] == 1
        values = f['methods/' + name][:] if 'methods/' + name in f else [math.nan] * len(done)
    return [float(v) if ok else math.nan for v, ok in zip(values, done)]


def run(script, *args, env=None):
    """(exit status, stdout, stderr) of a script of analysis/."""
    p = subprocess.run([sys.executable, os.path.join(ANALYSIS, script), *map(str, args)], capture_output=True, text=True,
                       env={**os.environ, **(env or {})})
    return p.returncode, p.stdout, p.stderr


def one_line(result):
    """Whether a script failed as it should: status 2, one line on stderr, no traceback."""
    code, _, err = result
    return code == 2 and len(err.splitlines()) == 1 and err.startswith('error: ')


def use_analysis():
    """Puts analysis/ and tests/runs/ on the path of modules."""
    for folder in (ANALYSIS, os.path.join(HERE, '..', 'runs')):
        sys.path.insert(0, os.path.abspath(folder))
