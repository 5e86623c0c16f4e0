"""Compares what `dave-replay GOLDEN.h5 -o OUT.h5` wrote with the golden file.

  compare_replay.py GOLDEN.h5 OUT.h5 [--tol T] [--logit-tol T] [--curve-tol T] [--model DIR]

Names and shapes in OUT are those of GOLDEN; a missing dataset, another shape, or a value that is not finite fails.

What the names mean (both kinds of golden file)
  augmented   warp(x): the clean image flipped and warped, before noise
  weff        (1 - t) * warp^T(effective gradient at the noisy image): with the factor, back in the frame of x
  maps        weff * x, with the clean x
  mask        1 where the entry is kept by the MAD rule;  agg: mean of those kept;  post: post-processed, divided by max

Goldens in float64 (vit_*.h5): max|out - golden| <= tol * max|golden| for every tensor (tol 2e-5, logits 1e-5).

agg and post need care, because a kept entry that turns into a dropped one changes the mean by far more than any
rounding. An entry is *safe* if for every sample the keep/drop decision that follows from the golden maps and the one
that follows from OUT's own maps are the same, and neither is closer to the threshold than 1e-5 of the threshold plus
1e-7 of the largest |c_k| (rounding of the decision itself; a deviation of exactly 0 has none). agg is compared at safe
entries, whose share must be at least 0.995; at the others it must lie between the smallest and the largest sample.
The share of decisions in OUT's mask that agree with the golden's must be at least 0.999.
post is compared with a float64 post-processing of OUT's own agg, always; and with the golden post where every
decision agrees (it has nothing exact to say otherwise).

Golden of the real network (deit_tiny_real.h5, published code in float32): logits 1e-4 absolute; each weff sample 2e-4
relative L2; agg 2e-4 * max|golden| at safe entries; post from OUT's agg 2e-5, post end to end 0.01 relative L2 (that
much because of the unsafe entries); curves 1e-4 absolute (the logits' bar can move a probability by 5e-5).

The deletion curves of deit_tiny_real.h5 (verified: torch reproduces every untied point within 3e-6)
  both rank the recorded `post` (not agg), replace all three channels of a pixel, and score the softmax probability of
  the target; point 0 is the clean image. OUT must rank the golden's recorded `post` too: ranking a recomputed
  one moves points by up to 5e-3, since adjacent ranks swap and a few unsafe entries differ.
  curve_dave            130 points, least important first, pixels replaced [0, 352, 704, .., 128*352 = 45056, 45158]
                        (90 % of 50176: the last stride is 102 px), substrate: the normalised image blurred by a 31x31
                        Gaussian, sigma 7, normalised kernel, zero padding (in normalised space, so zero is the mean)
                        auc_percent = 100 * 0.9 * trapezoid / 129 (the tail counted as a whole stride)
  curve_most_constant   33 points, most important first, k * 784 pixels (32 steps to half of the picture),
                        substrate: 0 in normalised space;  auc_percent = 100 * 0.5 * trapezoid / 32
  Ties: our order is stable (equal values by pixel index); the published order of equal values is numpy's default
  (unstable) argsort. A point is *tied* when the last replaced and the first kept pixel have equal recorded post: only
  then does the set of replaced pixels depend on the order of ties. These are points inside the zeros of post at the
  start of curve_dave (1..6 of image0 with 2183 zeros, 1..3 of image1 with 1084) and none of curve_most_constant.
  Tied points are not compared with the golden; with --model they are compared with a torch curve in stable order.
"""
import argparse
import sys

import h5py
import numpy as np
import torch

from checks import Report
from torch_dave import CURVES, deletion_curve, mad_threshold, post
from torch_vit import load_timm


def relative_max(a, golden):
    return np.abs(a - golden).max() / np.abs(golden).max()


def decisions(maps):
    """(keep, whether rounding may decide), both shaped like maps."""
    deviation, threshold = (a.numpy() for a in mad_threshold(torch.as_tensor(maps)))
    slack = 1e-5 * threshold + 1e-7 * np.abs(maps).max(0) * (deviation > 0)
    return deviation <= threshold, np.abs(deviation - threshold) <= slack


def unsafe_entries(golden_maps, out_maps):
    """Boolean, shaped like agg."""
    keep, close = decisions(golden_maps)
    out_keep, out_close = decisions(out_maps)
    return ((keep != out_keep) | close | out_close).any(0)


def check_agg(report, prefix, agg, golden_agg, golden_maps, out_maps, bar):
    unsafe = unsafe_entries(golden_maps, out_maps)
    error = np.abs(agg - golden_agg)
    worst = error[~unsafe].max() / np.abs(golden_agg).max() if (~unsafe).any() else float("nan")
    report.check(prefix + "agg", worst, bar, f"{int(unsafe.sum())} of {unsafe.size} entries unsafe")
    # Were nearly everything unsafe, the line above would say nothing.
    report.check(prefix + "agg safe share", 1 - unsafe.mean(), 0.995, at_least=True)
    if unsafe.any():
        low, high = golden_maps.min(0), golden_maps.max(0)
        outside = np.maximum(low - agg, agg - high)[unsafe].max() / np.abs(golden_agg).max()
        report.check(prefix + "agg unsafe, out of range", max(outside, 0.0), bar)


