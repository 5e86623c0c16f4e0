"""
The job scripts on a real Slurm: warned, requeued, resumed to the same bytes; arrays, dependent jobs, jobs that fail.
Slurm looks at time limits every 30 s. Until it has, the ranks of the jobs that are to be warned are stopped (SIGSTOP):
so the work may be small, and the machine is free.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import sys

import h5py

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../runs'))

from cluster import PROGRAMS, Slurm, program  # noqa: E402
from support import DONE, changed, contents, difference, main, slow_config, status_of, wait_for  # noqa: E402

JOBS = os.path.join(HERE, '../../jobs')
SCRIPT, ARRAY, FINISH = (os.path.join(JOBS, name + '.sbatch') for name in ('imagenet', 'array', 'finish'))
# Slurm warns 120 s before the limit and up to 60 s early: some jobs at the first look at them, the others never.
WARNED, NEVER = '--time=2', '--time=10'
WHOLE = {'mpirun': 'slow', 'srun': 'slow', 'zero': 'zero', 'one': 'one'}  # jobs, and the runs in one go to compare with


def rows_done(b, name):
    return int((status_of(b.path(name)) == DONE).sum())


def send(slurm, job, number):
    for pid in slurm.ranks(job):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def freeze(slurm, b, jobs):
    """Stops the ranks of each job once it has a row. jobs: {id: results file}."""
    waiting = dict(jobs)

    def look():
        for job in [j for j, name in waiting.items() if rows_done(b, name)]:
            send(slurm, job, signal.SIGSTOP)
            del waiting[job]
        return not waiting

    return wait_for(look, 60)


def warned(slurm, job):
    """Every rank has the signal that it will see when it goes on."""
    def pending(pid):
        with open(f'/proc/{pid}/status') as f:
            masks = [int(line.split()[1], 16) for line in f if line.startswith(('SigPnd', 'ShdPnd'))]
        return any(m >> (signal.SIGUSR1 - 1) & 1 for m in masks)

    pids = slurm.ranks(job)
    return bool(pids) and all(pending(pid) for pid in pids)


# ---------------------------------------------------------------- jobs that Slurm warns

def submit_warned(slurm):
    """The jobs that will be stopped until Slurm has warned them, and one that waits for them."""
    job = {name: slurm.submit('--ntasks=2', WARNED, SCRIPT, 'slow.yaml', '-o', name + '.h5', **more) for name, more in
           (('mpirun', {}), ('srun', {'DAVE_LAUNCH': 'srun --mpi=pmix'}), ('bounded', {'DAVE_RESTARTS': '0'}))}
    job['array'] = slurm.submit('--array=0-1', '--ntasks=1', WARNED, ARRAY, 'zero.yaml', 'one.yaml')
    job['finish'] = slurm.submit(f'--dependency=afterok:{job["mpirun"]}:{job["array"]}', '--kill-on-invalid-dep=yes',
                                 FINISH, 'mpirun.h5', 'zero.h5', 'one.h5')
    job['zero'], job['one'] = job['array'] + '_0', job['array'] + '_1'
    return job


def one_task_requeued(t, slurm, job):
    """The task that carries the number of the array goes on first: the other must not notice."""
    last, other = ('zero', 'one') if slurm.show(job['zero'])['JobId'] == job['array'] else ('one', 'zero')
    send(slurm, job[last], signal.SIGCONT)
    t.ok('array: a warned task is requeued', wait_for(lambda: slurm.show(job[last])['Restarts'] == '1', 20, .2),
         slurm.show(job[last]))
    shown = slurm.show(job[other])
    t.ok('array: and no other', shown['Restarts'] == '0' and shown['JobState'] == 'RUNNING', shown)


def go_on(t, slurm, b, job):
    """Lets all ranks go on when Slurm has warned them. Returns {job: (rows that are done, inode of the results)}."""
    for name in WHOLE:
        t.ok(f'{name}: Slurm has warned it', wait_for(lambda n=name: warned(slurm, job[n]), 75, .2),
             slurm.show(job[name]))
    before = {name: (rows_done(b, name + '.h5'), os.stat(b.path(name + '.h5')).st_ino) for name in WHOLE}
    one_task_requeued(t, slurm, job)
    for name in (*WHOLE, 'bounded'):
        send(slurm, job[name], signal.SIGCONT)
    return before


def requeued(t, slurm, b, job, before):
    for name, whole in WHOLE.items():
        end = slurm.ended(job[name])
        rows, inode = before[name]
        t.ok(f'{name}: requeued and completed', end['JobState'] == 'COMPLETED' and int(end['Restarts']) > 0, end)
        t.ok(f'{name}: one log of all starts', 'stopped with' in end['log'] and '12 images done' in end['log'],
             end['log'])
        t.ok(f'{name}: went on with the file', rows > 0 and os.stat(b.path(name + '.h5')).st_ino == inode, before)
        d = difference(b.path(whole + '_whole.h5'), b.path(name + '.h5'))
        t.ok(f'{name}: the same bytes as in one go', not d, d)
    end = slurm.ended(job['bounded'])
    t.ok('no restarts allowed: it fails with 85', (end['JobState'], end['ExitCode'], end['Restarts']) ==
         ('FAILED', '85:0', '0') and 'after 0 restarts: submit again' in end['log'], end)


# ---------------------------------------------------------------- jobs that fail

def submit_failing(slurm, b):
    """Does to each job what is to be done to it."""
    job = {name: slurm.submit('--ntasks=2', NEVER, SCRIPT, 'slow.yaml', '-o', name + '.h5', DAVE_LAUNCH=launch)
           for name, launch in (('killed', 'mpirun'), ('killed_srun', 'srun --mpi=pmix'), ('cancelled', 'mpirun'),
                                ('terminated', 'srun --mpi=pmix'))}
    freeze(slurm, b, {job[name]: name + '.h5' for name in job})
    job['dependent'] = slurm.submit(f'--dependency=afterok:{job["killed"]}', '--kill-on-invalid-dep=yes', FINISH,
                                    'killed.h5')
    for name in 'killed', 'killed_srun':
        os.kill(slurm.ranks(job[name])[0], signal.SIGKILL)
    slurm.call('scancel', job['cancelled'])
    slurm.call('scancel', '--signal=TERM', job['terminated'])
    for name in 'killed', 'killed_srun', 'terminated':
        send(slurm, job[name], signal.SIGCONT)  # Slurm itself does it when it cancels
    job['wrong'] = slurm.submit('--ntasks=1', NEVER, SCRIPT, 'slow.yaml', '-s', 'run.sed=1')
    # a program that SIGUSR1 ends, as it does dave-eval in its first moments
    os.chmod(b.write('deaf', '#!/bin/sh\ntouch deaf.started\nexec sleep 60\n'), 0o755)
    job['deaf'] = slurm.submit('--ntasks=1', NEVER, SCRIPT, 'slow.yaml', DAVE_EVAL=b.path('deaf'), DAVE_RESTARTS='0')
    wait_for(lambda: os.path.exists(b.path('deaf.started')))
    slurm.call('scancel', '--batch', '--signal=USR1', job['deaf'])
    return job


def failing(t, slurm, b):
    """A wrong configuration, a killed rank, a cancelled job: none of them may look completed or be requeued."""
    job = submit_failing(slurm, b)
    for name, state, code in (('wrong', 'FAILED', '2:0'), ('killed', 'FAILED', '137:0'),
                              ('killed_srun', 'FAILED', '137:0'), ('cancelled', 'CANCELLED', '0:15'),
                              ('terminated', 'FAILED', '85:0'), ('deaf', 'FAILED', '85:0')):
        end = slurm.ended(job[name])
        t.ok(f'{name}: {state}, {code}, not requeued',
             (end['JobState'], end['ExitCode'], end['Restarts']) == (state, code, '0'), end)
    t.equal('afterok of a failed job: cancelled', slurm.ended(job['dependent'])['JobState'], 'CANCELLED')
    refused(t, slurm, b, 'an unfinished file', 'killed.h5', ' pending, 0 damaged: killed.h5')
    again = slurm.submit('--ntasks=2', NEVER, SCRIPT, 'slow.yaml', '-o', 'killed.h5')
    end = slurm.ended(again)
    d = end if end['JobState'] != 'COMPLETED' else difference(b.path('slow_whole.h5'), b.path('killed.h5'))
    t.ok('killed, submitted again: the same bytes', not d, d)


# ---------------------------------------------------------------- the last step

def finish(slurm, b, results, **env):
    """finish.sbatch as any shell script."""
    return subprocess.run(['/bin/bash', FINISH, results], cwd=b.folder, env={**slurm.env, **env}, capture_output=True,
                          text=True, timeout=60)


def refused(t, slurm, b, name, results, words):
    """It fails in one line and makes nothing."""
    r = finish(slurm, b, results)
    t.ok(f'finish: {name} is refused in one line', r.returncode == 1 and words in r.stderr
         and (r.stdout + r.stderr).count('\n') == 1, r)
    base = b.path(results[:-len('.h5')])
    t.ok(f'finish: {name}: nothing is made', not any(map(os.path.exists, (base + '.png', base + '.packed.h5'))),
         os.listdir(b.folder))


def without(t, slurm, b):
    """A run that stored no maps; a machine without HDF5's programs."""
    r = finish(slurm, b, 'mapless.h5')
    t.ok('finish: no maps is no failure', r.returncode == 0 and 'no maps' in r.stdout, r)
    os.mkdir(b.path('bin'))
    for name in os.listdir('/usr/bin'):
        if name != 'h5repack':
            os.symlink(os.path.join('/usr/bin', name), b.path('bin', name))
    r = finish(slurm, b, 'zero_whole.h5', PATH=b.path('bin'))
    t.ok('finish: without h5repack there is the sheet', r.returncode == 0 and 'no h5repack' in r.stdout
         and os.path.exists(b.path('zero_whole.png')), r)


