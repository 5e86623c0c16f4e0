#!/usr/bin/env python3
"""
Figures of results files as PDF and PNG, in one style: colours that colour-blind readers tell apart, lines that differ by
dashes and markers too, so that they can be read in grey. What the files have decides which are drawn:

    curves         mean of the deletion and insertion curves of every method, with 95 % bands (pointwise)
    localisation   GridPG, EnergyPG, pointing game: means with 95 % intervals, the chance level dashed
    figures        the other figures likewise, a file per metric
    ablation       maps of one image side by side: gradient, effective, + equivariant, + low-pass, DAVE
    effect         a figure against a parameter (alpha, K) that entries of one method differ in
    grid           maps of one image enlarged, and the figures of the grid artifact

    analysis/figures.py vits16.h5 vitb16.h5 -o figures/
"""
import argparse
import os
import sys

import measures
import packages
import results
import stats
import strips
import tables

np = results.np
matplotlib = packages.need('matplotlib')
matplotlib.use('Agg')
plt = packages.need('matplotlib.pyplot')

KINDS = ('curves', 'localisation', 'figures', 'ablation', 'effect', 'grid')
LOCALISATION = ('gridpg', 'energypg', 'pointing_game')

# Okabe and Ito's colours without their yellow, which is too light for lines
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#56B4E9', '#E69F00', '#000000')
DASHES = ('-', (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = 'os^DvPX<>*'
CONTROL = {'color': '#777777', 'linestyle': (0, (2, 2)), 'marker': 'x'}
STYLE = {
    'figure.dpi': 100, 'savefig.dpi': 300, 'savefig.bbox': 'tight', 'savefig.pad_inches': .03, 'pdf.fonttype': 42,
    'font.size': 8, 'axes.titlesize': 8, 'axes.labelsize': 8, 'xtick.labelsize': 7, 'ytick.labelsize': 7,
    'legend.fontsize': 7, 'legend.handlelength': 3, 'legend.frameon': False, 'lines.linewidth': 1.2, 'lines.markersize': 3.5,
    'axes.spines.top': False, 'axes.spines.right': False, 'axes.linewidth': .6, 'axes.grid': True, 'grid.color': '#dddddd',
    'grid.linewidth': .4, 'axes.axisbelow': True, 'xtick.major.width': .6, 'ytick.major.width': .6,
    'figure.constrained_layout.use': True}
PANEL = (2.3, 1.9)  # inches
SIZES = PANEL, (3.4, 2.5), (4.6, 3.4)  # of curves: one step larger where there is but one, and for more than MANY methods
MANY = 6


def styles(groups):
    """label -> colour, dashes and marker: one method looks the same in all figures."""
    found, count = {}, 0
    for group in groups:
        for e in group.entries:
            if e.label in found:
                continue
            if e.is_control:
                found[e.label] = CONTROL
            else:
                found[e.label] = {'color': COLOURS[count % len(COLOURS)], 'linestyle': DASHES[count % len(DASHES)],
                                  'marker': MARKERS[count % len(MARKERS)]}
                count += 1
    return found


def panels(count, columns=3, size=PANEL, **more):
    """A figure and its axes, as a flat list; what is left over is invisible."""
    columns = min(columns, count)
    rows = -(-count // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(size[0] * columns, size[1] * rows), squeeze=False, **more)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return fig, list(axes.flat[:count])


class Output:
    """Where figures go; remembers what was written."""

    def __init__(self, folder, formats, dpi):
        self.folder, self.formats, self.dpi, self.written = folder, formats, dpi, []
        os.makedirs(folder, exist_ok=True)

    def save(self, fig, name):
        for f in self.formats:
            path = os.path.join(self.folder, f'{name}.{f}')
            # the same data give the same bytes
            metadata = {'CreationDate': None} if f == 'pdf' else {}
            fig.savefig(path, dpi=self.dpi, metadata=metadata)
            self.written.append(path)
            print(path, flush=True)
        plt.close(fig)


def legend_below(fig, axes):
    handles = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    if handles:
        fig.legend(handles.values(), handles.keys(), loc='upper center', bbox_to_anchor=(.5, 0),
                   ncol=2 if fig.get_figwidth() < 4 else 4)


# ---------------------------------------------------------------- curves

def curve_metrics(group):
    found = {}
    for e in group.entries:
        for name, metric in e.method.metrics.items():
            if metric.has_curve:
                found.setdefault(name, metric)
    return found


def draw_curve(ax, group, name, metric, look, watch):
    drawn = 0
    for e in group.entries:
        own = e.method.metrics.get(name)
        if own is None or not own.has_curve:
            continue
        fraction, curves = e.results.curve(e.method.name, name)
        mean, low, high = stats.band(curves)
        watch.step(1)
        if not np.isfinite(mean).any():
            continue
        s = look[e.label]
        ax.fill_between(fraction, low, high, color=s['color'], alpha=.2 if len(group.entries) <= MANY else .1, linewidth=0)
        every = max(1, len(fraction) // 8)
        ax.plot(fraction, mean, label=tables.row_label(e), markevery=(drawn % every, every), **s)
        drawn += 1
    x, y = measures.axes(metric.kind, metric.parameters)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_xlim(left=0)


def draw_curves(groups, look, out):
    names = {}
    for g in groups:
        for name, metric in curve_metrics(g).items():
            names.setdefault(name, metric)
    total = sum(name in e.method.metrics for g in groups for name in names for e in g.entries)
    with results.Progress('curves', total) as watch:
        for name, metric in names.items():
            have = [g for g in groups if name in curve_metrics(g)]
            size = 1 + (len(have) == 1) - (max(len(g.entries) for g in have) <= MANY)
            fig, axes = panels(len(have), size=SIZES[size], sharey=True)
            for ax, g in zip(axes, have):
                draw_curve(ax, g, name, metric, look, watch)
                ax.set_title(g.name)
            order = {'least': 'least important first', 'most': 'most important first'}.get(metric.parameters.get('order'), '')
            fig.suptitle(f'{name.replace("_", " ")}: {order}' if order else name, fontsize=8)
            legend_below(fig, axes)
            if any(ax.lines for ax in axes):
                out.save(fig, tables.file_name('curves', name))
            else:
                plt.close(fig)


# ---------------------------------------------------------------- means with intervals

def draw_dots(ax, group, name, analysis, look):
    """Means with intervals, a line per method; the chance level dashed."""
    shown = [i for i, s in enumerate(analysis.summaries) if s.n]
    for at, i in enumerate(shown):
        e, s = group.entries[i], analysis.summaries[i]
        c = look[e.label]
        mean, low, high = tables.shown(s, group.figures[name])
        ax.errorbar(mean, at, xerr=[[mean - low], [high - mean]], color=c['color'], marker=c['marker'], capsize=2,
                    linestyle='none', elinewidth=1)
        if e.is_control:
            ax.axvline(mean, color=CONTROL['color'], linestyle=CONTROL['linestyle'], linewidth=.8)
    ax.set_yticks(range(len(shown)), [tables.row_label(group.entries[i]) for i in shown])
    for at, i in enumerate(shown):
        if analysis.bold and analysis.best == i:
            ax.get_yticklabels()[at].set_fontweight('bold')
    ax.set_ylim(len(shown) - .5, -.5)
    arrow = {'higher': ' →', 'lower': ' ←'}.get(analysis.better, '')
    ax.set_xlabel(tables.column_label(group.figures[name]) + arrow)
    ax.grid(axis='y', visible=False)


def draw_figures(found, look, out, title, names):
    """A file: rows are figures, columns are groups."""
    having = [(g, a) for g, a in found if any(n in a for n in names)]
    cells = [(n, g, a.get(n)) for n in names for g, a in having if len(having) > 1 or n in a]
    if not cells:
        return
    columns = len(having) if len(having) > 1 else min(3, len(cells))
    height = .5 + .17 * max(len(g.entries) for _, g, _ in cells)
    fig, axes = panels(len(cells), columns, (2.9, height))
    for ax, (n, g, a) in zip(axes, cells):
        if a is None:
            ax.set_visible(False)
            continue
        draw_dots(ax, g, n, a, look)
        if len(having) > 1:
            ax.set_title(g.name)
    out.save(fig, title)


# ---------------------------------------------------------------- a figure against a parameter

def series(groups):
    """(kind, parameter) -> {(group name, what else differs): [(value, entry)]} where entries of one kind of method differ in
    one numeric parameter alone."""
    found = {}
    for g in groups:
        kinds = {}
        for e in g.entries:
            kinds.setdefault(e.method.kind, []).append(e)
        for kind, entries in kinds.items():
            numeric = {k for e in entries for k, v in e.method.parameters.items()
                       if isinstance(v, (int, float)) and not isinstance(v, bool)}
            for p in sorted(numeric):
                lines = {}
                for e in entries:
                    if p in e.method.parameters:
                        rest = tuple(sorted((k, str(v)) for k, v in e.method.parameters.items() if k != p))
                        lines.setdefault(rest, []).append((e.method.parameters[p], e))
                for rest, points in lines.items():
                    if len({v for v, _ in points}) > 1:
                        found.setdefault((kind, p), {})[g.name, rest] = sorted(points, key=lambda x: x[0])
    return found


def line_label(key, keys):
    """What tells one line from the others: the group, and parameters that differ."""
    group, rest = key
    several = len({g for g, _ in keys}) > 1
    differing = [f'{k} {v}' for k, v in rest if any((k, v) not in other for _, other in keys)]
    return ', '.join(([group] if several else []) + differing)


def mean_of(entry, name, figure):
    """mean, low, high of a figure as it is reported."""
    values = entry.figure(name)
    if figure.by_class:
        values = stats.class_means(values, entry.results.image('label'))
    (low,), (high,) = stats.interval(stats.bootstrap_means(values[None]))
    return stats.finite_mean(values[None])[0], low, high


def draw_effects(groups, out, names):
    for (kind, parameter), lines in series(groups).items():
        wanted = [n for n in names if any(np.isfinite(e.figure(n)).any() for points in lines.values() for _, e in points)]
        extra = [n for g in groups for n, f in g.figures.items() if not f.kind and f.better]  # the Monte-Carlo error
        wanted += [n for n in dict.fromkeys(extra) if any(
            np.isfinite(e.figure(n)).any() for points in lines.values() for _, e in points)]
        if not wanted:
            continue
        fig, axes = panels(len(wanted))
        figures = {n: f for g in groups for n, f in g.figures.items()}
        for ax, name in zip(axes, wanted):
            for i, (key, points) in enumerate(lines.items()):
                mean, low, high = np.transpose([mean_of(e, name, figures[name]) for _, e in points])
                ax.errorbar([v for v, _ in points], mean, [mean - low, high - mean], capsize=2, elinewidth=.8,
                            color=COLOURS[i % len(COLOURS)], linestyle=DASHES[i % len(DASHES)],
                            marker=MARKERS[i % len(MARKERS)], label=line_label(key, list(lines)) or None)
            ax.set_xlabel({'samples': 'samples K'}.get(parameter, parameter))
            ax.set_ylabel(tables.column_label(figures[name]))
        legend_below(fig, axes)
        out.save(fig, tables.file_name('effect', kind, parameter))


# ---------------------------------------------------------------- the program

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('results', nargs='+')
    p.add_argument('-o', '--output', metavar='FOLDER', required=True)
    p.add_argument('--only', metavar='A,B', help=f'of {", ".join(KINDS)}')
    p.add_argument('--methods', metavar='A,B', help='only these, in this order')
    p.add_argument('--images', metavar='ID,ID', help='for maps: images by their position (default: three that are told well)')
    p.add_argument('--data', metavar='PATH', help='where the images are, if not where the configuration says')
    p.add_argument('--formats', default='pdf,png', help='%(default)s; also svg')
    p.add_argument('--dpi', type=int, default=300, help='%(default)s')
    a = p.parse_args()
    only = a.only.split(',') if a.only else KINDS
    for kind in only:
        if kind not in KINDS:
            p.error(f'--only {kind}: expected some of {", ".join(KINDS)}')
    for f in a.formats.split(','):
        if f not in ('pdf', 'png', 'svg'):
            p.error(f'--formats {f}: expected some of pdf, png, svg')
    groups = results.groups(results.open_all(a.results))
    if a.methods:
        groups = [keep(g, a.methods.split(',')) for g in groups]
    out = Output(a.output, a.formats.split(','), a.dpi)
    plt.rcParams.update(STYLE)
    draw(groups, only, out, a)
    if not out.written:
        print('no figure: the files have nothing yet that these figures show', file=sys.stderr)
    return 0


def keep(group, methods):
    entries = [e for m in methods for e in group.entries if m in (e.label, e.method.name)]
    if not entries:
        raise results.ResultsError(f'--methods: {group.name} has {", ".join(e.label for e in group.entries)}')
    return results.Group(group.name, group.files, tuple(entries))


def draw(groups, only, out, options):
    look = styles(groups)
    if 'curves' in only:
        draw_curves(groups, look, out)
    metrics = {}
    for g in groups:
        for name in tables.chosen(g):
            kind = g.figures[name].kind
            metrics.setdefault('localisation' if kind in LOCALISATION else name.partition('/')[0], []).append(name)
    metrics = {k: list(dict.fromkeys(v)) for k, v in metrics.items()}
    wanted = [n for title, names in metrics.items() for n in names
              if 'figures' in only or ('localisation' in only and title == 'localisation') or (
                  'grid' in only and any(g.figures[n].kind == 'grid_artifact' for g in groups if n in g.figures))]
    found = [(g, tables.analyse(g, [n for n in tables.chosen(g) if n in wanted])) for g in groups] if wanted else []
    for title, names in metrics.items():
        if title == 'localisation' and 'localisation' in only:
            draw_figures(found, look, out, title, names)
        elif title != 'localisation' and 'figures' in only:
            draw_figures(found, look, out, tables.file_name('figures', title), names)
    if 'effect' in only:
        draw_effects(groups, out, list(dict.fromkeys(n for g in groups for n in tables.chosen(g))))
    for g in groups:
        rows = strips.images(g, options.images)
        if 'ablation' in only:
            strips.ablation(plt, g, rows, out, options.data)
        if 'grid' in only:
            strips.grid(plt, g, rows[:1], dict((x.name, y) for x, y in found).get(g.name, {}), look, out, draw_dots)


if __name__ == '__main__':
    results.run_script(main)
