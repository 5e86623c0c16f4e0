"""
The one module that knows the schema of a results file (README.md). Whatever methods, metrics and figures a file has are
found in it: nothing here is a list of names.

    import results
    r = results.open_results('results.h5')          # also while a run is writing it
    r.methods, r.figures                            # what is in it: 'dave', ...; 'deletion/auc', ...
    auc = r.figure('dave/deletion/auc')             # float64 (images,), NaN where there is no value
    fraction, curves = r.curve('dave', 'deletion')  # (points,), (images, points)
    logits = r.map('dave', 17)                      # float32 (y, x), in units of the logit
    d = r['/methods/dave/map']                      # by name: d.dims, d.shape, d.attrs, d.coords, d[3:5], d.values

A row counts when its status is 1 (done) or 2 (failed); the other rows hold nothing yet and read as NaN, -1 or ''. Data are
read when asked for. Errors about a file are ResultsError, one line that names it.
"""
import os
import sys
import time
from dataclasses import dataclass, field, replace

import measures
import packages

# A lock of ours would stop the run on NFS. Said to HDF5 as a whole too: a process opens a file in one way only.
os.environ.setdefault('HDF5_USE_FILE_LOCKING', 'FALSE')
np = packages.need('numpy')
h5py = packages.need('h5py')
yaml = packages.need('yaml')

PENDING, DONE, FAILED = 0, 1, 2
KNOWN_BEFORE = ('path', 'label', 'status')  # fields of /images that hold something in every row


class ResultsError(Exception):
    """A file that cannot be used, said in one line."""


@dataclass(frozen=True)
class Metric:
    """A metric as a method of a file was judged by it."""
    name: str
    kind: str  # what it is, whatever it is named: deletion, ...
    preset: str
    definition: str
    parameters: dict
    figures: tuple = ()  # per image: auc, ...
    has_curve: bool = False


@dataclass(frozen=True)
class Method:
    name: str
    kind: str
    definition: str
    parameters: dict
    figures: tuple = ()  # the method's own, per image: mc_error, ...
    metrics: dict = field(default_factory=dict)  # name -> Metric
    has_map: bool = False
    has_raw: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure that some methods of a file have: name is 'metric/figure', or 'figure' for a method's own."""
    name: str
    kind: str  # of its metric; '' for a method's own
    description: str
    better: str | None  # 'higher', 'lower' or None
    label: str
    main: bool = False  # in a table that names no figures; the others are second versions and diagnostics
    by_class: bool = False  # reported as the mean of the means of classes


def text(value):
    """bytes of HDF5 as str; other scalars as Python numbers; what options call true and false as bool."""
    if isinstance(value, (bytes, np.bytes_)):
        value = value.decode('utf-8', 'replace')
    if isinstance(value, np.generic):
        value = value.item()
    return {'true': True, 'false': False}.get(value, value) if isinstance(value, str) else value


def texts(values):
    return [str(text(v)) for v in values]


class Data:
    """A data set by name: read in part by indexing along the images, whole by .values; rows not done are masked."""

    def __init__(self, results, dataset):
        self._results, self._dataset = results, dataset
        self.name = dataset.name
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self.attrs = {k: text(v) for k, v in dataset.attrs.items()
                      if k not in ('DIMENSION_LIST', 'REFERENCE_LIST', 'CLASS', 'NAME') and 'LABELS' not in k}
        self.dims = tuple(d.label for d in dataset.dims)
        if 'CLASS' in dataset.attrs:  # a dimension scale is its own axis
            self.dims = (dataset.name.rpartition('/')[2],)

    @property
    def coords(self):
        """dimension -> values of its scale."""
        return {d.label: d[0][:] for d in self._dataset.dims if len(d)}

    @property
    def values(self):
        return self[:]

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None):
        return np.asarray(self.values, dtype)

    def __getitem__(self, key):
        """Indexing as of numpy, the first index along the images also by an array of positions or a mask."""
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        if isinstance(first, (list, np.ndarray)):
            first = np.asarray(first)
            if first.dtype == bool:
                first = np.flatnonzero(first)
            values = self._gather(first, rest)
        else:
            values = self._dataset[(first, *rest)]
        return self._results.mask(self.name, values, first) if self.dims[:1] == ('image',) else values

    def _gather(self, rows, rest):
        if not len(rows):
            return self._dataset[(slice(0, 0), *rest)]
        low, high = int(rows.min()), int(rows.max()) + 1
        if high - low <= 4 * len(rows):  # dense: one read
            return self._dataset[(slice(low, high), *rest)][rows - low]
        return np.stack([self._dataset[(int(i), *rest)] for i in rows])


