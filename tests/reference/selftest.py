"""Do the comparison scripts notice? Plants one error at a time in the output of the torch stand-in.

  selftest.py                 the goldens in ../golden only
  selftest.py --shared DIR    also the real network: DIR/golden/deit_tiny_real.h5, DIR/data/deit_tiny, photographs

Unchanged output must pass and every planted error must fail; exit status 1 otherwise.
"""
import argparse
import contextlib
import io
import os
import shutil
import sys
import tempfile

import h5py
import numpy as np
import torch

import compare_pixels
import compare_replay
import compare_top1
import torch_replay
from torch_dave import CURVES, deletion_curve, post
from torch_vit import crop_pixels, load_timm, normalise

HERE = os.path.dirname(os.path.abspath(__file__))


def call(module, *argv):
    """(exit status, what was printed) of a script's main()."""
    saved, text = sys.argv, io.StringIO()
    sys.argv = [module.__name__] + list(argv)
    try:
        with contextlib.redirect_stdout(text):
            status = module.main()
    finally:
        sys.argv = saved
    return status or 0, text.getvalue()


def scale(name, factor):
    return lambda f: f[name].__setitem__(Ellipsis, f[name][()] * factor)


def replace(name, value):
    """value: a function of the open file."""
    return lambda f: f[name].__setitem__(Ellipsis, value(f))


def poke(name, change):
    """Change one element, the largest in absolute value."""
    def plant(f):
        a = f[name][()]
        i = np.unravel_index(np.abs(a.astype(float)).argmax(), a.shape)
        a[i] = change(a[i])
        f[name][...] = a
    return plant


def delete(name):
    return lambda f: f.__delitem__(name)


