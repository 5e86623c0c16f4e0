"""
Disks that fail, and files that change or go while a run uses them: whatever happens, the run says why in one line,
no row is marked done that is wrong, and --resume ends with the bytes of an undisturbed run.
"""
import os
import random
import re
import shutil
import signal
import struct
import time
import zlib

import h5py
import numpy as np

from hostile import LONG, alone, as_nobody, small_disk, spread, together
from support import (DONE, FAILED, PENDING, bad_rows, base_config, changed, difference, main, make_weights, sha256,
                     status_of, wait_for, write_safetensors)

REASONS = {'ENOSPC': ('No space left on device', 'too little disk space'), 'EIO': ('Input/output error',),
           'short': ('No space left on device', 'not all of it was written (disk full?)')}


# ---------------------------------------------------------------- calls that fail

class Faults:
    """Runs of tiny.yaml whose k-th call that changes the results file fails."""

    def __init__(self, t, b, build):
        self.t, self.b = t, b
        self.shim = os.path.join(os.path.abspath(build), 'tests/shim.so')
        alone(b, 'tiny.yaml', '-o', 'tiny.h5', '--progress', 'none')
        r = self.run('counted.h5', DAVE_FAULT_LOG=b.path('calls'))
        with open(b.path('calls')) as f:
            # "3 pwrite /.../counted.h5.tmp" -> "pwrite .tmp"
            self.calls = [(line.split()[1] + ' ' + line.split('counted.h5')[1]).strip() for line in f]
        same = r.code == 0 and not difference(b.path('tiny.h5'), b.path('counted.h5'))
        kinds = {c.split()[0] for c in self.calls}
        t.ok(f'{len(self.calls)} calls: {", ".join(sorted(kinds))}',
             same and len(self.calls) > 50 and {'fsync', 'fdatasync', 'rename', 'fallocate'} < kinds, (r, self.calls))

    def run(self, out, *args, ranks=None, **env):
        fault = {'LD_PRELOAD': self.shim, 'DAVE_FAULT_PATH': self.b.path(out), **env}
        run = (lambda *a, **m: self.b.evaluate(*a, **m)) if ranks else (lambda *a, ranks, **m: alone(self.b, *a, **m))
        return run('tiny.yaml', '-o', out, '--progress', 'none', *args, ranks=ranks, env=fault, timeout=30)

    def case(self, kind, once, k, ranks=None, rank=None):
        """What is wrong with a run and its continuation: a list of words, empty for nothing."""
        out = f'fault-{kind}{once}-{k}-{rank}.h5'
        path, log = self.b.path(out), self.b.path('calls-' + out)
        env = {'DAVE_FAULT_KIND': kind, 'DAVE_FAULT_AT': str(k), 'DAVE_FAULT_LOG': log}
        if once:
            env['DAVE_FAULT_ONCE'] = '1'
        if rank is not None:
            env['DAVE_FAULT_RANK'] = str(rank)
        r = self.run(out, ranks=ranks, **env)
        hit = False
        if os.path.exists(log):  # the other rank may have done everything
            with open(log) as f:
                hit = re.search(r' (cut|failed)$', f.read(), re.M)
        wrong = self.judge(r, path, kind, once or not hit)
        made = os.path.exists(path)
        again = alone(self.b, 'tiny.yaml', '-o', out, '--progress', 'none', *(['--resume'] if made else []))
        if again.code or difference(self.b.path('tiny.h5'), path):
            wrong.append(f'then: {again}, {again.code or difference(self.b.path("tiny.h5"), path)}')
        os.unlink(path)
        return wrong and [f'{kind} {"once at" if once else "from"} call {k}', *wrong, r]

    def judge(self, r, path, kind, may_succeed):
        """Exit status, words, and the rows of the file."""
        made, e = os.path.exists(path), r.errors()
        if r.code == 0:
            right = made and not difference(self.b.path('tiny.h5'), path)
            return ([] if may_succeed else ['exit 0']) + ([] if right else ['exit 0 with wrong bytes'])
        wrong = [] if r.code == 1 else [f'exit {r.code}, file {"made" if made else "not made"}']
        if len(e) != 1 or path not in e[0] or not any(reason in e[0] for reason in REASONS[kind]):
            wrong.append('not one line with path and reason')
        if made and bad_rows(path)[0]:
            wrong.append(f'rows {bad_rows(path)[0]} are wrong')
        return wrong + ['.tmp is left'] * os.path.exists(path + '.tmp')


def every_call(t, f):
    variants = [(kind, once) for kind in REASONS for once in ('', 1)]
    n = len(f.calls)
    # where a new kind of call begins, and some at random; all of them for DAVE_LONG
    edges = [k + 1 for k in range(n) if k == 0 or f.calls[k] != f.calls[k - 1]]
    rng, cases = random.Random(os.environ.get('DAVE_TEST_SEED', 2026)), []
    for i, (kind, once) in enumerate(variants):
        some = edges[i % 3::3] + rng.sample(range(1, n + 1), 2) + [n]
        cases += [(kind, once, k) for k in (range(1, n + 1) if LONG else sorted(set(some)))]
    wrong = [w for w in together([lambda c=c: f.case(*c) for c in cases]) if w]
    for w in wrong[:10]:
        t.ok(w[0], False, w[1:])
    t.ok(f'{len(cases)} runs with failing calls: right words, no wrong row, the same bytes in the end', not wrong,
         f'{len(wrong)} are not')


