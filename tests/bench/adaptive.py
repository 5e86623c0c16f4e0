#!/usr/bin/env python3
"""
Adaptive curves against uniform ones of the same maps: how far the areas are from each other, and whether the error
estimates hold. The results file has both, under every method: metrics of the same settings, the one with
`points: adaptive`, as in

    metrics:
      - deletion: {preset: rise}
      - deletion: {name: deletion_adaptive, preset: rise, points: adaptive}

    tests/bench/adaptive.py RESULTS.h5 [--bar]

--bar: exit status 1 unless every pair meets the bars (rmse and forward passes at the default tolerance only).
"""
import argparse
import sys

import h5py
import numpy as np

RMSE, PASSES, BIAS, COVERAGE = .002, 40, .0005, .95
IGNORED = {'points', 'tolerance', 'preset', 'name', 'definition', 'description'}


def settings(group):
    return {k: v for k, v in group.attrs.items() if k not in IGNORED}


def text(v):
    return v.decode() if isinstance(v, bytes) else str(v)


def pairs(file):
    """Every adaptive metric with the uniform one of the same settings."""
    for name, method in file['methods'].items():
        metrics = {k: g for k, g in method.items() if isinstance(g, h5py.Group) and 'points' in g.attrs}
        for k, g in metrics.items():
            if text(g.attrs['points']) != 'adaptive':
                continue
            same = [u for u in metrics.values()
                    if text(u.attrs['points']) == 'uniform' and settings(u) == settings(g)]
            if same:
                yield f'{name}/{k}', g, same[0]


def known(group):
    """Is the clean image, which is not scored again, a point of the curve?"""
    return text(group.attrs['metric']) == 'deletion' or group['fraction'][-1] == 1


def compare(name, adaptive, uniform):
    a, u = adaptive['auc'][:], uniform['auc'][:]
    rows = np.isfinite(a) & np.isfinite(u)
    error = a[rows] - u[rows]
    bound, passes = adaptive['auc_error'][:][rows], adaptive['points_scored'][:][rows] - known(adaptive)
    rmse, bias, covered = np.sqrt((error**2).mean()), error.mean(), (np.abs(error) <= bound + 1e-7).mean()
    print(f'{name:36} n {rows.sum():4}  passes {passes.mean():5.1f} (most {passes.max():.0f} of '
          f'{adaptive["fraction"].size})  rmse {rmse:.5f}  bias {bias:+.5f} +- {error.std() / len(error)**.5:.5f}  '
          f'largest {np.abs(error).max():.4f}  mean estimate {bound.mean():.4f}  within it {100 * covered:.1f} %')
    return (rmse <= RMSE and passes.mean() <= PASSES and abs(bias) <= BIAS and covered >= COVERAGE)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('results')
    p.add_argument('--bar', action='store_true')
    args = p.parse_args()
    with h5py.File(args.results, 'r') as f:
        met = [compare(*pair) for pair in pairs(f)]
    if not met:
        sys.exit('no metric with points: adaptive beside the same one with points: uniform')
    if args.bar and not all(met):
        sys.exit(f'bars not met: rmse {RMSE}, {PASSES} passes, bias {BIAS}, {100 * COVERAGE:.0f} % within the estimate')


main()
