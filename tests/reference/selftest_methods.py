"""Are the references of the methods right, and would their goldens tell right from wrong?

  selftest_methods.py             networks and inputs of ../golden/families, then the goldens of ../golden/methods

Philox against Random123's known answers. For every network: integrated gradients are complete; rows of the rollout sum to 1;
derivatives with respect to attention matrices agree with finite differences; every rule of relevance equals its definition by
single contributions; the recorded network gives the logits; the rule form of attnlrp equals its gradient form; gamma = 0 is
epsilon; relevance is conserved where it should be, and what the softmax takes is printed. Every error of the list at the end,
planted one at a time, changes a map by more than ten times what the program may be off (1e-4 of the largest magnitude).
"""
import os
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

import make_method_goldens
import torch_methods
from checks import Report
from make_method_goldens import PLAIN, SEED
from selftest_families import FAMILIES, opened
from torch_families import ViT
from torch_methods import Damped, attnlrp_gradient, attnlrp_tape, attribution, enlarged, normals, philox, quadrature, rollout
from torch_relevance import Chefer, Epsilon, Gamma, Tape, divided

BAR = 1e-4                                              # what the program has to keep
GOLDENS = os.path.join(FAMILIES, "../methods")


def network(name, image=0):
    net, x, y, _ = opened(os.path.join(FAMILIES, name), "golden.h5")
    return net, x[image], int(y[image])


def relative(a, b):
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    return float((a - b).abs().max() / b.abs().max())


