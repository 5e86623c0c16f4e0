#!/usr/bin/env python3
"""
Writes a results file of any size that is true to the schema (analysis/README.md) without running the program: for tests
of the analysis. What is in it is made up, but consistent: areas are those of the curves, maps have their largest
magnitude at 1, methods differ by a known amount.

    make_results.py OUT.h5 --images 50000 --methods dave,gradient,random --size 32 [--pictures DIR]
    from make_results import make; make('a.h5', images=64, methods={'dave': {}, 'random': {}})
"""
import argparse
import hashlib
import os
import zlib

import h5py
import numpy as np

POINTS = 30
# metric -> (kind, preset, parameters, figures, has a curve)
METRICS = {
    'deletion': ('deletion', 'rise_dataset', {'order': 'most'}, ('auc', 'auc_published'), True),
    'insertion': ('insertion', 'rise_dataset', {'order': 'most'}, ('auc', 'auc_published'), True),
    'deletion_dave': ('deletion', 'dave', {'order': 'least'}, ('auc', 'auc_published'), True),
    'gridpg': ('gridpg', 'none', {'n': 2}, ('score', 'own'), False),
    'energypg': ('energypg', 'none', {}, ('energy', 'gain'), False),
    'pointing_game': ('pointing_game', 'none', {'tolerance': 15}, ('hit',), False),
    'stability': ('stability', 'none', {'sigma': .1}, ('pearson', 'spearman', 'relative_l2'), False),
    'sensitivity_max': ('sensitivity_max', 'none', {'draws': 10}, ('sensitivity',), False),
    'grid_artifact': ('grid_artifact', 'none', {}, ('border_ratio', 'lattice_energy'), False),
    'sparseness': ('sparseness', 'none', {}, ('gini',), False),
    'entropy': ('entropy', 'none', {}, ('entropy',), False),
    'randomisation': ('randomisation', 'none', {}, ('correlation', 'last'), False),
}
DEFAULT_METRICS = ('deletion', 'insertion')
FALLING = ('sensitivity_max', 'grid_artifact', 'entropy', 'randomisation')  # lower is better
BLOCK = 1024


def put_text(item, name, value):
    item.attrs.create(name, np.bytes_(str(value).encode()))


def put_parameters(group, parameters):
    for k, v in parameters.items():
        if isinstance(v, (bool, str)):
            put_text(group, k, str(v).lower() if isinstance(v, bool) else v)
        else:
            group.attrs[k] = np.int32(v) if isinstance(v, int) else np.float64(v)


def add(file, path, data, axes=(), description='made up'):
    """A contiguous data set with its dimension scales. data: an array, or (shape, dtype) to be filled later."""
    if isinstance(data, tuple):
        d = file.create_dataset(path, data[0], data[1])
    else:
        d = file.create_dataset(path, data=data)
    put_text(d, 'description', description)
    for i, axis in enumerate(axes):
        d.dims[i].attach_scale(file[axis])
        d.dims[i].label = axis.rpartition('/')[2]
    return d


def add_axis(file, path, values):
    add(file, path, values).make_scale(path.rpartition('/')[2])


def quality(kind):
    """How good a method of this kind is made, 0 (random) to 1."""
    known = {'random': 0., 'dave': .8, 'gradient': .3, 'input_x_gradient': .45, 'effective': .55}
    return known.get(kind, .3 + zlib.crc32(kind.encode()) % 100 / 250)


def curves(rng, n, good, falling, probability):
    """Scores (n, POINTS) that fall faster, or rise sooner, the better the method."""
    fraction = np.linspace(0, 1, POINTS)
    rate = (1 + 8 * good) * np.exp(rng.normal(0, .3, (n, 1)))
    shape = np.exp(-rate * fraction) if falling else 1 - np.exp(-rate * fraction)
    noise = rng.normal(0, .02, (n, POINTS))
    return np.clip(probability[:, None] * shape + noise, 0, 1).astype(np.float32)


def write_maps(d, rng, n, size, good):
    """Blobs, one of 64 a row, with noise that a better method has less of; the largest magnitude is 1."""
    y, x = np.mgrid[:size, :size] / size
    centres = rng.uniform(.25, .75, (64, 2))
    blobs = np.exp(-((y - centres[:, :1, None]) ** 2 + (x - centres[:, 1:, None]) ** 2) / .02)
    blobs += (1 - good) * rng.normal(0, .25, blobs.shape)
    blobs = (blobs / np.abs(blobs).max((1, 2), keepdims=True)).astype(d.dtype)
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        d[start:start + len(rows)] = blobs[rows % 64]
    return centres


