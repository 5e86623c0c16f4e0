"""
analysis/report.py: the numbers against independent code (report_numbers.py); the page in Debian's chromium: what it
shows and whether sorting, filtering, the slider and lazy loading work. DAVE_LONG=1: 50,000 images of 96 pixels instead
of 3,000.
"""
import os
import resource
import subprocess
import sys
import time

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, 'tests', 'runs'), os.path.join(ROOT, 'analysis')]
import report_numbers as numbers  # noqa: E402
from browser import Browser, found  # noqa: E402
from make_results import make  # noqa: E402
from support import Result, main  # noqa: E402

HOSTILE = '<img src=x onerror="document.title=1">'
SORT = 'const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event("change"))'
TYPE = 'const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event("input"))'
ROWS = 'return [...document.querySelectorAll(".card")].map((c) => Number(c.dataset.row))'


def report(*args, env=None):
    p = subprocess.run([sys.executable, '-B', os.path.join(ROOT, 'analysis', 'report.py'), *map(str, args)],
                       capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=900)
    return Result(p.returncode, p.stdout, p.stderr)


def refused(t, name, words, *args, env=None):
    r = report(*args, env=env)
    t.ok(f'{name}: exit status', r.code in (1, 2), r)
    t.ok(f'{name}: one line', len(r.err.splitlines()) == 1 and r.errors(), r)
    t.ok(f'{name}: it says {words}', all(w in r.err for w in words), r)


# ---------------------------------------------------------------- without a browser

def demo(t, build):
    """The report as `make report` writes it after `make demo`."""
    h5 = os.path.join(build, 'demo', 'demo.h5')
    if not os.path.exists(h5):
        subprocess.run([os.path.join(ROOT, 'configs', 'demo', 'run.sh'), build], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, 'PYTHON': sys.executable})
    started = time.monotonic()
    made = subprocess.run(['make', '--no-print-directory', '-C', ROOT, 'report', f'BUILD={os.path.abspath(build)}',
                           f'PYTHON={sys.executable}'], capture_output=True, text=True)
    seconds = time.monotonic() - started
    t.ok('make report', made.returncode == 0, made.stderr)
    print(f'   make report took {seconds:.1f} s')
    t.ok('in less than a minute', seconds < 60, seconds)
    folder, raw = os.path.join(build, 'demo', 'report'), numbers.Raw(h5)
    core = numbers.core_of(folder)
    check_numbers(t, folder, core, raw, 'demo', 32)
    return folder, core, raw


def check_numbers(t, folder, core, raw, name, cells):
    import colours  # the tables that the page shows as colour bars; what they look like is no number

    model, done = core['models'][0], np.flatnonzero(raw.done)
    numbers.check_table(t, raw, model, name)
    numbers.check_pairs(t, raw, model, name)
    numbers.check_best(t, model, name)
    numbers.check_curves(t, raw, model, name)
    numbers.check_columns(t, raw, folder, model, name)
    numbers.check_picks(t, raw, model, name)
    numbers.check_maps(t, raw, folder, model, name, done[[0, -1]],
                       {False: colours.SEQUENTIAL, True: colours.DIVERGING, None: None})
    numbers.check_disagreement(t, raw, folder, model, name, done[[1, -2]], cells)


def alike(t, b):
    """Methods that hardly differ, so that Holm's order counts; ties in figures and in maps; failed, pending images."""
    make(b.path('alike.h5'), 60, {'dave': {}, 'gradient': {}, 'legrad': {}, 'random': {}},
         ('deletion', 'insertion', 'gridpg', 'pointing_game'),
         effect={'dave': .5, 'gradient': .5, 'legrad': .52, 'random': .48}, pending=4, failed=3)
    with h5py.File(b.path('alike.h5'), 'r+') as f:
        for method in 'dave', 'legrad':
            maps = f[f'methods/{method}/map'][:]
            f[f'methods/{method}/map'][...] = np.where(maps < .3, 0, maps)
    r = report(b.path('alike.h5'), '-o', b.path('alike'))
    t.ok('alike: exit 0', r.code == 0 and not r.errors(), r)
    check_numbers(t, b.path('alike'), numbers.core_of(b.path('alike')), numbers.Raw(b.path('alike.h5')), 'alike', 32)