# --------------------------------------------------------------------- the parts
def check_random(report):
    ones = 0xFFFFFFFF
    for counter, key, want in (((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
                               ((ones,) * 4, (ones,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
                               ((0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344), (0xa4093822, 0x299f31d0),
                                "d16cfe09 94fdcceb 5001e420 24126ea1")):
        got = philox(np.array(counter, np.uint64).reshape(4, 1), key)[:, 0]
        report.check("philox", np.count_nonzero(got != [int(w, 16) for w in want.split()]), 0)
    z = normals(1 << 18, 7, 0, 3, 5).astype(np.float64)
    report.check("normals: mean", abs(z.mean()), 4 / 512)
    report.check("normals: variance", abs(z.var() - 1), 4 * 2 ** 0.5 / 512)
    report.check("normals: fourth moment", abs((z ** 4).mean() - 3), 4 * 96 ** 0.5 / 512)
    report.check("normals: prefixes agree", np.abs(normals(1001, 7, 0, 3, 5) - normals(1 << 18, 7, 0, 3, 5)[:1001]).max(), 0)


def bilinear(grid, height, width):
    """Pixel centres at half integers, edge values outside: written out."""
    def line(n, old):
        m = np.zeros((n, old))
        for i in range(n):
            at = min(max((i + 0.5) * old / n - 0.5, 0), old - 1)
            low = min(int(at), old - 2) if old > 1 else 0
            m[i, low] += 1 - (at - low)
            m[i, min(low + 1, old - 1)] += at - low
        return m
    return line(height, grid.shape[0]) @ grid @ line(width, grid.shape[1]).T


def check_enlarged(report):
    net, x, _ = network("deit3")
    tokens = torch.randn(net.prefix + 12, dtype=torch.float64)
    report.check("bilinear", relative(enlarged(net, x, tokens), bilinear(tokens[net.prefix:].reshape(3, 4).numpy(), 6, 8)), 1e-14)


def check_quadrature(report):
    for rule, degree in (("gauss", 9), ("trapezoid", 1)):
        nodes, weights = quadrature(5, rule)
        report.check(rule + ": exact", max(abs((weights * nodes ** p).sum() - 1 / (p + 1)) for p in range(degree + 1)), 1e-15)
        error = abs((weights * nodes ** (degree + 1)).sum() - 1 / (degree + 2))
        report.check(rule + ": not beyond", error, 1e-8, at_least=True)


def shares(contributions, r):
    """(out, in) single contributions -> relevance of the inputs, in proportion; a column for the bias may be among them."""
    return (divided(r.unsqueeze(-1), contributions.sum(-1, keepdim=True)) * contributions).sum(-2)


def contributions(op):
    """(.., out, in + 1) single contributions of a linear layer, the last column the bias."""
    bias = op.bias if op.bias is not None else torch.zeros(len(op.weight), dtype=op.weight.dtype)
    c = op.weight * op.inputs[0].unsqueeze(-2)
    return torch.cat([c, bias.expand(c.shape[:-2] + bias.shape).unsqueeze(-1)], -1)


def by_contributions(rules, op, r):
    """Relevance of the inputs of a linear layer from the definition of each book, one contribution at a time."""
    c = contributions(op)
    if isinstance(rules, Chefer):
        return shares(c[..., :-1].clamp(min=0), r)
    if isinstance(rules, Gamma):
        same = (torch.sign(c) == torch.sign(op.output).unsqueeze(-1)).to(c.dtype)
        c = c * (1 + rules.gamma[op.where] * same)
    return shares(c, r)[..., :-1]


def definition(op, r):
    """Epsilon rule of the operations that all books share, from single contributions."""
    x = op.inputs[0]
    if op.kind == "norm":
        n = x.shape[-1]
        matrix = (torch.eye(n, dtype=x.dtype) - 1 / n) * op.weight.unsqueeze(-1)
        c = op.rstd.unsqueeze(-1) * matrix * x.unsqueeze(-2)
        bias = op.output - c.sum(-1)
        return [shares(torch.cat([c, bias.unsqueeze(-1)], -1), r)[..., :-1]]
    if op.kind == "mean":
        return [shares((x / len(x)).T.unsqueeze(-2), r.unsqueeze(-1)).T]
    if op.kind == "matmul":
        a, b = op.inputs
        c = a.unsqueeze(-1) * b.unsqueeze(-3) / 2        # (heads, rows, inner, columns): half of it to each side
        c = c * divided(r, op.output).unsqueeze(-2)
        return [c.sum(-1), c.sum(-3)]
    s = torch.softmax(x, -1)                            # softmax: x times its Jacobian on R / s
    jacobian = torch.diag_embed(s) - s.unsqueeze(-1) * s.unsqueeze(-2)
    return [x * (jacobian @ (r / s).unsqueeze(-1)).squeeze(-1)]


def check_rules(report, name, net, x, y):
    """Every recorded operation against its definition, by the relevance that reaches it."""
    worst = {}
    for rules in (Epsilon(), Gamma(0.3, 1.5), Chefer()):
        tape = attnlrp_tape(net, x, y, rules)
        for op in tape.ops:
            r = tape.relevance(op.output)
            if op.kind == "linear":
                got, want = rules.linear(op, r), [by_contributions(rules, op, r)]
            elif op.kind in ("norm", "softmax") and isinstance(rules, Chefer) or op.kind not in ("norm", "mean", "matmul", "softmax"):
                continue
            else:
                got, want = getattr(rules, op.kind)(op, r), definition(op, r)
            for a, b in zip(got, want):
                if b.abs().max() > 0:
                    worst[op.kind] = max(worst.get(op.kind, 0), relative(a, b))
    for kind, error in worst.items():
        report.check(f"{name}: rule, {kind}", error, 1e-9)


# ------------------------------------------------------------------ whole methods
def check_attention_slopes(report, name, net, x, y):
    """df/dA against finite differences: something is added to one softmax matrix after the other."""
    attention, score = torch_methods.attention_and_score(net, x, y)
    worst, original = 0.0, torch.softmax
    for layer, slope in enumerate(torch.autograd.grad(score, attention)):
        direction, f = torch.randn_like(slope), []
        for h in (-2e-4, -1e-4, 1e-4, 2e-4):
            seen = []

            def moved(a, dim):
                seen.append(0)
                return original(a, dim=dim) + (h * direction if len(seen) == layer + 1 else 0)
            torch.softmax = moved
            try:
                f.append(float(net.logits(x[None])[0, y]))
            finally:
                torch.softmax = original
        difference = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / 1.2e-3
        size = float(slope.norm() * direction.norm()) / slope.numel() ** 0.5
        worst = max(worst, abs(difference - float((slope * direction).sum())) / size)
    report.check(f"{name}: slopes of attention", worst, 1e-6 if isinstance(net, ViT) else 1e-3)


def check_network(report, name, net, x, y):
    with torch.no_grad():
        f, f0 = (float(net.logits(v[None])[0, y]) for v in (x, torch.zeros_like(x)))
    # The stem of a B-cos network turns within the first thousandth of the path: intervals that shrink towards 0.
    ends, total = [0] + [10.0 ** e for e in np.arange(-7, 0.1, 0.25)], 0.0
    for a, b in zip(ends[:-1], ends[1:]):
        nodes, weights = quadrature(24, "gauss")
        for node, weight in zip(a + (b - a) * nodes, (b - a) * weights):
            total += weight * float((x * net.gradient(node * x[None], [y])[0]).sum())
    # |o| o has a kink in its slope, which costs Gauss its order.
    report.check(f"{name}: completeness, intervals", abs(total - (f - f0)) / abs(f - f0), 1e-6 if isinstance(net, ViT) else 1e-3)
    if isinstance(net, ViT):
        for rule, bar in (("gauss", 1e-6), ("trapezoid", 2e-2)):
            total = attribution(net, x, y, "integrated_gradients", {"steps": 200, "rule": rule}).sum()
            report.check(f"{name}: completeness, {rule}", abs(total - (f - f0)) / abs(f - f0), bar)
    report.check(f"{name}: rollout, rows", float((rollout(net, x).sum(-1) - 1).abs().max()), 1e-14)
    tiny = attribution(net, x, y, "smoothgrad", {"samples": 2, "sigma": 1e-9})
    report.check(f"{name}: smoothgrad without noise", relative(tiny, net.gradient(x[None], [y])[0].sum(0)), 1e-6)
    m = attribution(net, x, y, "legrad")
    report.check(f"{name}: legrad, range", max(abs(m.min()), abs(m.max() - 1)), 1e-15)
    check_attention_slopes(report, name, net, x, y)


def check_relevance(report, name, net, x, y):
    logits = net.logits(x[None])[0].detach()
    report.check(f"{name}: recorded logits", relative(Tape(net, x).scores, logits), 1e-13)
    epsilon = attribution(net, x, y, "attnlrp")
    report.check(f"{name}: attnlrp, gradient form", relative(epsilon, attnlrp_gradient(net, x, y).detach()), 1e-9)
    none = attribution(net, x, y, "attnlrp", {"rule": "gamma", "gamma_linear": 0, "gamma_patch": 0})
    report.check(f"{name}: attnlrp, gamma 0", relative(none, epsilon), 1e-12)
    gamma = attribution(net, x, y, "attnlrp", {"rule": "gamma"})
    report.check(f"{name}: attnlrp, gamma differs", relative(gamma, epsilon), 10 * BAR, at_least=True)
    folded = attribution(folded_scale(net), x, y, "attnlrp", {"rule": "gamma"})
    report.check(f"{name}: attnlrp, gamma, folded LayerScale", relative(folded, gamma), 1e-12)
    check_rules(report, name, net, x, y)
    check_conservation(report, name, net, x, y)


def check_conservation(report, name, net, x, y):
    """What each operation takes and does not hand on, in units of what was started with. Biases, positions and prefix tokens
    take their share; the others but softmax must not."""
    for title, rules in (("epsilon", Epsilon()), ("gamma", Gamma())):
        tape = attnlrp_tape(net, x, y, rules)
        start, pixels = float(tape.scores[y]), float(tape.relevance(tape.pixels).sum())
        lost = {k: v / start for k, v in tape.lost.items()}
        keep = max(abs(lost.get(k, 0)) for k in ("add", "matmul", "gate", "factor", "mean"))
        report.check(f"{name}: {title} conserves", keep, 1e-9, f"pixels {pixels / start:.3f}, lost: " + ", ".join(
            f"{k} {v:.3f}" for k, v in sorted(lost.items()) if abs(v) > 1e-9))
        report.check(f"{name}: {title} account", abs(pixels / start + sum(lost.values()) - 1), 1e-9)
    tape = Tape(net, x)
    tape.propagate(Chefer(), F.one_hot(torch.tensor(y), len(tape.scores)).to(net.dtype))
    inside = max(abs(v) for k, v in tape.lost.items() if k not in ("move", "plus"))
    size = max(float(tape.relevance(op.output).abs().sum()) for op in tape.ops)
    # Where a + b is nearly 0, the parts of a sum are far larger than what they sum to.
    below = float(tape.relevance(tape.pixels).sum()) + tape.lost.get("move", 0) + tape.lost["plus"]
    report.check(f"{name}: chefer conserves", inside / size, 1e-7, f"largest sum of magnitudes {size:.3g}")
    report.check(f"{name}: chefer, all of it", abs(below - 1) / size, 1e-7)


# ------------------------------------------------------------ wrong on purpose
class EpsilonLinear(Chefer):
    linear = Epsilon.linear


class EpsilonNorm(Chefer):
    norm = Epsilon.norm


class PlainSum(Chefer):
    add = Epsilon.add


class Whole(Chefer):
    def matmul(self, op, r):
        return [2 * s for s in Chefer.matmul(self, op, r)]


class WithBias(Chefer):
    def linear(self, op, r):
        return [shares(contributions(op).clamp(min=0), r)[..., :-1]]


class ByWeights(Gamma):
    """The first gamma rule: positive weights, whatever the signs of inputs and output."""

    def linear(self, op, r):
        c = contributions(op)
        weights = torch.cat([op.weight, c[..., -1:].reshape(-1, len(op.weight))[:1].T], -1)
        return [shares(c * (1 + self.gamma[op.where] * (weights > 0).to(c.dtype)), r)[..., :-1]]


class PlainBias(Gamma):
    def linear(self, op, r):
        c = contributions(op)
        factor = 1 + self.gamma[op.where] * (torch.sign(c) == torch.sign(op.output).unsqueeze(-1)).to(c.dtype)
        factor[..., -1] = 1
        return [shares(c * factor, r)[..., :-1]]


class NoHead(Gamma):
    def __init__(self):
        super().__init__()
        self.gamma["head"] = 0


class ConservativePropagation(Epsilon):
    def softmax(self, op, r):
        return [torch.zeros_like(r)]


class NormIdentity(Epsilon):
    norm = Epsilon.gate


class Slope(Epsilon):
    def gate(self, op, r):
        x = op.inputs[0].detach().requires_grad_(True)
        return [x.detach() * torch.autograd.grad(F.gelu(x), x, divided(r, op.output))[0]]


class NotHalved(Epsilon):
    def matmul(self, op, r):
        return [2 * s for s in Epsilon.matmul(self, op, r)]


class ScaledScores(Epsilon):
    """The softmax rule on unscaled scores."""

    def softmax(self, op, r):
        return [2 * s for s in Epsilon.softmax(self, op, r)]


def pixels_by(rules):
    return lambda net, x, y: (lambda tape: tape.relevance(tape.pixels).sum(0))(attnlrp_tape(net, x, y, rules))


def chefer_by(rules, start=0):
    def f(net, x, y):
        original = torch_methods.Chefer
        torch_methods.Chefer = rules
        try:
            return torch_methods.chefer(net, x, y, start)
        finally:
            torch_methods.Chefer = original
    return f


def chefer_changed(form):
    """`form`: (slope, relevance, A) -> what stands in the place of C_l."""
    def f(net, x, y):
        attention, score = torch_methods.attention_and_score(net, x, y)
        slopes = torch.autograd.grad(score, attention)
        tape = Tape(net, x)
        tape.propagate(Chefer(), F.one_hot(torch.tensor(y), len(tape.scores)).to(net.dtype))
        eye = torch.eye(attention[0].shape[-1], dtype=net.dtype)
        product = eye
        for slope, a in zip(slopes, tape.attention):
            c = eye + form(slope[0], tape.relevance(a), a)
            product = (c / c.sum(-1, keepdim=True) if form is normalised_rows else c) @ product
        return enlarged(net, x, torch_methods.classified_row(net, product))
    return f


def plain_form(g, r, a):
    return (g * r).clamp(min=0).mean(0)


def normalised_rows(g, r, a):
    return plain_form(g, r, a)


def rollout_by(layer, reverse=False, shifted=False, corners=False):
    def f(net, x, y):
        with torch.no_grad(), torch_methods.recorded() as seen:
            net.logits(x[None])
        product = torch.eye(seen[0].shape[-1], dtype=net.dtype)
        for a in seen:
            product = product @ layer(a[0]) if reverse else layer(a[0]) @ product
        row = torch_methods.classified_row(net, product)
        if shifted:                                     # columns at the end dropped in place of those of prefix tokens
            row = row.roll(torch_methods.prefix_of(net))
        if corners:
            grid = row[torch_methods.prefix_of(net):].reshape(1, 1, *torch_methods.grid_of(net, x))
            return F.interpolate(grid, size=tuple(x.shape[-2:]), mode="bilinear", align_corners=True)[0, 0]
        return enlarged(net, x, row)
    return f


def with_eye(a, weight=1.0):
    m = a.mean(0) + weight * torch.eye(a.shape[-1], dtype=a.dtype)
    return m / m.sum(-1, keepdim=True)


def legrad_by(form, whole=False):
    """`form`: slope (heads, rows, columns) -> one number per token; whole: the score of the whole network for every layer."""
    def f(net, x, y):
        total = 0
        for last in range(net.depth):
            shorter = torch_methods.copy.copy(net)
            shorter.depth = net.depth if whole else last + 1
            attention, score = torch_methods.attention_and_score(shorter, x, y)
            total = total + form(torch.autograd.grad(score, attention[last])[0][0])
        m = enlarged(net, x, total)
        return (m - m.min()) / (m.max() - m.min())
    return f


def noise_by(purpose=5, last=False, spread=None, seed=SEED):
    def f(net, x, y):
        total, s = 0, 0.2 * (float(x.max() - x.min()) if spread is None else spread(x))
        for k in range(50):
            n = torch.from_numpy(normals(x.numel(), seed, 0, k, purpose)).to(net.dtype)
            n = n.reshape(x.shape[1:] + x.shape[:1]).permute(2, 0, 1) if last else n.reshape(x.shape)
            total = total + net.gradient((x + s * n)[None], [y])[0] / 50
        return total.sum(0)
    return f


def full(nodes, weights):
    """Integrated gradients with these nodes and weights."""
    return lambda net, x, y: sum(w * x * net.gradient(a * x[None], [y])[0] for a, w in zip(nodes, weights)).sum(0)


def damped_by(*factors):
    def f(net, x, y):
        Damped.factors, kept = factors, Damped.factors
        try:
            return attnlrp_gradient(net, x, y)
        finally:
            Damped.factors = kept
    return f


def folded_scale(net):
    """The network with LayerScale multiplied into proj and fc2."""
    twin = torch_methods.copy.copy(net)
    twin.w = {k: v for k, v in net.w.items() if ".ls" not in k}
    for i in range(net.depth):
        for scale, layer in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
            gamma = net.w.get(f"blocks.{i}.{scale}.gamma", torch.ones_like(net.w[f"blocks.{i}.{layer}.bias"]))
            for kind, factor in (("weight", gamma[:, None]), ("bias", gamma)):
                twin.w[f"blocks.{i}.{layer}.{kind}"] = net.w[f"blocks.{i}.{layer}.{kind}"] * factor
    return twin


FIFTY, SEVEN = np.polynomial.legendre.leggauss(50), np.polynomial.legendre.leggauss(7)
# entry of a golden, network, what is wrong, the wrong map
WRONG = [
    ("integrated_gradients", "vit", "nodes not moved to [0, 1]", full(FIFTY[0], FIFTY[1] / 2)),
    ("ig_gauss_7", "vit", "weights not halved", full((1 + SEVEN[0]) / 2, SEVEN[1])),
    ("ig_gauss_7", "vit", "eight nodes", full(*quadrature(8, "gauss"))),
    ("ig_trapezoid", "vit", "ends not halved", full(np.linspace(0, 1, 50), np.full(50, 1 / 49))),
    ("ig_trapezoid", "vit", "captum's weights", full(np.linspace(0, 1, 50), np.array([.01] + [.02] * 48 + [.01]))),
    ("ig_trapezoid_5", "vit", "steps are intervals", full(*quadrature(6, "trapezoid"))),
    ("smoothgrad", "vit", "another purpose", noise_by(1)),
    ("smoothgrad", "vit", "half of the seed", noise_by(seed=SEED & 0xFFFFFFFF)),
    ("smoothgrad", "vit", "pixels before channels", noise_by(last=True)),
    ("smoothgrad", "deit3", "spread of the first channel", noise_by(spread=lambda x: float(x[0].max() - x[0].min()))),
    ("smoothgrad", "vit", "sigma not times the spread", noise_by(spread=lambda x: 1.0)),
    ("attention_rollout", "deit3", "no identity", rollout_by(lambda a: a.mean(0))),
    ("attention_rollout", "deit3", "rows not divided", rollout_by(lambda a: a.mean(0) + torch.eye(a.shape[-1], dtype=a.dtype))),
    ("attention_rollout", "deit3", "from the top down", rollout_by(with_eye, reverse=True)),
    ("attention_rollout", "deit3", "maximum over heads", rollout_by(lambda a: with_eye(a.max(0)[0][None]))),
    ("attention_rollout", "deit3", "corners aligned", rollout_by(with_eye, corners=True)),
    ("attention_rollout", "dinov2_reg", "columns", rollout_by(with_eye, shifted=True)),
    ("legrad", "vit", "without ReLU", legrad_by(lambda g: g.mean((0, 1)))),
    ("legrad", "vit_avg", "one row alone", legrad_by(lambda g: g.clamp(min=0)[:, 1].mean(0))),
    ("legrad", "vit", "mean of heads before ReLU", legrad_by(lambda g: g.mean(0).clamp(min=0).mean(0))),
    ("legrad", "vit", "score of the whole network", legrad_by(lambda g: g.clamp(min=0).mean((0, 1)), whole=True)),
    ("legrad", "vit", "last layer alone", lambda n, x, y: torch_methods.legrad(n, x, y, 1)),
    ("chefer_all", "vit", "linear layers by epsilon", chefer_by(EpsilonLinear)),
    ("chefer_all", "vit", "biases count", chefer_by(WithBias)),
    ("chefer_all", "vit", "norms by epsilon", chefer_by(EpsilonNorm)),
    ("chefer_all", "vit_qknorm", "sums by epsilon", chefer_by(PlainSum)),
    ("chefer_all", "vit", "products not halved", chefer_by(Whole)),
    ("chefer_all", "vit", "from layer 1", chefer_by(Chefer, 1)),
    ("chefer_all", "vit", "no gradient", chefer_changed(lambda g, r, a: r.clamp(min=0).mean(0))),
    ("chefer_all", "vit", "attention for relevance", chefer_changed(lambda g, r, a: (g * a).clamp(min=0).mean(0))),
    ("chefer_all", "vit", "ReLU after the mean", chefer_changed(lambda g, r, a: (g * r).mean(0).clamp(min=0))),
    ("chefer_all", "vit", "rows divided", chefer_changed(normalised_rows)),
    ("chefer_all", "deit3", "LayerScale in the weights", lambda n, x, y: torch_methods.chefer(folded_scale(n), x, y, 0)),
    ("attnlrp", "vit", "q and k by 1/2", damped_by(1 / 2, 1 / 2, 1 / 2)),
    ("attnlrp", "vit", "v not halved", damped_by(1 / 4, 1 / 4, 1)),
    ("attnlrp", "vit", "q and k constant", pixels_by(ConservativePropagation())),
    ("attnlrp", "vit", "products not halved", pixels_by(NotHalved())),
    ("attnlrp", "vit", "scores not scaled", pixels_by(ScaledScores())),
    ("attnlrp", "vit", "norms unchanged", pixels_by(NormIdentity())),
    ("attnlrp", "vit", "slope of GELU", pixels_by(Slope())),
    ("attnlrp_gamma", "vit", "positive weights", pixels_by(ByWeights())),
    ("attnlrp_gamma", "vit", "bias not boosted", pixels_by(PlainBias())),
    ("attnlrp_gamma", "vit", "head by epsilon", pixels_by(NoHead())),
    ("attnlrp_gamma", "vit", "one gamma", pixels_by(Gamma(0.05, 0.05))),
    ("attnlrp_gamma", "vit", "gammas exchanged", pixels_by(Gamma(0.25, 0.05))),
]


def check_wrong(report):
    for entry, name, title, wrong in WRONG:
        with h5py.File(os.path.join(GOLDENS, name + ".h5"), "r") as f:
            x, y, right = torch.as_tensor(f["x"][()]).double(), int(f.attrs["y"]), f["maps/" + entry][()]
        error = relative(wrong(make_method_goldens.network(name, torch.float64), x, y).detach(), right)
        report.check(f"{entry}: {title}", error, 10 * BAR, name, at_least=True)


def check_goldens(report):
    for name in make_method_goldens.NETWORKS:
        path = os.path.join(GOLDENS, name + ".h5")
        report.check(f"{name}: golden", max(make_method_goldens.verify(path).values()), 1e-10)
        report.check(f"{name}: golden, float32", max(make_method_goldens.verify(path, torch.float32).values()),
                     make_method_goldens.GOOD)
        with h5py.File(path, "r") as f:
            flat = min(float(m[()].max() - m[()].min()) / np.abs(m[()]).max() for m in f["maps"].values())
        report.check(f"{name}: golden, flattest map", flat, make_method_goldens.FLATTEST, at_least=True)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(3)
    report = Report()
    for part in (check_random, check_enlarged, check_quadrature):
        part(report)
    for name in make_method_goldens.NETWORKS:
        check_network(report, name, *network(name))
    for name in PLAIN:
        check_relevance(report, name, *network(name, 1))
    check_goldens(report)
    check_wrong(report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
