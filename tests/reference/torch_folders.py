"""Model folders, read independently of the program: timm's, those of `transformers`, and the one defined for B-cos.

  net = load(folder)              ViT or BcosViT in float32; load(folder, torch.float64, head=FILE, pool="both")
  weights = read_weights(folder)  dict of arrays, sharded or not

load() renames tensors of `transformers` to timm's names (query, key and value stacked into qkv) and folds what timm
folds: with registers, the position of the class token is added to the class token itself, because the table of
`transformers` has a row for the class token and none for the registers.

heads, eps and activation of a timm folder follow from the architecture's name unless model_args gives heads. The table
below knows what the goldens and the shipped data need, not all of timm: see names.json for that.
"""
import json
import os
import re
import struct

import numpy as np
import torch

from torch_bcos import BcosViT
from torch_families import ViT

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


# ----------------------------------------------------------------- safetensors
def read_safetensors(path):
    """dict of float arrays: 8 bytes of header length, a JSON header, then the raw little-endian tensors."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        a = np.frombuffer(data[begin:end], KINDS[info["dtype"]])
        if info["dtype"] == "BF16":                     # a bfloat16 is the upper half of a float32
            a = (a.astype(np.uint32) << 16).view(np.float32)
        elif info["dtype"] == "F16":
            a = a.astype(np.float32)
        tensors[name] = a.reshape(info["shape"]).copy()
    return tensors


def read_weights(folder):
    """All tensors of a folder: model.safetensors, or the shards that model.safetensors.index.json lists."""
    whole = os.path.join(folder, "model.safetensors")
    if os.path.exists(whole):
        return read_safetensors(whole)
    with open(whole + ".index.json") as f:
        where = json.load(f)["weight_map"]
    shards = {s: read_safetensors(os.path.join(folder, s)) for s in sorted(set(where.values()))}
    assert sorted(where) == sorted(k for s in shards.values() for k in s), "the index does not list what the shards hold"
    return {name: shards[s][name] for name, s in where.items()}


# ------------------------------------------------------------------------ timm
# Heads by a piece of the architecture's name: no tensor shape tells them. The first that fits.
HEADS = [("_giant_patch14_reg4_dinov2", 24), ("_giant_patch14_dinov2", 24), ("vit_base_patch16_gap_224", 16), ("_tiny_", 3),
         ("_small_", 6), ("_medium_", 8), ("_betwixt_", 10), ("_base_patch16_plus_", 14), ("_base_", 12), ("_so150m_", 14),
         ("_large_", 16), ("_huge_", 16), ("_giant_", 16), ("_gigantic_", 16)]


def timm_options(config):
    args, name = config.get("model_args") or {}, config["architecture"]
    heads = args.get("num_heads") or next(h for key, h in HEADS if key in name)
    # timm gives every CLIP tower eps 1e-5, all others LayerNorm's own default of 1e-6.
    return {"heads": heads, "eps": 1e-5 if "_clip_" in name else 1e-6,
            "act": "quick_gelu" if "_quickgelu_" in name or args.get("act_layer") == "quick_gelu" else "gelu",
            "pool": args.get("global_pool") or config.get("global_pool", "token")}


def timm_grid(config, weights):
    """Grid of pos_embed: that of the configuration where it accounts for the rows, else left to be a square."""
    args, cfg = config.get("model_args") or {}, config.get("pretrained_cfg", config)
    size = args.get("img_size") or cfg["input_size"][1:]
    size = [size, size] if isinstance(size, int) else size
    grid = tuple(s // p for s, p in zip(size, weights["patch_embed.proj.weight"].shape[-2:]))
    prefix = sum(weights[k].shape[1] for k in ("cls_token", "dist_token", "reg_token") if k in weights)
    return grid if weights["pos_embed"].shape[1] - grid[0] * grid[1] in (0, prefix) else None


# ---------------------------------------------------------------- transformers
EMBEDDINGS = {"cls_token": "cls_token", "distillation_token": "dist_token", "register_tokens": "reg_token",
              "position_embeddings": "pos_embed", "patch_embeddings.projection.weight": "patch_embed.proj.weight",
              "patch_embeddings.projection.bias": "patch_embed.proj.bias"}
LAYER = {"layernorm_before": "norm1", "layernorm_after": "norm2", "norm1": "norm1", "norm2": "norm2",
         "attention.output.dense": "attn.proj", "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2",
         "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2", "mlp.weights_in": "mlp.fc1", "mlp.weights_out": "mlp.fc2"}
HEAD_NAMES = {"classifier": "head", "cls_classifier": "head", "distillation_classifier": "head_dist"}
# mask_token is only read in pre-training, the pooler is not part of any classifier here.
UNUSED = re.compile(r"(embeddings\.mask_token|pooler\.dense\.(weight|bias))$")


def rename(name):
    """timm's name for a tensor of `transformers`; query, key and value stay apart as (block, part, kind)."""
    name = re.sub(r"^(vit|deit|dinov2|dinov2_with_registers)\.", "", name)
    if UNUSED.match(name):
        return None
    if name.startswith("embeddings."):
        return EMBEDDINGS[name[11:]]
    stem, _, kind = name.rpartition(".")
    m = re.match(r"encoder\.layer\.(\d+)\.(.*)", name)
    if not m:
        return {"layernorm": "norm", **HEAD_NAMES}[stem] + "." + kind
    block, rest = f"blocks.{m[1]}.", m[2]
    m = re.match(r"layer_scale([12])\.lambda1$", rest)
    if m:
        return f"{block}ls{m[1]}.gamma"
    m = re.match(r"attention\.attention\.(query|key|value)\.(weight|bias)$", rest)
    if m:
        return block, m[1], m[2]
    return block + LAYER[rest.rpartition(".")[0]] + "." + kind


