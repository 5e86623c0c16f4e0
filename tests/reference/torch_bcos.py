"""The B-cos ViT of B-cos v2 in plain PyTorch: plain patches (simple_vit_*) and convolutional stem (vitc_*).

Written from the definition; the definition was read in the public repository B-cos/B-cos-v2 (paths below), not copied.
No published checkpoint was at hand: the tensor names follow from the module tree there, which is loaded strictly.

  net = BcosViT(weights, heads=6)
  net.logits(x)                   x (B, 6, H, W): see `add_inverse`
  net.gradient(x, y)              true derivative of logit y
  net.effective_gradient(x, y)    row y of the dynamic linear map W(x): the repository's "explanation mode"
  net.account(x, y)               pixels and positions; they sum to the logit minus its fixed bias

What each module does (eps and constants included), and the file below bcos/ that says so
  input               [r, g, b, 1-r, 1-g, 1-b], r in [0, 1]; no mean or deviation is taken off. Evaluation:
                      Resize(256, bilinear), CenterCrop(224)            data/presets.py, data/transforms.py
  BcosLinear          o = w^ . u, w^ = row of the weight / its norm (no eps); n = |u| + 1e-12; result |o| / n * o for
                      B = 2, else (|o / n| + 1e-6)^(B-1) * o. No bias. Explanation mode: the factor in front of the
                      last o is constant                                modules/bcoslinear.py
  BcosConv2d          the same with w^ normalised over (C_in, kh, kw) and n = sqrt(sum of squares of the patch + 1e-6),
                      zero padding counting as 0                        modules/bcosconv2d.py
  norm of tokens      LayerNorm: centred, biased variance, eps 1e-5, weight, no bias. Explanation mode: the deviation
                      is constant, the centring stays                   modules/norms/centered_norms.py, norms/utils.py
                      (NoBias of DetachableLayerNorm)
  norm of the stem    the same over (C, H, W) of an image together, weight per channel, no bias (NoBias of
                      DetachableGNLayerNorm2d, a GroupNorm of one group)
  attention           to_qkv is an ordinary linear layer without bias: not B-cos, not normalised. Rows: all of q, then
                      k, then v; heads consecutive inside. Scale head_dim^-0.5, softmax; explanation mode: q and k are
                      constant, hence the matrix. to_out is BcosLinear  models/vit.py
  MLP                 norm, linear1 (BcosLinear), identity, linear2 (BcosLinear): nothing gates but the cosines
  residuals           x + attn(norm(x)), x + ff(norm(x))
  stem, plain         every patch flattened as (row, column, channel), channel fastest, then BcosLinear
  stem, conv          (BcosConv2d 3x3 padding 1, norm, identity) for each entry of conv_stem; stride 2 where the number
                      of channels grows, else 1; then the plain stem with patch size 1
  positions           sin-cos of the patch's column and row, added after the stem, no tensor:
                      omega_i = 10000^(-i / (D/4 - 1)), i = 0 .. D/4-1; [sin(c w), cos(c w), sin(r w), cos(r w)],
                      c = column, r = row counted from 0. Any grid has them: nothing is resampled
  head                mean over all tokens FIRST, then norm, then BcosLinear; there is no class token
  logit               + bias log(1 / (classes - 1)), the same for every class; temperature 1. It is a constant of the
                      configuration, not a tensor                       modules/logitlayer.py
  constants           B = 2, max_out = 1, bias log(1/999), nn.Identity for the activation, 6 channels, in every
                      published ViT                                     experiments/ImageNet/vit_final

The law: W(x) x = logit - bias - (what the positions carry). The positions are added, so W(x) applied to the pixels alone
does not give the logit; with the positions and their frozen gradient it does.

Tensor names ("0." because the network is the first of a sequence, the second being the logit layer, without tensors)
  0.to_patch_embedding.linear.linear.weight                    (D, p*p*6) or (D, last of conv_stem)
  0.to_patch_embedding.conv_stem.{3i}.linear.weight            (C_i, C_{i-1}, 3, 3); {3i+1}.weight (C_i): its norm
  0.transformer.encoder_{l}.attn.norm.weight                   (D)
  0.transformer.encoder_{l}.attn.to_qkv.weight                 (3 D, D)
  0.transformer.encoder_{l}.attn.to_out.linear.weight          (D, D)
  0.transformer.encoder_{l}.ff.net.norm.weight                 (D)
  0.transformer.encoder_{l}.ff.net.linear1.linear.weight       (hidden, D);  linear2.linear.weight (D, hidden)
  0.linear_head.norm.weight (D);  0.linear_head.linear.linear.weight (classes, D)
The same family without B-cos (baselines: no "0.", biases, GELU, 3 channels) is another network and not covered.
"""
import math
import re

import numpy as np
import torch
import torch.nn.functional as F

from torch_families import pick

KNOWN = re.compile(r"""0\.(to_patch_embedding\.(linear\.linear|conv_stem\.\d+(\.linear)?)
    |transformer\.encoder_\d+\.(attn\.(norm|to_qkv|to_out\.linear)|ff\.net\.(norm|linear[12]\.linear))
    |linear_head\.(norm|linear\.linear))\.weight$""", re.X)


def add_inverse(pixels):
    """(B, 3, H, W) in [0, 1] -> the six channels of the network's input."""
    return torch.cat([pixels, 1 - pixels], -3)


def sincos(rows, columns, width, dtype):
    """(rows * columns, width) positions, row-major."""
    omega = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4 - 1))
    r, c = torch.meshgrid(torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64),
                          indexing="ij")
    r, c = r.reshape(-1, 1) * omega, c.reshape(-1, 1) * omega
    return torch.cat([c.sin(), c.cos(), r.sin(), r.cos()], 1).to(dtype)


