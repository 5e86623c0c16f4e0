"""Data sets of tar shards in the layout of WebDataset: the same results as from files, and what is refused."""
import gzip
import io
import os
import shutil
import signal
import struct
import tarfile
import zlib

import h5py
import numpy as np

from hostile import alone, as_nobody, spread, together
from support import (DONE, FAILED, PENDING, bad_rows, base_config, changed, contents, difference, main, sha256,
                     status_of, wait_for)

FORMATS = {'ustar': tarfile.USTAR_FORMAT, 'gnu': tarfile.GNU_FORMAT, 'pax': tarfile.PAX_FORMAT}
LABELS = [0, 3, 1, 4, 2, 2]


# ---------------------------------------------------------------- making shards

def write_tar(path, members, kind='ustar'):
    """Members are (name as bytes, data); data None: a folder."""
    with tarfile.open(path, 'w', format=FORMATS[kind], encoding='utf-8', errors='surrogateescape') as tar:
        for name, data in members:
            info = tarfile.TarInfo(os.fsdecode(name))
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.size = len(data or b'')
            tar.addfile(info, io.BytesIO(data or b''))


class Samples:
    """Six pictures with labels, as the list file `list.txt` and as members of shards."""

    def __init__(self, b):
        self.names = b.images[:6]
        self.data = []
        for name in self.names:
            with open(b.path('data', name), 'rb') as f:
                self.data.append(f.read())
        b.write('list.txt', ''.join(f'data/{n} {k}\n' for n, k in zip(self.names, LABELS)))

    def pair(self, i, key, label=None):
        """Image and .cls of sample i under a key (bytes)."""
        ext = os.path.splitext(self.names[i])[1].encode()
        return [(key + ext, self.data[i]), (key + b'.cls', b'%d' % (LABELS[i] if label is None else label))]

    def members(self, prefix=b'', which=range(6)):
        return [m for i in which for m in self.pair(i, prefix + b'%04d' % i)]


def config():
    return changed(base_config(), methods=[{'dave': {'samples': 2}}, 'random'],
                   metrics=[{'deletion': {'preset': 'rise', 'steps': 4}}], store={'maps': 'float32', 'raw': True})


def run(b, out, data, *args, **more):
    return alone(b, 'shards.yaml', '-o', out, '-s', f'data.path={data}', '--progress', 'none', *args, **more)


def results(path):
    """All arrays and attributes but what says where the images lie."""
    places = 'images/path', '@config', '@data_sha256'
    return {k: v for k, v in contents(path).items() if k not in places and not k.startswith('images/path@')}


def same(t, b, name, r, out, want='list.h5'):
    if not t.ok(f'{name}: runs', r.code == 0 and not r.warnings(), r):
        return
    got, wanted = results(b.path(out)), results(b.path(want))
    differ = [k for k in sorted(set(got) | set(wanted)) if got.get(k) != wanted.get(k)]
    t.ok(f'{name}: the same maps, labels and figures', not differ and len(got) > 20, differ[:8])


def column(path, name):
    with h5py.File(path, 'r') as f:
        return f['images/' + name][:].tolist()


# ---------------------------------------------------------------- the same as from files

def names_and_formats(t, b, s):
    """Every format of tar, and names that need its extensions."""
    odd = {'plain': b'k', 'long': b'folder' * 15 + b'/' + b'key' * 20, 'utf8': 'bébé/クラス'.encode(),
           'latin1': b'caf\xe9/\xff', 'odd': b'./v1.5/a "b"\\c \t'}
    cases = [(kind, name, prefix) for kind in FORMATS for name, prefix in odd.items()]
    cases += [(kind, 'longest', b'l' * 240) for kind in ('gnu', 'pax')]

    def one(case):
        kind, name, prefix = case
        write_tar(b.path(f'{kind}-{name}.tar'), s.members(prefix), kind)
        return run(b, f'{kind}-{name}.h5', f'{kind}-{name}.tar')

    for (kind, name, prefix), r in zip(cases, together([lambda c=c: one(c) for c in cases])):
        same(t, b, f'{kind}, {name} names', r, f'{kind}-{name}.h5')
        want = [f'{kind}-{name}.tar/'.encode() + m for m, _ in s.members(prefix)[::2]]
        t.equal(f'{kind}, {name} names: byte for byte', column(b.path(f'{kind}-{name}.h5'), 'path'), want)


