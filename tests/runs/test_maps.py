"""
The metrics of maps against tests/reference/metrics_numpy.py: figures that follow from the maps and the objects alone,
recomputed from the maps that a run stored; all of them on maps made here, by tests/metrics/judge.c, whose explainer
gives what it is told. What controls must have in whole runs. And Chefer's protocol, with pictures that are blackened
here before they are normalised.
"""
import os
import subprocess
import sys

import h5py
import numpy as np

from support import PATCH, SIZE, base_config, changed, difference, main
from test_metrics import areas, forward, preprocess, softmax

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'reference'))
import metrics_numpy as reference  # noqa: E402

# Both sides compute in float64 from the same float32 values.
TOLERANCE = 1e-9

METHODS = [{'dave': {'samples': 6}}, {'dave': {'name': 'plain', 'samples': 3, 'postprocess': False}}, 'random', 'gradient',
           'input_x_gradient', {'input_x_gradient': {'name': 'smoothed', 'postprocess': True}}]
METRICS = ['grid_artifact', 'sparseness', 'entropy', {'deletion': {'name': 'chefer', 'preset': 'chefer'}},
           {'deletion': {'name': 'negative', 'preset': 'chefer_negative'}}]


def maps_alone(t, f):
    differ = set()
    for method in f['methods']:
        g, want = f['methods'][method], []
        for m, raw in zip(g['map'][:], g['raw'][:]):
            ratio, lattice = reference.grid_artifact(raw, PATCH)
            want.append([ratio, lattice, reference.gini(m), reference.entropy(m)])
        names = 'grid_artifact/border_ratio', 'grid_artifact/lattice_energy', 'sparseness/gini', 'entropy/entropy'
        for name, values in zip(names, np.array(want).T):
            t.close(f'{method}/{name}', g[name][:], values, TOLERANCE)
            t.ok(f'{method}/{name}: finite', np.isfinite(g[name][:]).all(), g[name][:])
            differ.update(np.round(g[name][:], 6))
    t.ok('the figures differ', len(differ) > 100, len(differ))
    chance = (PATCH ** 2 - 1) / (SIZE ** 2 - 1)
    g = f['methods/random/grid_artifact']
    t.close('random: the lattice at chance', g['lattice_energy'][:].mean(), chance, .02)
    t.close('random: the borders at chance', g['border_ratio'][:].mean(), 1, .05)


def chefer(t, b, f, picture):
    """The published loop takes int(pixels * share) pixels, the published AUC is trapz over the shares, times 100."""
    w, pixels = {k: v.astype(np.float64) for k, v in b.weights.items()}, SIZE * SIZE
    shares = [0, .1, .2, .3, .4, .5, .6, .7, .8, .9]
    counts = [int(pixels * share) for share in shares]
    t.close('shares removed', f['methods/dave/chefer/fraction'][:], np.array(counts) / pixels, 0)
    for i in 0, 5:
        target = int(f['images/target'][i])
        for method in 'dave', 'input_x_gradient':
            for name, sign in ('chefer', -1), ('negative', 1):
                g = f[f'methods/{method}/{name}']
                order = np.argsort(sign * g.parent['map'][i].ravel().astype(np.float64), kind='stable')
                images = np.repeat(picture(i).reshape(1, 3, -1), len(counts), 0)
                for image, count in zip(images, counts):
                    image[:, order[:count]] = 0
                x = (images.reshape(-1, 3, SIZE, SIZE) - .5) / .5
                want = softmax(forward(w, x))[:, target]
                t.close(f'image {i}: {method}/{name}', g['curve'][i], want, 1e-5)
                auc = areas(want, np.array(counts) / pixels, .9)[0]
                t.close(f'image {i}: {method}/{name}: auc', g['auc'][i], auc, 1e-5)
                t.close(f'image {i}: {method}/{name}: published', g['auc_published'][i], 100 * np.trapz(want, shares), 1e-3)


class Judge:
    """Runs one metric on given maps."""

    def __init__(self, b):
        self.program, self.folder, self.path = os.path.join(b.bin, '..', 'tests', 'judge'), b.folder, b.path('maps.bin')

    def __call__(self, metric, m, *settings, raw=None, region=None, given=(), patch=4, image=3):
        planes = [m, m if raw is None else raw, np.zeros(m.shape) if region is None else region, *given]
        with open(self.path, 'wb') as f:
            for p in planes:
                f.write(np.ascontiguousarray(p, np.float32).tobytes())
        command = [self.program, metric, *map(str, m.shape), str(patch), '7', str(image), self.path, *settings]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return [float(line) for line in done.stdout.split()]


