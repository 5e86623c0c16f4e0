"""Killed, stopped and resumed runs; several jobs and readers on one file."""
import os
import random
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np

from support import (DONE, PENDING, STOPPED, bad_rows, base_config, changed, difference, main, make_images, make_model,
                     sha256, slow_config, status_of, wait_for)

ROUNDS = 8


def kills(t, b):
    """kill -9 of everything at random moments; resumed with other numbers of ranks."""
    rng = random.Random(os.environ.get('DAVE_TEST_SEED', 2026))
    started = time.time()
    r = b.evaluate('slow.yaml', '-o', 'whole.h5')
    alone = time.time() - started
    if not t.ok('the uninterrupted run exits 0', r.code == 0, r):
        return
    landed = finals = 0
    flags = []
    for round_ in range(ROUNDS):
        ranks = rng.choice([1, 2, 3])
        p = b.start('dave-eval', 'slow.yaml', '-o', 'killed.h5', *flags, ranks=ranks)
        end = time.time() + rng.uniform(.3, .5 + .5 * alone)
        while time.time() < end and p.poll() is None:
            time.sleep(.01)
        finished = p.poll() is not None
        b.kill(p)
        name = f'kill {round_ + 1} ({ranks} ranks)'
        if not os.path.exists(b.path('killed.h5')):
            t.ok(f'{name}: before the file was there', not flags, 'the file is gone')
            continue
        flags = ['--resume']
        try:
            bad, status = bad_rows(b.path('killed.h5'))
            t.ok(f'{name}: opens, {np.sum(status == DONE)} of {len(status)} rows done and right', not bad,
                 f'wrong checksum in rows {bad}')
        except Exception as e:
            t.ok(f'{name}: opens', False, repr(e))
            return
        landed += not finished and (status == DONE).any() and not (status == DONE).all()
        if finished or (status == DONE).all():
            finals += finish_file(t, b, name)
            flags = []
    if flags:
        finals += finish_file(t, b, 'in the end')
    t.ok('kills landed within the work', landed >= 2, f'only {landed} of {ROUNDS}')
    t.ok('a killed run was completed', finals >= 1, 'none')


def finish_file(t, b, name):
    r = b.evaluate('slow.yaml', '-o', 'killed.h5', '--resume', ranks=2)
    d = r if r.code else difference(b.path('whole.h5'), b.path('killed.h5'))
    ok = t.ok(f'{name}: resumed to the same bytes', not d, d)
    os.unlink(b.path('killed.h5'))
    return ok


def begun(b, name):
    return wait_for(lambda: (status_of(b.path(name)) == DONE).any())


def stop(t, b, sig, ranks):
    """A polite stop: the row at hand is given up or finished, the file is whole, --resume goes on."""
    name = f'{signal.Signals(sig).name} {"to mpirun" if ranks else "without mpirun"}'
    out = f'stop{sig}{ranks}.h5'
    p = b.start('dave-eval', 'slow.yaml', '-o', out, ranks=ranks)
    begun(b, out)
    os.kill(p.pid, sig)
    sent = time.time()
    r = b.finish(p, 20)
    took = time.time() - sent
    graceful = not ranks or sig == signal.SIGUSR1  # otherwise mpirun itself ends the ranks, after a second
    if graceful:
        t.equal(f'{name}: exit status', r.code, STOPPED)
        t.ok(f'{name}: says how to go on', '--resume' in r.err and 'stopped' in r.err, r)
    else:
        t.ok(f'{name}: fails', r.code != 0 and not r.timed_out, r)
    t.ok(f'{name}: stops at once', took < 5, f'{took:.1f} s')
    bad, status = bad_rows(b.path(out))
    t.ok(f'{name}: rows are right', not bad and (status == DONE).any() and not (graceful and (status == DONE).all()),
         (bad, status))
    if graceful:
        with h5py.File(b.path(out), 'r') as f:
            counts = [int(np.sum(status == s)) for s in range(3)]
            t.equal(f'{name}: counts are written', f['summary/status_count'][:].tolist(), counts)
            n = dict(zip(f['summary/name'][:], f['summary/n'][:]))
            # a stop leaves no time for the bootstrap: the summary comes with the last row
            t.ok(f'{name}: no summary yet', np.isnan(n[b'probability']), n)
    r = b.evaluate('slow.yaml', '-o', out, '--resume', ranks=2)
    d = r if r.code else difference(b.path('whole.h5'), b.path(out))
    t.ok(f'{name}: resumed to the same bytes', not d, d)


