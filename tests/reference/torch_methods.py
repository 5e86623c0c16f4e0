"""The attribution methods other than DAVE, in float64, from their definitions (for networks of torch_families, torch_bcos).

  attribution(net, x, y, kind, options, seed)     the raw signed map (H, W) of one image x (C, H, W) for class y, as the program
                                                  stores it in /methods/<name>/raw: before `postprocess`

f is the logit of y; maps are sums over the channels unless said otherwise; gradients come from autograd.

  gradient               |df/dx|
  input_x_gradient       x df/dx
  effective              x times the gradient of the frozen network (torch_families.py)
  integrated_gradients   {steps: 50, rule: gauss} x sum_j w_j df(a_j x)/dx, from x0 = 0 of the normalised space (of all six
                         channels for B-cos). `steps` is the number of gradients. gauss: the nodes and weights of Gauss and
                         Legendre on [0, 1]. trapezoid: a_j = j / (steps - 1), w_j = 1 / (steps - 1), half at both ends, steps >= 2:
                         the ends are among the nodes. (captum's riemann_trapezoid takes the same nodes with weights 1 / steps, so
                         that they sum to 1 - 1 / steps.)
  smoothgrad             {samples: 50, sigma: 0.2} mean over k of df(x + e_k)/dx, signed, not times x. e_k = sigma (max x - min x)
                         n_k, max and min over all channels; n_k: the program's normal numbers, sample k = 0, 1, .., purpose 5,
                         in the order (C, H, W), rounded to float32
  attention_rollout      A_l = rows of (mean over heads + I) divided by their sum; R = A_L .. A_1; the row of what is classified,
                         columns of prefix tokens dropped, bilinear to H x W. The same for every class
  legrad                 {layers: 0} per block l, s_l = logit y of head(pool(norm(z_l))), z_l the output of block l: the network
                         that ends there. E_l = mean over heads and all query rows (those of prefix tokens too) of ReLU(ds_l/dA_l),
                         A after the softmax; columns of prefix tokens dropped; sum over the last `layers` blocks (0: all);
                         bilinear to H x W; then (m - min) / (max - min), 0 for a constant map (published: NaN). The published
                         code pools CLIP's intermediate layers by the mean of all tokens and normalises features
  chefer                 {start_layer: 1} rules of torch_relevance.Chefer from R = 1 at the target; C_l = mean over heads of
                         ReLU(df/dA_l R_A); product (I + C_L) .. (I + C_start) - I, blocks counted from 0; row, columns and bilinear
                         as for attention_rollout, no min-max. (The last I is nothing in the columns of patches where a
                         class token's row is taken; the mean of the patches' rows would show little else.)
  attnlrp                {rule: epsilon, gamma_linear: 0.05, gamma_patch: 0.25} rules of torch_relevance.Epsilon or Gamma from R =
                         the logit at the target; the relevance of the pixels

The row of what is classified: the class token's; with two heads (distilled DeiT) the mean of those of tokens 0 and 1; for the
mean of the patch tokens the mean of their rows; for class token and mean beside each other the mean of those two.
Bilinear: align_corners false, pixel centres at half integers, edge values outside. chefer and attnlrp are not defined for
B-cos networks and SwiGLU, legrad not for B-cos networks.

  attnlrp_gradient(net, x, y)                     attnlrp with rule epsilon as gradient times input: what torch_relevance's
                                                  docstring says it must equal
"""
import contextlib
import copy

import numpy as np
import torch
import torch.nn.functional as F

from torch_bcos import BcosViT
from torch_families import ViT
from torch_relevance import Chefer, Epsilon, Gamma, Tape

RNG_SMOOTHGRAD = 5


