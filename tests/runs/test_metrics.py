"""
Curves, maps and figures against an independent computation in float64: the network, its gradient (by differences)
and the metrics are written here anew from methods.md, and share no code with the program.
"""
import json
import math
import os

import h5py
import numpy as np

from support import DEPTH, HEADS, PATCH, SIZE, WIDTH, base_config, changed, main

erf = np.vectorize(math.erf)


def norm(x, w, name):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * w[name + '.weight'] + w[name + '.bias']


def linear(x, w, name):
    return x @ w[name + '.weight'].T + w[name + '.bias']


def forward(w, x):
    """Logits (n, classes) of images (n, 3, H, W)."""
    n, side = len(x), SIZE // PATCH
    patches = x.reshape(n, 3, side, PATCH, side, PATCH).transpose(0, 2, 4, 1, 3, 5).reshape(n, side * side, -1)
    z = patches @ w['patch_embed.proj.weight'].reshape(WIDTH, -1).T + w['patch_embed.proj.bias']
    z = np.concatenate([np.broadcast_to(w['cls_token'], (n, 1, WIDTH)), z], 1) + w['pos_embed']
    for i in range(DEPTH):
        b = f'blocks.{i}.'
        q, k, v = linear(norm(z, w, b + 'norm1'), w, b + 'attn.qkv').reshape(
            n, -1, 3, HEADS, WIDTH // HEADS).transpose(2, 0, 3, 1, 4)
        a = q @ k.transpose(0, 1, 3, 2) / math.sqrt(WIDTH // HEADS)
        a = np.exp(a - a.max(-1, keepdims=True))
        a /= a.sum(-1, keepdims=True)
        z = z + linear((a @ v).transpose(0, 2, 1, 3).reshape(n, -1, WIDTH), w, b + 'attn.proj')
        h = linear(norm(z, w, b + 'norm2'), w, b + 'mlp.fc1')
        z = z + linear(h * .5 * (1 + erf(h / math.sqrt(2))), w, b + 'mlp.fc2')
    return linear(norm(z[:, 0], w, 'norm'), w, 'head')


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def preprocess(path, mean, std):
    from PIL import Image

    with Image.open(path) as image:
        image = image.convert('RGB')
    w, h = image.size
    size = int(SIZE / .9)
    new = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
    image = image.resize(new, Image.BICUBIC)
    left, top = round((new[0] - SIZE) / 2), round((new[1] - SIZE) / 2)
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE))).astype(np.float64)
    return (pixels.transpose(2, 0, 1) / 255 - mean) / std


def gaussian(n, sigma):
    x = np.arange(n) - n // 2
    taps = np.exp(-x * x / (2 * sigma * sigma))
    return taps / taps.sum()


def rise():
    """scipy.ndimage.gaussian_filter of a delta of 11 entries, sigma 5: ends folded (mode `reflect`), cut at 4 sigma."""
    delta = np.zeros(11)
    delta[5] = 1
    return np.convolve(np.pad(delta, 20, mode='symmetric'), gaussian(41, 5), mode='valid')


def blur(x, taps):
    """Separable, zeros outside."""
    r = len(taps) // 2
    for axis in 1, 2:
        x = np.apply_along_axis(lambda v: np.convolve(np.pad(v, r), taps, mode='valid'), axis, x)
    return x


