"""Bad images become rows; wrong usage and configurations are refused with one line and leave nothing behind."""
import json
import os
import re
import shutil
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np

from support import FAILED, base_config, bad_rows, changed, make_model, main, make_weights, text_of, write_safetensors


# ---------------------------------------------------------------- images

def spoil(b):
    """Bad files of several kinds in class folders; returns {relative path: what the message must contain}."""
    def put(name, data):
        with open(b.path('data', name), 'wb') as f:
            f.write(data)

    jpeg = next(p for p in b.images if p.lower().endswith(('jpg', 'jpeg')))
    png = next(p for p in b.images if p.endswith('png'))
    with open(b.path('data', jpeg), 'rb') as f:
        jpeg = f.read()
    with open(b.path('data', png), 'rb') as f:
        png = f.read()
    at = png.index(b'IDAT') + 4
    broken = png[:at + 20] + bytes([png[at + 20] ^ 1]) + png[at + 21:]
    huge = png[:16] + struct.pack('>II', 2**31 - 1, 2**31 - 1) + png[24:29]
    put('class_0/a_truncated.jpg', jpeg[:len(jpeg) // 2])
    put('class_0/b_zero.png', b'')
    put('class_1/c_text.jpg', b'hello, world\n')
    put('class_1/d_crc.png', broken)
    put('class_2/e_short.png', png[:len(png) // 2])
    put('class_2/f_header.jpeg', jpeg[:12])
    put('class_3/g_huge.png', huge + struct.pack('>I', zlib.crc32(huge[12:29])) + png[33:])
    os.symlink('nowhere', b.path('data/class_3/h_dangling.png'))
    os.mkfifo(b.path('data/class_3/i_pipe.png'))
    return {'class_0/a_truncated.jpg': 'truncated', 'class_0/b_zero.png': 'empty', 'class_1/c_text.jpg': 'not a JPEG',
            'class_1/d_crc.png': 'PNG', 'class_2/e_short.png': 'PNG', 'class_2/f_header.jpeg': 'JPEG',
            'class_3/g_huge.png': 'pixels', 'class_3/h_dangling.png': 'No such file',
            'class_3/i_pipe.png': 'not a regular file'}


def check_failed(t, path, r, expected, name):
    with h5py.File(path, 'r') as f:
        paths = [p.decode() for p in f['images/path'][:]]
        status, message = f['images/status'][:], f['images/error'][:]
        failed = {p for p, s in zip(paths, status) if s == FAILED}
        t.equal(f'{name}: exactly the bad images failed', sorted(failed), sorted(expected))
        for p, words in expected.items():
            said = message[paths.index(p)].decode('utf-8', 'replace')
            # the row has the path in /images/path; the message is the reason, whole, without the place of the data
            t.ok(f'{name}: message of {p}', words in said and p not in said, said)
            warned = [w for w in r.warnings() if p in w]
            t.ok(f'{name}: one warning names {p}', len(warned) == 1, r)
        good = [i for i, p in enumerate(paths) if p not in expected]
        t.ok(f'{name}: the others are done', (status[good] == 1).all() and not any(message[good]), status)
        bad = [paths.index(p) for p in expected]
        t.ok(f'{name}: failed rows hold no numbers', np.isnan(f['methods/dave/map'][bad]).all()
             and np.isnan(f['images/probability'][bad]).all() and (f['images/prediction'][bad] == -1).all(), '')
        t.equal(f'{name}: counts', f['summary/status_count'][:].tolist(), [0, len(good), len(bad)])
        n = dict(zip(f['summary/name'][:], f['summary/n'][:]))
        t.equal(f'{name}: the summary is of the others', n[b'dave/deletion/auc'], len(good))
    t.equal(f'{name}: checksums', bad_rows(path)[0], [])


def images(t, b):
    expected = spoil(b)
    r = b.evaluate('config.yaml', '-o', 'bad.h5', timeout=30)
    t.equal('bad images: exit 0', r.code, 0)
    t.equal('bad images: no error line', r.errors(), [])
    t.ok('bad images: the last line counts them', f'12 images done, {len(expected)} failed' in r.out, r.out[-200:])
    check_failed(t, b.path('bad.h5'), r, expected, 'folders')
    r = b.evaluate('config.yaml', '-o', 'bad2.h5', ranks=3)
    with open(b.path('bad.h5'), 'rb') as f, open(b.path('bad2.h5'), 'rb') as g:
        t.ok('bad images on 3 ranks: the same bytes', f.read() == g.read(), 'they differ')
    r = b.evaluate('config.yaml', '-o', 'bad.h5', '--resume')
    t.ok('bad images are tried again on --resume', r.code == 0 and len(r.warnings()) == len(expected), r)
    with open(b.path('bad.h5'), 'rb') as f, open(b.path('bad2.h5'), 'rb') as g:
        t.ok('and the file is the same', f.read() == g.read(), 'they differ')
    # repaired, it becomes a row like any other
    shutil.copy(b.path('data', next(p for p in b.images if p.endswith('.png'))), b.path('data/class_0/b_zero.png'))
    r = b.evaluate('config.yaml', '-o', 'bad.h5', '--resume')
    t.ok('a repaired image is done on --resume', f'13 images done, {len(expected) - 1} failed' in r.out, r)
    for p in expected:
        os.unlink(b.path('data', p))

    # a folder called like an image is a folder; in a list file it is a bad image
    os.makedirs(b.path('data/class_0/x.jpg'))
    r = b.evaluate('config.yaml', '-o', 'folder.h5', timeout=30)
    t.ok('a folder called x.jpg is walked', r.code == 0 and '12 images done, 0 failed' in r.out, r)
    os.rmdir(b.path('data/class_0/x.jpg'))
    os.makedirs(b.path('x.jpg'))
    b.write('list.txt', f'x.jpg 1\ndata/{b.images[0]} 0\nnone such.png 2\n')
    r = b.evaluate('config.yaml', '-o', 'list.h5', '-s', 'data.path=list.txt')
    t.ok('in a list: exit 0', r.code == 0, r)
    check_failed(t, b.path('list.h5'), r, {'x.jpg': 'regular file', 'none such.png': 'No such file'}, 'list')

    if os.geteuid() == 0:
        t.skip('an unreadable file', 'root reads everything')
    else:
        os.chmod(b.path('data', b.images[0]), 0)
        r = b.evaluate('config.yaml', '-o', 'secret.h5')
        check_failed(t, b.path('secret.h5'), r, {b.images[0]: 'Permission denied'}, 'unreadable')
        os.chmod(b.path('data', b.images[0]), 0o644)

    os.makedirs(b.path('broken/one'))
    for n in 'a.jpg', 'b.png':
        b.write('broken/one/' + n, 'no picture')
    for ranks in None, 2:
        r = b.evaluate('config.yaml', '-o', f'all{ranks}.h5', '-s', 'data.path=broken', ranks=ranks)
        t.equal(f'all images bad, ranks {ranks}: exit 1', r.code, 1)

    long = '/'.join(['a_rather_long_name_of_a_folder'] * 9)
    os.makedirs(b.path('deep', 'one', long))
    b.write(f'deep/one/{long}/bad.png', 'no picture')
    r = b.evaluate('config.yaml', '-o', 'deep.h5', '-s', 'data.path=deep')
    with h5py.File(b.path('deep.h5'), 'r') as f:
        said = text_of(f['images/error'][0])
    t.ok('the reason is kept when the path is long', 'not a JPEG' in said, said)

    weights = make_weights()
    weights['head.bias'] = weights['head.bias'] * np.float32('nan')
    make_model(b.path('nan'), weights=weights)
    r = b.evaluate('config.yaml', '-o', 'nan.h5', '-s', 'model.path=nan', '-l', 2)
    t.ok('logits that are not numbers: rows fail with that reason', r.code == 1 and 'not finite' in r.err, r)


# ---------------------------------------------------------------- refusals

class Refusals:
    """Runs that must be refused, several at a time: there are a hundred, and starting MPI is mostly waiting."""

    def __init__(self, t, b):
        self.t, self.b, self.count = t, b, 0
        self.pool, self.cases = ThreadPoolExecutor(4), []

    def add(self, name, words, *args, ranks=None):
        self.count += 1
        out = f'refused{self.count}.h5'
        # a lone process without an orted starts faster
        env = {} if ranks else {'OMPI_MCA_ess_singleton_isolated': '1'}
        run = self.pool.submit(self.b.evaluate, '-o', out, *args, ranks=ranks, timeout=60, env=env)
        self.cases.append((name, words, out, ranks, run))

    def config(self, name, words, text):
        file = self.b.write(f'wrong{self.count}.yaml', text)
        self.add(name, words, os.path.basename(file))

    def now(self, *args, **more):
        """For what is about to change."""
        self.add(*args, **more)
        self.check()

    def check(self):
        for name, words, out, ranks, run in self.cases:
            r, t, path = run.result(), self.t, self.b.path(out)
            t.equal(f'{name}: exit status', r.code, 2)
            t.ok(f'{name}: one error line', len(r.errors()) == 1 and (ranks or r.err.count('error:') == 1), r)
            t.ok(f'{name}: it says {words}', all(w in r.err for w in words), r)
            t.ok(f'{name}: nothing written', not os.path.lexists(path) and not os.path.lexists(path + '.tmp'), r)
        self.cases = []


def configurations(t, b):
    refuse = Refusals(t, b)
    c = base_config()
    refuse.config('malformed YAML', ['wrong', 'YAML'], 'run: {output: out.h5\nmodel: [}\n')
    refuse.config('not a map', ['wrong', 'sections'], '- a\n- b\n')
    refuse.config('an empty file', ['wrong', 'sections'], '')
    refuse.config('two documents', ['single'], json.dumps(c) + '\n---\nrun: {}\n')
    refuse.config('unknown key', ['wrong', '"sed"', 'seed'], changed(c, run={'sed': 3}))
    refuse.config('unknown section', ['"modl"', 'model'], changed(c, modl={'path': 'x'}))
    refuse.config('unknown method', ['"davee"', 'dave'], changed(c, methods=['davee']))
    refuse.config('unknown metric', ['"delection"', 'deletion'], changed(c, metrics=['delection']))
    refuse.config('unknown method key', ['"sample"', 'samples'], changed(c, methods=[{'dave': {'sample': 5}}]))
    refuse.config('unknown preset', ['"rice"', 'rise'], changed(c, metrics=[{'deletion': {'preset': 'rice'}}]))
    refuse.config('a key given twice', ['given twice'], 'run: {output: out.h5, seed: 1, seed: 2}\n')
    refuse.config('a section given twice', ['twice'], 'run: {output: out.h5}\nrun: {seed: 2}\n')
    refuse.config('two methods of a name', ['name'], changed(c, methods=['dave', 'dave']))
    refuse.config('no methods', ['methods'], changed(c, methods=[]))
    refuse.config('methods as a map', ['list'], {**c, 'methods': {'dave': {}}})
    refuse.config('a bad name', ['name'], changed(c, methods=[{'dave': {'name': 'a/b'}}]))
    refuse.config('a reserved name', ['name'], changed(c, metrics=[{'deletion': {'name': 'map'}}]))
    refuse.config('no model', ['model.path'], {k: v for k, v in c.items() if k != 'model'})
    for name, words, change in [
            ('text for an integer', ['samples', 'integer', '"many"'], {'methods': [{'dave': {'samples': 'many'}}]}),
            ('a fraction for an integer', ['samples', 'integer'], {'methods': [{'dave': {'samples': 2.5}}]}),
            ('beyond the range', ['samples', '4096'], {'methods': [{'dave': {'samples': 4097}}]}),
            ('zero samples', ['samples', '1'], {'methods': [{'dave': {'samples': 0}}]}),
            ('nan', ['alpha', 'number'], {'methods': [{'dave': {'alpha': 'nan'}}]}),
            ('1e308', ['alpha', 'number', '1e+308'], {'methods': [{'dave': {'alpha': 1e308}}]}),
            ('a negative number', ['alpha', 'number'], {'methods': [{'dave': {'alpha': -.1}}]}),
            ('a list for a number', ['samples'], {'methods': [{'dave': {'samples': [1]}}]}),
            ('a map for a path', ['path'], {'model': {'path': {'a': 1}}}),
            ('yes for true', ['raw', 'true or false'], {'store': {'raw': 'yes'}}),
            ('another type of maps', ['maps', 'float16'], {'store': {'maps': 'float64'}}),
            ('a negative seed', ['seed'], {'run': {'seed': -1}}),
            ('a seed of 2^64', ['seed'], {'run': {'seed': 2**64}}),
            ('an even kernel', ['kernel_size', 'odd'], {'metrics': [{'deletion': {'kernel_size': 30}}]}),
            ('a target of no kind', ['target', 'lable'], {'data': {'target': 'lable'}}),
            ('a target beyond the model', ['target', '5'], {'data': {'target': '5'}})]:
        refuse.config(name, words, changed(c, **change))
    refuse.config('10 MB of nested YAML', ['at most'], '[' * 10_000_000)
    refuse.config('1 MB of nested YAML', ['levels deep'], '[' * 1_000_000)
    refuse.config('90,000 anchors', ['anchors'], 'run: [' + ','.join(f'&a{i} 1' for i in range(90_000)) + ']')
    bomb = ''.join(f'  - &a{i} [{", ".join([f"*a{i - 1}"] * 9) if i else "x"}]\n' for i in range(40))
    refuse.config('aliases that explode', ['model.path', 'missing'], 'methods:\n' + bomb)
    refuse.check()


def models_and_data(t, b):
    refuse = Refusals(t, b)
    run = ('config.yaml', '-s')
    refuse.now('missing model folder', ['nomodel'], *run, 'model.path=nomodel')
    shutil.copytree(b.path('model'), b.path('cut'))
    size = os.path.getsize(b.path('cut/model.safetensors'))
    for part, name in (size - 100, 'truncated weights'), (100, 'truncated header'), (4, 'four bytes'), (0, 'no bytes'):
        os.truncate(b.path('cut/model.safetensors'), part)
        refuse.now(name, ['cut/model.safetensors'], *run, 'model.path=cut')
    os.unlink(b.path('cut/config.json'))
    shutil.copy(b.path('model/model.safetensors'), b.path('cut/model.safetensors'))
    refuse.now('missing config.json', ['cut/config.json'], *run, 'model.path=cut')
    b.write('cut/config.json', '{"architecture": ')
    refuse.now('malformed config.json', ['cut/config.json'], *run, 'model.path=cut')
    for key, value, word in ('num_classes', 7, 'num_classes'), ('architecture', 'resnet50', 'resnet50'):
        with open(b.path('model/config.json')) as f:
            c = json.load(f)
        c[key] = value
        b.write('cut/config.json', c)
        refuse.now(f'config.json with {key} {value}', [word], *run, 'model.path=cut')
    shutil.copy(b.path('model/config.json'), b.path('cut/config.json'))
    w = make_weights()
    del w['blocks.1.mlp.fc2.bias']
    write_safetensors(b.path('cut/model.safetensors'), w)
    refuse.now('a missing tensor', ['blocks.1.mlp.fc2.bias'], *run, 'model.path=cut')
    w = make_weights()
    w['norm.weight'] = w['norm.weight'][:-1].copy()
    write_safetensors(b.path('cut/model.safetensors'), w)
    refuse.now('a tensor of another shape', ['norm.weight'], *run, 'model.path=cut')
    w = make_weights()
    w['other_token'] = np.zeros((1, 4, 24), '<f4')
    write_safetensors(b.path('cut/model.safetensors'), w)
    refuse.now('a tensor that nothing uses', ['other_token'], *run, 'model.path=cut')

    make_model(b.path('three'), classes=3)
    refuse.now('more class folders than classes', ['5 classes', '3'], *run, 'model.path=three')
    refuse.now('missing data', ['nodata'], *run, 'data.path=nodata')
    os.makedirs(b.path('empty/class_0'))
    refuse.now('no images', ['no images'], *run, 'data.path=empty')
    shutil.copy(b.path('data', b.images[0]), b.path('empty/flat.png'))
    refuse.now('a flat folder', ['list file'], *run, 'data.path=empty')
    b.write('empty.txt', '# nothing\n\n')
    refuse.now('an empty list', ['empty.txt'], *run, 'data.path=empty.txt')
    for line in 'a.png', 'a.png x', 'a.png -1', '3', 'a.png 99999999999999999999', 'a.png 1.5':
        b.write('wrong.txt', 'fine.png 1\n' + line + '\n')
        refuse.now(f'list line "{line}"', ['wrong.txt:2'], *run, 'data.path=wrong.txt')
    b.write('names.txt', 'class_0\nclass_1\nclass_2\n')
    refuse.now('a folder without a class', ['class_3', 'names.txt'], *run, 'data.classes=names.txt')
    refuse.now('missing names', ['nonames'], *run, 'data.classes=nonames')


def usage(t, b):
    refuse = Refusals(t, b)
    refuse.add('no configuration', ['CONFIG'])
    refuse.add('two arguments', ['CONFIG'], 'config.yaml', 'config.yaml')
    refuse.add('a missing configuration', ['none.yaml'], 'none.yaml')
    refuse.add('a folder as configuration', ['data'], 'data')
    refuse.add('--limit abc', ['limit', 'abc'], 'config.yaml', '--limit', 'abc')
    refuse.add('--limit -1', ['limit', '-1'], 'config.yaml', '--limit', '-1')
    refuse.add('--seed x', ['seed'], 'config.yaml', '--seed', 'x')
    refuse.add('an unknown option', ['frobnicate'], 'config.yaml', '--frobnicate')
    refuse.add('an option without its value', ['output'], 'config.yaml', '--output')
    refuse.add('--set without =', ['run.seed'], 'config.yaml', '--set', 'run.seed')
    refuse.add('--set without a section', ['seed=3'], 'config.yaml', '--set', 'seed=3')
    refuse.add('--set of an unknown key', ['sed', 'seed'], 'config.yaml', '--set', 'run.sed=3')
    refuse.add('--set of an unknown method', ['methods.lime.x=3'], 'config.yaml', '--set', 'methods.lime.x=3')
    refuse.add('--set of an unknown method key', ['sample', 'samples'], 'config.yaml', '--set',
            'methods.dave.sample=3')
    refuse.add('--set beyond the range', ['samples'], 'config.yaml', '--set', 'methods.dave.samples=-3')
    refuse.check()
    many = [a for i in range(300) for a in ('-s', f'run.seed={i}')]
    r = b.evaluate('config.yaml', '-l', 1, *many)
    with h5py.File(b.path('out.h5'), 'r') if r.code == 0 else open(os.devnull) as f:
        kept = r.code == 0 and int(f.attrs['seed']) == 299
    t.ok('300 overrides: all taken, or refused', kept or r.code == 2, f'exit {r.code}, but the last ones are ignored')
    b.write('file', 'a regular file\n')
    refuse.add('output below a regular file', ['file'], 'config.yaml', '-o', 'file/out.h5')
    os.makedirs(b.path('taken.h5'))
    r = b.evaluate('config.yaml', '-o', 'taken.h5', '--overwrite')
    t.ok('a folder as output is refused', r.code == 2 and len(r.errors()) == 1, r)
    t.ok('and no temporary file is left', not os.path.exists(b.path('taken.h5.tmp')), '')
    for ranks in 2, 3:
        refuse.add(f'unknown key under mpirun, {ranks} ranks', ['sed'], 'config.yaml', '-s', 'run.sed=3', ranks=ranks)
        refuse.add(f'missing model under mpirun, {ranks} ranks', ['nomodel'], 'config.yaml', '-s',
                'model.path=nomodel', ranks=ranks)
    refuse.add('missing data under mpirun', ['nodata'], 'config.yaml', '-s', 'data.path=nodata', ranks=2)
    refuse.check()
    r = b.evaluate('config.yaml', '-o', 'new/folders/out.h5', '-l', 1)
    t.ok('missing output folders are made', r.code == 0 and os.path.exists(b.path('new/folders/out.h5')), r)


def dry_run(t, b):
    before = sorted(os.listdir(b.folder))
    r = b.evaluate('config.yaml', '--dry-run', '-s', 'run.seed=18446744073709551615')
    t.equal('--dry-run exits 0', r.code, 0)
    t.equal('--dry-run writes nothing', sorted(os.listdir(b.folder)), before)
    b.write('resolved.yaml', r.out)
    again = b.evaluate('resolved.yaml', '--dry-run')
    t.equal('its output is a configuration that says the same', again.out, r.out)
    r = b.evaluate('config.yaml', '--dry-run', ranks=2)
    t.equal('--dry-run on 2 ranks prints once', r.out.count('methods:'), 1)
    b.write('odd.yaml', changed(base_config(), run={'output': 'a "quoted" \\ name\t#1: é.h5'}))
    r = b.evaluate('odd.yaml', '--dry-run')
    b.write('resolved.yaml', r.out)
    t.equal('an odd file name survives', b.evaluate('resolved.yaml', '--dry-run').out, r.out)
    help_ = b.evaluate('--help')
    keys = set(re.findall(r'^ +(\w+):', r.out, re.M)) | {'methods', 'metrics'}
    missing = [k for k in keys if not re.search(rf'\b{k}\b', help_.out)]
    t.ok(f'--help names all {len(keys)} keys', help_.code == 0 and not missing and len(keys) > 25, missing)
    for option in '--output', '--set', '--limit', '--seed', '--resume', '--overwrite', '--dry-run', '--version', '85':
        t.ok(f'--help names {option}', option in help_.out, '')
    r = b.evaluate('--version')
    t.ok('--version', r.code == 0 and re.fullmatch(r'dave-eval \S+ \(\S+\)\n', r.out), r.out)
    r = b.evaluate('--version', ranks=2)
    t.equal('--version on 2 ranks prints once', r.out.count('dave-eval'), 1)


def body(t, b):
    images(t, b)
    configurations(t, b)
    models_and_data(t, b)
    usage(t, b)
    dry_run(t, b)


main(body)
