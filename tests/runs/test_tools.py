"""dave-explain, dave-sheet and dave-replay: what they write, and what they leave behind when they fail."""
import os
import re
import shutil
import subprocess

import h5py
import numpy as np

from support import CLASSES, HEADS, SIZE, main, make_model


def image_size(path):
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        return image.size, image.mode


def refused(t, b, name, words, program, *args, output='none.png'):
    if os.path.lexists(b.path(output)):
        os.unlink(b.path(output))
    r = b.run(program, *args, timeout=30)
    t.ok(f'{name}: exit status', r.code in (1, 2), r)
    t.ok(f'{name}: one error line', len(r.errors()) == 1, r)
    t.ok(f'{name}: it says {words}', all(w in r.err for w in words), r)
    t.ok(f'{name}: no output left', not os.path.lexists(b.path(output)), output)


def explain(t, b):
    picture = b.path('data', b.images[0])
    base = ('--model', 'model', picture)
    for method in 'dave', 'gradient', 'effective', 'random':
        r = b.run('dave-explain', *base, '-o', f'{method}.png', '--method', method)
        if not t.ok(f'dave-explain {method}: exit 0', r.code == 0 and not r.errors(), r):
            continue
        t.equal(f'dave-explain {method}: the picture', image_size(b.path(f'{method}.png')), ((SIZE, SIZE), 'RGB'))
        lines = re.findall(r'^ *\d\. class +(\d+) +([\d.]+) %', r.out, re.M)
        t.equal(f'dave-explain {method}: classes listed', len(lines), min(5, CLASSES))
        shares = [float(s) for _, s in lines]
        t.ok(f'dave-explain {method}: sorted, sum 100 %', shares == sorted(shares, reverse=True)
             and abs(sum(shares) - 100) < .1, shares)
        t.ok(f'dave-explain {method}: explains the first',
             f'explaining class {lines[0][0]} with {method}' in r.out, r.out)
    make_model(b.path('three'), classes=3)
    r = b.run('dave-explain', '-m', 'three', picture, '-o', 'three.png')
    t.equal('fewer classes than five: all listed', len(re.findall(r'^ *\d\. class', r.out, re.M)), 3)
    r = b.run('dave-explain', *base, '-c', 2, '-o', 'two.png', '-s', 'samples=3', '-s', 'alpha=0.1')
    t.ok('--class and --set', r.code == 0 and 'explaining class 2' in r.out, r)
    b.write('names.txt', 'zero\none\ntwo\nthree\nfour\n')
    r = b.run('dave-explain', *base, '-o', 'names.png', '-L', 'names.txt')
    t.ok('--labels', all(re.search(rf'class +{i} .* {n}$', r.out, re.M) for i, n in enumerate(
        ['zero', 'one', 'two', 'three', 'four'])), r)
    b.write('short.txt', 'zero\n')
    t.equal('too few labels: exit 0', b.run('dave-explain', *base, '-o', 'names.png', '-L', 'short.txt').code, 0)
    a = b.run('dave-explain', *base, '-o', 'again.png', '-s', 'samples=3', '-c', 2, '-s', 'alpha=0.1')
    with open(b.path('two.png'), 'rb') as f, open(b.path('again.png'), 'rb') as g:
        t.ok('the same twice', a.code == 0 and f.read() == g.read(), 'bytes differ')

    out = ('-o', 'none.png')
    refused(t, b, 'unknown method', ['lime'], 'dave-explain', *base, *out, '--method', 'lime')
    refused(t, b, 'class out of range', ['5', '4'], 'dave-explain', *base, *out, '--class', CLASSES)
    refused(t, b, 'not an image', ['names.txt'], 'dave-explain', '-m', 'model', 'names.txt', *out)
    refused(t, b, 'missing image', ['none.jpg'], 'dave-explain', '-m', 'model', 'none.jpg', *out)
    refused(t, b, 'missing model', ['nomodel'], 'dave-explain', '-m', 'nomodel', picture, *out)
    refused(t, b, 'unknown key', ['smaples'], 'dave-explain', *base, *out, '-s', 'smaples=3')
    refused(t, b, '--set without =', ['samples'], 'dave-explain', *base, *out, '-s', 'samples')
    refused(t, b, 'value out of range', ['samples'], 'dave-explain', *base, *out, '-s', 'samples=0')
    refused(t, b, 'output in a missing folder', ['nofolder/none.png'], 'dave-explain', *base, '-o', 'nofolder/none.png')
    refused(t, b, 'missing labels', ['nolabels'], 'dave-explain', *base, *out, '-L', 'nolabels.txt')
    for program in 'dave-explain', 'dave-sheet', 'dave-replay':
        t.equal(f'{program} without arguments: exit 2', b.run(program).code, 2)
        r = b.run(program, '--help')
        t.ok(f'{program} --help', r.code == 0 and r.out.startswith('usage:'), r)
        r = b.run(program, '--version')
        t.ok(f'{program} --version', r.code == 0 and re.fullmatch(program + r' \S+ \(\S+\)\n', r.out), r)