def curve(w, x, target, value, substrate, insert, most, steps, fraction=1, logit=False, last_ties=False):
    """Score at 0, s, 2s, ... pixels; the fraction of each point."""
    pixels, flat = SIZE * SIZE, value.reshape(-1).astype(np.float64)
    keys = -flat if most else flat
    order = np.argsort(keys, kind='stable') if not last_ties else pixels - 1 - np.argsort(keys[::-1], kind='stable')
    total = max(1, int(fraction * pixels))
    stride = max(1, total // steps)
    counts = list(range(0, total, stride)) + [total]
    before, after = (substrate, x) if insert else (x, substrate)
    images = np.repeat(before[None], len(counts), 0).reshape(len(counts), 3, -1)
    for image, count in zip(images, counts):
        image[:, order[:count]] = after.reshape(3, -1)[:, order[:count]]
    logits = forward(w, images.reshape(-1, 3, SIZE, SIZE))
    return (logits if logit else softmax(logits))[:, target], np.array(counts) / pixels


def areas(c, x, fraction):
    return np.trapz(c, x), 100 * fraction * (.5 * (c[1:] + c[:-1])).mean()


def settings():
    c = base_config()
    metrics = c['metrics'] + [
        {'insertion': {'name': 'insertion_least', 'order': 'least', 'substrate': 'constant', 'steps': 7,
                       'score': 'logit', 'rank': 'raw'}},
        {'deletion': {'name': 'deletion_blur', 'substrate': 'blur', 'kernel_size': 31, 'sigma': 7, 'steps': 5,
                      'fraction': .5}},
        {'deletion': {'name': 'every_pixel', 'steps': 5000, 'fraction': .02}},
        {'insertion': {'name': 'adaptive', 'substrate': 'constant', 'steps': 100, 'fraction': .83, 'points': 'adaptive',
                       'tolerance': .003}}]
    methods = [{'dave': {'samples': 6}}, 'random', 'gradient', 'input_x_gradient', 'effective',
               {'effective_equivariant': {'name': 'still', 'samples': 1, 'rotation': 0, 'translation': 0, 'scaling': 0,
                                          'flip': False}}]
    return changed(c, methods=methods, metrics=metrics, store={'maps': 'float32', 'raw': True})


CURVES = {  # name: (insert, most, steps, fraction, rank, substrate, logit)
    'deletion': (False, True, 8, 1, 'map', 'zero', False),
    'insertion': (True, True, 8, 1, 'map', 'rise', False),
    'deletion_dave': (False, False, 10, .9, 'raw', 'blur9', False),
    'insertion_least': (True, False, 7, 1, 'raw', 'zero', True),
    'deletion_blur': (False, True, 5, .5, 'map', 'blur31', False),
    'every_pixel': (False, True, 5000, .02, 'map', 'zero', False),
    'adaptive': (True, True, 100, .83, 'map', 'zero', False),
}


def substrates(x):
    return {'zero': np.zeros_like(x), 'rise': blur(x, rise()), 'blur9': blur(x, gaussian(9, 7)),
            'blur31': blur(x, gaussian(31, 7))}


FIRST, ROUND, TOLERANCE = 16, 8, .003


def chosen(t, name, g, i, full, at):
    """The curve straight between the points that the rule takes; analysis/README.md has the rule."""
    def unit(a, b):
        return ((at[b] - at[a])**3 - (np.diff(at[a:b + 1])**3).sum()) / 12 if b - a > 1 else 0

    def rates(p):
        d, length = np.diff(full[p]), np.diff(at[p])
        q = np.concatenate([[0], d * d / length, [0]])
        weight = 1 + .5 * (np.arange(len(d)) > 0) + .5 * (np.arange(len(d)) < len(d) - 1)
        return (q[1:-1] + .5 * (q[:-2] + q[2:])) / weight + .25 * (np.abs(d).sum() / at[-1])**2 * length

    u = np.arange(FIRST) / (FIRST - 1)
    points = sorted(set(np.floor((len(at) - 1) * u * u * (3 - 2 * u) + .5).astype(int)))
    while True:
        pieces = [(r, a, b) for r, a, b in zip(rates(np.array(points)), points, points[1:])]
        error = math.sqrt(sum(r * unit(a, b) for r, a, b in pieces))
        if error < TOLERANCE or len(points) == len(at):
            break
        for _ in range(ROUND):
            k = max(range(len(pieces)), key=lambda j: (pieces[j][0] * unit(*pieces[j][1:]), -pieces[j][1]))
            r, a, b = pieces[k]
            if b - a < 2 or math.sqrt(sum(r * unit(a, b) for r, a, b in pieces)) < TOLERANCE:
                break
            pieces[k:k + 1] = [(r, a, (a + b) // 2), (r, (a + b) // 2, b)]
        points = [0] + [b for _, a, b in pieces]
    t.equal(f'{name}: scored', np.flatnonzero(g['scored'][i]).tolist(), [int(p) for p in points])
    t.close(f'{name}: auc_error', g['auc_error'][i], 2.25 * error, 1e-4)
    t.ok(f'{name}: fewer than all', FIRST < len(points) < len(at), points)
    return np.interp(at, at[points], full[points])


def check_image(t, w, f, x, i):
    logits = forward(w, x[None])[0]
    target = int(f['images/target'][i])
    p = softmax(logits)
    t.close(f'image {i}: probability', f['images/probability'][i], p[target], 1e-6)
    t.close(f'image {i}: logit', f['images/logit'][i], logits[target], 1e-5)
    t.equal(f'image {i}: prediction', int(f['images/prediction'][i]), int(logits.argmax()))
    ground = substrates(x)
    for method in 'dave', 'random', 'gradient':
        for name, (insert, most, steps, fraction, rank, substrate, logit) in CURVES.items():
            g = f[f'methods/{method}/{name}']
            value = f[f'methods/{method}/{rank}'][i]
            want, at = curve(w, x, target, value, ground[substrate], insert, most, steps, fraction, logit)
            if name == 'deletion_dave' and not (logits.argmax() == target and p[target] >= .3):
                t.ok(f'image {i}: {method}/{name}: left out', np.isnan(g['curve'][i]).all(), g['curve'][i])
                continue
            t.close(f'image {i}: {method}/{name}: fractions', g['fraction'][:], at, 1e-15)
            if name == 'adaptive':
                want = chosen(t, f'image {i}: {method}/{name}', g, i, want, at)
            t.close(f'image {i}: {method}/{name}: curve', g['curve'][i], want, 1e-5)
            t.close(f'image {i}: {method}/{name}: areas', [g['auc'][i], g['auc_published'][i] / 100],
                    np.array(areas(want, at, fraction)) / (1, 100), 1e-5)


def check_gradient(t, w, f, x, i):
    """Central differences at some pixels."""
    target, rng, h = int(f['images/target'][i]), np.random.default_rng(i), 1e-4
    at = rng.integers(0, SIZE, (12, 2))
    images = []
    for y, z in at:
        for c in range(3):
            for sign in h, -h:
                e = x.copy()
                e[c, y, z] += sign
                images.append(e)
    scores = forward(w, np.array(images))[:, target].reshape(12, 3, 2)
    d = (scores[:, :, 0] - scores[:, :, 1]) / (2 * h)
    raw = f['methods/gradient/raw'][i]
    t.close(f'image {i}: gradient against differences', raw[at[:, 0], at[:, 1]], np.abs(d).sum(1), 2e-4 * raw.max())
    values = x[:, at[:, 0], at[:, 1]].T
    raw = f['methods/input_x_gradient/raw'][i]
    t.close(f'image {i}: image times gradient against differences', raw[at[:, 0], at[:, 1]], (values * d).sum(1),
            2e-4 * np.abs(raw).max())


def ties(t, b, w):
    """A picture half black under mean 0: half of the map of input_x_gradient is exactly 0."""
    from PIL import Image

    os.makedirs(b.path('black/one'))
    picture = np.random.default_rng(4).integers(30, 256, (40, 40, 3), dtype=np.uint8)
    picture[:, :24] = 0
    Image.fromarray(picture).save(b.path('black/one/half.png'))
    with open(b.path('model/config.json')) as f:
        c = json.load(f)
    c['pretrained_cfg'].update(mean=[0, 0, 0], std=[1, 1, 1])
    os.makedirs(b.path('zero_mean'))
    b.write('zero_mean/config.json', c)
    os.symlink(b.path('model/model.safetensors'), b.path('zero_mean/model.safetensors'))
    metric = {'substrate': 'blur', 'kernel_size': 31, 'sigma': 12, 'steps': 64, 'rank': 'raw'}
    b.write('ties.yaml', changed(base_config(), model={'path': 'zero_mean'}, data={'path': 'black'},
                                 methods=['input_x_gradient'], store={'raw': True, 'maps': 'float32'},
                                 metrics=[{'deletion': dict(metric, name='most')},
                                          {'deletion': dict(metric, name='least', order='least')}]))
    r = b.evaluate('ties.yaml', '-o', 'ties.h5')
    if not t.ok('ties: exit 0', r.code == 0, r):
        return
    x = preprocess(b.path('black/one/half.png'), 0, 1)
    with h5py.File(b.path('ties.h5'), 'r') as f:
        raw, target = f['methods/input_x_gradient/raw'][0], int(f['images/target'][0])
        count = int((raw == 0).sum())
        t.ok('ties: there are many', 300 < count < 900, count)
        for name in 'most', 'least':
            both = [curve(w, x, target, raw, blur(x, gaussian(31, 12)), False, name == 'most', 64, last_ties=last)[0]
                    for last in (False, True)]
            t.ok(f'ties, {name} first: the order of ties matters here', np.abs(both[0] - both[1]).max() > 1e-4,
                 np.abs(both[0] - both[1]).max())
            t.close(f'ties, {name} first: smaller index first', f[f'methods/input_x_gradient/{name}/curve'][0], both[0],
                    1e-5)


def body(t, b):
    t.close('RISE taps as published', rise()[:6], [.08796, .08890, .09047, .09219, .09349, .09398], 1e-5)
    w = {k: v.astype(np.float64) for k, v in b.weights.items()}
    b.write('metrics.yaml', settings())
    r = b.evaluate('metrics.yaml', '-o', 'metrics.h5', ranks=2)
    if not t.ok('exit 0', r.code == 0, r):
        return
    with h5py.File(b.path('metrics.h5'), 'r') as f:
        eligible = (f['images/prediction'][:] == f['images/label'][:]) & (f['images/probability'][:] >= .3)
        yes, no = np.flatnonzero(eligible), np.flatnonzero(~eligible)
        t.ok('images of both kinds', len(yes) and len(no), eligible)
        for i in (int(yes[0]), int(yes[-1]), int(no[0])):
            x = preprocess(b.path('data', b.images[i]), .5, .5)
            check_image(t, w, f, x, i)
            check_gradient(t, w, f, x, i)
        t.close('one sample without noise and warp is `effective`', f['methods/still/raw'][:],
                f['methods/effective/raw'][:], 1e-5 * np.abs(f['methods/effective/raw'][:]).max())
        t.ok('one sample has no Monte-Carlo error', np.isnan(f['methods/still/mc_error'][:]).all(), '')
    ties(t, b, w)


if __name__ == '__main__':
    main(body)
