"""DAVE's stages in PyTorch: warp, samples, robust mean, post-processing, deletion curves.

Independent of any hand-written warp: the warp is torch's own affine_grid + grid_sample, given the matrix as kornia
normalises it (corners aligned) while the sampler runs with corners not aligned, and its adjoint comes from autograd.
Everything runs in the dtype of its input; float64 makes a reference, float32 shows what single precision costs.
"""
import math

import torch
import torch.nn.functional as F

RUN_PARAMETERS = ("flip", "angle", "tx", "ty", "scale")


# ------------------------------------------------------------------------ warp
def affine_theta(height, width, angle, tx, ty, scale):
    """The 2x3 matrix for affine_grid: output position -> source position, both in [-1, 1]."""
    a = math.radians(angle)
    cx, cy = (width - 1) / 2.0, (height - 1) / 2.0

    def matrix(rows):
        return torch.tensor(rows, dtype=torch.float64)

    to_centre = matrix([[1, 0, -cx], [0, 1, -cy], [0, 0, 1]])
    turn = matrix([[scale * math.cos(a), -scale * math.sin(a), 0],
                   [scale * math.sin(a), scale * math.cos(a), 0], [0, 0, 1]])
    back = matrix([[1, 0, cx + tx], [0, 1, cy + ty], [0, 0, 1]])
    # kornia: pixel 0 -> -1 and pixel W-1 -> +1 ...
    norm = matrix([[2.0 / (width - 1), 0, -1], [0, 2.0 / (height - 1), -1], [0, 0, 1]])
    source_to_output = norm @ back @ turn @ to_centre @ torch.inverse(norm)
    return torch.inverse(source_to_output)[:2]


