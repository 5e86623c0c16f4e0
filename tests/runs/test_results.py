"""What is in a results file, read with h5py, numpy and the HDF5 tools."""
import hashlib
import shutil
import subprocess
import sys

import h5py
import numpy as np

from support import CLASSES, SIZE, base_config, changed, contents, difference, main, sha256, text_of

METHODS, METRICS = ('dave', 'random', 'gradient'), ('deletion', 'insertion', 'deletion_dave')
POINTS = {'deletion': 9, 'insertion': 9, 'deletion_dave': 12}


def layout(t, b, f):
    n = len(b.images)
    want = {'images/path': ('S', (n,)), 'images/error': ('S', (n,)), 'images/status': ('u1', (n,)),
            'images/checksum': ('u4', (n,)), 'images/label': ('i4', (n,)), 'images/target': ('i4', (n,)),
            'images/prediction': ('i4', (n,)), 'images/probability': ('f8', (n,)), 'images/confidence': ('f8', (n,)),
            'images/logit': ('f4', (n,)), 'images/pixel_share': ('f8', (n,)), 'image': ('i4', (n,)), 'y': ('f8', (SIZE,)), 'x': ('f8', (SIZE,)),
            'methods/dave/mc_error': ('f8', (n,)), 'summary/status_count': ('i4', (3,))}
    for m in METHODS:
        want[f'methods/{m}/map'] = ('f2', (n, SIZE, SIZE))
        want[f'methods/{m}/scale'] = ('f8', (n,))
        for k in METRICS:
            want[f'methods/{m}/{k}/curve'] = ('f4', (n, POINTS[k]))
            want[f'methods/{m}/{k}/fraction'] = ('f8', (POINTS[k],))
            want[f'methods/{m}/{k}/auc'] = want[f'methods/{m}/{k}/auc_published'] = ('f8', (n,))
    rows = 2 + 1 + 2 * len(METHODS) * len(METRICS)
    for c in 'n', 'mean', 'std', 'ci_low', 'ci_high':
        want[f'summary/{c}'] = ('f8', (rows,))
    want['summary/name'] = ('S', (rows,))
    pairs = 2 * (len(METHODS) - 1) * len(METRICS)
    for c in 'n', 'mean', 'std', 'ci_low', 'ci_high', 'wins':
        want[f'paired/{c}'] = ('f8', (pairs,))
    want['paired/name'] = ('S', (pairs,))
    want['summary/status'] = ('S', (3,))
    want['images/checksum_fields'] = ('S', (7 + 3 * len(METHODS) * len(METRICS) + 2 * len(METHODS) + 1,))
    found = []
    f.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    t.equal('names of the data sets', sorted(found), sorted(want))
    for name, (dtype, shape) in want.items():
        d = f[name]
        right = d.shape == shape and (d.dtype.kind == 'S' if dtype == 'S' else d.dtype == np.dtype('<' + dtype))
        t.ok(f'shape and type of {name}', right, f'{d.dtype} {d.shape}')
        t.ok(f'description of {name}', len(text_of(d.attrs.get('description', ''))) > 2, dict(d.attrs))
        t.ok(f'{name} is contiguous', d.chunks is None, d.chunks)
    scales = {'image': n, 'y': SIZE, 'x': SIZE}
    for name, size in scales.items():
        t.equal(f'values of /{name}', f[name][:].tolist(), list(range(size)))
    t.equal('paths in byte order', [p.decode() for p in f['images/path'][:]], b.images)
    t.equal('labels', f['images/label'][:].tolist(), [int(p[6]) for p in b.images])


def scales_attached(t, f):
    def axes(name):
        if name.startswith('summary/'):
            return ['/summary/status' if name == 'summary/status_count' else '/summary/name']
        if name.startswith('paired/'):
            return ['/paired/name']
        own = ['/image']
        if name.endswith(('/map', '/raw')):
            own += ['/y', '/x']
        if name.endswith(('/curve', '/scored')):
            own += ['/' + name.rpartition('/')[0] + '/fraction']
        return own

    def visit(name, d):
        if not isinstance(d, h5py.Dataset) or h5py.h5ds.is_scale(d.id):
            return
        got = [d.dims[i][0].name if len(d.dims[i]) == 1 else f'{len(d.dims[i])} scales' for i in range(d.ndim)]
        t.equal(f'scales of {name}', got, axes(name))
        labels = [d.dims[i].label for i in range(d.ndim)]
        t.equal(f'labels of {name}', labels, [a.rpartition('/')[2] for a in axes(name)])

    f.visititems(visit)