def sheet(t, b):
    r = b.evaluate('config.yaml')
    t.equal('results for the sheet', r.code, 0)
    r = b.run('dave-sheet', 'out.h5', '-o', 'sheet.png', '--columns', 3)
    if t.ok('dave-sheet: exit 0', r.code == 0, r):
        (w, h), _ = image_size(b.path('sheet.png'))
        t.ok('dave-sheet: 4 rows of 3 pairs', w >= 6 * SIZE and 4 * SIZE <= h < 5 * SIZE, (w, h))
    r = b.run('dave-sheet', 'out.h5', '-o', 'sheet2.png', '--most', 5, '--columns', 5)
    t.ok('dave-sheet --most', r.code == 0 and image_size(b.path('sheet2.png'))[0][1] < 2 * SIZE, r)
    os.rename(b.path('data'), b.path('moved'))
    refused(t, b, 'data moved', ['no picture could be read', '--data'], 'dave-sheet', 'out.h5', '-o', 'none.png')
    r = b.run('dave-sheet', 'out.h5', '-o', 'moved.png', '--columns', 3, '--data', 'moved')
    with open(b.path('sheet.png'), 'rb') as f:
        same = r.code == 0 and open(b.path('moved.png'), 'rb').read() == f.read()
    t.ok('dave-sheet --data', same, r)
    os.rename(b.path('moved'), b.path('data'))
    b.write('text.h5', 'no results')
    refused(t, b, 'not HDF5', ['text.h5'], 'dave-sheet', 'text.h5', '-o', 'none.png')
    with h5py.File(b.path('other.h5'), 'w') as f:
        f['x'] = 1
    refused(t, b, 'another HDF5 file', ['other.h5'], 'dave-sheet', 'other.h5', '-o', 'none.png')
    refused(t, b, 'no results file', ['gone.h5'], 'dave-sheet', 'gone.h5', '-o', 'none.png')
    b.evaluate('config.yaml', '-o', 'nomaps.h5', '-s', 'store.maps=none', '-l', 2)
    refused(t, b, 'no maps', ['map'], 'dave-sheet', 'nomaps.h5', '-o', 'none.png')
    with h5py.File(b.path('out.h5'), 'r+') as f:
        f['images/status'][:] = 0
    refused(t, b, 'nothing done', ['done'], 'dave-sheet', 'out.h5', '-o', 'none.png')


def recording(b, name, samples=3, with_weights=True, change=None):
    """A recorded batch of one image, as dave-replay reads it."""
    rng = np.random.default_rng(2)
    with h5py.File(b.path(name), 'w') as f:
        f.attrs['num_heads'], f.attrs['ln_eps'] = HEADS, 1e-6
        f['x'] = rng.standard_normal((1, 3, SIZE, SIZE)).astype('f4')
        f['y'] = np.array([1])
        if with_weights:
            for k, v in b.weights.items():
                f['w/' + k] = v
        g = f.create_group('n3')
        g['t'] = np.linspace(0, .3, samples)
        g['angle'] = rng.uniform(-20, 20, (samples, 1))
        g['flip'] = rng.integers(0, 2, (samples, 1))
        g['scale'] = rng.uniform(.9, 1.1, (samples, 1))
        g['tx'] = g['ty'] = np.zeros((samples, 1))
        g['noise'] = rng.standard_normal((samples, 1, 3, SIZE, SIZE)).astype('f4')
        if change:
            change(f)
    return name


