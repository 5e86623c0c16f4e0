"""Annotated objects: boxes of a CSV file, of XML files and masks, in the frame of the preprocessed image."""
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile

import h5py
import numpy as np
from PIL import Image

from support import (CLASSES, DONE, FAILED, SIZE, bad_rows, base_config, changed, difference, main, text_of)

KEPT = 16
NONE, USED, OUTSIDE = 0, 1, 2


# ---------------------------------------------------------------- the definition, once more

def sources(width, height):
    """Column and row of the picture that each column and row of the frame shows: short side to 35, centre crop."""
    short = int(SIZE / .9)
    rw, rh = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    left, top = round((rw - SIZE) / 2), round((rh - SIZE) / 2)
    at = np.arange(SIZE)
    return (np.floor((at + .5 + left) * width / rw).astype(int), np.floor((at + .5 + top) * height / rh).astype(int))


def region_of(mask):
    """A mask of the picture in the frame."""
    columns, rows = sources(mask.shape[1], mask.shape[0])
    return mask[np.ix_(rows, columns)]


def mask_of(boxes, width, height):
    mask = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in boxes:
        mask[max(y1, 0):max(y2, 0), max(x1, 0):max(x2, 0)] = True
    return mask


def bounds(region):
    ys, xs = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return [xs[0], ys[0], xs[-1] + 1, ys[-1] + 1] if len(xs) else None


def expected(masks, whole):
    """state, share and boxes from the masks of every box, and of all of them."""
    region = region_of(whole)
    if not region.any():
        return OUTSIDE if whole.any() else NONE, np.nan, []
    found = [b for b in (bounds(region_of(m)) for m in masks) if b]
    found.sort(key=lambda b: -(b[2] - b[0]) * (b[3] - b[1]))  # stable
    return USED, region.mean(), found[:KEPT]


def check(t, name, path, wanted):
    with h5py.File(path, 'r') as f:
        ids = range(len(wanted))
        state, share, boxes = (f['images/' + n][:] for n in ('region', 'region_share', 'boxes'))
        t.ok(f'{name}: all done', (f['images/status'][:] == DONE).all(), f['images/error'][:])
        t.equal(f'{name}: states', state.tolist(), [w[0] for w in wanted])
        t.ok(f'{name}: shares', np.array_equal(share, np.array([w[1] for w in wanted]), equal_nan=True),
             (share, wanted))
        table = np.full((len(wanted), KEPT, 4), -1)
        for i in ids:
            table[i, :len(wanted[i][2])] = np.array(wanted[i][2]).reshape(-1, 4)
        t.ok(f'{name}: boxes', np.array_equal(boxes, table), [(boxes[i][:3], table[i][:3]) for i in ids
                                                              if (boxes[i] != table[i]).any()])
        row = f['summary/name'][:].tolist().index(b'region_share')
        t.equal(f'{name}: the summary counts the regions', f['summary/n'][row], sum(w[0] == USED for w in wanted))
        types = [(f['images/' + n].dtype, f['images/' + n].shape) for n in ('region', 'region_share', 'boxes')]
        n = len(wanted)
        t.equal(f'{name}: types', types, [(np.dtype('u1'), (n,)), (np.dtype('<f8'), (n,)), (np.dtype('<i4'), (n, KEPT, 4))])
        axes = [f['images/boxes'].dims[i][0].name for i in range(3)]
        t.equal(f'{name}: axes', axes, ['/image', '/box', '/edge'])
    t.equal(f'{name}: checksums', bad_rows(path)[0], [])


# ---------------------------------------------------------------- annotations of the test's images

def annotate(b):
    """{path: [(name, box)]}; the third image has none, the fourth only other classes, the fifth lies outside."""
    rng, found = np.random.default_rng(11), {}
    for i, p in enumerate(b.images):
        with Image.open(b.path('data', p)) as image:
            w, h = image.size
        own, boxes = p.split('/')[0], []
        for k in range(20 if i == 5 else 3):  # too many to be kept; the union may be everything
            x, y = sorted(rng.integers(-5, w + 6, 2).tolist()), sorted(rng.integers(-5, h + 6, 2).tolist())
            boxes.append((own, (x[0], y[0], x[1], y[1])))
        boxes.insert(1, ('class_4', (0, 0, w, h)))
        if i == 3:
            boxes = boxes[1:2]
        if i == 4:  # a corner, which no crop keeps
            boxes = [(own, (0, 0, 1, 1))]
        found[p] = (w, h, boxes if i != 2 else None)
    return found


def wanted_boxes(found, any_class=False):
    wanted = []
    for p, (w, h, boxes) in found.items():
        mine = [box for name, box in boxes or [] if any_class or name == p.split('/')[0]]
        wanted.append(expected([mask_of([box], w, h) for box in mine], mask_of(mine, w, h)))
    return wanted