def some_maps(rng):
    """Maps of 24 x 36 of several characters: noise, smooth, sparse, with ties, with one value, with none."""
    h, w = 24, 36
    y, x = np.mgrid[:h, :w]
    noise = rng.standard_normal((h, w))
    smooth = np.exp(-((y - 9) ** 2 + (x - 25) ** 2) / 60)
    maps = {'noise': noise, 'smooth': smooth, 'ties': np.round(noise), 'clipped': np.maximum(noise, 0) * smooth,
            'sparse': noise * (rng.random((h, w)) < .03), 'textured': noise + 2 * (x % 4 == 0), 'ramp': x + .5 * y,
            'negative': -np.abs(noise), 'constant': np.full((h, w), 2.5), 'zero': np.zeros((h, w))}
    return {k: v.astype(np.float32) for k, v in maps.items()}


def regions(rng, shape):
    y, x = np.mgrid[:shape[0], :shape[1]]
    yield 'box', (y >= 5) & (y < 14) & (x >= 20) & (x < 31)
    yield 'corner', (y >= 20) & (x < 6)
    yield 'specks', rng.random(shape) < .004
    yield 'all', y >= 0
    yield 'none', y < 0


def judged(t, b):
    rng, judge = np.random.default_rng(1), Judge(b)
    maps = some_maps(rng)
    for name, m in maps.items():
        want = [*reference.grid_artifact(m, 4)]
        t.close(f'{name}: grid_artifact', judge('grid_artifact', maps['noise'], raw=m), want, TOLERANCE)
        t.close(f'{name}: sparseness', judge('sparseness', m), [reference.gini(m)], TOLERANCE)
        t.close(f'{name}: entropy', judge('entropy', m), [reference.entropy(m)], TOLERANCE)
        for place, region in regions(rng, m.shape):
            t.close(f'{name}, {place}: energypg', judge('energypg', m, region=region), reference.energypg(m, region),
                    TOLERANCE)
            t.close(f'{name}, {place}: energypg of raw', judge('energypg', maps['noise'], 'of=raw', raw=m, region=region),
                    reference.energypg(m, region), TOLERANCE)
            for tolerance in 0, 3.7, 15:
                t.close(f'{name}, {place}: pointing_game within {tolerance}',
                        judge('pointing_game', m, f'tolerance={tolerance}', region=region),
                        [reference.pointing_game(m, region, tolerance)], 0)
        others = [m + np.float32(.3) * rng.standard_normal(m.shape).astype(np.float32) for _ in range(2)]
        others.append(np.round(others[0]))
        want = np.array([reference.stability(m, o) for o in others])
        t.close(f'{name}: stability', judge('stability', m, 'draws=3', given=others), want.mean(0), TOLERANCE)
        t.close(f'{name}: sensitivity_max', judge('sensitivity_max', m, 'draws=3', given=others),
                [reference.sensitivity(m, others)], TOLERANCE)
        t.close(f'{name}: randomisation', judge('randomisation', m, 'stages=2', given=others),
                [want[:, 1].mean(), want[2, 1], *want[:, 1]], TOLERANCE)


def judged_grids(t, b):
    rng, judge = np.random.default_rng(2), Judge(b)
    for n in 2, 3:
        for cells, (h, w) in ('native', (7 * n, 10 * n)), ('rescaled', (7, 10)):
            given = rng.standard_normal((n * n, h, w)).astype(np.float32)
            given[-1] = -np.abs(given[-1])
            want = reference.gridpg(given, n)
            got = judge('gridpg', np.ones((7, 10)), f'n={n}', f'cells={cells}', given=given)
            t.close(f'gridpg {n} x {n}, {cells}', got, [want.mean(), want[1]], TOLERANCE)
            t.ok(f'gridpg {n} x {n}, {cells}: not chance', abs(want.mean() - n ** -2) > 1e-3, want)