# ---------------------------------------------------------------------- random numbers
def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011): counter (4, n), key (2) of 32-bit words -> (4, n) uint32."""
    c = np.asarray(counter, np.uint64)
    k = [int(word) for word in key]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = np.stack([(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), b & np.uint64(0xFFFFFFFF),
                      (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), a & np.uint64(0xFFFFFFFF)])
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c.astype(np.uint32)


def normals(n, seed, image, sample, purpose):
    """The program's standard normal numbers: words to (0, 1), pairs of them to pairs by Box and Muller, cosine first."""
    blocks = -(-n // 4)
    counter = np.zeros((4, blocks), np.uint64)
    counter[0], counter[1:] = np.arange(blocks), np.array([[sample], [image], [purpose]])
    u = (philox(counter, (seed & 0xFFFFFFFF, seed >> 32)).T.reshape(-1, 2) + 0.5) / 2.0 ** 32
    radius, angle = np.sqrt(-2 * np.log(u[:, 0])), 2 * np.pi * u[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:n].astype(np.float32)


# ---------------------------------------------------------------------- attention
@contextlib.contextmanager
def recorded():
    """The softmax matrices of everything that is computed inside, in order."""
    softmax, seen = torch.softmax, []

    def record(a, dim):
        seen.append(softmax(a, dim=dim))
        return seen[-1]

    torch.softmax = record
    try:
        yield seen
    finally:
        torch.softmax = softmax


def attention_and_score(net, x, y):
    """[(heads, tokens, tokens) per block] and the logit, in a graph that autograd can differentiate."""
    with recorded() as seen:
        score = net.logits(x[None].to(net.dtype).detach().requires_grad_(True))[0, y]
    return seen, score


def grid_of(net, x):
    if isinstance(net, BcosViT):
        with torch.no_grad():
            return net._embed(x[None], True)[1]
    return x.shape[-2] // net.patch[0], x.shape[-1] // net.patch[1]


def prefix_of(net):
    return getattr(net, "prefix", 0)


def classified_row(net, r):
    prefix = prefix_of(net)
    if isinstance(net, BcosViT) or net.pool == "avg":
        return r[prefix:].mean(0)
    if "head_dist.weight" in net.w:
        return (r[0] + r[1]) / 2
    return r[0] if net.pool == "token" else (r[0] + r[prefix:].mean(0)) / 2


def enlarged(net, x, tokens):
    """One number per token -> (H, W)."""
    grid = tokens[prefix_of(net):].reshape(1, 1, *grid_of(net, x))
    return F.interpolate(grid, size=tuple(x.shape[-2:]), mode="bilinear", align_corners=False)[0, 0].detach()


# ------------------------------------------------------------------------ methods
def gradient(net, x, y):
    return net.gradient(x[None], [y])[0].abs().sum(0)


def input_x_gradient(net, x, y):
    return (x * net.gradient(x[None], [y])[0]).sum(0)


def effective(net, x, y):
    return (x * net.effective_gradient(x[None], [y])[0]).sum(0)


def quadrature(steps, rule):
    """Nodes and weights on [0, 1]."""
    if rule == "gauss":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (1 + nodes) / 2, weights / 2
    assert rule == "trapezoid" and steps >= 2
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


def integrated_gradients(net, x, y, steps=50, rule="gauss"):
    total = torch.zeros_like(x, dtype=net.dtype)
    for node, weight in zip(*quadrature(steps, rule)):
        total += weight * net.gradient(node * x[None], [y])[0]
    return (x * total).sum(0)


def smoothgrad(net, x, y, samples=50, sigma=0.2, seed=0, image=0):
    total, s = torch.zeros_like(x, dtype=net.dtype), sigma * float(x.max() - x.min())
    for k in range(samples):
        n = torch.from_numpy(normals(x.numel(), seed, image, k, RNG_SMOOTHGRAD)).reshape(x.shape)
        total += net.gradient((x + s * n.to(net.dtype))[None], [y])[0]
    return (total / samples).sum(0)


def rollout(net, x):
    """(tokens, tokens): the product A_L .. A_1."""
    with torch.no_grad(), recorded() as seen:
        net.logits(x[None])
    product = torch.eye(seen[0].shape[-1], dtype=net.dtype)
    for a in seen:
        a = a[0].mean(0) + torch.eye(a.shape[-1], dtype=net.dtype)
        product = a / a.sum(-1, keepdim=True) @ product
    return product


def attention_rollout(net, x, y):
    return enlarged(net, x, classified_row(net, rollout(net, x)))


def legrad_tokens(net, x, y, layers=0):
    """The sum over layers of E_l, one number per token."""
    total = 0
    for last in range(net.depth - (layers or net.depth), net.depth):
        shorter = copy.copy(net)
        shorter.depth = last + 1
        attention, score = attention_and_score(shorter, x, y)
        total = total + torch.autograd.grad(score, attention[last])[0].clamp(min=0).mean((0, 1, 2))
    return total


def legrad(net, x, y, layers=0):
    m = enlarged(net, x, legrad_tokens(net, x, y, layers))
    span = m.max() - m.min()
    return (m - m.min()) / span if span > 0 else torch.zeros_like(m)


def chefer(net, x, y, start_layer=1):
    attention, score = attention_and_score(net, x, y)
    slopes = torch.autograd.grad(score, attention)
    tape = Tape(net, x)
    tape.propagate(Chefer(), F.one_hot(torch.tensor(y), len(tape.scores)).to(net.dtype))
    eye = torch.eye(attention[0].shape[-1], dtype=torch.float64)  # what is small beside it is the map
    product = eye
    for slope, a in list(zip(slopes, tape.attention))[start_layer:]:
        product = (eye + (slope[0] * tape.relevance(a)).clamp(min=0).mean(0).double()) @ product
    return enlarged(net, x, classified_row(net, (product - eye).to(net.dtype)))


def attnlrp_tape(net, x, y, rules):
    tape = Tape(net, x)
    tape.propagate(rules, F.one_hot(torch.tensor(y), len(tape.scores)) * tape.scores)
    return tape


def attnlrp(net, x, y, rule="epsilon", gamma_linear=0.05, gamma_patch=0.25):
    rules = {"epsilon": Epsilon, "gamma": lambda: Gamma(gamma_linear, gamma_patch)}[rule]()
    tape = attnlrp_tape(net, x, y, rules)
    return tape.relevance(tape.pixels).sum(0)


# --------------------------------------------------- attnlrp as gradient times input
def damped(t, factor):
    """t, with its gradient times factor."""
    return factor * t + ((1 - factor) * t).detach()


class Damped(ViT):
    """The network whose gradient times input is attnlrp: rstd and gates constant, q, k and v damped."""
    factors = (1 / 4, 1 / 4, 1 / 2)

    def _attention(self, u, block, frozen):
        b, n, _ = u.shape
        qkv = self._linear(u, block + "attn.qkv").reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = (self._norm(t, block + name, True) for t, name in zip(qkv, ("attn.q_norm", "attn.k_norm")))
        q, k, v = (damped(t, f) for t, f in zip((q, k, qkv[2]), self.factors))
        a = torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, dim=-1)
        return self._linear((a @ v).transpose(1, 2).reshape(b, n, -1), block + "attn.proj")


def attnlrp_gradient(net, x, y):
    twin = copy.copy(net)
    twin.__class__ = Damped
    return (x * twin.effective_gradient(x[None], [y])[0]).sum(0)


# --------------------------------------------------------------------- by their names
KINDS = {f.__name__: f for f in (gradient, input_x_gradient, effective, integrated_gradients, smoothgrad, attention_rollout,
                                 legrad, chefer, attnlrp)}


def attribution(net, x, y, kind, options=None, seed=0):
    more = {"seed": seed} if kind == "smoothgrad" else {}
    return KINDS[kind](net, x.to(net.dtype), int(y), **(options or {}), **more).detach().numpy()
