"""
What attribution methods cost: methods.py EVAL MODEL PICTURES OUT [--images N] [--rounds N] [--core C] [--csv FILE]
Each method alone, with its defaults, and `gradient, input_x_gradient, effective, legrad` in one run, which share the
passes over the image: seconds per image of the stage `attribution` (the prediction and the frozen pass for pixel_share
are in it), medians over rounds, and the ratio of the shared run to the dearest of the four alone.
"""
import argparse
import os
import statistics
import subprocess

from stages import last_run

SHARED = ['gradient', 'input_x_gradient', 'effective', 'legrad']
ALONE = SHARED + ['attention_rollout', 'attnlrp', 'attnlrp gamma', 'chefer', 'integrated_gradients', 'smoothgrad', 'dave', 'random']


def item(method):
    kind, _, rule = method.partition(' ')
    return f'{kind}: {{postprocess: false{", rule: " + rule if rule else ""}}}'


def seconds(args, methods):
    config, output = (os.path.join(args.out, 'methods.' + end) for end in ('yaml', 'h5'))
    with open(config, 'w') as f:
        f.write(f'run: {{output: {output}}}\nmodel: {{path: {args.model}}}\n'
                f'data: {{path: {args.pictures}, target: prediction, limit: {args.images}}}\n'
                f'methods: [{", ".join(map(item, methods))}]\nstore: {{maps: none}}\n')
    pin = ['taskset', '-c', args.core] if args.core else []
    subprocess.run(pin + [args.eval, config, '--overwrite'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return last_run(output + '.progress.jsonl')[1]['rank_seconds']['attribution'] / args.images


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in 'eval', 'model', 'pictures', 'out':
        parser.add_argument(name)
    parser.add_argument('--images', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--core')
    parser.add_argument('--csv')
    args = parser.parse_args()
    args.model, args.pictures, args.out = (os.path.realpath(p) for p in (args.model, args.pictures, args.out))
    runs = [[m] for m in ALONE] + [SHARED]
    taken = [[seconds(args, run) for run in runs] for _ in range(args.rounds)]
    medians = [statistics.median(round_[i] for round_ in taken) for i in range(len(runs))]
    dearest = max(medians[:len(SHARED)])
    lines = [f'{" + ".join(run)},{s:.4f},{s / dearest:.3f}' for run, s in zip(runs, medians)]
    text = 'methods,seconds,of the dearest of the four\n' + '\n'.join(lines) + '\n'
    print(text + f'shared: {medians[-1] / dearest:.2f} of the dearest alone')
    if args.csv:
        with open(args.csv, 'w') as f:
            f.write(text)


if __name__ == '__main__':
    main()
