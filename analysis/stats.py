"""
The statistics of the tables, the report and the figures. Plain numpy arrays in, nothing of files.

Every value belongs to an image. NaN says that an image has none: it counts nowhere. Two methods are compared on the images
for which both have a value.

Intervals are bootstrap percentile intervals (95 %; numpy's linear percentiles) of the mean over images: RESAMPLES times n
images are drawn with replacement from the n that have a value. The draws depend on n and SEED alone, so that all rows
with the same n share them: each interval is a function of its own data whatever else is computed beside it, the same draws give
paired differences, and a resample costs one row of a matrix product.
"""
import warnings
from dataclasses import dataclass

import packages

np = packages.need('numpy')

RESAMPLES, SEED, LEVEL = 10_000, 20260, .95
BAND_RESAMPLES = 1_000  # of bands about curves: a band is looked at, not quoted
SIGNIFICANT = .05
ENTRIES = 4_000_000  # of a block of draws
EXACT_UP_TO = 50  # differences, for Wilcoxon's exact distribution


def draws(n, resamples=RESAMPLES, seed=SEED):
    """How often each of n images is in each resample: blocks float64 (resamples of the block, n), in all `resamples` rows."""
    rng = np.random.default_rng([seed, n])
    size = max(1, ENTRIES // n)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        which = rng.integers(0, n, (rows, n), np.uint32).astype(np.int64)
        which += n * np.arange(rows)[:, None]
        yield np.bincount(which.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def bootstrap_means(values, resamples=RESAMPLES, seed=SEED, progress=None):
    """Means of the resamples, float64 (rows, resamples), of values (rows, images); NaN for rows without a value.
    progress: called with the number of resamples done, of count_draws(values, resamples)."""
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    counts = finite.sum(1)
    means = np.full((len(values), resamples), np.nan)
    for n in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == n)
        kept = values[rows][finite[rows]].reshape(len(rows), n)
        centre = kept.mean(1, keepdims=True)  # sums of small numbers are the more exact
        kept = kept - centre
        at = 0
        for block in draws(int(n), resamples, seed):
            means[rows, at:at + len(block)] = kept @ block.T / n + centre
            at += len(block)
            if progress:
                progress(len(block))
    return means


def count_draws(values, resamples=RESAMPLES):
    """How many resamples bootstrap_means() will draw for these values."""
    counts = np.isfinite(values).sum(1)
    return resamples * len(np.unique(counts[counts > 0]))


def interval(means):
    """Lower and upper end of the percentile interval, each (rows,), of means (rows, resamples)."""
    tail = (1 - LEVEL) / 2
    return np.percentile(means, [100 * tail, 100 * (1 - tail)], axis=1)


def finite_mean(values):
    """Mean over the finite values of each row; NaN where there is none."""
    finite = np.isfinite(values)
    n = finite.sum(1)
    with np.errstate(invalid='ignore'):
        return np.where(n > 0, np.where(finite, values, 0).sum(1) / n, np.nan)


def wilcoxon(difference):
    """Two-sided p of Wilcoxon's signed rank test of paired differences. Zeros are dropped (1 where nothing else is left);
    exact for at most 50 differences of different size, else by the normal approximation with its correction for ties. NaN
    where there is no pair."""
    difference = difference[np.isfinite(difference)]
    if not len(difference):
        return np.nan
    difference = difference[difference != 0]
    if not len(difference):
        return 1.
    ties = len(np.unique(np.abs(difference))) < len(difference)
    exact = len(difference) <= EXACT_UP_TO and not ties
    test = packages.need('scipy.stats').wilcoxon
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # few values with ties: there is no better p
        return min(1., float(test(difference, correction=False, method='exact' if exact else 'approx').pvalue))


def holm(p):
    """Holm's correction for several tests: adjusted p. NaN are no tests."""
    p = np.asarray(p, np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind='stable')
    order = order[np.isfinite(p[order])]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def win_rate(a, b, better='higher'):
    """Share of the images with both values on which a is the better one; ties are half a win. NaN without such an image."""
    both = np.isfinite(a) & np.isfinite(b)
    if not both.any():
        return np.nan
    a, b = (b[both], a[both]) if better == 'lower' else (a[both], b[both])
    return float(np.mean(a > b) + .5 * np.mean(a == b))


def class_means(values, labels):
    """The mean of each class's images that have a value, (classes that have one,)."""
    finite = np.isfinite(values)
    _, which = np.unique(np.asarray(labels)[finite], return_inverse=True)
    return np.bincount(which, values[finite]) / np.bincount(which)


def band(curves, resamples=BAND_RESAMPLES, seed=SEED):
    """mean, low, high (points,) of curves (images, points): pointwise intervals. Images without a curve are NaN."""
    curves = np.asarray(curves)
    curves = curves[np.isfinite(curves).all(1)]
    if not len(curves):
        return (np.full(curves.shape[1], np.nan),) * 3
    low, high = interval(bootstrap_means(curves.T, resamples, seed))
    return curves.mean(0, dtype=np.float64), low, high


# ---------------------------------------------------------------- the figures of several methods

@dataclass(frozen=True)
class Summary:
    """A figure of one method."""
    n: int
    mean: float
    std: float  # of the sample
    low: float
    high: float
    class_mean: float  # mean of the means of classes, so that classes count alike; NaN without labels
    class_low: float  # its interval: classes are drawn
    class_high: float


@dataclass(frozen=True)
class Pair:
    """Two methods, numbers a < b, compared image by image."""
    a: int
    b: int
    n: int
    difference: float  # mean of a - b
    low: float
    high: float
    p: float  # Wilcoxon
    p_holm: float  # among all pairs of the figure
    wins: float  # share of images on which a is the better one, ties half; the larger one where no side is better

    @property
    def significant(self):
        """The corrected test says so, and the interval of the mean difference leaves out 0."""
        return bool(self.p_holm < SIGNIFICANT and (self.low > 0 or self.high < 0))


@dataclass(frozen=True)
class Analysis:
    """A figure of all methods."""
    better: str | None
    summaries: tuple
    pairs: tuple
    best: int | None  # the method with the best mean, controls aside
    bold: bool  # its difference to the next best is significant

    def pair(self, a, b):
        """The comparison of two methods in either order: difference is of a - b."""
        for p in self.pairs:
            if (p.a, p.b) == (a, b):
                return p
            if (p.a, p.b) == (b, a):
                return Pair(a, b, p.n, -p.difference, -p.high, -p.low, p.p, p.p_holm, 1 - p.wins)
        raise KeyError((a, b))


def _ranking(means, better, controls):
    """Methods with a mean that are no controls, the best first."""
    return sorted((i for i in range(len(means)) if np.isfinite(means[i]) and i not in controls),
                  key=lambda i: -means[i] if better == 'higher' else means[i])


def analyse(figures, better, labels=None, controls=(), by_class=(), resamples=RESAMPLES, seed=SEED, progress=None):
    """figures: name -> values (methods, images); better: name -> 'higher', 'lower' or None; labels: class of each image;
    controls: numbers of the methods that are the chance level and can't be the best; by_class: names of figures whose best is
    that of the class means. Returns name -> Analysis. progress: a function of (title, total) that gives something with
    step(count) to be used by `with`. One call for many figures is cheaper than one for each."""
    figures = {name: np.asarray(v, np.float64) for name, v in figures.items()}
    pairs = {name: [(a, b) for a in range(len(v)) for b in range(a + 1, len(v))] for name, v in figures.items()}
    masks = {name: np.isfinite(v) for name, v in figures.items()}

    # differences of methods with values on different images are rows of their own, all others follow from the methods'
    rows, place = [], {}
    for name, v in figures.items():
        for i in range(len(v)):
            place[name, i] = len(rows)
            rows.append(v[i])
            if labels is not None:
                place[name, i, 'class'] = len(rows)
                rows.append(np.full(v.shape[1], np.nan))
                of_classes = class_means(v[i], labels)
                rows[-1][:len(of_classes)] = of_classes
        for a, b in pairs[name]:
            if not np.array_equal(masks[name][a], masks[name][b]):
                place[name, a, b] = len(rows)
                rows.append(v[a] - v[b])
    if not rows:
        return {}
    values = np.stack(rows)
    del rows
    with _watch(progress, 'intervals', count_draws(values, resamples)) as watch:
        means = bootstrap_means(values, resamples, seed, watch.step)
    centre = finite_mean(values)
    low, high = interval(means)

    found = {}
    with _watch(progress, 'comparisons', sum(len(p) for p in pairs.values())) as watch:
        for name, v in figures.items():
            summaries = []
            for i in range(len(v)):
                at, kept = place[name, i], v[i][masks[name][i]]
                c = place.get((name, i, 'class'))
                summaries.append(Summary(
                    len(kept), float(centre[at]), float(kept.std(ddof=1)) if len(kept) > 1 else np.nan, float(low[at]),
                    float(high[at]), *((np.nan,) * 3 if c is None else (float(x[c]) for x in (centre, low, high)))))
            compared, p = [], []
            for a, b in pairs[name]:
                difference = v[a] - v[b]
                if (name, a, b) in place:
                    at = place[name, a, b]
                    ends = low[at], high[at]
                else:
                    ends = interval(means[None, place[name, a]] - means[None, place[name, b]])[:, 0]
                p.append(wilcoxon(difference))
                compared.append((a, b, int(np.isfinite(difference).sum()), float(finite_mean(difference[None])[0]),
                                 float(ends[0]), float(ends[1]), win_rate(v[a], v[b], better.get(name) or 'higher')))
                watch.step(1)
            compared = tuple(Pair(*c[:6], p[k], q, c[6]) for k, (c, q) in enumerate(zip(compared, holm(p))))
            found[name] = _judge(better.get(name), tuple(summaries), compared, controls, name in by_class)
    return found


def _judge(better, summaries, pairs, controls, by_class):
    means = [s.class_mean if by_class else s.mean for s in summaries]
    order = _ranking(means, better, controls) if better else []
    analysis = Analysis(better, summaries, pairs, order[0] if order else None, False)
    if len(order) < 2:
        return analysis
    pair = analysis.pair(order[0], order[1])
    right = pair.difference > 0 if better == 'higher' else pair.difference < 0
    return Analysis(better, summaries, pairs, order[0], bool(pair.significant and right))


class _Nothing:
    def step(self, count):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *rest):
        pass


def _watch(progress, title, total):
    return progress(title, total) if progress else _Nothing()