def upper_median_mean(maps):
    k = len(maps)
    deviation = np.abs(maps - np.sort(maps, 0)[k // 2])
    keep = deviation <= 2.5 * (1.4826 * np.sort(deviation, 0)[k // 2] + 1e-8)
    return (maps * keep).sum(0) / np.maximum(keep.sum(0), 1)


class Trial:
    def __init__(self, folder):
        self.folder, self.wrong = folder, 0

    def expect(self, title, status, text, fails):
        good = (status != 0) == fails
        self.wrong += not good
        reported = [line.split()[0] for line in text.splitlines() if " FAIL" in line]
        print(f"{'ok  ' if good else 'BAD '} {title}: " + (", ".join(reported) or text.splitlines()[-1]))

    def run(self, module, base, errors, args):
        """`args` makes the argument list from the path of the (damaged) output file."""
        self.expect(module.__name__ + ", nothing planted", *call(module, *args(base)), fails=False)
        for title, plant in errors.items():
            path = os.path.join(self.folder, "planted.h5")
            shutil.copy(base, path)
            with h5py.File(path, "r+") as f:
                plant(f)
            self.expect(title, *call(module, *args(path)), fails=True)


def small(trial):
    for name, run in (("vit_tiny_base", "n5/"), ("vit_tiny_ls", "n6/")):
        golden, out = os.path.join(HERE, "../golden", name + ".h5"), os.path.join(trial.folder, name + ".h5")
        call(torch_replay, golden, out)
        with h5py.File(golden, "r") as g:
            t = g[run + "t"][()].reshape(-1, 1, 1, 1, 1)
            noisy, x = g[run + "noisy"][()], g["x"][()]
        errors = {
            "logits 1e-4 too large": scale("logits", 1 + 1e-4),
            "no weff_clean": delete("weff_clean"),
            "no run": delete(run[:-1]),
            "true gradient for the effective one": replace("weff_clean", lambda f: f["plain_grad"][()]),
            "one plain_grad value 1e-4 off": poke("plain_grad", lambda v: v * (1 + 1e-4)),
            "warp not flipped": replace(run + "augmented", lambda f: f[run + "augmented"][()][..., ::-1]),
            "weff without (1 - t)": replace(run + "weff", lambda f: f[run + "weff"][()] / (1 - t)),
            "maps with the noisy image": replace(run + "maps", lambda f: f[run + "weff"][()] * noisy),
            "mask shifted by a sample": replace(run + "mask", lambda f: np.roll(f[run + "mask"][()], 1, 0)),
            "plain mean for agg": replace(run + "agg", lambda f: f[run + "maps"][()].mean(0)),
            "one agg value 1e-4 off": poke(run + "agg", lambda v: v * (1 + 1e-4)),
            "post not divided by its maximum": scale(run + "post", 0.5),
            "post of one image NaN": replace(run + "post", lambda f: f[run + "post"][()] * [[[[1]]], [[[np.nan]]]]),
            "post of another agg": replace(run + "post", lambda f: post(
                torch.as_tensor(f[run + "maps"][()].mean(0))).numpy()),
        }
        if name == "vit_tiny_ls":
            errors["upper median for agg"] = replace(run + "agg", lambda f: upper_median_mean(f[run + "maps"][()]))
            errors["mean at K = 2"] = replace("n2/agg", lambda f: f["n2/maps"][()].mean(0))
        trial.run(compare_replay, out, errors, lambda path: [golden, path])


def real(trial, shared):
    golden, model = os.path.join(shared, "golden/deit_tiny_real.h5"), os.path.join(shared, "data/deit_tiny")
    out = os.path.join(trial.folder, "real.h5")
    call(torch_replay, golden, out, "--model", model)
    vit, prep = load_timm(model)
    inputs = {}
    with h5py.File(golden, "r") as g:
        for image in ("image0", "image1"):
            inputs[image] = [torch.as_tensor(g[image][k][()]) for k in ("x", "post", "agg")]
            inputs[image].append(int(g[image].attrs["target"]))
    x1, _, agg1, _ = inputs["image1"]

    def curve(name, image="image1", ranking=None, order=None, substrate=None, shift=0):
        x, ranks, _, y = inputs[image]
        o, s, counts = CURVES[name]
        protocol = (order or o, substrate or s, [max(0, c - shift) for c in counts])
        values = deletion_curve(vit, x, y, ranks if ranking is None else ranking, protocol)
        return replace(image + "/" + name, lambda f: values.numpy())

    errors = {
        "logits 2e-4 off": poke("image0/logits", lambda v: v + 2e-4),
        "no image1": delete("image1"), "no curve": delete("image0/curve_dave"),
        "weff of sample 3 off by 0.1 %": replace("image0/weff", lambda f: f["image0/weff"][()] * np.array(
            [1, 1, 1, 1.001, 1, 1]).reshape(-1, 1, 1, 1)),
        "plain mean for agg": replace("image1/agg", lambda f: (f["image1/weff"][()] * x1.numpy()).mean(0)),
        "post of the other image": replace("image0/post", lambda f: f["image1/post"][()]),
        "curve ranks agg": curve("curve_dave", ranking=agg1.sum(0)),
        "curve in the other order": curve("curve_dave", order="most"),
        "curve with zeros": curve("curve_dave", substrate="zero"), "curve with blur": curve(
            "curve_most_constant", substrate="blur"),
        "every step one pixel late, dave": curve("curve_dave", shift=1),
        # image1 is lost after the first step: its curve is too flat to tell
        "every step one pixel late, constant": curve("curve_most_constant", "image0", shift=1),
        "a tied point off": lambda f: f["image1/curve_dave"].__setitem__(2, f["image1/curve_dave"][2] + 2e-4),
    }
    trial.run(compare_replay, out, errors, lambda path: [golden, path, "--model", model])

    data = os.path.join(shared, "data/imagenet_val125")
    labels = compare_top1.read_labels(os.path.join(data, "labels.txt"))
    names = sorted(labels)[:6]
    few, results, pixels = (os.path.join(trial.folder, s) for s in ("labels.txt", "results.h5", "pixels.h5"))
    with open(few, "w") as f:
        f.writelines(f"{s} {labels[s]}\n" for s in names)
    target = np.array([labels[s] for s in names])
    p = compare_top1.forward(vit, prep, [os.path.join(data, s) for s in names])
    with h5py.File(results, "w") as f:
        f["images/path"], f["images/label"] = np.array(names, "S80"), target
        f["images/prediction"], f["images/probability"] = p.argmax(1), p[np.arange(6), target]
    trial.run(compare_top1, results, {
        "one prediction": poke("images/prediction", lambda v: v - 1),
        "one label": poke("images/label", lambda v: v - 1),
        "one probability 2e-4 off": poke("images/probability", lambda v: v - 2e-4),
        "no paths": delete("images/path"), "no predictions": delete("images/prediction"),
        "the same image twice": replace("images/path", lambda f: np.array([names[0]] + names[:5], "S80")),
    }, lambda path: [path, "--model", model, "--data", data, "--labels", few])

    image = os.path.join(data, names[0])
    with h5py.File(pixels, "w") as f:
        f["pixels_u8"] = crop_pixels(image, prep)
        x0 = normalise(f["pixels_u8"][()], prep)
        f["x"], f["logits"] = x0.numpy(), vit.logits(x0[None])[0].numpy()
    errors = {"one pixel value by 1": poke("pixels_u8", lambda v: v - 1), "x 1e-5 off": poke("x", lambda v: v + 1e-5),
              "logit 2e-4 off": poke("logits", lambda v: v + 2e-4), "no x": delete("x"),
              "x NaN": poke("x", lambda v: np.nan),
              "another image": replace("pixels_u8", lambda f: f["pixels_u8"][()][::-1])}
    trial.run(compare_pixels, pixels, errors, lambda path: [path, image, "--model", model])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(folder)
        small(trial)
        if args.shared:
            real(trial, args.shared)
    print(f"{trial.wrong} wrong")
    return 1 if trial.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