def layouts(t, b, s):
    """Members that are no samples, other orders of image and label, and several shards."""
    m, shuffled = s.members(), []
    for image, label in zip(m[::2], m[1::2]):
        key = label[0][:-4]
        shuffled += [(b'._' + image[0], b'of a Mac'), label, (key + b'.json', b'{"a": 1}'), image,
                     (key + b'.seg.png', s.data[0]), (key + b'.txt', b'5')]
    write_tar(b.path('extras.tar'), [(b'folder.jpg', None), (b'README', b'x' * 3000)] + shuffled)
    write_tar(b.path('UPPER.TAR'), m)
    write_tar(b.path('blanks.tar'), [(n, b' \n' + d + b'\r\n') if n.endswith(b'.cls') else (n, d) for n, d in m])
    os.makedirs(b.path('folder/sub'))
    for name, which in ('b.tar', [2, 3]), ('a.tar', [0, 1]), ('c.tar', [4, 5]):
        write_tar(b.path('folder', name), s.members(b'', which), 'pax')
    for name in '.hidden.tar', 'notes.txt':
        b.write('folder/' + name, 'not of the data set')
    b.write('shards.txt', f'# two relative, one absolute\nfolder/a.tar\n\nfolder/b.tar\r\n{b.path("folder/c.tar")}\n')
    data = {'extra members': 'extras.tar', 'a name in capitals': 'UPPER.TAR', 'labels with blanks': 'blanks.tar',
            'a folder of shards': 'folder', 'a list of shards': 'shards.txt'}
    runs = together([lambda d=d: run(b, f'{d}.h5', d) for d in data.values()])
    for (name, d), r in zip(data.items(), runs):
        same(t, b, name, r, f'{d}.h5')
    t.equal('a folder of shards: paths', column(b.path('folder.h5'), 'path')[::2],
            [shard + s.members()[4 * k][0] for k, shard in enumerate((b'a.tar/', b'b.tar/', b'c.tar/'))])
    t.equal('a list of shards: an absolute path stays one', column(b.path('shards.txt.h5'), 'path')[5],
            os.fsencode(b.path('folder/c.tar/')) + s.members()[10][0])
    for ranks in 2, 3:
        r = b.evaluate('shards.yaml', '-o', f'ranks{ranks}.h5', '-s', 'data.path=folder', ranks=ranks)
        d = r if r.code else difference(b.path('folder.h5'), b.path(f'ranks{ranks}.h5'))
        t.ok(f'{ranks} ranks: the same bytes', not d, d)
    r = run(b, 'limit.h5', 'folder', '--limit', 3)
    t.equal('--limit takes the first', column(b.path('limit.h5'), 'path'), column(b.path('folder.h5'), 'path')[:3])
    b.run('dave-sheet', 'folder.h5', '-o', 'folder.png')
    r = b.run('dave-sheet', 'list.h5', '-o', 'list.png')
    with open(b.path('list.png'), 'rb') as f, open(b.path('folder.png'), 'rb') as g:
        t.ok('dave-sheet draws the same of shards', f.read() == g.read(), r)


# ---------------------------------------------------------------- the index

def parts_of_index(data):
    """(what it is of with its NUL, header, labels, the rest) of an index; nothing where its checksum is wrong."""
    if zlib.crc32(data[:-4]) != struct.unpack('<I', data[-4:])[0]:
        return None, None, np.zeros(0), None
    head = data.index(b'\0') + 1
    header = data[head:head + 48]
    count = struct.unpack('<4Q4i', header)[4]
    return data[:head], header, np.frombuffer(data, '<i4', count, head + 48), data[head + 48 + 4 * count:-4]


def with_labels(data, labels):
    of, header, _, rest = parts_of_index(data)
    body = of + header + np.asarray(labels, '<i4').tobytes() + rest
    return body + struct.pack('<I', zlib.crc32(body))


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def replace(path, data):
    with open(path, 'wb') as f:
        f.write(data)