def stem(p):
    return os.path.splitext(os.path.basename(p))[0]


def write_csv(b, name, found):
    lines = ['ImageId,PredictionString']
    for k, (p, (_, _, boxes)) in enumerate(sorted(found.items(), reverse=True)):
        if boxes is not None:
            text = ' '.join(f'{n} {" ".join(map(str, box))}' for n, box in boxes)
            lines.append(f'"{stem(p)}","{text}"\r' if k % 2 else f'{stem(p)},{text}')
    b.write(name, '\n'.join(lines) + '\nof_no_image,class_0 1 2 3 4\n')


def write_xml(b, folder, found, flat=False):
    for p, (w, h, boxes) in found.items():
        if boxes is None:
            continue
        name = os.path.join(folder, (stem(p) if flat else os.path.splitext(p)[0]) + '.xml')
        os.makedirs(os.path.dirname(b.path(name)), exist_ok=True)
        objects = ''.join(f'<object><name>{n}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>'
                          f'<ymax>{y2}</ymax></bndbox></object>\n' for n, (x1, y1, x2, y2) in boxes)
        b.write(name, f'<annotation>\n<size><width>{w}</width><height>{h}</height><depth>3</depth></size>\n'
                      f'{objects}</annotation>\n')


def write_masks(b, folder, found):
    """Masks of all kinds of PNG; returns what is expected."""
    rng, wanted = np.random.default_rng(12), []
    for i, (p, (w, h, boxes)) in enumerate(found.items()):
        mask = rng.random((h, w)) < .3
        if boxes is None:
            wanted.append((NONE, np.nan, []))
            continue
        if i in (3, 4):
            mask[:] = False
            mask[0, 0] = i == 4
        value = mask.astype(np.uint8)
        if i % 5 == 0:
            image = Image.fromarray(value * 255)
        elif i % 5 == 1:
            image = Image.fromarray(mask)
            assert image.mode == '1'
        elif i % 5 == 2:
            image = Image.fromarray(value, 'P')
            image.putpalette([0, 0, 0, 0, 0, 1])
        elif i % 5 == 3:
            image = Image.fromarray(np.stack([value * 0, value, value * 0], 2))
        else:  # alpha is no colour
            image = Image.fromarray(np.stack([value * 0, value * 0, value, value * 0 + 200], 2))
        name = b.path(folder, os.path.splitext(p)[0] + '.png')
        os.makedirs(os.path.dirname(name), exist_ok=True)
        image.save(name)
        wanted.append(expected([mask], mask))
    return wanted


# ---------------------------------------------------------------- the parts

def kinds(t, b, found):
    """Each kind, over one and over three ranks."""
    write_csv(b, 'boxes.csv', found)
    write_xml(b, 'xml', found)
    write_xml(b, 'flat', found, flat=True)
    masks, boxes = write_masks(b, 'masks', found), wanted_boxes(found)
    t.equal('the test has images of every kind', {w[0] for w in boxes}, {NONE, USED, OUTSIDE})
    t.ok('and one of too many boxes', max(len(w[2]) for w in boxes) == KEPT, [len(w[2]) for w in boxes])
    for name, source, wanted in (('CSV', 'boxes.csv', boxes), ('XML', 'xml', boxes), ('flat XML', 'flat', boxes),
                                 ('masks', 'masks', masks)):
        out = source.replace('.', '_')
        r = b.evaluate('regions.yaml', '-s', f'data.boxes={source}', '-o', out + '.h5')
        if t.ok(f'{name}: exit 0, no warning', r.code == 0 and not r.warnings(), r):
            check(t, name, b.path(out + '.h5'), wanted)
        r = b.evaluate('regions.yaml', '-s', f'data.boxes={source}', '-o', out + '3.h5', ranks=3)
        d = r if r.code else difference(b.path(out + '.h5'), b.path(out + '3.h5'))
        t.ok(f'{name}: the same bytes on three ranks', not d, d)
    names = b''.join(b'class_%d\0' % k for k in range(CLASSES))
    with open(b.path('boxes.csv'), 'rb') as f:
        content = f.read()
    for out, want in ('boxes_csv', content + names), ('xml', names), ('masks', names):
        with h5py.File(b.path(out + '.h5'), 'r') as f:
            t.equal(f'boxes_sha256 of {out}', text_of(f.attrs['boxes_sha256']), hashlib.sha256(want).hexdigest())
    r = b.evaluate('regions.yaml', '-o', 'without.h5')
    with h5py.File(b.path('without.h5'), 'r') as f, h5py.File(b.path('masks.h5'), 'r') as g:
        t.ok('without data.boxes: no fields', not {'region', 'region_share', 'boxes'} & set(f['images']) and
             'box' not in f and text_of(f.attrs['boxes_sha256']) == 'none', list(f['images']))
        t.equal('and the same maps', f['methods/random/map'][:].tobytes(), g['methods/random/map'][:].tobytes())
    r = b.evaluate('regions.yaml', '-s', 'data.boxes=boxes.csv', '--dry-run')
    annotated = sum(w[0] != NONE for w in boxes)
    t.ok('--dry-run counts them', f'# boxes    of {annotated} images' in r.out, r.out[-900:])


