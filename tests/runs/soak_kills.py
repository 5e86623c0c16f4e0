"""
kill -9 of one rank, of all ranks, of mpirun, or of everything, at random moments of a run of the demo; resumed with
other numbers of ranks until it completes. After each kill the file must open, and every row that is marked done must
be right; each completed file must be that of an undisturbed run, byte for byte. Called by tests/soak.sh.
"""
import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

from support import Bench, Checks, bad_rows, children_of, difference, wait_for, wait_gone

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../configs/demo/demo.yaml')
# about 10 s on two ranks
SMALL = ['--limit', '32', '--set', 'methods.dave.samples=10', '--set', 'metrics.deletion.steps=4', '--set',
         'metrics.insertion.steps=4']
VICTIMS = 'one rank', 'all ranks', 'mpirun', 'everything'


class Soak:
    def __init__(self, t, b, scenes):
        self.t, self.b, self.rng = t, b, random.Random(os.environ.get('DAVE_TEST_SEED', 2026))
        self.args = [DEMO, '--set', f'data.path={scenes}', *SMALL]
        self.kills, self.counts = collections.Counter(), collections.Counter()
        self.folder = b.path('out')
        self.out = os.path.join(self.folder, 'killed.h5')
        os.mkdir(self.folder)

    def undisturbed(self):
        started = time.time()
        r = self.b.evaluate(*self.args, '-o', 'whole.h5', ranks=2, timeout=600)
        self.seconds = time.time() - started
        return self.t.ok(f'the undisturbed run, {self.seconds:.1f} s', r.code == 0, r)

    def start(self):
        resume = ['--resume'] if os.path.exists(self.out) else []
        self.ranks = self.rng.randint(1, 4)
        mpirun = self.ranks > 1 or self.rng.random() < .5
        ranks = self.ranks if mpirun else None
        return self.b.start('dave-eval', *self.args, '-o', self.out, *resume, ranks=ranks), mpirun

    def kill(self, p, mpirun):
        """Kills, and waits for what is left to end by itself; returns what was killed, and what is wrong."""
        ranks, everybody = self.b.ranks_of(p), children_of(p.pid) + [p.pid]
        victim = self.rng.choice(VICTIMS if mpirun else ('everything',))
        pids = {'one rank': ranks and [self.rng.choice(ranks)], 'all ranks': ranks, 'mpirun': [p.pid],
                'everything': everybody}[victim] or [p.pid]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        r = self.b.finish(p, 60)
        wait_for(lambda: not self.living(), 60)
        left = self.living()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        wait_gone(left)
        return victim, 'the others did not end within a minute' if r.timed_out or left else ''

    def living(self):
        """What still runs in our folder, children that mpirun had just begun too."""
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                found += [int(pid)] * (os.readlink(f'/proc/{pid}/cwd') == self.b.folder)
            except OSError:
                pass
        return found

    def look(self):
        """What is wrong with the file as the kill left it, and the rows that are done."""
        if not os.path.exists(self.out):
            return '', 0
        bad, status = bad_rows(self.out)  # opens it in h5py
        self.counts['wrong rows'] += len(bad)
        listed = subprocess.run(['h5ls', '-r', self.out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        r = self.b.evaluate('--verify', self.out)
        want = [int(np.sum(status == s)) for s in (1, 2, 0)] + [0]
        said = re.search(r'^(\d+) done, (\d+) failed, (\d+) pending, (\d+) damaged: ', r.out, re.M)
        agrees = said and r.code == 0 and list(map(int, said.groups())) == want
        wrong = [f'rows {bad} are wrong'] * bool(bad) + [f'h5ls: {listed.stderr}'] * bool(listed.returncode)
        return '; '.join(wrong + [f'--verify: {r} {r.out}, expected {want}'] * (not agrees)), want[0]

    def completed(self, p):
        r = self.b.finish(p)
        d = r if r.code else difference(self.b.path('whole.h5'), self.out)
        others = sorted(set(os.listdir(self.folder)) - {'killed.h5', 'killed.h5.progress.jsonl'})
        self.counts['completed'] += 1
        self.counts['identical'] += not d
        self.t.ok(f'completed on {self.ranks} ranks: the same bytes, no other files', not d and not others, (d, others))
        shutil.rmtree(self.folder)
        os.mkdir(self.folder)

    def round(self):
        p, mpirun = self.start()
        end = time.time() + self.rng.uniform(0, .5 * self.seconds)
        while time.time() < end and p.poll() is None:
            time.sleep(.01)
        if p.poll() is not None:
            self.completed(p)
            return
        victim, wrong = self.kill(p, mpirun)
        looks, done = self.look()
        self.kills[victim] += 1
        name = f'kill {sum(self.kills.values())}: {victim} of {self.ranks}{"" if mpirun else ", no mpirun"}'
        self.t.ok(f'{name}, {done} rows done', not wrong and not looks, f'{wrong} {looks}')


def main():
    if len(sys.argv) != 3:
        sys.exit(f'usage: {sys.argv[0]} BUILD ROUNDS')
    t, b = Checks(), Bench(sys.argv[1])
    s = Soak(t, b, os.path.join(os.path.abspath(sys.argv[1]), 'demo/scenes/val'))
    if s.undisturbed():
        while sum(s.kills.values()) < int(sys.argv[2]):
            s.round()
        # what was begun last is brought to its end
        p, _ = s.start()
        p.wait(600)
        s.completed(p)
    print(f'kills: {sum(s.kills.values())} ({", ".join(f"{v} {n}" for n, v in sorted(s.kills.items()))})')
    print(f'files completed: {s.counts["completed"]}, identical: {s.counts["identical"]}')
    print(f'rows marked done with wrong bytes: {s.counts["wrong rows"]}')
    t.finish()


main()
