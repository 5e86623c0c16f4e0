"""analysis/stats.py against plain code, against all resamples of few values, and against scipy."""
import math
import os
import resource
import time
import warnings

import numpy as np
import scipy.stats

import plain

plain.use_analysis()
import stats  # noqa: E402
from support import main  # noqa: E402

RNG = np.random.default_rng(5)


def bootstrap(t):
    for n in 1, 2, 7, 64:
        v = RNG.lognormal(0, 1, n)
        low, high = stats.interval(stats.bootstrap_means(v[None]))
        t.close(f'interval of {n} values, same draws', (low[0], high[0]), plain.interval(v), 1e-12)
    v = RNG.normal(size=(3, 40))
    v[1, 5] = v[2, 7] = v[2, 30] = np.nan
    alone = np.stack([stats.interval(stats.bootstrap_means(r[None]))[:, 0] for r in v])
    t.close('an interval does not depend on its neighbours', np.array(stats.interval(stats.bootstrap_means(v))).T, alone, 1e-14)
    for k in range(3):
        t.close(f'values that are missing are not drawn, row {k}', alone[k], plain.interval(v[k]), 1e-12)
    few = np.concatenate(list(stats.draws(33, 100)))
    size, stats.ENTRIES = stats.ENTRIES, 100
    t.ok('draws do not depend on the size of a block', np.array_equal(np.concatenate(list(stats.draws(33, 100))), few))
    stats.ENTRIES = size
    t.ok('draws are n of n', (few.sum(1) == 33).all() and few.shape == (100, 33))
    t.close('fewer resamples are the first ones', stats.bootstrap_means(v, 50), stats.bootstrap_means(v, 80)[:, :50], 1e-14)
    nothing = stats.bootstrap_means(np.full((2, 5), np.nan))
    t.ok('no value, no interval', np.isnan(nothing).all() and np.isnan(stats.interval(nothing)).all())


def exact(t):
    """The interval of few values holds the true probability: within 4.5 sigma of the draws."""
    for n in 2, 3, 5, 6:
        v = RNG.normal(size=n)
        means, all_means = stats.bootstrap_means(v[None])[0], np.array(plain.exact_means(v))
        for q in .025, .1, .5, .9, .975:
            at = np.quantile(all_means, q) + 1e-9
            p = (all_means <= at).mean()
            error = abs((means <= at).mean() - p)
            t.ok(f'probability {q} of all {n ** n} resamples', error < 4.5 * math.sqrt(p * (1 - p) / 10_000) + 1e-12, error)


def intervals_fit_normal(t):
    """Of many values the interval of the mean is the normal one, to the Monte-Carlo error of a percentile."""
    v = RNG.normal(3, 2, 4000)
    low, high = stats.interval(stats.bootstrap_means(v[None]))
    error = v.std(ddof=1) / math.sqrt(len(v))
    # a percentile of 10,000 has the error sqrt(q(1-q)/10,000)/density = 0.027 standard errors
    t.close('interval of 4,000 normal values', (low[0], high[0]), v.mean() + np.array([-1.96, 1.96]) * error, 4.5 * .027 * error)


def tests_of_pairs(t):
    warnings.simplefilter('ignore', UserWarning)  # scipy's, of small samples
    for name, d in (('10', RNG.normal(.4, 1, 10)), ('50', RNG.normal(.2, 1, 50)), ('51', RNG.normal(.2, 1, 51)),
                    ('200', RNG.normal(.1, 1, 200)), ('1', np.array([.3])), ('5 of one side', np.arange(1., 6)),
                    ('ties', np.round(RNG.normal(.4, 1, 60), 1)), ('few and ties', np.array([1., 1, -1, 2, 2, -3, 4])),
                    ('zeros', np.concatenate([np.zeros(9), RNG.normal(.5, 1, 20)])),
                    ('missing', np.concatenate([[np.nan] * 3, RNG.normal(.5, 1, 20)]))):
        got = stats.wilcoxon(d)
        t.close(f'Wilcoxon by hand, {name}', got, plain.wilcoxon(d), 1e-10)
        kept = d[np.isfinite(d) & (d != 0)]
        exact_test = len(kept) <= 50 and len(set(np.abs(kept))) == len(kept)
        want = scipy.stats.wilcoxon(d[np.isfinite(d)], zero_method='wilcox', method='exact' if exact_test and
                                    not (d == 0).any() else 'approx').pvalue
        if not (exact_test and (d == 0).any()):  # scipy has no exact test with zeros given
            t.close(f'Wilcoxon by scipy, {name}', got, want, 1e-12)
    t.equal('no difference anywhere', stats.wilcoxon(np.zeros(4)), 1.)
    t.ok('no pair', math.isnan(stats.wilcoxon(np.array([np.nan]))))
    flips = [sum(r for r, s in zip(range(1, 9), signs) if s) for signs in
             [[k >> i & 1 for i in range(8)] for k in range(256)]]
    d = np.array([1, -2, 3, 4, -5, 6, 7, 8.])
    t.close('Wilcoxon by all 256 signs', stats.wilcoxon(d), 2 * sum(f <= 7 for f in flips) / 256, 1e-12)


