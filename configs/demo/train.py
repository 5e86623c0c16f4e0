#!/usr/bin/env python3
"""Trains the demo's small Vision Transformer from scratch on the scenes of scenes.py.

    train.py --out model

writes model/config.json and model/model.safetensors (float16) in the layout timm publishes
on the hub, and prints the top-1 of the rounded weights on scenes never trained on.
The parameter names are timm's; timm itself is not needed.
"""
import argparse
import hashlib
import json
import math
import multiprocessing
import os
import struct
import tempfile
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from torch import nn

import scenes

# Streams of scenes.  The demo set is 64 scenes of DEMO_SEED, reported but never used to
# choose anything; DEV_SEED was looked at while training, HELDOUT_SEED only at the end.
TRAIN_SEED, DEV_SEED, HELDOUT_SEED, DEMO_SEED = 1, 2, 3, 7
SIZE, PATCH, DIM, DEPTH, HEADS, CLASSES = scenes.SIZE, 8, 96, 6, 3, len(scenes.CLASSES)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        weights = (q * (DIM // HEADS) ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, DIM))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(DIM, eps=1e-6), Attention()
        self.norm2, self.mlp = nn.LayerNorm(DIM, eps=1e-6), Mlp()

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, DIM, PATCH, PATCH)


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.pos_embed = nn.Parameter(torch.zeros(1, (SIZE // PATCH) ** 2 + 1, DIM))
        self.patch_embed = PatchEmbed()
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm, self.head = nn.LayerNorm(DIM, eps=1e-6), nn.Linear(DIM, CLASSES)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(DIM, -1))
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.xavier_uniform_(m.weight)
                nn.init.zeros_(m.bias)

    def tokens(self, x, keep=None):
        """Final tokens; with `keep` (b, n) only those patches enter the network at all."""
        b, g, w = x.shape[0], SIZE // PATCH, self.patch_embed.proj
        x = x.view(b, 3, g, PATCH, g, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(b, g * g, -1)
        pos = self.pos_embed[:, 1:].expand(b, -1, -1)
        if keep is not None:
            rows = torch.arange(b)[:, None]
            x, pos = x[rows, keep], pos[rows, keep]
        x = F.linear(x, w.weight.view(DIM, -1), w.bias) + pos
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(b, -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, x):
        return self.head(self.tokens(x)[:, 0])


def render(job):
    rgb, label, mask, _ = scenes.scene(*job)
    return rgb, label, mask


def dataset(seed, count, cache):
    """Images uint8 (n, 3, 96, 96), labels and masks of a stream, kept in a cache file."""
    with open(scenes.__file__, "rb") as f:
        version = hashlib.sha256(f.read()).hexdigest()[:12]
    path = os.path.join(cache, "dave_demo_%s_%d_%d.npz" % (version, seed, count))
    if not os.path.exists(path):
        with multiprocessing.Pool(2) as pool:
            x = np.empty((count, 3, SIZE, SIZE), np.uint8)
            y, m = np.empty(count, np.int64), np.empty((count, 1, SIZE, SIZE), bool)
            jobs = ((seed, i) for i in range(count))
            for i, (rgb, label, mask) in enumerate(pool.imap(render, jobs, chunksize=100)):
                x[i], y[i], m[i, 0] = rgb.transpose(2, 0, 1), label, mask
        np.savez(path, x=x, y=y, m=m)
    data = np.load(path)
    return tuple(torch.from_numpy(data[k]) for k in "xym")


def uniform(low, high, *shape):
    return low + (high - low) * torch.rand(*shape)


def augment(x, mask, rough):
    """Perturbs a normalised batch the way DAVE's evaluation will; erasure and noise each hit a
    share `rough` of the samples."""
    b = len(x)
    # Quarter turns and flips for all; on half, what DAVE averages over: small rotations,
    # shifts and scalings.  What enters from outside is the mean colour 0.
    some = (torch.rand(b) < 0.5).float()
    angle = torch.randint(4, (b,)) * (math.pi / 2) + some * uniform(-0.3, 0.3, b)
    scale = 1 + some * uniform(-0.15, 0.15, b)
    flip = torch.randint(2, (b,)) * 2.0 - 1
    cos, sin, shift = scale * angle.cos(), scale * angle.sin(), some[:, None] * uniform(-0.15, 0.15, b, 2)
    matrix = torch.stack([flip * cos, -sin, shift[:, 0], flip * sin, cos, shift[:, 1]], 1)
    grid = F.affine_grid(matrix.view(b, 2, 3), x.shape, align_corners=False)
    both = F.grid_sample(torch.cat([x, mask], 1), grid, align_corners=False)
    x, mask = both[:, :3], both[:, 3:]
    x = x[:, torch.randperm(3)] * uniform(0.8, 1.2, b, 3, 1, 1)
    # Deletion and insertion scores show half-erased images: on some samples a random
    # part, at the scale of pixels up to tiles, turns to the mean colour or to blur.
    size = [1, 2, 4, 8, 12, 16][torch.randint(6, ()).item()]
    cells = torch.rand(b, 1, SIZE // size, SIZE // size) < uniform(0, 0.6, b, 1, 1, 1)
    hidden = F.interpolate((cells & (torch.rand(b, 1, 1, 1) < rough)).float(), scale_factor=size)
    blurred = F.interpolate(F.avg_pool2d(x, 8), size=SIZE, mode="bilinear", align_corners=False)
    x = x + hidden * (blurred * (torch.rand(b, 1, 1, 1) < 0.4) - x)
    # Gaussian noise of DAVE's kind.
    t = uniform(0, 0.2, b, 1, 1, 1) * (torch.rand(b, 1, 1, 1) < rough)
    return (1 - t) * x + (1 - (1 - t) ** 2).sqrt() * torch.randn_like(x), mask


def normalised(x):
    return x.float() / 127.5 - 1


@torch.no_grad()
def predict(model, x):
    return torch.cat([model(normalised(part)).argmax(1) for part in x.split(50)])


def save(model, out):
    """config.json and model.safetensors as on the hub, with float16 weights."""
    header, blobs, end = {"__metadata__": {"format": "pt"}}, [], 0
    for name, value in sorted(model.state_dict().items()):
        blobs.append(value.numpy().astype("<f2").tobytes())
        header[name] = {"dtype": "F16", "shape": list(value.shape), "data_offsets": [end, end + len(blobs[-1])]}
        end += len(blobs[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    config = {
        "architecture": "vit_tiny_patch16_224", "num_classes": CLASSES, "num_features": DIM,
        "global_pool": "token",
        "model_args": {"img_size": SIZE, "patch_size": PATCH, "embed_dim": DIM, "depth": DEPTH,
                       "num_heads": HEADS},
        "pretrained_cfg": {
            "tag": "dave_eval_demo", "custom_load": False, "input_size": [3, SIZE, SIZE],
            "fixed_input_size": True, "interpolation": "bicubic", "crop_pct": 1.0,
            "crop_mode": "center", "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": CLASSES,
            "pool_size": None, "first_conv": "patch_embed.proj", "classifier": "head",
            "license": "apache-2.0"}}
    with open(os.path.join(out, "config.json"), "w") as f:
        f.write(json.dumps(config, indent=2) + "\n")


def load(out):
    """Reads the saved weights back, so that what is measured is what is shipped."""
    with open(os.path.join(out, "model.safetensors"), "rb") as f:
        length, = struct.unpack("<Q", f.read(8))
        header, body = json.loads(f.read(length)), f.read()
    del header["__metadata__"]
    state = {}
    for name, t in header.items():
        flat = np.frombuffer(body[t["data_offsets"][0]:t["data_offsets"][1]], "<f2")
        state[name] = torch.from_numpy(flat.astype(np.float32).reshape(t["shape"]))
    model = ViT()
    model.load_state_dict(state)
    return model


def averaged(values, workers):
    """Mean over the workers of a list of tensors, in place."""
    flat = torch.cat([v.reshape(-1) for v in values])
    dist.all_reduce(flat)
    for value, part in zip(values, (flat / workers).split([v.numel() for v in values])):
        value.copy_(part.view_as(value))


def work(rank, args, meeting, data, dev):
    """One of the processes that share every batch: on a CPU this beats threads by far."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", "file://" + meeting, rank=rank, world_size=args.workers)
    torch.manual_seed(args.seed)
    model = load(args.init) if args.init else ViT()
    # Training-only head that tells each patch's class (or background): dense supervision
    # from the known masks makes a from-scratch ViT learn in minutes.  It is not shipped.
    local = nn.Linear(DIM, CLASSES + 1)
    torch.manual_seed(1000 * args.seed + 100 + rank)
    params = list(model.parameters()) + list(local.parameters())
    plain = [p for p in params if p.dim() == 1 or p is model.cls_token or p is model.pos_embed]
    decay = [p for p in params if not any(p is q for q in plain)]
    optimiser = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05},
                                   {"params": plain, "weight_decay": 0.0}], betas=(0.9, 0.98))
    images, labels, masks = data
    shuffle, order = torch.Generator().manual_seed(args.seed), torch.empty(0)
    steps, start, seen = int(args.epochs * args.scenes / args.batch), time.time(), []
    for step in range(steps):
        progress = step / steps
        for group in optimiser.param_groups:
            group["lr"] = args.lr * min((step + 1) / 200, 0.5 + 0.5 * math.cos(math.pi * progress))
        if len(order) < args.batch:
            order = torch.randperm(args.scenes, generator=shuffle)
        pick, order = order[rank:args.batch:args.workers], order[args.batch:]
        x, cover = augment(normalised(images[pick]), masks[pick].float(), args.rough)
        y, cover = labels[pick], F.avg_pool2d(cover, PATCH).flatten(1)[..., None]
        # Early on a part of the patches is left out: faster, and robust to gaps.
        keep, patches = None, cover.shape[1]
        if progress < args.sparse:
            keep = torch.rand(len(pick), patches).argsort(1)[:, :int(patches * args.keep)]
            cover = cover.gather(1, keep[..., None])
        z = model.tokens(x, keep)
        logits = model.head(z[:, 0])
        target = torch.cat([F.one_hot(y, CLASSES)[:, None] * cover, 1 - cover], 2)
        dense = -(target * local(z[:, 1:]).log_softmax(-1)).sum(-1).mean()
        loss = F.cross_entropy(logits, y, label_smoothing=0.05) + dense
        optimiser.zero_grad()
        loss.backward()
        averaged([p.grad for p in params], args.workers)
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        seen.append([loss.item(), dense.item(), (logits.argmax(1) == y).float().mean().item()])
        if (step + 1) % args.report == 0 or step + 1 in (steps, args.stop):
            mine = [part[rank::args.workers] for part in dev]
            right = (predict(model, mine[0]) == mine[1]).float().mean().item()
            summary = torch.tensor(torch.tensor(seen).mean(0).tolist() + [right])
            averaged([summary], args.workers)
            seen = []
            if rank == 0:
                save(model, args.out)
                print("step %d/%d  %.0f s  loss %.3f  dense %.3f  train %.3f  dev %.3f" % (
                    (step + 1, steps, time.time() - start) + tuple(summary.tolist())), flush=True)
        if step + 1 == args.stop:
            break


def train(args):
    data = dataset(TRAIN_SEED, args.scenes, args.cache)
    dev = dataset(DEV_SEED, 1000, args.cache)[:2]
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(  # forked, so that the scenes are shared
            work, (args, os.path.join(folder, "meeting"), data, dev), args.workers, start_method="fork")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--init", help="start from the model in this folder")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, order and augmentation")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--stop", type=int, help="end after this step, the schedule unchanged")
    parser.add_argument("--scenes", type=int, default=24000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--sparse", type=float, default=0.7, help="part of training done on fewer patches")
    parser.add_argument("--keep", type=float, default=0.5, help="share of the patches kept then")
    parser.add_argument("--rough", type=float, default=0.25, help="share of erased and of noisy samples")
    parser.add_argument("--report", type=int, default=250, help="steps between checkpoints")
    parser.add_argument("--workers", type=int, default=2, help="processes; must divide the batch")
    parser.add_argument("--cache", default=tempfile.gettempdir(), help="folder for the drawn scenes")
    parser.add_argument("--eval-only", action="store_true", help="measure the model in --out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.eval_only:
        train(args)
    model = load(args.out)
    data = dataset(HELDOUT_SEED, 4000, args.cache)
    guess = predict(model, data[0])
    print("held-out top-1, float16 weights: %.2f %% of %d scenes (seed %d)" % (
        100 * (guess == data[1]).float().mean().item(), len(guess), HELDOUT_SEED))
    for i, folder in enumerate(scenes.FOLDERS):
        print("  %-20s %.1f %%" % (folder, 100 * (guess == i)[data[1] == i].float().mean().item()))
    demo = dataset(DEMO_SEED, 64, args.cache)
    print("demo scenes right: %d of 64" % (predict(model, demo[0]) == demo[1]).sum().item())


if __name__ == "__main__":
    main()
