"""What a run lets others see: progress as JSON lines, logs of the ranks, --verify, and odd names in all of them."""
import json
import os
import re
import shutil
import signal
import subprocess

import h5py
import numpy as np

from hostile import LONG, alone, as_nobody, together
from support import (DONE, FAILED, PENDING, STOPPED, base_config, changed, checksum_fields, main, sha256, status_of,
                     wait_for)

STAGES = {'decode', 'attribution', 'metrics', 'write', 'wait'}
KEYS = {'start': {'version', 'revision', 'output', 'ranks', 'nodes', 'images', 'already'},
        'progress': {'elapsed', 'done', 'failed', 'images', 'images_per_second'},
        'end': {'elapsed', 'done', 'failed', 'images', 'exit_status', 'rank_seconds'}}


# ---------------------------------------------------------------- progress

def events(b, name):
    """The lines of a progress file; raises for what is no JSON."""
    with open(b.path(name)) as f:
        text = f.read()
    return [json.loads(line) for line in text.split('\n')[:-1]] if text.endswith('\n') else None


def check_events(t, name, got, ranks, images=12, already=0, status=0):
    """One run's events, in order, with their keys; returns the last."""
    kinds = ' '.join(e['event'] for e in got)
    t.ok(f'{name}: start, progress, end', re.fullmatch('start( progress)+ end', kinds), kinds)
    for e in got:
        keys = set(e) - {'event', 'time', 'eta'}
        if keys != KEYS[e['event']] or not re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', e['time']):
            t.ok(f'{name}: keys of {e["event"]}', False, e)
    times = [e['time'] for e in got]
    t.ok(f'{name}: times in order', times == sorted(times), times)
    start, last, end = got[0], got[-2], got[-1]
    said = [start[k] for k in ('ranks', 'nodes', 'images', 'already')]
    t.equal(f'{name}: start', said, [ranks, 1, images, already])
    t.equal(f'{name}: the last progress is the end', (last['done'], last['failed']), (end['done'], end['failed']))
    t.equal(f'{name}: exit_status', end['exit_status'], status)
    seconds = dict(end['rank_seconds'])
    t.equal(f'{name}: rank_seconds', set(seconds), STAGES | {'start', 'other', 'summary'})
    t.ok(f'{name}: no negative time', all(v > -1e-6 for v in seconds.values()), seconds)
    total = sum(seconds.values()) - seconds['start']  # elapsed begins after it
    t.close(f'{name}: rank_seconds are ranks x elapsed', total, ranks * end['elapsed'], .05 * total + .02)
    return end


def progress(t, b):
    r = b.evaluate('config.yaml', '-o', 'p.h5', ranks=2)
    check_events(t, 'default file', events(b, 'p.h5.progress.jsonl'), 2)
    before = sha256(b.path('p.h5.progress.jsonl'))
    alone(b, 'config.yaml', '-o', 'p.h5')
    t.equal('a refused run leaves the file alone', sha256(b.path('p.h5.progress.jsonl')), before)
    alone(b, 'config.yaml', '-o', 'none.h5', '--progress', 'none')
    alone(b, 'config.yaml', '-o', 'dry.h5', '--dry-run')
    t.ok('none: no file, nor for a dry run', not [n for n in os.listdir(b.folder) if n.startswith(('none', 'dry'))
                                                  and n != 'none.h5'], os.listdir(b.folder))
    shutil.copytree(b.path('data'), b.path('some'))
    b.write('some/class_1/bad.png', 'no picture')
    r = alone(b, 'config.yaml', '-o', 'f.h5', '--progress', 'f.jsonl', '-s', 'data.path=some')
    end = check_events(t, 'a failed image', events(b, 'f.jsonl'), 1, images=13)
    t.equal('a failed image: counted', (end['done'], end['failed']), (12, 1))
    t.ok('another file: not the default one', r.code == 0 and not os.path.exists(b.path('f.h5.progress.jsonl')), r)
    alone(b, 'config.yaml', '-o', 'f.h5', '--progress', 'f.jsonl', '-s', 'data.path=some', '--overwrite')
    check_events(t, 'begun anew: written anew', events(b, 'f.jsonl'), 1, images=13)


