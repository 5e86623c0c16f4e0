"""
analysis/figures.py: what is drawn is what the raw files hold (lines, bands, intervals, pixels of maps are read back from
matplotlib), the style, and the files.
"""
import os
import re

import h5py
import numpy as np
from PIL import Image

import plain
from make_results import METRICS, make

plain.use_analysis()
import figures  # noqa: E402
import results  # noqa: E402
import stats  # noqa: E402
import strips  # noqa: E402
import tables  # noqa: E402
from support import main  # noqa: E402

METHODS = {'gradient': {}, 'effective': {}, 'effective_equivariant': {}, 'effective_smooth': {},
           'dave': {'samples': 50, 'alpha': .3}, 'dave_a1': {'method': 'dave', 'samples': 50, 'alpha': .1},
           'dave_a7': {'method': 'dave', 'samples': 50, 'alpha': .7}, 'dave_k10': {'method': 'dave', 'samples': 10, 'alpha': .3},
           'random': {}}


class Kept:
    """Takes the place of figures.Output: keeps the figures instead of writing them."""

    def __init__(self):
        self.figures = {}

    def save(self, fig, name):
        fig.canvas.draw()
        self.figures[name] = fig


def raw(path, name):
    with h5py.File(path, 'r', locking=False) as f:
        return f[name][:]


def curves(t, path, groups, look):
    kept = Kept()
    figures.draw_curves(groups, look, kept)
    t.equal('curves drawn', sorted(kept.figures), ['curves_deletion', 'curves_deletion_dave', 'curves_insertion'])
    done = raw(path, 'images/status') == 1
    for metric in 'deletion', 'insertion', 'deletion_dave':
        ax = kept.figures['curves_' + metric].axes[0]
        lines = {line.get_label(): line for line in ax.lines}
        t.equal(f'{metric}: a line for every method', sorted(lines),
                sorted([m for m in METHODS if m != 'random'] + ['random (chance)']))
        bands = [c.get_paths()[0].vertices for c in ax.collections]
        t.equal(f'{metric}: bands', len(bands), len(METHODS))
        for i, m in enumerate(METHODS):
            c, x = raw(path, f'methods/{m}/{metric}/curve')[done], raw(path, f'methods/{m}/{metric}/fraction')
            c = c[np.isfinite(c).all(1)].astype(float)
            line = lines['random (chance)' if m == 'random' else m]
            t.close(f'{metric}: curve of {m}', line.get_xydata(), np.stack([x, c.mean(0)], 1), 1e-6)
            for k in (0, 7, len(x) - 1):
                at = bands[i][np.isclose(bands[i][:, 0], x[k])][:, 1]
                t.close(f'{metric}: band of {m} at {k}', (at.min(), at.max()), plain.interval(c[:, k], 1000), 1e-6)
    t.ok('areas lie under the drawn curves', all(abs(
        np.trapz(line.get_ydata(), line.get_xdata()) - plain.mean(plain.raw_figure(path, f'{label}/deletion/auc'))) < 1e-6
        for label, line in ((x.get_label(), x) for x in kept.figures['curves_deletion'].axes[0].lines) if label in METHODS))
    t.equal('words', (kept.figures['curves_deletion_dave']._suptitle.get_text(), kept.figures['curves_deletion'].axes[0].get_ylabel()),
            ('deletion dave: least important first', 'probability'))


def shown(path, method, name):
    """What the mean of a figure is taken over: images, or classes."""
    v = plain.raw_figure(path, f'{method}/{name}')
    return plain.class_means(v, raw(path, 'images/label')) if name == 'pointing_game/hit' else v


def dots(t, path, groups, look):
    kept = Kept()
    found = [(g, tables.analyse(g, tables.chosen(g))) for g in groups]
    figures.draw_figures(found, look, kept, 'localisation', ['gridpg/score', 'energypg/energy', 'pointing_game/hit'])
    fig = kept.figures['localisation']
    axes = [ax for ax in fig.axes if ax.get_visible()]
    t.equal('localisation: panels', [ax.get_xlabel() for ax in axes], ['GridPG →', 'EnergyPG →', 'pointing game (classes) →'])
    for ax, name in zip(axes, ('gridpg/score', 'energypg/energy', 'pointing_game/hit')):
        t.equal(f'{name}: names', [x.get_text().split(' ')[0] for x in ax.get_yticklabels()], list(METHODS))
        for i, m in enumerate(METHODS):
            container = ax.containers[i]
            v = shown(path, m, name)
            line, _, (bar,) = container.lines
            low, high = bar.get_segments()[0][:, 0]
            t.close(f'{name}: {m}', (line.get_xdata()[0], low, high), (plain.mean(v), *plain.interval(v)), 1e-9)
        chance = [x for x in ax.lines if len(x.get_xdata()) == 2 and x.get_xdata()[0] == x.get_xdata()[1]
                  and list(x.get_ydata()) == [0, 1]]
        t.close(f'{name}: chance', [x.get_xdata()[0] for x in chance], [plain.mean(shown(path, 'random', name))], 1e-9)
        bold = [x.get_text() for x in ax.get_yticklabels() if x.get_fontweight() == 'bold']
        a = found[0][1][name]
        t.equal(f'{name}: bold', bold, [list(METHODS)[a.best]] if a.bold else [])


