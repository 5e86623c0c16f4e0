"""
The report's images: which are shown, how much the maps of an image disagree, and the files that the page loads when it needs
them: data/<model>/images.js (columns of figures, all images), thumbs/<chunk>.js and full/<image>.js (pictures and maps).
"""
import base64
import io
import json
import os

import colours
import packages
import results as schema

np = packages.need('numpy')
PIL = packages.need('PIL.Image')

CHUNK = 24  # images a file of thumbnails
THUMB = 112  # pixels of their longer side, at most about
CELLS = 32  # maps are compared on a grid of about so many cells a side
COMPARED = 10000  # images whose maps are compared, at most
TOP = 99.5  # percentile of |map| that has the colour of the end of the scale
BLOCK = 64  # images read at a time


def script(path, name, value):
    """A data file: what the page gets by R.arrive(name, value)."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='ascii') as f:
        f.write(f'R.arrive({json.dumps(name)},{json.dumps(value, separators=(",", ":"), allow_nan=False)});\n')


def numbers(values, dtype):
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode('ascii')


# ---------------------------------------------------------------- how much maps disagree

def pooled(maps):
    """Maps (n, y, x) averaged over square cells, (n, cells): single pixels of a map are mostly noise."""
    n, height, width = maps.shape
    k = max(1, round(max(height, width) / CELLS))
    height, width = height // k * k, width // k * k
    rows = sum(maps[:, i:height:k, :width] for i in range(k))
    return sum(rows[:, :, i::k] for i in range(k)).reshape(n, -1)


def ranks(values):
    """Ranks along the last axis of (n, m), ties getting their mean, less the mean of all."""
    order = np.argsort(values, 1, kind='stable')
    s = np.take_along_axis(values, order, 1)
    n, m = values.shape
    at = np.arange(m, dtype=np.float32)
    new = np.ones((n, m), bool)
    new[:, 1:] = s[:, 1:] != s[:, :-1]
    first = np.maximum.accumulate(np.where(new, at, 0), 1)
    ends = np.ones((n, m), bool)
    ends[:, :-1] = new[:, 1:]
    last = np.minimum.accumulate(np.where(ends, at, m)[:, ::-1], 1)[:, ::-1]
    out = np.empty((n, m), np.float32)
    np.put_along_axis(out, order, (first + last) / 2 - (m - 1) / np.float32(2), 1)
    return out


def disagreement(entries, rows, compared):
    """1 - the mean of the pairs' rank correlations of the pooled maps of each row, over the entries `compared`; and for each
    entry: have its maps negative values?"""
    values, signed = np.full(len(rows), np.nan), [False] * len(entries)
    with schema.Progress('comparing maps', len(rows)) as progress:
        for start in range(0, len(rows), BLOCK):
            block, found = rows[start:start + BLOCK], []
            for j, e in enumerate(entries):
                maps = e.results.maps(e.method.name, block)
                signed[j] |= bool((maps < 0).any())
                if j not in compared:
                    continue
                r = ranks(pooled(np.nan_to_num(maps)))
                norm = np.sqrt((r * r).sum(1, keepdims=True))
                found.append(np.where(norm > 0, r / np.maximum(norm, 1e-30), np.nan))
            pairs = [(a * b).sum(1) for k, a in enumerate(found) for b in found[:k]]
            if pairs:
                values[start:start + len(block)] = 1 - np.mean(pairs, 0)
            progress.step(len(block))
    return values, signed


# ---------------------------------------------------------------- which images are shown

def picks(figures, values):
    """Best, median and worst image of each figure that has a better side, per method: [{figure, method, best, median,
    worst}], each [row, value]. values[figure]: (methods, images)."""
    found = []
    for k, f in enumerate(figures):
        if not f['main'] or not f['direction']:
            continue
        for m, v in enumerate(values[k]):
            finite = np.flatnonzero(np.isfinite(v))
            if not len(finite):
                continue
            order = finite[np.argsort(-f['direction'] * v[finite], kind='stable')]
            best, median, worst = order[0], order[(len(order) - 1) // 2], order[-1]
            found.append({'figure': k, 'method': m, **{name: [int(i), float(v[i])] for name, i in (
                ('best', best), ('median', median), ('worst', worst))}})
    return found


def choose(done, picked, disagreement_of, most, seed):
    """Rows that are shown, sorted: all that are done, or the picks, the most disagreeing (disagreement_of may be None) and a
    random sample up to `most`."""
    rows = np.flatnonzero(done)
    if len(rows) <= most:
        return rows
    wanted = {p[name][0] for p in picked for name in ('best', 'median', 'worst')}
    if disagreement_of is not None:
        finite = np.flatnonzero(np.isfinite(disagreement_of))
        wanted.update(finite[np.argsort(-disagreement_of[finite], kind='stable')][:most // 20].tolist())
    others = np.setdiff1d(rows, sorted(wanted))
    room = min(len(others), max(0, most - len(wanted)))
    wanted.update(np.random.default_rng(seed).choice(others, room, replace=False).tolist())
    return np.array(sorted(wanted), int)


# ---------------------------------------------------------------- pictures and maps as data: addresses

def address(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return f'data:image/{kind.lower()};base64,' + base64.b64encode(out.getvalue()).decode('ascii')


def picture_address(pixels, side=None):
    if pixels is None:
        return None
    image = PIL.fromarray(pixels)
    if side and max(image.size) > side:
        image.thumbnail((side, side))
    return address(image, 'JPEG', quality=82) if side else address(image, 'JPEG', quality=90, subsampling=0)


def map_addresses(values, signed):
    """(full, thumbnail) of a map (y, x). One rule for all maps: the end of the colour scale is the 99.5th percentile of the
    map's magnitudes, the middle (or the dark end) is 0."""
    size = np.abs(values)
    top = np.percentile(size, TOP) or size.max() or 1
    table = colours.DIVERGING if signed else colours.SEQUENTIAL

    def image(v):
        v = v / top
        index = np.rint(127.5 * (1 + np.clip(v, -1, 1)) if signed else 255 * np.clip(v, 0, 1)).astype(np.uint8)
        out = PIL.fromarray(index, 'P')
        out.putpalette(table.tobytes())
        return address(out, 'PNG', compress_level=6)

    k = -(-max(values.shape) // THUMB)
    h, w = values.shape[0] // k * k, values.shape[1] // k * k
    small = values if k == 1 else values[:h, :w].reshape(h // k, k, w // k, k).mean((1, 3))
    full = image(values)
    return full, full if k == 1 else image(small)


class Pictures:
    """The pictures of a group; where they cannot be read that is counted, and the first reason kept."""

    def __init__(self, group, data):
        self._results, self._data = group.files[0], data
        self.read = self.missing = 0
        self.why = ''

    def of(self, row):
        try:
            pixels = self._results.picture(row, self._data)
            self.read += 1
            return pixels
        except OSError as e:
            self.missing += 1
            self.why = self.why or str(e)
            return None


def boxes_of(group, row):
    """Boxes as fractions of the frame."""
    height, width = group.files[0].frame
    holder = next((r for r in group.files if 'images/boxes' in r and r.done[row]), None)
    if holder is None:
        return []
    return (holder.boxes(row) / (width, height, width, height)).round(5).tolist()


def row_curves(curves, rows):
    """[row][curve][method] -> scores of an image, or None where it has none."""
    out = [[[None] * len(c['entries']) for c in curves] for _ in rows]
    for k, c in enumerate(curves):
        for j, e in enumerate(c['entries']):
            if e is None:
                continue
            for i, v in enumerate(e.results.curve(e.method.name, c['metric'], rows)[1]):
                if np.isfinite(v).all():
                    out[i][k][j] = [float(f'{x:.5g}') for x in v]
    return out


def row_maps(entry, signed, rows):
    """(full, thumbnail) of the maps of an entry, (None, None) where there is none."""
    if not entry.method.has_map:
        return [(None, None)] * len(rows)
    maps, done = entry.results.maps(entry.method.name, rows), entry.results.done[rows]
    return [map_addresses(np.nan_to_num(v), signed) if there else (None, None) for v, there in zip(maps, done)]


def write_tiles(folder, name, group, rows, signed, curves, data):
    """Thumbnails in chunks and a file of full size per row; returns Pictures, which says what could be read."""
    found = Pictures(group, data)
    with schema.Progress(f'pictures and maps of {group.name}', len(rows)) as progress:
        for start in range(0, len(rows), CHUNK):
            block, thumbs = rows[start:start + CHUNK], []
            maps = list(zip(*(row_maps(e, s, block) for e, s in zip(group.entries, signed))))
            for row, mine, scores in zip(block.tolist(), maps, row_curves(curves, block)):
                pixels, boxes = found.of(row), boxes_of(group, row)
                here, small = picture_address(pixels), picture_address(pixels, THUMB)
                script(f'{folder}/full/{row}.js', f'{name}/full/{row}',
                       {'picture': here, 'maps': [m[0] for m in mine], 'boxes': boxes, 'curves': scores})
                thumbs.append({'picture': small, 'maps': [m[1] for m in mine], 'boxes': boxes})
                progress.step()
            script(f'{folder}/thumbs/{start // CHUNK}.js', f'{name}/thumbs/{start // CHUNK}', thumbs)
    return found


def write_columns(folder, name, group, columns, figures, values, rows):
    """images.js: what sorting and filtering need of all images. columns: the group's per-image fields."""
    tile = np.full(group.size, -1)
    tile[rows] = np.arange(len(rows))
    missing = [[not np.isfinite(v).any() for v in m] for m in values]
    script(f'{folder}/images.js', f'{name}/images', {
        'path': columns['path'], 'error': columns['error'], 'status': numbers(columns['status'], 'u1'),
        **{k: numbers(columns[k], '<i4') for k in ('label', 'target', 'prediction')}, 'tile': numbers(tile, '<i4'),
        **{k: None if columns[k] is None else numbers(columns[k], '<f4')
           for k in ('confidence', 'probability', 'region_share', 'disagreement')},
        'figures': [[None if gone else numbers(v, '<f4') for v, gone in zip(m, g)] for m, g in zip(values, missing)]})
