#!/usr/bin/env python3
"""
Tables of results files: methods x figures with n, mean, 95 % bootstrap interval, the best in bold where its paired
difference to the next best is significant; and every pair of methods compared image by image. Without -o they are
printed; with it they are written as CSV (everything) and LaTeX (booktabs, for a paper).

    analysis/tables.py results.h5
    analysis/tables.py vits16.h5 vitb16.h5 -o tables/
"""
import argparse
import csv
import math
import os
import re
import sys

import results
import stats

np = results.np

COLUMNS = 4  # figures side by side in a table
PRINTED = 5  # methods of which all pairs are printed


def chosen(group, names=None, everything=False):
    """The figures of a group to show: those named (by 'deletion/auc' or 'deletion'), all, or the main ones. Without any
    value they are left out."""
    found = []
    for name, figure in group.figures.items():
        if names:
            wanted = name in names or name.partition('/')[0] in names and figure.main
        else:
            wanted = everything or figure.main
        if wanted and any(np.isfinite(e.figure(name)).any() for e in group.entries):
            found.append(name)
    return found


def analyse(group, names, resamples=stats.RESAMPLES, progress=results.Progress):
    """name -> stats.Analysis of the entries of a group."""
    better = {name: group.figures[name].better for name in names}
    controls = [i for i, e in enumerate(group.entries) if e.is_control]
    by_class = [name for name in names if group.figures[name].by_class]
    return stats.analyse({name: group.values(name) for name in names}, better, group.files[0].image('label'), controls,
                         by_class, resamples, progress=progress)


def shown(summary, figure):
    """mean, low, high as a figure is reported: over images, or over the means of classes."""
    return (summary.class_mean, summary.class_low, summary.class_high) if figure.by_class else (
        summary.mean, summary.low, summary.high)


# ---------------------------------------------------------------- numbers as text

def decimals(values):
    """Decimals for a column of numbers: three, fewer for large ones, more where all are small."""
    size = max((abs(v) for v in values if math.isfinite(v)), default=0)
    return next((places for places, most in ((5, .01), (4, .1), (3, 10), (2, 100)) if 0 < size < most), 1 if size else 3)


def number(value, places=3):
    return f'{value:.{places}f}' if math.isfinite(value) else '-'


def p_text(p):
    return '-' if not math.isfinite(p) else '< 0.0001' if p < 1e-4 else f'{p:.4f}'


def column_label(figure):
    return figure.label + (' (classes)' if figure.by_class else '')


def arrow(better):
    return {'higher': 'higher is better', 'lower': 'lower is better'}.get(better, '')


def count_text(counts):
    """n of a column: one number, or from to."""
    low, high = min(counts), max(counts)
    return str(low) if low == high else f'{low}-{high}'


def cell(summary, figure, places):
    if not summary.n:
        return '-'
    mean, low, high = (number(v, places) for v in shown(summary, figure))
    return f'{mean} [{low}, {high}]'


def places_of(analysis):
    return decimals([v for s in analysis.summaries for v in (s.mean, s.low, s.high)])


def row_label(entry):
    return entry.label + (' (chance)' if entry.is_control else '')


# ---------------------------------------------------------------- printed

def print_aligned(rows, out=sys.stdout):
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        print('  '.join(c.ljust(w) for c, w in zip(r, widths)).rstrip(), file=out)
    print(file=out)


def print_group(group, analyses):
    done = sum(int(r.done.sum()) for r in group.files)
    print(f'{group.name}: {", ".join(r.path for r in group.files)}; {done} of {group.size * len(group.files)} images done')
    print('mean [95 % interval]; * the best, chance aside, and better than the next best: Holm-corrected Wilcoxon p < 0.05 '
          'and the\ninterval of the difference leaves out 0\n')
    names = list(analyses)
    for start in range(0, len(names), COLUMNS):
        some = names[start:start + COLUMNS]
        head = [['method'] + [column_label(group.figures[n]) for n in some],
                [''] + [arrow(group.figures[n].better) for n in some]]
        body = []
        for i, e in enumerate(group.entries):
            body.append([row_label(e)] + [cell(analyses[n].summaries[i], group.figures[n], places_of(analyses[n]))
                                          + ' *' * (analyses[n].bold and analyses[n].best == i) for n in some])
        print_aligned(head + body + [['n'] + [count_text([s.n for s in analyses[n].summaries]) for n in some]])
    if len(group.entries) < 2:
        return
    for name in names:
        a, places, title = analyses[name], places_of(analyses[name]), group.figures[name].label
        pairs = a.pairs
        if len(group.entries) > PRINTED and a.best is not None:
            pairs = [a.pair(a.best, i) for i in range(len(group.entries)) if i != a.best]
            title += f' (best - others; -o writes all {len(a.pairs)} pairs)'
        rows = [[f'{title}: a - b', 'n', 'mean difference', 'p (Holm)', 'a wins']]
        for p in pairs:
            rows.append([f'{group.entries[p.a].label} - {group.entries[p.b].label}', str(p.n), cell_of_pair(p, places),
                         p_text(p.p_holm), number(p.wins)])
        print_aligned(rows)


