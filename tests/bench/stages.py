"""
Where the time of runs went, from their progress files: stages.py [--mean] FILE.progress.jsonl...
--mean prints the rank-seconds per image alone. Two files of the same images: the speed of the second over the first.
"""
import json
import sys

WORK = 'decode', 'attribution', 'metrics'


def last_run(path):
    """The first and the last line of the newest run in the file."""
    with open(path) as f:
        lines = [json.loads(line) for line in f]
    start = max(i for i, line in enumerate(lines) if line['event'] == 'start')
    return lines[start], lines[-1]


def main(args):
    runs = [last_run(path) for path in args if path != '--mean']
    if '--mean' in args:
        start, end = runs[0]
        print(sum(end['rank_seconds'][k] for k in WORK) / (end['done'] - start['already']))
        return
    for start, end in runs:
        s, images = end['rank_seconds'], end['done'] - start['already']
        total, work = sum(s.values()), sum(s[k] for k in WORK)
        print(f'{start["ranks"]} ranks, {images} images: loop and summary {end["elapsed"]:.2f} s, '
              f'{work / images:.3f} rank-seconds of work per image')
        print('  ' + ', '.join(f'{k} {v:.3f} s ({v / total:.3%})' for k, v in s.items()))
        print(f'  everything but {", ".join(WORK)}: {(total - work) / total:.3%} of all rank-seconds; '
              f'in the loop without waiting at its end: {(s["write"] + s["other"]) / (total - s["start"]):.3%}')
    if len(runs) == 2:
        print(f'  speed-up {runs[0][1]["elapsed"] / runs[1][1]["elapsed"]:.3f}')


main(sys.argv[1:])