def stop_within(t, b, metric):
    """A metric that asks for a thousand maps, half a minute's work on this picture, does not delay a stop."""
    (name, _), = metric.items()
    out = f'{name}.h5'
    b.write('long.yaml', changed(base_config(), model={'input_size': '256'}, methods=['gradient'], metrics=[metric]))
    p = b.start('dave-eval', 'long.yaml', '-o', out)
    wait_for(lambda: len(status_of(b.path(out))))
    time.sleep(1)  # what comes before the metric takes some milliseconds
    p.send_signal(signal.SIGUSR1)
    sent = time.time()
    r = b.finish(p)
    took = time.time() - sent
    t.equal(f'stopped within {name}: exit status', r.code, STOPPED)
    t.ok(f'stopped within {name}: at once', took < 5, f'{took:.1f} s')
    t.equal(f'stopped within {name}: rows stay pending', status_of(b.path(out)).tolist(), [PENDING] * 12)


def one_rank_stopped(t, b):
    """A signal that reaches a single rank (a scheduler's, an operator's) must not leave the others waiting."""
    p = b.start('dave-eval', 'slow.yaml', '-o', 'single.h5', ranks=2)
    begun(b, 'single.h5')
    for pid in b.ranks_of(p):
        with open(f'/proc/{pid}/environ', 'rb') as f:
            if b'OMPI_COMM_WORLD_RANK=1\0' in f.read():
                os.kill(pid, signal.SIGUSR1)
    r = b.finish(p, 15)
    t.ok('a signal to rank 1 alone: the run ends', not r.timed_out and r.code in (0, STOPPED), r)


def complete(t, b):
    before = sha256(b.path('whole.h5'))
    started = time.time()
    r = b.evaluate('slow.yaml', '-o', 'whole.h5', '--resume', ranks=2)
    t.equal('resuming a complete file exits 0', r.code, 0)
    t.equal('and leaves it as it is', sha256(b.path('whole.h5')), before)
    t.ok('and computes nothing', '12/12 images, 0/s' in r.err, r)
    r = b.evaluate('slow.yaml', '-o', 'fresh/new.h5', '--resume', '-s', 'methods.dave.samples=2')
    t.ok('--resume without a file begins one', r.code == 0 and os.path.exists(b.path('fresh/new.h5')), r)


def refused(t, b, name, words, *args, status=(2,)):
    before = sha256(b.path('whole.h5'))
    r = b.evaluate('slow.yaml', '-o', 'whole.h5', *args)
    t.ok(f'{name}: refused', r.code in status and len(r.errors()) == 1, r)
    t.ok(f'{name}: says {words}', all(w in (r.errors() or [''])[0] for w in words), r)
    t.equal(f'{name}: the file is untouched', sha256(b.path('whole.h5')), before)


