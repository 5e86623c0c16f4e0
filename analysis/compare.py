#!/usr/bin/env python3
"""
Are two runs the same? Compares every field of every row that both results files have, by the images' paths, and says which
rows and figures differ, by how much, and what could explain it: configuration, checkpoint, data, version, processor.

    analysis/compare.py A.h5 B.h5

Exit status: 0 the same, 1 different, 2 they cannot be compared. Differences are relative: of a map or curve to its
largest magnitude, of a number to the largest of its field.
"""
import argparse
import sys
from dataclasses import dataclass

import results
import stats

np = results.np

BLOCK_BYTES = 32 << 20
SHOWN = 10  # rows and lines of a list
# what is meant to differ, or is compared as the fields that it follows from
LEFT_OUT = ('/images/path', '/images/status', '/images/checksum')
ATTRIBUTES = ('program_version', 'git_revision', 'checkpoint_sha256', 'data_sha256', 'architecture', 'seed', 'batch',
              'cpu_kernels')


@dataclass(frozen=True)
class Difference:
    """A field that differs."""
    field: str
    rows: np.ndarray  # of A
    largest: float  # absolute; NaN where that says nothing (texts, NaN in one file)
    relative: float
    worst: int  # row of A


# ---------------------------------------------------------------- rows

def match(a, b):
    """Rows of the same images: positions in A and in B."""
    if a.attrs.get('data_sha256') == b.attrs.get('data_sha256') and a.size == b.size:
        return np.arange(a.size), np.arange(b.size)
    where = {path: i for i, path in enumerate(b.image('path'))}
    rows = [(i, where[path]) for i, path in enumerate(a.image('path')) if path in where]
    return (np.array([r[k] for r in rows], int) for k in (0, 1))


def excess(x, y, tolerance, largest):
    """Per row: whether it differs, the largest absolute difference, and the largest relative one. x, y: (rows, values);
    largest: magnitude that differences are relative to, (rows,) or a number."""
    nan = np.isnan(x) != np.isnan(y)
    with np.errstate(invalid='ignore'):
        distance = np.abs(x - y)
    distance = np.where(np.isnan(x) & np.isnan(y) | (x == y), 0, distance)  # inf - inf too
    top = np.nan_to_num(distance, nan=0).max(1, initial=0)
    relative = top / np.maximum(largest, np.finfo(float).tiny)
    differs = nan.any(1) | (relative > tolerance)
    return differs, np.where(nan.any(1), np.nan, top), np.where(nan.any(1), np.nan, relative)


def magnitude(x, y, axis=None):
    both = np.stack([np.abs(x), np.abs(y)])
    return np.where(np.isfinite(both), both, 0).max(axis, initial=0)


