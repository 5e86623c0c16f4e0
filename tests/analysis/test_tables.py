"""analysis/tables.py: every number of the CSV and LaTeX tables recomputed from the raw files by plain code."""
import csv
import math
import os
import re

import h5py
import numpy as np

import plain
from make_results import METRICS, make

plain.use_analysis()
import results  # noqa: E402
import tables  # noqa: E402
from support import main  # noqa: E402


def read_csv(path):
    with open(path, encoding='utf-8', newline='') as f:
        return list(csv.DictReader(f))


def value(text):
    return float(text) if text else math.nan


def check_figures(t, title, rows, files, better):
    """files: name -> path; better: figure -> side."""
    for row in rows:
        path = files[row['file']]
        v = plain.raw_figure(path, f"{row['method']}/{row['figure']}")
        with h5py.File(path, 'r', locking=False) as f:
            labels = f['images/label'][:]
        classes = plain.class_means(v, labels)
        want = [len(plain.finite(v)), plain.mean(v), plain.deviation(v), *plain.interval(v), plain.mean(classes),
                *plain.interval(classes)]
        got = [value(row[k]) for k in ('n', 'mean', 'std', 'ci_low', 'ci_high', 'class_mean', 'class_low', 'class_high')]
        t.close(f"{title}: {row['method']} {row['figure']}", got, want, 1e-12)
        if better:
            t.equal(f"{title}: side of {row['figure']}", row['better'], better[row['figure']])


def check_pairs(t, title, rows, label_values, better):
    """label_values: figure -> {label: values}. Recomputes every pair, and Holm over the pairs of a figure."""
    for figure in dict.fromkeys(r['figure'] for r in rows):
        mine = [r for r in rows if r['figure'] == figure]
        p = [plain.wilcoxon(plain.differences(label_values[figure][r['a']], label_values[figure][r['b']])) for r in mine]
        for row, test, corrected in zip(mine, p, plain.holm(p)):
            a, b = label_values[figure][row['a']], label_values[figure][row['b']]
            d = plain.differences(a, b)
            want = [len(plain.finite(d)), plain.mean(d), *plain.interval(d), test, corrected,
                    plain.win_rate(a, b, better[figure])]
            got = [value(row[k]) for k in ('n', 'mean_difference', 'ci_low', 'ci_high', 'wilcoxon_p', 'holm_p', 'a_wins')]
            t.close(f"{title}: {figure} {row['a']} - {row['b']}", got, want, 1e-10)
            t.equal('significant', row['significant'], str(int(corrected < .05 and (want[2] > 0 or want[3] < 0))))


def real_run(t, b):
    t.equal('a run', b.evaluate('config.yaml').code, 0)
    path = b.path('out.h5')
    code, out, err = plain.run('tables.py', path, '-o', b.path('t'), '--all')
    t.equal('tables of a run', (code, 'Traceback' in err), (0, False))
    t.equal('files', sorted(os.path.basename(x) for x in out.split()),
            ['figures.csv', 'methods_vit_tiny_patch16_224.tex', 'pairs.csv', 'pairs_vit_tiny_patch16_224.tex'])
    rows = read_csv(b.path('t', 'figures.csv'))
    check_figures(t, 'run', rows, {'out': path}, None)
    better = {r['figure']: r['better'] or 'higher' for r in rows}
    values = {f: {m: plain.raw_figure(path, f'{m}/{f}') for m in ('dave', 'random', 'gradient')}
              for f in better if '/' in f}
    check_pairs(t, 'run', [r for r in read_csv(b.path('t', 'pairs.csv')) if '/' in r['figure']], values, better)
    # the program's own summary has other draws: two percentiles differ by their Monte-Carlo errors
    summary = results.open_results(path).summary()
    for row in rows:
        s = summary.get(f"{row['method']}/{row['figure']}")
        if s is None:
            t.ok('only absent figures are not summarised', row['n'] == '0', row)
            continue
        t.equal(f"n of the program's summary, {row['figure']}", float(row['n']), s['n'])
        if not s['n']:
            continue
        spread = s['std'] / math.sqrt(s['n']) if s['n'] > 1 else 0
        t.close(f"the program's summary: {row['method']} {row['figure']}", [value(row[k]) for k in ('mean', 'ci_low', 'ci_high')],
                [s['mean'], s['ci_low'], s['ci_high']], max(1e-12, .15 * spread))
    paired = results.open_results(path).paired()
    t.ok('the program compares its first method', len(paired) >= 6, list(paired))
    for row in read_csv(b.path('t', 'pairs.csv')):
        s = paired.get(f"{row['a']} - {row['b']}/{row['figure']}")
        if s and s['n']:
            spread = s['std'] / math.sqrt(s['n']) if s['n'] > 1 else 0
            t.equal(f"the program's pairs: n of {row['figure']}", float(row['n']), s['n'])
            t.close(f"the program's pairs: {row['a']} - {row['b']} {row['figure']}",
                    [value(row[k]) for k in ('mean_difference', 'ci_low', 'ci_high')], [s['mean'], s['ci_low'], s['ci_high']],
                    max(1e-12, .15 * spread))
            t.close('and its wins', value(row['a_wins']), s['wins'] if row['better'] != 'lower' else 1 - s['wins'], 1e-12)
    code, out, err = plain.run('tables.py', path)
    t.ok('printed', code == 0 and 'deletion AUC' in out and 'lower is better' in out and 'random (chance)' in out, out + err)