def attributes(t, b, f):
    for name in ('program', 'program_version', 'git_revision', 'config', 'checkpoint_sha256', 'data_sha256', 'boxes_sha256',
                 'architecture', 'model', 'cpu_kernels', 'definitions'):
        t.ok(f'attribute {name}', len(text_of(f.attrs.get(name, ''))) > 0, list(f.attrs))
    t.equal('checkpoint_sha256', text_of(f.attrs['checkpoint_sha256']), sha256(b.path('model/model.safetensors')))
    t.equal('seed', int(f.attrs['seed']), 7)
    data = b''.join(p.encode() + b'\0' for p in b.images) + f['images/label'][:].astype('<i4').tobytes()
    t.equal('data_sha256', text_of(f.attrs['data_sha256']), hashlib.sha256(data).hexdigest())
    config = text_of(f.attrs['config'])
    t.ok('config does not name the output', 'out.h5' not in config, config)
    b.write('recorded.yaml', config)
    r = b.evaluate('recorded.yaml', '-o', 'recorded.h5')
    one, two = (contents(b.path(n)) for n in ('out.h5', 'recorded.h5'))
    t.ok('config runs again to the same results', r.code == 0 and one == two,
         (r, [k for k in one if one[k] != two.get(k)]))
    dave = f['methods/dave'].attrs
    t.equal('parameters of dave', (int(dave['samples']), float(dave['alpha']), text_of(dave['method'])),
            (6, .3, 'dave'))
    d = f['methods/dave/deletion_dave'].attrs
    t.equal('parameters of a metric',
            (text_of(d['preset']), int(d['steps']), int(d['kernel_size']), text_of(d['rank'])), ('dave', 10, 9, 'raw'))
    for g in [f'methods/{m}' for m in METHODS] + [f'methods/{m}/{k}' for m in METHODS for k in METRICS]:
        t.ok(f'definition of {g}', len(text_of(f[g].attrs.get('definition', ''))) > 2, dict(f[g].attrs))


def maps(t, f):
    for m in METHODS:
        a = f[f'methods/{m}/map'][:].astype(np.float64)
        top = np.abs(a).max(axis=(1, 2))
        t.ok(f'maps of {m} have largest magnitude 1, or are zero', np.isin(top, (0, 1)).all() and (top == 1).any(), top)
        scale = f[f'methods/{m}/scale'][:]
        t.ok(f'scale of {m} is 0 exactly for zero maps', ((scale == 0) == (top == 0)).all() and (scale >= 0).all(),
             scale)
    t.ok('maps of dave are not negative', f['methods/dave/map'][:].min() >= 0, '')
    u = f['methods/random/map'][:].astype(float) * f['methods/random/scale'][:][:, None, None]
    t.ok('random is uniform', abs(u.mean() - .5) < .01 and abs(u.var() - 1 / 12) < .003, (u.mean(), u.var()))


def curves(t, f):
    status, p = f['images/status'][:], f['images/probability'][:]
    t.ok('all done', (status == 1).all(), status)
    t.ok('probabilities', ((p > 0) & (p <= f['images/confidence'][:])).all(), p)
    same = f['images/prediction'][:] == f['images/target'][:]
    t.ok('probability is confidence exactly where the prediction is the target',
         (same == (p == f['images/confidence'][:])).all(), same)
    t.ok('predictions are classes', np.isin(f['images/prediction'][:], range(CLASSES)).all(), '')
    eligible = same & (p >= .3)
    t.ok('the test has images of both kinds', eligible.any() and not eligible.all(), eligible)
    for m in METHODS:
        full = f[f'methods/{m}/deletion/curve'][:, -1]
        t.ok(f'{m}: all deleted gives one score for a class, whatever the image',
             all(np.ptp(full[f['images/target'][:] == k]) < 1e-6 for k in range(4)), full)
        for k in METRICS:
            g = f[f'methods/{m}/{k}']
            c, x = g['curve'][:].astype(np.float64), g['fraction'][:]
            rows = eligible if k == 'deletion_dave' else np.ones(len(p), bool)
            t.ok(f'{m}/{k}: NaN exactly where the image does not qualify',
                 (np.isnan(c).all(1) == ~rows).all() and (np.isnan(g['auc'][:]) == ~rows).all(), rows)
            t.close(f'{m}/{k}: auc is the trapezoid', g['auc'][:][rows], np.trapz(c[rows], x, axis=1), 1e-6)
            end = c[rows, -1] if k == 'insertion' else c[rows, 0]
            t.equal(f'{m}/{k}: the whole image scores the probability, which is known', end.tolist(),
                    p[rows].astype(np.float32).tolist())
            t.ok(f'{m}/{k}: fractions grow from 0', x[0] == 0 and (np.diff(x) > 0).all(), x)
            top = int(.9 * SIZE**2) / SIZE**2 if k == 'deletion_dave' else 1
            t.equal(f'{m}/{k}: last fraction', x[-1], top)
            mid = .5 * (c[rows, 1:] + c[rows, :-1])
            t.close(f'{m}/{k}: auc_published', g['auc_published'][:][rows],
                    100 * (.9 if k == 'deletion_dave' else 1) * mid.mean(axis=1), 1e-4)


