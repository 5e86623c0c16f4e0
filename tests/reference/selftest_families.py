"""Is the reference right, and do its goldens tell right from wrong?

  selftest_families.py            the networks of ../golden/families

For every golden: its folder loads and gives the recorded numbers; the true gradient agrees with finite differences; freezing
changes no value; the frozen network accounts for the whole logit (bar 1e-10); both gradients differ. For the parts: blocks
against torch.nn.TransformerEncoderLayer, resampling of positions against torch.nn.functional.interpolate, the B-cos
convolution against unfolded patches. names.json lists the names that the folders have, and the published numbers of parameters
follow from its shapes. And every switch of a family, when set wrong, changes its golden by more than ten times the bar that
the program has to keep.
"""
import json
import math
import os
import re
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

from checks import Report
from make_family_goldens import SEEDS, verify
from torch_families import ViT, pick, positions
from torch_folders import load, read_weights

HERE = os.path.dirname(os.path.abspath(__file__))
FAMILIES = os.path.join(HERE, "../golden/families")
BAR = 2e-5                                              # what the program has to keep


def goldens(folder):
    return sorted(f for f in os.listdir(folder) if f.startswith("golden"))


def opened(folder, file, dtype=torch.float64):
    """(network, x, y, weff_clean) of a golden."""
    with h5py.File(os.path.join(folder, file), "r") as f:
        head, pool = (f.attrs.get(k, b"").decode() for k in ("head_file", "head_input"))
        net = load(folder, dtype, head and os.path.join(folder, head), pool)
        return net, torch.as_tensor(f["x"][()]), torch.as_tensor(f["y"][()]), f["weff_clean"][()]


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


# ------------------------------------------------------------------- the goldens
def finite_differences(net, x, y):
    """Largest relative error of the true gradient along random directions, all images at once."""
    torch.manual_seed(1)
    # |o| o of a B-cos unit has a kink in its slope where o = 0: the step must hardly ever cross one.
    gradient, worst, h = net.gradient(x, y), 0.0, 1e-4 if isinstance(net, ViT) else 1e-6
    for _ in range(6):
        v = torch.randn_like(x)
        with torch.no_grad():
            # Fourth order, so that the step may be large enough for rounding not to matter.
            f = [pick(net.logits(x + k * h * v), y) for k in (-2, -1, 1, 2)]
        slope = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
        size = gradient.flatten(1).norm(dim=1) * v.flatten(1).norm(dim=1) / x[0].numel() ** 0.5
        worst = max(worst, float(((gradient * v).flatten(1).sum(1) - slope).abs().div(size).max()))
    return worst


def single_precision(folder, file):
    """Largest error in float32 against the golden: a quarter of the bar at most, the rest is left to the program."""
    net, x, y, weff = opened(folder, file, torch.float32)
    with h5py.File(os.path.join(folder, file), "r") as f:
        logits, plain = torch.as_tensor(f["logits"][()]), torch.as_tensor(f["plain_grad"][()])
    return max(relative(net.logits(x).detach(), logits), relative(net.gradient(x, y), plain),
               relative(net.effective_gradient(x, y), torch.as_tensor(weff)))


def check_golden(report, title, net, x, y):
    report.check(title + " finite differences", finite_differences(net, x, y), 1e-7)
    values = net.logits(x)
    report.check(title + " freezing, values", relative(net.logits(x, frozen=True), values), 1e-14)
    total = sum(net.account(x, y).values())
    chosen = pick(values, y).detach()
    report.check(title + " account", float(((total - chosen) / chosen).abs().max()), 1e-10)
    effective = net.effective_gradient(x, y)
    report.check(title + " gradients differ", relative(effective, net.gradient(x, y)), 0.01, at_least=True)


# --------------------------------------------------------------------- the parts
def check_blocks(report):
    """torch's own pre-norm encoder layer has the same definition as a plain block, erf GELU included."""
    net, x, _, _ = opened(os.path.join(FAMILIES, "vit"), "golden.h5")
    w, d = net.w, net.w["cls_token"].shape[-1]
    t = net._embed(x, False)
    for i in range(net.depth):
        b = f"blocks.{i}."
        layer = torch.nn.TransformerEncoderLayer(d, net.heads, w[b + "mlp.fc1.weight"].shape[0], 0.0, F.gelu, net.eps,
                                                 batch_first=True, norm_first=True, dtype=torch.float64)
        names = {"self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.", "linear1.": "mlp.fc1.",
                 "linear2.": "mlp.fc2.", "norm1.": "norm1.", "norm2.": "norm2."}
        layer.load_state_dict({a + k: w[b + c + k] for a, c in names.items() for k in ("weight", "bias")})
        t = layer(t)
    t = F.layer_norm(t, (d,), w["norm.weight"], w["norm.bias"], net.eps)
    report.check("blocks against torch.nn", relative(F.linear(t[:, 0], w["head.weight"], w["head.bias"]), net.logits(x)),
                 1e-12)


