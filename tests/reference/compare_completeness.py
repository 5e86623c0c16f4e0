"""Checks the completeness of integrated gradients of a run of dave-eval on a network of the layout of timm:

  compare_completeness.py RESULTS.h5 --model DIR

Methods `few` and `many` are integrated gradients in different numbers of steps, with raw maps. The logit of black in
normalised space, where the path begins, comes from torch; with more steps the sum of the map comes closer to what the
logit gains over it.
"""
import argparse
import sys

import h5py
import numpy as np
import torch

from checks import Report
from torch_vit import load_timm


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results")
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    report = Report()
    vit, prep = load_timm(args.model)
    with torch.no_grad():
        black = vit.logits(torch.zeros(1, 3, *prep["size"]))[0].numpy().astype(np.float64)
    median = {}
    with h5py.File(args.results, "r") as f:
        change = f["images/logit"][:] - black[f["images/target"][:]]
        for name in "few", "many":
            error = f["methods/%s/completeness_error" % name][:]
            total = f["methods/%s/raw" % name][:].astype(np.float64).sum(axis=(1, 2))
            report.check("%s: completeness error, against torch" % name,
                         np.abs(error - np.abs(total - change) / np.abs(change)).max(), 1e-6)
            median[name] = np.median(error)
    report.check("few steps: times the error of many", median["few"] / median["many"], 3, "%.2e, %.2e" % (
        median["few"], median["many"]), at_least=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