def latex(t, path, expected_bold):
    """A table of LaTeX: as many cells in every row as columns, balanced braces, no bare specials."""
    with open(path, encoding='utf-8') as f:
        text = f.read()
    t.equal(f'{path}: groups', text.count('{'), text.count('}'))
    t.equal(f'{path}: begun and ended', text.count(r'\begin{tabular}'), text.count(r'\end{tabular}'))
    for table in re.findall(r'\\begin{tabular}{(\w+)}(.*?)\\end{tabular}', text, re.S):
        rows = [r for r in table[1].splitlines() if r.endswith(r'\\')]
        t.ok(f'{path}: cells of {len(rows)} rows', rows and all(len(re.findall(r'(?<!\\)&', r)) + 1 == len(table[0]) for r in rows))
        body = table[1].replace('$_$', '')
        t.ok(f'{path}: specials', not re.search(r'(?<!\\)[_#%]', body), body)
        t.ok(f'{path}: booktabs', all(x in body for x in (r'\toprule', r'\midrule', r'\bottomrule')))
    if expected_bold is not None:
        t.equal(f'{path}: bold', text.count(r'\textbf'), expected_bold)
    return text


def many(t, b):
    """Many methods and metrics; two models; missing values; names that LaTeX would trip over."""
    methods = {'gradient': {}, 'dave': {'alpha': .3}, 'dave_5%_&_{x}': {'method': 'dave', 'alpha': .5}, 'random': {}}
    a = make(b.path('a.h5'), images=40, methods=methods, metrics=list(METRICS), failed=3, seed=4)
    c = make(b.path('c.h5'), images=30, methods={'dave': {}, 'legrad': {}}, metrics=['deletion', 'gridpg'], seed=5,
             attrs={'architecture': 'vit_large'})
    with h5py.File(a, 'r+') as f:
        f['methods/dave/deletion/auc'][:6] = np.nan
        f['methods/gradient/gridpg/score'][...] = np.nan
        f['methods/random/pointing_game/hit'][...] = np.round(f['methods/random/pointing_game/hit'][...])
    code, out, err = plain.run('tables.py', a, c, '-o', b.path('many'))
    t.ok('tables of two models', code == 0 and 'Traceback' not in err, err)
    rows = read_csv(b.path('many', 'figures.csv'))
    check_figures(t, 'many', rows, {'a': a, 'c': c}, None)
    better = {r['figure']: r['better'] for r in rows}
    t.equal('sides', (better['deletion/auc'], better['insertion/auc'], better['deletion_dave/auc'], better['gridpg/score'],
                      better['entropy/entropy']), ('lower', 'higher', 'higher', 'higher', 'lower'))
    t.equal('two figures of stability, both sides', (better['stability/pearson'], better['stability/relative_l2']), ('higher', 'lower'))
    pairs = read_csv(b.path('many', 'pairs.csv'))
    for group, path, names in (('vit_made_up', a, methods), ('vit_large', c, ('dave', 'legrad'))):
        mine = [p for p in pairs if p['group'] == group]
        values = {f: {m: plain.raw_figure(path, f'{m}/{f}') for m in names} for f in dict.fromkeys(p['figure'] for p in mine)}
        check_pairs(t, group, mine, values, better)
        t.equal(f'{group}: pairs of a figure', len(mine), len(values) * len(names) * (len(names) - 1) // 2)
        for figure in values:
            some = [r for r in rows if r['group'] == group and r['figure'] == figure]
            mean = 'class_mean' if figure == 'pointing_game/hit' else 'mean'
            ranked = sorted((r for r in some if r['mean'] and r['chance'] == '0'),
                            key=lambda r: float(r[mean]) * (-1 if better[figure] == 'higher' else 1))
            t.equal(f'{group} {figure}: the best', [r['method'] for r in some if r['best'] == '1'], [ranked[0]['method']])
            first = next((p for p in mine if p['figure'] == figure and {p['a'], p['b']} ==
                          {r['method'] for r in ranked[:2]}), None)
            bold = bool(first and first['significant'] == '1')
            t.equal(f'{group} {figure}: bold', [r['method'] for r in some if r['bold'] == '1'],
                    [ranked[0]['method']] if bold else [])
    t.equal('the control', [r['method'] for r in rows if r['chance'] == '1' and r['figure'] == 'deletion/auc'], ['random'])
    bold = {g: sum(r['bold'] == '1' for r in rows if r['group'] == g) for g in ('vit_made_up', 'vit_large')}
    text = latex(t, b.path('many', 'methods_vit_made_up.tex'), bold['vit_made_up'])
    t.ok('names of LaTeX', r'dave\_5\%\_\&\_\{x\}' in text, text[:400])
    for figure, method in (('deletion/auc', 'dave'), ('entropy/entropy', 'gradient')):
        r = next(r for r in rows if r['group'] == 'vit_made_up' and r['figure'] == figure and r['method'] == method)
        cell = f"[{float(r['ci_low']):.3f}, {float(r['ci_high']):.3f}]"
        t.ok(f'LaTeX of {figure}', f"{float(r['mean']):.3f}" in text and cell in text, cell)
    r = next(r for r in rows if r['figure'] == 'pointing_game/hit' and r['method'] == 'dave')
    t.ok('the pointing game is reported by classes', 'pointing game (classes)' in text and
         f"{float(r['class_mean']):.3f}" in text and f"[{float(r['class_low']):.3f}, {float(r['class_high']):.3f}]" in text)
    latex(t, b.path('many', 'methods_vit_large.tex'), bold['vit_large'])
    latex(t, b.path('many', 'pairs_vit_made_up.tex'), 0)
    text = latex(t, b.path('many', 'models.tex'), sum(bold.values()))
    t.ok('a method that a model lacks', re.search(r'legrad & -- & ', text), text[:500])
    code, out, err = plain.run('tables.py', a, c, '--figures', 'deletion')
    t.ok('one metric, printed', code == 0 and 'deletion AUC' in out and 'GridPG' not in out and 'vit_large' in out, out)


def odd(t, b):
    nothing = make(b.path('nothing.h5'), images=5, pending=5)
    code, out, err = plain.run('tables.py', nothing)
    t.ok('nothing done yet', code == 0 and 'no figure has a value yet' in out, out + err)
    code, out, err = plain.run('tables.py', nothing, '-o', b.path('none'))
    t.ok('nothing done yet, written', code == 0 and 'Traceback' not in err, err)
    one = make(b.path('one.h5'), images=1, methods={'gradient': {}})
    code, out, err = plain.run('tables.py', one, '-o', b.path('one'))
    row = read_csv(b.path('one', 'figures.csv'))[0]
    t.ok('one image', code == 0 and row['n'] == '1' and row['std'] == '' and row['mean'] == row['ci_low'], (err, row))
    bare = make(b.path('bare.h5'), images=4, metrics=[])
    t.ok('no metric', plain.run('tables.py', bare)[0] == 0)
    t.ok('a figure that no file has', plain.one_line(plain.run('tables.py', one, '--figures', 'gridpg')))
    t.ok('no file', plain.one_line(plain.run('tables.py', b.path('absent.h5'))))
    os.truncate(one, os.path.getsize(one) // 2)
    t.ok('a cut file', plain.one_line(plain.run('tables.py', one)))
    t.equal('numbers', [tables.number(x) for x in (.12345, math.nan)] + [tables.p_text(x) for x in (.00001, .0432, math.nan)],
            ['0.123', '-', '< 0.0001', '0.0432', '-'])
    t.equal('decimals', [tables.decimals(v) for v in ([.1, -9], [12., 3], [100., math.nan], [], [0.], [.02, 1e-4], [-.003])], [3, 2, 1, 3, 3, 4, 5])
    t.equal('a minus', tables.tex_number('-0.1 [-0.2, 0.3]'), '$-$0.1 [$-$0.2, 0.3]')


def body(t, b):
    real_run(t, b)
    many(t, b)
    odd(t, b)


main(body)
