"""From a photograph to the network: preprocessing as timm, `transformers` and B-cos v2 do it, with Pillow.

  vit, prep = load_timm(folder)         network and preprocessing of any model folder (torch_folders.py)
  pixels = crop_pixels(path, prep)      the photograph as the network will see it, uint8 (H, W, 3)
  x = normalise(pixels, prep)           the network's input: (3, H, W) float32, (6, H, W) for B-cos

How pictures are resized (`resize`), then cropped from the centre
  short    short side to a length, the long one int(length * long / short); untouched when the short side has it already
  exact    to height and width, whatever the shape of the picture: crop_mode "squash" of timm, ViT and DeiT of transformers
  cover    what timm does for inputs that are not square: the smallest picture of the same shape that covers the
           target, sides rounded half-even, and always bilinear: timm does not pass its interpolation on there
The offset of the crop is rounded half-even by timm (torchvision) and down by `transformers`.

The network itself is torch_families.py (and torch_bcos.py); ViT and read_safetensors are here by these names for the
scripts that need no more.
"""
import json
import math
import os

import numpy as np
import torch
from PIL import Image

from torch_families import ViT
from torch_folders import load, read_safetensors

__all__ = ["ViT", "crop_pixels", "load_timm", "normalise", "preprocessing", "read_safetensors"]
METHODS = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "lanczos": Image.LANCZOS}


def timm_preprocessing(config):
    cfg, args = config.get("pretrained_cfg", config), config.get("model_args") or {}
    size = args.get("img_size") or cfg["input_size"][1:]
    size = [size, size] if isinstance(size, int) else list(size)
    target = [int(math.floor(s / cfg["crop_pct"])) for s in size]
    prep = {"size": size, "target": target, "method": METHODS[cfg["interpolation"]], "rounds": "half-even",
            "mean": cfg["mean"], "std": cfg["std"], "inverse": cfg["input_size"][0] == 6, "scale": None}
    if cfg.get("crop_mode", "center") == "squash":
        return dict(prep, resize="exact")
    if target[0] == target[1]:
        return dict(prep, resize="short")
    return dict(prep, resize="cover", method=Image.BILINEAR)


def transformers_preprocessing(p):
    """From preprocessor_config.json; older files give sizes as integers."""
    kind = p.get("image_processor_type") or p["feature_extractor_type"]
    size, crop = p["size"], p.get("crop_size")
    if isinstance(size, int):
        size = {"shortest_edge": size} if kind.startswith("Bit") else {"height": size, "width": size}
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    prep = {"method": p["resample"], "rounds": "down", "mean": p["image_mean"], "std": p["image_std"], "inverse": False,
            "scale": p.get("rescale_factor", 1 / 255)}
    if "shortest_edge" in size:
        prep.update(resize="short", target=[size["shortest_edge"]] * 2)
    else:
        prep.update(resize="exact", target=[size["height"], size["width"]])
    cropped = crop if p.get("do_center_crop") else None
    return dict(prep, size=[cropped["height"], cropped["width"]] if cropped else prep["target"])


def preprocessing(folder):
    path = os.path.join(folder, "preprocessor_config.json")
    if os.path.exists(path):
        with open(path) as f:
            return transformers_preprocessing(json.load(f))
    with open(os.path.join(folder, "config.json")) as f:
        return timm_preprocessing(json.load(f))


def load_timm(folder, dtype=torch.float32):
    """(network, preprocessing) of a model folder; the name is older than the other layouts."""
    return load(folder, dtype), preprocessing(folder)


def resized(image, prep):
    (w, h), (th, tw) = image.size, prep["target"]
    if prep["resize"] == "exact":
        shape = (tw, th)
    elif prep["resize"] == "cover":
        ratio = min(h / th, w / tw)
        shape = (round(w / ratio), round(h / ratio))
    elif min(w, h) == th:                               # torchvision returns the picture untouched when it fits
        return image
    else:
        new_long = int(th * max(w, h) / min(w, h))
        shape = (th, new_long) if w <= h else (new_long, th)
    return image.resize(shape, prep["method"])


def crop_pixels(path, prep):
    image = resized(Image.open(path).convert("RGB"), prep)
    (w, h), (height, width) = image.size, prep["size"]
    if prep["rounds"] == "down":
        left, top = (w - width) // 2, (h - height) // 2
    else:
        left, top = int(round((w - width) / 2.0)), int(round((h - height) / 2.0))
    return np.asarray(image.crop((left, top, left + width, top + height)))


def normalise(pixels, prep):
    """(H, W, 3) uint8 -> float32 tensor, in the order of operations of torchvision, or of `transformers`."""
    a = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    x = torch.from_numpy(a).to(torch.float32).div(255)
    if prep["scale"]:
        x = torch.from_numpy((a.astype(np.float64) * prep["scale"]).astype(np.float32))
    if prep["inverse"]:
        return torch.cat([x, 1 - x], 0)
    mean = torch.tensor(prep["mean"], dtype=torch.float32)[:, None, None]
    std = torch.tensor(prep["std"], dtype=torch.float32)[:, None, None]
    return (x - mean) / std