def _open(path):
    """The open h5py.File of a results file, or ResultsError."""
    if not os.path.exists(path):
        raise ResultsError(f'{path}: no such file')
    if os.path.isdir(path):
        raise ResultsError(f'{path}: a folder, expected a results file')
    try:
        try:
            file = h5py.File(path, 'r', locking=False)
        except OSError as e:
            if 'locking flag' not in str(e):  # open in this process already, and not through us
                raise
            file = h5py.File(path, 'r')
    except OSError as e:
        reason = str(e)
        if isinstance(e, PermissionError) or 'Permission denied' in reason:
            raise ResultsError(f'{path}: permission denied') from None
        if 'truncated file' in reason:
            raise ResultsError(f'{path}: truncated: the file has {os.path.getsize(path)} bytes, fewer than its header says'
                               ) from None
        if 'file signature not found' in reason:
            raise ResultsError(f'{path}: not an HDF5 file') from None
        raise ResultsError(f'{path}: cannot be read as HDF5: {reason.splitlines()[0]}') from None
    try:
        if text(file.attrs.get('program', '')) != 'dave-eval':
            raise ResultsError(f'{path}: not a results file of dave-eval: its attribute `program` is missing or another')
        for name in 'images/status', 'images/path', 'methods':
            if name not in file:
                raise ResultsError(f'{path}: not a whole results file of dave-eval: /{name} is missing')
    except ResultsError:
        file.close()
        raise
    except (OSError, KeyError, RuntimeError, ValueError) as e:  # what damaged metadata give
        file.close()
        raise ResultsError(f'{path}: damaged: {e}') from None
    return file


