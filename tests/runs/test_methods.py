"""
Every attribution method against our PyTorch reference in float64 (tests/golden/methods, tests/reference/torch_methods.py): the
raw maps of whole runs, on small networks of the families. A picture has the size of the network's input, so that preprocessing
only normalises. And what is not defined for a network is refused.
"""
import json
import os
import shutil

import h5py
import numpy as np

from support import main

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDENS = os.path.join(HERE, '../golden/methods')
FAMILIES = os.path.join(HERE, '../golden/families')
BAR, AIM = 1e-4, 2e-5


def read(path):
    with h5py.File(path) as f:
        golden = {k: v.decode() if isinstance(v, bytes) else v for k, v in f.attrs.items()}
        golden['pixels'] = f['pixels'][:]
        golden['maps'] = {name: (m.attrs['kind'].decode(), json.loads(m.attrs['options']), m[:]) for name, m in f['maps'].items()}
    return golden


def install(b, golden):
    """The checkpoint without its resizing, the picture, and the list with its class; returns the configuration."""
    from PIL import Image
    source, model = os.path.join(FAMILIES, golden['family']), b.path('network')
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(source, model)
    path = os.path.join(model, 'config.json')
    with open(path) as f:
        config = json.load(f)
    config['pretrained_cfg'].update(crop_pct=1.0, crop_mode='center')
    with open(path, 'w') as f:
        json.dump(config, f)
    Image.fromarray(golden['pixels']).save(b.path('picture.png'))
    b.write('list.txt', f'picture.png {golden["y"]}\n')
    network = {'path': 'network'}
    if 'head_file' in golden:
        network['head'] = os.path.join('network', golden['head_file'])
        # what one width or two are taken for unless it is said
        network['head_input'] = golden['head_input'] if golden['head_input'] in ('avg', 'interleaved') else 'auto'
    if golden['resized']:
        network['input_size'] = '{}x{}'.format(*golden['pixels'].shape[:2])
    return {'run': {'output': 'methods.h5', 'seed': int(golden['seed'])}, 'model': network,
            'data': {'path': 'list.txt', 'target': 'label'}, 'store': {'maps': 'none', 'raw': True}}


def run(b, config, entries):
    """The maps of a run, or None and what it said."""
    methods = [{kind: {'name': name, 'postprocess': False, **options}} for name, (kind, options, _) in entries.items()]
    b.write('methods.yaml', {**config, 'methods': methods})
    r = b.evaluate(b.path('methods.yaml'), '--overwrite')
    if r.code != 0:
        return None, r
    with h5py.File(b.path('methods.h5')) as f:
        maps = {name: f[f'methods/{name}/raw'][0] for name in entries}
        return {'logit': f['images/logit'][0], **maps}, r


def compare(t, b, name, worst):
    golden = read(os.path.join(GOLDENS, name + '.h5'))
    config, entries = install(b, golden), golden['maps']
    got, r = run(b, config, entries)
    if not t.ok(f'{name}: all methods in one run', got, r):
        # Which of them is it? The others are compared all the same.
        got = {}
        for kind in sorted({kind for kind, _, _ in entries.values()}):
            some, r = run(b, config, {n: e for n, e in entries.items() if e[0] == kind})
            t.ok(f'{name}: {kind} runs', some, r)
            got.update(some or {})
    if got:
        t.close(f'{name}: logit', got['logit'], golden['logit'], 1e-5 * max(1, abs(golden['logit'])))
    for entry, (kind, options, right) in entries.items():
        if entry not in got:
            continue
        if not t.ok(f'{name}: {entry}: shape', got[entry].shape == right.shape, got[entry].shape):
            continue
        error = float(np.abs(got[entry] - right).max() / np.abs(right).max())
        worst.setdefault(entry, []).append((error, name))
        t.ok(f'{name}: {entry} {options or ""} {error:.1e}', error <= BAR, f'largest difference {error:.3g}, allowed {BAR:.0e}')


def check_refused(t, b, name, kind):
    config = install(b, read(os.path.join(GOLDENS, name + '.h5')))
    got, r = run(b, config, {kind: (kind, {}, None)})
    says = r.err.count('error:') == 1 and kind in r.err and 'unknown' not in r.err
    t.ok(f'{name}: {kind} is refused', r.code == 2 and says, r)


def body(t, b):
    names, worst = sorted(f[:-3] for f in os.listdir(GOLDENS) if f.endswith('.h5')), {}
    t.ok('goldens', len(names) >= 14, names)
    for name in names:
        compare(t, b, name, worst)
    for name in 'bcos_simple', 'bcos_vitc', 'dinov2_giant', 'swiglu_apart':
        for kind in ('chefer', 'attnlrp') + (('legrad',) if 'bcos' in name else ()):
            check_refused(t, b, name, kind)
    for entry, errors in worst.items():
        error, name = max(errors)
        print(f'reached: {entry:22s} {error:.1e} ({name}), {len(errors)} networks' + ('' if error <= AIM else '  above the aim of 2e-5'))


if __name__ == '__main__':
    main(body)
