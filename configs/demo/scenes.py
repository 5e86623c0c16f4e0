#!/usr/bin/env python3
"""Synthetic scenes: one textured object on a cluttered background, with its exact mask.

    scenes.py --seed 7 --count 64 --out DIR

writes an ImageFolder tree (DIR/val/<NN_class>/<index>.png), the bounding boxes in the
format of Kaggle's LOC_val_solution.csv (DIR/boxes.csv), the object masks
(DIR/masks/<NN_class>/<index>.png, 0 or 255) and the class folders in index order
(DIR/classes.txt).  `scene(seed, index)` gives one scene and depends on nothing else.

Some classes share their outline (three discs, two squares, two triangles) and some their
texture (two are striped, two dotted, two made of sectors), so a classifier has to look at
the inside *and* at the contour of the object.
Colour, place, size, pose and light are drawn independently of the class.
"""
import argparse
import csv
import os

import numpy as np
from PIL import Image

SIZE = 96
# (name, outline, texture); the position in this list is the class index.
CLASSES = [
    ("striped_disc", "disc", "stripes"),
    ("target_disc", "disc", "rings"),
    ("pinwheel_disc", "disc", "sectors"),
    ("checkered_square", "square", "checks"),
    ("framed_square", "square", "frames"),
    ("dotted_triangle", "triangle", "dots"),
    ("striped_triangle", "triangle", "stripes"),
    ("speckled_cross", "cross", "speckles"),
    ("faceted_star", "star", "facets"),
    ("dotted_ring", "ring", "dots"),
]
FOLDERS = ["%02d_%s" % (i, name) for i, (name, _, _) in enumerate(CLASSES)]
# Area of each outline for circumradius 1: lets the size be drawn as an area.
UNIT_AREA = {"disc": np.pi, "square": 2.0, "triangle": 1.299, "cross": 2.06,
             "star": 1.47, "ring": np.pi * (1 - 0.45 ** 2)}
YY, XX = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def distance(outline, u, v, r):
    """Signed distance in pixels (negative inside) to an outline of circumradius r."""
    if outline == "disc":
        return np.hypot(u, v) - r
    if outline == "ring":
        return np.abs(np.hypot(u, v) - 0.725 * r) - 0.275 * r
    if outline == "square":
        return np.maximum(np.abs(u), np.abs(v)) - r * 0.7071
    if outline == "triangle":
        return np.maximum(v, np.maximum(-0.5 * v + 0.866 * u, -0.5 * v - 0.866 * u)) - 0.5 * r
    if outline == "cross":
        long, short, a, b = 0.944 * r, 0.33 * r, np.abs(u), np.abs(v)
        return np.minimum(np.maximum(a - long, b - short), np.maximum(a - short, b - long))
    # Star: fold the plane into half a point, where the contour is one straight line.
    half, inner = np.pi / 5, 0.5
    angle = np.abs((np.arctan2(v, u) + half) % (2 * half) - half)
    rho = np.hypot(u, v)
    nx, ny = inner * np.sin(half), 1 - inner * np.cos(half)
    return ((rho * np.cos(angle) - r) * nx + rho * np.sin(angle) * ny) / np.hypot(nx, ny)


def soft(d):
    """Pixel coverage of the half space d < 0: one pixel wide, hence antialiased."""
    return np.clip(0.5 - d, 0, 1)


def wave(x, period, duty):
    """Antialiased stripes: 1 on a fraction `duty` of every period."""
    return soft(np.abs((x / period) % 1 - 0.5) * period - 0.5 * duty * period)


def texture(rng, name, u, v, r):
    """Weight in [0, 1] of the second colour of the object."""
    period = float(np.clip(r * rng.uniform(0.3, 0.4), 6, 11))
    duty = rng.uniform(0.42, 0.58)
    if name == "rings":
        return wave(np.hypot(u, v) + rng.uniform(0, period), period, duty)
    if name == "frames":
        return wave(np.maximum(np.abs(u), np.abs(v)) + rng.uniform(0, period), period, duty)
    if name in ("sectors", "facets"):  # a facet is one side of one point of the star
        blades, phase = (rng.randint(4, 7), rng.uniform(0, 2 * np.pi)) if name == "sectors" else (5, 0)
        theta = np.arctan2(v, u) * blades + phase
        return np.clip(0.5 + np.sin(theta) * np.hypot(u, v) / blades, 0, 1)
    if name == "speckles":
        cells, size = rng.randint(0, 2, (32, 32)), rng.uniform(2.8, 4.2)
        return cells[np.int64(v // size) % 32, np.int64(u // size) % 32].astype(np.float32)
    # The texture is turned independently of the outline it fills.
    t = rng.uniform(0, np.pi)
    a = np.cos(t) * u + np.sin(t) * v + rng.uniform(0, period)
    b = np.cos(t) * v - np.sin(t) * u + rng.uniform(0, period)
    if name == "stripes":
        return wave(a, period, duty)
    if name == "checks":
        wa, wb = wave(a, 1.4 * period, 0.5), wave(b, 1.4 * period, 0.5)
        return wa * wb + (1 - wa) * (1 - wb)
    radius = period * rng.uniform(0.29, 0.36)
    return soft(np.hypot((a / period) % 1 - 0.5, (b / period) % 1 - 0.5) * period - radius)


def turned(rng, cx, cy):
    """Pixel coordinates in a frame at (cx, cy), turned at random and slightly stretched."""
    t, stretch = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.12, 0.12))
    c, s = np.float32(np.cos(t)), np.float32(np.sin(t))
    x, y = XX - np.float32(cx), YY - np.float32(cy)
    return (c * x + s * y) * np.float32(stretch), (c * y - s * x) / np.float32(stretch)


