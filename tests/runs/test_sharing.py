"""
All methods in one run share passes (attribution/clean.h), and metrics ask them for more maps, which other images displace:
none of it may change a bit. Every method alone, all in reverse order, other numbers of ranks, and after a stop.
"""
import os
import re
import signal

import h5py
import numpy as np

from support import DONE, PENDING, STOPPED, base_config, changed, difference, main, status_of, wait_for

FEW = {'dave': {'samples': 3}, 'effective_equivariant': {'samples': 3}, 'effective_smooth': {'samples': 3},
       'smoothgrad': {'samples': 3}, 'integrated_gradients': {'steps': 3}}
METRICS = [{'deletion': {'preset': 'rise', 'steps': 4}}, 'stability', {'randomisation': {'stages': 2}},
           {'gridpg': {'min_probability': 0, 'cells': 'rescaled'}}]


def registry(b):
    """Entries of all methods that the program has for this network."""
    names = re.findall('^### method `(.*)`$', b.evaluate('--reference-keys').out, re.M)
    entries = [{n: FEW.get(n, {})} for n in names if n != 'bcos']  # defined for B-cos networks alone
    return entries + [{'attnlrp': {'name': 'attnlrp_gamma', 'rule': 'gamma'}}]


def name_of(entry):
    (kind, options), = entry.items()
    return options.get('name', kind)


def label_as_predicted(b):
    """A list of the pictures with what the network says of them, so that grids find four classes."""
    b.write('predict.yaml', changed(base_config(), methods=['random'], metrics=[], store={'maps': 'none'}))
    b.evaluate('predict.yaml', '-o', 'predict.h5')
    with h5py.File(b.path('predict.h5'), 'r') as f:
        lines = [f'{p.decode()} {k}' for p, k in zip(f['images/path'][:], f['images/prediction'][:])]
    b.write('data/predicted.txt', '\n'.join(lines) + '\n')


def results_of(path, method):
    """{data set: bytes} of a method: map, raw, scale, its own figures and those of all metrics."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    with h5py.File(path, 'r') as f:
        f[f'methods/{method}'].visititems(visit)
        return found


def write(b, name, methods):
    b.write(name, changed(base_config(), data={'path': 'data/predicted.txt'}, methods=methods, metrics=METRICS,
                          store={'maps': 'float32', 'raw': True}))


def compare(t, b, what, path, methods):
    for entry in methods:
        name = name_of(entry)
        all_of, here = results_of(b.path('all.h5'), name), results_of(b.path(path), name)
        differ = [n for n in sorted(set(all_of) | set(here)) if all_of.get(n) != here.get(n)]
        t.ok(f'{name} {what}: the same bits', all_of and not differ, f'differ in {", ".join(differ)}')


def together(t, b, methods):
    write(b, 'all.yaml', methods)
    r = b.evaluate('all.yaml', '-o', 'all.h5')
    if not t.equal('all methods: the run exits 0', (r.code, r.errors()), (0, [])):
        return False
    with h5py.File(b.path('all.h5'), 'r') as f:
        t.equal('all methods: all rows are done', f['images/status'][:].tolist(), [DONE] * 12)
        t.equal('all methods: they are there', len(f['methods']), len(methods))
        maps = {f[f'methods/{m}/raw'][:].tobytes() for m in f['methods']}
        t.equal('all methods: no two have the same maps', len(maps), len(methods))
        for figure in 'deletion/auc', 'stability/pearson', 'randomisation/last', 'gridpg/score':
            finite = [m for m in f['methods'] if np.isfinite(f[f'methods/{m}/{figure}'][:]).all()]
            t.equal(f'all methods: {figure} of every image', len(finite), len(methods))
    r = b.evaluate('all.yaml', '-o', 'ranks.h5', ranks=3)
    d = r if r.code else difference(b.path('all.h5'), b.path('ranks.h5'))
    return t.ok('all methods: three ranks give the same bytes', not d, d)


def interrupted(t, b):
    p = b.start('dave-eval', 'all.yaml', '-o', 'stopped.h5', ranks=2)
    wait_for(lambda: (status_of(b.path('stopped.h5')) == DONE).any())
    os.kill(p.pid, signal.SIGUSR1)
    r = b.finish(p)
    t.equal('stopped: exit status', r.code, STOPPED)
    status = status_of(b.path('stopped.h5'))
    t.ok('stopped: some rows are done, some are not', set(status) == {PENDING, DONE}, status)
    r = b.evaluate('all.yaml', '-o', 'stopped.h5', '--resume', ranks=3)
    d = r if r.code else difference(b.path('all.h5'), b.path('stopped.h5'))
    t.ok('stopped: resumed to the same bytes', not d, d)


def body(t, b):
    label_as_predicted(b)
    methods = registry(b)
    t.ok('the registry is found', len(methods) >= 14, methods)
    if not together(t, b, methods):
        return
    for entry in methods:
        write(b, 'one.yaml', [entry])
        b.evaluate('one.yaml', '-o', 'one.h5', '--overwrite')
        compare(t, b, 'alone', 'one.h5', [entry])
    write(b, 'reversed.yaml', methods[::-1])
    b.evaluate('reversed.yaml', '-o', 'reversed.h5')
    compare(t, b, 'in reverse order', 'reversed.h5', methods)
    interrupted(t, b)


main(body)