class Results:
    """A results file. See the head of this module."""

    def __init__(self, path, name=None):
        self.path = str(path)
        self.name = name or os.path.splitext(os.path.basename(self.path))[0]
        self._file = None
        self.refresh()

    # ---- the file

    def refresh(self):
        """Opens the file anew: rows that have been finished since then count from now on."""
        self.close()
        self._file = _open(self.path)
        self._cache = {}
        try:
            self._read_structure()
        except (OSError, KeyError, RuntimeError, ValueError) as e:
            self.close()
            raise ResultsError(f'{self.path}: damaged: {e}') from None

    def close(self):
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __repr__(self):
        return (f'<Results {self.path}: {self.size} images, {int(self.done.sum())} done, {int(self.failed.sum())} failed; '
                f'methods {", ".join(self.methods)}>')

    def _read_structure(self):
        f = self._file
        self.attrs = {k: text(v) for k, v in f.attrs.items()}
        self.status = f['images/status'][:]
        self.size = len(self.status)
        self.done, self.failed, self.pending = (self.status == s for s in (DONE, FAILED, PENDING))
        self._order = self._field_order()
        self.methods = {}
        for name in self._sorted(f['methods'], '/methods/'):
            self.methods[name] = self._method(name)
        self._figures = self._find_figures()

    def _field_order(self):
        """Position of every field in the file's own order, which is that of the configuration (HDF5 sorts by name)."""
        order = {}
        if 'images/checksum_fields' in self._file:
            for path in texts(self._file['images/checksum_fields'][:]):
                parts = path.split('/')
                for k in range(2, len(parts) + 1):
                    order.setdefault('/'.join(parts[:k]), len(order))
        return order

    def _sorted(self, group, prefix):
        return sorted(group, key=lambda name: (self._order.get(prefix + name, 1 << 30), name))

    def _parameters(self, group, but):
        return {k: text(v) for k, v in group.attrs.items() if k not in but}

    def _is_figure(self, item):
        return (isinstance(item, h5py.Dataset) and item.shape == (self.size,) and item.dtype.kind == 'f'
                and item.name.rpartition('/')[2] not in ('scale', 'fraction'))

    def _method(self, name):
        g, prefix = self._file['methods'][name], f'/methods/{name}/'
        items = [(key, g[key]) for key in self._sorted(g, prefix)]
        metrics = {key: self._metric(key, item, prefix + key + '/') for key, item in items
                   if isinstance(item, h5py.Group)}
        return Method(name, str(text(g.attrs.get('method', name))), str(text(g.attrs.get('definition', ''))),
                      self._parameters(g, ('method', 'definition')),
                      tuple(key for key, item in items if self._is_figure(item)), metrics, 'map' in g, 'raw' in g)

    def _metric(self, name, g, prefix):
        figures = tuple(key for key in self._sorted(g, prefix) if self._is_figure(g[key]))
        return Metric(name, str(text(g.attrs.get('metric', name))), str(text(g.attrs.get('preset', 'none'))),
                      str(text(g.attrs.get('definition', ''))),
                      self._parameters(g, ('metric', 'definition', 'preset')), figures, 'curve' in g)

    def _find_figures(self):
        found, own = {}, {}
        for method in self.methods.values():
            for metric in method.metrics.values():
                for figure in metric.figures:
                    name = f'{metric.name}/{figure}'
                    found.setdefault(name, self._figure(method.name, name, metric.kind, metric.parameters))
            for figure in method.figures:
                own.setdefault(figure, self._figure(method.name, figure, '', {}))
        return {**found, **own}

    def _figure(self, method, name, kind, parameters):
        metric, _, figure = name.rpartition('/')
        description = str(text(self._file[f'methods/{method}/{name}'].attrs.get('description', '')))
        return Figure(name, kind, description, measures.better(kind, figure, parameters), measures.label(kind, metric, figure),
                      measures.main(kind, figure), measures.by_class(kind, figure))

    # ---- what is in it

    @property
    def figures(self):
        """name -> Figure of all that some method has: 'deletion/auc', ..., and methods' own: 'mc_error'."""
        return self._figures

    @property
    def metrics(self):
        """name -> Metric, as the first method that has it was judged by it."""
        found = {}
        for method in self.methods.values():
            for name, metric in method.metrics.items():
                found.setdefault(name, metric)
        return found

    @property
    def config(self):
        """The resolved configuration as nested dict and lists; {} where it does not parse."""
        return self._yaml('config')

    @property
    def model(self):
        """The network and its preprocessing, as a dict."""
        return self._yaml('model')

    def _yaml(self, name):
        key = 'yaml of ' + name
        if key not in self._cache:
            try:
                parsed = yaml.safe_load(str(self.attrs.get(name, '')))
            except yaml.YAMLError:
                parsed = {}
            self._cache[key] = parsed if isinstance(parsed, dict) else {}
        return self._cache[key]

    @property
    def fields(self):
        """Paths of all data sets with a row per image."""
        found = []
        self._file.visititems(lambda name, item: found.append('/' + name) if isinstance(item, h5py.Dataset) and item.ndim
                              and item.dims[0].label == 'image' else None)
        return sorted(found, key=lambda name: (self._order.get(name, -1), name))

    def __contains__(self, name):
        return name in self._file

    def __getitem__(self, name):
        """Any data set by its path, as Data."""
        if name not in self._file or not isinstance(self._file[name], h5py.Dataset):
            raise KeyError(f'{self.path}: no data set {name}')
        return Data(self, self._file[name])

    # ---- values

    def mask(self, path, values, rows=slice(None)):
        """The values of rows of a field, those of pending images replaced by what says so."""
        folder, _, name = path.strip('/').rpartition('/')
        if folder == 'images' and name in KNOWN_BEFORE:
            return values
        pending = self.pending[rows]
        if not np.any(pending):
            return values
        values = np.array(values)
        nothing = {'f': np.nan, 'i': -1, 'S': b''}.get(values.dtype.kind, 0)
        if np.ndim(pending):
            values[pending] = nothing
        else:
            values[...] = nothing
        return values if values.ndim else values[()]

    def image(self, name):
        """A field of /images, (images, ...): texts as a list of str, others as arrays; KeyError where it is absent."""
        key = 'images/' + name
        if key not in self._cache:
            values = self[key].values
            self._cache[key] = texts(values) if values.dtype.kind == 'S' else values
        return self._cache[key]

    @property
    def image_fields(self):
        """Names of the fields of /images."""
        found = [n for n in self._sorted(self._file['images'], '/images/')
                 if n != 'checksum_fields' and self._file['images'][n].shape[:1] == (self.size,)]
        return [n for n in KNOWN_BEFORE if n in found] + [n for n in found if n not in KNOWN_BEFORE]

    def figure(self, name):
        """'method/metric/figure' or 'method/figure' per image: float64 (images,), NaN where there is no finite value.
        All NaN where the file does not have it."""
        if name not in self._cache:
            path = 'methods/' + name
            if path in self._file and self._is_figure(self._file[path]):
                values = np.where(self.done, self._file[path][:].astype(np.float64), np.nan)
                values[~np.isfinite(values)] = np.nan
            else:
                values = np.full(self.size, np.nan)
            values.flags.writeable = False
            self._cache[name] = values
        return self._cache[name]

    def curve(self, method, metric, rows=slice(None)):
        """fraction (points,) and score (images or rows, points) as float64 and float32; NaN where not done or not applicable."""
        base = f'methods/{method}/{metric}/'
        return self[base + 'fraction'].values, self[base + 'curve'][rows]

    def map(self, method, row, units=False):
        """The map of one image, float32 (y, x): as stored, largest magnitude 1; units=True: as it was computed, in units of
        the logit. NaN where the image is not done."""
        values = self[f'methods/{method}/map'][row].astype(np.float32)
        if units:
            values = values * np.float32(self[f'methods/{method}/scale'][row])
        return values

    def maps(self, method, rows):
        """Maps of several images (a slice, positions or a mask), float32 (n, y, x), as stored."""
        return self[f'methods/{method}/map'][rows].astype(np.float32)

    @property
    def frame(self):
        """(height, width) of the preprocessed image."""
        return (self._file['y'].shape[0], self._file['x'].shape[0])

    def boxes(self, row):
        """Boxes of the image's object, int (n, 4): x1 y1 x2 y2, half-open, in the preprocessed frame; (0, 4) where none."""
        if 'images/boxes' not in self._file:
            return np.zeros((0, 4), int)
        found = self['images/boxes'][row].astype(int).reshape(-1, 4)
        return found[(found >= 0).all(1)]

    def summary(self):
        """The file's own summary: name -> {n, mean, std, ci_low, ci_high}; NaN until the run is over."""
        return self._table('summary')

    def paired(self):
        """The file's own comparisons of its first method: 'first - other/metric/figure' -> {n, mean, std, ci_low, ci_high, wins};
        {} where it has none."""
        return self._table('paired')

    def _table(self, group):
        if f'{group}/name' not in self._file:
            return {}
        names = texts(self._file[f'{group}/name'][:])
        columns = {c: d[:] for c, d in self._file[group].items() if c != 'name' and d.shape == (len(names),)
                   and d.dtype.kind == 'f'}
        return {name: {c: float(v[i]) for c, v in columns.items()} for i, name in enumerate(names)}

    def picture(self, row, data=None):
        """The image as the network saw it, uint8 (y, x, 3). data: the data set's place, where it is not what the
        configuration says. OSError where the picture cannot be read."""
        import pictures
        return pictures.read(self, row, data)


