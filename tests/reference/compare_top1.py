"""Checks a result file of dave-eval against a torch forward pass on pixels that Pillow prepared.

  compare_top1.py RESULTS.h5 --model DIR --data DIR [--labels labels.txt] [--list]

RESULTS.h5 has /images/path (relative to --data), /images/label, /images/prediction and /images/probability, one row per
image; probability is the softmax probability of the target, which is the label. For every row the prediction must be
torch's and the probability within 1e-4 of torch's. With --labels (lines `path index`) the labels are checked as well,
and that no listed image is missing. --list names every row that differs.
A different prediction is a failure even where two classes are nearly tied: torch's margin is printed with it.
"""
import argparse
import os
import sys

import h5py
import numpy as np
import torch

from checks import Report
from torch_vit import crop_pixels, load_timm, normalise


def read_labels(path):
    with open(path) as f:
        rows = [line.rsplit(None, 1) for line in f if line.strip()]
    return {name: int(label) for name, label in rows}


def forward(vit, prep, paths, batch=16):
    """Softmax probabilities (N, classes); only a batch of pictures is in memory at a time."""
    out = []
    with torch.no_grad():
        for i in range(0, len(paths), batch):
            x = torch.stack([normalise(crop_pixels(p, prep), prep) for p in paths[i:i + batch]])
            out.append(torch.softmax(vit.logits(x), 1))
    return torch.cat(out).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--labels")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    report = Report()
    with h5py.File(args.results, "r") as f:
        if "images/path" not in f:
            report.fail("images/path", "missing dataset")
            return report.finish()
        # Fixed-length strings come padded with NULs or blanks.
        names = [os.fsdecode(bytes(s)).rstrip("\0 ") if isinstance(s, bytes) else s for s in f["images/path"][()]]
        n = len(names)
        label, prediction, probability = (report.fetch(f, "images/" + k, (n,))
                                          for k in ("label", "prediction", "probability"))
    if n == 0 or label is None or prediction is None or probability is None:
        report.check("images", n, 1, at_least=True)
        return report.finish()
    label, prediction = label.astype(int), prediction.astype(int)
    report.check("paths listed twice", n - len(set(names)), 0)
    missing = [s for s in names if not os.path.exists(os.path.join(args.data, s))]
    if not report.check("paths without a file", len(missing), 0, " ".join(missing[:3])):
        return report.finish()
    if args.labels:
        wanted = read_labels(args.labels)
        report.check("labels that differ", sum(wanted.get(s) != t for s, t in zip(names, label)), 0)
        report.check("listed images that are missing", len(set(wanted) - set(names)), 0)

    vit, prep = load_timm(args.model)
    p = forward(vit, prep, [os.path.join(args.data, s) for s in names])
    valid = (label >= 0) & (label < p.shape[1])
    report.check("labels that are no class", int((~valid).sum()), 0)
    expected = p.argmax(1)
    error = np.abs(probability - p[np.arange(n), np.where(valid, label, 0)])
    top = np.sort(p, 1)
    note = ""
    if (expected != prediction).any():
        note = "torch's smallest margin there %.2e" % (top[:, -1] - top[:, -2])[expected != prediction].min()
    report.check("predictions that differ", int((expected != prediction).sum()), 0, note)
    report.check("probability, largest error", error.max(), 1e-4, names[int(error.argmax())])
    if args.list:
        for i in np.flatnonzero((expected != prediction) | (error > 1e-4)):
            print(f"  {names[i]} label {label[i]} prediction {prediction[i]} torch {expected[i]} "
                  f"probability {probability[i]:.6f} error {error[i]:.1e}")
    print(f"top-1: {int((prediction == label).sum())} of {n} in the file, {int((expected == label).sum())} in torch")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