def index_use(t, b, s):
    """Used while it is of these shards, made anew when it is not."""
    write_tar(b.path('i.tar'), s.members())
    index = b.path('i.tar.index')
    same(t, b, 'without an index', run(b, 'i.h5', 'i.tar'), 'i.h5')
    good = read(index)
    replace(index, with_labels(good, LABELS[::-1]))
    before = os.stat(index)
    run(b, 'used.h5', 'i.tar')
    t.equal('the index is used: its labels count', column(b.path('used.h5'), 'label'), LABELS[::-1])
    after = os.stat(index)
    t.ok('and is not written again', (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns), '')

    os.link(index, b.path('old.index'))
    old = read(b.path('old.index'))
    os.utime(b.path('i.tar'))
    run(b, 'touched.h5', 'i.tar')
    t.equal('a shard of another time: the index is made anew', column(b.path('touched.h5'), 'label'), LABELS)
    t.ok('in a file of its own, renamed', read(b.path('old.index')) == old != read(index), 'written in place')
    stamp = os.stat(b.path('i.tar')).st_mtime_ns
    write_tar(b.path('i.tar'), s.members(b'', range(5)) + [(b'x', b'y' * 9000)])
    os.utime(b.path('i.tar'), ns=(stamp, stamp))
    run(b, 'grown.h5', 'i.tar')
    t.equal('a shard of another size too', column(b.path('grown.h5'), 'label'), LABELS[:5])
    t.equal('nothing else is left', sorted(n for n in os.listdir(b.folder) if n.startswith('i.tar')),
            ['i.tar', 'i.tar.index'])

    run(b, 'f1.h5', 'folder')
    write_tar(b.path('folder/d.tar'), s.members(b'', [0]))
    run(b, 'f2.h5', 'folder')
    t.equal('a further shard in the folder counts', column(b.path('f2.h5'), 'label'), LABELS + LABELS[:1])
    os.unlink(b.path('folder/d.tar'))
    shutil.copytree(b.path('folder'), b.path('moved'), copy_function=shutil.copy2)
    run(b, 'f3.h5', 'moved')
    t.equal('a folder that has moved with its index', column(b.path('f3.h5'), 'label'), LABELS)


def index_damage(t, b, s):
    """An index that is cut, or in which a bit has flipped, is as good as none."""
    write_tar(b.path('small.tar'), s.members(b'', [0, 1]))
    small = {'methods': ['random'], 'metrics': []}
    b.write('random.yaml', changed(config(), **small))
    alone(b, 'random.yaml', '-o', 'whole.small.h5', '-s', 'data.path=small.tar')
    good, want = read(b.path('small.tar.index')), results(b.path('whole.small.h5'))
    head = good.index(b'\0') + 1
    rng = np.random.default_rng(5)
    cuts = {f'cut to {n} bytes': good[:n] for n in spread(range(len(good)), 9)}
    cuts.update({'cut in its checksum': good[:-1], 'cut behind its head': good[:head], 'longer': good + b'\0'})
    flips = {}
    for at in spread(rng.permutation(len(good)), 12):
        bit = 1 << int(rng.integers(8))
        flips[f'bit {bit} of byte {at} flipped'] = good[:at] + bytes([good[at] ^ bit]) + good[at + 1:]

    def one(i, data):
        # each in a folder of its own, with the shard's size and time
        folder = f'damage{i}'
        os.mkdir(b.path(folder))
        shutil.copy2(b.path('small.tar'), b.path(folder))
        replace(b.path(folder, 'small.tar.index'), data)
        r = alone(b, 'random.yaml', '-o', f'{folder}/out.h5', '-s', f'data.path={folder}/small.tar')
        fine = r.code == 0 and results(b.path(folder, 'out.h5')) == want
        of, _, labels, _ = parts_of_index(read(b.path(folder, 'small.tar.index')))  # which verifies it
        shutil.rmtree(b.path(folder))
        return '' if fine and of == good[:head] and labels.tolist() == LABELS[:2] else (r, of, labels)

    cases = {**cuts, **flips}
    answers = together([lambda i=i, d=d: one(i, d) for i, d in enumerate(cases.values())])
    wrong = {name: answer for name, answer in zip(cases, answers) if answer}
    t.ok(f'{len(cuts)} cut and {len(flips)} flipped indices are replaced', not wrong, wrong)


def index_readonly(t, b, s):
    os.mkdir(b.path('closed'))
    write_tar(b.path('closed/x.tar'), s.members())
    os.chmod(b.path('closed'), 0o555)
    for data, index in ('closed/x.tar', 'closed/x.tar.index'), ('closed', 'closed/dave-eval.index'):
        r = as_nobody(b, 'shards.yaml', '-o', 'nobody/out.h5', '-s', f'data.path={data}', '--overwrite')
        same(t, b, f'{data}, read-only', r, 'nobody/out.h5')
        said = [line for line in r.err.splitlines() if 'index' in line]
        t.ok(f'{data}, read-only: said once, with the reason',
             len(said) == 1 and index in said[0] and 'Permission denied' in said[0], r)
        t.equal(f'{data}, read-only: nothing there', os.listdir(b.path('closed')), ['x.tar'])
    os.chmod(b.path('closed'), 0o755)


# ---------------------------------------------------------------- refusals and failures