def two_ranks(t, f):
    """One rank's disk fails: the other must not wait for it for ever."""
    n = len(f.calls)
    first = next(k for k, c in enumerate(f.calls, 1) if c == 'pwrite')  # to the file that all ranks share
    cases = [('ENOSPC', '', k, 2, 0) for k in spread(range(1, n - 14), 3)]
    cases += [('EIO', once, k, 2, 0) for k in spread(range(first, first + 16), 2) for once in ('', 1)]
    cases += [('EIO', '', k, 2, 1) for k in spread(range(1, 16), 2)] + [('short', '', 9, 2, 1)]
    wrong = [w for w in together([lambda c=c: f.case(*c) for c in cases], 3) if w]
    t.ok(f'{len(cases)} runs of 2 ranks with failing calls', not wrong, wrong[:3])


# ---------------------------------------------------------------- a disk that is full

def full_disk(t, b):
    with small_disk(b, 300 << 10) as disk:
        if not disk:
            t.skip('a full disk', 'no right to mount one')
            return
        out = os.path.join(disk, 'out.h5')
        fill = os.path.join(disk, 'fill')
        need = os.path.getsize(b.path('whole.h5'))
        for name, free in ('half of the room', need // 2), ('no room', 0), ('just too little room', need - 9000):
            size = (300 << 10) - max(free, 0)
            with open(fill, 'wb') as f:
                try:
                    f.write(bytes(size))
                except OSError:
                    pass
            for ranks in (None, 2) if free == 0 else (None,):
                r = b.evaluate('slow.yaml', '-o', out, ranks=ranks)
                e = r.errors()
                t.ok(f'{name}, ranks {ranks}: refused before the run', r.code == 1 and len(e) == 1, r)
                t.ok(f'{name}, ranks {ranks}: it says what is needed', e and out in e[0] and re.search(r'\d MB', e[0])
                     and 'disk space' in e[0], r)
                t.equal(f'{name}, ranks {ranks}: nothing is left', os.listdir(disk), ['fill'])
            os.unlink(fill)
        r = b.evaluate('slow.yaml', '-o', out, '--progress', 'none')
        d = r if r.code else difference(b.path('whole.h5'), out)
        t.ok('with room enough it runs', not d, d)


# ---------------------------------------------------------------- the checkpoint changes

def during(b, out, change, ranks=None, args=()):
    """slow.yaml, stopped when a row is done, for change() to work; returns how it ended."""
    p = b.start('dave-eval', 'slow.yaml', '-o', out, '--progress', 'none', *args, ranks=ranks)
    wait_for(lambda: (status_of(b.path(out)) == DONE).any(), step=.005)
    ranks_ = b.ranks_of(p)
    for pid in ranks_:
        os.kill(pid, signal.SIGSTOP)
    change()
    for pid in ranks_:
        os.kill(pid, signal.SIGCONT)
    return b.finish(p, 30)


def right_rows(t, b, name, out):
    """Finished rows are those of the undisturbed run, byte for byte; returns the status of all."""
    bad, status = bad_rows(b.path(out))
    done = status == DONE
    with h5py.File(b.path('whole.h5'), 'r') as f, h5py.File(b.path(out), 'r') as g:
        same = all(np.array_equal(f[n][:][done], g[n][:][done]) for n in ('methods/dave/map', 'images/probability'))
    t.ok(f'{name}: no wrong row among {done.sum()}', not bad and same and done.any(), (bad, status))
    return status


def resumed(t, b, name, out):
    r = b.evaluate('slow.yaml', '-o', out, '--resume', ranks=2)
    d = r if r.code else difference(b.path('whole.h5'), b.path(out))
    t.ok(f'{name}: put back, --resume completes to the same bytes', not d, d)


def checkpoint(t, b):
    path = b.path('model/model.safetensors')
    with open(path, 'rb') as f:
        good = f.read()
    write_safetensors(b.path('other.safetensors'), make_weights(seed=4))
    with open(b.path('other.safetensors'), 'rb') as f:
        other = f.read()

    def put(data):
        with open(path, 'r+b') as f:
            f.write(data)
            f.truncate()

    for ranks in None, 2:
        name, out = f'checkpoint overwritten, ranks {ranks}', f'over{ranks}.h5'
        r = during(b, out, lambda: put(other), ranks)
        t.ok(f'{name}: exit 1, one line', r.code == 1 and len(r.errors()) == 1 and path in r.errors()[0]
             and '--resume' in r.errors()[0], r)
        t.ok(f'{name}: not all are done', PENDING in right_rows(t, b, name, out), '')
        put(good)
        resumed(t, b, name, out)

    for size in 0, 5000:
        name, out = f'checkpoint cut to {size} bytes', f'cut{size}.h5'
        r = during(b, out, lambda: os.truncate(path, size))
        # by SIGBUS, or seen before the row is written
        t.ok(f'{name}: exit 1, one line that says what to do', r.code == 1 and len(r.errors()) == 1
             and re.search('checkpoint|model.safetensors', r.err) and '--resume' in r.errors()[0], r)
        right_rows(t, b, name, out)
        put(good)
        resumed(t, b, name, out)

    r = during(b, 'renamed.h5', lambda: os.rename(b.path('other.safetensors'), path), 2)
    d = r if r.code else difference(b.path('whole.h5'), b.path('renamed.h5'))
    t.ok('checkpoint replaced by rename: the run completes with the old one', not d, d)
    r = b.evaluate('slow.yaml', '-o', 'renamed.h5', '--resume')
    t.ok('and is not resumed with the new one', r.code == 2 and len(r.errors()) == 1 and 'checkpoint' in r.err, r)
    put(good)


# ---------------------------------------------------------------- data and results go

def data_gone(t, b):
    data, away = b.path('data'), b.path('away')
    for name, gone in ('a class folder removed', data + '/class_3'), ('all data removed', data):
        out = name.replace(' ', '_') + '.h5'
        r = during(b, out, lambda: os.rename(gone, away), 2)
        status = right_rows(t, b, name, out)
        with h5py.File(b.path(out), 'r') as f:
            said = f['images/error'][:][status == FAILED]
        t.ok(f'{name}: exit 0, rows failed with the reason', r.code == 0 and not r.errors() and PENDING not in status
             and len(said) > 0 and all(b'No such file' in m for m in said), (r, said))
        t.equal(f'{name}: a warning each', len(r.warnings()), len(said))
        os.rename(away, gone)
        resumed(t, b, name, out)


def closed_folder(t, b):
    shutil.copytree(b.path('data'), b.path('part'))
    os.chmod(b.path('part/class_2'), 0)
    r = as_nobody(b, 'slow.yaml', '-o', 'nobody/out.h5', '-s', 'data.path=part')
    t.ok('a closed class folder: refused in one line', r.code == 2 and len(r.errors()) == 1, r)
    t.ok('and named', r.errors() and 'class_2' in r.err and 'Permission denied' in r.err, r)
    os.chmod(b.path('part/class_2'), 0o755)


def huge(t, b):
    """Headers that promise gigabytes of pixels: a failed row, at once."""
    jpeg = next(p for p in b.images if not p.endswith('png'))
    with open(b.path('data', jpeg), 'rb') as f:
        data = bytearray(f.read())
    at = next(i for i in range(2, len(data)) if data[i] == 0xff and data[i + 1] in (0xc0, 0xc2))
    data[at + 5:at + 9] = struct.pack('>HH', 65500, 65500)

    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

    png = (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0))
           + chunk(b'IDAT', zlib.compress(bytes(10**6))) + chunk(b'IEND', b''))
    for k, (name, content) in enumerate([('huge.jpg', data), ('huge.png', png)]):
        with open(b.path(f'part/class_{k}', name), 'wb') as f:
            f.write(content)
    started = time.time()
    r = alone(b, 'tiny.yaml', '-o', 'huge.h5', '-s', 'data.path=part', '-s', 'data.limit=0')
    t.ok('huge pictures: the run goes on', r.code == 0 and '12 images done, 2 failed' in r.out, r)
    t.ok('huge pictures: at once', time.time() - started < 20, '')
    t.ok('huge pictures: two warnings', len(r.warnings()) == 2 and all('pixels' in w for w in r.warnings()), r)


def results_gone(t, b):
    """Nobody can write to a file that has been removed: the run must not go on for hours and then say so."""
    for ranks in None, 2:
        out = b.path(f'gone{ranks}.h5')
        r = during(b, os.path.basename(out), lambda: os.unlink(out), ranks)
        t.ok(f'results removed, ranks {ranks}: exit 1, one line', r.code == 1 and len(r.errors()) == 1
             and out in r.errors()[0] and 'removed' in r.errors()[0], r)


def body(t, b):
    b.write('tiny.yaml', changed(base_config(), methods=['gradient'], data={'limit': 2},
                                 metrics=[{'deletion': {'preset': 'rise', 'steps': 4}}]))
    b.write('slow.yaml', changed(base_config(), methods=[{'dave': {'samples': 100}}], metrics=[]))
    f = Faults(t, b, os.path.join(b.bin, '..'))
    every_call(t, f)
    two_ranks(t, f)
    r = b.evaluate('slow.yaml', '-o', 'whole.h5', '--progress', 'none')
    t.equal('an undisturbed run', r.code, 0)
    full_disk(t, b)
    checkpoint(t, b)
    data_gone(t, b)
    closed_folder(t, b)
    huge(t, b)
    results_gone(t, b)


main(body)