def corrections(t):
    t.close('Holm, three by hand', stats.holm([.01, .04, .03]), [.03, .06, .06], 1e-15)
    t.close('Holm, in the order of the smallest', stats.holm([.04, .001, .02, .02]), [.06, .004, .06, .06], 1e-15)
    t.close('Holm, at most 1', stats.holm([.5, .6, .7]), [1, 1, 1], 1e-15)
    t.close('Holm, what was not tested', stats.holm([.01, np.nan, .02]), [.02, np.nan, .02], 1e-15)
    t.close('Holm of one', stats.holm([.2]), [.2], 0)
    t.equal('Holm of nothing', len(stats.holm([])), 0)
    p = RNG.uniform(0, .1, 30)
    t.close('Holm by hand, 30', stats.holm(p), plain.holm(list(p)), 1e-15)


def counts(t):
    a, b = np.array([1, 2, 3, 4, np.nan, 6.]), np.array([2, 2, 1, np.nan, 1, 5.])
    t.equal('wins, higher', stats.win_rate(a, b, 'higher'), 2.5 / 4)
    t.equal('wins, lower', stats.win_rate(a, b, 'lower'), 1.5 / 4)
    t.equal('wins of both make one', stats.win_rate(a, b) + stats.win_rate(b, a), 1.)
    t.ok('wins of nothing', math.isnan(stats.win_rate(a[4:5], b[4:5])))
    v = np.array([1, 3, 5, np.nan, 9, np.nan])
    t.close('class means by hand', stats.class_means(v, [0, 0, 1, 1, 7, 3]), [2, 5, 9], 1e-15)
    t.equal('class means of nothing', len(stats.class_means(v[5:], [3])), 0)
    t.close('mean of rows', stats.finite_mean(np.array([v, np.full(6, np.nan)])), [4.5, np.nan], 1e-15)


def bands(t):
    c = RNG.uniform(size=(30, 4)).astype(np.float32)
    c[4] = np.nan
    mean, low, high = stats.band(c)
    for k in range(4):
        t.close(f'band, point {k}', (mean[k], low[k], high[k]), (plain.mean(c[:, k]), *plain.interval(c[:, k], 1000)), 1e-7)
    t.ok('band of nothing', all(np.isnan(v).all() and v.shape == (4,) for v in stats.band(np.full((3, 4), np.nan))))


def compare_analysis(t, title, figures, better, labels, controls):
    """Every number of stats.analyse() recomputed."""
    found = stats.analyse(figures, better, labels, controls)
    t.equal(f'{title}: figures', list(found), list(figures))
    for name, a in found.items():
        v, kept = figures[name], a.summaries
        want = [(len(plain.finite(r)), plain.mean(r), plain.deviation(r), *plain.interval(r),
                 plain.mean(plain.class_means(r, labels)), *plain.interval(plain.class_means(r, labels))) for r in v]
        t.close(f'{title}, {name}: n, mean, std, interval; of classes',
                [(s.n, s.mean, s.std, s.low, s.high, s.class_mean, s.class_low, s.class_high) for s in kept], want, 1e-12)
        numbers = [(i, k) for i in range(len(v)) for k in range(i + 1, len(v))]
        t.equal(f'{title}, {name}: pairs', [(p.a, p.b) for p in a.pairs], numbers)
        want, tests = [], [plain.wilcoxon(plain.differences(v[i], v[k])) for i, k in numbers]
        for (i, k), p, corrected in zip(numbers, tests, plain.holm(tests)):
            d = plain.differences(v[i], v[k])
            want.append((len(plain.finite(d)), plain.mean(d), *plain.interval(d), p, corrected,
                         plain.win_rate(v[i], v[k], better[name] or 'higher')))
        t.close(f'{title}, {name}: n, difference, interval, p, Holm, wins',
                [(p.n, p.difference, p.low, p.high, p.p, p.p_holm, p.wins) for p in a.pairs], want, 1e-10)
        order = sorted((i for i in range(len(v)) if math.isfinite(plain.mean(v[i])) and i not in controls),
                       key=lambda i: -plain.mean(v[i]) if better[name] == 'higher' else plain.mean(v[i]))
        if not better[name] or not order:
            t.ok(f'{title}, {name}: no best', a.best is None and not a.bold)
            continue
        t.equal(f'{title}, {name}: the best', a.best, order[0])
        bold = False
        if len(order) > 1:
            w = want[numbers.index((min(order[:2]), max(order[:2])))]
            bold = w[5] < .05 and (w[2] > 0 or w[3] < 0)
        t.equal(f'{title}, {name}: bold', a.bold, bold)


