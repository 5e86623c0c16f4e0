"""
analysis/results.py: what a run of the program wrote, read by name and compared with h5py; a file while a run writes it; half-written,
cut, foreign and strange files; several files side by side.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile

import h5py
import numpy as np

import plain
from make_results import METRICS, make

plain.use_analysis()
import measures  # noqa: E402
import results  # noqa: E402
from support import base_config, changed, main, slow_config, wait_for  # noqa: E402


def refused(t, name, path, *words):
    try:
        results.open_results(path)
        t.ok(name, False, 'was opened')
    except results.ResultsError as e:
        text = str(e)
        t.ok(name, '\n' not in text and text.startswith(str(path)) and all(w in text for w in words), text)


def of_the_program(t, b):
    """Everything of a real run against h5py."""
    path = b.path('out.h5')
    r = results.open_results(path)
    t.equal('methods in the order of the configuration', list(r.methods), ['dave', 'random', 'gradient'])
    t.equal('metrics', list(r.metrics), ['deletion', 'insertion', 'deletion_dave'])
    t.equal('kind of a named metric', (r.metrics['deletion_dave'].kind, r.metrics['deletion_dave'].preset), ('deletion', 'dave'))
    t.equal('sides', [r.figures[f].better for f in ('deletion/auc', 'insertion/auc', 'deletion_dave/auc', 'mc_error')],
            ['lower', 'higher', 'higher', 'lower'])
    t.equal('main figures', [n for n, f in r.figures.items() if f.main], ['deletion/auc', 'insertion/auc', 'deletion_dave/auc'])
    t.equal('a parameter', r.methods['dave'].parameters['samples'], 6)
    t.equal('a parameter that is true', r.methods['dave'].parameters['flip'], True)
    t.equal('configuration', (r.config['run']['seed'], r.config['methods'][0]['dave']['samples']), (7, 6))
    t.equal('model', (r.model['patch_size'], r.frame), (8, (32, 32)))
    with h5py.File(path, locking=False) as f:
        done = f['images/status'][:] == 1
        t.ok('status', np.array_equal(r.done, done) and r.failed.sum() == (~done).sum())
        names = []
        for m in r.methods:
            maps, scale = f[f'methods/{m}/map'][:].astype(np.float32), f[f'methods/{m}/scale'][:]
            t.ok(f'maps of {m}', np.array_equal(r.maps(m, done), maps[done]) and r.map(m, 2).dtype == np.float32
                 and np.array_equal(r.map(m, 2), maps[2]) and np.array_equal(r.map(m, 2, True), maps[2] * np.float32(scale[2])))
            for k in r.methods[m].metrics:
                g = f[f'methods/{m}/{k}']
                fraction, curve = r.curve(m, k)
                t.ok(f'curve of {m}/{k}', np.array_equal(fraction, g['fraction'][:]) and
                     np.array_equal(curve[done], g['curve'][:][done], equal_nan=True) and
                     np.array_equal(r.curve(m, k, 1)[1], g['curve'][1], equal_nan=True))
                area = [np.trapz(c.astype(float), fraction) for c in curve]
                t.close(f'area of {m}/{k} is that of its curve', r.figure(f'{m}/{k}/auc')[done], np.array(area)[done], 1e-7)
                names += [f'{m}/{k}/auc', f'{m}/{k}/auc_published']
            names += [f'{m}/{n}' for n in r.methods[m].figures]
        for n in names:
            t.ok(f'figure {n}', np.array_equal(r.figure(n), np.array(plain.raw_figure(path, n)), equal_nan=True))
        t.equal('every summarised figure is found', sorted(names + ['correct', 'probability']), sorted(r.summary()))
        for n in 'label', 'target', 'prediction', 'probability', 'logit':
            t.ok(f'images/{n}', np.array_equal(r.image(n)[done], f['images/' + n][:][done]))
        t.equal('texts', (r.image('path'), r.image('error')[0]), ([x.decode() for x in f['images/path'][:]], ''))
        rows = [n for n, x in ((n, f[n]) for n in r.fields) if x.shape[:1] == (len(done),)]
        t.equal('fields', len(rows), sum(1 for x in f['images/checksum_fields'][:]) + 4)
    d = r['/methods/dave/map']
    t.equal('by name', (d.dims, d.shape, d.attrs['description'].split()[0], list(d.coords)),
            (('image', 'y', 'x'), (12, 32, 32), 'attribution', ['image', 'y', 'x']))
    t.ok('parts', np.array_equal(d[3:5, 2], d.values[3:5, 2], equal_nan=True) and np.array_equal(d[[7, 1, 7]], d.values[[7, 1, 7]], equal_nan=True)
         and np.array_equal(d[-1], d.values[-1], equal_nan=True) and d[np.zeros(12, bool)].shape == (0, 32, 32))
    try:
        r['/methods/other/map']
        t.ok('a name that is not there', False)
    except KeyError as e:
        t.ok('a name that is not there', 'other' in str(e))
    t.ok('a figure that is not there', np.isnan(r.figure('dave/gridpg/gridpg')).all() and len(r.figure('x')) == 12)
    for row in range(3):
        b.run('dave-replay', '--image', b.path('data', r.image('path')[row]), '--model', 'model', '-o', 'pixels.h5')
        with h5py.File(b.path('pixels.h5')) as f:
            t.ok(f'picture {row} as the program sees it', np.array_equal(r.picture(row), f['pixels_u8'][:]))
    t.ok('picture elsewhere', np.array_equal(r.picture(0, b.path('data')), r.picture(0)))
    try:
        r.picture(0, b.path('nowhere'))
        t.ok('no picture', False)
    except OSError:
        t.ok('no picture', True)
    r.close()


def while_writing(t, b):
    """A run that is going on is read, and is not disturbed."""
    b.write('slow.yaml', slow_config(300))
    p = b.start('dave-eval', 'slow.yaml', '--output', 'slow.h5')
    path, seen = b.path('slow.h5'), []

    def look():
        if not os.path.exists(path):
            return False
        try:
            r = results.open_results(path)
        except results.ResultsError:
            return False
        figure, maps = r.figure('dave/deletion/auc'), r.maps('dave', slice(0, r.size))
        seen.append((int(r.done.sum()), np.array_equal(np.isfinite(figure), r.done), bool(np.isnan(maps[r.pending]).all()),
                     bool(np.isfinite(maps[r.done]).all())))
        r.close()
        return 0 < seen[-1][0] < 12
    t.ok('a run in progress is read', wait_for(look, 60, .01), seen[-3:])
    t.ok('only finished rows count', seen and all(all(s[1:]) for s in seen), seen[-3:])
    r = results.open_results(path)
    first = int(r.done.sum())
    result = b.finish(p, 120)
    t.equal('the run ends well', result.code, 0)
    t.equal('what is open stays as it was', int(r.done.sum()), first)
    r.refresh()
    t.equal('until it is refreshed', int(r.pending.sum()), 0)


def strange(t, b):
    """Files that are no results, or not whole."""
    good = make(b.path('good.h5'), images=9, failed=2, pending=3)
    refused(t, 'no file', b.path('nothing.h5'), 'no such file')
    refused(t, 'a folder', b.path('data'), 'folder')
    refused(t, 'text', b.write('text.h5', 'hello'), 'not an HDF5 file')
    refused(t, 'empty', b.write('empty.h5', ''), 'not an HDF5 file')
    size = os.path.getsize(good)
    for part in .2, .5, .9, (size - 1) / size:
        shutil.copy(good, b.path('cut.h5'))
        os.truncate(b.path('cut.h5'), int(size * part))
        refused(t, f'cut at {part:.2f}', b.path('cut.h5'), 'truncated')
    with h5py.File(b.path('foreign.h5'), 'w') as f:
        f['x'] = 1
    refused(t, 'foreign HDF5', b.path('foreign.h5'), 'not a results file of dave-eval')
    with h5py.File(b.path('bare.h5'), 'w') as f:
        f.attrs['program'] = b'dave-eval'
    refused(t, 'no images', b.path('bare.h5'), '/images/status')
    with open(good, 'rb') as f:
        data = f.read()
    for k in range(60):  # metadata overwritten here and there: an error or a Results, never a crash
        at = 200 + k * (len(data) // 2 - 200) // 60
        with open(b.path(f'damaged{k}.h5'), 'wb') as f:
            f.write(data[:at] + b'\xff' * 64 + data[at + 64:])
    p = subprocess.run([sys.executable, '-c', """import sys
