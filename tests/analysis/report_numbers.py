"""
The numbers of a report recomputed from the raw HDF5 by code that shares nothing with analysis/: plain h5py, numpy and
scipy's tests. Core is what data/core.js holds.
"""
import base64
import io
import json
import os
import re

import h5py
import numpy as np
import scipy.stats

RESAMPLES = 10000


def arrived(path):
    """The value of a data file of the report."""
    with open(path) as f:
        text = f.read()
    found = re.fullmatch(r'(?:R\.core=|R\.arrive\("[^"]*",)(.*?)\)?;\n', text, re.S)
    return json.loads(found.group(1))


def core_of(report):
    return arrived(os.path.join(report, 'data', 'core.js'))


def floats(text, dtype='<f4'):
    return np.frombuffer(base64.b64decode(text), dtype)


class Raw:
    """The figures of one results file, read by their paths."""

    def __init__(self, path):
        self.file = h5py.File(path, 'r')
        self.done = self.file['images/status'][:] == 1

    def figure(self, method, metric, figure):
        group = self.file[f'methods/{method}/{metric}' if metric else f'methods/{method}']
        if figure not in group:
            return None
        return np.where(self.done, group[figure][:], np.nan)

    def area(self, method, metric):
        """The area recomputed from the curve: trapezoid over the true fraction."""
        g = self.file[f'methods/{method}/{metric}']
        y, x = g['curve'][:].astype(float), g['fraction'][:]
        return np.where(self.done, ((y[:, 1:] + y[:, :-1]) / 2 * np.diff(x)).sum(1), np.nan)