def write_pictures(folder, paths, size, rng):
    """64 pictures, under all the names that are asked for."""
    from PIL import Image

    first = {}
    for i, path in enumerate(paths):
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if i % 64 not in first:
            pixels = np.kron(rng.integers(0, 256, (4, 5, 3), np.uint8), np.ones((size // 4 + 1, size // 4 + 1, 1), np.uint8))
            Image.fromarray(pixels).save(full, quality=90)
            first[i % 64] = full
        else:
            if os.path.exists(full):
                os.unlink(full)
            os.link(first[i % 64], full)


def config_text(methods, metrics, root, seed, dtype):
    lines = ['run:', f'  seed: {seed}', 'model:', '  path: "model"', 'data:', f'  path: "{root}"', '  classes: ""',
             '  target: "label"', '  limit: 0', 'engine:', '  batch: auto', '  threads: 1', 'store:', f'  maps: {dtype}',
             '  raw: false', 'methods:']
    for name, parameters in methods.items():
        lines += [f'  - {parameters.get("method", name)}:', f'      name: "{name}"']
        lines += [f'      {k}: {str(v).lower() if isinstance(v, bool) else v}' for k, v in parameters.items() if k != 'method']
    lines.append('metrics:')
    for name in metrics:
        kind, preset, parameters = METRICS[name][:3]
        lines += [f'  - {kind}:', f'      name: "{name}"', f'      preset: {preset}']
        lines += [f'      {k}: {v}' for k, v in parameters.items()]
    return '\n'.join(lines) + '\n'


def make(path, images=64, methods=None, metrics=DEFAULT_METRICS, size=32, seed=1, classes=10, dtype='float16', pending=0,
         failed=0, boxes=False, pictures=None, effect=None, attrs=None):
    """methods: name -> parameters (key `method`: the kind, where the name is another); pending, failed: how many of the
    last rows are so; boxes: /images/boxes and region_share too; pictures: a folder to write the images to; effect: name ->
    quality (0 to 1) instead of that of the kind; attrs: of the root, instead of the usual."""
    methods = {'dave': {'samples': 50, 'alpha': .3}, 'random': {}} if methods is None else methods
    n, rng = images, np.random.default_rng(seed)
    shared = np.random.default_rng(20)  # what all files of one size agree on
    label = (np.arange(n) * classes // max(n, 1)).astype(np.int32)
    paths = [f'{label[i]:03d}/{i:06d}.jpg' for i in range(n)]
    status = np.ones(n, np.uint8)
    status[n - pending - failed:n - pending] = 2
    status[n - pending:] = 0
    done = status == 1
    root = os.path.abspath(pictures) if pictures else 'pictures'
    with h5py.File(path, 'w') as f:
        f.attrs['seed'] = np.uint64(seed)
        f.attrs['batch'] = np.int32(8)
        usual = {'program': 'dave-eval', 'program_version': '0.0.0', 'git_revision': 'made up', 'cpu_kernels': 'Haswell',
                 'config': config_text(methods, metrics, root, seed, dtype), 'checkpoint_sha256': 'c' * 64,
                 'data_sha256': hashlib.sha256('\n'.join(paths).encode()).hexdigest(), 'architecture': 'vit_made_up',
                 'model': f'architecture: vit_made_up\ninput_size: [3, {size}, {size}]\npatch_size: 8\ncrop_pct: 0.9\ninterpolation: bicubic\n',
                 'definitions': 'made up'}
        for k, v in {**usual, **(attrs or {})}.items():
            put_text(f, k, v)
        for name in 'images', 'summary':
            f.create_group(name)
        add_axis(f, '/image', np.arange(n, dtype=np.int32))
        for axis in 'y', 'x':
            add_axis(f, '/' + axis, np.arange(size, dtype=np.float64))

        fields = []

        def per_image(name, values, dtype_=None, axes=()):
            """A field, rows that are not done cleared as the program clears them."""
            values = np.asarray(values, dtype_)
            if values.dtype.kind == 'f':
                values[status == 2] = np.nan
                values[status == 0] = 0
            elif values.dtype.kind == 'i' and name != '/images/label':
                values[status == 2] = -1
                values[status == 0] = 0
            if name not in ('/images/path', '/images/label', '/images/status', '/images/checksum'):
                fields.append(name)
            add(f, name, values, ('/image', *axes))
            return values

        probability = shared.uniform(.5, 1, n)
        per_image('/images/path', np.array([p.encode() for p in paths]))
        per_image('/images/label', label)
        per_image('/images/target', label, np.int32)
        right = shared.uniform(size=n) < .9
        per_image('/images/prediction', np.where(right, label, (label + 1) % classes), np.int32)
        per_image('/images/probability', probability)
        per_image('/images/confidence', np.maximum(probability, .6))
        per_image('/images/logit', shared.normal(8, 2, n), np.float32)
        per_image('/images/pixel_share', shared.normal(.7, .2, n))
        per_image('/images/error', np.array([b'cannot decode: premature end' if s == 2 else b'' for s in status], 'S256'))
        per_image('/images/status', status)
        per_image('/images/checksum', np.where(done, shared.integers(1, 2 ** 32, n), 0), np.uint32)
        if boxes:
            corner = shared.integers(0, size // 2, (n, 1, 2))
            box = np.concatenate([corner, corner + shared.integers(4, size // 2, (n, 1, 2))], 2)
            box = np.concatenate([box, np.full((n, 1, 4), -1)], 1).astype(np.int32)
            none = shared.uniform(size=n) < .1
            box[none] = -1
            add_axis(f, '/box', np.arange(2, dtype=np.float64))
            add_axis(f, '/edge', np.arange(4, dtype=np.float64))
            per_image('/images/boxes', box, axes=('/box', '/edge'))
            per_image('/images/region', np.where(none, 0, 1), np.uint8)
            share = ((box[:, 0, 2:] - box[:, 0, :2]).prod(1) / size ** 2).astype(float)
            per_image('/images/region_share', np.where(none, np.nan, share))

        summary = []
        for name, parameters in methods.items():
            kind = parameters.get('method', name)
            good = (effect or {}).get(name, quality(kind))
            g = f.create_group(f'/methods/{name}')
            put_text(g, 'method', kind)
            put_text(g, 'definition', 'made up')
            put_parameters(g, {k: v for k, v in parameters.items() if k != 'method'})
            base = f'/methods/{name}'
            write_maps(add(f, base + '/map', ((n, size, size), dtype), ('/image', '/y', '/x')), rng, n, size, good)
            fields.append(base + '/map')
            per_image(base + '/scale', rng.lognormal(0, 1, n))
            if kind == 'dave':
                summary.append((f'{name}/mc_error', per_image(base + '/mc_error', rng.uniform(.3, .5, n))))
            for metric in metrics:
                kind_, preset, parameters_, figures, has_curve = METRICS[metric]
                mg = f.create_group(f'{base}/{metric}')
                put_text(mg, 'metric', kind_)
                put_text(mg, 'definition', 'made up')
                put_text(mg, 'preset', preset)
                put_parameters(mg, parameters_)
                values = {}
                if has_curve:
                    fraction = np.linspace(0, 1, POINTS)
                    add_axis(f, f'{base}/{metric}/fraction', fraction)
                    falling = kind_ == 'deletion'
                    rate = 1 - good if parameters_.get('order') == 'least' else good
                    c = curves(rng, n, rate, falling, probability)
                    if preset == 'dave':
                        c[(probability < .9) | ~right] = np.nan  # do not qualify
                    c = per_image(f'{base}/{metric}/curve', c, axes=(f'{base}/{metric}/fraction',))
                    area = np.trapz(c.astype(np.float64), fraction, axis=1)
                    values = {'auc': area, 'auc_published': 100 * area}
                for figure in figures:
                    v = values.get(figure)
                    if v is None:
                        level = 1 - good if metric in FALLING or figure == 'relative_l2' else good
                        v = np.clip(rng.normal(.2 + .5 * level, .15, n), 0, 1)
                        if figure == 'hit':
                            v = np.round(v)
                    summary.append((f'{name}/{metric}/{figure}', per_image(f'{base}/{metric}/{figure}', v)))
        add_axis(f, '/images/checksum_fields', np.array([x.encode() for x in fields]))
        add_axis(f, '/summary/name', np.array([s[0].encode() for s in summary] or [b'none']))
        for column in 'n', 'mean', 'std', 'ci_low', 'ci_high':
            values = np.full(max(len(summary), 1), np.nan)
            for i, (_, v) in enumerate(summary):
                v = v[done & np.isfinite(v)]
                if not pending and len(v):
                    values[i] = {'n': len(v), 'mean': v.mean(), 'std': v.std(ddof=1) if len(v) > 1 else np.nan}.get(column, np.nan)
            add(f, '/summary/' + column, values, ('/summary/name',))
        add(f, '/summary/status_count', np.bincount(status, minlength=3).astype(np.int32))
    if pictures:
        write_pictures(root, paths, 2 * size, shared)
    return path


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('output')
    p.add_argument('--images', type=int, default=64)
    p.add_argument('--methods', default='dave,random')
    p.add_argument('--metrics', default=','.join(DEFAULT_METRICS), help=f'or all: {",".join(METRICS)}')
    p.add_argument('--size', type=int, default=32)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--pending', type=int, default=0)
    p.add_argument('--failed', type=int, default=0)
    p.add_argument('--boxes', action='store_true')
    p.add_argument('--pictures')
    a = p.parse_args()
    make(a.output, a.images, {m: {} for m in a.methods.split(',')},
         METRICS if a.metrics == 'all' else a.metrics.split(','), a.size, a.seed, pending=a.pending, failed=a.failed,
         boxes=a.boxes, pictures=a.pictures)
