"""
Hosts on one machine: network namespaces that reach each other, and nothing else, through a switch in a namespace of
its own. Needs root and iproute2.
"""
import atexit
import os
import re
import shlex
import signal
import subprocess
import sys

from support import wait_gone

AGENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'agent.sh')


def ip(*args):
    """Runs ip and returns what it prints; OSError where that fails or there is no ip."""
    r = subprocess.run(['ip', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        raise OSError(f'ip {" ".join(args)}: {r.stderr.strip()}')
    return r.stdout


def pids(host):
    return [int(pid) for pid in ip('netns', 'pids', host).split()]


def named(pid, name):
    try:
        with open(f'/proc/{pid}/comm') as f:
            return f.read() == name + '\n'
    except OSError:
        return False


def pids_of(host, name):
    return [pid for pid in pids(host) if named(pid, name)]


def kill(victims, sig=signal.SIGKILL):
    for pid in victims:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


def remove(host):
    """Whatever runs there dies, and the links go with the namespace."""
    for _ in range(10):  # whatever was being started meanwhile, too
        victims = pids(host)
        if not victims:
            break
        kill(victims)
        wait_gone(victims, 1)
    ip('netns', 'del', host)


def sweep():
    """A test that was itself killed with SIGKILL left its hosts behind."""
    for line in ip('netns', 'list').splitlines():
        m = re.match(r'dave-(\d+)-\w+', line)
        if m and not os.path.exists(f'/proc/{m.group(1)}'):
            remove(m.group(0))


class Hosts:
    """names: also the hosts' own names. OSError where hosts cannot be had."""

    def __init__(self, count):
        self.switch = f'dave-{os.getpid()}-switch'
        self.names = [f'dave-{os.getpid()}-{k}' for k in range(1, count + 1)]
        self.addresses = [f'10.1.1.{k}' for k in range(1, count + 1)]
        self.made = []
        # a signal must end this process by way of atexit
        for sig in signal.SIGTERM, signal.SIGHUP, signal.SIGINT:
            signal.signal(sig, lambda number, frame: sys.exit(128 + number))
        sweep()
        atexit.register(self.release)
        self.add(self.switch)
        ip('-n', self.switch, 'link', 'add', 'bridge', 'type', 'bridge')
        ip('-n', self.switch, 'link', 'set', 'bridge', 'up')
        for name, address in zip(self.names, self.addresses):
            self.add(name)
            port = 'p' + address.rpartition('.')[2]
            ip('-n', name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', port, 'netns', self.switch)
            ip('-n', name, 'addr', 'add', address + '/24', 'dev', 'eth0')
            ip('-n', self.switch, 'link', 'set', port, 'master', 'bridge', 'up')
            ip('-n', name, 'link', 'set', 'lo', 'up')
            # over a link that is cut with data on the way, TCP would try for a quarter of an hour
            ip('netns', 'exec', name, 'sh', '-c', 'echo 3 >/proc/sys/net/ipv4/tcp_retries2')
            self.link(name, 'up')
        subprocess.run([AGENT, self.names[0], 'true'], env={**os.environ, 'TMPDIR': '/dev/shm'}, check=True)

    def add(self, name):
        ip('netns', 'add', name)
        self.made.append(name)

    def release(self):
        while self.made:
            remove(self.made.pop())

    def link(self, name, state):
        ip('-n', name, 'link', 'set', 'eth0', state)

    def mpirun(self, hostfile, count, command):
        """The command that runs another one on `count` hosts, two ranks each, from the first of them."""
        with open(hostfile, 'w') as f:
            f.writelines(f'{name} slots=2\n' for name in self.names[:count])
        # bound, the first ranks of all hosts would get the same core; TCP and nothing else leads from host to host
        launch = ['mpirun', '--mca', 'plm_rsh_agent', AGENT, '--hostfile', hostfile, '--bind-to', 'none', '-n',
                  str(2 * count), '--mca', 'pml', 'ob1', '--mca', 'btl', 'tcp,vader,self']
        return [AGENT, self.names[0], shlex.join(launch + command)]