def finished(t, slurm, b, job):
    end = slurm.ended(job['finish'])
    t.ok('finish: completed', end['JobState'] == 'COMPLETED', end)
    before = slurm.show(job['mpirun'])
    t.ok('finish: after the last start of the run', end['StartTime'] >= before['EndTime'], (end, before))
    for name in 'mpirun', 'zero', 'one':
        t.ok(f'finish: {name}: verified', f'12 done, 0 failed, 0 pending, 0 damaged: {name}.h5\n' in end['log'], end)
        t.ok(f'finish: {name}: contact sheet', os.path.exists(b.path(name + '.png')), os.listdir(b.folder))
        packed = b.path(name + '.packed.h5')
        if t.ok(f'finish: {name}: packed', os.path.exists(packed), os.listdir(b.folder)):
            t.ok(f'finish: {name}: with the same contents', contents(packed) == contents(b.path(name + '.h5')))
            with h5py.File(packed, 'r') as f:
                data = f['methods/dave/map']
                t.equal(f'finish: {name}: a chunk is a compressed map', (data.chunks, data.compression, data.shuffle),
                        ((1, *data.shape[1:]), 'gzip', True))


# ---------------------------------------------------------------- all of it

def references(t, b):
    """The runs in one go, one without maps, and a damaged one."""
    for name in 'slow', 'zero', 'one':
        r = b.evaluate(name + '.yaml', '-o', name + '_whole.h5', ranks=2)
        t.equal(f'{name}: in one go', r.code, 0)
    r = b.evaluate('slow.yaml', '-o', 'mapless.h5', '-s', 'store.maps=none', '-s', 'methods.dave.samples=2')
    t.equal('without maps', r.code, 0)
    shutil.copy(b.path('slow_whole.h5'), b.path('damaged.h5'))
    with h5py.File(b.path('damaged.h5'), 'r+') as f:
        f['methods/dave/map'][3] = 0


