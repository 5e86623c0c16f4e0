"""Relevance propagation through a ViT, rule by rule: what `chefer` and `attnlrp` are made of.

Relevances R are propagated explicitly: the forward pass records every operation (`Tape`), the backward pass asks a book of
rules (`Epsilon`, `Gamma`, `Chefer`) how the relevance of an output is shared among the inputs. Nothing is differentiated, so
this is independent of implementations that work with gradients (those of torch_methods.py and of the program).

  tape = Tape(vit, x)                   one image x (C, H, W); tape.scores are the logits
  tape.propagate(rules, R)              R: relevance of the logits; afterwards tape.relevance(t) for any recorded tensor:
                                        tape.pixels, tape.attention[l] (heads, tokens, tokens)
  tape.lost                             kind of operation -> relevance that it took in and did not hand on

A tensor that is used twice gets the sum of both relevances. Where a tensor is only moved (split into heads, transposed, one
row picked, tokens put beside each other) the relevance moves with it; what falls on constants (class token, registers) is
dropped. Division: R / 0 is 0; nothing else is added to denominators (epsilon is the limit 0).

Operations: what is recorded, in which order
  linear      z = W x + b. The patch embedding is one on the pixels of each patch ("patch"); qkv, proj, fc1, fc2 ("block"); the
              head ("head"). qkv is one layer of 3 d outputs. Distilled DeiT: one layer on the two tokens beside each other,
              z = (W0 x0 + W1 x1 + b0 + b1) / 2
  plus        z = x + constant: the positions, of the patches
  add         z = a + b: residual sum; b is the branch after LayerScale
  norm        y = w rstd (x - mean x) + b: all LayerNorms, those of queries and keys (per head), norm_pre and fc_norm too
  gate        y = gelu(x) or quick_gelu(x)
  factor      y = c x: LayerScale (any sign), the 1/sqrt(d) of attention
  softmax     s = softmax(x), x being the scaled scores
  matmul      o = a b: scores q k^T, and A v
  mean        of the patch tokens, prefix tokens left out; after norm, before fc_norm. A head that takes class token and mean
              is one linear layer on both beside each other
"""
import math

import torch

from torch_families import PREFIX, positions


def divided(a, b):
    """a / b, and 0 where b is 0."""
    return torch.where(b == 0, torch.zeros_like(a), a / torch.where(b == 0, torch.ones_like(b), b))


# ------------------------------------------------------------------------ rules
class Epsilon:
    """AttnLRP (Achtibat et al. 2024), epsilon to 0.

      linear, plus, add, mean: in proportion to the contributions to z; bias and positions take their share
      norm: rstd is a constant, so a linear map of x: in proportion to the contributions, the bias takes its share
      gate, factor: unchanged        softmax: R_x = x (R_s - s sum R_s)
      matmul: each factor gets half of what it would get if the other were constant

    Every R is then its tensor times a cotangent g, and in g the rules read: linear maps as in the gradient; rstd constant; g_x =
    g_y gate(x), gate = Phi(x) or sigmoid(1.702 x); g_A = (g_o v^T) / 2, g_v = (A^T g_o) / 2; scores: s (g_A - sum s g_A) as in
    the gradient; g_q = c (g_s k) / 2, g_k = c (g_s^T q) / 2. So, per layer, against the true gradient with constant rstd and
    gates: g_v by 1/2, g_q and g_k by 1/4 (1/2 at each product on the way). The halves hold per layer: they come again below.
    """

    def linear(self, op, r):
        x, = op.inputs
        return [x * (divided(r, op.output) @ op.weight)]

    def plus(self, op, r):
        return [op.inputs[0] * divided(r, op.output)]

    def add(self, op, r):
        return [t * divided(r, op.output) for t in op.inputs]

    def norm(self, op, r):
        x, = op.inputs
        g = divided(r, op.output) * op.weight
        return [x * op.rstd * (g - g.mean(-1, keepdim=True))]

    def gate(self, op, r):
        return [r]

    factor = gate

    def softmax(self, op, r):
        x, = op.inputs
        return [x * (r - op.output * r.sum(-1, keepdim=True))]

    def matmul(self, op, r):
        a, b = op.inputs
        s = divided(r, op.output) / 2
        return [a * (s @ b.transpose(-2, -1)), b * (a.transpose(-2, -1) @ s)]

    def mean(self, op, r):
        x, = op.inputs
        return [x * divided(r, op.output) / len(x)]


