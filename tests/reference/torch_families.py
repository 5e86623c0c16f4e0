"""Every Vision Transformer that the program supports, in plain PyTorch, written to be checked against.

timm semantics and timm parameter names, but no timm: the weights are a dict of tensors, the forward pass is one
function that can be read from top to bottom, and all gradients come from autograd:

  vit = ViT(weights, heads=12)
  vit.logits(x)                       the class scores of x (B, 3, H, W)
  vit.gradient(x, y)                  the true derivative of logit y
  vit.effective_gradient(x, y)        the same backward pass with the operators that depend on the input held constant:
                                      the softmax matrices, the reciprocal deviation of every LayerNorm, the gates of
                                      the MLP
  vit.account(x, y)                   what each source adds to logit y in that frozen network; it sums to the logit

The frozen operators are `detach()`ed in the forward pass, so autograd itself does the freezing: nothing here is a
hand-written backward rule, which is what makes this a reference for programs that have such rules.

What the tensors decide (T = in `weights`)
  cls_token, dist_token, reg_token    the prefix tokens, in this order; each may be absent
  pos_embed                           one row per token, or per patch only (timm's no_embed_class); see `positions`
  norm_pre                            T: LayerNorm after the positions are added (CLIP)
  attn.q_norm, attn.k_norm            T: LayerNorm of queries and keys within each head; they only shape the softmax
                                      matrix and vanish from the frozen pass
  ls1.gamma, ls2.gamma                T: LayerScale
  mlp.fc1_g, mlp.fc1_x                T: SwiGLU, gate and value apart
  mlp.fc1 with twice fc2's inputs     SwiGLU, packed: the gate is the first half of the rows
  norm, fc_norm                       T: LayerNorm of all tokens before pooling, of the pooled vector after it
  head_dist                           T: distilled DeiT: mean of head(token 0) and head_dist(token 1)
  any bias                            absent means none: patch_embed (CLIP), qkv, proj, fc1, fc2
What only the configuration can say (arguments)
  heads, eps
  pool      "token": the first token; "avg": the mean of the patch tokens (never of prefix tokens);
            "both": those two concatenated; "interleaved": the same, element by element (t0 a0 t1 a1 ..), which is
            what DINO's own linear evaluation of the ViT-B feeds to its head
  act       "gelu" (erf) or "quick_gelu": z * sigmoid(1.702 z). SwiGLU always uses silu
  grid      rows and columns of the grid that pos_embed was made for; default: that of x if the table fits it, else
            a square
  antialias of the resampling of pos_embed: True in timm, False in some of transformers

The gates of the MLP
  GELU        y = z * gate, gate = Phi(z), and 1 at z == 0 exactly (as published: gelu(z)/z there; the value is 0)
  quick_gelu  y = z * gate, gate = sigmoid(1.702 z)
  SwiGLU      y = gate * value, gate = silu(g): the factor that depends on the input in a nonlinear way. The other
              choice, to freeze sigmoid(g) alone, leaves a product of two linear functions, which is not linear, so the
              frozen network would no longer account for the logit.

An external linear head (`head:` in the program's configuration) is no special case: its tensors become head.weight and
head.bias, and `pool` says what it is fed.
"""
import math
import re

import numpy as np
import torch
import torch.nn.functional as F

KNOWN = re.compile(r"""(cls_token|dist_token|reg_token|pos_embed
    |(patch_embed\.proj|norm_pre|norm|fc_norm|head|head_dist)\.(weight|bias)
    |blocks\.\d+\.(norm[12]|attn\.(qkv|proj|q_norm|k_norm)|mlp\.(fc1|fc1_g|fc1_x|fc2))\.(weight|bias)
    |blocks\.\d+\.ls[12]\.gamma)$""", re.X)
# What is added somewhere, as opposed to what multiplies: only these can carry a part of the logit.
ADDED = re.compile(r"(cls_token|dist_token|reg_token|pos_embed|.*\.bias)$")
PREFIX = ("cls_token", "dist_token", "reg_token")


