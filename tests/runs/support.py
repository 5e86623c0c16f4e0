"""
What the end-to-end tests share: a tiny checkpoint and data set in a folder of their own, configurations, running
dave-eval with and without mpirun, and reading results files. Python's standard library, numpy and h5py; Pillow
makes the images.
"""
import atexit
import copy
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import h5py
import numpy as np

SIZE, PATCH, WIDTH, DEPTH, HEADS, CLASSES = 32, 8, 24, 2, 2, 5
PENDING, DONE, FAILED = 0, 1, 2
STOPPED = 85


# ---------------------------------------------------------------- counting checks

class Checks:
    """Prints a line per check, and the sum as the last line."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def ok(self, name, condition, why=''):
        if condition:
            self.passed += 1
            print(f'ok {name}', flush=True)
        else:
            self.failed += 1
            print(f'FAIL {name}: {why}', flush=True)
        return bool(condition)

    def equal(self, name, got, want):
        return self.ok(name, got == want, f'got {got!r}, expected {want!r}')

    def close(self, name, got, want, tolerance):
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        if got.shape != want.shape:
            return self.ok(name, False, f'shape {got.shape}, expected {want.shape}')
        if not np.array_equal(np.isnan(got), np.isnan(want)):
            return self.ok(name, False, f'NaN at other places: {got!r}, expected {want!r}')
        error = np.nanmax(np.abs(got - want), initial=0)
        return self.ok(name, error <= tolerance, f'largest difference {error:.3g}, allowed {tolerance:.3g}')

    def skip(self, name, why):
        self.skipped += 1
        print(f'skip {name}: {why}', flush=True)

    def finish(self):
        print(f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped', flush=True)
        sys.exit(1 if self.failed else 0)


def main(body):
    """Runs body(checks, bench); an exception is a failed check."""
    if len(sys.argv) != 2:
        sys.exit(f'usage: {sys.argv[0]} BUILD')
    checks = Checks()
    bench = Bench(sys.argv[1])
    try:
        body(checks, bench)
    except Exception as e:  # the last line must come in any case
        import traceback
        traceback.print_exc(file=sys.stdout)
        checks.ok('no exception', False, repr(e))
    checks.finish()


# ---------------------------------------------------------------- checkpoint and images

def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, a in tensors.items():
        header[name] = {'dtype': 'F32', 'shape': list(a.shape), 'data_offsets': [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text)
        for a in tensors.values():
            f.write(a.tobytes())


def make_weights(seed=16, classes=CLASSES, size=SIZE):
    """Random weights of a scale at which attention and probabilities are neither flat nor saturated."""
    rng = np.random.default_rng(seed)

    def normal(scale, *shape):
        return (scale * rng.standard_normal(shape)).astype('<f4')

    d, tokens = WIDTH, 1 + (size // PATCH) ** 2
    w = {'cls_token': normal(.5, 1, 1, d), 'pos_embed': normal(.3, 1, tokens, d),
         'patch_embed.proj.weight': normal(.12, d, 3, PATCH, PATCH), 'patch_embed.proj.bias': normal(.1, d)}
    for i in range(DEPTH):
        b = f'blocks.{i}.'
        for norm in 'norm1', 'norm2':
            w[b + norm + '.weight'] = 1 + normal(.1, d)
            w[b + norm + '.bias'] = normal(.1, d)
        w[b + 'attn.qkv.weight'] = normal(.35, 3 * d, d)
        w[b + 'attn.qkv.bias'] = normal(.1, 3 * d)
        w[b + 'attn.proj.weight'] = normal(.3, d, d)
        w[b + 'attn.proj.bias'] = normal(.1, d)
        w[b + 'mlp.fc1.weight'] = normal(.25, 4 * d, d)
        w[b + 'mlp.fc1.bias'] = normal(.1, 4 * d)
        w[b + 'mlp.fc2.weight'] = normal(.12, d, 4 * d)
        w[b + 'mlp.fc2.bias'] = normal(.1, d)
    w['norm.weight'] = 1 + normal(.1, d)
    w['norm.bias'] = normal(.1, d)
    w['head.weight'] = normal(.6, classes, d)
    w['head.bias'] = normal(.1, classes)
    return w


def make_model(folder, seed=16, classes=CLASSES, weights=None):
    os.makedirs(folder, exist_ok=True)
    weights = weights or make_weights(seed, classes)
    config = {
        'architecture': 'vit_tiny_patch16_224', 'num_classes': classes, 'num_features': WIDTH, 'global_pool': 'token',
        'model_args': {'img_size': SIZE, 'patch_size': PATCH, 'embed_dim': WIDTH, 'depth': DEPTH, 'num_heads': HEADS},
        'pretrained_cfg': {'input_size': [3, SIZE, SIZE], 'crop_pct': 0.9, 'interpolation': 'bicubic',
                           'mean': [.5, .5, .5], 'std': [.5, .5, .5], 'num_classes': classes},
    }
    with open(os.path.join(folder, 'config.json'), 'w') as f:
        json.dump(config, f, indent=1)
    write_safetensors(os.path.join(folder, 'model.safetensors'), weights)
    return weights


def make_images(folder, count=12, classes=4, seed=3):
    """Pictures of different sizes in class folders, PNG and JPEG in turn; returns relative paths in order of ids."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    paths = []
    # a folder for every class of the model: with fewer, the program warns that folder k is taken for class k
    for k in range(CLASSES):
        os.makedirs(os.path.join(folder, f'class_{k}'), exist_ok=True)
    for i in range(count):
        w, h = int(rng.integers(20, 90)), int(rng.integers(20, 90))
        coarse = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((w, h), Image.BICUBIC)).astype(int)
        image = np.clip(image + rng.integers(-25, 26, (h, w, 3)), 0, 255).astype(np.uint8)
        name = f'class_{i % classes}/picture_{i:02d}.' + ('png', 'jpg', 'JPEG')[i % 3]
        os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
        Image.fromarray(image).save(os.path.join(folder, name), **({} if name.endswith('png') else {'quality': 90}))
        paths.append(name)
    return sorted(paths, key=lambda p: p.encode())


