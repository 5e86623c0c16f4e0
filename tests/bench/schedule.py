"""
The schedule of a big run, simulated from the measured times of single images:
    schedule.py LOG_DIR PIPELINE.csv MEAN_SECONDS [-o OUT.csv]
LOG_DIR is what `dave-eval --log-dir` left: the *shape* of the distribution of times per image. MEAN_SECONDS is the time
of an average image on the model in question. Images are handed out one by one, in order, to whoever is free; the
counter is a single server that looks for messages every 5 ms; writing costs what the benchmark of the writer measured.
"""
import argparse
import csv
import glob
import heapq
import os
import re

import numpy as np

IMAGES, POLL = 50000, .005
# A message at the server (Iprobe, Recv, Send over TCP). Assumed, generously: an exchange within a node takes 1 to 20 us.
EXCHANGE = 1e-4
RANKS = 1, 2, 16, 64, 256, 1024, 2048, 4096


def image_seconds(folder):
    """Decode + attribution + metrics of every image that was done."""
    found = []
    for name in glob.glob(os.path.join(folder, 'rank-*.log')):
        with open(name, errors='replace') as f:
            for line in f:
                m = re.search(r': done, wait \S+ decode (\S+) attribution (\S+) metrics (\S+) write', line)
                if m:
                    found.append(sum(map(float, m.groups())))
    return np.array(found)


def measured(path):
    with open(path) as f:
        return {(row[0], int(row[1])): float(row[2]) for row in csv.reader(f) if len(row) == 4}


def simulate(times, ranks, exchange, write, rng):
    """Wall time of all images: each rank asks, computes, writes. Exchanges queue at one server."""
    free = [0.] * ranks
    heapq.heapify(free)
    server, queued = 0., 0.
    wait = rng.uniform(0, POLL, len(times)) if ranks > 2 else np.zeros(len(times))
    for t, w in zip(times.tolist(), wait.tolist()):
        now = heapq.heappop(free)
        begin = max(now + w, server)
        queued += begin - now - w
        server = begin + exchange
        heapq.heappush(free, server + t + write)
    return max(free), queued / len(times)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('logs')
    p.add_argument('pipeline')
    p.add_argument('mean', type=float)
    p.add_argument('-o', '--output')
    a = p.parse_args()
    rng = np.random.default_rng(2026)
    shape, rates = image_seconds(a.logs), measured(a.pipeline)
    if not len(shape):
        raise SystemExit(f'{a.logs}: no image in the logs')
    times = rng.choice(shape, IMAGES) * a.mean / shape.mean()
    exchange, write = EXCHANGE, 1e-3 * rates['row', 1]
    rows, megabytes = rates['rows', 2], rates['bytes', 2]
    print(f'{len(shape)} measured images, mean {shape.mean():.3f} s, deviation {shape.std() / shape.mean():.1%}, '
          f'longest {shape.max() / shape.mean():.2f} of the mean; scaled to {a.mean:.1f} s; {IMAGES} images')
    print(f'exchange {1e6 * exchange:.0f} us at the server (assumed), row {1e3 * write:.2f} ms')
    print(f'{"ranks":>6} {"hours":>9} {"efficiency":>10} {"requests/s":>10} {"counter busy":>12} {"queued ms":>9} '
          f'{"rows/s":>8} {"of the writer":>13} {"MB/s":>7}')
    lines = [('ranks', 'hours', 'efficiency', 'requests_per_second', 'counter_busy', 'queued_ms', 'rows_per_second',
              'share_of_writer', 'megabytes_per_second')]
    for ranks in RANKS:
        span, queued = simulate(times, ranks, exchange, write, rng)
        rate = IMAGES / span
        line = (ranks, span / 3600, times.sum() / (ranks * span), rate, rate * exchange, 1e3 * queued, rate, rate / rows,
                rate * megabytes / rows)
        lines.append(line)
        print('%6d %9.3f %10.4f %10.2f %11.4f%% %9.3f %8.2f %12.2f%% %7.2f' % (*line[:4], 100 * line[4], *line[5:7],
                                                                              100 * line[7], line[8]))
    if a.output:
        with open(a.output, 'w', newline='') as f:
            csv.writer(f).writerows(lines)


main()