def check_pictures(t, folder, core, raw):
    """Pictures of the demo's scenes, which need no resizing: JPEGs of the files themselves."""
    import base64
    import io

    from PIL import Image

    model = core['models'][0]
    root = os.path.join(os.path.dirname(folder), 'scenes', 'val')
    for row in 0, 40:
        full = numbers.arrived(os.path.join(folder, 'data', model['id'], 'full', f'{row}.js'))
        shown = Image.open(io.BytesIO(base64.b64decode(full['picture'].partition(',')[2]))).convert('RGB')
        with Image.open(os.path.join(root, raw.file['images/path'][row].decode())) as image:
            want = np.asarray(image.convert('RGB'), float)
        t.ok(f'picture {row}', np.abs(np.asarray(shown, float) - want).mean() < 6, 'another picture')


def several(t, b):
    """Two files of one model and one of another; an unfinished run, failed images, boxes; hostile names."""
    pictures = b.path('pictures')
    make(b.path('a.h5'), 90, {'dave': {'samples': 50, 'alpha': .3}, 'gradient': {}, 'random': {}},
         ('deletion', 'insertion', 'gridpg', 'deletion_dave'),
         size=64, pending=5, failed=4, boxes=True, pictures=pictures)
    make(b.path('b.h5'), 90, {'dave': {'samples': 50, 'alpha': .5}}, size=64, seed=2, boxes=True, pictures=pictures)
    make(b.path('c.h5'), 40, {'legrad': {}, 'random': {}}, size=32,
         attrs={'architecture': 'vit_other', 'checkpoint_sha256': 'd' * 64})
    for name in 'a.h5', 'b.h5':
        with h5py.File(b.path(name), 'r+') as f:
            paths = f['images/path'][:].astype('S80')
            paths[7] = HOSTILE.encode()
            attrs = dict(f['images/path'].attrs)
            del f['images/path']
            f['images/path'] = paths
            f['images/path'].attrs['description'] = attrs['description']
            f['images/error'][81] = HOSTILE.encode()
    r = report(b.path('a.h5'), b.path('b.h5'), b.path('c.h5'), '-o', b.path('several'), '--images', 50)
    t.ok('three files: exit 0', r.code == 0 and not r.errors(), r)
    core = numbers.core_of(b.path('several'))
    first, second = core['models']
    t.ok('unfinished: said', any('the run is not over: 81 of 90' in n for n in core['notices']), core['notices'])
    t.ok('no pictures: said', any('40 of 40 pictures' in n and '--data' in n for n in core['notices']), core['notices'])
    t.equal('methods', [m['label'] for m in first['methods']], ['dave (a)', 'gradient', 'random', 'dave (b)'])
    t.equal('done, failed, pending of the file',
            [core['files'][0][k] for k in ('images', 'done', 'failed', 'pending')], [90, 81, 4, 5])
    differing = {d['key']: d['values'] for d in core['differences']}
    t.equal('difference: alpha', differing.get('methods.dave.alpha'), ['0.3', '0.5', None])
    t.ok('difference: weights', 'checkpoint_sha256' in differing and 'methods.gradient.name' not in differing,
         differing)
    raw = numbers.Raw(b.path('a.h5'))
    left_out = np.isnan(raw.figure('dave', 'deletion_dave', 'auc'))[raw.done].sum()
    k = next(i for i, f in enumerate(first['figures']) if (f['metric'], f['figure']) == ('deletion_dave', 'auc'))
    t.ok('images left out by a protocol', 0 < left_out == first['methods'][0]['filtered'][k],
         (left_out, first['methods'][0]['filtered']))
    t.equal('least important first: higher is better', first['figures'][k]['direction'], 1)
    t.equal('failures', [(f['image'], f['error']) for f in first['failures']],
            [(81, HOSTILE)] + [(i, 'cannot decode: premature end') for i in (82, 83, 84)])
    t.ok('a sample, and that is said', first['sampled'] and 'The maps of' in first['shown']
         and 'by chance (seed 1)' in first['shown'], first['shown'])
    tile = numbers.floats(numbers.arrived(b.path('several', 'data', 'm0', 'images.js'))['tile'], '<i4')
    t.ok('of about fifty images', 50 <= (tile >= 0).sum() < 70, (tile >= 0).sum())
    picked = {p[w][0] for p in first['picks'] for w in ('best', 'median', 'worst')}
    t.ok('the picks are in it', all(tile[row] >= 0 for row in picked), picked)
    row = int(np.flatnonzero((tile >= 0) & (raw.file['images/boxes'][:, 0, 0] >= 0))[0])
    t.close('boxes as fractions of the frame',
            numbers.arrived(b.path('several', 'data', 'm0', 'full', f'{row}.js'))['boxes'],
            raw.file['images/boxes'][row][:1] / 64, 1e-5)
    return b.path('several'), core