def bootstrap(values, seed):
    """95 % percentile interval of the mean, by drawing the values themselves."""
    rng, n = np.random.default_rng(seed), len(values)
    means = np.concatenate([values[rng.integers(0, n, (500, n))].mean(1) for _ in range(RESAMPLES // 500)])
    return np.quantile(means, [.025, .975])


def off(ends, values, seed):
    """How far the ends of an interval are from an independent bootstrap's, in standard errors of the mean. Means of values
    that are few and far between lie on a lattice: a step of that is no error."""
    levels = np.unique(values)
    step = np.diff(levels).min() / len(values) if 1 < len(levels) < 10 else 0
    return max(0, np.abs(np.subtract(ends, bootstrap(values, seed))).max() - step) / (values.std() / len(values) ** .5)


def wilcoxon(d):
    """Zeros dropped; exact for 50 and fewer differences without ties, else the normal approximation."""
    d = d[d != 0]
    exact = len(d) <= 50 and len(np.unique(np.abs(d))) == len(d)
    return scipy.stats.wilcoxon(d, method='exact' if exact else 'approx').pvalue


def holm(p):
    order, out, most = np.argsort(p), np.empty(len(p)), 0.
    for rank, i in enumerate(order):
        most = max(most, (len(p) - rank) * p[i])
        out[i] = min(1, most)
    return out


def class_means(values, labels):
    """Means of the classes that have a value."""
    return np.array([values[(labels == c) & np.isfinite(values)].mean() for c in np.unique(labels[np.isfinite(values)])])


def check_table(t, raw, model, name):
    """n, mean, standard deviation and interval of every figure of every method."""
    worst, where = 0., ''
    for k, f in enumerate(model['figures']):
        for m, method in enumerate(model['methods']):
            v, got = raw.figure(method['label'], f['metric'], f['figure']), model['table'][k][m]
            v = np.array([]) if v is None else v[np.isfinite(v)]
            what = f'{name}: {method["label"]} {f["metric"]} {f["figure"]}'
            if not len(v):
                t.equal(f'{what}: empty', got, None)
                continue
            t.equal(f'{what}: n', got[0], len(v))
            deviation = v.std(ddof=1)
            t.equal(f'{what}: over classes', f['by_class'], (f['metric'], f['figure']) == ('pointing_game', 'hit'))
            if f['by_class']:
                v = class_means(raw.figure(method['label'], f['metric'], f['figure']), raw.file['images/label'][:])
            t.close(f'{what}: mean, standard deviation', got[1:3], [v.mean(), deviation], 1e-8 * np.abs(v).max())
            if np.ptp(v) > 0:
                worst, where = max((worst, where), (off(got[3:], v, 99), what))
            if f['figure'] == 'auc' and f['metric'] in ('deletion', 'insertion'):
                a = raw.area(method['label'], f['metric'])
                t.close(f'{what}: mean of the areas of the curves', got[1], np.nanmean(a), 1e-5)
    # an end of the interval from 10,000 resamples scatters by 0.027 standard errors of the mean; here are two of them
    t.ok(f'{name}: all intervals within 0.15 standard errors of an independent bootstrap', worst < .15,
         f'{worst:.3f} of {where}')


def check_pairs(t, raw, model, name):
    """Differences, intervals, Wilcoxon, Holm, and shares of wins."""
    for k, f in enumerate(model['figures']):
        pairs = model['pairs'][k]
        if not pairs:
            continue
        p, worst = [], 0.
        for q in pairs:
            a, b = (raw.figure(model['methods'][i]['label'], f['metric'], f['figure']) for i in (q['a'], q['b']))
            d = (a - b)[np.isfinite(a - b)]
            what = f'{name}: {f["metric"]} {f["figure"]} {q["a"]}-{q["b"]}'
            t.close(f'{what}: n, difference', [q['n'], q['diff']], [len(d), d.mean()], 1e-8 * max(1, np.abs(d).max()))
            worst = max(worst, off([q['low'], q['high']], d, 7))
            p.append(wilcoxon(d))
            side = f['direction'] or 1
            t.close(f'{what}: wins', q['win'], np.mean(side * d > 0) + np.mean(d == 0) / 2, 1e-9)
        t.ok(f'{name}: {f["metric"]} {f["figure"]}: intervals of differences', worst < .15, f'{worst:.3f} standard errors')
        for got, want in (([q['p'] for q in pairs], p), ([q['holm'] for q in pairs], holm(p))):
            t.ok(f'{name}: {f["metric"]} {f["figure"]}: Wilcoxon p, Holm',
                 np.allclose(got, want, rtol=1e-6, atol=1e-300), (got, want))


def check_best(t, model, name):
    """Bold: the best mean, the random control aside, where its pair with the next is significant."""
    chance = [m for m, method in enumerate(model['methods']) if method['label'] == 'random']
    for k, f in enumerate(model['figures']):
        row = [(f['direction'] * v[1], m) for m, v in enumerate(model['table'][k]) if v and m not in chance]
        if not f['direction']:
            t.equal(f'{name}: {f["label"]} has no better side', model['best'][k], None)
            continue
        row.sort(key=lambda r: -r[0])
        got = model['best'][k]
        if not row:
            t.equal(f'{name}: {f["label"]}: chance alone has no best', got, None)
            continue
        t.equal(f'{name}: best of {f["label"]}', got['method'], row[0][1])
        if len(row) > 1:
            q = next(q for q in model['pairs'][k] if {q['a'], q['b']} == {row[0][1], row[1][1]})
            t.equal(f'{name}: {f["label"]}: significant', got['significant'], q['holm'] < .05 and q['low'] * q['high'] > 0)


def check_curves(t, raw, model, name):
    for c in model['curves']:
        for m, got in enumerate(c['methods']):
            g = raw.file[f'methods/{model["methods"][m]["label"]}/{c["metric"]}']
            y = g['curve'][:][raw.done].astype(float)
            y = y[np.isfinite(y).all(1)]
            what = f'{name}: {c["metric"]} curve of method {m}'
            t.close(f'{what}: mean', got['mean'], y.mean(0), 1e-6)
            error = y.std(0) / len(y) ** .5
            low = np.array([bootstrap(y[:, i], i)[0] for i in range(0, y.shape[1], 7)])
            far = np.abs(np.array(got['low'])[::7] - low) / np.maximum(error[::7], 1e-6)
            t.ok(f'{what}: lower end of the band', (far < .4).all(), far.max())  # 1,000 resamples: 0.085 a point


def check_columns(t, raw, report, model, name):
    """What the page sorts and filters by, and the correlations beside the scatter plots."""
    images = arrived(os.path.join(report, 'data', model['id'], 'images.js'))
    t.equal(f'{name}: paths', images['path'], [p.decode() for p in raw.file['images/path'][:]])
    t.close(f'{name}: labels, status', np.stack([floats(images['label'], '<i4'), floats(images['status'], 'u1')]),
            np.stack([raw.file['images/label'][:], raw.file['images/status'][:]]), 0)
    x = np.where(raw.done, raw.file['images/confidence'][:], np.nan)
    against = next(r for r in model['relations'] if r['name'] == 'confidence')
    for k, f in enumerate(model['figures']):
        for m, method in enumerate(model['methods']):
            v = raw.figure(method['label'], f['metric'], f['figure'])
            if v is None:
                continue
            t.close(f'{name}: column {method["label"]} {f["label"]}', floats(images['figures'][k][m]), v,
                    1e-6 * np.nanmax(np.abs(v)))
            both = np.isfinite(x + v)
            rx, rv = (scipy.stats.rankdata(w[both]) for w in (x, v))
            t.close(f'{name}: rank correlation with the confidence', against['rho'][k][m], np.corrcoef(rx, rv)[0, 1], 1e-9)


def check_maps(t, raw, report, model, name, rows, table):
    """Maps as painted: the colour of every pixel says its value, in units of the 99.5th percentile of the magnitudes."""
    from PIL import Image

    for row in rows:
        full = arrived(os.path.join(report, 'data', model['id'], 'full', f'{row}.js'))
        for m, method in enumerate(model['methods']):
            values = raw.file[f'methods/{method["label"]}/map'][row].astype(float)
            values = np.clip(values / np.percentile(np.abs(values), 99.5), -1, 1)
            image = Image.open(io.BytesIO(base64.b64decode(full['maps'][m].partition(',')[2])))
            index = np.asarray(image).astype(float)
            got = index / 127.5 - 1 if method['signed'] else index / 255
            t.close(f'{name}: map {row} of {method["label"]}', got, values, .0041)
            t.close(f'{name}: its colours', np.asarray(image.convert('RGB'))[0],
                    table[method['signed']][np.asarray(image)[0]], 0)


def check_disagreement(t, raw, report, model, name, rows, side):
    """1 - mean rank correlation over pairs of methods of maps averaged over cells; side: of the frame in cells."""
    images = arrived(os.path.join(report, 'data', model['id'], 'images.js'))
    got = floats(images['disagreement'])
    for row in rows:
        found = []
        for m in model['compared']:
            a = raw.file[f'methods/{model["methods"][m]["label"]}/map'][row].astype(float)
            k = a.shape[0] // side
            found.append(np.array([a[k * i:k * (i + 1), k * j:k * (j + 1)].mean()
                                   for i in range(side) for j in range(side)]))
        rho = [scipy.stats.spearmanr(a, b)[0] for i, a in enumerate(found) for b in found[:i]]
        t.close(f'{name}: disagreement of image {row}', got[row], 1 - np.mean(rho), 2e-4)


def check_picks(t, raw, model, name):
    for p in model['picks']:
        f, method = model['figures'][p['figure']], model['methods'][p['method']]
        v = raw.figure(method['label'], f['metric'], f['figure'])
        order = np.sort(f['direction'] * v[np.isfinite(v)])[::-1] * f['direction']
        want = order[0], order[(len(order) - 1) // 2], order[-1]
        got = [p[k][1] for k in ('best', 'median', 'worst')]
        t.close(f'{name}: picks of {method["label"]} {f["label"]}', got, want, 0)
        t.close(f'{name}: their images', v[[p[k][0] for k in ('best', 'median', 'worst')]], want, 0)
