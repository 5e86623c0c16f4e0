"""Writes golden maps of all methods for the small networks of ../golden/families.

  make_method_goldens.py DIR [NAME ..]     DIR/NAME.h5
  make_method_goldens.py --verify DIR      recomputes every golden; exit status 1 above 1e-10

A golden has no weights: they are those of the family that it names. What is in it
  pixels      (H, W, 3) uint8: the picture, of exactly the size of the network's input, so that preprocessing only normalises
  x           (C, H, W) float32: the same, normalised; the maps are of these numbers, in float64
  maps/NAME   (H, W) float64, the raw map; attributes kind and options (JSON: what the configuration has to say, no defaults)
  attributes  family, y, seed (of the noise; the image's id is 0), logit, head_file and head_input as in the family's own
              goldens, resized (1: another input size than the checkpoint's), float32 (largest error of the maps when the
              reference itself computes in float32)

Every second target is not the prediction. Pictures are drawn until float32 is good for all maps (a quarter of the 2e-5 that
programs should reach; all of it for `chefer`): where sums of residuals or scores are nearly 0, the divisions of `chefer` have no precision to test.
"""
import argparse
import json
import os
import sys

import h5py
import numpy as np
import torch

from torch_folders import load
from torch_methods import attribution
from torch_vit import normalise, preprocessing

FAMILIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden/families")
SEED = (3 << 32) + 11                                   # both words of the key count
GOOD = 5e-6                                             # largest error of float32, of the largest magnitude

# Entries of a configuration: name, kind, options.
GRADIENTS = [
    ("gradient", "gradient", {}), ("input_x_gradient", "input_x_gradient", {}), ("effective", "effective", {}),
    ("integrated_gradients", "integrated_gradients", {}), ("ig_gauss_7", "integrated_gradients", {"steps": 7}),
    ("ig_trapezoid", "integrated_gradients", {"rule": "trapezoid"}),
    ("ig_trapezoid_5", "integrated_gradients", {"rule": "trapezoid", "steps": 5}),
    ("smoothgrad", "smoothgrad", {}), ("smoothgrad_7", "smoothgrad", {"samples": 7, "sigma": 0.05}),
    ("attention_rollout", "attention_rollout", {}), ("legrad", "legrad", {}), ("legrad_last", "legrad", {"layers": 1})]
RELEVANCES = [
    ("chefer", "chefer", {}), ("chefer_all", "chefer", {"start_layer": 0}), ("attnlrp", "attnlrp", {}),
    ("attnlrp_gamma", "attnlrp", {"rule": "gamma"}),
    ("attnlrp_gamma_large", "attnlrp", {"rule": "gamma", "gamma_linear": 0.4, "gamma_patch": 1.5})]
# Families; a size where it is not the checkpoint's own.
PLAIN = {"vit": None, "vit_avg": None, "vit_reg_gap": None, "vit_qknorm": None, "deit_distilled": None, "deit3": (8, 10),
         "dinov2": None, "dinov2_reg": None, "clip": None, "clip_quickgelu": None}
OTHERS = {"swiglu_apart": None, "dinov2_giant": None, "bcos_simple": None, "bcos_vitc": None}
NETWORKS = {**PLAIN, **OTHERS}


def entries(name):
    if name.startswith("bcos"):                         # a head of cosines on earlier blocks means nothing
        return [e for e in GRADIENTS if e[1] != "legrad"]
    return GRADIENTS + (RELEVANCES if name in PLAIN else [])


def family_of(name):
    """(folder, head file, what is fed to it, size of the input)."""
    folder = os.path.join(FAMILIES, name)
    with h5py.File(os.path.join(folder, "golden.h5"), "r") as f:
        head, fed = (f.attrs.get(k, b"").decode() for k in ("head_file", "head_input"))
        return folder, head, fed, NETWORKS[name] or tuple(f.attrs["input_size"])


def network(name, dtype):
    folder, head, fed, _ = family_of(name)
    return load(folder, dtype, head and os.path.join(folder, head), fed or None)