def progress_resumed(t, b):
    """A stopped run says so; the resumed one goes on in the same file."""
    p = b.start('dave-eval', 'slow.yaml', '-o', 's.h5', '--progress', 's.jsonl')
    wait_for(lambda: (status_of(b.path('s.h5')) == DONE).sum() >= 2)
    p.send_signal(signal.SIGUSR1)
    b.finish(p)
    first = events(b, 's.jsonl')
    end = check_events(t, 'stopped', first, 1, status=STOPPED)
    t.ok('stopped: some are done', 2 <= end['done'] < 12, end)
    b.evaluate('slow.yaml', '-o', 's.h5', '--progress', 's.jsonl', '--resume', ranks=2)
    both = events(b, 's.jsonl')
    t.equal('resumed: the first lines stay', both[:len(first)], first)
    end = check_events(t, 'resumed', both[len(first):], 2, already=end['done'])
    t.equal('resumed: all are done', end['done'], 12)


def progress_lost(t, b):
    """A progress file that cannot be written is worth a warning, not the run."""
    os.mkdir(b.path('folder'))
    os.mkfifo(b.path('pipe'))
    os.mkfifo(b.path('dry'))
    for name, path in [('a missing folder', 'no/p.jsonl'), ('a folder', 'folder'), ('a full disk', '/dev/full'),
                       ('the results themselves', 'lost.h5'), ('a pipe without a reader', 'dry'),
                       ('a reader that leaves', 'pipe')]:
        head = ['head', '-c', '1', b.path('pipe')]
        reader = subprocess.Popen(head, stdout=subprocess.DEVNULL) if path == 'pipe' else None
        r = alone(b, 'config.yaml', '-o', 'lost.h5', '--progress', path, '--overwrite', timeout=30)
        if reader:
            reader.wait()
        whole = r.code == 0 and '12 images done' in r.out and not r.errors()
        t.ok(f'progress into {name}: the run completes', whole, r)
        t.ok(f'progress into {name}: one warning', len(r.warnings()) == 1 and 'progress' in r.warnings()[0], r)
        t.equal(f'progress into {name}: results are right', sha256(b.path('lost.h5')), sha256(b.path('none.h5')))
    b.write('closed.jsonl', '')
    os.chmod(b.path('closed.jsonl'), 0o444)
    r = as_nobody(b, 'config.yaml', '-o', 'nobody/out.h5', '--progress', 'closed.jsonl')
    t.ok('progress into a closed file: one warning', r.code == 0 and len(r.warnings()) == 1, r)
    t.ok('progress into a closed file: named', 'closed.jsonl' in r.err, r)


# ---------------------------------------------------------------- logs

def image_lines(b, folder):
    """{rank: [(image, status, seconds by stage)]} of the log files; other lines are not looked at."""
    found = {}
    for name in sorted(os.listdir(b.path(folder))):
        rank = int(re.fullmatch(r'rank-(\d{5})\.log', name).group(1))
        with open(b.path(folder, name), errors='surrogateescape') as f:
            lines = re.findall(r'^(\S+Z) image (\d+) (.*): (done|failed), (.*)$', f.read(), re.M)
        found[rank] = [(int(i), status, dict(zip(s.split()[::2], map(float, s.split()[1::2]))))
                       for _, i, _, status, s in lines]
    return found


def check_images(t, name, found, images):
    rows = [row for rank in found.values() for row in rank]
    t.equal(f'{name}: every image once', sorted(row[0] for row in rows), images)
    t.ok(f'{name}: all stages', all(set(row[2]) == STAGES for row in rows), rows[:2])
    t.ok(f'{name}: sound times', all(0 <= v < 60 for row in rows for v in row[2].values())
         and sum(row[2]['attribution'] for row in rows) > 0, rows[:2])