def cell_of_pair(p, places):
    return f'{number(p.difference, places)} [{number(p.low, places)}, {number(p.high, places)}]' if p.n else '-'


# ---------------------------------------------------------------- CSV

def precise(value):
    return '' if isinstance(value, float) and not math.isfinite(value) else repr(value) if isinstance(value, float) else value


def write_csv(path, head, rows):
    with open(path, 'w', newline='', encoding='utf-8') as f:
        w = csv.writer(f, lineterminator='\n')
        w.writerow(head)
        w.writerows([precise(v) for v in row] for row in rows)


FIGURE_COLUMNS = ['group', 'file', 'method', 'kind', 'chance', 'figure', 'better', 'n', 'mean', 'std', 'ci_low', 'ci_high',
                  'class_mean', 'class_low', 'class_high', 'best', 'bold']
PAIR_COLUMNS = ['group', 'figure', 'better', 'a', 'b', 'n', 'mean_difference', 'ci_low', 'ci_high', 'wilcoxon_p', 'holm_p',
                'a_wins', 'significant']


def figure_rows(group, analyses):
    for name, a in analyses.items():
        for i, (e, s) in enumerate(zip(group.entries, a.summaries)):
            yield [group.name, e.results.name, e.method.name, e.method.kind, int(e.is_control), name, a.better or '', s.n,
                   s.mean, s.std, s.low, s.high, s.class_mean, s.class_low, s.class_high, int(a.best == i),
                   int(a.bold and a.best == i)]


def pair_rows(group, analyses):
    for name, a in analyses.items():
        for p in a.pairs:
            yield [group.name, name, a.better or '', group.entries[p.a].label, group.entries[p.b].label, p.n, p.difference,
                   p.low, p.high, p.p, p.p_holm, p.wins, int(p.significant)]


# ---------------------------------------------------------------- LaTeX

ESCAPES = {'\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{', '}': r'\}',
           '~': r'\textasciitilde{}', '^': r'\textasciicircum{}'}


def tex(text):
    return ''.join(ESCAPES.get(c, c) for c in text)


def tex_number(text):
    """A minus that is one."""
    return text if text == '-' else re.sub(r'(^|\[| )-(?=\d)', r'\1$-$', text)


def tex_cell(summary, figure, places, bold):
    if not summary.n:
        return '--'
    mean, low, high = (tex_number(number(v, places)) for v in shown(summary, figure))
    if bold:
        mean = rf'\textbf{{{mean}}}'
    return rf'{mean} {{\scriptsize [{low}, {high}]}}'


def tabular(columns, head, rows, foot=()):
    lines = [rf'\begin{{tabular}}{{{columns}}}', r'\toprule'] + [' & '.join(h) + r' \\' for h in head] + [r'\midrule']
    lines += [' & '.join(r) + r' \\' for r in rows]
    if foot:
        lines += [r'\midrule'] + [' & '.join(r) + r' \\' for r in foot]
    return lines + [r'\bottomrule', r'\end{tabular}']


def tex_arrow(better):
    return {'higher': r' $\uparrow$', 'lower': r' $\downarrow$'}.get(better, '')


def tex_methods(group, analyses):
    lines, names = [], list(analyses)
    for start in range(0, len(names), COLUMNS):
        some = names[start:start + COLUMNS]
        head = [['method'] + [tex(column_label(group.figures[n])) + tex_arrow(group.figures[n].better) for n in some]]
        rows = [[tex(row_label(e))] + [tex_cell(analyses[n].summaries[i], group.figures[n], places_of(analyses[n]),
                                                analyses[n].bold and analyses[n].best == i) for n in some]
                for i, e in enumerate(group.entries)]
        foot = [['$n$'] + [count_text([s.n for s in analyses[n].summaries]).replace('-', '--') for n in some]]
        lines += [f'% {group.name}'] + tabular('l' + 'c' * len(some), head, rows, foot) + ['']
    return lines