def open_results(path):
    return Results(path)


def open_all(paths):
    """Several files, with names that tell them apart: as much of their paths as that takes."""
    opened = [Results(p) for p in paths]
    parts = [os.path.splitext(os.path.abspath(r.path))[0].split(os.sep) for r in opened]
    for i, r in enumerate(opened):
        same = [p for k, p in enumerate(parts) if k != i and p[-1] == parts[i][-1] and p != parts[i]]
        depth = 1
        while depth < len(parts[i]) and any(p[-depth:] == parts[i][-depth:] for p in same):
            depth += 1
        r.name = '/'.join(parts[i][-depth:])
        if parts.count(parts[i]) > 1:
            r.name += f' ({i + 1})'
    return opened


# ---------------------------------------------------------------- several files side by side

@dataclass(frozen=True)
class Entry:
    """A method of a file: a row of the tables."""
    label: str
    results: Results = field(repr=False)
    method: Method = field(repr=False)

    def figure(self, name):
        """'metric/figure' or 'figure' of this method, per image."""
        return self.results.figure(f'{self.method.name}/{name}')

    @property
    def is_control(self):
        """The random map, whose figures are the chance level."""
        return self.method.kind == 'random'


@dataclass(frozen=True)
class Group:
    """Files of the same images, network and target, so that their methods can be paired image by image."""
    name: str
    files: tuple
    entries: tuple

    @property
    def size(self):
        return self.files[0].size

    @property
    def figures(self):
        """name -> Figure of all that some entry has; where files define one otherwise (order), there is no better side."""
        found = {}
        for r in self.files:
            for name, figure in r.figures.items():
                if name in found and found[name].better != figure.better:
                    figure = replace(figure, better=None)
                found[name] = figure if name not in found else found[name] if figure.better else figure
        return found

    def values(self, name):
        """A figure of all entries: float64 (entries, images)."""
        return np.stack([e.figure(name) for e in self.entries])


