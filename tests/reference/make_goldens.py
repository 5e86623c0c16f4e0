"""Makes the small golden files, and checks the reference against the published ones.

  make_goldens.py DIR             writes DIR/vit_tiny_base.h5 and DIR/vit_tiny_ls.h5 (float64)
  make_goldens.py --rect DIR      also DIR/vit_tiny_rect.h5: 16x20 pixels; its img_size attribute is [height, width]
  make_goldens.py --verify DIR    recomputes every stage of DIR/vit_*.h5 from its recorded inputs (weights, images,
                                  warp parameters, noise), prints the largest errors, exit status 1 above 1e-10
"""
import argparse
import glob
import os
import sys

import h5py
import numpy as np
import torch

from torch_dave import RUN_PARAMETERS, noise_schedule, run_samples
from torch_vit import ViT

STAGES = ("augmented", "noisy", "weff", "maps", "mask", "agg", "post")
ABOUT = ("Small random ViT in float64, every stage of DAVE, by tests/reference/make_goldens.py (torch autograd). "
         "angle: degrees; tx, ty: pixels; flip before affine. Inputs are exact in float32.")
SPECS = {
    # Both parities of the median, K = 1 and K = 2 (where the MAD is 0), each once: the files stay small.
    "vit_tiny_base": dict(size=(16, 16), heads=2, layer_scale=False, no_embed_class=0, runs=(1, 5), seed=11),
    "vit_tiny_ls": dict(size=(12, 12), heads=3, layer_scale=True, no_embed_class=1, runs=(2, 6), seed=12),
    "vit_tiny_rect": dict(size=(16, 20), heads=2, layer_scale=False, no_embed_class=0, runs=(1, 5), seed=13),
}
PATCH, WIDTH, DEPTH, CLASSES, IMAGES, ALPHA, EPS = 4, 24, 2, 7, 2, 0.9, 1e-6


def coarse(a, bits):
    """Multiples of 2**-bits: exact in float32, so a float32 program is not charged for rounding its inputs, and
    small in the file."""
    return np.round(np.asarray(a, np.float64) * 2.0 ** bits) / 2.0 ** bits


def random_weights(rng, spec):
    """Scales of a trained network: attention rows far from uniform, LayerNorm parameters far from 1 and 0."""
    d, patches = WIDTH, spec["size"][0] * spec["size"][1] // PATCH ** 2

    def normal(*shape, s):
        return coarse(rng.normal(size=shape) * s, 9)

    w = {"cls_token": normal(1, 1, d, s=0.3),
         "pos_embed": normal(1, patches + (0 if spec["no_embed_class"] else 1), d, s=0.4),
         "patch_embed.proj.weight": normal(d, 3, PATCH, PATCH, s=0.12), "patch_embed.proj.bias": normal(d, s=0.1),
         "head.weight": normal(CLASSES, d, s=0.3), "head.bias": normal(CLASSES, s=0.2)}
    norms = ["norm"]
    for i in range(DEPTH):
        b = f"blocks.{i}."
        norms += [b + "norm1", b + "norm2"]
        w[b + "attn.qkv.weight"], w[b + "attn.qkv.bias"] = normal(3 * d, d, s=0.35), normal(3 * d, s=0.2)
        w[b + "attn.proj.weight"], w[b + "attn.proj.bias"] = normal(d, d, s=0.2), normal(d, s=0.1)
        w[b + "mlp.fc1.weight"], w[b + "mlp.fc1.bias"] = normal(4 * d, d, s=0.25), normal(4 * d, s=0.3)
        w[b + "mlp.fc2.weight"], w[b + "mlp.fc2.bias"] = normal(d, 4 * d, s=0.12), normal(d, s=0.1)
        if spec["layer_scale"]:
            w[b + "ls1.gamma"] = coarse(rng.uniform(0.2, 1.2, d) * rng.choice([-1, 1], d), 9)
            w[b + "ls2.gamma"] = coarse(rng.uniform(0.2, 1.2, d) * rng.choice([-1, 1], d), 9)
    for name in norms:
        w[name + ".weight"], w[name + ".bias"] = coarse(rng.uniform(0.5, 1.6, d), 9), normal(d, s=0.2)
    return w