def logs(t, b):
    r = b.evaluate('config.yaml', '-o', 'l.h5', '--log-dir', 'logs', ranks=3)
    found = image_lines(b, 'logs')
    t.ok('logs: a file per rank', r.code == 0 and list(found) == [0, 1, 2], (r, list(found)))
    check_images(t, 'logs', found, list(range(12)))
    with open(b.path('logs/rank-00002.log')) as f:
        lines = f.read().splitlines()
    t.ok('logs: whose it is', 'rank 2 of 3 on ' in lines[0], lines)
    t.ok('logs: how it ended', lines[-1].endswith('exit status 0'), lines)
    r = alone(b, 'config.yaml', '-o', 'l2.h5', '--log-dir', 'logs2', '-s', 'data.path=some')
    found = image_lines(b, 'logs2')
    check_images(t, 'a failed image in the log', found, list(range(13)))
    t.equal('a failed image in the log: failed', [row[1] for row in found[0]].count('failed'), 1)
    with open(b.path('logs2/rank-00000.log')) as f:
        t.ok('warnings are in the log too', r.warnings() and r.warnings()[0] in f.read(), r)
    r = alone(b, 'config.yaml', '-o', 'l2.h5', '--log-dir', 'logs2', '-s', 'data.path=some', '--resume')
    t.equal('resumed: appended', len(image_lines(b, 'logs2')[0]), 14)

    p = b.start('dave-eval', 'slow.yaml', '-o', 'l3.h5', '--log-dir', 'logs3', ranks=2)
    wait_for(lambda: (status_of(b.path('l3.h5')) == DONE).sum() >= 4)
    b.kill(p)
    killed = [row[0] for rank in image_lines(b, 'logs3').values() for row in rank]
    done = np.flatnonzero(status_of(b.path('l3.h5')) == DONE).tolist()
    # a row is written before it is logged: one per rank may be between the two
    t.ok('killed: what is logged is done', set(killed) <= set(done) and len(done) - len(killed) <= 2, (killed, done))


def logs_refused(t, b):
    os.makedirs(b.path('taken/rank-00001.log'))
    os.mkdir(b.path('closed_logs'), 0o555)
    cases = [('a file as folder', 'config.yaml', None), ('a folder in a missing one', 'no/logs', None),
             ('a folder in the place of a log', 'taken', 2), ('a file as folder, 2 ranks', 'config.yaml', 2)]
    jobs = [lambda c=c: b.evaluate('config.yaml', '-o', 'refused.h5', '--log-dir', c[1], ranks=c[2]) for c in cases]
    jobs.append(lambda: as_nobody(b, 'config.yaml', '-o', 'nobody/refused.h5', '--log-dir', 'closed_logs'))
    for (name, folder, _), r in zip(cases + [('a closed folder', 'closed_logs', None)], together(jobs)):
        t.ok(f'logs in {name}: refused', r.code == 2 and len(r.errors()) == 1, r)
        why = re.search('directory|denied|exists', r.err)
        t.ok(f'logs in {name}: it says where and why', folder in r.err and why, r)
    t.ok('logs refused: no results', not [n for n in os.listdir(b.folder) if n.startswith('refused')], '')


# ---------------------------------------------------------------- --verify

def verify(b, path, **more):
    return alone(b, '--verify', path, **more)


def counts(r):
    found = re.search(r'^(\d+) done, (\d+) failed, (\d+) pending, (\d+) damaged: ', r.out, re.M)
    return tuple(map(int, found.groups())) if found else r


def spoilt(b, name, change):
    """A copy of v.h5 (12 done, 1 failed) that change() has worked on."""
    shutil.copy(b.path('v.h5'), b.path(name))
    with h5py.File(b.path(name), 'r+') as f:
        change(f)
    return name