def body(t, b):
    missing = [p for p in PROGRAMS if not program(p)]
    if missing:
        return t.skip('jobs on a real Slurm', f'not installed: {", ".join(missing)}')
    slurm = Slurm(b.path('slurm'), {**b.env, 'DAVE_EVAL': os.path.join(b.bin, 'dave-eval'), 'DAVE_JOBS': JOBS})
    why = slurm.start()
    if why:
        return t.skip('jobs on a real Slurm', f'it does not start: {why}')
    b.write('slow.yaml', slow_config(800))
    for seed, name in enumerate(('zero', 'one')):
        b.write(name + '.yaml', changed(slow_config(800), run={'output': name + '.h5', 'seed': seed}))
    job = submit_warned(slurm)
    t.ok('jobs have begun', freeze(slurm, b, {job[name]: name + '.h5' for name in
                                              ('mpirun', 'srun', 'bounded', 'zero', 'one')}), slurm.call('squeue'))
    t.equal('and have the ranks that were asked for',
            [len(slurm.ranks(job[name])) for name in ('mpirun', 'srun', 'one')], [2, 2, 1])
    references(t, b)
    before = go_on(t, slurm, b, job)
    failing(t, slurm, b)
    refused(t, slurm, b, 'a damaged file', 'damaged.h5', ' 1 damaged: damaged.h5')
    without(t, slurm, b)
    requeued(t, slurm, b, job, before)
    finished(t, slurm, b, job)


main(body)