def lists(t, b, found):
    """List files and shards: by names where data.classes has them, else all boxes."""
    b.write('list.txt', ''.join(f'data/{p} {p[6]}\n' for p in b.images))
    b.write('names.txt', ''.join(f'class_{k}\n' for k in range(CLASSES)))
    with tarfile.open(b.path('shard.tar'), 'w', format=tarfile.USTAR_FORMAT) as tar:
        for p in b.images:
            b.write('cls', p[6])
            tar.add(b.path('data', p), stem(p) + '.' + p.rpartition('.')[2].lower())
            tar.add(b.path('cls'), stem(p) + '.cls')
    flat = {'shard.tar': 'flat', 'list.txt': 'listed'}
    write_xml(b, 'listed/data', found)
    for data, folder in flat.items():
        for source in 'boxes.csv', folder:
            for names in '', 'names.txt':
                name = f'{data}, {source}, {names or "no names"}'
                r = b.evaluate('regions.yaml', '-o', 'list.h5', '--overwrite', '-s', f'data.path={data}', '-s',
                               f'data.boxes={source}', *(['-s', f'data.classes={names}'] if names else []))
                if t.ok(f'{name}: exit 0', r.code == 0, r):
                    check(t, name, b.path('list.h5'), wanted_boxes(found, any_class=not names))
    b.write('few.txt', 'class_0\nclass_1\nclass_2\n')
    for data in flat:
        r = b.evaluate('regions.yaml', '-o', 'few.h5', '-s', f'data.path={data}', '-s', 'data.classes=few.txt')
        t.ok(f'{data}: too few names: refused', r.code == 2 and len(r.errors()) == 1 and 'label 3' in r.err
             and 'few.txt' in r.err and not os.path.exists(b.path('few.h5')), r)
    b.write('other.txt', ''.join(f'n{k}\n' for k in range(CLASSES)))
    r = b.evaluate('regions.yaml', '-o', 'other.h5', '-s', 'data.path=list.txt', '-s', 'data.boxes=boxes.csv', '-s',
                   'data.classes=other.txt', ranks=2)
    t.ok('names that no box has: a warning', r.code == 0 and len(r.warnings()) == 1 and 'no image' in r.err, r)


def damage(t, b, found):
    """A damaged annotation is its image's trouble alone."""
    first, second, third = (os.path.splitext(p)[0] for p in (b.images[0], b.images[6], b.images[7]))
    shutil.copytree(b.path('xml'), b.path('damaged'))
    bomb = '<!DOCTYPE a [<!ENTITY a "ha">' + ''.join(
        f'<!ENTITY {c} "{f"&{d};" * 10}">' for d, c in zip('abcdefgh', 'bcdefghi')) + ']><annotation>&i;</annotation>'
    b.write(f'damaged/{first}.xml', '<annotation>\n<object><name>class_0</name>\n')
    b.write(f'damaged/{second}.xml', bomb)
    os.unlink(b.path(f'damaged/{third}.xml'))
    Image.new('L', (7, 3), 255).save(b.path(f'damaged/{third}.png'))
    r = b.evaluate('regions.yaml', '-s', 'data.boxes=damaged', '-o', 'damaged.h5', ranks=2)
    t.ok('damaged annotations: exit 0', r.code == 0 and not r.errors() and '3 failed' in r.out, r)
    words = {0: f'annotation: {first}.xml:3: not XML', 6: f'annotation: {second}.xml:1: a document type',
             7: f'annotation: {third}.png: of a picture of 7 x 3 pixels'}
    with h5py.File(b.path('damaged.h5'), 'r') as f:
        status, said = f['images/status'][:], [text_of(e) for e in f['images/error'][:]]
        t.equal('exactly those failed', np.flatnonzero(status == FAILED).tolist(), sorted(words))
        for i, w in words.items():
            t.ok(f'the message of image {i}', said[i].startswith(w) and b.folder not in said[i], said[i])
        t.ok('failed rows hold no region', (f['images/boxes'][:][list(words)] == -1).all() and
             np.isnan(f['images/region_share'][:][list(words)]).all() and not f['images/region'][:][list(words)].any(), '')
    shutil.copytree(b.path('xml'), b.path('damaged'), dirs_exist_ok=True)
    os.unlink(b.path(f'damaged/{third}.png'))
    r = b.evaluate('regions.yaml', '-s', 'data.boxes=damaged', '-o', 'damaged.h5', '--resume')
    if t.ok('repaired, they are done', r.code == 0, r):
        check(t, 'repaired', b.path('damaged.h5'), wanted_boxes(found))
    t.equal('verified', b.evaluate('--verify', 'damaged.h5').code, 0)


