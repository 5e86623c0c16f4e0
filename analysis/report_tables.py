"""
The numbers of the report: what data/core.js holds for a group of files. Means and intervals, pairs, curves, distributions,
relations. Everything is a plain list or dict; None stands for what is not a number.
"""
import math

import measures
import packages
import results as schema
import stats
import tables

np = packages.need('numpy')
scipy_stats = packages.need('scipy.stats')

ALSO = ('mc_error',)  # shown beside the main figures; all others on demand
BINS = 40
FAILURES = 2000  # listed, at most


def plain(value, digits=10):
    """A float for JSON: None where it is not finite."""
    value = float(value)
    return float(f'{value:.{digits}g}') if math.isfinite(value) else None


def parameters(values):
    """Parameters as pairs of text, numbers without their floating-point tails."""
    return [[k, f'{v:g}' if isinstance(v, float) else str(v).lower() if isinstance(v, bool) else str(v)]
            for k, v in values.items()]


# ---------------------------------------------------------------- overview

def flat(tree, prefix=''):
    """The resolved configuration as key -> text; entries of lists by their name."""
    out = {}
    items = tree.items() if isinstance(tree, dict) else []
    for k, v in items:
        if isinstance(v, list):
            for entry in v:
                kind, body = next(iter(entry.items())) if isinstance(entry, dict) and entry else (str(entry), {})
                body = body if isinstance(body, dict) else {}
                out |= flat(body, f'{prefix}{k}.{body.get("name", kind)}.')
        elif isinstance(v, dict):
            out |= flat(v, f'{prefix}{k}.')
        else:
            out[prefix + k] = str(v).lower() if isinstance(v, bool) else str(v)
    return out


def differences(files):
    """[{key, values}] of what the files do not agree on. Methods and metrics that only some files have are no difference of
    configuration: the tables show them."""
    sides = []
    for r in files:
        side = {k: str(r.attrs.get(k, '')) for k in (
            'program_version', 'git_revision', 'cpu_kernels', 'architecture', 'checkpoint_sha256', 'data_sha256',
            'batch')}
        side |= flat(r.config)
        side |= {f'model: {k}': str(v) for k, v in r.model.items() if k != 'architecture'}
        side |= {'images': str(r.size), 'methods': ', '.join(r.methods), 'metrics': ', '.join(r.metrics)}
        sides.append(side)
    found = []
    for key in dict.fromkeys(k for side in sides for k in side):
        values = [side.get(key) for side in sides]
        optional = key.startswith(('methods.', 'metrics.'))
        if len({v for v in values if v is not None or not optional}) > 1:
            found.append({'key': key, 'values': values})
    return found


def file_facts(r, model):
    label, done = r.image('label'), r.done & (r.image('label') >= 0)
    right = plain((r.image('prediction')[done] == label[done]).mean()) if done.any() else None
    return {'name': r.name, 'path': r.path, 'model': model, 'images': r.size, 'done': int(r.done.sum()),
            'failed': int(r.failed.sum()), 'pending': int(r.pending.sum()), 'right': right, 'seed': r.attrs.get('seed', ''),
            'version': f'{r.attrs.get("program_version", "?")} ({r.attrs.get("git_revision", "?")})'}


def failures(group, files):
    found = []
    for r in group.files:
        paths, errors = r.image('path'), r.image('error')
        found += [{'image': int(i), 'path': paths[i], 'file': files.index(r), 'error': errors[i]}
                  for i in np.flatnonzero(r.failed)]
    return found[:FAILURES]


def class_names(columns):
    """label -> folder, for data sets of class folders; {} where labels and folders do not go together."""
    names, taken = {}, {}
    for label, path in zip(columns['label'].tolist(), columns['path']):
        folder = path.rpartition('.tar/')[2].rpartition('/')[0]
        if not folder or names.setdefault(label, folder) != folder or taken.setdefault(folder, label) != label:
            return {}
    return {str(k): v for k, v in names.items()}


def image_columns(group):
    """The group's per-image fields: of the first file that has the image done, else failed."""
    first = group.files[0]
    done, failed = (np.any([getattr(r, k) for r in group.files], 0) for k in ('done', 'failed'))
    columns = {'path': first.image('path'), 'label': first.image('label'), 'error': [''] * group.size, 'region_share': None,
               'status': np.where(done, schema.DONE, np.where(failed, schema.FAILED, schema.PENDING))}
    for r in reversed(group.files):  # the first has the last word
        for name in 'target', 'prediction', 'confidence', 'probability', 'region_share':
            if name in r.image_fields:
                values = r.image(name)
                before = columns.get(name)
                columns[name] = values if before is None else np.where(r.done, values, before)
        for i in np.flatnonzero(r.failed):
            columns['error'][i] = r.image('error')[i]
    return columns


# ---------------------------------------------------------------- figures

def figure_list(group):
    """[{metric, figure, label, help, direction, main, by_class}] and the values of each, (methods, images)."""
    figures, values = [], []
    for name, f in group.figures.items():
        metric, _, figure = name.rpartition('/')
        figures.append({'metric': metric, 'figure': figure, 'label': f.label, 'help': f.description,
                        'direction': {'higher': 1, 'lower': -1}.get(f.better, 0), 'main': f.main or name in ALSO,
                        'by_class': f.by_class})
        values.append(group.values(name))
    return figures, values


