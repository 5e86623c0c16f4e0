"""
Figures of maps: methods side by side for some images. One rule of colours for all: a map saturates at the 99.5th percentile of
its magnitudes; where no map of a figure is negative, 0 is black (inferno), else 0 is the middle (cividis). Both grow in
lightness alone, so they can be read in grey.
"""
import sys

import results
import tables

np = results.np

ABLATION = (('gradient', 'gradient'), ('effective', 'effective'), ('effective_equivariant', '+ equivariant'),
            ('effective_smooth', '+ low-pass'), ('dave', 'DAVE'))
MOST = 3  # images that are chosen where none is named
SATURATION = 99.5
TILE = 1.15  # inches
ZOOM = 3  # patches to each side of the maximum, in the figure of the grid


def images(group, names):
    """Rows to show: those named ('3,17'), or MOST done images, predicted rightly and most surely, of different classes."""
    r = group.files[0]
    done = np.logical_and.reduce([f.done for f in group.files])
    if names:
        rows = []
        for name in names.split(','):
            if not name.isdigit() or int(name) >= group.size:
                raise results.ResultsError(f'--images {name}: expected positions from 0 to {group.size - 1}')
            if not done[int(name)]:
                raise results.ResultsError(f'--images {name}: that image is not done in all files')
            rows.append(int(name))
        return rows
    order = np.argsort(-np.where(np.isfinite(r.image('probability')), r.image('probability'), -1), kind='stable')
    right = done & (r.image('prediction') == r.image('label'))
    chosen, classes = [], set()
    for i in [i for i in order if right[i]] + [i for i in order if done[i]]:
        if len(chosen) < MOST and i not in chosen and r.image('label')[i] not in classes:
            chosen.append(int(i))
            classes.add(r.image('label')[i])
    return chosen


def limits(maps):
    """Colour map, and for each map the value at which it saturates."""
    tops = [float(np.percentile(np.abs(m[np.isfinite(m)]), SATURATION)) if np.isfinite(m).any() else 0 for m in maps]
    signed = any(np.nanmin(m, initial=0) < -1e-3 for m in maps)
    return ('cividis' if signed else 'inferno'), [t or 1 for t in tops], signed


def show(ax, values, top, colours, signed):
    return ax.imshow(values / top, cmap=colours, vmin=-1 if signed else 0, vmax=1, interpolation='nearest')


def bare(ax):
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)


def colour_bar(fig, shown, axes, signed):
    bar = fig.colorbar(shown, ax=axes, fraction=.012, pad=.01, ticks=[-1, 0, 1] if signed else [0, 1])
    bar.ax.set_yticklabels((['-', '0', '+'] if signed else ['0', '+']), fontsize=7)
    bar.outline.set_linewidth(.4)


def picture(group, row, data):
    try:
        return group.files[0].picture(row, data)
    except OSError as e:
        print(f'warning: image {row} is left out of the figure: {e}', file=sys.stderr)
        return None


def stages(group):
    """The methods of the ablation that the group has, first entry of each kind: [(title, entry)]."""
    found = []
    for kind, title in ABLATION:
        entry = next((e for e in group.entries if e.method.kind == kind and e.method.has_map), None)
        if entry:
            found.append((title, entry))
    return found


def ablation(plt, group, rows, out, data):
    """Image and maps of the stages, a row per image; nothing where there are less than two stages."""
    columns = stages(group)
    if len(columns) < 2 or not rows:
        return
    pictures = [picture(group, row, data) for row in rows]
    first = int(any(p is not None for p in pictures))
    fig, axes = plt.subplots(len(rows), first + len(columns), squeeze=False,
                             figsize=(TILE * (first + len(columns)) + .3, TILE * len(rows) + .2))
    every = [[e.results.map(e.method.name, row) for _, e in columns] for row in rows]
    colours, _, signed = limits([m for maps in every for m in maps])
    for line, maps, pixels in zip(axes, every, pictures):
        _, tops, _ = limits(maps)
        for ax in line:
            bare(ax)
        if pixels is not None:
            line[0].imshow(pixels)
        for ax, values, top in zip(line[first:], maps, tops):
            shown = show(ax, values, top, colours, signed)
    for ax, title in zip(axes[0][first:], [t for t, _ in columns]):
        ax.set_title(title)
    if first:
        axes[0][0].set_title('image')
    colour_bar(fig, shown, list(axes.flat), signed)
    out.save(fig, tables.file_name('ablation', group.name))


def grid(plt, group, rows, analyses, look, out, draw_dots):
    """Maps of one image, enlarged about the first one's maximum, with the patches' borders ticked; below, the figures of the grid
    artifact. Nothing where there is no such figure."""
    names = [n for n in analyses if group.figures[n].kind == 'grid_artifact']
    entries = [e for e in group.entries if e.method.has_map]
    if not names or not rows or not entries:
        return
    patch = int(group.files[0].model.get('patch_size', 16))
    height, width = group.files[0].frame
    maps = [e.results.map(e.method.name, rows[0]) for e in entries]
    y, x = np.unravel_index(np.argmax(np.nan_to_num(maps[0])), maps[0].shape)
    side = min(2 * ZOOM * patch, height, width)
    top = int(np.clip(y - side // 2, 0, height - side)) // patch * patch
    left = int(np.clip(x - side // 2, 0, width - side)) // patch * patch
    columns = min(6, len(entries))
    lines = -(-len(entries) // columns)
    dots = .5 + .17 * len(entries)
    fig = plt.figure(figsize=(TILE * columns + .3, 1.25 * TILE * lines + dots))
    above, below = fig.subfigures(2, 1, height_ratios=(1.25 * TILE * lines, dots))
    axes = above.subplots(lines, columns, squeeze=False)
    colours, tops, signed = limits(maps)
    for ax in axes.flat:
        bare(ax)
    for ax, e, values, most in zip(axes.flat, entries, maps, tops):
        shown = ax.imshow(values[top:top + side, left:left + side] / most, cmap=colours, vmin=-1 if signed else 0, vmax=1,
                          interpolation='nearest', extent=(left, left + side, top + side, top))
        ax.set_xticks(range(left, left + side + 1, patch), [])
        ax.set_yticks(range(top, top + side + 1, patch), [])
        ax.set_title(tables.row_label(e), fontsize=7)
    colour_bar(above, shown, list(axes.flat), signed)
    for ax, name in zip(below.subplots(1, len(names), squeeze=False)[0], names):
        draw_dots(ax, group, name, analyses[name], look)
    out.save(fig, tables.file_name('grid', group.name))