def compare_field(a, b, name, rows_a, rows_b, tolerance, watch):
    """A Difference, or None. What differs in shape or type differs in all rows."""
    x, y = a[name], b[name]
    if x.shape[1:] != y.shape[1:] or x.dtype.kind != y.dtype.kind:
        watch.step(1)
        return Difference(name, rows_a, np.nan, np.nan, int(rows_a[0]))
    numbers = x.dtype.kind == 'f'
    whole = magnitude(x[rows_a], y[rows_b]) if numbers and len(x.shape) == 1 else None
    size = max(1, BLOCK_BYTES // (8 * int(np.prod(x.shape[1:]))))
    differs, top, relative = [], [], []
    for start in range(0, len(rows_a), size):
        p, q = x[rows_a[start:start + size]], y[rows_b[start:start + size]]
        if numbers:
            p, q = (v.astype(np.float64).reshape(len(v), -1) for v in (p, q))
            found = excess(p, q, tolerance, whole if whole is not None else magnitude(p, q, (0, 2)))
        else:
            d = (p != q).reshape(len(p), -1).any(1)
            found = d, np.where(d, np.nan, 0), np.where(d, np.nan, 0)
        for kept, values in zip((differs, top, relative), found):
            kept.append(values)
    watch.step(1)
    differs, top, relative = (np.concatenate(v) for v in (differs, top, relative))
    if not differs.any():
        return None
    order = np.where(np.isnan(relative), np.inf, relative)
    order[~differs] = -1
    worst = int(np.argmax(order))
    finite = np.isfinite(relative) & differs
    return Difference(name, rows_a[differs], float(top[finite].max()) if finite.any() else np.nan,
                      float(relative[finite].max()) if finite.any() else np.nan, int(rows_a[worst]))


def same_checksums(a, b, rows_a, rows_b):
    """Rows whose checksums say that all fields are the same; none where the files have not the same fields."""
    if any('images/checksum_fields' not in r for r in (a, b)):
        return np.zeros(len(rows_a), bool)
    fields = [results.texts(r['images/checksum_fields'].values) for r in (a, b)]
    if fields[0] != fields[1] or any(a[f].shape[1:] != b[f].shape[1:] or a[f].dtype != b[f].dtype for f in fields[0]):
        return np.zeros(len(rows_a), bool)
    return a.image('checksum')[rows_a] == b.image('checksum')[rows_b]


# ---------------------------------------------------------------- what could explain it

def flatten(config):
    """The configuration as 'methods.dave.alpha' -> value; entries of lists by their name."""
    found = {}

    def walk(prefix, value):
        if isinstance(value, dict):
            for k, v in value.items():
                walk(f'{prefix}.{k}' if prefix else str(k), v)
        elif isinstance(value, list) and all(isinstance(v, dict) and len(v) == 1 for v in value):
            for v in value:
                kind, parameters = next(iter(v.items()))
                parameters = parameters if isinstance(parameters, dict) else {}
                name = f'{prefix}.{parameters.get("name", kind)}'
                found[name] = kind
                walk(name, {k: p for k, p in parameters.items() if k != 'name'})
        else:
            found[prefix] = value
    walk('', config)
    return found


def explanations(a, b):
    """Lines 'what: A's value | B's value'."""
    lines = []
    for name in ATTRIBUTES:
        if a.attrs.get(name) != b.attrs.get(name):
            lines.append(f'{name}: {short(a.attrs.get(name))} | {short(b.attrs.get(name))}')
    for title, x, y in (('config', a.config, b.config), ('model', a.model, b.model)):
        x, y = flatten(x), flatten(y)
        for key in list(x) + [k for k in y if k not in x]:
            if x.get(key) != y.get(key) or (key in x) != (key in y):
                lines.append(f'{title} {key}: {short(x.get(key))} | {short(y.get(key))}')
    return lines


def short(value):
    value = 'absent' if value is None else str(value)
    return value if len(value) <= 72 else value[:69] + '...'


def conclusion(lines, differences):
    """What the explanations amount to, in a sentence."""
    causes = [x for x in lines if not x.startswith(('config data.path', 'config model.path'))]
    if not causes:
        return ('nothing of configuration, checkpoint, data, version and processor explains it: such runs should agree to '
                'the bit (dave-eval --verify tells a damaged file)')
    if all(x.startswith('cpu_kernels') for x in causes):
        worst = max((d.relative for d in differences if np.isfinite(d.relative)), default=0)
        return f'the kernels of the processors differ: sums are rounded otherwise (largest relative difference {worst:.2g})'
    return 'these differ between the runs:'


# ---------------------------------------------------------------- the report

def row_list(rows):
    return ', '.join(str(int(r)) for r in rows[:SHOWN]) + (f' and {len(rows) - SHOWN} more' if len(rows) > SHOWN else '')


def only_in(mine, other):
    """Fields, or whole folders of them, that the other file lacks."""
    def folders(paths):
        return {p[:k] for p in paths for k in range(1, len(p)) if p[k] == '/'}

    absent = folders(mine) - folders(other)
    found = {}
    for path in mine:
        if path not in other:
            above = min((f for f in absent if path.startswith(f + '/')), key=len, default=None)
            found[f'all of {above}' if above else path] = None
    return list(found)


def some(lines):
    return lines[:5 * SHOWN] + ([f'and {len(lines) - 5 * SHOWN} more'] if len(lines) > 5 * SHOWN else [])


def amount(value, digits=3):
    return f'{value:.{digits}g}' if np.isfinite(value) else '-'


def means(a, b, rows, field):
    """'mean in A | mean in B' of a figure; '' of other fields."""
    if not field.startswith('/methods/') or a[field].dims != ('image',) or a[field].dtype.kind != 'f':
        return ''
    return ' | '.join(amount(stats.finite_mean(r[field][k].astype(np.float64)[None])[0], 5) for r, k in zip((a, b), rows))


def print_differences(a, b, rows, differences):
    rows_a = rows[0]
    path = a.image('path')
    table = [['field', 'rows', 'largest difference', 'relative', 'at image', 'means']]
    for d in differences:
        table.append([d.field, f'{len(d.rows)} of {len(rows_a)}', amount(d.largest), amount(d.relative),
                      f'{d.worst} ({path[d.worst]})', means(a, b, rows, d.field)])
    widths = [max(len(r[i]) for r in table) for i in range(len(table[0]))]
    for line in table:
        print('  ' + '  '.join(c.ljust(w) for c, w in zip(line, widths)).rstrip())
    everything = np.unique(np.concatenate([d.rows for d in differences]))
    print(f'  images that differ: {len(everything)} of {len(rows_a)}: {row_list(everything)}')


def compare(a, b, tolerance, common, quick):
    """Prints what it finds; returns the exit status."""
    rows_a, rows_b = match(a, b)
    for title, r in (('A', a), ('B', b)):
        print(f'{title}: {r.path}: {r.size} images: {int(r.done.sum())} done, {int(r.failed.sum())} failed, '
              f'{int(r.pending.sum())} pending')
    if not len(rows_a):
        print('cannot compare: no image is in both files', file=sys.stderr)
        return 2
    structure = []
    if not common and (len(rows_a) < a.size or len(rows_b) < b.size):
        structure.append(f'images: {len(rows_a)} in both, {a.size - len(rows_a)} only in A, {b.size - len(rows_b)} only in B')
    fields_a, fields_b = a.fields, b.fields
    for title, mine, other in (('A', fields_a, fields_b), ('B', fields_b, fields_a)):
        if not common:
            structure += [f'only in {title}: {f}' for f in some(only_in(mine, other))]
    state = a.status[rows_a], b.status[rows_b]
    unlike = np.flatnonzero(state[0] != state[1])
    if len(unlike) and not common:
        names = ('pending', 'done', 'failed')
        structure.append(f'status of {len(unlike)} image{"s" * (len(unlike) > 1)}: ' + ', '.join(
            f'{rows_a[k]} {names[state[0][k]]} | {names[state[1][k]]}' for k in unlike[:SHOWN])
            + (' and more' if len(unlike) > SHOWN else ''))
    kept = (state[0] == state[1]) & (state[0] != results.PENDING)
    rows = rows_a[kept], rows_b[kept]
    fields = [f for f in fields_a if f in fields_b and f not in LEFT_OUT]
    differences = []
    if kept.any():
        looked = rows
        if quick:
            unequal = ~same_checksums(a, b, *rows)
            looked = rows[0][unequal], rows[1][unequal]
        with results.Progress('fields compared', len(fields)) as watch:
            for f in fields if len(looked[0]) else ():
                found = compare_field(a, b, f, *looked, tolerance, watch)
                if found:
                    differences.append(found)
    elif not structure or common:
        print('cannot compare: no image is finished in both files', file=sys.stderr)
        return 2
    lines = explanations(a, b)
    within = f' within {tolerance:g}' if tolerance else ''
    if not structure and not differences:
        print(f'the same{within}: {int(kept.sum())} images, {len(fields)} fields')
        if lines:
            print('though these differ:')
            for line in some(lines):
                print('  ' + line)
        return 0
    print(f'different{within}:')
    for line in structure:
        print('  ' + line)
    if differences:
        print_differences(a, b, rows, differences)
    print('what could explain it: ' + conclusion(lines, differences))
    for line in some(lines):
        print('  ' + line)
    return 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('a', metavar='A.h5')
    p.add_argument('b', metavar='B.h5')
    p.add_argument('--tolerance', type=float, default=0, help='relative difference that is allowed (%(default)s: to the bit)')
    p.add_argument('--common', action='store_true', help='look only at images finished in both and fields of both')
    p.add_argument('--quick', action='store_true', help='believe the checksums of rows instead of reading equal rows')
    a = p.parse_args()
    if not a.tolerance >= 0:
        p.error('--tolerance: expected a number from 0')
    return compare(results.open_results(a.a), results.open_results(a.b), a.tolerance, a.common, a.quick)


if __name__ == '__main__':
    results.run_script(main)