def judged(group):
    """(table, pairs, best): [figure][method] = [n, mean, std, low, high] or None; [figure] -> [{a, b, n, diff, low, high, p,
    holm, win, clear}] of a - b over the images that have both; [figure] -> {method, significant} or None."""
    analyses = tables.analyse(group, list(group.figures))
    table, pairs, best = [], [], []
    for name, found in analyses.items():
        table.append([])
        for s in found.summaries:
            mean, low, high = tables.shown(s, group.figures[name])
            table[-1].append([s.n, *map(plain, (mean, s.std, low, high))] if s.n else None)
        pairs.append([{'a': p.a, 'b': p.b, 'n': p.n, 'diff': plain(p.difference), 'low': plain(p.low), 'high': plain(p.high),
                       'p': plain(p.p), 'holm': plain(p.p_holm), 'win': plain(p.wins), 'clear': p.significant}
                      for p in found.pairs if p.n])
        best.append(None if found.best is None else {'method': found.best, 'significant': found.bold})
    return table, pairs, best


def spread(values):
    """[figure] -> {edges, methods: [{counts, quartiles}]}: histograms over the whole range of a figure."""
    found = []
    for v in values:
        finite = v[np.isfinite(v)]
        if not len(finite):
            found.append(None)
            continue
        low, high = finite.min(), finite.max()
        edges = np.linspace(low, high, BINS + 1) if high > low else np.linspace(low - .5, high + .5, BINS + 1)
        methods = []
        for row in v:
            row = row[np.isfinite(row)]
            quartiles = [plain(q) for q in np.percentile(row, (0, 25, 50, 75, 100))] if len(row) else None
            methods.append({'counts': np.histogram(row, edges)[0].tolist(), 'quartiles': quartiles} if len(row) else None)
        found.append({'edges': [plain(e) for e in edges], 'methods': methods})
    return found


ABSCISSAE = {'confidence': 'confidence of the prediction', 'region_share': 'share of the picture that the object covers',
             'mc_error': 'Monte-Carlo error of the map'}


def relations(figures, values, columns):
    """[{name, label, rho[figure][method]}]: Spearman's correlation of each figure with what may explain it."""
    own = next((k for k, f in enumerate(figures) if (f['metric'], f['figure']) == ('', 'mc_error')), None)
    found = []
    for name, label in ABSCISSAE.items():
        if name == 'mc_error':
            xs = None if own is None else values[own]
        else:
            xs = None if columns[name] is None else np.broadcast_to(columns[name], values[0].shape)
        if xs is None or not np.isfinite(xs).any():
            continue
        found.append({'name': name, 'label': label, 'rho': [[spearman(x, y) for x, y in zip(xs, v)] for v in values]})
    return found


def spearman(x, y):
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 3 or (x == x[0]).all() or (y == y[0]).all():
        return None
    return plain(scipy_stats.spearmanr(x, y)[0])


# ---------------------------------------------------------------- curves

def curve_list(group):
    """Metrics with curves: [{metric, fraction, xlabel, ylabel, entries}]; entries: per method, None where it has no such
    curve. Files that define a metric of one name otherwise get a curve each."""
    found = {}
    for j, e in enumerate(group.entries):
        for metric in e.method.metrics.values():
            if not metric.has_curve:
                continue
            fraction = e.results.curve(e.method.name, metric.name, slice(0, 0))[0]
            key = metric.name, fraction.tobytes(), str(sorted(metric.parameters.items()))
            across, up = measures.axes(metric.kind, metric.parameters)
            order = metric.parameters.get('order')
            c = found.setdefault(key, {
                'metric': metric.name, 'fraction': [plain(x) for x in fraction], 'entries': [None] * len(group.entries),
                'xlabel': f'{across}, {order} important first' if order else across, 'ylabel': up})
            c['entries'][j] = e
    return list(found.values())


def mean_curve(entry, metric):
    scores = entry.results.curve(entry.method.name, metric)[1]
    scores = scores[np.isfinite(scores).all(1)]
    if not len(scores):
        return None
    mean, low, high = stats.band(scores)
    sides = ('mean', mean), ('low', low), ('high', high)
    return {'n': len(scores), **{name: [plain(v, 7) for v in side] for name, side in sides}}


def curves(found):
    """The same with means and intervals over images instead of entries, for the page."""
    with schema.Progress('bands of curves', sum(e is not None for c in found for e in c['entries'])) as progress:
        def one(entry, metric):
            if entry is None:
                return None
            progress.step()
            return mean_curve(entry, metric)

        return [{**{k: v for k, v in c.items() if k != 'entries'},
                 'methods': [one(e, c['metric']) for e in c['entries']]} for c in found]


# ---------------------------------------------------------------- methods and metrics in words

def method_list(group, figures, values, signed):
    out = []
    for j, e in enumerate(group.entries):
        done = int(e.results.done.sum())
        filtered = [done - int(np.isfinite(v[j]).sum()) if has(e, f) else 0 for f, v in zip(figures, values)]
        out.append({'label': e.label, 'definition': e.method.definition, 'parameters': parameters(e.method.parameters),
                    'control': e.is_control, 'signed': signed[j] if e.method.has_map else None, 'filtered': filtered})
    return out


def has(entry, figure):
    own = entry.method.metrics.get(figure['metric'])
    return figure['figure'] in (entry.method.figures if not figure['metric'] else own.figures if own else ())


def metric_list(group):
    seen = {}
    for r in group.files:
        for name, m in r.metrics.items():
            shown = [['preset', m.preset]] if m.preset != 'none' else []
            seen.setdefault((name, str(m.parameters)), {'name': name, 'definition': m.definition,
                                                        'parameters': shown + parameters(m.parameters)})
    return list(seen.values())
