"""
The metrics of maps, written from methods.md section 5 in numpy and scipy: nothing here is shared with the C program.
Maps are (H, W) arrays; where a figure is undefined it is NaN.
"""
import numpy as np
from scipy import ndimage, stats


def energypg(m, region):
    """Energy, gain. region: (H, W), True on the object."""
    if not region.any():
        return np.nan, np.nan
    positive = np.maximum(m.astype(np.float64), 0)
    energy = positive[region].sum() / positive.sum() if positive.sum() > 1e-7 else 0.
    return energy, energy / region.mean()


def pointing_game(m, region, tolerance=15):
    """Distances come from scipy's Euclidean distance transform."""
    if not region.any():
        return np.nan
    if m.min() == m.max():
        return 0.
    return float((ndimage.distance_transform_edt(~region)[m == m.max()] <= tolerance).any())


def grid_artifact(raw, patch):
    """Ratio of the differences, and the spectral share, from the transform itself."""
    raw, (h, w) = raw.astype(np.float64), raw.shape
    if raw.min() == raw.max() or h == w == patch:
        return np.nan, np.nan
    across, within = [], []
    for axis in 0, 1:
        d = np.moveaxis(np.abs(np.diff(raw, axis=axis)), axis, 0)
        border = np.arange(1, len(d) + 1) % patch == 0
        across.append(d[border].ravel())
        within.append(d[~border].ravel())
    energy = np.abs(np.fft.fft2(raw)) ** 2
    energy[0, 0] = 0
    with np.errstate(divide='ignore'):
        ratio = np.concatenate(across).mean() / np.concatenate(within).mean()
    return ratio, energy[::h // patch, ::w // patch].sum() / energy.sum()


def gini(m):
    """Half the mean absolute difference of two pixels over the mean, by the area under the Lorenz curve."""
    a = np.sort(np.abs(m.astype(np.float64)), axis=None)
    if not a.any():
        return np.nan
    lorenz = np.concatenate([[0], np.cumsum(a) / a.sum()])
    return 1 - 2 * np.trapz(lorenz, dx=1 / len(a))


def entropy(m):
    a = np.abs(m.astype(np.float64)).ravel()
    return stats.entropy(a) / np.log(len(a)) if a.any() else np.nan


def stability(m, other):
    """Pearson, Spearman, relative L2 of the map and that of the noisy image."""
    a, b = m.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    defined = a.min() < a.max() and b.min() < b.max()
    norm = np.linalg.norm(a)
    return (stats.pearsonr(a, b)[0] if defined else np.nan, stats.spearmanr(a, b)[0] if defined else np.nan,
            np.linalg.norm(a - b) / norm if norm else np.nan)


def sensitivity(m, others):
    """others: maps of the changed images."""
    a = m.astype(np.float64)
    return max(np.linalg.norm(o - a) for o in others) / np.linalg.norm(a) if a.any() else np.nan


def gridpg(maps, n):
    """Share of each cell's own map that lies inside it; maps (n * n, h, w)."""
    h, w = maps.shape[1:]
    shares = []
    for k, m in enumerate(np.maximum(maps.astype(np.float64), 0)):
        r, c = divmod(k, n)
        inside = m[r * h // n:(r + 1) * h // n, c * w // n:(c + 1) * w // n].sum()
        shares.append(inside / m.sum() if m.sum() > 1e-7 else 0.)
    return np.array(shares)