def check_activations(report):
    z = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    net, _, _, _ = opened(os.path.join(FAMILIES, "vit"), "golden.h5")
    for frozen in (False, True):
        report.check(f"gelu, frozen {frozen}", float((net._gelu(z, frozen) - F.gelu(z)).abs().max()), 1e-15)
    net, _, _, _ = opened(os.path.join(FAMILIES, "dinov2_giant"), "golden.h5")
    u = torch.randn(3, 16, dtype=torch.float64)
    gate, value = F.linear(u, net.w["blocks.0.mlp.fc1.weight"], net.w["blocks.0.mlp.fc1.bias"]).chunk(2, -1)
    expected = F.linear(F.silu(gate) * value, net.w["blocks.0.mlp.fc2.weight"], net.w["blocks.0.mlp.fc2.bias"])
    report.check("packed SwiGLU", relative(net._mlp(u, "blocks.0.", True), expected), 1e-14)


def check_positions(report):
    torch.manual_seed(2)
    for antialias in (True, False):
        worst, prefix_moved = 0.0, 0.0
        for old, new in (((14, 14), (24, 24)), ((14, 14), (7, 7)), ((14, 14), (9, 20)), ((6, 9), (12, 5)), ((37, 37), (16, 16)),
                         ((3, 3), (1, 2)), ((5, 4), (5, 4)), ((16, 16), (17, 15))):
            table = torch.randn(1, 5 + old[0] * old[1], 6, dtype=torch.float64)
            got = positions(table, 5, new, old, antialias)
            picture = table[:, 5:].reshape(1, *old, 6).permute(0, 3, 1, 2)
            expected = F.interpolate(picture, size=new, mode="bicubic", antialias=antialias).permute(0, 2, 3, 1)
            worst = max(worst, float((got[:, 5:] - expected.reshape(1, -1, 6)).abs().max()))
            prefix_moved = max(prefix_moved, float((got[:, :5] - table[:, :5]).abs().max()))
        report.check(f"positions, antialias {antialias}", worst, 1e-12)
        report.check(f"prefix rows, antialias {antialias}", prefix_moved, 0.0)


def check_convolution(report):
    """A B-cos convolution is the B-cos unit on unfolded patches; its norms are those of torch."""
    net, x, _, _ = opened(os.path.join(FAMILIES, "bcos_vitc"), "golden.h5")
    name = "0.to_patch_embedding.conv_stem.0"
    w = net.w[name + ".linear.weight"]
    patches = F.unfold(x, 3, padding=1, stride=2)
    rows = w.flatten(1) / w.flatten(1).norm(dim=1, keepdim=True)
    o, n = rows @ patches, (patches.square().sum(1, keepdim=True) + 1e-6).sqrt()
    u = net._convolve(x, name, False)
    report.check("B-cos convolution", relative(u.flatten(2), o.abs() / n * o), 1e-13)
    gamma = net.w["0.to_patch_embedding.conv_stem.1.weight"]
    report.check("norm of the stem", relative(net._norm(u, "0.to_patch_embedding.conv_stem.1", False),
                                              F.group_norm(u, 1, gamma, None, 1e-5)), 1e-13)


def check_folding(report):
    """With registers, `transformers` adds the class token's row of the table, then slips the registers in between."""
    folder = os.path.join(FAMILIES, "tf_dinov2_reg")
    raw, net = read_weights(folder), opened(folder, "golden.h5")[0]
    e, x = "dinov2_with_registers.embeddings.", opened(folder, "golden.h5")[1]
    t = net._embed(x, False)
    raw = {k: torch.as_tensor(np.float64(a)) for k, a in raw.items()}
    cls = raw[e + "cls_token"] + raw[e + "position_embeddings"][:, :1]
    patches = F.conv2d(x, raw[e + "patch_embeddings.projection.weight"], raw[e + "patch_embeddings.projection.bias"],
                       stride=net.patch).flatten(2).transpose(1, 2) + raw[e + "position_embeddings"][:, 1:]
    expected = torch.cat([cls.expand(len(x), -1, -1), raw[e + "register_tokens"].expand(len(x), -1, -1), patches], 1)
    report.check("registers of transformers", relative(t, expected), 1e-14)


def expanded(family, blocks):
    """name -> number of elements of every tensor of a family of names.json."""
    sizes, out = family["sizes"], {}
    for name, shape in family["tensors"].items():
        factors = re.findall(r"\d+|[A-Z]", shape)
        count = math.prod(int(f) if f.isdigit() else sizes[f] for f in factors)
        for block in range(blocks) if "{l}" in name else (0,):
            out[name.replace("{l}", str(block))] = count
    return out


def check_names(report):
    with open(os.path.join(HERE, "names.json")) as f:
        families = json.load(f)["families"]
    for family in families:
        folder = os.path.join(FAMILIES, family["golden"])
        if family["layout"] != "bcos" or "simple" in family["golden"]:
            # Stems have as many convolutions as the network wants: their names are held by the parameters alone.
            differ = set(expanded(family, 2)) ^ set(read_weights(folder))
            report.check(family["name"] + ": names", len(differ), 0, " ".join(sorted(differ)))
        if "million" in family:
            count = sum(expanded(family, family["sizes"]["L"]).values()) / 1e6
            report.check(family["name"] + ": parameters", abs(count - family["million"]), 0.5 * 10 ** -decimals(family))
        with open(os.path.join(folder, "config.json")) as f:
            missing = set(family.get("config", ())) - set(json.load(f)) - {"interpolate_antialias", "interpolate_offset"}
        report.check(family["name"] + ": config", len(missing), 0, " ".join(sorted(missing)))


