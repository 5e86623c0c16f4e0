"""analysis/compare.py: runs that are the same, planted differences of every kind, and what explains them."""
import contextlib
import io
import os
import re
import shutil

import h5py
import numpy as np

import plain
from make_results import make

plain.use_analysis()
import compare as compare_module  # noqa: E402
import results  # noqa: E402
from support import base_config, changed, main  # noqa: E402


def compare(*args):
    """As a program of its own."""
    return plain.run('compare.py', *args)


def compare_here(a, c):
    """The same in this process, which is faster."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), results.open_results(a) as x, \
            results.open_results(c) as y:
        return compare_module.compare(x, y, 0, False, False), out.getvalue(), err.getvalue()


def reported(out):
    """field -> (rows that differ, largest, relative, image) of the table that is printed."""
    found = {}
    for line in out.splitlines():
        m = re.match(r'  (/\S+) +(\d+) of \d+ +(\S+) +(\S+) +(\d+) \(', line)
        if m:
            found[m[1]] = (int(m[2]), m[3], m[4], int(m[5]))
    return found


def same(t, name, result, *words):
    t.ok(name, result[0] == 0 and 'the same' in result[1] and all(w in result[1] for w in words), result)


def different(t, name, result, *words):
    t.ok(name, result[0] == 1 and 'different' in result[1] and 'Traceback' not in result[2]
         and all(w in result[1] for w in words), result)


def no_comparison(t, name, result, word):
    t.ok(name, result[0] == 2 and len([x for x in result[2].splitlines() if 'compared' not in x]) == 1 and word in result[2], result)


def planted(t, b):
    """One value changed in every field: the field, the row and the amount are named, and nothing else."""
    a, c = b.path('a.h5'), b.path('c.h5')
    make(a, images=30, methods={'dave': {'alpha': .3}, 'random': {}}, metrics=['deletion', 'insertion', 'gridpg', 'pointing_game'],
         failed=2, pending=3, boxes=True)
    shutil.copy(a, c)
    same(t, 'a copy', compare(a, c), '27 images')
    with h5py.File(a, 'r', locking=False) as f:
        fields = []
        f.visititems(lambda name, item: fields.append('/' + name) if isinstance(item, h5py.Dataset) and item.ndim
                     and item.dims[0].label == 'image' else None)
    fields = [f for f in fields if f not in ('/images/path', '/images/status', '/images/checksum')]
    t.ok('fields', len(fields) > 30, fields)
    for i, field in enumerate(fields):
        row = i % 25
        with h5py.File(c, 'r+') as f:
            d = f[field]
            before = d[row]
            if d.dtype.kind == 'S':
                d[row] = b'changed'
            elif d.dtype.kind in 'iu':
                d[row] = before + 1
            else:
                values = np.array(d[row])
                values.flat[values.size // 2] = 0.5 if np.isnan(values.flat[values.size // 2]) else values.flat[values.size // 2] + .125
                d[row] = values
        result = compare_here(a, c)
        found = reported(result[1])
        t.ok(f'planted in {field}', result[0] == 1 and list(found) == [field] and found[field][0] == 1 and found[field][3] == row,
             result)
        if field.endswith('/deletion/auc') or field.endswith('insertion/curve'):
            t.close(f'by how much: {field}', float(found[field][1]), .125, 1e-4)
        with h5py.File(c, 'r+') as f:
            f[field][row] = before
    same(t, 'all taken back', compare(a, c))


def amounts(t, b):
    a, c = b.path('a.h5'), b.path('c.h5')
    with h5py.File(c, 'r+') as f:
        top = np.nanmax(np.abs(f['methods/dave/deletion/auc'][:25]))
        f['methods/dave/deletion/auc'][3] += 1e-3 * top
        f['methods/dave/deletion/auc'][8] += 1e-5 * top
        f['methods/dave/map'][4, 0, 0] += np.float16(2e-3)
        f['methods/dave/scale'][5] = np.nan
    result = compare(a, c)
    found = reported(result[1])
    t.ok('rows and the worst', found['/methods/dave/deletion/auc'][0] == 2 and found['/methods/dave/deletion/auc'][3] == 3, found)
    t.close('relative', float(found['/methods/dave/deletion/auc'][2]), 1e-3, 2e-5)
    t.ok('a value that is missing', found['/methods/dave/scale'][1:] == ('-', '-', 5), found)
    t.ok('images that differ', 'images that differ: 4 of 27: 3, 4, 5, 8' in result[1], result[1])
    found = reported(compare(a, c, '--tolerance', 1e-4)[1])
    t.equal('within 1e-4', {k: v[0] for k, v in found.items()},
            {'/methods/dave/deletion/auc': 1, '/methods/dave/map': 1, '/methods/dave/scale': 1})
    t.equal('within 0.1: only the missing value', list(reported(compare(a, c, '--tolerance', .1)[1])), ['/methods/dave/scale'])
    same(t, 'quick: the checksums are believed', compare(a, c, '--quick'))
    with h5py.File(c, 'r+') as f:
        f['images/checksum'][3] += 1
    t.equal('quick: but for the row that has another', list(reported(compare(a, c, '--quick')[1])), ['/methods/dave/deletion/auc'])
    t.equal('a tolerance that is none', compare(a, c, '--tolerance', -1)[0], 2)


def structures(t, b):
    a, c = b.path('a.h5'), b.path('c.h5')
    shutil.copy(a, c)
    with h5py.File(c, 'r+') as f:
        f['images/status'][2] = 0
        f['images/status'][27] = 1
    different(t, 'status', compare(a, c), '2 done | pending', '27 pending | done')
    same(t, 'what both have finished', compare(a, c, '--common'))
    shutil.copy(a, c)
    with h5py.File(c, 'r+') as f:
        del f['methods/random']
    different(t, 'a method less', compare(a, c), 'only in A: all of /methods/random')
    same(t, 'in common', compare(a, c, '--common'))
    d = make(b.path('d.h5'), images=30, size=16, methods={'dave': {'alpha': .3}, 'random': {}})
    different(t, 'another size', compare(a, d), '/methods/dave/map', 'model input_size')
    shorter = b.path('shorter.h5')  # the first images of the same run, under positions of their own
    make(shorter, images=30, methods={'dave': {}})
    with h5py.File(shorter, 'r', locking=False) as f:
        maps, paths = f['methods/dave/map'][:], f['images/path'][:]
    part = make(b.path('part.h5'), images=12, methods={'dave': {}})
    order = np.random.default_rng(1).permutation(30)[:12]
    with h5py.File(shorter, 'r', locking=False) as f, h5py.File(part, 'r+') as g:
        names = []
        f.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) and item.ndim
                     and item.dims[0].label == 'image' else None)
        for n in names:
            g[n][...] = f[n][:][order]
    different(t, 'fewer images', compare(shorter, part), '12 in both, 18 only in A, 0 only in B')
    same(t, 'matched by path', compare(shorter, part, '--common'), '12 images')
    with h5py.File(part, 'r+') as f:
        f['methods/dave/map'][5, 1, 1] += np.float16(.25)
    t.equal('the image of the other file', reported(compare(shorter, part, '--common')[1])['/methods/dave/map'][3], int(order[5]))
    t.ok('maps are what they were', maps.shape == (30, 32, 32) and len(paths) == 30)


def refusals(t, b):
    a = b.path('a.h5')
    apart = make(b.path('apart.h5'), images=4)
    with h5py.File(apart, 'r+') as f:
        f['images/path'][...] = [b'other/%d' % i for i in range(4)]
    no_comparison(t, 'no image in common', compare(a, apart), 'no image')
    pending = make(b.path('pending.h5'), images=30, pending=30)
    no_comparison(t, 'nothing finished in both', compare(pending, pending), 'finished')
    different(t, 'a run that has not begun', compare(a, pending), 'status')
    no_comparison(t, 'no file', compare(a, b.path('absent.h5')), 'no such file')
    no_comparison(t, 'a foreign file', compare(a, b.write('x.h5', 'text')), 'not an HDF5 file')
    shutil.copy(a, b.path('cut.h5'))
    os.truncate(b.path('cut.h5'), 50_000)
    no_comparison(t, 'a cut file', compare(b.path('cut.h5'), a), 'truncated')


def explained(t, b):
    """Runs of the program."""
    t.equal('a run', b.evaluate('config.yaml').code, 0)
    t.equal('the same again, on two ranks', b.evaluate('config.yaml', '--output', 'again.h5', ranks=2).code, 0)
    same(t, 'two runs of one configuration', compare(b.path('out.h5'), b.path('again.h5')), '12 images')
    b.write('other.yaml', changed(base_config(), run={'output': 'other.h5'}, methods=[
        {'dave': {'samples': 6, 'alpha': .9}}, 'random', {'gradient': {'postprocess': False}}]))
    t.equal('another alpha', b.evaluate('other.yaml').code, 0)
    result = compare(b.path('out.h5'), b.path('other.h5'))
    different(t, 'another alpha is named', result, 'config methods.dave.alpha', '| 0.9')
    t.ok('only the maps of that method differ', all(f.startswith('/methods/dave/') for f in reported(result[1])), result[1])
    b.write('seed.yaml', changed(base_config(), run={'output': 'seed.h5', 'seed': 8}))
    t.equal('another seed', b.evaluate('seed.yaml').code, 0)
    different(t, 'another seed is named', compare(b.path('out.h5'), b.path('seed.h5')), 'seed: 7 | 8')
    c = b.path('kernels.h5')
    shutil.copy(b.path('out.h5'), c)
    with h5py.File(c, 'r+') as f:
        f.attrs['cpu_kernels'] = np.bytes_(b'Zen')
    same(t, 'the same on other processors', compare(b.path('out.h5'), c), 'though these differ', 'cpu_kernels')
    with h5py.File(c, 'r+') as f:
        f['methods/dave/scale'][1] *= 1 + 1e-6
    different(t, 'rounding', compare(b.path('out.h5'), c), 'kernels of the processors differ')
    same(t, 'rounding, allowed', compare(b.path('out.h5'), c, '--tolerance', 1e-5))
    with h5py.File(c, 'r+') as f:
        f.attrs['checkpoint_sha256'] = np.bytes_(b'0' * 64)
        f.attrs['git_revision'] = np.bytes_(b'0000000')
    different(t, 'checkpoint and revision', compare(b.path('out.h5'), c), 'checkpoint_sha256: ', 'git_revision: ')
    shutil.copy(b.path('out.h5'), c)
    with h5py.File(c, 'r+') as f:
        f['methods/dave/scale'][1] *= 2
    different(t, 'damage', compare(b.path('out.h5'), c), 'nothing of configuration', '--verify')


def body(t, b):
    planted(t, b)
    amounts(t, b)
    structures(t, b)
    refusals(t, b)
    explained(t, b)


main(body)