def random_run(rng, k, size):
    h, w = size
    flip = rng.integers(0, 2, (k, IMAGES)).astype(np.uint8)
    flip[0] = np.arange(IMAGES) % 2 == 0                # both cases occur, whatever the draw
    return {"t": np.array(noise_schedule(ALPHA, k)), "flip": flip,
            "angle": rng.uniform(-20, 20, (k, IMAGES)), "scale": rng.uniform(0.9, 1.1, (k, IMAGES)),
            "tx": rng.uniform(-0.1, 0.1, (k, IMAGES)) * w, "ty": rng.uniform(-0.1, 0.1, (k, IMAGES)) * h,
            "noise": coarse(rng.normal(size=(k, IMAGES, 3, h, w)), 8)}


def compute(vit, x, y, runs):
    """name -> array of everything that is computed; `runs` maps a group name to its recorded inputs."""
    x = torch.as_tensor(x)
    out = {"logits": vit.logits(x), "logits_detached": vit.logits(x, frozen=True),
           "plain_grad": vit.gradient(x, y), "weff_clean": vit.effective_gradient(x, y)}
    for name, run in runs.items():
        run = dict(run, noise=torch.as_tensor(run["noise"]).to(vit.dtype))
        for stage, value in run_samples(vit, x, y, run).items():
            out[name + "/" + stage] = value
    return {k: v.detach().numpy() for k, v in out.items()}


def write(path, spec):
    rng = np.random.default_rng(spec["seed"])
    weights = random_weights(rng, spec)
    vit = ViT(weights, spec["heads"], EPS, "token", torch.float64)
    h, w = spec["size"]
    x = coarse(rng.normal(size=(IMAGES, 3, h, w)) * 0.6 + rng.normal(size=(IMAGES, 3, 1, 1)), 7)
    with torch.no_grad():
        y = vit.logits(torch.as_tensor(x)).argmax(1).numpy()
    y[-1] = (y[-1] + 3) % CLASSES                       # one target that is not the prediction
    runs = {f"n{k}": random_run(rng, k, spec["size"]) for k in spec["runs"]}
    values = compute(vit, x, y, runs)
    # The compact object layout of HDF5 1.10: a third of the file would be bookkeeping otherwise.
    with h5py.File(path, "w", libver=("v110", "v110")) as f:
        f.attrs["about"], f.attrs["global_pool"], f.attrs["ln_eps"] = ABOUT, "token", EPS
        for name, v in (("depth", DEPTH), ("no_embed_class", spec["no_embed_class"]), ("num_classes", CLASSES),
                        ("num_heads", spec["heads"]), ("patch_size", PATCH)):
            f.attrs[name] = np.int64(v)
        f.attrs["img_size"] = np.int64(h) if h == w else np.array([h, w], np.int64)

        def put(name, a):
            packed = dict(chunks=a.shape, compression="gzip", compression_opts=9, shuffle=True)
            f.create_dataset(name, data=a, **(packed if a.nbytes > 1000 else {}))

        f["alpha"] = ALPHA
        put("x", x)
        put("y", y.astype(np.int64))
        for name, a in weights.items():
            put("w/" + name, a)
        for name, run in runs.items():
            for key, a in run.items():
                put(name + "/" + key, a)
        for name, a in values.items():
            put(name, a.astype(np.uint8) if name.endswith("/mask") else a)
    print(path, os.path.getsize(path), "bytes")


def verify(path):
    with h5py.File(path, "r") as f:
        weights = {k: v[()] for k, v in f["w"].items()}
        pool = f.attrs["global_pool"]
        vit = ViT(weights, int(f.attrs["num_heads"]), float(f.attrs["ln_eps"]),
                  pool.decode() if isinstance(pool, bytes) else pool, torch.float64)
        groups = sorted(k for k in f if k[0] == "n" and k[1:].isdigit())
        runs = {g: {k: f[g][k][()] for k in RUN_PARAMETERS + ("t", "noise")} for g in groups}
        worst = 0.0
        for name, a in compute(vit, f["x"][()], f["y"][()], runs).items():
            error = np.abs(a.astype(np.float64) - f[name][()]).max()
            worst = max(worst, error)
            print(f"{os.path.basename(path)} {name:16s} {error:.2e}")
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--rect", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.verify:
        paths = sorted(glob.glob(os.path.join(args.dir, "vit_*.h5")))
        worst = max([verify(p) for p in paths], default=float("inf"))
        print(f"{len(paths)} files, largest error {worst:.2e}")
        return 0 if worst <= 1e-10 else 1
    for name, spec in SPECS.items():
        if name != "vit_tiny_rect" or args.rect:
            write(os.path.join(args.dir, name + ".h5"), spec)
    return 0


if __name__ == "__main__":
    sys.exit(main())