def effects(t, path, groups):
    lines = figures.series(groups)
    t.equal('what differs', sorted(lines), [('dave', 'alpha'), ('dave', 'samples')])
    ((_, points),) = lines['dave', 'alpha'].items()
    t.equal('alpha', [(v, e.label) for v, e in points], [(.1, 'dave_a1'), (.3, 'dave'), (.7, 'dave_a7')])
    kept = Kept()
    figures.draw_effects(groups, kept, ['deletion/auc', 'pointing_game/hit'])
    t.equal('effects drawn', sorted(kept.figures), ['effect_dave_alpha', 'effect_dave_samples'])
    axes = [ax for ax in kept.figures['effect_dave_alpha'].axes if ax.get_visible()]
    t.equal('effects: figures', [ax.get_ylabel() for ax in axes],
            ['deletion AUC', 'pointing game (classes)', 'Monte-Carlo error'])
    for ax, name in zip(axes, ('deletion/auc', 'pointing_game/hit', 'mc_error')):
        line, _, (bar,) = ax.containers[0].lines
        values = [shown(path, m, name) for m in ('dave_a1', 'dave', 'dave_a7')]
        t.close(f'effect on {name}', line.get_xydata(), list(zip((.1, .3, .7), map(plain.mean, values))), 1e-9)
        t.close(f'intervals of {name}', [s[:, 1] for s in bar.get_segments()], [plain.interval(v) for v in values], 1e-9)


def maps(t, path, groups, look):
    kept, group = Kept(), groups[0]
    rows = strips.images(group, '3,11')
    t.equal('images by number', rows, [3, 11])
    strips.ablation(figures.plt, group, rows, kept, None)
    fig = kept.figures['ablation_vit_made_up']
    grid = np.array([ax for ax in fig.axes if ax.images and ax.get_label() != '<colorbar>']).reshape(2, 6)
    t.equal('titles', [ax.get_title() for ax in grid[0]], ['image', 'gradient', 'effective', '+ equivariant', '+ low-pass', 'DAVE'])
    for line, row in zip(grid, rows):
        t.ok(f'picture {row}', np.array_equal(line[0].images[0].get_array(), group.files[0].picture(row)))
        for ax, m in zip(line[1:], ('gradient', 'effective', 'effective_equivariant', 'effective_smooth', 'dave')):
            values = raw(path, f'methods/{m}/map')[row].astype(float)
            t.close(f'map of {m}, image {row}', ax.images[0].get_array(), values / np.percentile(np.abs(values), 99.5), 1e-6)
    automatic = strips.images(group, None)
    f = {k: raw(path, 'images/' + k) for k in ('label', 'prediction', 'probability', 'status')}
    right = np.flatnonzero((f['label'] == f['prediction']) & (f['status'] == 1))
    t.equal('the first image of the choice', automatic[0], int(right[np.argmax(f['probability'][right])]))
    t.equal('of different classes', len(set(f['label'][automatic])), 3)
    strips.grid(figures.plt, group, rows[:1], tables.analyse(group, tables.chosen(group)), look, kept, figures.draw_dots)
    fig = kept.figures['grid_vit_made_up']
    first = fig.subfigs[0].axes[0].images[0]
    x0, x1, y1, y0 = (int(v) for v in first.get_extent())
    values = raw(path, 'methods/gradient/map')[3].astype(float)
    t.close('enlarged part', first.get_array(), values[y0:y1, x0:x1] / np.percentile(np.abs(values), 99.5), 1e-6)
    t.ok('holds the maximum, borders on patches', x0 % 8 == 0 and y0 % 8 == 0 and values[y0:y1, x0:x1].max() == values.max())
    for signed, want in ((np.array([[0, 1.]]), 'inferno'), (np.array([[-1., 1]]), 'cividis')):
        t.equal(f'colours {want}', strips.limits([signed])[0], want)
    t.equal('a map of zeros', strips.limits([np.zeros((2, 2))])[1], [1])
    for name in '99', 'x', '39':  # 39 is not done
        try:
            strips.images(group, name)
            t.ok(f'image {name}', False)
        except results.ResultsError as e:
            t.ok(f'image {name}', '--images' in str(e))


def style(t, groups, look):
    t.equal('a look for every method', sorted(look), sorted(METHODS))
    without = [tuple(str(v) for k, v in s.items() if k != 'color') for s in look.values()]
    t.equal('looks differ without colour', len(set(without)), len(look))
    big = [f'm{i}' for i in range(20)]
    many = figures.styles([type('G', (), {'entries': [type('E', (), {'label': m, 'is_control': False}) for m in big]})])
    t.equal('20 methods look different', len({str(v) for v in many.values()}), 20)

    def lightness(colour):
        rgb = np.array([int(colour[i:i + 2], 16) for i in (1, 3, 5)]) / 255
        y = np.where(rgb > .04045, ((rgb + .055) / 1.055) ** 2.4, rgb / 12.92) @ [.2126, .7152, .0722]
        return 116 * np.cbrt(y) - 16
    t.ok('no line is too light for paper', all(lightness(c) < 75 for c in figures.COLOURS), [lightness(c) for c in figures.COLOURS])