def tex_pairs(group, name, analysis):
    places = places_of(analysis)
    rows = []
    for p in analysis.pairs:
        difference = tex_number(cell_of_pair(p, places)).replace('[', r'{\scriptsize [').replace(']', ']}')
        p_holm = '$<$ 0.0001' if p_text(p.p_holm).startswith('<') else tex_number(p_text(p.p_holm))
        rows.append([f'{tex(group.entries[p.a].label)} $-$ {tex(group.entries[p.b].label)}', str(p.n),
                     difference if p.n else '--', p_holm.replace('-', '--') if p_holm == '-' else p_holm,
                     number(p.wins).replace('-', '--')])
    figure = group.figures[name]
    return [f'% {group.name}: {figure.label}, {arrow(figure.better) or "no better side"}'] + tabular(
        'lrccc', [['difference', '$n$', 'mean', '$p$ (Holm)', 'win rate']], rows) + ['']


def tex_models(name, found):
    """A figure of all methods (rows) in all groups (columns)."""
    labels = list(dict.fromkeys(e.label for group, _ in found for e in group.entries))
    rows = []
    for label in labels:
        row = [tex(label)]
        for group, analyses in found:
            at = [i for i, e in enumerate(group.entries) if e.label == label]
            a = analyses.get(name)
            row.append('--' if not at or a is None else
                       tex_cell(a.summaries[at[0]], group.figures[name], places_of(a), a.bold and a.best == at[0]))
        rows.append(row)
    figure = next(group.figures[name] for group, analyses in found if name in analyses)
    return [f'% {column_label(figure)}, {arrow(figure.better)}'] + tabular(
        'l' + 'c' * len(found), [['method'] + [tex(group.name) for group, _ in found]], rows) + ['']


def file_name(*parts):
    return '_'.join(re.sub(r'[^A-Za-z0-9.-]+', '_', p).strip('_') for p in parts)


def write(folder, found):
    """Everything into a folder; returns the paths."""
    os.makedirs(folder, exist_ok=True)
    written = []

    def path(name):
        written.append(os.path.join(folder, name))
        return written[-1]

    def write_tex(name, lines):
        with open(path(name), 'w', encoding='utf-8') as f:
            f.write('% needs \\usepackage{booktabs}; mean [95 % bootstrap interval]; bold: best, and significantly better than the '
                    'next best\n' + '\n'.join(lines))

    write_csv(path('figures.csv'), FIGURE_COLUMNS, [row for g, a in found for row in figure_rows(g, a)])
    write_csv(path('pairs.csv'), PAIR_COLUMNS, [row for g, a in found for row in pair_rows(g, a)])
    for group, analyses in found:
        write_tex(file_name('methods', group.name) + '.tex', tex_methods(group, analyses))
        if len(group.entries) > 1:
            write_tex(file_name('pairs', group.name) + '.tex',
                      [line for name, a in analyses.items() for line in tex_pairs(group, name, a)])
    if len(found) > 1:
        names = list(dict.fromkeys(n for _, analyses in found for n in analyses))
        write_tex('models.tex', [line for name in names for line in tex_models(name, found)])
    return written


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('results', nargs='+')
    p.add_argument('-o', '--output', metavar='FOLDER', help='write CSV and LaTeX instead of printing')
    p.add_argument('--figures', metavar='A,B', help='metrics or figures, as deletion or deletion/auc (default: the main ones)')
    p.add_argument('--all', action='store_true', help='all figures, also diagnostics')
    p.add_argument('--resamples', type=int, default=stats.RESAMPLES, help='of the bootstrap (%(default)s)')
    a = p.parse_args()
    if a.resamples < 1:
        p.error('--resamples: expected at least 1')
    names = a.figures.split(',') if a.figures else None
    groups = results.groups(results.open_all(a.results))
    for name in names or []:
        if not any(name == f or name == f.partition('/')[0] for g in groups for f in g.figures):
            known = ', '.join(dict.fromkeys(f for g in groups for f in g.figures))
            raise results.ResultsError(f'--figures: no file has {name}: they have {known}')
    found = [(g, analyse(g, chosen(g, names, a.all), a.resamples)) for g in groups]
    if a.output:
        for path in write(a.output, found):
            print(path)
        return 0
    for group, analyses in found:
        if analyses:
            print_group(group, analyses)
        else:
            print(f'{group.name}: no figure has a value yet')
    return 0


if __name__ == '__main__':
    results.run_script(main)