class Gamma(Epsilon):
    """The same with the generalised gamma rule (Andeol et al. 2021; zennit.rules.Gamma) on every linear layer.

    Contributions to z_j: c_ji = w_ji x_i for the inputs, b_j for the bias (an input that is always 1). Of an output z_j > 0
    the positive contributions count 1 + gamma times, of z_j < 0 the negative ones; then in proportion:
      R_i = sum_j c'_ji R_j / d_j,   d_j = sum_i c'_ji + b'_j = z_j + gamma * (sum of the contributions of z_j's sign, b_j among them)
    z_j = 0 hands nothing on. d_j has the sign of z_j and is at least (1 + gamma) |z_j|: no epsilon is needed (zennit adds 1e-6).
    - gamma_patch for the patch embedding (z is the convolution with its bias, before the positions), gamma_linear for qkv
      (also the rows of q and k), proj, fc1, fc2 and the head
    - z_j is the layer's own output: before the residual; before or after LayerScale is the same
    - the mean of the patch tokens, sums, positions, norms are no such layers: epsilon
    - R starts with the logit of the target on the target, 0 elsewhere, so only that row of the head matters
    In cotangents: S_j = g_j z_j / d_j; g_i = sum_j S_j (w_ji + gamma w_ji [w_ji x_i has the sign of z_j]); the sign of x_i decides,
    x_i = 0 has R = 0 either way. As zennit does it: two products per sign of z, with W+ and W-, and a choice by the sign of x.
    gamma = 0 is Epsilon.
    """

    def __init__(self, gamma_linear=0.05, gamma_patch=0.25):
        self.gamma = {"patch": gamma_patch, "block": gamma_linear, "head": gamma_linear}

    def linear(self, op, r):
        x, = op.inputs
        gamma, z, total = self.gamma[op.where], op.output, torch.zeros_like(x)
        bias = op.bias if op.bias is not None else torch.zeros_like(z)
        up, down, plus, minus = x.clamp(min=0), x.clamp(max=0), op.weight.clamp(min=0), op.weight.clamp(max=0)
        for chosen, same, other, b in ((z > 0, plus, minus, bias.clamp(min=0)), (z < 0, minus, plus, bias.clamp(max=0))):
            d = z + gamma * (up @ same.T + down @ other.T + b)
            s = divided(torch.where(chosen, r, torch.zeros_like(r)), d)
            total = total + up * (s @ (op.weight + gamma * same)) + down * (s @ (op.weight + gamma * other))
        return [total]


class Chefer:
    """The LRP of Chefer et al. 2021, alpha = 1, as methods.md writes it down.

      linear: the positive contributions alone, biases ignored    norm, gate, softmax, factor: unchanged
      (so a negative LayerScale must not be multiplied into proj or fc2: it would turn their signs)
      matmul: each factor half of a (R/o) b^T, b (a^T R/o)
      add: a R/(a+b), b R/(a+b), each scaled so that its sum is |its sum| / (|one sum| + |the other|) of sum R; sums run over
           all tokens and units, prefix tokens included. The two are taken for what they sum to even where that is negative,
           as published: the factor then turns all signs of that part.
      mean: x_i / sum x, element by element
    """
    gate = factor = softmax = norm = Epsilon.gate
    matmul, plus, mean = Epsilon.matmul, Epsilon.plus, Epsilon.mean

    def linear(self, op, r):
        x, = op.inputs
        up, down, plus, minus = x.clamp(min=0), x.clamp(max=0), op.weight.clamp(min=0), op.weight.clamp(max=0)
        s = divided(r, up @ plus.T + down @ minus.T)
        return [up * (s @ plus) + down * (s @ minus)]

    def add(self, op, r):
        parts = [t * divided(r, op.output) for t in op.inputs]
        sums = [p.sum() for p in parts]
        whole = sums[0].abs() + sums[1].abs()
        return [p * divided(divided(s.abs(), whole) * r.sum(), s) for p, s in zip(parts, sums)]


# --------------------------------------------------------------------- recording
class Op:
    def __init__(self, kind, inputs, output, **more):
        self.kind, self.inputs, self.output = kind, inputs, output
        self.__dict__.update(more)


