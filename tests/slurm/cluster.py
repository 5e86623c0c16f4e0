"""
A Slurm of our own: munged, slurmctld and slurmd of Debian's packages in one folder, nothing in /etc, no systemd, any
user. Whatever they start, however deep, becomes our child when its parent goes, so that nothing outlives the test.
"""
import atexit
import ctypes
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from support import children_of, wait_for

PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'scontrol', 'srun')
ENDS = ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL', 'OUT_OF_MEMORY')
FIELDS = ('JobId', 'JobState', 'Reason', 'Restarts', 'ExitCode', 'StartTime', 'EndTime', 'StdOut')
PR_SET_CHILD_SUBREAPER = 36

# CPUs are declared, not counted, so that all jobs of the test run at once. A requeued job waits until its credentials
# have expired. Slurm's default for requeueing is off: the scripts ask for it. Job numbers are our own: shared memory is
# named after them.
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port[0]}
SlurmdPort={port[1]}
AuthInfo=socket={folder}/munge.socket,cred_expire=5
FirstJobId={first}
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
TmpFS={folder}
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=pmix
ReturnToService=2
JobRequeue=0
KillWait=5
SchedulerParameters=sched_min_interval=100000,bf_interval=2,batch_sched_delay=0,sched_interval=2
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
NodeName={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=64000
PartitionName=all Nodes={host} Default=YES
"""


def program(name):
    """Full path, or None; the daemons' folder is not on everybody's PATH."""
    return shutil.which(name, path=os.environ['PATH'] + ':/usr/sbin:/sbin')


def free_ports(count):
    sockets = [socket.create_server(('', 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Slurm:
    def __init__(self, folder, env):
        self.folder = folder
        # we may be in a job of another Slurm ourselves
        self.env = {k: v for k, v in env.items() if not k.startswith(('SLURM', 'SBATCH'))}
        self.env['SLURM_CONF'] = self.path('slurm.conf')
        for name in 'state', 'spool':
            os.makedirs(self.path(name))
        host = socket.gethostname().split('.')[0]
        with open(self.path('slurm.conf'), 'w') as f:
            f.write(CONF.format(folder=folder, host=host, port=free_ports(2), first=100 * (1 + os.getpid() % 500000),
                                user=pwd.getpwuid(os.getuid()).pw_name))
        open(self.path('plugstack.conf'), 'w').close()
        with open(self.path('munge.key'), 'wb') as f:
            os.fchmod(f.fileno(), 0o600)
            f.write(os.urandom(128))
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        atexit.register(self.stop)
        for number in signal.SIGTERM, signal.SIGHUP:
            signal.signal(number, lambda *_: sys.exit(1))  # so that atexit's functions run

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def daemon(self, name, *args):
        with open(self.path(name + '.log'), 'w') as log:
            # were we killed with -9, at least the daemons would go
            return subprocess.Popen(['setpriv', '--pdeathsig', 'TERM', program(name), *args], env=self.env,
                                    cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self):
        """Why it did not start, or ''."""
        # --force: the folder is ours alone, which munged takes for a mistake
        files = [f'--{name}={self.path("munge." + end)}' for name, end in
                 (('key-file', 'key'), ('socket', 'socket'), ('pid-file', 'pid'), ('seed-file', 'seed'),
                  ('log-file', 'log'))]
        self.daemon('munged', '--foreground', '--force', '--num-threads=2', *files)
        if not wait_for(lambda: os.path.exists(self.path('munge.socket')), 5):
            return 'munged: ' + self.log('munged')
        self.daemon('slurmctld', '-D', '-c')
        self.daemon('slurmd', '-D')
        if wait_for(lambda: self.call('sinfo', '-h', '-o', '%T') == 'idle', 20, .2):
            return ''
        return '; '.join(f'{name}: {self.log(name)}' for name in ('slurmctld', 'slurmd'))

    def stop(self):
        """Kills daemons, steps and jobs, then whatever they leave us."""
        while pids := children_of(os.getpid()):
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            os.waitpid(-1, 0)

    def log(self, name, lines=3):
        with open(self.path(name + '.log')) as f:
            return ' | '.join(f.read().splitlines()[-lines:])

    def call(self, *command, **env):
        """Output of a command of Slurm, errors included."""
        r = subprocess.run(command, env={**self.env, **env}, cwd=os.path.dirname(self.folder),
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        return r.stdout.decode('utf-8', 'replace').strip()

    # ---- jobs, which run in the folder above ours

    def submit(self, *args, **env):
        """Number of the job, as text."""
        # a scratch folder which goes with our own, as in Bench.start
        scratch = tempfile.mkdtemp(dir=self.folder)
        return self.call('sbatch', '--parsable', '--output=%x-%j.log', *args, TMPDIR=scratch,
                         OMPI_MCA_btl_vader_backing_directory=scratch, OMPI_MCA_osc_sm_backing_directory=scratch, **env)

    def show(self, job):
        """What scontrol says of a job, or of one task `ARRAY_TASK`: {field: text}."""
        said = dict(re.findall(r'(\w+)=(\S*)', self.call('scontrol', '-o', 'show', 'job', job)))
        return {name: said.get(name) for name in FIELDS}

    def ended(self, job, seconds=90):
        """The same when the job is over, with its log; or, after some time, as it is then."""
        wait_for(lambda: self.show(job)['JobState'] in ENDS, seconds, .2)
        shown = self.show(job)
        try:
            with open(shown['StdOut'], errors='replace') as f:
                shown['log'] = f.read()
        except (TypeError, OSError) as e:
            shown['log'] = repr(e)
        return shown

    def ranks(self, job):
        """Process ids of the ranks of a job."""
        number, found = self.show(job)['JobId'], []
        for pid in children_of(os.getpid()):
            try:
                with open(f'/proc/{pid}/environ', 'rb') as f:
                    ours = f'SLURM_JOB_ID={number}'.encode() in f.read().split(b'\0')
                if ours and os.path.basename(os.readlink(f'/proc/{pid}/exe')) == 'dave-eval':
                    found.append(pid)
            except OSError:
                pass
        return found