def differences(t, b):
    refused(t, b, 'existing output', ['exists', '--resume', '--overwrite'])
    refused(t, b, 'another seed', ['seed: 7', 'seed: 8'], '--resume', '--seed', 8)
    refused(t, b, 'another parameter', ['samples: 700', 'samples: 701'], '--resume', '-s', 'methods.dave.samples=701')
    refused(t, b, 'another limit', ['limit'], '--resume', '--limit', 3)
    refused(t, b, 'another map type', ['maps'], '--resume', '-s', 'store.maps=float32')
    c = slow_config()
    b.write('more.yaml', changed(c, metrics=c['metrics'] + [{'deletion': {'name': 'third'}}]))
    r = b.evaluate('more.yaml', '-o', 'whole.h5', '--resume')
    t.ok('another metric: refused', r.code == 2 and len(r.errors()) == 1 and 'configuration' in r.errors()[0], r)
    make_model(b.path('model'), seed=2)
    refused(t, b, 'another checkpoint', ['checkpoint'], '--resume')
    make_model(b.path('model'))
    shutil.copy(b.path('data', b.images[0]), b.path('data/class_0/zzz.png'))
    refused(t, b, 'another image', ['list of images'], '--resume')
    os.unlink(b.path('data/class_0/zzz.png'))
    os.rename(b.path('data/class_3'), b.path('data/class_9'))
    refused(t, b, 'a renamed folder', ['list of images'], '--resume')
    os.rename(b.path('data/class_9'), b.path('data/class_3'))
    r = b.evaluate('slow.yaml', '-o', 'whole.h5', '--resume', '--overwrite')
    t.ok('--resume with --overwrite is refused', r.code == 2 and len(r.errors()) == 1, r)
    b.write('not.h5', 'no results\n')
    r = b.evaluate('slow.yaml', '-o', 'not.h5', '--resume')
    t.ok('resuming a file of another kind is refused', r.code == 2 and len(r.errors()) == 1, r)
    with open(b.path('not.h5')) as f:
        t.equal('and leaves it as it is', f.read(), 'no results\n')
    with h5py.File(b.path('other.h5'), 'w') as f:
        f['x'] = 1
    r = b.evaluate('slow.yaml', '-o', 'other.h5', '--resume')
    t.ok('so is an HDF5 file of another program', r.code == 2 and 'not a results file' in r.err, r)


def truncated(t, b):
    """A copy that was cut short is refused, or completed to the right bytes; never taken as it is."""
    size = os.path.getsize(b.path('whole.h5'))
    for part in .02, .5, .95:
        shutil.copy(b.path('whole.h5'), b.path('cut.h5'))
        os.truncate(b.path('cut.h5'), int(size * part))
        r = b.evaluate('slow.yaml', '-o', 'cut.h5', '--resume')
        good = r.code in (1, 2) and len(r.errors()) == 1
        t.ok(f'a file cut to {part:.0%} is refused', good, r)


def two_jobs(t, b):
    """The second job on a file is turned away, whatever it asks for, and the first does not notice."""
    p = b.start('dave-eval', 'slow.yaml', '-o', 'shared.h5')
    begun(b, 'shared.h5')
    others = [b.start('dave-eval', 'slow.yaml', '-o', 'shared.h5', *more) for more in ([], ['--resume'])]
    plain, resume = [b.finish(o) for o in others]
    running = p.poll() is None
    r = b.finish(p)
    t.ok('second job: it came while the first was running', running, 'the first was done')
    t.ok('second job: refused without an option', plain.code == 2 and 'another run' in plain.err, plain)
    t.ok('second job: refused with --resume', resume.code in (1, 2) and 'another run' in resume.err, resume)
    t.equal('second job: one error line', len(resume.errors()), 1)
    d = r if r.code else difference(b.path('whole.h5'), b.path('shared.h5'))
    t.ok('second job: the first is unharmed', not d, d)

    p = b.start('dave-eval', 'slow.yaml', '-o', 'shared2.h5')
    begun(b, 'shared2.h5')
    second = b.evaluate('slow.yaml', '-o', 'shared2.h5', '--overwrite', '-s', 'run.seed=9',
                        '-s', 'methods.dave.samples=2')
    running = p.poll() is None
    first = b.finish(p)
    with h5py.File(b.path('shared2.h5'), 'r') as f:
        seed = int(f.attrs['seed'])
    # either the second is refused, or the first must say that its file has been taken away
    t.ok('second job with --overwrite: not both succeed', not running or second.code != 0 or first.code != 0,
         f'both exit 0; the first is lost without a word, the file is of seed {seed}')