sys.path.insert(0, sys.argv[1])
import results
for path in sys.argv[2:]:
    try:
        r = results.open_results(path)
        print('opened')
    except results.ResultsError as e:
        print('refused' if len(str(e).splitlines()) == 1 else repr(e))
""", plain.ANALYSIS, *[b.path(f'damaged{k}.h5') for k in range(60)]], capture_output=True, text=True)
    said = p.stdout.splitlines()
    t.ok('damaged files are opened or refused', p.returncode == 0 and len(said) == 60 and set(said) == {'opened', 'refused'},
         (p.returncode, set(said), p.stderr[-400:]))


def masks(t, b):
    path = make(b.path('half.h5'), images=20, failed=3, pending=7, metrics=list(METRICS), boxes=True)
    r = results.open_results(path)
    t.equal('done, failed, pending', (int(r.done.sum()), int(r.failed.sum()), int(r.pending.sum())), (10, 3, 7))
    for name in r.figures:
        for m in r.methods:
            if name.partition('/')[0] in r.methods[m].metrics or name in r.methods[m].figures:
                v = r.figure(f'{m}/{name}')
                t.ok(f'{m}/{name} has values where it can', not np.isfinite(v[10:]).any() and (
                    name.startswith('deletion_dave') or np.isfinite(v[:10]).all()), v)
    t.ok('rows that are not done', (r.image('target')[13:] == -1).all() and np.isnan(r.image('probability')[13:]).all()
         and np.isnan(r.map('dave', 15)).all() and np.isnan(r.curve('dave', 'deletion', 19)[1]).all())
    t.equal('but their paths and labels', (len([p for p in r.image('path') if p]), int(r.image('label').min())), (20, 0))
    t.ok('failed rows say why', all(r.image('error')[10:13]) and not any(r.image('error')[:10]))
    with h5py.File(path, locking=False) as f:
        boxes = f['images/boxes'][:]
    for i in range(10):
        t.equal(f'boxes {i}', r.boxes(i).tolist(), [x for x in boxes[i].tolist() if x[0] >= 0])
    t.equal('no boxes', results.open_results(b.path('good.h5')).boxes(0).shape, (0, 4))
    r.close()
    with h5py.File(path, 'r+') as f:
        f['methods/dave/deletion/auc'][0] = np.inf
        f['methods/dave/insertion/auc'][...] = np.nan
    r.refresh()
    t.ok('what is not finite is no value', np.isnan(r.figure('dave/deletion/auc')[0]))
    t.ok('a figure without values', np.isnan(r.figure('dave/insertion/auc')).all())
    one = results.open_results(make(b.path('one.h5'), images=1, methods={'gradient': {}}))
    t.equal('one image, no control', (one.size, results.groups([one])[0].entries[0].is_control), (1, False))


def several(t, b):
    a = make(b.path('a.h5'), images=6, seed=1, methods={'dave': {'alpha': .3}, 'random': {}})
    c = make(b.path('c.h5'), images=6, seed=2, methods={'dave': {'alpha': .5}, 'legrad': {}})
    other = make(b.path('other.h5'), images=6, attrs={'checkpoint_sha256': 'd' * 64})
    more = make(b.path('more.h5'), images=7, attrs={'architecture': 'vit_other'})
    os.makedirs(b.path('sub'), exist_ok=True)
    shutil.copy(a, b.path('sub', 'a.h5'))
    opened = results.open_all([a, c, other, more])
    t.equal('names', [r.name for r in opened], ['a', 'c', 'other', 'more'])
    groups = results.groups(opened)
    t.equal('groups', [[r.name for r in g.files] for g in groups], [['a', 'c'], ['other'], ['more']])
    t.equal('names of groups', [g.name for g in groups], ['vit_made_up (a, c)', 'vit_made_up (other)', 'vit_other'])
    t.equal('entries', [e.label for e in groups[0].entries], ['dave (a)', 'random', 'dave (c)', 'legrad'])
    values = groups[0].values('deletion/auc')
    t.ok('values of a group', np.array_equal(values[2], plain.raw_figure(c, 'dave/deletion/auc')) and values.shape == (4, 6))
    names = [r.name for r in results.open_all([a, b.path('sub', 'a.h5'), a])]
    t.ok('names of files that are alike', len(set(names)) == 3 and names[1] == 'sub/a', names)
    for r in opened:
        r.close()
    with h5py.File(c, 'r+') as f:
        for m in f['methods'].values():
            m['deletion'].attrs['order'] = np.bytes_(b'least')
    sides = results.groups(results.open_all([a, c]))[0].figures
    t.equal('files that define a figure otherwise', (sides['deletion/auc'].better, sides['insertion/auc'].better), (None, 'higher'))


def sides(t):
    for kind, figure, parameters, want in (
            ('deletion', 'auc', {'order': 'most'}, 'lower'), ('deletion', 'auc', {'order': 'least'}, 'higher'),
            ('insertion', 'auc', {'order': 'most'}, 'higher'), ('insertion', 'auc', {'order': 'least'}, 'lower'),
            ('gridpg', 'own', {}, 'higher'), ('grid_artifact', 'border_ratio', {}, 'lower'), ('stability', 'pearson', {}, 'higher'),
            ('stability', 'relative_l2', {}, 'lower'), ('randomisation', 'correlation', {}, 'lower'), ('randomisation', 'last', {}, None),
            ('deletion', 'points_scored', {}, None), ('deletion', 'auc_error', {}, None), ('unknown', 'auc', {}, None),
            ('', 'mc_error', {}, 'lower'), ('', 'something', {}, None)):
        t.equal(f'side of {kind} {figure} {parameters}', measures.better(kind, figure, parameters), want)
    t.equal('axes', [measures.axes(*x) for x in (('insertion', {'score': 'logit'}), ('randomisation', {}), ('new', {}))],
            [('fraction of pixels restored', 'logit'), ('share of the network that is random', 'rank correlation'),
             ('fraction', 'score')])
    t.equal('labels', [measures.label(*x) for x in (
        ('deletion', 'deletion', 'auc'), ('deletion', 'deletion_dave', 'auc'), ('gridpg', 'gridpg', 'score'),
        ('gridpg', 'grid_of_nine', 'score'), ('', '', 'mc_error'), ('new', 'my_x', 'y_z'), ('entropy', 'entropy', 'entropy'))],
        ['deletion AUC', 'deletion dave AUC', 'GridPG', 'grid of nine score', 'Monte-Carlo error', 'my x y z', 'entropy'])


def layouts(t, b):
    """Pictures as networks of every layout see them: squashed, cropped by an odd number of pixels, not square."""
    families, bit = os.path.join(plain.HERE, '..', 'golden', 'families'), b.path('bit')
    shutil.copytree(os.path.join(families, 'tf_dinov2'), bit)
    b.write('bit/preprocessor_config.json', json.dumps({
        'image_processor_type': 'BitImageProcessor', 'size': {'shortest_edge': 11}, 'crop_size': {'height': 8, 'width': 8},
        'do_center_crop': True, 'image_mean': [.5] * 3, 'image_std': [.5] * 3, 'resample': 3, 'do_normalize': True}))
    for name in 'tf_vit', 'tf_deit', 'clip', 'vit_rect', 'deit3', 'bcos_simple', bit:
        folder = os.path.join(families, name)
        b.write('layout.yaml', {
            'run': {'output': 'layout.h5', 'seed': 1}, 'model': {'path': os.path.abspath(folder)}, 'methods': [{'gradient': {}}],
            'data': {'path': b.path('data'), 'target': 'prediction', 'limit': 4}})
        if not t.equal(f'{os.path.basename(name)}: a run', b.evaluate('layout.yaml', '--overwrite').code, 0):
            continue
        with results.open_results(b.path('layout.h5')) as r:
            for row in np.flatnonzero(r.done):
                b.run('dave-replay', '--image', b.path('data', r.image('path')[row]), '--model', folder, '-o', 'pixels.h5')
                with h5py.File(b.path('pixels.h5')) as f:
                    t.ok(f'{os.path.basename(name)}: picture {row}', np.array_equal(r.picture(row), f['pixels_u8'][:]))


def shards(t, b):
    """Pictures in tar shards."""
    os.makedirs(b.path('shards'), exist_ok=True)
    with tarfile.open(b.path('shards', 'one.tar'), 'w') as tar:
        for name in b.images[:3]:
            tar.add(b.path('data', name), name.replace('/', '.'))
    make(b.path('tar.h5'), images=4, size=32, attrs={'model': 'input_size: [3, 32, 32]\ncrop_pct: 0.9\ninterpolation: bicubic\n'})
    with h5py.File(b.path('tar.h5'), 'r+') as f:
        paths = [f'one.tar/{name.replace("/", ".")}' for name in b.images[:3]] + ['one.tar/absent.jpg']
        del f['images/path']
        f['images/path'] = np.array([p.encode() for p in paths])
    shard, plain_files = results.open_results(b.path('tar.h5')), results.open_results(b.path('out.h5'))
    for i in range(3):
        t.ok(f'picture {i} of a shard', np.array_equal(shard.picture(i, b.path('shards')), plain_files.picture(i)))
    try:
        shard.picture(3, b.path('shards'))
        t.ok('a member that is not there', False)
    except OSError as e:
        t.ok('a member that is not there', 'absent.jpg' in str(e))


def documented(t, b):
    """The examples of the documentation run as they stand, but for the name of the file."""
    root = os.path.join(plain.HERE, '..', '..')
    for document in 'README.md', 'analysis/README.md':
        with open(os.path.join(root, document), encoding='utf-8') as f:
            text = f.read()
        code = next(c for c in re.findall(r'```python\n(.*?)```', text, re.S) if 'import results' in c)
        code = re.sub(r'"[^" ]*\.h5"', repr(b.path('out.h5')), code).replace('"dave", 17', '"dave", 1').replace('[17]', '[1]')
        p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=root)
        t.ok(f'the example of {document}', p.returncode == 0 and 'deletion/auc' in p.stdout, p.stderr[-600:])
    with open(os.path.join(root, 'analysis/README.md'), encoding='utf-8') as f:
        text = f.read()
    dump = re.search(r'^    (h5dump .*)$', text, re.M)[1].split()
    p = subprocess.run(dump[:-1] + [b.path('out.h5')], capture_output=True, text=True)
    t.ok('h5dump, as documented', p.returncode == 0 and 'area under the curve' in p.stdout, p.stderr)
    recipe = re.search(r'^    (xarray\.open_dataset.*)$', text, re.M)[1]
    try:
        import xarray
        import h5netcdf  # noqa: F401
    except ImportError as e:
        t.skip('xarray, as documented', str(e))
        return
    values = eval(recipe.replace('"results.h5"', repr(b.path('out.h5'))), {'xarray': xarray})
    t.ok('xarray, as documented', values.dims == ('image',) and np.array_equal(
        np.array(values), raw_values(b.path('out.h5'), 'methods/dave/deletion/auc'), equal_nan=True))


def raw_values(path, name):
    with h5py.File(path, 'r', locking=False) as f:
        return f[name][:]


def missing_packages(t):
    for package, debian in (('h5py', 'python3-h5py'), ('yaml', 'python3-yaml'), ('numpy', 'python3-numpy')):
        p = subprocess.run([sys.executable, '-c', f'import sys; sys.modules[{package!r}] = None; sys.path.insert(0, sys.argv[1])\n'
                            'import results', plain.ANALYSIS], capture_output=True, text=True)
        t.ok(f'no {package}', p.returncode == 1 and len(p.stderr.splitlines()) == 1 and debian in p.stderr, p.stderr)


def body(t, b):
    broken = b.path('data', b.images[4])
    with open(broken, 'wb') as f:
        f.write(b'not a picture')
    b.write('c.yaml', changed(base_config(), run={'output': 'out.h5'}))
    t.equal('a run', b.evaluate('c.yaml').code, 0)
    of_the_program(t, b)
    strange(t, b)
    masks(t, b)
    several(t, b)
    sides(t)
    layouts(t, b)
    shards(t, b)
    documented(t, b)
    missing_packages(t)
    while_writing(t, b)


main(body)
