"""Stand-in for `dave-replay GOLDEN.h5 -o OUT.h5`, in torch: the same inputs, the same names, by default float32.

  torch_replay.py GOLDEN.h5 OUT.h5 [--model DIR] [--float64]

--model is needed for deit_tiny_real.h5, whose weights are a model folder. With it, the comparison scripts can be tried
out (and seen to fail) without the C program, and the bars in compare_replay.py were set by what float32 costs here.
"""
import argparse

import h5py
import torch

from make_goldens import compute
from torch_dave import CURVES, RUN_PARAMETERS, deletion_curve, run_samples
from torch_vit import ViT, load_timm


def replay_small(f, out, dtype):
    weights = {k: v[()] for k, v in f["w"].items()}
    pool = f.attrs["global_pool"]
    vit = ViT(weights, int(f.attrs["num_heads"]), float(f.attrs["ln_eps"]),
              pool.decode() if isinstance(pool, bytes) else pool, dtype)
    groups = [k for k in f if k[0] == "n" and k[1:].isdigit()]
    runs = {g: {k: f[g][k][()] for k in RUN_PARAMETERS + ("t", "noise")} for g in groups}
    x = torch.as_tensor(f["x"][()]).to(dtype)
    for name, a in compute(vit, x, f["y"][()], runs).items():
        out[name] = a.astype("u1" if name.endswith("mask") else "f4")


def replay_real(f, out, vit):
    for name in (k for k in f if k.startswith("image")):
        g = f[name]
        x, target = torch.as_tensor(g["x"][()]).to(vit.dtype), int(g.attrs["target"])
        run = {k: g[k][()][:, None] for k in RUN_PARAMETERS}
        run["t"], run["noise"] = g["t"][()], torch.as_tensor(g["noise"][()])[:, None].to(vit.dtype)
        stages = run_samples(vit, x[None], [target], run)
        o = out.create_group(name)
        o["logits"] = vit.logits(x[None])[0].detach().numpy().astype("f4")
        o["weff"] = stages["weff"][:, 0].numpy().astype("f4")
        o["agg"] = stages["agg"][0].numpy().astype("f4")
        o["post"] = stages["post"][0, 0].numpy().astype("f4")
        for curve, protocol in CURVES.items():
            # The recorded post-processed map is what is ranked, so that the metric is tested apart from the map.
            values = deletion_curve(vit, x, target, torch.as_tensor(g["post"][()]), protocol)
            o[curve] = values.numpy().astype("f4")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden")
    parser.add_argument("out")
    parser.add_argument("--model")
    parser.add_argument("--float64", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    dtype = torch.float64 if args.float64 else torch.float32
    with h5py.File(args.golden, "r") as f, h5py.File(args.out, "w") as out:
        if "image0" in f:
            replay_real(f, out, load_timm(args.model, dtype)[0])
        else:
            replay_small(f, out, dtype)


if __name__ == "__main__":
    main()