def readers(t, b):
    """Reading while the run goes on: finished rows are right, and a reader does not disturb the run."""
    p = b.start('dave-eval', 'slow.yaml', '-o', 'live.h5', ranks=2)
    begun(b, 'live.h5')
    polls, wrong = 0, []
    while p.poll() is None:
        bad, status = bad_rows(b.path('live.h5'))
        if np.sum(status == DONE) > 8:
            break
        polls += 1
        wrong += bad
    t.ok(f'{polls} live looks found no bad row', polls > 3 and not wrong, f'{polls} looks, wrong rows {wrong}')
    handle = h5py.File(b.path('live.h5'), 'r')
    r = b.finish(p)
    handle.close()
    d = r if r.code else difference(b.path('whole.h5'), b.path('live.h5'))
    t.ok('a reader that holds the file open at the end does not fail the run', not d, d)


def damaged(t, b):
    """After the loss of a node the disk may hold a status without its data: the checksum finds the row."""
    shutil.copy(b.path('whole.h5'), b.path('damaged.h5'))
    with h5py.File(b.path('damaged.h5'), 'r+') as f:
        f['methods/dave/map'][3] = 0
        f['images/probability'][5] = .5
    r = b.evaluate('slow.yaml', '-o', 'damaged.h5', '--resume', ranks=2)
    t.ok('damaged rows are counted', any('2 rows do not match' in w for w in r.warnings()), r)
    d = r if r.code else difference(b.path('whole.h5'), b.path('damaged.h5'))
    t.ok('and computed again', not d, d)


def other_preprocessing(t, b):
    """config.json decides what the network sees: it is part of the run's identity as the weights are."""
    with open(b.path('model/config.json')) as f:
        before = f.read()
    b.write('model/config.json', before.replace('"crop_pct": 0.9', '"crop_pct": 0.8'))
    refused(t, b, 'another crop_pct', ['model configuration', 'crop_pct'], '--resume')
    b.write('model/config.json', before)


def network_locks(t, b):
    """On NFS, MPI-IO locks the whole results file for each write: our lock must not be in its way."""
    r = b.evaluate('slow.yaml', '-o', 'nfs.h5', ranks=2, timeout=30, env={'OMPI_MCA_fs_ufs_lock_algorithm': '2'})
    d = r if r.code else difference(b.path('whole.h5'), b.path('nfs.h5'))
    t.ok('with the locks of NFS the run completes', not d, d)
    t.ok('no lock file is left', not os.path.exists(b.path('nfs.h5.lock')), os.listdir(b.folder))


def job_script(t, b):
    """jobs/imagenet.sbatch without Slurm: warned by SIGUSR1 it leaves with 85, run again it completes."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../jobs/imagenet.sbatch')
    env = {**b.env, 'DAVE_EVAL': os.path.join(b.bin, 'dave-eval'), 'SLURM_NTASKS': '2'}
    command = ['bash', script, 'slow.yaml', '-o', 'job.h5']
    p = subprocess.Popen(command, cwd=b.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    begun(b, 'job.h5')
    p.send_signal(signal.SIGUSR1)
    out = p.communicate(timeout=30)[0].decode()
    t.ok('job script: warned, it leaves with 85', p.returncode == STOPPED and 'submit again' in out, (p.returncode, out))
    r = subprocess.run(command, cwd=b.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    d = r if r.returncode else difference(b.path('whole.h5'), b.path('job.h5'))
    t.ok('job script: run again, it completes to the same bytes', not d, d)


def body(t, b):
    b.write('slow.yaml', slow_config())
    kills(t, b)
    for sig in signal.SIGUSR1, signal.SIGINT:
        stop(t, b, sig, 2)
    for sig in signal.SIGUSR1, signal.SIGINT, signal.SIGTERM:
        stop(t, b, sig, None)
    for metric in {'sensitivity_max': {'draws': 1000}}, {'randomisation': {'stages': 1000}}:
        stop_within(t, b, metric)
    complete(t, b)
    differences(t, b)
    truncated(t, b)
    two_jobs(t, b)
    readers(t, b)
    one_rank_stopped(t, b)
    damaged(t, b)
    other_preprocessing(t, b)
    network_locks(t, b)
    job_script(t, b)


main(body)