def check_post_step(report, prefix, out_post, agg, tol):
    """The post-processing alone: OUT's post against float64 post-processing of OUT's agg."""
    expected = post(torch.as_tensor(agg)).numpy().reshape(out_post.shape)
    report.check(prefix + "post from agg of OUT", relative_max(out_post, expected), tol)


def compare_small(golden, out, tol, logit_tol, report):
    for name in ("logits", "plain_grad", "weff_clean"):
        a = report.fetch(out, name, golden[name].shape)
        if a is not None:
            report.check(name, relative_max(a, golden[name][()]), logit_tol if name == "logits" else tol)
    for run in sorted(k for k in golden if k[0] == "n" and k[1:].isdigit()):
        g, prefix = golden[run], run + "/"
        o = {}
        for name in ("augmented", "weff", "maps", "mask", "agg", "post"):
            o[name] = report.fetch(out, prefix + name, g[name].shape)
        for name in ("augmented", "weff", "maps"):
            if o[name] is not None:
                report.check(prefix + name, relative_max(o[name], g[name][()]), tol)
        agree = None
        if o["mask"] is not None:
            agree = np.mean(o["mask"] == g["mask"][()])
            report.check(prefix + "mask agreement", agree, 0.999, at_least=True)
        if o["agg"] is not None and o["maps"] is not None:
            check_agg(report, prefix, o["agg"], g["agg"][()], g["maps"][()], o["maps"], tol)
        if o["post"] is not None and o["agg"] is not None:
            check_post_step(report, prefix, o["post"], o["agg"], tol)
        if o["post"] is not None:
            if agree == 1:
                report.check(prefix + "post", relative_max(o["post"], g["post"][()]), tol)
            else:
                report.skip(prefix + "post", "end to end: not every keep/drop decision agrees")


def compare_curves(g, o, prefix, vit, bar, report):
    ranking = g["post"][()]
    values = np.sort(ranking.ravel())
    for name, protocol in CURVES.items():
        golden = g[name][()].astype(np.float64)
        a = report.fetch(o, name, golden.shape, prefix + name)
        if a is None:
            continue
        counts = np.array(protocol[2])
        cut = counts if protocol[0] == "least" else values.size - counts
        tied = np.array([0 < c < values.size and values[c - 1] == values[c] for c in cut])
        error = np.abs(a - golden)
        report.check(prefix + name, error[~tied].max(), bar, f"{int((~tied).sum())} untied points")
        if not tied.any():
            continue
        where = f"{int(tied.sum())} tied points"
        if vit is None:
            report.skip(prefix + name + " tied", where + ", order of ties differs by design: give --model")
            continue
        expected = deletion_curve(vit, torch.as_tensor(g["x"][()]), int(g.attrs["target"]), torch.as_tensor(ranking),
                                  protocol, np.flatnonzero(tied)).numpy()
        report.check(prefix + name + " tied", np.abs(a[tied] - expected).max(), bar, where + " against torch")


def compare_real(golden, out, tol, curve_tol, model, report):
    vit = load_timm(model)[0] if model else None
    for image in sorted(k for k in golden if k.startswith("image")):
        g, prefix = golden[image], image + "/"
        if image not in out:
            report.fail(image, "missing group")
            continue
        o = out[image]
        a = report.fetch(o, "logits", g["logits"].shape, prefix + "logits")
        if a is not None:
            report.check(prefix + "logits", np.abs(a - g["logits"][()]).max(), 1e-4)
        golden_weff = g["weff"][()].astype(np.float64)
        weff = report.fetch(o, "weff", golden_weff.shape, prefix + "weff")
        if weff is not None:
            for k, (p, q) in enumerate(zip(weff, golden_weff)):
                report.check(f"{prefix}weff[{k}]", np.linalg.norm(p - q) / np.linalg.norm(q), 2e-4)
        agg = report.fetch(o, "agg", g["agg"].shape, prefix + "agg")
        if agg is not None and weff is not None:
            # The published maps are float32 products: round as they do before deciding.
            x = g["x"][()]
            maps, out_maps = ((w.astype(np.float32) * x).astype(np.float64) for w in (golden_weff, weff))
            check_agg(report, prefix, agg, g["agg"][()].astype(np.float64), maps, out_maps, 2e-4)
        final = report.fetch(o, "post", g["post"].shape, prefix + "post")
        if final is not None:
            if agg is not None:
                check_post_step(report, prefix, final, agg[None], tol)
            recorded = g["post"][()]
            report.check(prefix + "post", np.linalg.norm(final - recorded) / np.linalg.norm(recorded), 0.01)
        compare_curves(g, o, prefix, vit, curve_tol, report)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden")
    parser.add_argument("out")
    parser.add_argument("--tol", type=float, default=2e-5)
    parser.add_argument("--logit-tol", type=float, default=1e-5)
    parser.add_argument("--curve-tol", type=float, default=1e-4)
    parser.add_argument("--model", help="model folder, to check the tied points of the curves (real network only)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    report = Report()
    with h5py.File(args.golden, "r") as golden, h5py.File(args.out, "r") as out:
        if "image0" in golden:
            compare_real(golden, out, args.tol, args.curve_tol, args.model, report)
        else:
            compare_small(golden, out, args.tol, args.logit_tol, report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