def paint(image, weight, colour):
    image += weight[..., None] * (np.asarray(colour, np.float32) - image)


def background(rng):
    """Smooth coloured noise, translucent patches, lines and small plain shapes."""
    image = np.empty((SIZE, SIZE, 3), np.float32)
    cells, base, spread = rng.randint(2, 7), rng.uniform(0.2, 0.8, 3), rng.uniform(0.1, 0.45)
    for c in range(3):
        coarse = (base[c] + spread * rng.uniform(-1, 1, (cells, cells))).astype(np.float32)
        image[..., c] = np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.BICUBIC))
    for _ in range(rng.randint(2, 6)):
        u, v = turned(rng, *rng.uniform(0, SIZE, 2))
        w, h = rng.uniform(4, 22, 2)
        patch = soft(np.maximum(np.abs(u) - w, np.abs(v) - h)) * rng.uniform(0.2, 0.8)
        paint(image, patch.astype(np.float32), rng.uniform(0, 1, 3))
    for _ in range(rng.randint(2, 7)):
        u, v = turned(rng, *rng.uniform(0, SIZE, 2))
        line = soft(np.maximum(np.abs(u) - rng.uniform(8, 50), np.abs(v) - rng.uniform(0.5, 1.6)))
        paint(image, line * np.float32(rng.uniform(0.5, 1)), rng.uniform(0, 1, 3))
    # Distractors: the outlines of the classes, but small and without a texture.
    outlines = sorted(UNIT_AREA)
    for _ in range(rng.randint(2, 6)):
        u, v = turned(rng, *rng.uniform(0, SIZE, 2))
        shape = distance(outlines[rng.randint(len(outlines))], u, v, rng.uniform(5, 12))
        paint(image, soft(shape) * np.float32(rng.uniform(0.7, 1)), rng.uniform(0, 1, 3))
    return image


def two_colours(rng):
    """Two random colours far enough apart in brightness for a texture to be visible."""
    while True:
        a, b = rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
        if abs(np.dot(a - b, [0.30, 0.59, 0.11])) > 0.3:
            return a, b


def scene(seed, index):
    """Scene `index` of stream `seed`: (rgb uint8, class, mask bool, (x1, y1, x2, y2)).

    The box is half-open and 0-based.  Consecutive indices cycle through the classes.
    RandomState is used because NumPy froze its streams for good; default_rng's may change.
    """
    rng = np.random.RandomState([seed, index])
    label = index % len(CLASSES)
    _, outline, inside = CLASSES[label]
    image = background(rng)
    area = SIZE * SIZE * np.exp(rng.uniform(np.log(0.08), np.log(0.25)))
    r = float(np.sqrt(area / UNIT_AREA[outline]))
    # The frame may cut the tips of large objects, never more than a tenth of the radius.
    margin = min(0.9 * r, SIZE / 2 - 2)
    cx, cy = rng.uniform(margin, SIZE - 1 - margin, 2)
    u, v = turned(rng, cx, cy)
    cover = soft(distance(outline, u, v, r))
    first, second = two_colours(rng)
    skin = texture(rng, inside, u, v, r)[..., None]
    skin = first + skin * (second - first)
    image += cover[..., None] * (skin.astype(np.float32) - image)
    # Light: a slanted ramp over the whole scene, an exposure, and sensor noise.
    t, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    ramp = (np.cos(t) * (XX - SIZE / 2) + np.sin(t) * (YY - SIZE / 2)) / (SIZE / 2)
    image *= ((1 + strength * ramp) * rng.uniform(0.75, 1.15))[..., None]
    image += rng.uniform(0.005, 0.02) * rng.standard_normal(image.shape)
    mask = cover > 0.5
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1)
    rgb = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return rgb, label, mask, box


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, required=True, help="stream of scenes (training: see README)")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    for folder in FOLDERS:
        os.makedirs(os.path.join(args.out, "val", folder), exist_ok=True)
        os.makedirs(os.path.join(args.out, "masks", folder), exist_ok=True)
    with open(os.path.join(args.out, "classes.txt"), "w") as f:
        f.write("\n".join(FOLDERS) + "\n")
    with open(os.path.join(args.out, "boxes.csv"), "w", newline="") as f:
        rows = csv.writer(f, lineterminator="\n")
        rows.writerow(["ImageId", "PredictionString"])
        for index in range(args.count):
            rgb, label, mask, box = scene(args.seed, index)
            name = "%05d" % index
            Image.fromarray(rgb).save(os.path.join(args.out, "val", FOLDERS[label], name + ".png"))
            Image.fromarray(mask.astype(np.uint8) * 255).save(
                os.path.join(args.out, "masks", FOLDERS[label], name + ".png"))
            rows.writerow([name, "%s %d %d %d %d" % ((FOLDERS[label],) + box)])


if __name__ == "__main__":
    main()
