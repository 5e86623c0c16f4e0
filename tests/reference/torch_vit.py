"""A Vision Transformer in plain PyTorch, written to be checked against.

timm semantics and timm parameter names, but no timm: the weights are a dict of tensors, the forward pass is one
function that can be read from top to bottom, and both gradients come from autograd:

  gradient(x, y)            the true derivative of logit y
  effective_gradient(x, y)  the same backward pass with three operators held constant: the softmax matrices, the
                            reciprocal deviation of every LayerNorm, and the GELU gates gelu(z)/z (1 where z == 0)

The frozen operators are `detach()`ed in the forward pass, so autograd itself does the freezing: nothing here is a
hand-written backward rule, which is what makes this a reference for programs that have such rules.

Also here: a reader for safetensors files (F64/F32/F16/BF16), the loader for a folder with `config.json` and
`model.safetensors`, and timm's evaluation preprocessing with Pillow.
"""
import json
import math
import os
import struct

import numpy as np
import torch
from PIL import Image


class ViT:
    """weights: dict of timm names to tensors or arrays. x is (B, 3, H, W) everywhere."""

    def __init__(self, weights, heads, eps=1e-6, pool="token", dtype=torch.float32):
        self.w = {k: torch.as_tensor(np.asarray(v)).to(dtype) for k, v in weights.items()}
        self.heads, self.eps, self.pool, self.dtype = heads, eps, pool, dtype
        self.patch = self.w["patch_embed.proj.weight"].shape[-1]
        self.depth = 1 + max(int(k.split(".")[1]) for k in self.w if k.startswith("blocks."))
        assert pool in ("token", "avg"), "pool: token or avg"
        # What is not implemented must not be skipped silently.
        for name in ("dist_token", "reg_token", "norm_pre.weight"):
            assert name not in self.w, name + " is not supported by this reference"

    # ------------------------------------------------------------------ layers
    def _linear(self, x, name):
        return torch.nn.functional.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def _norm(self, x, name, frozen):
        centred = x - x.mean(-1, keepdim=True)          # the centring is linear: it stays in both gradients
        rstd = 1 / torch.sqrt((centred * centred).mean(-1, keepdim=True) + self.eps)
        if frozen:
            rstd = rstd.detach()
        return centred * rstd * self.w[name + ".weight"] + self.w[name + ".bias"]

    @staticmethod
    def _gelu(z, frozen):
        phi = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
        if not frozen:
            return z * phi
        # The gate is gelu(z)/z = phi(z); at z == 0 exactly the published code takes 1. The value is 0 either way.
        return z * torch.where(z == 0, torch.ones_like(phi), phi).detach()

    def _attention(self, u, block, frozen):
        b, n, d = u.shape
        hd = d // self.heads
        q, k, v = self._linear(u, block + "attn.qkv").reshape(b, n, 3, self.heads, hd).permute(2, 0, 3, 1, 4)
        if block + "attn.q_norm.weight" in self.w:
            q, k = self._norm(q, block + "attn.q_norm", frozen), self._norm(k, block + "attn.k_norm", frozen)
        attn = torch.softmax(q @ k.transpose(-2, -1) * hd ** -0.5, dim=-1)
        if frozen:
            attn = attn.detach()
        return self._linear((attn @ v).transpose(1, 2).reshape(b, n, d), block + "attn.proj")

    def logits(self, x, frozen=False):
        """The class scores. `frozen` changes no value, only what autograd may differentiate through."""
        w = self.w
        proj = w["patch_embed.proj.weight"]
        t = torch.nn.functional.conv2d(x.to(self.dtype), proj, w["patch_embed.proj.bias"], stride=self.patch)
        t = t.flatten(2).transpose(1, 2)                # patches in row-major order
        pos, cls = w["pos_embed"], w["cls_token"].expand(t.shape[0], -1, -1)
        # no_embed_class shows in the table itself: it has one row fewer than there are tokens.
        if pos.shape[1] == t.shape[1]:
            t = torch.cat([cls, t + pos], 1)
        else:
            t = torch.cat([cls, t], 1) + pos
        for i in range(self.depth):
            block = f"blocks.{i}."
            branch = self._attention(self._norm(t, block + "norm1", frozen), block, frozen)
            t = t + branch * w.get(block + "ls1.gamma", 1)
            hidden = self._linear(self._norm(t, block + "norm2", frozen), block + "mlp.fc1")
            branch = self._linear(self._gelu(hidden, frozen), block + "mlp.fc2")
            t = t + branch * w.get(block + "ls2.gamma", 1)
        if self.pool == "token":
            features = self._norm(t, "norm", frozen)[:, 0]
        else:
            features = self._norm(t[:, 1:].mean(1), "fc_norm", frozen)
        return self._linear(features, "head")

    # --------------------------------------------------------------- gradients
    def _gradient(self, x, y, frozen):
        x = x.to(self.dtype).detach().requires_grad_(True)
        y = torch.as_tensor(np.asarray(y), dtype=torch.long)
        # One sum over the batch: images do not interact, so each gets the gradient of its own logit.
        score = self.logits(x, frozen)[torch.arange(len(y)), y].sum()
        return torch.autograd.grad(score, x)[0]

    def gradient(self, x, y):
        return self._gradient(x, y, False)

    def effective_gradient(self, x, y):
        return self._gradient(x, y, True)