def summary(t, f):
    rng = np.random.default_rng(5)
    names = [s.decode() for s in f['summary/name'][:]]
    t.equal('rows of the summary', names[:4], ['correct', 'probability', 'dave/mc_error', 'dave/deletion/auc'])
    column = {c: f[f'summary/{c}'][:] for c in ('n', 'mean', 'std', 'ci_low', 'ci_high')}
    for i, name in enumerate(names):
        if name == 'correct':
            v = (f['images/label'][:] == f['images/prediction'][:]).astype(float)
        else:
            v = f['images/probability' if name == 'probability' else 'methods/' + name][:]
        v = v[np.isfinite(v)]
        t.equal(f'{name}: n', column['n'][i], len(v))
        scale = max(1, np.abs(v).max())
        t.close(f'{name}: mean', column['mean'][i] / scale, v.mean() / scale, 1e-12)
        t.close(f'{name}: std', column['std'][i] / scale, v.std(ddof=1) / scale, 1e-12)
        means = v[rng.integers(0, len(v), (10000, len(v)))].mean(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        t.close(f'{name}: interval', [column['ci_low'][i], column['ci_high'][i]], [low, high],
                .2 * v.std() / np.sqrt(len(v)) + 1e-12)
    t.equal('status_count', f['summary/status_count'][:].tolist(), [0, 12, 0])
    names = [s.decode() for s in f['paired/name'][:]]
    t.equal('pairs', names[:2] + names[-1:], ['dave - random/deletion/auc', 'dave - random/deletion/auc_published',
                                              'dave - gradient/deletion_dave/auc_published'])
    column = {c: f[f'paired/{c}'][:] for c in ('n', 'mean', 'std', 'ci_low', 'ci_high', 'wins')}
    for i, name in enumerate(names):
        methods, figure = name.split('/', 1)
        first, other = (f[f'methods/{m}/{figure}'][:] for m in methods.split(' - '))
        v = (first - other)[np.isfinite(first - other)]
        t.equal(f'{name}: n', column['n'][i], len(v))
        scale = max(1, np.abs(v).max())
        t.close(f'{name}: mean', column['mean'][i] / scale, v.mean() / scale, 1e-12)
        t.close(f'{name}: std', column['std'][i] / scale, v.std(ddof=1) / scale, 1e-12)
        t.close(f'{name}: wins', column['wins'][i], ((v > 0) + .5 * (v == 0)).mean(), 1e-12)
        means = v[rng.integers(0, len(v), (10000, len(v)))].mean(axis=1)
        t.close(f'{name}: interval', [column['ci_low'][i], column['ci_high'][i]], np.percentile(means, [2.5, 97.5]),
                .2 * v.std() / np.sqrt(len(v)) + 1e-12)
    t.equal('status names', f['summary/status'][:].tolist(), [b'pending', b'done', b'failed'])


def variants(t, b):
    c = base_config()
    b.write('f32.yaml', changed(c, store={'maps': 'float32', 'raw': True}))
    r = b.evaluate('f32.yaml', '-o', 'f32.h5', ranks=2)
    t.equal('float32 maps: exit 0', r.code, 0)
    with h5py.File(b.path('out.h5'), 'r') as f, h5py.File(b.path('f32.h5'), 'r') as g:
        for m in METHODS:
            wide = g[f'methods/{m}/map'][:]
            t.equal(f'{m}: float32', wide.dtype, np.dtype('<f4'))
            t.ok(f'{m}: float16 is numpy\'s rounding of float32',
                 f[f'methods/{m}/map'][:].tobytes() == wide.astype(np.float16).tobytes(), 'it is not')
            raw, scale = g[f'methods/{m}/raw'][:], g[f'methods/{m}/scale'][:]
            t.equal(f'{m}: raw is float32', raw.dtype, np.dtype('<f4'))
            if m == 'dave':
                t.ok('dave: raw is signed', (raw < 0).any() and (raw > 0).any(), '')
                t.ok('dave: the map is 0 nowhere that raw is its maximum', all(
                    w.flat[r.argmax()] > 0 for w, r in zip(wide, raw)), '')
            else:
                t.close(f'{m}: map * scale is raw', wide * scale[:, None, None], raw, 1e-6 * np.abs(raw).max())
        t.equal('curves do not depend on the stored type', f['methods/dave/deletion/curve'][:].tobytes(),
                g['methods/dave/deletion/curve'][:].tobytes())
    r = b.evaluate('config.yaml', '-o', 'none.h5', '-s', 'store.maps=none')
    with h5py.File(b.path('none.h5'), 'r') as f, h5py.File(b.path('out.h5'), 'r') as g:
        t.ok('no maps', 'map' not in f['methods/dave'] and 'scale' in f['methods/dave'], list(f['methods/dave']))
        t.equal('no maps: the same curves', f['methods/dave/deletion/curve'][:].tobytes(),
                g['methods/dave/deletion/curve'][:].tobytes())
    r = b.evaluate('config.yaml', '-o', 'prediction.h5', '-s', 'data.target=prediction')
    with h5py.File(b.path('prediction.h5'), 'r') as f:
        t.ok('target: prediction', (f['images/target'][:] == f['images/prediction'][:]).all(), r)
        t.ok('target: prediction: labels stay', f['images/label'][:].tolist() == [int(p[6]) for p in b.images], r)
        t.equal('target: prediction: probability', f['images/probability'][:].tobytes(),
                f['images/confidence'][:].tobytes())
    r = b.evaluate('config.yaml', '-o', 'index.h5', '-s', 'data.target=4')
    with h5py.File(b.path('index.h5'), 'r') as f:
        t.ok('target: an index', (f['images/target'][:] == 4).all(), r)
    b.write('plain.yaml', changed(c, metrics=[]))
    r = b.evaluate('plain.yaml', '-o', 'plain.h5', ranks=2)
    t.equal('no metrics: exit 0', r.code, 0)
    b.write('classes.txt', 'class_3\nclass_2\nclass_4\nclass_1\nclass_0\n')
    r = b.evaluate('config.yaml', '-o', 'classes.h5', '-s', 'data.classes=classes.txt')
    with h5py.File(b.path('classes.h5'), 'r') as f:
        t.equal('data.classes gives the labels', f['images/label'][:].tolist(),
                [(4, 3, 1, 0)[int(p[6])] for p in b.images])
    methods = [{'random': {'name': f'r{i}'}} for i in range(32)]
    metrics = [{'deletion': {'name': f'd{i}', 'steps': 1}} for i in range(32)]
    b.write('many.yaml', changed(c, methods=methods, metrics=metrics))
    r = b.evaluate('many.yaml', '-o', 'many.h5', '-l', 1)
    t.ok('as many methods and metrics as are allowed', r.code == 0, r)
    # no image qualifies
    r = b.evaluate('config.yaml', '-o', 'nobody.h5', '-s', 'metrics.deletion_dave.min_probability=1')
    with h5py.File(b.path('nobody.h5'), 'r') as f:
        i = f['summary/name'][:].tolist().index(b'dave/deletion_dave/auc')
        t.ok('no image qualifies: n is 0 and the rest NaN', f['summary/n'][i] == 0 and all(
            np.isnan(f[f'summary/{c}'][i]) for c in ('mean', 'std', 'ci_low', 'ci_high')), r)


def adaptive(t, b):
    """Metrics that choose their points, beside those that score all: 1024 pixels in 128 steps."""
    c = base_config()
    metrics = [{k: dict(c['metrics'][i][k], steps=128, name=f'{k}{i}_{points}', points=points)}
               for i, k in enumerate(('deletion', 'insertion', 'deletion')) for points in ('uniform', 'adaptive')]
    b.write('adaptive.yaml', changed(c, metrics=metrics))
    r = b.evaluate('adaptive.yaml', '-o', 'adaptive.h5')
    if not t.ok('adaptive: exit 0', r.code == 0, r):
        return
    r = b.evaluate('adaptive.yaml', '-o', 'adaptive2.h5', ranks=3)
    d = r if r.code else difference(b.path('adaptive.h5'), b.path('adaptive2.h5'))
    t.ok('adaptive: the same bytes on three ranks', not d, d)
    t.equal('adaptive: --verify', b.evaluate('--verify', 'adaptive.h5').code, 0)
    fewer, within = 0, []
    with h5py.File(b.path('adaptive.h5'), 'r') as f:
        scales_attached(t, f)
        for m in METHODS:
            for k in 'deletion0', 'insertion1', 'deletion2':
                u, a = f[f'methods/{m}/{k}_uniform'], f[f'methods/{m}/{k}_adaptive']
                name, rows = f'{m}/{k}', np.isfinite(u['auc'][:])
                t.equal(f'{name}: the uniform one has no more than before', sorted(u),
                        ['auc', 'auc_published', 'curve', 'fraction'])
                t.equal(f'{name}: the adaptive one has', sorted(set(a) - set(u)), ['auc_error', 'points_scored', 'scored'])
                scored, x = a['scored'][:], a['fraction'][:]
                t.ok(f'{name}: scored is 0 or 1, 0 where left out',
                     scored.dtype == np.uint8 and scored.max() == 1 and not scored[~rows].any(), scored)
                t.ok(f'{name}: both ends are scored', scored[rows][:, [0, -1]].all(), scored)
                t.equal(f'{name}: points_scored', a['points_scored'][:][rows].tolist(), scored[rows].sum(1).tolist())
                t.ok(f'{name}: NaN where left out', all(
                    np.isnan(a[v][:][~rows]).all() for v in ('curve', 'auc', 'auc_error', 'points_scored')), '')
                between = [np.interp(x, x[s > 0], v[s > 0]) for s, v in zip(scored[rows], u['curve'][:][rows])]
                t.close(f'{name}: scored as the uniform one, straight between', a['curve'][:][rows], between, 1e-5)
                t.close(f'{name}: auc', a['auc'][:][rows], np.trapz(between, x, axis=1), 1e-5)
                within += (np.abs(a['auc'][:] - u['auc'][:])[rows] <= a['auc_error'][:][rows] + 1e-6).tolist()
                t.ok(f'{name}: it is below 2.25 tolerances', (a['auc_error'][:][rows] < .0045).all(), a['auc_error'][:])
                fewer += (scored[rows].sum(1) < .6 * len(x)).sum()
        t.ok('adaptive: far fewer points', fewer > 50, fewer)
        t.ok('adaptive: the error estimates hold', len(within) > 80 and np.mean(within) > .9, within)
    bench = subprocess.run([sys.executable, 'tests/bench/adaptive.py', b.path('adaptive.h5')], capture_output=True,
                           text=True, timeout=60)
    t.ok('tests/bench/adaptive.py compares all of them', bench.returncode == 0 and bench.stdout.count('rmse') == 9, bench)


def other_readers(t, b):
    for command in ['h5dump', '-H'], ['h5ls', '-r'], ['h5dump', '-d', '/summary/mean']:
        if not shutil.which(command[0]):
            t.skip(' '.join(command), 'not installed')
            continue
        p = subprocess.run(command + [b.path('out.h5')], capture_output=True, text=True, timeout=30)
        t.ok(' '.join(command), p.returncode == 0 and not p.stderr and len(p.stdout) > 50,
             (p.returncode, p.stderr[-300:]))
    try:
        import h5netcdf  # noqa: F401
        import xarray
    except ImportError as e:
        t.skip('xarray opens /methods/dave', str(e))
        return
    with xarray.open_dataset(b.path('out.h5'), group='/methods/dave', engine='h5netcdf') as d:
        t.equal('xarray: axes of the map', (d['map'].dims, d['map'].shape), (('image', 'y', 'x'), (12, SIZE, SIZE)))


def body(t, b):
    r = b.evaluate('config.yaml', ranks=2)
    if not t.ok('the run exits 0', r.code == 0, r):
        return
    with h5py.File(b.path('out.h5'), 'r') as f:
        layout(t, b, f)
        scales_attached(t, f)
        maps(t, f)
        curves(t, f)
        summary(t, f)
        attributes(t, b, f)
    variants(t, b)
    adaptive(t, b)
    other_readers(t, b)


main(body)
