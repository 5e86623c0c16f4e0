"""Checks preprocessing and forward pass of single photographs against Pillow and torch.

  compare_pixels.py OUT.h5 IMAGE --model DIR
  compare_pixels.py --pairs LIST --model DIR [--root DIR]     LIST has lines `OUT.h5<TAB>IMAGE`

OUT.h5 is what `dave-replay --image IMAGE --model DIR -o OUT.h5` wrote: pixels_u8 (H, W, 3), the picture after resize
and crop, which must be Pillow's to the last bit; x (3, H, W), normalised, within 1e-6; logits within 1e-4.
With more than one picture, one line per quantity gives the worst of all, after a line for each picture that fails.
--root: IMAGE in LIST is relative to it.
"""
import argparse
import os
import sys

import h5py
import numpy as np
import torch

from checks import Report
from torch_vit import crop_pixels, load_timm, normalise

BARS = {"pixels_u8": 0, "x": 1e-6, "logits": 1e-4}


def errors(out_path, image, vit, prep):
    """name -> number of different pixel values, or largest absolute error; a string says what is wrong instead."""
    pixels = crop_pixels(image, prep)
    x = normalise(pixels, prep)
    with torch.no_grad():
        expected = {"pixels_u8": pixels, "x": x.numpy(), "logits": vit.logits(x[None])[0].numpy()}
    found = {}
    with h5py.File(out_path, "r") as f:
        for name, golden in expected.items():
            if name not in f:
                found[name] = "missing dataset"
            elif f[name].shape != golden.shape:
                found[name] = f"shape {f[name].shape}, expected {golden.shape}"
            else:
                difference = np.abs(f[name][()].astype(np.float64) - golden)
                found[name] = float((difference != 0).sum() if name == "pixels_u8" else difference.max())
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?")
    parser.add_argument("image", nargs="?")
    parser.add_argument("--model", required=True)
    parser.add_argument("--pairs")
    parser.add_argument("--root", default="")
    args = parser.parse_args()
    if bool(args.pairs) == bool(args.out and args.image):
        parser.error("give either OUT.h5 and IMAGE, or --pairs")
    torch.set_num_threads(1)
    if args.pairs:
        with open(args.pairs) as f:
            pairs = [line.rstrip("\n").split("\t") for line in f if line.strip()]
    else:
        pairs = [(args.out, args.image)]
    vit, prep = load_timm(args.model)
    report, worst = Report(), {}
    for out_path, image in pairs:
        if not os.path.exists(out_path):
            report.fail(os.path.basename(image), "no output file " + out_path)
            continue
        for name, e in errors(out_path, os.path.join(args.root, image), vit, prep).items():
            if isinstance(e, str):
                report.fail(name, os.path.basename(image) + ": " + e)
            elif not e <= BARS[name]:                   # a NaN is not within any bar
                report.check(name, e, BARS[name], os.path.basename(image))
            else:
                worst.setdefault(name, []).append(e)
    for name, values in worst.items():
        report.check(name, max(values), BARS[name], f"worst of {len(values)}" if len(pairs) > 1 else "")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