def replay(t, b):
    for i in 0, 1:
        name = b.images[i]
        r = b.run('dave-replay', '--image', b.path('data', name), '--model', 'model', '-o', f'image{i}.h5')
        if not t.ok(f'dave-replay --image {name}: exit 0', r.code == 0, r):
            continue
        with h5py.File(b.path(f'image{i}.h5'), 'r') as f:
            pixels, x, logits = f['pixels_u8'][:], f['x'][:], f['logits'][:]
        t.equal(f'{name}: pixels', (pixels.shape, pixels.dtype), ((SIZE, SIZE, 3), np.dtype('u1')))
        want = (pixels.transpose(2, 0, 1).astype(np.float64) / 255 - .5) / .5
        t.close(f'{name}: normalised', x, want, 5e-7)
        t.ok(f'{name}: logits', logits.shape == (CLASSES,) and np.isfinite(logits).all(), logits)
    b.evaluate('config.yaml', '-o', 'logits.h5', '--limit', 2)
    with h5py.File(b.path('logits.h5'), 'r') as f, h5py.File(b.path('image1.h5'), 'r') as g:
        t.close('the logit that dave-eval stores', f['images/logit'][1], g['logits'][f['images/target'][1]], 1e-5)

    r = b.run('dave-replay', recording(b, 'rec.h5'), '-o', 'replayed.h5')
    if t.ok('dave-replay: exit 0', r.code == 0, r):
        with h5py.File(b.path('rec.h5'), 'r') as f, h5py.File(b.path('replayed.h5'), 'r') as g:
            t.close('dave-replay: maps = weff * x', g['n3/maps'][:], g['n3/weff'][:] * f['x'][:], 1e-6)
            kept = g['n3/mask'][:].astype(bool)
            mean = np.where(kept, g['n3/maps'][:].astype(float), 0).sum(0) / kept.sum(0)
            t.close('dave-replay: the aggregate is the mean of what is kept', g['n3/agg'][:], mean, 1e-6)
            median = np.sort(g['n3/maps'][:], axis=0)[1]
            t.ok('dave-replay: the median is kept', kept[g['n3/maps'][:] == median].all(), '')
    r = b.run('dave-replay', recording(b, 'bare.h5', with_weights=False), '--model', 'model', '-o', 'replayed2.h5')
    t.equal('dave-replay --model: exit 0', r.code, 0)

    def rejected(name, words, change=None, *args, **more):
        recording(b, 'wrong.h5', change=change, **more)
        refused(t, b, 'dave-replay, ' + name, words, 'dave-replay', 'wrong.h5', *args, '-o', 'none.h5',
                output='none.h5')

    def without(*names):
        def change(f):
            for n in names:
                del f[n]
        return change

    def replaced(name, value):
        def change(f):
            del f[name]
            f[name] = value
        return change

    rejected('without weights', ['weights', '--model'], with_weights=False)
    rejected('without angles', ['angle'], without('n3/angle'))
    rejected('without targets', ['y'], without('y'))
    rejected('without images', ['x'], without('x'))
    rejected('without a tensor', ['head.weight'], without('w/head.weight'))
    rejected('a target beyond the classes', ['class'], replaced('y', np.array([5])))
    rejected('images of another size', ['x'], replaced('x', np.zeros((1, 3, 16, 16), 'f4')))
    rejected('images of three axes', ['x'], replaced('x', np.zeros((3, SIZE, SIZE), 'f4')))
    rejected('images of three axes, --model', ['x'], replaced('x', np.zeros((3, SIZE, SIZE), 'f4')), '--model', 'model')
    rejected('fewer angles than samples', ['angle'], replaced('n3/angle', np.zeros((2, 1))))
    rejected('noise of another shape', ['noise'], replaced('n3/noise', np.zeros((3, 1, 3, 8, 8), 'f4')))
    rejected('no samples at all', ['n3'], replaced('n3/noise', np.zeros((0, 1, 3, SIZE, SIZE), 'f4')))
    rejected('no heads', ['heads'], lambda f: f.attrs.__setitem__('num_heads', 0))
    r = b.run('dave-replay', recording(b, 'many.h5', samples=4200), '-o', 'many_out.h5', timeout=60)
    t.ok('dave-replay, more samples than the program has room for: refused or right', r.code in (0, 1)
         and (r.code == 0) == os.path.exists(b.path('many_out.h5')), r)
    for name in 'many.h5', 'many_out.h5':
        if os.path.exists(b.path(name)):
            os.unlink(b.path(name))
    b.write('text.txt', 'no recording')
    refused(t, b, 'dave-replay, not HDF5', ['text.txt'], 'dave-replay', 'text.txt', '-o', 'none.h5', output='none.h5')
    refused(t, b, 'dave-replay, missing', ['gone.h5'], 'dave-replay', 'gone.h5', '-o', 'none.h5', output='none.h5')
    refused(t, b, 'dave-replay, missing model', ['nomodel'], 'dave-replay', 'rec.h5', '-m', 'nomodel', '-o', 'none.h5',
            output='none.h5')
    refused(t, b, 'dave-replay --image, not an image', ['text.txt'], 'dave-replay', '--image', 'text.txt',
            '-m', 'model', '-o', 'none.h5', output='none.h5')
    refused(t, b, 'dave-replay --image, missing model', ['nomodel'], 'dave-replay', '--image',
            b.path('data', b.images[0]), '-m', 'nomodel', '-o', 'none.h5', output='none.h5')
    before = open(b.path('rec.h5'), 'rb').read()
    r = b.run('dave-replay', 'rec.h5', '-o', 'rec.h5')
    t.ok('dave-replay onto its own input is refused', r.code == 1 and open(b.path('rec.h5'), 'rb').read() == before, r)
    shutil.copy(b.path('replayed.h5'), b.path('keep.h5'))
    b.run('dave-replay', 'gone.h5', '-o', 'keep.h5')
    t.ok('dave-replay without input leaves an existing output', os.path.exists(b.path('keep.h5')), '')


def check_threads(t, b):
    """More threads than cores are warned of; one is not."""
    for threads in 1, 2:
        run = subprocess.run(['taskset', '-c', str(min(os.sched_getaffinity(0))), os.path.join(b.bin, 'dave-eval'),
                              b.path('config.yaml'), '--dry-run', '--set', f'engine.threads={threads}'],
                             capture_output=True, text=True, env=b.env)
        warned = 'engine.threads is 2, but a rank may run on 1 core' in run.stderr
        t.ok(f'{threads} threads on one core', run.returncode == 0 and warned == (threads == 2), run.stderr)


def body(t, b):
    check_threads(t, b)
    explain(t, b)
    sheet(t, b)
    replay(t, b)


main(body)