def verified(t, b):
    alone(b, 'config.yaml', '-o', 'v.h5', '-s', 'data.path=some', '-s', 'store.raw=true')
    before = sha256(b.path('v.h5'))
    r = verify(b, 'v.h5')
    t.equal('verify: whole', (r.code, counts(r), r.err), (0, (12, 1, 0, 0), ''))
    r = b.evaluate('--verify', 'v.h5', ranks=2)
    t.ok('verify: whole, 2 ranks, said once', r.code == 0 and r.out.count('pending') == 1, (r, r.out))

    with h5py.File(b.path('v.h5'), 'r') as f:
        fields = checksum_fields(f) + ['images/checksum']
        failed = int(np.flatnonzero(f['images/status'][:] == FAILED)[0])

    def damage(f, name, row):
        value = bytearray(f[name][row:row + 1].tobytes())
        value[-1] ^= 1
        f[name][row:row + 1] = np.frombuffer(bytes(value), f[name].dtype).reshape(f[name][row:row + 1].shape)

    # a field per row, as many fields in a file as there are rows
    missed, done = [], [row for row in range(13) if row != failed]
    for i in range(0, len(fields), 12):
        rows = {failed if name == 'images/error' else row: name for row, name in zip(done, fields[i:i + 12])}
        r = verify(b, spoilt(b, f'v{i}.h5', lambda f: [damage(f, name, row) for row, name in rows.items()]))
        found = set(map(int, re.findall(r'^row (\d+) \(', r.out, re.M)))
        missed += [(rows.get(row), row, r, r.out) for row in found ^ set(rows)]
        t.ok(f'verify: {len(rows)} damaged rows, counted', r.code == 1 and counts(r)[3] == len(rows), (r, r.out))
    t.ok(f'verify: each of {len(fields)} fields, damaged, is found', not missed and len(fields) > 20, missed[:3])
    r = b.evaluate('--verify', 'v0.h5', ranks=2)
    t.ok('verify: damaged, 2 ranks', r.code == 1 and r.out.count('row ') == 12 and r.out.count('pending') == 1, r.out)

    def forget(f):
        f['images/status'][-4:] = PENDING

    t.equal('verify: pending rows', counts(verify(b, spoilt(b, 'pending.h5', forget))), (8, 1, 4, 0))
    for name, value in ('path', b'class_0/other.png'), ('label', 3):
        def change(f):
            f[f'images/{name}'][0] = value
        r = verify(b, spoilt(b, 'list.h5', change))
        t.ok(f'verify: another {name}', r.code == 1 and 'data_sha256' in r.out, (r, r.out))
    t.equal('verify: nothing has changed the file', sha256(b.path('v.h5')), before)


def verify_flips(t, b):
    """Bits flipped in the file itself, one in every row at a time: every row is found."""
    with h5py.File(b.path('v.h5'), 'r') as f:
        where = [(f[n].id.get_offset(), f[n].dtype.itemsize * int(np.prod(f[n].shape[1:])))
                 for n in checksum_fields(f)]
    with open(b.path('v.h5'), 'rb') as f:
        good = f.read()
    rng = np.random.default_rng(11)
    rows, files = 13, []
    size = np.array([bytes_ for _, bytes_ in where])
    for k in range(150 if LONG else 12):
        data = bytearray(good)
        # as often in the small fields as in the maps
        weight = size / size.sum() if k % 2 else None
        for row in range(rows):
            start, bytes_ = where[rng.choice(len(where), p=weight)]
            data[start + row * bytes_ + int(rng.integers(bytes_))] ^= 1 << int(rng.integers(8))
        with open(b.path(f'flip{k}.h5'), 'wb') as f:
            f.write(data)
        files.append(f'flip{k}.h5')
    runs = together([lambda n=n: verify(b, n) for n in files])
    missed = [(n, r.out) for n, r in zip(files, runs) if r.code != 1 or counts(r) != (0, 0, 0, rows)]
    t.ok(f'verify: {rows * len(files)} flipped bits are found', not missed, missed[:2])