def refusals(t, b, s):
    m, pair = s.members(), s.pair
    write_tar(b.path('whole.tar'), m)
    whole = read(b.path('whole.tar'))
    with tarfile.open(b.path('whole.tar')) as tar:
        second = [x for x in tar][2]
    bad_header = bytearray(whole)
    for at in second.offset, second.offset_data + (second.size + 511) // 512 * 512:
        bad_header[at + 150] ^= 1
    raw = {'cut in a picture': (whole[:second.offset_data + 100], []),
           'cut in a header': (whole[:second.offset + 99], []), 'cut between samples': (whole[:second.offset], []),
           'gzip': (gzip.compress(whole), ['uncompressed']), 'empty file': (b'', ['tar']),
           'zeros alone': (bytes(10240), ['no images']), 'text': (b'key.jpg key.cls\n' * 99, ['tar']),
           'two damaged headers': (bytes(bad_header), ['amaged'])}
    made = {'no .cls': (m[:2] + pair(1, b'kk')[:1] + m[4:], ['kk']),
            'a .cls without an image': (m[:2] + pair(1, b'kk')[1:] + m[4:], ['kk']),
            'two images of a key': (m[:2] + pair(1, b'kk') + [(b'kk.jpeg', s.data[0])], ['kk']),
            'two .cls of a key': (m[:2] + pair(1, b'kk') + [(b'kk.cls', b'1')], ['kk']),
            'no members of interest': ([(b'README', b'x'), (b'a.txt', b'1')], ['no images'])}
    for name, text in [('text', b'dog'), ('nothing', b''), ('a negative number', b'-1'), ('a fraction', b'1.5'),
                       ('two words', b'1 dog'), ('a huge number', b'99999999999999999999'), ('2^25', b'33554432'),
                       ('hexadecimal', b'0x1'), ('much', b'1' * 100)]:
        made[f'.cls with {name}'] = (m[:2] + [pair(1, b'kk')[0], (b'kk.cls', text)], ['kk'])
    os.mkdir(b.path('refused'))
    cases = []
    for i, (name, (data, words)) in enumerate({**raw, **made}.items()):
        path = f'refused/{i}.tar'
        replace(b.path(path), data) if isinstance(data, bytes) else write_tar(b.path(path), data, 'gnu')
        cases.append((name, path, [path] + words))
    b.write('refused/missing.txt', '../whole.tar\nnone.tar\n')
    b.write('refused/mixed.txt', '../whole.tar\nx.png 1\n')
    b.write('refused/mixed2.txt', 'x.png 1\n../whole.tar\n')
    os.mkdir(b.path('refused/folder'))
    shutil.copy(b.path('whole.tar'), b.path('refused/folder/a.tar'))
    replace(b.path('refused/folder/b.tar'), whole[:20000])
    cases += [('a missing shard', 'refused/none.tar', ['none.tar', 'No such file']),
              ('a missing shard in a list', 'refused/missing.txt', ['none.tar', 'No such file']),
              ('a list of shards and images', 'refused/mixed.txt', ['mixed.txt:2', '.tar']),
              ('a list of images and shards', 'refused/mixed2.txt', ['mixed2.txt:2', 'path label']),
              ('a bad shard in a folder', 'refused/folder', ['folder/b.tar'])]
    for (name, path, words), r in zip(cases, together([lambda c=c: run(b, 'refused.h5', c[1]) for c in cases])):
        e = r.errors()
        t.ok(f'{name}: refused in one line', r.code == 2 and len(e) == 1 and r.err.count('error:') == 1, r)
        t.ok(f'{name}: it says {words}', e and all(w in e[0] for w in words), r)
    b.write('one_name.txt', 'class_0\n')
    r = run(b, 'refused.h5', 'whole.tar', '-s', 'data.classes=one_name.txt')
    t.ok('shards with too few names of classes: refused', r.code == 2 and 'classes' in r.err and len(r.errors()) == 1, r)
    left = [n for _, _, names in os.walk(b.path('refused')) for n in names if 'index' in n]
    t.ok('no index and no results of what was refused', not left and not os.path.exists(b.path('refused.h5')), left)