class Tape:
    def __init__(self, vit, x):
        self.vit, self.ops, self.attention, self.lost, self._r = vit, [], [], {}, {}
        assert not any(".fc1_g." in k for k in vit.w), "SwiGLU has no rule here"
        assert vit.w["blocks.0.mlp.fc1.weight"].shape[0] == vit.w["blocks.0.mlp.fc2.weight"].shape[1], "SwiGLU has no rule here"
        self.pixels = x.to(vit.dtype)
        t = self.embed(self.pixels)
        for i in range(vit.depth):
            block = f"blocks.{i}."
            t = self.branch(t, self.attend(self.norm(t, block + "norm1"), block), block + "ls1.gamma")
            t = self.branch(t, self.mlp(self.norm(t, block + "norm2"), block), block + "ls2.gamma")
        self.scores = self.classify(t)

    # ------------------------------------------------------------- operations
    def record(self, kind, inputs, output, **more):
        self.ops.append(Op(kind, inputs, output, **more))
        return output

    def move(self, f, *inputs):
        """f only moves entries: the adjoint of f moves the relevance back."""
        return self.record("move", inputs, f(*inputs).clone(), f=f)

    def linear(self, x, name, where="block"):
        return self.linear_by(x, self.vit.w[name + ".weight"], self.vit.w.get(name + ".bias"), where)

    def linear_by(self, x, weight, bias, where):
        z = x @ weight.T if bias is None else x @ weight.T + bias
        return self.record("linear", [x], z, weight=weight, bias=bias, where=where)

    def norm(self, x, name):
        w = self.vit.w
        if name + ".weight" not in w:
            return x
        centred = x - x.mean(-1, keepdim=True)
        rstd = (centred.square().mean(-1, keepdim=True) + self.vit.eps).rsqrt()
        y = centred * rstd * w[name + ".weight"] + w[name + ".bias"]
        return self.record("norm", [x], y, weight=w[name + ".weight"], rstd=rstd)

    def factor(self, x, c):
        return self.record("factor", [x], x * c)

    def matmul(self, a, b):
        return self.record("matmul", [a, b], a @ b)

    # ---------------------------------------------------------------- network
    def embed(self, x):
        w, (p, q) = self.vit.w, self.vit.patch
        grid = (x.shape[-2] // p, x.shape[-1] // q)
        patches = self.move(lambda t: t.reshape(len(t), grid[0], p, grid[1], q).permute(1, 3, 0, 2, 4)
                            .reshape(grid[0] * grid[1], -1), x)
        t = self.linear_by(patches, w["patch_embed.proj.weight"].flatten(1), w.get("patch_embed.proj.bias"), "patch")
        rows, made_for = self.vit._table(grid)
        pos = positions(w["pos_embed"], rows, grid, made_for, self.vit.antialias)[0]
        prefix = [w[k][0] for k in PREFIX if k in w]
        if not rows:
            t = self.record("plus", [t], t + pos)
        if prefix:
            t = self.move(lambda a: torch.cat(prefix + [a]), t)
        if rows:
            t = self.record("plus", [t], t + pos)
        return self.norm(t, "norm_pre")

    def attend(self, u, block):
        heads = self.vit.heads
        qkv = self.linear(u, block + "attn.qkv")
        n, hd = len(u), qkv.shape[-1] // 3 // heads
        q, k, v = (self.move(lambda a, i=i: a.reshape(n, 3, heads, hd)[:, i].transpose(0, 1), qkv) for i in range(3))
        q, k = self.norm(q, block + "attn.q_norm"), self.norm(k, block + "attn.k_norm")
        scores = self.factor(self.matmul(q, self.move(lambda a: a.transpose(1, 2), k)), hd ** -0.5)
        a = self.record("softmax", [scores], torch.softmax(scores, -1))
        self.attention.append(a)
        joined = self.move(lambda o: o.transpose(0, 1).reshape(n, -1), self.matmul(a, v))
        return self.linear(joined, block + "attn.proj")

    def mlp(self, u, block):
        z = self.linear(u, block + "mlp.fc1")
        gate = 0.5 * (1 + torch.erf(z / math.sqrt(2))) if self.vit.act == "gelu" else torch.sigmoid(1.702 * z)
        return self.linear(self.record("gate", [z], z * gate), block + "mlp.fc2")

    def branch(self, t, b, gamma):
        if gamma in self.vit.w:
            b = self.factor(b, self.vit.w[gamma])
        return self.record("add", [t, b], t + b)

    def classify(self, t):
        w, pool, prefix = self.vit.w, self.vit.pool, self.vit.prefix
        t = self.norm(t, "norm")
        if "head_dist.weight" in w:
            pair = self.norm(self.move(lambda a: a[:2], t), "fc_norm")
            both = self.move(lambda a: a.reshape(-1), pair)
            weight = torch.cat([w["head.weight"], w["head_dist.weight"]], 1) / 2
            return self.linear_by(both, weight, (w["head.bias"] + w["head_dist.bias"]) / 2, "head")
        if pool != "token":
            patches = self.move(lambda a: a[prefix:], t)
            pooled = self.record("mean", [patches], patches.mean(0))
        if pool != "avg":
            first = self.move(lambda a: a[0], t)
            pooled = first if pool == "token" else self.move(
                lambda a, b: torch.cat([a, b]) if pool == "both" else torch.stack([a, b], 1).flatten(), first, pooled)
        return self.linear(self.norm(pooled, "fc_norm"), "head", "head")

    # ------------------------------------------------------------ propagation
    def relevance(self, t):
        return self._r.get(id(t), torch.zeros_like(t))

    def propagate(self, rules, r):
        self._r, self.lost = {id(self.scores): r}, {}
        for op in reversed(self.ops):
            r = self.relevance(op.output)
            if op.kind == "move":
                leaves = [t.detach().requires_grad_(True) for t in op.inputs]
                shares = torch.autograd.grad(op.f(*leaves), leaves, r)
            else:
                shares = getattr(rules, op.kind)(op, r)
            for t, share in zip(op.inputs, shares):
                self._r[id(t)] = self.relevance(t) + share
            lost = float(r.sum() - sum(s.sum() for s in shares))
            self.lost[op.kind] = self.lost.get(op.kind, 0.0) + lost
        return self.relevance(self.pixels)
