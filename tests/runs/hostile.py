"""
What the tests of hostile surroundings share: many runs at a time, a user without rights, small disks. DAVE_LONG=1
in the environment makes them try everything where otherwise they try a sample.
"""
import contextlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

from support import Result

LONG = os.environ.get('DAVE_LONG') == '1'
NOBODY = 65534
# a lone process without an orted starts faster
ALONE = {'OMPI_MCA_ess_singleton_isolated': '1'}


def together(jobs, workers=4):
    """Results of the callables, in order; starting MPI is mostly waiting, so several at a time."""
    with ThreadPoolExecutor(workers) as pool:
        return [run.result() for run in [pool.submit(job) for job in jobs]]


def spread(items, most):
    """All of them for DAVE_LONG, otherwise `most` of them from first to last."""
    items = list(items)
    if LONG or len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def alone(b, *args, env=None, **more):
    """dave-eval as a single process."""
    return b.evaluate(*args, env={**ALONE, **(env or {})}, **more)


def as_nobody(b, *args, timeout=60):
    """dave-eval as a user who may read the bench and write nothing but its folder `nobody`."""
    home, program = b.path('nobody'), b.path('nobody-dave-eval')
    if not os.path.exists(home):
        os.mkdir(home)
        os.chmod(b.folder, 0o755)
        shutil.copy(os.path.join(b.bin, 'dave-eval'), program)  # the build folder may be closed to others
        if os.geteuid() == 0:
            os.chown(home, NOBODY, NOBODY)
    user = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups'] if os.geteuid() == 0 else []
    p = subprocess.run(user + [program, *args], cwd=b.folder, env={**b.env, **ALONE, 'TMPDIR': home, 'HOME': home},
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    return Result(p.returncode, p.stdout.decode('utf-8', 'replace'), p.stderr.decode('utf-8', 'replace'))


@contextlib.contextmanager
def small_disk(b, size):
    """A file system of that many bytes, or None where this user cannot mount one."""
    folder = tempfile.mkdtemp(dir=b.folder, prefix='disk-')
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'none', folder]
    if os.geteuid() or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=True)