# ------------------------------------------------------------------- positions
def cubic(t, a):
    """Keys' cubic convolution kernel with parameter a, at |t|."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def resampling_matrix(old, new, antialias=True):
    """(new, old) float64: bicubic resampling of a line of `old` samples to `new`, pixel centres at half integers.

    antialias: a = -0.5, the kernel is stretched when shrinking, weights outside are dropped and the rest normalised
    (as Pillow does). Without: a = -0.75, four taps, weights outside go to the edge sample. So the two differ
    when growing, too."""
    scale = old / new
    m = np.zeros((new, old))
    for i in range(new):
        centre = scale * (i + 0.5)
        if antialias:
            stretch = max(scale, 1.0)
            first = max(int(centre - 2 * stretch + 0.5), 0)
            last = min(int(centre + 2 * stretch + 0.5), old)
            taps = np.arange(first, last)
            weights = cubic((taps + 0.5 - centre) / stretch, -0.5)
            m[i, first:last] = weights / weights.sum()
        else:
            base = math.floor(centre - 0.5)
            for tap in range(base - 1, base + 3):
                m[i, min(max(tap, 0), old - 1)] += float(cubic(np.float64(tap + 0.5 - centre), -0.75))
    return m


def positions(table, prefix, grid, table_grid=None, antialias=True):
    """The rows of pos_embed (1, rows, D) for a grid (rows, columns) of patches: always from the original table.

    `prefix` rows in front are not resampled. table_grid: the grid that the table was made for; default: square."""
    count = table.shape[1] - prefix
    side = math.isqrt(count)
    old = tuple(table_grid) if table_grid else (side, side)
    assert old[0] * old[1] == count, f"pos_embed: {count} patch rows are not a grid of {old[0]} x {old[1]}"
    if old == tuple(grid):
        return table
    down, across = (torch.as_tensor(resampling_matrix(o, n, antialias)).to(table.dtype) for o, n in zip(old, grid))
    patches = table[0, prefix:].reshape(old[0], old[1], -1)
    patches = torch.einsum("ij,kl,jld->ikd", down, across, patches)
    return torch.cat([table[:, :prefix], patches.reshape(1, grid[0] * grid[1], -1)], 1)


# --------------------------------------------------------------------- network
class ViT:
    """weights: dict of timm names to tensors or arrays. x is (B, 3, H, W) everywhere."""

    def __init__(self, weights, heads, eps=1e-6, pool="token", dtype=torch.float32, act="gelu", grid=None,
                 antialias=True):
        self.w = {k: torch.as_tensor(np.asarray(v)).to(dtype) for k, v in weights.items()}
        self.heads, self.eps, self.pool, self.dtype, self.act = heads, eps, pool, dtype, act
        self.grid, self.antialias = grid, antialias
        self.patch = tuple(self.w["patch_embed.proj.weight"].shape[-2:])
        self.depth = 1 + max(int(k.split(".")[1]) for k in self.w if k.startswith("blocks."))
        self.prefix = sum(self.w[k].shape[1] for k in PREFIX if k in self.w)
        assert pool in ("token", "avg", "both", "interleaved"), "pool: " + pool
        assert act in ("gelu", "quick_gelu"), "act: " + act
        for name in self.w:                             # what is not implemented must not be skipped silently
            assert KNOWN.match(name), name + " is not supported by this reference"

    # ------------------------------------------------------------------ layers
    def _linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def _norm(self, x, name, frozen):
        if name + ".weight" not in self.w:              # timm puts an identity there
            return x
        centred = x - x.mean(-1, keepdim=True)          # the centring is linear: it stays in both gradients
        rstd = 1 / torch.sqrt((centred * centred).mean(-1, keepdim=True) + self.eps)
        if frozen:
            rstd = rstd.detach()
        return centred * rstd * self.w[name + ".weight"] + self.w[name + ".bias"]

    def _gelu(self, z, frozen):
        gate = 0.5 * (1 + torch.erf(z / math.sqrt(2))) if self.act == "gelu" else torch.sigmoid(1.702 * z)
        if not frozen:
            return z * gate
        if self.act == "gelu":
            # The gate is gelu(z)/z = phi(z); at z == 0 exactly the published code takes 1. The value is 0 either way.
            gate = torch.where(z == 0, torch.ones_like(gate), gate)
        return z * gate.detach()

    def _mlp(self, u, block, frozen):
        name = block + "mlp.fc1"
        if name + "_g.weight" in self.w:
            gate, value = self._linear(u, name + "_g"), self._linear(u, name + "_x")
        elif self.w[name + ".weight"].shape[0] == 2 * self.w[block + "mlp.fc2.weight"].shape[1]:
            gate, value = self._linear(u, name).chunk(2, -1)
        else:
            return self._linear(self._gelu(self._linear(u, name), frozen), block + "mlp.fc2")
        gate = gate * torch.sigmoid(gate)
        return self._linear((gate.detach() if frozen else gate) * value, block + "mlp.fc2")

    def _attention(self, u, block, frozen):
        b, n, _ = u.shape
        qkv = self._linear(u, block + "attn.qkv")
        hd = qkv.shape[-1] // 3 // self.heads
        q, k, v = qkv.reshape(b, n, 3, self.heads, hd).permute(2, 0, 3, 1, 4)
        q, k = self._norm(q, block + "attn.q_norm", frozen), self._norm(k, block + "attn.k_norm", frozen)
        attn = torch.softmax(q @ k.transpose(-2, -1) * hd ** -0.5, dim=-1)
        if frozen:
            attn = attn.detach()
        return self._linear((attn @ v).transpose(1, 2).reshape(b, n, -1), block + "attn.proj")

    def _embed(self, x, frozen):
        t = F.conv2d(x.to(self.dtype), self.w["patch_embed.proj.weight"], self.w.get("patch_embed.proj.bias"),
                     stride=self.patch)
        grid = tuple(t.shape[-2:])
        t = t.flatten(2).transpose(1, 2)                # patches in row-major order
        tokens = [self.w[k].expand(t.shape[0], -1, -1) for k in PREFIX if k in self.w]
        rows, made_for = self._table(grid)
        pos = positions(self.w["pos_embed"], rows, grid, made_for, self.antialias)
        # Rows for patches only: added before the prefix tokens come in front. Else there is a row for every token.
        t = torch.cat(tokens + [t], 1) + pos if rows else torch.cat(tokens + [t + pos], 1)
        return self._norm(t, "norm_pre", frozen)

    def _table(self, grid):
        """(rows of pos_embed for prefix tokens, grid that the others were made for), for an input of that grid."""
        rows, patches = self.w["pos_embed"].shape[1], grid[0] * grid[1]
        made_for = self.grid or (grid if rows in (patches, patches + self.prefix) else None)
        if made_for is None:
            # A square, with or without the prefix rows. Both at once needs a grid smaller than 8 x 8 for 16 prefix tokens.
            bare = math.isqrt(rows) ** 2 == rows
            made_for = (math.isqrt(rows if bare else rows - self.prefix),) * 2
        extra = rows - made_for[0] * made_for[1]
        assert extra in (0, self.prefix), f"pos_embed: {rows} rows do not fit a grid of {made_for[0]} x {made_for[1]}"
        return extra, made_for

    def _features(self, t, frozen):
        t = self._norm(t, "norm", frozen)
        first, mean = t[:, 0], t[:, self.prefix:].mean(1)
        pooled = {"token": lambda: first, "avg": lambda: mean, "both": lambda: torch.cat([first, mean], 1),
                  "interleaved": lambda: torch.stack([first, mean], 2).flatten(1)}[self.pool]()
        return self._norm(pooled, "fc_norm", frozen), t

    def logits(self, x, frozen=False):
        """The class scores. `frozen` changes no value, only what autograd may differentiate through."""
        t = self._embed(x, frozen)
        for i in range(self.depth):
            block = f"blocks.{i}."
            branch = self._attention(self._norm(t, block + "norm1", frozen), block, frozen)
            t = t + branch * self.w.get(block + "ls1.gamma", 1)
            branch = self._mlp(self._norm(t, block + "norm2", frozen), block, frozen)
            t = t + branch * self.w.get(block + "ls2.gamma", 1)
        features, t = self._features(t, frozen)
        scores = self._linear(features, "head")
        return (scores + self._linear(t[:, 1], "head_dist")) / 2 if "head_dist.weight" in self.w else scores

    # --------------------------------------------------------------- gradients
    def _gradient(self, x, y, frozen):
        x = x.to(self.dtype).detach().requires_grad_(True)
        # One sum over the batch: images do not interact, so each gets the gradient of its own logit.
        return torch.autograd.grad(pick(self.logits(x, frozen), y).sum(), x)[0]

    def gradient(self, x, y):
        return self._gradient(x, y, False)

    def effective_gradient(self, x, y):
        return self._gradient(x, y, True)

    def account(self, x, y):
        """dict of source -> (B) its share of logit y in the frozen network: "pixels", and every tensor that is added."""
        rows = []
        sources = {k: v for k, v in self.w.items() if ADDED.match(k)}
        for image, target in zip(x, torch.as_tensor(np.asarray(y)).tolist()):
            leaves = {k: v.detach().clone().requires_grad_(True) for k, v in sources.items()}
            pixels = image[None].to(self.dtype).detach().requires_grad_(True)
            saved, self.w = self.w, {**self.w, **leaves}
            try:
                score = self.logits(pixels, frozen=True)[0, target]
            finally:
                self.w = saved
            inputs = [pixels] + list(leaves.values())
            grads = torch.autograd.grad(score, inputs, allow_unused=True)
            rows.append([float((v * g).sum()) if g is not None else 0.0 for v, g in zip(inputs, grads)])
        return {name: torch.tensor(column, dtype=torch.float64)
                for name, column in zip(["pixels"] + list(sources), zip(*rows))}


def pick(scores, y):
    y = torch.as_tensor(np.asarray(y), dtype=torch.long)
    return scores[torch.arange(len(y)), y]