class BcosViT:
    """weights: dict of the published names to tensors or arrays."""

    def __init__(self, weights, heads, dtype=torch.float32, b=2, eps=1e-5, bias=None):
        self.w = {k: torch.as_tensor(np.asarray(v)).to(dtype) for k, v in weights.items()}
        self.heads, self.dtype, self.b, self.eps = heads, dtype, b, eps
        for name in self.w:
            assert KNOWN.match(name), name + " is not supported by this reference"
        self.depth = 1 + max(int(k.split("_")[1].split(".")[0]) for k in self.w if k.startswith("0.transformer."))
        stem = [int(k.split(".")[3]) for k in self.w if ".conv_stem." in k]
        self.convolutions = list(range(0, max(stem), 3)) if stem else []
        inputs = self.w["0.to_patch_embedding.linear.linear.weight"].shape[1]
        self.patch = 1 if stem else math.isqrt(inputs // 6)
        classes = len(self.w["0.linear_head.linear.linear.weight"])
        self.bias = math.log(1 / (classes - 1)) if bias is None else bias

    # ------------------------------------------------------------------ layers
    def _cosine(self, o, n, frozen):
        """|cos|^(B-1) * o from the product o with the unit row and the norm n of the input."""
        factor = o.abs() / n if self.b == 2 else ((o / n).abs() + 1e-6) ** (self.b - 1)
        return (factor.detach() if frozen else factor) * o

    def _bcos(self, u, name, frozen):
        w = self.w[name + ".linear.weight"]
        o = F.linear(u, w / w.norm(dim=1, keepdim=True))
        return self._cosine(o, u.norm(dim=-1, keepdim=True) + 1e-12, frozen)

    def _convolve(self, u, name, frozen):
        w = self.w[name + ".linear.weight"]
        stride = 2 if w.shape[0] > w.shape[1] else 1
        o = F.conv2d(u, w / w.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1), stride=stride, padding=1)
        squares = F.conv2d((u * u).sum(1, keepdim=True), torch.ones(1, 1, 3, 3, dtype=u.dtype), stride=stride, padding=1)
        return self._cosine(o, (squares + 1e-6).sqrt(), frozen)

    def _norm(self, u, name, frozen):
        """Over the last axis of tokens, over channels and pixels together of pictures (B, C, H, W)."""
        axes = (1, 2, 3) if u.dim() == 4 else (-1,)
        centred = u - u.mean(axes, keepdim=True)
        rstd = 1 / torch.sqrt((centred * centred).mean(axes, keepdim=True) + self.eps)
        w = self.w[name + ".weight"]
        return centred * (rstd.detach() if frozen else rstd) * (w.reshape(-1, 1, 1) if u.dim() == 4 else w)

    def _attention(self, u, name, frozen):
        b, n, d = u.shape
        hd = d // self.heads
        q, k, v = F.linear(u, self.w[name + "to_qkv.weight"]).reshape(b, n, 3, self.heads, hd).permute(2, 0, 3, 1, 4)
        attn = torch.softmax(q @ k.transpose(-2, -1) * hd ** -0.5, dim=-1)
        attn = attn.detach() if frozen else attn
        return self._bcos((attn @ v).transpose(1, 2).reshape(b, n, d), name + "to_out", frozen)

    def _embed(self, x, frozen):
        t = x.to(self.dtype)
        for i in self.convolutions:
            t = self._convolve(t, f"0.to_patch_embedding.conv_stem.{i}", frozen)
            t = self._norm(t, f"0.to_patch_embedding.conv_stem.{i + 1}", frozen)
        p, (b, c, h, w) = self.patch, t.shape
        t = t.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1)
        t = self._bcos(t.reshape(b, (h // p) * (w // p), p * p * c), "0.to_patch_embedding.linear", frozen)
        return t, (h // p, w // p)

    def logits(self, x, frozen=False, positions=None):
        """The class scores. `frozen` changes no value. `positions` replaces those of the grid (for `account`)."""
        t, grid = self._embed(x, frozen)
        t = t + (sincos(*grid, t.shape[-1], t.dtype) if positions is None else positions)
        for i in range(self.depth):
            block = f"0.transformer.encoder_{i}."
            t = t + self._attention(self._norm(t, block + "attn.norm", frozen), block + "attn.", frozen)
            hidden = self._bcos(self._norm(t, block + "ff.net.norm", frozen), block + "ff.net.linear1", frozen)
            t = t + self._bcos(hidden, block + "ff.net.linear2", frozen)
        pooled = self._norm(t.mean(1), "0.linear_head.norm", frozen)
        return self._bcos(pooled, "0.linear_head.linear", frozen) + self.bias

    # --------------------------------------------------------------- gradients
    def _gradient(self, x, y, frozen):
        x = x.to(self.dtype).detach().requires_grad_(True)
        return torch.autograd.grad(pick(self.logits(x, frozen), y).sum(), x)[0]

    def gradient(self, x, y):
        return self._gradient(x, y, False)

    def effective_gradient(self, x, y):
        return self._gradient(x, y, True)

    def account(self, x, y):
        """dict of source -> (B) its share of logit y: "pixels", "positions", and the fixed "bias"."""
        x = x.to(self.dtype).detach().requires_grad_(True)
        with torch.no_grad():
            t, grid = self._embed(x, True)
        p = sincos(*grid, t.shape[-1], t.dtype).repeat(len(x), 1, 1).requires_grad_(True)
        gx, gp = torch.autograd.grad(pick(self.logits(x, True, p), y).sum(), (x, p))
        return {"pixels": (gx * x).flatten(1).sum(1).detach(), "positions": (gp * p).flatten(1).sum(1).detach(),
                "bias": torch.full((len(x),), self.bias, dtype=self.dtype)}