# --------------------------------------------------------------------- loading
def read_safetensors(path):
    """dict of float arrays: 8 bytes of header length, a JSON header, then the raw little-endian tensors."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        a = np.frombuffer(data[begin:end], kinds[info["dtype"]])
        if info["dtype"] == "BF16":                     # a bfloat16 is the upper half of a float32
            a = (a.astype(np.uint32) << 16).view(np.float32)
        elif info["dtype"] == "F16":
            a = a.astype(np.float32)
        tensors[name] = a.reshape(info["shape"]).copy()
    return tensors


# timm architecture name -> heads: the one thing that no tensor shape tells.
HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16}


def load_timm(folder, dtype=torch.float32):
    """(ViT, preprocessing dict) from a model hub folder."""
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    cfg = config.get("pretrained_cfg", config)
    args = config.get("model_args") or {}
    heads = args.get("num_heads") or next(h for key, h in HEADS.items() if "_" + key + "_" in config["architecture"])
    model = ViT(read_safetensors(os.path.join(folder, "model.safetensors")), heads,
                pool=config.get("global_pool", "token"), dtype=dtype)
    return model, {"size": cfg["input_size"][-1], "crop_pct": cfg["crop_pct"], "mean": cfg["mean"],
                   "std": cfg["std"], "interpolation": cfg["interpolation"]}


# --------------------------------------------------------------- preprocessing
def crop_pixels(path, prep):
    """The photograph as the network will see it, uint8 (size, size, 3): timm's evaluation transform."""
    image = Image.open(path).convert("RGB")
    size, target = prep["size"], int(math.floor(prep["size"] / prep["crop_pct"]))
    w, h = image.size
    short, long = min(w, h), max(w, h)
    if short != target:                                 # torchvision returns the picture untouched when it fits
        new_long = int(target * long / short)
        shape = (target, new_long) if w <= h else (new_long, target)
        method = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}[prep["interpolation"]]
        image = image.resize(shape, method)
    w, h = image.size
    # Python's round() is half-even, and so is the offset.
    left, top = int(round((w - size) / 2.0)), int(round((h - size) / 2.0))
    return np.asarray(image.crop((left, top, left + size, top + size)))


def normalise(pixels, prep):
    """(H, W, 3) uint8 -> (3, H, W) float32 tensor, in the order of operations of torchvision."""
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).to(torch.float32).div(255)
    mean = torch.tensor(prep["mean"], dtype=torch.float32)[:, None, None]
    std = torch.tensor(prep["std"], dtype=torch.float32)[:, None, None]
    return (x - mean) / std