def groups(opened):
    """Sorts opened files into groups; the order of files and of methods is kept."""
    kinds = {}
    for r in opened:
        a = r.attrs
        key = (a.get('checkpoint_sha256'), a.get('model'), a.get('data_sha256'), r.size,
               str(r.config.get('data', {}).get('target')))
        kinds.setdefault(key, []).append(r)
    names = [str(files[0].attrs.get('architecture', '')) or files[0].name for files in kinds.values()]
    found = []
    for name, files in zip(names, kinds.values()):
        if names.count(name) > 1:  # one architecture, other weights, data or targets
            name = f'{name} ({", ".join(r.name for r in files)})'
        entries, taken = [], [m for r in files for m in r.methods]
        for r in files:
            for m in r.methods.values():
                label = m.name if taken.count(m.name) == 1 else f'{m.name} ({r.name})'
                entries.append(Entry(label, r, m))
        found.append(Group(name, tuple(files), tuple(entries)))
    return found


def run_script(body):
    """Calls body(), the main() of a script; errors about files are one line and exit status 2."""
    try:
        sys.exit(body())
    except ResultsError as e:
        print(f'error: {e}', file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


class Progress:
    """A line on stderr for steps that take long: on a terminal it is rewritten, elsewhere there is one line a step."""

    def __init__(self, what, total, out=None):
        self._clock, self._out = time.monotonic, out or sys.stderr
        self._live = self._out.isatty()
        self.what, self.total, self.done, self.started, self.shown = what, total, 0, time.monotonic(), 0.0

    def step(self, count=1):
        self.done += count
        now = self._clock()
        if self._live and (now - self.shown > .2 or self.done >= self.total):
            self.shown = now
            print(f'\r{self.what}: {self.done} of {self.total}, {now - self.started:.0f} s ', end='', file=self._out,
                  flush=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if self._live:
            print(file=self._out)
        elif kind is None:
            print(f'{self.what}: {self.done} of {self.total}, {self._clock() - self.started:.0f} s', file=self._out)