def controls(t, b):
    """A map that depends on neither image nor network is perfectly stable and indifferent; others are not. The image
    itself, explained once more, has the map that it had: the same parameters, the same random numbers."""
    sampled = [{'dave': {'samples': 4}}, {'smoothgrad': {'samples': 4}}, {'integrated_gradients': {'steps': 4}}]
    methods = ['random', 'input_x_gradient', 'effective', *sampled, 'chefer']
    b.write('controls.yaml', changed(base_config(), methods=methods,
                                     metrics=['stability', {'stability': {'name': 'still', 'sigma': 0}}, 'sensitivity_max',
                                              {'randomisation': {'stages': 2}}]))
    r = b.evaluate('controls.yaml', '-o', 'controls.h5', ranks=2)
    if not t.equal('controls: the run exits 0', (r.code, r.errors()), (0, [])):
        return
    with h5py.File(b.path('controls.h5'), 'r') as f:
        g = f['methods/random']
        t.close('random: stability', [g['stability'][k][:] for k in ('pearson', 'spearman')], np.ones((2, 12)), 1e-12)
        t.close('random: relative_l2', g['stability/relative_l2'][:], np.zeros(12), 0)
        t.close('random: sensitivity', g['sensitivity_max/sensitivity'][:], np.zeros(12), 0)
        t.close('random: randomisation', g['randomisation/curve'][:], np.ones((12, 3)), 0)
        t.equal('stages', g['randomisation/fraction'][:].tolist(), [0, .5, 1])
        for method in f['methods']:
            still, noisy = (f[f'methods/{method}/{metric}/relative_l2'][:] for metric in ('still', 'stability'))
            t.close(f'{method}: no noise, no change', still, np.zeros(12), 0)
            t.ok(f'{method}: noise, some change', method == 'random' or (noisy > 0).all(), noisy)
        for method in 'input_x_gradient', 'effective':
            g = f['methods'][method]
            for name, low, high in (('stability/spearman', .1, 1), ('stability/relative_l2', 0, 2),
                                    ('sensitivity_max/sensitivity', 0, 1), ('randomisation/last', -.5, .5)):
                v = g[name][:]
                t.ok(f'{method}: {name} from {low} to {high}', ((low < v) & (v < high)).all(), v)


def enlarging(n, m):
    """The matrix that enlarges m values to n bilinearly: centres on centres, constant beyond the outer ones."""
    at = np.clip((np.arange(n) + .5) * m / n - .5, 0, m - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(m)))