def trouble(t, b):
    refused(t, 'no such file', ['none.h5', 'no such file'], b.path('none.h5'), '-o', b.path('r'))
    with open(b.path('c.h5'), 'rb') as f:
        whole = f.read()
    with open(b.path('cut.h5'), 'wb') as f:
        f.write(whole[:len(whole) // 2])
    refused(t, 'truncated', ['cut.h5', 'truncated'], b.path('cut.h5'), '-o', b.path('r'))
    b.write('text.h5', 'hello\n')
    refused(t, 'not HDF5', ['text.h5', 'not an HDF5 file'], b.path('text.h5'), '-o', b.path('r'))
    with h5py.File(b.path('foreign.h5'), 'w') as f:
        f['x'] = 1
    refused(t, 'foreign', ['foreign.h5', 'not a results file'], b.path('foreign.h5'), '-o', b.path('r'))
    t.ok('nothing was written', not os.path.exists(b.path('r')), 'a folder is there')
    refused(t, 'a folder with something else in it', ['not a report'], b.path('c.h5'), '-o', b.path('data'))
    t.ok('that is still there', len(os.listdir(b.path('data'))) > 1, os.listdir(b.path('data')))
    os.mkdir(b.path('hides'))
    b.write('hides/scipy.py', 'raise ModuleNotFoundError("No module named scipy", name="scipy")\n')
    refused(t, 'no scipy', ['python3-scipy'], b.path('c.h5'), '-o', b.path('r'), env={'PYTHONPATH': b.path('hides')})
    make(b.path('nothing.h5'), 6, pending=6)
    make(b.path('one.h5'), 1, {'dave': {}})
    make(b.path('failed.h5'), 5, failed=5)
    for name in 'nothing', 'one', 'failed':
        r = report(b.path(f'{name}.h5'), '-o', b.path(name))
        t.ok(f'{name}: a report all the same', r.code == 0 and not r.errors(), r)
    return [b.path(name) for name in ('nothing', 'one', 'failed')]


def large(t, b):
    images, size = (50000, 96) if os.environ.get('DAVE_LONG') else (3000, 32)
    make(b.path('large.h5'), images, {'dave': {}, 'gradient': {}, 'random': {}}, size=size, boxes=True)
    started = time.monotonic()
    r = report(b.path('large.h5'), '-o', b.path('large'))
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2 ** 20
    print(f'   {images} images x 3 methods: {seconds:.1f} s, at most {memory:.2f} GB')
    t.ok('many images: exit 0', r.code == 0, r)
    t.ok('in five minutes and 2 GB', seconds < 300 and memory < 2, (seconds, memory))
    size = sum(os.path.getsize(os.path.join(d, n)) for d, _, names in os.walk(b.path('large')) for n in names) / 1e6
    t.ok('a sample is written', size < 80, f'{size:.0f} MB')
    return b.path('large'), images


# ---------------------------------------------------------------- in the browser

class Page:
    """A report in the browser; `quiet` checks at the end that the console has nothing to say and that nothing was asked
    of a network."""

    def __init__(self, t, b, folder, name):
        self.t, self.b, self.name = t, b, name
        b.console()
        b.open(f'file://{folder}/index.html')
        opened = b.until('return R.opened', seconds=30)
        print(f'   {name} opened in {opened or -1:.0f} ms')
        # the bar is 2 s, printed above; a busy machine must not fail for it
        self.ok('opens', opened and opened < 20000, opened)

    def ok(self, what, condition, why=''):
        return self.t.ok(f'{self.name}: {what}', condition, why)

    def equal(self, what, got, want):
        return self.t.equal(f'{self.name}: {what}', got, want)

    def go(self, section):
        self.b.js('document.getElementById(arguments[0]).scrollIntoView({behavior: "instant"})', section)

    def quiet(self):
        self.equal('nothing in the console', self.b.console(), [])
        urls = self.b.js('return performance.getEntriesByType("resource").map((e) => e.name)')
        self.ok('nothing from a network', all(u.startswith(('file:', 'data:')) for u in urls), urls)


def shown(value):
    return f'{value:.3f}'.replace('-', '−')


def tables_work(page, core):
    b, model = page.b, core['models'][0]
    k = next(i for i, f in enumerate(model['figures']) if (f['metric'], f['figure']) == ('deletion', 'auc'))
    row = 'return [...document.querySelectorAll("#table tbody tr")].map((r) => [...r.cells].map((c) => c.textContent))'
    cells = b.js(row)
    want = model['table'][k]
    page.equal('means and intervals in the table', [c[1] for c in cells],
               [f'{shown(w[1])} [{shown(w[3])}, {shown(w[4])}]n {w[0]}' for w in want])
    page.equal('the best is bold', b.js('return [...document.querySelectorAll("#table tbody tr")]'
                                        '.map((r) => !!r.cells[1].querySelector("b"))'),
               [model['best'][k]['significant'] and model['best'][k]['method'] == m for m in range(len(want))])
    page.ok('chance is marked', any('chance' in c[0] for c in cells), cells)
    by_mean = [model['methods'][m]['label'] for m in sorted(range(len(want)), key=lambda m: want[m][1])]
    first = [w.replace('chance', '') for w in (c[0] for c in cells)]
    b.click('#table thead th:nth-child(2)')
    page.equal('sorted by a figure', [c[0].replace('chance', '') for c in b.js(row)], by_mean)
    sorted_by = 'return document.querySelector("#table thead th:nth-child(2)").getAttribute("aria-sort")'
    page.equal('aria-sort', b.js(sorted_by), 'ascending')
    b.click('#table thead th:nth-child(2)')
    page.equal('and the other way', [c[0].replace('chance', '') for c in b.js(row)], by_mean[::-1])
    b.click('#table thead th:nth-child(1)')
    page.equal('sorted by name', [c[0].replace('chance', '') for c in b.js(row)], sorted(first))
    before = b.js('return document.querySelectorAll("#table thead th").length')
    b.click('#all-figures')
    page.ok('all figures', b.js('return document.querySelectorAll("#table thead th").length') > before, before)
    pair = model['pairs'][k][0]
    text = b.js('return document.querySelector("[data-pair=\'0,1\']").innerText')
    back = b.js('return document.querySelector("[data-pair=\'1,0\']").innerText')
    page.ok('a pair', text.startswith(('+' if pair['diff'] > 0 else '') + shown(pair['diff']))
            and f'n {pair["n"]}' in text, text)
    page.ok('and the other way round', back.startswith(('+' if pair['diff'] < 0 else '') + shown(-pair['diff']))
            and f'wins {100 * (1 - pair["win"]):.0f} %' in back, back)
    other = next(i for i, f in enumerate(model['figures']) if (f['metric'], f['figure']) == ('insertion', 'auc'))
    b.js(SORT, 'pair-figure', str(other))
    page.ok('another figure', shown(model['pairs'][other][0]['diff'])
            in b.js('return document.querySelector("[data-pair=\'0,1\']").innerText'))


def charts_work(page, core):
    b, model = page.b, core['models'][0]
    page.go('curves')
    lines = 'return document.querySelectorAll("#curves path.line").length'
    count = len(model['curves']) * len(model['methods'])
    b.until(f'{lines} === {count}')
    page.equal('curves of every method', b.js(lines), count)
    page.equal('bands', b.js('return document.querySelectorAll("#curves path.band").length'), count)
    b.click('#curves .legend button[data-method="1"]')
    page.equal('the legend hides one', b.js(lines), count - len(model['curves']))
    b.click('#curves .legend button[data-method="1"]')
    page.equal('and shows it', b.js(lines), count)
    page.equal('no single image yet', b.js('return document.querySelectorAll("#curves path.thin").length'), 0)
    b.js(SORT, 'curve-image', '5')
    page.equal('curves of one image on demand', b.until('return document.querySelectorAll("#curves path.thin").length'),
               count)
    page.go('distributions')
    page.ok('outlines', b.until('return document.querySelectorAll("#distributions path.violin").length'))
    page.go('relations')
    page.ok('a dot for each image and method',
            b.until('return document.querySelectorAll("#relations circle").length') >= 64)


def gallery_works(page, core, raw):
    b, model = page.b, core['models'][0]
    loaded = 'return document.querySelectorAll("#gallery .tiles[data-state=loaded]").length'
    b.js('window.scrollTo({top: 0, behavior: "instant"})')
    chunks = 'return document.head.querySelectorAll("script[src*=thumbs]").length'
    page.equal('no thumbnails before the gallery is seen', b.js(chunks), 0)
    page.go('gallery')
    first = b.until(loaded)
    below = ('return [...document.querySelectorAll("#gallery .tiles")]'
             '.filter((e) => e.getBoundingClientRect().top > innerHeight + 800).map((e) => e.dataset.state)')
    page.ok('thumbnails of what is in view', first, first)
    page.ok('none of what is far below', b.js(below) and set(b.js(below)) == {'waiting'}, b.js(below))
    everything = (len(raw.done) + model['chunk'] - 1) // model['chunk']
    page.ok('and no more', 0 < b.js(chunks) < everything, b.js(chunks))
    b.js('window.scrollTo({top: document.documentElement.scrollHeight, behavior: "instant"})')
    b.until('return document.querySelectorAll(".card").length >= arguments[0]', len(raw.done))
    b.js('window.scrollTo({top: document.documentElement.scrollHeight, behavior: "instant"})')
    page.ok('more on scrolling', b.until(f'{loaded} > {first}'), first)
    page.equal('pictures are pictures', b.js('return [...document.querySelectorAll(".tiles[data-state=loaded] img")]'
                                             '.filter((i) => i.complete && !i.naturalWidth).length'), 0)
    auc = raw.figure(model['methods'][0]['label'], 'deletion', 'auc')
    k = next(i for i, f in enumerate(model['figures']) if (f['metric'], f['figure']) == ('deletion', 'auc'))
    n = min(48, len(auc))
    page.go('gallery')
    b.js(SORT, 'g-sort', f'{k}:0')
    b.until('return document.querySelectorAll(".card").length >= arguments[0]', n)
    page.equal('sorted by a figure', b.js(ROWS)[:n], np.argsort(auc.astype('f4'), kind='stable')[:n].tolist())
    b.click('#g-down')
    b.until('return document.querySelectorAll(".card").length >= arguments[0]', n)
    page.equal('largest first', b.js(ROWS)[:n], np.argsort(-auc.astype('f4'), kind='stable')[:n].tolist())
    b.click('#g-down')
    b.js(SORT, 'g-sort', 'id')
    label, prediction = raw.file['images/label'][:], raw.file['images/prediction'][:]
    mistaken = int(label[np.flatnonzero(label != prediction)[0]])
    b.js(SORT, 'g-class', str(mistaken))
    page.equal('filtered by class', b.until('return document.querySelectorAll(".card").length') and b.js(ROWS),
               np.flatnonzero(label == mistaken).tolist())
    b.js(SORT, 'g-class', '')
    b.js(SORT, 'g-status', 'wrong')
    page.equal('filtered by status', b.until('return document.querySelectorAll(".card").length') and b.js(ROWS),
               np.flatnonzero(label != prediction).tolist())
    b.js(SORT, 'g-status', '')
    b.js(SORT, 'g-key', f'{k}:0')
    low, high = np.percentile(auc, (40, 60))
    b.js(TYPE, 'g-low', str(low))
    b.js(TYPE, 'g-high', str(high))
    page.equal('filtered by value', b.until('return document.querySelectorAll(".card").length') and b.js(ROWS),
               np.flatnonzero((auc >= low) & (auc <= high)).tolist())
    b.js(TYPE, 'g-low', '')
    b.js(TYPE, 'g-high', '')
    b.js(SORT, 'g-sort', 'disagreement')
    page.equal('said how many', b.js('return document.getElementById("g-count").textContent'),
               f'{len(auc)} of {len(auc)} images')
    b.until(loaded)
    b.keys('#g-overlay', '\ue011')  # Home
    opacity = 'return Number(getComputedStyle(document.querySelector(".stack .over")).opacity)'
    page.equal('slider: picture alone', b.js(opacity), 0)
    b.keys('#g-overlay', '\ue010')  # End
    page.equal('slider: map alone', b.js(opacity), 1)
    detail_works(page, model)


def detail_works(page, model):
    b = page.b
    b.js(SORT, 'g-sort', 'id')
    b.until('return document.querySelector(".card[data-row=\'3\']")')
    b.click('.card[data-row="3"]')
    size = b.until('const i = document.querySelector("#detail[open] .tiles[data-state=loaded] .over");'
                   'return i && i.naturalWidth')
    page.equal('a click opens the image at full size', size, 96)
    page.equal('with its curves', b.until('return document.querySelectorAll("#detail path.line").length'),
               len(model['curves']) * len(model['methods']))
    b.keys('#detail', '\ue014')  # right
    page.ok('the next one', b.until('return document.getElementById("detail").dataset.row === "4"'))
    b.keys('#detail', '\ue00c')  # Escape
    page.ok('Escape closes', b.until('return !document.getElementById("detail").open'))


def several_in_browser(t, b, folder, core):
    page = Page(t, b, folder, 'three files')
    page.ok('notices', b.js('return document.querySelectorAll(".notice").length') >= 2)
    page.ok('failures with their messages', HOSTILE in b.js('return document.querySelector("table.failed").innerText'))
    page.equal('hostile names are text',
               b.js('return document.querySelectorAll("img[src=x]").length + (document.title === "1")'), 0)
    page.go('gallery')
    b.until('return document.querySelector(".card")')
    page.ok('boxes on pictures', b.until('return document.querySelectorAll(".stack .box").length'))
    visible = ('return [...document.querySelectorAll(".stack .box")]'
               '.filter((e) => getComputedStyle(e).display !== "none").length')
    b.click('#g-boxes')
    page.equal('boxes off', b.js(visible), 0)
    b.click('#g-boxes')
    page.ok('boxes on', b.js(visible))
    counted = 'return document.getElementById("g-count").textContent'
    before = b.js(counted)
    b.click('#g-shown')
    page.ok('images without maps, on demand', b.js(counted) != before and '90 of 90' in b.js(counted), b.js(counted))
    b.js(SORT, 'model', '1')
    page.ok('the other model', 'vit_other' in b.js('return document.querySelector("#overview .body").innerText')
            and b.js('return document.querySelector("#curves .legend").innerText').split() == ['legrad', 'random'])
    page.quiet()


def deit(t, bench, build):
    """A real network on photographs, if the research data are there: a few images, few samples."""
    data = os.path.join(os.environ.get('SHARED', os.path.join(ROOT, '..', 'shared')), 'data')
    if not os.path.isdir(os.path.join(data, 'imagenet_val8')):
        t.skip('DeiT-Tiny on photographs', f'no {data}/imagenet_val8')
        return None
    data = os.path.abspath(data)
    settings = (f'model.path={data}/deit_tiny', f'data.path={data}/imagenet_val8',
                f'data.classes={data}/imagenet_wnids.txt', 'data.limit=6', 'methods.dave.samples=3',
                'metrics.deletion.steps=8', 'metrics.insertion.steps=8', 'metrics.deletion_dave.steps=8',
                'metrics.deletion_dave.min_probability=0')
    r = bench.run('dave-eval', os.path.join(ROOT, 'configs', 'deit_tiny_val8.yaml'), '--output', bench.path('deit.h5'),
                  *sum((['--set', s] for s in settings), []), ranks=2, timeout=300)
    if not t.ok('DeiT-Tiny: the run', r.code == 0, r):
        return None
    r = report(bench.path('deit.h5'), '-o', bench.path('deit'))
    t.ok('DeiT-Tiny: the report', r.code == 0 and not r.errors(), r)
    core = numbers.core_of(bench.path('deit'))
    t.equal('DeiT-Tiny: pictures found', core['notices'], [])
    return bench.path('deit')


def body(t, b):
    build = os.path.dirname(b.bin)
    folder, core, raw = demo(t, build)
    check_pictures(t, folder, core, raw)
    alike(t, b)
    many, many_core = several(t, b)
    odd = trouble(t, b)
    big, images = large(t, b)
    real = deit(t, b, build)
    if not found():
        t.skip('the pages in a browser', 'no chromium and chromedriver: apt-get install chromium chromium-driver')
        return
    with Browser() as browser:
        page = Page(t, browser, folder, 'demo')
        tables_work(page, core)
        gallery_works(page, core, raw)
        charts_work(page, core)
        page.quiet()
        several_in_browser(t, browser, many, many_core)
        page = Page(t, browser, big, f'{images} images')
        page.go('gallery')
        page.ok('its gallery', browser.until('return document.querySelector(".tiles[data-state=loaded]")'))
        page.quiet()
        for other in [*odd, real] if real else odd:
            page = Page(t, browser, other, os.path.basename(other))
            page.go('gallery')
            page.ok('its gallery', browser.until('return document.querySelector(".card")'))
            page.quiet()


if __name__ == '__main__':
    main(body)