# ---------------------------------------------------------------- configurations

def base_config():
    return {
        'run': {'output': 'out.h5', 'seed': 7},
        'model': {'path': 'model'},
        'data': {'path': 'data', 'target': 'label'},
        'methods': [{'dave': {'samples': 6}}, 'random', {'gradient': {'postprocess': False}}],
        'metrics': [{'deletion': {'preset': 'rise', 'steps': 8}},
                    {'insertion': {'preset': 'rise', 'steps': 8}},
                    {'deletion': {'name': 'deletion_dave', 'preset': 'dave', 'steps': 10, 'kernel_size': 9,
                                  'min_probability': 0.3}}],
        'store': {'maps': 'float16'},
    }


def slow_config(samples=700):
    """A run that takes long enough to be interrupted."""
    c = base_config()
    c['methods'] = [{'dave': {'samples': samples}}, 'random']
    return c


def changed(config, **sections):
    """A copy with sections updated (dicts) or replaced (lists)."""
    c = copy.deepcopy(config)
    for name, value in sections.items():
        if isinstance(value, dict):
            c.setdefault(name, {}).update(value)
        else:
            c[name] = value
    return c


# ---------------------------------------------------------------- processes

def children_of(pid):
    """All living descendants."""
    parent = {}
    for p in os.listdir('/proc'):
        if p.isdigit():
            try:
                with open(f'/proc/{p}/stat') as f:
                    parent[int(p)] = int(f.read().rpartition(')')[2].split()[1])
            except (OSError, IndexError, ValueError):
                pass
    found, queue = [], [pid]
    while queue:
        at = queue.pop()
        below = [p for p, q in parent.items() if q == at]
        found += below
        queue += below
    return found