def rollout(t, b):
    """The raw map is the rollout's row, enlarged: taken back to the patches, it has what the prefix has not."""
    b.write('rollout.yaml', changed(base_config(), methods=['attention_rollout'], metrics=[], store={'raw': True}))
    r = b.evaluate('rollout.yaml', '-o', 'rollout.h5')
    if not t.equal('rollout: the run exits 0', (r.code, r.errors()), (0, [])):
        return
    with h5py.File(b.path('rollout.h5'), 'r') as f:
        raw, prefix = (f[f'methods/attention_rollout/{k}'][:].astype(np.float64) for k in ('raw', 'prefix_share'))
    up = enlarging(SIZE, SIZE // PATCH)
    patches = np.linalg.pinv(up) @ raw @ np.linalg.pinv(up).T
    t.close('rollout: the map is bilinear', up @ patches @ up.T, raw, 1e-6 * raw.max())
    t.close('rollout: the row sums to 1', prefix + patches.sum((1, 2)), np.ones(12), 1e-5)
    t.ok('rollout: both have a share', ((.02 < prefix) & (prefix < .98)).all() and prefix.std() > 1e-4, prefix)


def grids(t, b):
    """On images whose labels are what the model says, so that four classes qualify: the same bytes from any number of
    ranks; a map that is the same for all classes has exactly 1 / n^2."""
    with h5py.File(b.path('controls.h5'), 'r') as f:
        lines = [f'{p.decode()} {k}' for p, k in zip(f['images/path'][:], f['images/prediction'][:])]
    b.write('data/predicted.txt', '\n'.join(lines) + '\n')
    b.write('grids.yaml', changed(base_config(), data={'path': 'data/predicted.txt'}, methods=['random', 'input_x_gradient'],
                                  metrics=[{'gridpg': {'min_probability': 0}},
                                           {'gridpg': {'name': 'some', 'min_probability': 0, 'fraction': .5,
                                                       'cells': 'rescaled', 'of': 'raw'}}]))
    for n in 1, 3:
        r = b.evaluate('grids.yaml', '-o', f'grids{n}.h5', ranks=n)
        t.equal(f'grids: {n} ranks exit 0', (r.code, r.errors()), (0, []))
    d = difference(b.path('grids1.h5'), b.path('grids3.h5'))
    t.ok('grids: the same bytes', not d, d)
    os.unlink(b.path('data/predicted.txt'))
    with h5py.File(b.path('grids1.h5'), 'r') as f:
        t.close('random: gridpg is chance', f['methods/random/gridpg/score'][:], np.full(12, .25), 1e-12)
        some = f['methods/random/some/score'][:]
        t.ok('some images have a grid', 0 < np.isfinite(some).sum() < 12, some)
        t.close('and are at chance', some[np.isfinite(some)], np.full(np.isfinite(some).sum(), .25), 1e-12)
        own = f['methods/random/gridpg/own'][:]
        t.ok('the own cell is near chance', (np.abs(own - .25) < .05).all() and own.std() > 1e-4, own)
        score = f['methods/input_x_gradient/gridpg/score'][:]
        t.ok('input_x_gradient: shares', ((0 < score) & (score < 1)).all() and score.std() > 1e-4, score)


def objects(t, b):
    """A box in every picture but the first; its place in the preprocessed image is read back from the results."""
    from PIL import Image

    lines = ['ImageId,PredictionString']
    for i, path in enumerate(b.images[1:]):
        with Image.open(b.path('data', path)) as image:
            w, h = image.size
        box = [int(w * (.2 + .03 * i)), int(h * .3), int(w * .8), int(h * (.5 + .03 * i))]
        lines.append(f'{os.path.splitext(os.path.basename(path))[0]},{os.path.dirname(path)} {" ".join(map(str, box))} ')
    b.write('boxes.csv', '\n'.join(lines) + '\n')
    b.write('objects.yaml', changed(base_config(), data={'boxes': 'boxes.csv'}, store={'maps': 'float32', 'raw': True},
                                    metrics=['energypg', {'energypg': {'name': 'energy_raw', 'of': 'raw'}},
                                             {'pointing_game': {'tolerance': 2.5}}]))
    r = b.evaluate('objects.yaml', '-o', 'objects.h5', ranks=2)
    if not t.equal('objects: the run exits 0', (r.code, r.errors()), (0, [])):
        return
    y, x = np.mgrid[:SIZE, :SIZE]
    with h5py.File(b.path('objects.h5'), 'r') as f:
        hits = []
        for method in f['methods']:
            g = f['methods'][method]
            for i, boxes in enumerate(f['images/boxes'][:]):
                x1, y1, x2, y2 = boxes[0]
                region = (x >= x1) & (x < x2) & (y >= y1) & (y < y2) if i else np.zeros((SIZE, SIZE), bool)
                for name, m in ('energypg', g['map'][i]), ('energy_raw', g['raw'][i]):
                    t.close(f'image {i}: {method}/{name}', [g[name][k][i] for k in ('energy', 'gain')],
                            reference.energypg(m, region), TOLERANCE)
                t.close(f'image {i}: {method}/pointing_game', g['pointing_game/hit'][i:i + 1],
                        [reference.pointing_game(g['map'][i], region, 2.5)], 0)
            hits += list(g['pointing_game/hit'][1:])
        t.ok('some maxima hit, some miss', 0 < np.mean(hits) < 1, hits)
        t.close('random: gain', np.nanmean(f['methods/random/energypg/gain'][:]), 1, .05)


def body(t, b):
    controls(t, b)
    rollout(t, b)
    objects(t, b)
    grids(t, b)
    judged(t, b)
    judged_grids(t, b)
    b.write('maps.yaml', changed(base_config(), methods=METHODS, metrics=METRICS, store={'maps': 'float32', 'raw': True}))
    r = b.evaluate('maps.yaml', '-o', 'maps.h5')
    if not t.equal('the run exits 0', (r.code, r.errors()), (0, [])):
        return
    with h5py.File(b.path('maps.h5'), 'r') as f:
        maps_alone(t, f)
        # mean 0 and deviation 1: the picture before normalisation, 0 to 1
        chefer(t, b, f, lambda i: preprocess(b.path('data', f['images/path'][i].decode()), 0, 1))


if __name__ == '__main__':
    main(body)