def files(t, b, path, other):
    folder = b.path('figures')
    code, out, err = plain.run('figures.py', path, other, '-o', folder, '--only', 'curves,ablation,grid', '--dpi', 80)
    names = {os.path.basename(x) for x in out.split()}
    t.ok('written', code == 0 and 'Traceback' not in err and names == set(os.listdir(folder)), (code, err, names))
    t.ok('both formats', {'curves_deletion.pdf', 'curves_deletion.png', 'ablation_vit_made_up.pdf', 'grid_vit_made_up.png'} <= names, names)
    for name in names:
        full = os.path.join(folder, name)
        with open(full, 'rb') as f:
            head = f.read(5)
        if name.endswith('.png'):
            with Image.open(full) as image:
                pixels = np.asarray(image.convert('L'))
            t.ok(f'{name} shows something', pixels.shape[0] > 80 and pixels.std() > 5, pixels.shape)
        else:
            t.equal(f'{name} is PDF', head, b'%PDF-')
    with open(os.path.join(folder, 'curves_deletion.pdf'), 'rb') as f:
        before = f.read()
    plain.run('figures.py', path, other, '-o', folder, '--only', 'curves', '--formats', 'pdf')
    with open(os.path.join(folder, 'curves_deletion.pdf'), 'rb') as f:
        t.ok('the same bytes again', f.read() == before)
    t.ok('fonts are embedded as outlines that editors take', re.search(rb'/FontFile2|/Type42|TrueType', before))
    nothing = make(b.path('nothing.h5'), images=3, pending=3)
    code, out, err = plain.run('figures.py', nothing, '-o', b.path('none'))
    t.ok('nothing to draw', code == 0 and 'no figure' in err and 'Traceback' not in err, err)
    bare = make(b.path('bare.h5'), images=3, methods={'legrad': {}}, metrics=['entropy'])
    code, out, err = plain.run('figures.py', bare, '-o', b.path('bare'))
    t.ok('one method, one metric, no control', code == 0 and {os.path.basename(x) for x in out.split()} ==
         {'figures_entropy.pdf', 'figures_entropy.png'}, out + err)
    t.ok('a method that is not there', plain.one_line(plain.run('figures.py', path, '-o', folder, '--methods', 'other')))
    t.ok('pictures that are gone', 'left out' in plain.run('figures.py', path, '-o', b.path('gone'), '--only', 'ablation', '--data',
                                                           b.path('nowhere'), '--formats', 'png')[2])


def gaps(t, path, other):
    """What one model lacks is a gap in its column."""
    groups, kept, names = results.groups(results.open_all([other, path])), Kept(), ['deletion/auc', 'insertion/auc']
    found = [(g, tables.analyse(g, [n for n in names if n in g.figures], 100, None)) for g in groups]
    figures.draw_figures(found, figures.styles(groups), kept, 'x', names)
    shown = [(ax.get_visible(), ax.get_title() if ax.get_visible() else '') for ax in kept.figures['x'].axes]
    t.equal('a column for each model', shown, [(True, 'vit_other'), (True, 'vit_made_up'), (False, ''), (True, 'vit_made_up')])


def planted(t, path, groups, look):
    """What is drawn from a changed statistic is not what the file holds."""
    right = stats.band
    stats.band = lambda c: tuple(v * 1.001 for v in right(c))
    kept = Kept()
    try:
        figures.draw_curves(groups, look, kept)
    finally:
        stats.band = right
    line = next(x for x in kept.figures['curves_deletion'].axes[0].lines if x.get_label() == 'dave')
    c = raw(path, 'methods/dave/deletion/curve')[raw(path, 'images/status') == 1].mean(0)
    t.ok('planted: a wrong curve is seen', np.abs(line.get_ydata() - c).max() > 1e-6)


def body(t, b):
    path = make(b.path('many.h5'), images=40, methods=METHODS, metrics=list(METRICS), size=48, failed=1, pending=2, boxes=True,
                pictures=b.path('pictures'))
    other = make(b.path('other.h5'), images=20, metrics=['deletion'], attrs={'architecture': 'vit_other'})
    groups = results.groups(results.open_all([path]))
    figures.plt.rcParams.update(figures.STYLE)
    look = figures.styles(groups)
    style(t, groups, look)
    curves(t, path, groups, look)
    dots(t, path, groups, look)
    effects(t, path, groups)
    maps(t, path, groups, look)
    gaps(t, path, other)
    planted(t, path, groups, look)
    files(t, b, path, other)


main(body)