def maps_of(net, x, y, wanted):
    return {name: attribution(net, x, y, kind, options, SEED) for name, kind, options in wanted}


def largest(m):
    return np.abs(m).max()


def errors(maps, right):
    return {name: largest(maps[name] - m) / largest(m) for name, m in right.items()}


def draw(rng, height, width):
    """Coarse colours and noise."""
    coarse = rng.integers(0, 256, (2, 2, 3))
    picture = np.kron(coarse, np.ones((-(-height // 2), -(-width // 2), 1)))[:height, :width]
    return np.clip(picture + rng.integers(-90, 91, picture.shape), 0, 255).astype(np.uint8)


def make(name, number):
    folder, _, _, (height, width) = family_of(name)
    net, single, prep = network(name, torch.float64), network(name, torch.float32), preprocessing(folder)
    wanted = entries(name)[::-1]                        # those that may not do come first
    for attempt in range(2000):
        pixels = draw(np.random.default_rng([number, attempt]), height, width)
        x = normalise(pixels, prep)
        with torch.no_grad():
            scores = net.logits(x[None])[0]
        y = (int(scores.argmax()) + 3 * (number % 2)) % len(scores)
        maps = maps_of(net, x, y, wanted)
        error = errors(maps_of(single, x, y, wanted), maps)
        if all(error[entry] <= (4 * GOOD if kind == "chefer" else GOOD) for entry, kind, _ in wanted):
            return pixels, x, y, float(scores[y]), maps, error, attempt
    raise SystemExit(f"{name}: no draw would do")


def write(path, name, number):
    pixels, x, y, logit, maps, error, attempt = make(name, number)
    _, head, fed, _ = family_of(name)
    with h5py.File(path, "w", libver=("v110", "v110")) as f:
        f.attrs["about"] = np.bytes_("Maps by tests/reference/make_method_goldens.py")
        f.attrs["family"], f.attrs["y"], f.attrs["seed"], f.attrs["logit"] = np.bytes_(name), y, np.uint64(SEED), logit
        f.attrs["float32"], f.attrs["resized"] = max(error.values()), int(NETWORKS[name] is not None)
        if head:
            f.attrs["head_file"], f.attrs["head_input"] = np.bytes_(head), np.bytes_(fed)
        f["pixels"], f["x"] = pixels, x.numpy()
        for entry, kind, options in entries(name):
            f["maps/" + entry] = maps[entry]
            f["maps/" + entry].attrs["kind"] = np.bytes_(kind)
            f["maps/" + entry].attrs["options"] = np.bytes_(json.dumps(options))
    worst = max(error, key=error.get)
    print(f"{name:16s} {os.path.getsize(path):6d} bytes, draw {attempt}, float32 {error[worst]:.1e} ({worst})")


def verify(path, dtype=torch.float64):
    """{map: largest relative error}, everything recomputed from what the file says."""
    with h5py.File(path, "r") as f:
        name = f.attrs["family"].decode()
        folder, _, _, _ = family_of(name)
        x = normalise(f["pixels"][()], preprocessing(folder))
        assert np.array_equal(x.numpy(), f["x"][()]), path + ": x is not the normalised picture"
        right = {entry: m[()] for entry, m in f["maps"].items()}
        wanted = [(entry, m.attrs["kind"].decode(), json.loads(m.attrs["options"])) for entry, m in f["maps"].items()]
        y = int(f.attrs["y"])
    return errors(maps_of(network(name, dtype), x, y, wanted), right)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--verify", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.names or list(NETWORKS)
    if args.verify:
        worst = max(max(verify(os.path.join(args.dir, name + ".h5")).values()) for name in names)
        print(f"{len(names)} goldens, largest relative error {worst:.1e}")
        return 0 if worst <= 1e-10 else 1
    os.makedirs(args.dir, exist_ok=True)
    for name in names:
        write(os.path.join(args.dir, name + ".h5"), name, 1 + list(NETWORKS).index(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