def analyses(t, part=None):
    n = 40
    base = RNG.normal(size=n)
    apart = np.stack([base + RNG.normal(0, .2, n) + s for s in (0, .5, 1.5)])
    close = np.stack([base + RNG.normal(0, .2, n) for _ in range(3)])
    holes = apart.copy()
    holes[0, :5] = holes[1, 3:9] = holes[2, 20:] = np.nan
    empty = apart.copy()
    empty[1] = np.nan
    ties = np.round(4 * close) / 4
    labels = np.arange(n) // 7
    figures = {'apart': apart, 'close': close, 'holes': holes, 'empty': empty, 'none': np.full((3, n), np.nan), 'ties': ties,
               'sideless': apart, 'lower': apart}
    better = {**dict.fromkeys(figures, 'higher'), 'sideless': None, 'lower': 'lower'}
    if part:
        return compare_analysis(t, 'part', {k: figures[k] for k in part}, better, labels, ())
    compare_analysis(t, 'three methods', figures, better, labels, ())
    compare_analysis(t, 'the best is a control', {'apart': apart, 'lower': apart}, better, labels, (2,))
    compare_analysis(t, 'one image', {'apart': apart[:, :1]}, better, labels[:1], ())
    compare_analysis(t, 'one method', {'apart': apart[:1]}, better, labels, ())
    compare_analysis(t, 'one method, a control', {'apart': apart[:1]}, better, labels, (0,))
    found = stats.analyse(figures, better)
    t.ok('no labels, no class means', math.isnan(found['apart'].summaries[0].class_mean))
    few = np.array([[1, 1, 1, 1, 1, 0.], [.8, .8, .8, .8, .8, .8]])  # better on images, or on classes
    groups_of = [0, 0, 0, 0, 0, 1]
    t.equal('the best on images', stats.analyse({'x': few}, {'x': 'higher'}, groups_of)['x'].best, 0)
    t.equal('the best on classes', stats.analyse({'x': few}, {'x': 'higher'}, groups_of, by_class=['x'])['x'].best, 1)
    t.ok('apart is bold, close is not', found['apart'].bold and not found['close'].bold and found['lower'].best == 0)
    p, q = found['holes'].pair(0, 2), found['holes'].pair(2, 0)
    t.close('a pair the other way round', (q.difference, q.low, q.high, q.p_holm, q.wins),
            (-p.difference, -p.high, -p.low, p.p_holm, 1 - p.wins), 1e-15)
    t.equal('no figures', stats.analyse({}, {}), {})


class Quiet:
    """Counts without printing: what planted errors make of the checks."""

    def __init__(self):
        self.failed = 0

    def ok(self, name, condition, why=''):
        self.failed += not condition

    def equal(self, name, got, want):
        self.ok(name, got == want)

    def close(self, name, got, want, tolerance):
        got, want = np.asarray(got, float), np.asarray(want, float)
        self.ok(name, got.shape == want.shape and np.allclose(got, want, 0, tolerance, equal_nan=True))


def planted(t):
    """The checks above see errors."""
    def pratt(d):
        d = d[np.isfinite(d)]
        return scipy.stats.wilcoxon(d, zero_method='pratt').pvalue if d.any() else 1.

    def bonferroni(p):
        return np.minimum(1, np.asarray(p, float) * np.isfinite(p).sum())

    def no_ties(a, b, better='higher'):
        both = np.isfinite(a) & np.isfinite(b)
        return float(((a > b) if better == 'higher' else (a < b))[both].mean()) if both.any() else np.nan

    def zeros_count(values, *rest):
        return original(np.nan_to_num(values), *rest)

    def some(t):
        analyses(t, ('holes', 'ties'))

    original = stats.bootstrap_means
    for name, wrong, checks in (
            ('LEVEL', .9, some), ('wilcoxon', pratt, some), ('holm', bonferroni, some), ('win_rate', no_ties, some),
            ('bootstrap_means', zeros_count, some),
            ('bootstrap_means', lambda v, resamples, seed, *rest: original(v, resamples, 1, *rest), some),
            ('class_means', lambda v, labels: v[np.isfinite(v)], some)):
        right, quiet = getattr(stats, name), Quiet()
        setattr(stats, name, wrong)
        try:
            checks(quiet)
        finally:
            setattr(stats, name, right)
        t.ok(f'planted: another {name} is seen', quiet.failed > 0)


def large(t):
    """Many images, three methods, 20 figures: a minute and 2 GB, generous for a machine that does other things."""
    n = 50_000 if os.environ.get('DAVE_LONG') else 10_000
    figures = {str(k): RNG.normal(size=(3, n)) for k in range(20)}
    started = time.monotonic()
    found = stats.analyse(figures, dict.fromkeys(figures, 'higher'), np.arange(n) // 50)
    seconds = time.monotonic() - started
    t.ok(f'{n} images x 3 methods x 20 figures in 60 s', seconds < 60, f'{seconds:.0f} s')
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    t.ok('in 2 GB', memory < 2, f'{memory:.2f} GB')
    s = found['7'].summaries[1]
    t.close('and right', s.mean, figures['7'][1].mean(), 1e-12)
    t.close('interval', (s.low, s.high), s.mean + np.array([-1.96, 1.96]) * s.std / math.sqrt(n),
            4.5 * .027 * s.std / math.sqrt(n))


def body(t, _):
    for part in bootstrap, exact, intervals_fit_normal, tests_of_pairs, corrections, counts, bands, analyses, planted, large:
        part(t)


main(body)