def from_transformers(weights):
    out, parts = {}, {}
    for name, a in weights.items():
        new = rename(name)
        if isinstance(new, tuple):
            parts.setdefault(f"{new[0]}attn.qkv.{new[2]}", {})[new[1]] = a
        elif new:
            out[new] = a
    for name, p in parts.items():
        out[name] = np.concatenate([p["query"], p["key"], p["value"]])
    if "reg_token" in out:
        out["cls_token"] = out["cls_token"] + out["pos_embed"][:, :1]
        out["pos_embed"] = out["pos_embed"][:, 1:]
    return out


def transformers_options(config, weights):
    kind = config["model_type"]
    size, patch = config["image_size"], config["patch_size"]
    height, width = (size, size) if isinstance(size, int) else size
    # A head of DINOv2 has twice the width for its inputs: class token, then the mean of the patches.
    wide = "head.weight" in weights and weights["head.weight"].shape[1] == 2 * config["hidden_size"]
    return {"heads": config["num_attention_heads"], "eps": config["layer_norm_eps"],
            "act": {"gelu": "gelu", "quick_gelu": "quick_gelu"}[config["hidden_act"]],
            "pool": "both" if wide else "token", "grid": (height // patch, width // patch),
            "antialias": kind == "dinov2_with_registers"}


# ------------------------------------------------------------------------ both
def load(folder, dtype=torch.float32, head=None, pool=None, antialias=None):
    """The network of a folder. head: a safetensors file with `weight` and `bias`; pool: what is fed to it."""
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    weights = read_weights(folder)
    name = config.get("architecture", "")
    if name.startswith("bcos_"):
        args = config.get("model_args") or {}
        heads = args.get("num_heads") or {"ti": 3, "s": 6, "b": 12, "l": 16}[re.search("_vitc?_(ti|s|b|l)_patch", name)[1]]
        return BcosViT(weights, heads, dtype, args.get("b", 2), bias=args.get("logit_bias"))
    if "model_type" in config:
        weights = from_transformers(weights)
        options = transformers_options(config, weights)
    else:
        options = {**timm_options(config), "grid": timm_grid(config, weights)}
    if head:
        weights.update({"head." + k: v for k, v in read_safetensors(head).items()})
    if pool:
        options["pool"] = pool
    if antialias is not None:
        options["antialias"] = antialias
    return ViT(weights, dtype=dtype, **options)