def failures(t, b, s):
    """Pictures that cannot be decoded are rows with a message."""
    m = s.members()
    jpeg = next(i for i in range(6) if not s.names[i].endswith('png'))
    half = s.data[jpeg][:len(s.data[jpeg]) // 2]
    bad = {0: (b'no picture', 'not a JPEG'), jpeg: (half, 'truncated'), 5: (b'', 'empty')}
    for i, (data, _) in bad.items():
        m[2 * i] = (m[2 * i][0], data)
    write_tar(b.path('bad.tar'), m)
    r = run(b, 'bad.h5', 'bad.tar')
    t.ok('bad members: exit 0', r.code == 0 and not r.errors(), r)
    status, said = column(b.path('bad.h5'), 'status'), column(b.path('bad.h5'), 'error')
    t.equal('bad members: exactly those failed', [i for i in range(6) if status[i] == FAILED], sorted(bad))
    for i, (_, words) in bad.items():
        t.ok(f'bad member {i}: says "{words}"', words in said[i].decode(), said[i])
        t.equal(f'bad member {i}: one warning', sum(m[2 * i][0].decode() in w for w in r.warnings()), 1)


# ---------------------------------------------------------------- while it runs, and after

def rewritten(t, b, s):
    """The shard changes while the index is in memory: a row is of its own picture or has failed."""
    # of equal size, so that the header of another picture comes to stand where that of this one was
    longest = max(map(len, s.data))
    s.data = [d + bytes(longest - len(d)) for d in s.data]
    write_tar(b.path('live.tar'), s.members())
    b.write('slow.yaml', changed(config(), methods=[{'dave': {'samples': 150}}], metrics=[]))
    args = ('slow.yaml', '-s', 'data.path=live.tar', '--progress', 'none')
    alone(b, *args, '-o', 'slow.h5')
    original = read(b.path('live.tar'))
    with h5py.File(b.path('slow.h5'), 'r') as f:
        want = f['methods/dave/map'][:]
    for how in 'in place', 'by rename', 'cut':
        replace(b.path('live.tar'), original)
        out = f'live {how}.h5'
        p = b.start('dave-eval', *args, '-o', out)
        wait_for(lambda: (status_of(b.path(out)) == DONE).any())
        p.send_signal(signal.SIGSTOP)
        if how == 'cut':
            os.truncate(b.path('live.tar'), 1000)
        else:
            write_tar(b.path('new.tar'), s.members(b'', [5, 3, 4, 1, 2, 0]))
            (os.rename if how == 'by rename' else shutil.copyfile)(b.path('new.tar'), b.path('live.tar'))
        p.send_signal(signal.SIGCONT)
        r = b.finish(p)
        with h5py.File(b.path(out), 'r') as f:
            status, got, said = f['images/status'][:], f['methods/dave/map'][:], f['images/error'][:]
        done = status == DONE
        t.ok(f'rewritten {how}: the run ends', r.code == 0 and not r.errors() and PENDING not in status, r)
        t.ok(f'rewritten {how}: no row of another picture', np.array_equal(got[done], want[done]), status)
        t.ok(f'rewritten {how}: others failed with a message', 0 < done.sum() < 6 and all(said[~done]), (status, said))
    replace(b.path('live.tar'), original)
    r = alone(b, *args, '-o', out, '--resume')
    d = r if r.code else difference(b.path('slow.h5'), b.path(out))
    t.ok('put back, --resume completes to the same bytes', not d, d)


def resume(t, b, s):
    args = ('slow.yaml', '-o', 'r.h5', '--progress', 'none', '-s')
    p = b.start('dave-eval', *args, 'data.path=live.tar')
    wait_for(lambda: (status_of(b.path('r.h5')) == DONE).any())
    b.kill(p)
    bad, status = bad_rows(b.path('r.h5'))
    t.ok('killed: rows are right', not bad and PENDING in status, (bad, status))
    before = sha256(b.path('r.h5'))
    others = {'another label': s.members(b'', range(5)) + s.pair(5, b'0005', 1),
              'another key': s.members(b'', range(5)) + s.pair(5, b'0006'),
              'fewer samples': s.members(b'', range(5)), 'another order': s.members(b'', [1, 0, 2, 3, 4, 5])}
    for name, members in others.items():
        os.makedirs(b.path('other'), exist_ok=True)
        write_tar(b.path('other/live.tar'), members)
        r = alone(b, *args, 'data.path=other/live.tar', '--resume')
        t.ok(f'--resume with {name}: refused', r.code == 2 and len(r.errors()) == 1 and 'images' in r.errors()[0], r)
    t.equal('and the file is untouched', sha256(b.path('r.h5')), before)
    r = b.evaluate(*args, 'data.path=live.tar', '--resume', ranks=2)
    d = r if r.code else difference(b.path('slow.h5'), b.path('r.h5'))
    t.ok('--resume with the same shard: the same bytes', not d, d)


def body(t, b):
    b.write('shards.yaml', config())
    s = Samples(b)
    r = run(b, 'list.h5', 'list.txt')
    if not t.ok('the list file runs', r.code == 0, r):
        return
    names_and_formats(t, b, s)
    layouts(t, b, s)
    index_use(t, b, s)
    index_damage(t, b, s)
    index_readonly(t, b, s)
    refusals(t, b, s)
    failures(t, b, s)
    rewritten(t, b, s)
    resume(t, b, s)


main(body)