def verify_refused(t, b):
    size = os.path.getsize(b.path('v.h5'))
    jobs = []
    for part in 0, 8, 100, size // 50, size // 3, size - size // 10, size - 1:
        shutil.copy(b.path('v.h5'), b.path(f'cut{part}.h5'))
        os.truncate(b.path(f'cut{part}.h5'), part)
        jobs.append((f'cut to {part} bytes', f'cut{part}.h5'))
    with h5py.File(b.path('foreign.h5'), 'w') as f:
        f['x'] = 1
    for name, item in [('images/path', None), ('images/status', None), ('images/checksum_fields', None),
                       ('images/logit', None), ('images/logit', np.zeros(5)), ('images/checksum_fields', np.zeros(5))]:
        def change(f):
            del f[name]
            if item is not None:
                f[name] = item
        file = f'without{len(jobs)}.h5'
        jobs.append((f'{name} {"missing" if item is None else "of another kind"}', spoilt(b, file, change)))
    jobs += [('a foreign HDF5 file', 'foreign.h5'), ('text', 'config.yaml'), ('a folder', 'data'),
             ('a missing file', 'no.h5')]
    for (name, path), r in zip(jobs, together([lambda j=j: verify(b, j[1]) for j in jobs])):
        t.ok(f'verify {name}: refused', r.code == 2 and len(r.errors()) == 1 and path in r.err and not r.out, r)
    r = alone(b, '--verify')
    t.ok('verify without a file: refused', r.code == 2 and len(r.errors()) == 1, r)


# ---------------------------------------------------------------- names

def names(t, b):
    odd = [b'new\nline', b'tab\ttab', b'esc\x1b[31mred\x1b[0m', b'bell\x07\x08\x7f', b'latin\xe9\xff',
           b'quo"te\'s', b'back\\slash', b'%s%n{}$(x)', b'l' * 246, 'クラス'.encode(), b' blank ', b'return\rreturn']
    for k in range(5):
        os.makedirs(b.path('odd', f'{k}'))
    want = []
    for i, name in enumerate(odd):
        path = b'%d/%s.png' % (i % 5, name)
        want.append(path)
        if i % 2:  # half of them are no pictures: their names get into warnings
            with open(os.path.join(os.fsencode(b.path('odd')), path), 'wb') as f:
                f.write(b'no picture')
        else:
            shutil.copy(b.path('data', b.images[i]), os.path.join(os.fsencode(b.path('odd')), path))
    want.sort()
    for ranks in None, 2:
        out = f'odd{ranks}.h5'
        r = b.evaluate('config.yaml', '-o', out, '-s', 'data.path=odd', '--log-dir', f'odd{ranks}', ranks=ranks)
        t.ok(f'odd names, ranks {ranks}: exit 0, 6 warnings', r.code == 0 and len(r.warnings()) == 6, r)
        raw = [c for c in r.err if c < ' ' and c != '\n' or c == '\x7f']
        t.ok(f'odd names, ranks {ranks}: no control characters', not raw, raw)
        with h5py.File(b.path(out), 'r') as f:
            t.equal(f'odd names, ranks {ranks}: byte for byte', list(f['images/path'][:]), want)
        check_images(t, f'odd names, ranks {ranks}: logs', image_lines(b, f'odd{ranks}'), list(range(len(odd))))
        t.ok(f'odd names, ranks {ranks}: progress is JSON', len(events(b, out + '.progress.jsonl')) >= 3, '')
    with h5py.File(b.path('odd2.h5'), 'r+') as f:
        f['images/target'][:] += 1
    r = verify(b, 'odd2.h5')
    lines = r.out.splitlines()
    t.ok('verify of odd names: a line each, no control characters',
         len(lines) == len(odd) + 1 and not re.search('[\x00-\x09\x0b-\x1f\x7f]', r.out), r.out)
    out = 'oüt "q" \\.h5'
    r = alone(b, 'config.yaml', '-o', out, '--limit', 2)
    t.ok('results of an odd name: progress is JSON', r.code == 0 and len(events(b, out + '.progress.jsonl')) == 3, r)


def body(t, b):
    b.write('slow.yaml', changed(base_config(), methods=[{'dave': {'samples': 200}}], metrics=[]))
    progress(t, b)
    progress_resumed(t, b)
    progress_lost(t, b)
    logs(t, b)
    logs_refused(t, b)
    verified(t, b)
    verify_flips(t, b)
    verify_refused(t, b)
    names(t, b)


main(body)
