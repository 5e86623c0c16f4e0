#!/usr/bin/env python3
"""
A report of one or several results files: a folder that opens in a browser from disk, without network. Tables, comparisons,
curves, distributions and a gallery of images beside their maps; index.html is its page.

    report.py RESULTS.h5 [MORE.h5 ...] -o report/ [--data DIR] [--images N]
"""
import argparse
import json
import os
import shutil
import sys

import colours
import packages
import report_images as tiles
import report_tables as numbers
import results as schema

np = packages.need('numpy')

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'report')
SCALE_RULE = ('One rule for all maps: the end of the scale is the 99.5th percentile of the magnitudes of that map, and 0 is '
              'dark.')


def prepare(folder):
    """Makes the folder, or empties that of an earlier report; never one that holds something else."""
    if os.path.isdir(folder) and os.listdir(folder) and not os.path.isfile(f'{folder}/core.js'):
        raise schema.ResultsError(f'{folder}: not empty and not a report: choose another folder')
    try:
        shutil.rmtree(f'{folder}/data', ignore_errors=True)
        os.makedirs(f'{folder}/data', exist_ok=True)
        for name in sorted(os.listdir(PAGE)):
            shutil.copyfile(f'{PAGE}/{name}', f'{folder}/{name}')
    except OSError as e:
        raise schema.ResultsError(f'{folder}: cannot be written: {e.strerror}') from None


def shown_text(group, rows, found, seed):
    done = int(np.any([r.done for r in group.files], 0).sum())
    text = (f'The maps of all {done:,} images that are done are here.' if len(rows) == done else
            f'The maps of {len(rows):,} of {done:,} images are here: best, median and worst of each figure and method, those '
            f'whose maps disagree most, and others by chance (seed {seed}).')
    if done > tiles.COMPARED:
        text += f' How much maps disagree was computed for {tiles.COMPARED:,} images, chosen by chance.'
    if found.missing:
        text += f' {found.missing:,} pictures could not be read ({found.why}): give their folder with --data.'
    return text


def notices(opened):
    return [f'{r.name}: the run is not over: {int(r.done.sum()):,} of {r.size:,} images are done, {int(r.pending.sum()):,} are '
            'pending. Everything here is about those that are done.' for r in opened if r.pending.any()]


def describe(group):
    m, r = group.files[0].model, group.files[0]
    size, crop = r.frame, m.get('crop_pct')
    words = f'{size[1]} x {size[0]} pixels, {m.get("interpolation", "?")}'
    if isinstance(crop, (int, float)):
        words += f', crop {crop:g}'
    return {'name': group.name, 'architecture': str(r.attrs.get('architecture', '')), 'preprocessing': words,
            'checkpoint': str(r.attrs.get('checkpoint_sha256', '')), 'data': str(r.config.get('data', {}).get('path', ''))}


def write_group(folder, index, group, opened, options):
    """Writes the files of a group; returns its entry of core.js and what the report must say about its pictures."""
    name = f'm{index}'
    here, columns = f'{folder}/data/{name}', numbers.image_columns(group)
    figures, values = numbers.figure_list(group)
    done = np.any([r.done for r in group.files], 0)

    everywhere = np.flatnonzero(np.all([r.done for r in group.files], 0))
    if len(everywhere) > tiles.COMPARED:
        everywhere = np.sort(np.random.default_rng(options.seed).choice(everywhere, tiles.COMPARED, replace=False))
    mapped = [j for j, e in enumerate(group.entries) if e.method.has_map]
    # the random control would hide what the methods disagree about; it counts where there is nothing else
    attributions = [j for j in mapped if not group.entries[j].is_control]
    compared = attributions if len(attributions) > 1 else mapped
    signed = [False] * len(group.entries)
    columns['disagreement'] = np.full(group.size, np.nan)
    if mapped and len(everywhere):
        found, negative = tiles.disagreement([group.entries[j] for j in mapped], everywhere,
                                             [mapped.index(j) for j in compared])
        columns['disagreement'][everywhere] = found
        for j, s in zip(mapped, negative):
            signed[j] = s
    if len(compared) < 2:
        columns['disagreement'] = None

    table, pairs, best = numbers.judged(group)
    curve_list = numbers.curve_list(group)
    curves = numbers.curves(curve_list)
    picks = tiles.picks(figures, values)
    rows = tiles.choose(done, picks, columns['disagreement'], options.images, options.seed)
    found = tiles.write_tiles(here, name, group, rows, signed, curve_list, options.data)
    tiles.write_columns(here, name, group, columns, figures, values, rows)
    failed = np.any([r.failed for r in group.files], 0) & ~done
    counts = {'images': group.size, 'done': int(done.sum()), 'failed': int(failed.sum()),
              'pending': int(group.size - done.sum() - failed.sum())}
    missing = [f'{group.name}: {found.missing:,} of {len(rows):,} pictures could not be read ({found.why}); their maps are '
               'shown alone. Give the folder of the images with --data.'] if found.missing else []
    return {'id': name, **describe(group), **counts, 'methods': numbers.method_list(group, figures, values, signed),
            'metrics': numbers.metric_list(group), 'figures': figures, 'table': table, 'pairs': pairs,
            'best': best, 'curves': curves, 'spread': numbers.spread(values),
            'relations': numbers.relations(figures, values, columns) if values else [], 'picks': picks,
            'failures': numbers.failures(group, opened), 'classes': numbers.class_names(columns), 'chunk': tiles.CHUNK,
            'shown': shown_text(group, rows, found, options.seed), 'sampled': len(rows) < counts['done'],
            'compared': compared, 'has_boxes': any('images/boxes' in r for r in group.files)}, missing


def write_report(paths, folder, options):
    opened = schema.open_all(paths)
    prepare(folder)
    models, said = [], notices(opened)
    groups = schema.groups(opened)
    for i, group in enumerate(groups):
        model, missing = write_group(folder, i, group, opened, options)
        models.append(model)
        said += missing
    model_of = {id(r): i for i, g in enumerate(groups) for r in g.files}
    core = {'title': 'dave-eval: ' + ', '.join(r.name for r in opened), 'notices': said,
            'files': [numbers.file_facts(r, model_of[id(r)]) for r in opened], 'differences': numbers.differences(opened),
            'scales': {'sequential': colours.css(colours.SEQUENTIAL), 'diverging': colours.css(colours.DIVERGING)},
            'scale_rule': SCALE_RULE, 'models': models}
    with open(f'{folder}/data/core.js', 'w', encoding='ascii') as f:  # last: a report that was broken off shows nothing
        f.write(f'R.core={json.dumps(core, separators=(",", ":"), allow_nan=False)};\n')
    for line in said:
        print(f'note: {line}', file=sys.stderr)
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('results', nargs='+', metavar='RESULTS.h5')
    p.add_argument('-o', '--output', required=True, metavar='FOLDER', help='the report; an earlier one is replaced')
    p.add_argument('-d', '--data', metavar='DIR', help='folder of the images, if it has moved')
    p.add_argument('-n', '--images', type=int, default=400, metavar='N',
                   help='write the maps of about so many images of a model, at most; default 400')
    p.add_argument('--seed', type=int, default=1, help='of the sample of images; default 1')
    options = p.parse_args()
    if options.images < 1:
        p.error('--images: expected 1 or more')
    status = write_report(options.results, options.output.rstrip('/') or '/', options)
    print(f'Report         {os.path.join(options.output, "index.html")}')
    return status


if __name__ == '__main__':
    schema.run_script(main)