def decimals(family):
    return len(str(family["million"]).partition(".")[2])


# ------------------------------------------------------------ wrong on purpose
def without(name):
    return lambda w: {k: v for k, v in w.items() if name not in k}


def swapped(first, second):
    """The weights with two tensors of the same shape exchanged in every block."""
    def change(w):
        return {(k.replace(first, second) if first in k else k.replace(second, first)): v for k, v in w.items()}
    return change


def halves_exchanged(w):
    return {k: torch.cat(v.chunk(2)[::-1]) if "mlp.fc1" in k else v for k, v in w.items()}


# family -> (what is wrong, attributes set wrong, change of the weights)
WRONG = {
    "vit": [("heads", dict(heads=2), None), ("pool", dict(pool="avg"), None), ("quick_gelu", dict(act="quick_gelu"), None)],
    "vit_rect": [("no positions", {}, without("nothing"))],
    "vit_avg": [("norm before the mean", {}, lambda w: {k.replace("fc_norm", "norm"): v for k, v in w.items()})],
    "vit_gap": [("norm after the mean", {}, lambda w: {("fc_" + k if k.startswith("norm.") else k): v for k, v in w.items()}),
                ("no LayerScale", {}, without(".ls"))],
    "vit_reg_gap": [("registers pooled", dict(prefix=0), None), ("no registers", dict(prefix=0), without("reg_token"))],
    "vit_qknorm": [("no q_norm", {}, without("q_norm")), ("q_norm and k_norm exchanged", {}, swapped("q_norm", "k_norm"))],
    "deit_distilled": [("one head", {}, without("head_dist")), ("tokens exchanged", {}, swapped("cls_token", "dist_token"))],
    "deit3": [("ls1 and ls2 exchanged", {}, swapped("ls1", "ls2"))],
    "dino_interleaved": [("concatenated", dict(pool="both"), None)],
    "dinov2": [("interleaved", dict(pool="interleaved"), None)],
    "dinov2_giant": [("gate and value exchanged", {}, halves_exchanged)],
    "swiglu_apart": [("gate and value exchanged", {}, swapped("fc1_g", "fc1_x"))],
    "clip": [("eps", dict(eps=1e-6), None), ("no norm_pre", {}, without("norm_pre")),
             ("quick_gelu", dict(act="quick_gelu"), None)],
    "clip_quickgelu": [("gelu", dict(act="gelu"), None), ("eps", dict(eps=1e-6), None)],
    "tf_vit": [("eps", dict(eps=1e-6), None)],
    "tf_deit": [("eps", dict(eps=1e-6), None)],
    "tf_dinov2/golden_6x10.h5": [("antialias", dict(antialias=True), None)],
    "tf_dinov2_reg/golden_6x10.h5": [("no antialias", dict(antialias=False), None)],
    "vit_resampled/golden_6x4.h5": [("no antialias", dict(antialias=False), None)],
    "vit_resampled/golden_10x12.h5": [("no antialias", dict(antialias=False), None)],
    "bcos_simple": [("B = 1.5", dict(b=1.5), None), ("bias", dict(bias=0.0), None), ("heads", dict(heads=2), None),
                    ("eps", dict(eps=1e-3), None)],
    "bcos_vitc": [("eps", dict(eps=1e-3), None)],
}


def check_wrong(report):
    for where, cases in WRONG.items():
        name, _, file = where.partition("/")
        folder = os.path.join(FAMILIES, name)
        for title, attributes, change in cases:
            net, x, y, golden = opened(folder, file or "golden.h5")
            if title == "no positions":
                net.w["pos_embed"] = 0 * net.w["pos_embed"]
            elif attributes.get("heads") == net.heads:
                attributes = dict(heads=net.heads * 2)
            net.w = change(net.w) if change else net.w
            for key, value in attributes.items():
                setattr(net, key, value)
            golden = torch.as_tensor(golden)
            with h5py.File(os.path.join(folder, file or "golden.h5"), "r") as f:
                scores = torch.as_tensor(f["logits"][()])
            error = max(relative(net.effective_gradient(x, y), golden), relative(net.logits(x), scores))
            report.check(f"{name}: {title}", error, 10 * BAR, at_least=True)


def main():
    torch.set_num_threads(1)
    report = Report()
    for name in SEEDS:
        folder = os.path.join(FAMILIES, name)
        report.check(name + " folder", verify(folder), 1e-10)
        for file in goldens(folder):
            check_golden(report, name + file[6:-3], *opened(folder, file)[:3])
            report.check(name + file[6:-3] + " float32", single_precision(folder, file), BAR / 4)
    for part in (check_blocks, check_activations, check_positions, check_convolution, check_folding, check_names, check_wrong):
        part(report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
