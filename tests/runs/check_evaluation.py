#!/usr/bin/env python3
"""What the evaluation of all methods on the demo's known objects must show: check_evaluation.py EVALUATION.h5

The random control sits at chance; every method that has learnt anything of the network does not; DAVE is compared with
each of the others image by image, and what /paired says is what the rows say.
"""
import sys

import h5py
import numpy as np
from scipy.ndimage import distance_transform_edt

TOLERANCE = 6  # pixels, of the pointing game in configs/demo/evaluation.yaml
results = h5py.File(sys.argv[1], "r")
passed = failed = 0
rng = np.random.default_rng(3)


def check(name, good, detail=""):
    global passed, failed
    print("%s %s: %s" % ("ok" if good else "FAIL", name, detail))
    passed, failed = passed + bool(good), failed + (not good)


def figure(method, name):
    return results["methods/%s/%s" % (method, name)][:]


def errors_from(v, chance):
    """Standard errors that the mean is away from chance."""
    return (v - chance).mean() / (v.std(ddof=1) / np.sqrt(len(v)))


def distance_from(box, shape):
    """From every pixel to the nearest of the box."""
    (y, x), (x1, y1, x2, y2) = np.mgrid[:shape[0], :shape[1]], box
    return distance_transform_edt(~((x >= x1) & (x < x2) & (y >= y1) & (y < y2)))


def hits_of(method):
    """Of the stored map: 1 or 0, NaN where float16 has equal maxima both near the object and far from it."""
    maps = results["methods/%s/map" % method][:]
    near = [np.unique(close[m == m.max()]) for m, close in zip(maps, distance <= TOLERANCE)]
    return np.array([v[0] if len(v) == 1 else np.nan for v in near], float)


methods = list(results["methods"])
share, boxes = results["images/region_share"][:], results["images/boxes"][:]
distance = np.array([distance_from(b, results["methods/random/map"].shape[1:]) for b in boxes[:, 0]])
check("all methods, all done", len(methods) == 14 and (results["images/status"][:] == 1).all(), methods)
check("every scene has its object", (results["images/region"][:] == 1).all() and share.min() > 0.08, share.min())
z = errors_from(figure("random", "energypg/energy") - share, 0)
check("random: energy is the object's share", abs(z) < 4 and abs(figure("random", "energypg/gain").mean() - 1) < 0.02,
      "%.1f standard errors" % z)
check("the object is one box", (boxes[:, 1:] == -1).all() and np.array_equal((distance == 0).mean(axis=(1, 2)), share))
# a uniform maximum hits where a pixel of the object lies within the tolerance
hits, chance = figure("random", "pointing_game/hit"), (distance <= TOLERANCE).mean(axis=(1, 2))
z = (hits - chance).sum() / np.sqrt((chance * (1 - chance)).sum())
check("random: hits as often as the enlarged object is large", abs(z) < 4, "%.3f, chance %.3f, %.1f standard errors" % (
    hits.mean(), chance.mean(), z))
for m in methods:
    told = hits_of(m)
    known = np.isfinite(told)
    good = np.array_equal(figure(m, "pointing_game/hit")[known], told[known]) and known.mean() > 0.2
    check("%s: the maxima of its maps hit as it says" % m, good, "%d of %d are clear" % (known.sum(), len(known)))
for m in methods:
    gain, hit = figure(m, "energypg/gain"), figure(m, "pointing_game/hit")
    if m != "random":
        check("%s: finds the objects" % m, errors_from(gain, 1) > 4, "gain %.2f, %.0f standard errors, hits %.2f" % (
            gain.mean(), errors_from(gain, 1), hit.mean()))
first = list(results.attrs["config"].decode().split("methods:")[1].split())[1].rstrip(":")
names = [n.decode() for n in results["paired/name"][:]]
want = {"%s - %s/%s" % (first, m, f) for m in methods if m != first
        for f in ("energypg/energy", "energypg/gain", "pointing_game/hit")}
check("DAVE is paired with each of the others", first == "dave" and set(names) == want, len(names))
for i, name in enumerate(names):
    pair, f = name.split("/", 1)
    a, b = (figure(m, f) for m in pair.split(" - "))
    v = a - b
    low, mean, high, wins = (results["paired/" + c][i] for c in ("ci_low", "mean", "ci_high", "wins"))
    ends = np.percentile(v[rng.integers(0, len(v), (10000, len(v)))].mean(axis=1), [2.5, 97.5])
    good = abs(mean - v.mean()) < 1e-12 and abs(wins - ((v > 0) + 0.5 * (v == 0)).mean()) < 1e-12
    step = 1 / len(v) if f.endswith("/hit") else 0  # percentiles of sums of 0, 1 and -1
    good = good and np.abs(ends - [low, high]).max() < 0.15 * v.std() / np.sqrt(len(v)) + step + 1e-12
    check(name, good, "%+.3f [%+.3f, %+.3f], wins %.2f" % (mean, low, high, wins))
classes = results["images/label"][:]
rows = dict(zip((n.decode() for n in results["summary/name"][:]), results["summary/mean"][:]))
mean = np.mean([figure("dave", "pointing_game/hit")[classes == y].mean() for y in np.unique(classes)])
check("the mean of class means", abs(rows["dave/pointing_game/hit_class_mean"] - mean) < 1e-12, mean)
print("%d passed, %d failed, 0 skipped" % (passed, failed))
sys.exit(failed > 0)