def kill_tree(process):
    """kill -9 of a process that we started and of everything below it."""
    for pid in children_of(process.pid) + [process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait_gone(pids, seconds=10):
    end = time.time() + seconds
    while time.time() < end and any(os.path.exists(f'/proc/{p}') for p in pids):
        time.sleep(.02)


class Result:
    def __init__(self, code, out, err, timed_out=False):
        self.code, self.out, self.err, self.timed_out = code, out, err, timed_out

    def errors(self):
        return [line for line in self.err.splitlines() if line.startswith('error:')]

    def warnings(self):
        return [line for line in self.err.splitlines() if line.startswith('warning:')]

    def __repr__(self):
        return f'exit {self.code}{" (timed out)" if self.timed_out else ""}, stderr {self.err[-600:]!r}'


class Bench:
    """A folder with model, data and configuration, and the programs of a build folder."""

    def __init__(self, build):
        self.bin = os.path.join(os.path.abspath(build), 'bin')
        self.folder = tempfile.mkdtemp(prefix='dave-')
        self.running = []
        atexit.register(self.release)
        os.mkdir(self.path('tmp'))
        self.env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT='1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1',
                        OMPI_MCA_rmaps_base_oversubscribe='1', OMPI_MCA_mpi_yield_when_idle='1',
                        OPENBLAS_NUM_THREADS='1', LC_ALL='C')
        self.mpirun = shutil.which('mpirun')
        self.weights = make_model(self.path('model'))
        self.images = make_images(self.path('data'))
        self.write('config.yaml', base_config())

    def release(self):
        for p in self.running:
            kill_tree(p)
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, content):
        """Text as it is, or a configuration (JSON is YAML)."""
        text = content if isinstance(content, str) else json.dumps(content, indent=1) + '\n'
        with open(self.path(name), 'w') as f:
            f.write(text)
        return self.path(name)

    def command(self, program, *args, ranks=None):
        launch = [self.mpirun, '-n', str(ranks)] if ranks else []
        return launch + [os.path.join(self.bin, program)] + [str(a) for a in args]

    def start(self, program, *args, ranks=None, env=None):
        # a scratch folder each: Open MPI jobs that start and end together trip over a shared one
        scratch = tempfile.mkdtemp(dir=self.path('tmp'), prefix='')
        own = {'TMPDIR': scratch, 'OMPI_MCA_btl_vader_backing_directory': scratch,
               'OMPI_MCA_osc_sm_backing_directory': scratch}
        p = subprocess.Popen(self.command(program, *args, ranks=ranks), cwd=self.folder,
                             env={**self.env, **own, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, start_new_session=True)
        self.running.append(p)
        return p

    def finish(self, p, timeout=60):
        timed_out = False
        try:
            out, err = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            kill_tree(p)
            out, err = p.communicate()
        self.running.remove(p)
        return Result(p.returncode, out.decode('utf-8', 'replace'), err.decode('utf-8', 'replace'), timed_out)

    def run(self, program, *args, ranks=None, timeout=60, env=None):
        return self.finish(self.start(program, *args, ranks=ranks, env=env), timeout)

    def evaluate(self, *args, **more):
        return self.run('dave-eval', *args, **more)

    def kill(self, p):
        """kill -9 of mpirun and all ranks at once."""
        pids = children_of(p.pid)
        for pid in [p.pid] + pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        p.communicate()
        wait_gone(pids)
        self.running.remove(p)

    def ranks_of(self, p):
        """Process ids of the ranks of a running job, in order of start."""
        found = []
        for pid in children_of(p.pid) + [p.pid]:
            try:
                if os.path.basename(os.readlink(f'/proc/{pid}/exe')) == 'dave-eval':
                    found.append(pid)
            except OSError:
                pass
        return sorted(found)


# ---------------------------------------------------------------- results files

def sha256(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


def text_of(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def contents(path):
    """Every data set and attribute: {name: bytes}."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes() if hasattr(item[()], 'tobytes') else bytes(item[()])
        for key, value in item.attrs.items():
            if not key.startswith('DIMENSION_L') and key != 'REFERENCE_LIST':  # references, not values
                found[f'{name}@{key}'] = np.asarray(value).tobytes()

    with h5py.File(path, 'r') as f:
        visit('', f)
        f.visititems(visit)
    return found


def difference(a, b):
    """What differs between two results files, or '' for equal bytes."""
    if sha256(a) == sha256(b):
        return ''
    x, y = contents(a), contents(b)
    names = [n for n in sorted(set(x) | set(y)) if x.get(n) != y.get(n)]
    return 'differ in ' + (', '.join(names[:8]) or 'bytes outside the data sets')


def wait_for(condition, seconds=20, step=.02):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return True
        time.sleep(step)
    return False


def status_of(path):
    """Status of all rows; an empty array while there is no file."""
    try:
        with h5py.File(path, 'r') as f:
            return f['images/status'][:]
    except OSError:
        return np.zeros(0, np.uint8)


def named_entries(config, section):
    """Names of the methods or metrics of a resolved configuration (the attribute `config`), in order."""
    names, inside = [], False
    for line in config.splitlines():
        if re.match(r'\w', line):
            inside = line.startswith(section + ':')
        m = re.match(r'      name: "(.*)"', line)
        if inside and m:
            names.append(m.group(1))
    return names


def checksum_fields(f):
    """Paths of the data sets whose bytes the checksum of a row is taken over, in order."""
    config = text_of(f.attrs['config'])
    fields = ['images/' + n for n in ('target', 'prediction', 'probability', 'confidence', 'logit', 'pixel_share', 'error', 'region', 'region_share', 'boxes')]
    fields = [n for n in fields if n in f]
    for method in named_entries(config, 'methods'):
        own = [f'methods/{method}/{n}' for n in ('map', 'raw', 'scale', 'mc_error')]
        fields += [n for n in own if n in f]
        for metric in named_entries(config, 'metrics'):
            fields += [f'methods/{method}/{metric}/{n}' for n in ('curve', 'auc', 'auc_published')]
    return fields


def bad_rows(path):
    """Ids of finished rows whose checksum is wrong, and the status of all rows."""
    with h5py.File(path, 'r') as f:
        status, stored = f['images/status'][:], f['images/checksum'][:]
        crc = [0] * len(status)
        for name in checksum_fields(f):
            values = f[name][()]
            for i in range(len(status)):
                crc[i] = zlib.crc32(values[i:i + 1].tobytes(), crc[i])
    return [i for i in range(len(status)) if status[i] != PENDING and (crc[i] or 1) != stored[i]], status