def refusals(t, b):
    b.write('other.csv', 'ImageId,PredictionString\npicture_00,class_0 1 1 9 9\n')
    for name, word, args in (('another CSV', 'annotations', ['-s', 'data.boxes=other.csv']), ('none', 'annotations', []),
                             ('a folder', 'annotations', ['-s', 'data.boxes=xml'])):
        r = b.evaluate('regions.yaml', '-o', 'boxes_csv.h5', '--resume', *args)
        t.ok(f'--resume with {name}: refused', r.code == 2 and len(r.errors()) == 1 and word in r.err, r)
    shutil.copy(b.path('boxes.csv'), b.path('moved.csv'))
    r = b.evaluate('regions.yaml', '-o', 'boxes_csv.h5', '--resume', '-s', 'data.boxes=moved.csv')
    t.equal('--resume where the CSV has moved', r.code, 0)
    cases = {'head': 'picture_00,class_0 1 1 9 9\n', 'short': 'ImageId,PredictionString\na,n 1 2 3\n',
             'reversed': 'ImageId,PredictionString\nx,\na,n 9 2 3 4\n', 'nan': 'ImageId,PredictionString\na,n nan 2 3 4\n',
             'twice': 'ImageId,PredictionString\na,\na,\n', 'empty': ''}
    words = {'head': ':1: expected the header', 'short': ':2: expected `name', 'reversed': ':3: a reversed box',
             'nan': ':2: x1: expected a number', 'twice': ':3: image "a" is there twice', 'empty': ':1: expected the header'}
    for name, text in cases.items():
        b.write(f'bad_{name}.csv', text)
        r = b.evaluate('regions.yaml', '-s', f'data.boxes=bad_{name}.csv', '-o', 'refused.h5', ranks=2 if name == 'nan' else None)
        t.ok(f'CSV {name}: refused in one line', r.code == 2 and len(r.errors()) == 1 and
             f'bad_{name}.csv' + words[name] in r.err and not os.path.exists(b.path('refused.h5')), r)
    os.mkfifo(b.path('pipe'))
    for name, word in ('none', 'No such file'), ('pipe', 'not a regular file'), ('config.yaml/x', 'Not a directory'):
        r = b.evaluate('regions.yaml', '-s', f'data.boxes={name}', '-o', 'refused.h5', timeout=30)
        t.ok(f'data.boxes={name}: refused in one line', r.code == 2 and len(r.errors()) == 1 and word in r.err and
             not os.path.exists(b.path('refused.h5')), r)
    os.mkdir(b.path('bare'))
    r = b.evaluate('regions.yaml', '-s', 'data.boxes=bare', '-o', 'bare.h5')
    t.ok('an empty folder: a warning', r.code == 0 and len(r.warnings()) == 1 and 'no image' in r.err, r)


def demo(t, b):
    """The demo's scenes come with both: its box is the one around the mask, whatever the resize."""
    demo_folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../configs/demo')
    subprocess.run([sys.executable, '-B', os.path.join(demo_folder, 'scenes.py'), '--seed', '7', '--count', '20', '--out',
                    b.path('scenes')], check=True)
    b.write('demo.yaml', changed(base_config(), model={'path': os.path.join(demo_folder, 'model')}, metrics=[],
                                 data={'path': 'scenes/val'}, methods=['random'], store={'maps': 'none'}))
    share, boxes = {}, {}
    for source in 'boxes.csv', 'masks':
        r = b.evaluate('demo.yaml', '-s', f'data.boxes=scenes/{source}', '-o', source + '.demo.h5')
        t.ok(f'demo, {source}: exit 0, no warning', r.code == 0 and not r.warnings(), r)
        with h5py.File(b.path(source + '.demo.h5'), 'r') as f:
            share[source], boxes[source] = f['images/region_share'][:], f['images/boxes'][:]
    t.equal('demo: the box is the one around the mask', boxes['boxes.csv'].tolist(), boxes['masks'].tolist())
    ratio = share['masks'] / share['boxes.csv']
    t.ok('demo: the mask fills a part of it', ((ratio > .25) & (ratio < 1)).all(), ratio)


def body(t, b):
    b.write('regions.yaml', changed(base_config(), methods=['random'], metrics=[]))
    found = annotate(b)
    kinds(t, b, found)
    lists(t, b, found)
    damage(t, b, found)
    refusals(t, b)
    demo(t, b)


main(body)