def warp(x, p):
    """x (C, H, W) warped by one sample's parameters, a dict with flip, angle (degrees), tx, ty (pixels), scale."""
    c, h, w = x.shape
    if p["flip"]:                                       # the flip comes first
        x = torch.flip(x, dims=[-1])
    theta = affine_theta(h, w, float(p["angle"]), float(p["tx"]), float(p["ty"]), float(p["scale"]))
    # ... but the sampler takes pixel j to be (2j + 1)/W - 1. Published so, and kept.
    # Always in double: float32 coordinates alone would cost 3e-5 of the gradient at 224 pixels.
    grid = F.affine_grid(theta[None], (1, c, h, w), align_corners=False)
    out = F.grid_sample(x[None].double(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return out[0].to(x.dtype)


def warp_adjoint(g, p):
    """The exact transpose of `warp`, by differentiating <warp(z), g> by z (the warp is linear)."""
    z = torch.zeros_like(g, requires_grad=True)
    return torch.autograd.grad((warp(z, p) * g).sum(), z)[0]


# --------------------------------------------------------------------- samples
def noise_schedule(alpha, k):
    return [0.0] if k == 1 else [alpha * i / (k - 1) for i in range(k)]


def one_sample(vit, x, y, t, noise, p):
    """(augmented, noisy, weff) of one image (C, H, W). weff is (1 - t) * warp^T(effective gradient at the noisy
    image): it has the factor and lies in the frame of x, so that the sample's map is weff * x."""
    augmented = warp(x, p)
    noisy = (1 - t) * augmented + math.sqrt(1 - (1 - t) ** 2) * noise
    g = vit.effective_gradient(noisy[None], [y])[0]
    return augmented, noisy, (1 - t) * warp_adjoint(g, p)


def run_samples(vit, x, y, run):
    """All samples of one run: x (B, C, H, W), y (B); run has t (K), noise (K, B, C, H, W) and the warp parameters
    (K, B). Returns a dict of the stages, shaped as in the golden files."""
    k, b = len(run["t"]), len(x)
    rows = []
    for i in range(k):
        for j in range(b):
            p = {name: run[name][i][j] for name in RUN_PARAMETERS}
            rows.append(one_sample(vit, x[j], int(y[j]), float(run["t"][i]), run["noise"][i, j], p))
    stages = {name: torch.stack([r[n] for r in rows]).reshape((k, b) + x.shape[1:])
              for n, name in enumerate(("augmented", "noisy", "weff"))}
    stages["maps"] = stages["weff"] * x[None]           # the clean image, not the noisy one
    stages["agg"], stages["mask"] = aggregate(stages["maps"])
    stages["post"] = post(stages["agg"])
    return stages


# ----------------------------------------------------------------- aggregation
def mad_threshold(maps):
    """(|c - med|, threshold), medians over axis 0; torch.median is the lower median, as the definition wants."""
    deviation = (maps - maps.median(0).values).abs()
    return deviation, 2.5 * (1.4826 * deviation.median(0).values + 1e-8)


def aggregate(maps):
    deviation, threshold = mad_threshold(maps)
    keep = deviation <= threshold
    return (maps * keep).sum(0) / keep.sum(0).clamp(min=1), keep


# ------------------------------------------------------------- post-processing
def _gauss(size, sigma, dtype):
    a = torch.arange(size, dtype=torch.float64) - size // 2
    return torch.exp(-a * a / (2 * sigma * sigma)).to(dtype)


def _neighbours(m, size):
    """(B, size*size, H, W): every pixel's window, zeros outside the picture."""
    b, h, w = m.shape
    return F.unfold(m[:, None], size, padding=size // 2).reshape(b, size * size, h, w)


def post(agg):
    """(B, 3, H, W) -> (B, 1, H, W): channel sum, ReLU, half Gaussian, bilateral, division by the maximum."""
    m = agg.sum(1).clamp(min=0)
    g = _gauss(11, 7.0, m.dtype)
    g = torch.outer(g, g)
    g = g / g.sum()
    m = 0.5 * (m + F.conv2d(m[:, None], g[None, None], padding=5)[:, 0])
    near, s = _neighbours(m, 5), _gauss(5, 0.5, m.dtype)
    # Zero padding as published: what lies outside counts as the value 0, with its weight.
    weight = torch.exp(-(near - m[:, None]) ** 2 / (2 * 0.05 ** 2)) * torch.outer(s, s).reshape(1, 25, 1, 1)
    m = (weight * near).sum(1) / (weight.sum(1) + 1e-8)
    top = m.amax((1, 2), keepdim=True)
    return torch.where(top > 0, m / top.clamp(min=torch.finfo(m.dtype).tiny), torch.zeros_like(m))[:, None]


# ------------------------------------------------------------- deletion curves
def blurred(x, size=31, sigma=7.0):
    """Zero-padded Gaussian blur of a normalised image (C, H, W)."""
    g = _gauss(size, sigma, torch.float64)
    g = torch.outer(g, g)
    g = (g / g.sum()).to(x.dtype)
    return F.conv2d(x[:, None], g[None, None], padding=size // 2)[:, 0]


# name -> (order, substrate, pixels replaced at each point) for a 224x224 picture. See compare_replay.py.
CURVES = {
    "curve_dave": ("least", "blur", [0] + [352 * k for k in range(1, 129)] + [45158]),
    "curve_most_constant": ("most", "zero", [784 * k for k in range(33)]),
}


def pixel_order(ranking, order):
    """Pixel indices in the order of replacement: stable, equal values in the order of their index."""
    values = ranking.reshape(-1)
    return torch.sort(values if order == "least" else -values, stable=True).indices


def deletion_curve(vit, x, target, ranking, protocol, points=None, batch=8):
    """Softmax probability of the target after each number of pixels (all of them, or only `points`)."""
    order, substrate, counts = protocol
    index = pixel_order(ranking, order)
    other = (blurred(x) if substrate == "blur" else torch.zeros_like(x)).reshape(x.shape[0], -1)
    pictures = []
    for k in range(len(counts)) if points is None else points:
        z = x.reshape(x.shape[0], -1).clone()
        z[:, index[:counts[k]]] = other[:, index[:counts[k]]]
        pictures.append(z.reshape(x.shape))
    out = []
    with torch.no_grad():
        for i in range(0, len(pictures), batch):
            out.append(torch.softmax(vit.logits(torch.stack(pictures[i:i + batch])), 1)[:, target])
    return torch.cat(out) if out else torch.zeros(0)
