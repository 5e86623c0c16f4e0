"""The results file does not depend on ranks, order of work or --limit; it does depend on seed and batch."""
import os
import shutil

import h5py
import numpy as np

from support import base_config, changed, difference, main, sha256


def rows(path, count):
    """{data set: first rows} of everything that has one row per image."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and name.startswith(('images/', 'methods/')) and 'fraction' not in name:
            found[name] = item[:count].tobytes()

    with h5py.File(path, 'r') as f:
        f.visititems(visit)
    return found


def maps(path, method):
    with h5py.File(path, 'r') as f:
        return f[f'methods/{method}/map'][:]


def ranks_agree(t, b):
    first = b.evaluate('config.yaml', '-o', 'alone.h5')
    t.equal('a run without mpirun exits 0', first.code, 0)
    t.equal('no warning, no error', first.errors() + first.warnings(), [])
    for n in 1, 2, 3, 5, 14:
        r = b.evaluate('config.yaml', '-o', f'ranks{n}.h5', ranks=n, timeout=60)
        if t.ok(f'{n} ranks exit 0', r.code == 0, r):
            d = difference(b.path('alone.h5'), b.path(f'ranks{n}.h5'))
            t.ok(f'{n} ranks give the same bytes', not d, d)
            t.equal(f'{n} ranks report once', r.out.count('images done'), 1)
    # memory that nobody has written shows when malloc fills it with something
    r = b.evaluate('config.yaml', '-o', 'perturbed.h5', ranks=2, env={'MALLOC_PERTURB_': '93'})
    d = r if r.code else difference(b.path('alone.h5'), b.path('perturbed.h5'))
    t.ok('filled memory gives the same bytes', not d, d)
    t.equal('no temporary file is left', [n for n in os.listdir(b.folder) if n.endswith('.tmp')], [])


def order_is_irrelevant(t, b):
    shutil.copy(b.path('alone.h5'), b.path('holes.h5'))
    with h5py.File(b.path('holes.h5'), 'r+') as f:
        for i in 1, 4, 5, 11:  # nothing of these rows may survive
            f['images/status'][i] = 0
            f['images/checksum'][i] = 0
            f['images/probability'][i] = 77
            f['methods/dave/map'][i] = 5
            f['methods/random/deletion/curve'][i] = 5
    r = b.evaluate('config.yaml', '-o', 'holes.h5', '--resume', ranks=2)
    d = r if r.code else difference(b.path('alone.h5'), b.path('holes.h5'))
    t.ok('rows computed alone are the rows of the whole run', not d, d)
    # The same images named by a list file, labels as in the folders.
    with h5py.File(b.path('alone.h5'), 'r') as f:
        lines = [f'{p.decode()} {k}' for p, k in zip(f['images/path'][:], f['images/label'][:])]
    b.write('data/list.txt', '# a comment\n\n' + '\n'.join(lines) + '\n')
    r = b.evaluate('config.yaml', '-o', 'list.h5', '-s', 'data.path=data/list.txt')
    same = r.code == 0 and rows(b.path('alone.h5'), 12) == rows(b.path('list.h5'), 12)
    t.ok('a list file gives the same rows as the folders', same, r)
    os.unlink(b.path('data/list.txt'))


def limit(t, b):
    r = b.evaluate('config.yaml', '-o', 'limit.h5', '--limit', 5, ranks=2)
    t.equal('--limit exits 0', r.code, 0)
    few, all_rows = rows(b.path('limit.h5'), 5), rows(b.path('alone.h5'), 5)
    t.ok('--limit gives the first rows of the whole run', few == all_rows,
         [n for n in all_rows if few.get(n) != all_rows[n]])
    with h5py.File(b.path('limit.h5'), 'r') as f:
        t.equal('--limit makes a file of that many rows', len(f['images/status']), 5)
    b.evaluate('config.yaml', '-o', 'limit_all.h5', '--limit', 1000)
    t.ok('a limit beyond the data changes no row', rows(b.path('limit_all.h5'), 12) == rows(b.path('alone.h5'), 12),
         'rows differ')


def seed(t, b):
    b.evaluate('config.yaml', '-o', 'seed.h5', '--seed', 8)
    for method, same in ('dave', False), ('random', False), ('gradient', True):
        equal = np.array_equal(maps(b.path('alone.h5'), method), maps(b.path('seed.h5'), method))
        t.ok(f'another seed {"leaves" if same else "changes"} the map of {method}', equal == same, 'it does not')
    different = [i for i in range(12) if not np.array_equal(maps(b.path('alone.h5'), 'random')[i],
                                                            maps(b.path('seed.h5'), 'random')[i])]
    t.equal('another seed changes every image', len(different), 12)
    b.evaluate('config.yaml', '-o', 'seed2.h5', '-s', 'run.seed=8')
    t.equal('--seed is --set run.seed', sha256(b.path('seed.h5')), sha256(b.path('seed2.h5')))
    with h5py.File(b.path('seed.h5'), 'r') as f:
        t.equal('the seed is recorded', int(f.attrs['seed']), 8)
    r = b.evaluate('config.yaml', '-o', 'large.h5', '--seed', 2**64 - 1, '-l', 1)
    with h5py.File(b.path('large.h5'), 'r') as f:
        t.equal('the largest seed is recorded', int(f.attrs['seed']), 2**64 - 1)
    t.equal('the largest seed runs', r.code, 0)
    random = maps(b.path('alone.h5'), 'random')
    t.equal('no two images share a random map', len({m.tobytes() for m in random}), 12)


def batch(t, b):
    with h5py.File(b.path('alone.h5'), 'r') as f:
        t.equal('auto batch for 17 tokens is recorded', int(f.attrs['batch']), 16)
    b.write('batch.yaml', changed(base_config(), engine={'batch': 4}))
    for n in 1, 3:
        r = b.evaluate('batch.yaml', '-o', f'batch{n}.h5', ranks=n)
        t.equal(f'engine.batch 4 on {n} ranks exits 0', r.code, 0)
    t.equal('ranks agree with another batch', difference(b.path('batch1.h5'), b.path('batch3.h5')), '')
    with h5py.File(b.path('batch1.h5'), 'r') as f:
        t.equal('engine.batch is recorded', int(f.attrs['batch']), 4)
    t.close('another batch changes only last bits of the gradient',
            maps(b.path('batch1.h5'), 'gradient'), maps(b.path('alone.h5'), 'gradient'), 2e-3)
    with h5py.File(b.path('batch1.h5'), 'r') as f, h5py.File(b.path('alone.h5'), 'r') as g:
        t.close('and of the curves of the random map', f['methods/random/deletion/curve'][:],
                g['methods/random/deletion/curve'][:], 1e-5)


def body(t, b):
    more = ['grid_artifact', 'sparseness', 'entropy', {'deletion': {'name': 'chefer', 'preset': 'chefer'}},
            {'stability': {'draws': 2}}, {'sensitivity_max': {'draws': 2}}, {'randomisation': {'stages': 2}}]
    b.write('config.yaml', changed(base_config(), metrics=base_config()['metrics'] + more))
    ranks_agree(t, b)
    order_is_irrelevant(t, b)
    limit(t, b)
    seed(t, b)
    batch(t, b)


main(body)
