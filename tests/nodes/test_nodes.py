"""Several nodes: the same bytes over TCP, and what happens when ranks, a node or its link is lost."""
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../runs'))
from support import DONE, STOPPED, bad_rows, difference, main, slow_config, status_of, wait_for  # noqa: E402

from hosts import Hosts, kill, pids, pids_of  # noqa: E402

# a lost link is noticed after 2 + 2 x 1 s instead of 300 + 9 x 20 s
IMPATIENT = {'OMPI_MCA_oob_tcp_keepalive_time': '2', 'OMPI_MCA_oob_tcp_keepalive_intvl': '1',
             'OMPI_MCA_oob_tcp_keepalive_probes': '2'}


def environment(pid):
    with open(f'/proc/{pid}/environ', 'rb') as f:
        return dict(line.partition('=')[::2] for line in f.read().decode().split('\0'))


def host_name(pid):
    return subprocess.run(['nsenter', '-t', str(pid), '--uts', 'hostname'], stdout=subprocess.PIPE,
                          text=True).stdout.strip()


def peers(host):
    """Addresses of other hosts from which the ranks of a host have received something over TCP."""
    lines = subprocess.run(['ip', 'netns', 'exec', host, 'ss', '-tniHpO', 'state', 'established'],
                           stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [re.search(r'([\d.]+):\d+\s+users:\(\("dave-eval".* bytes_received:[1-9]', line) for line in lines]
    return {m.group(1) for m in found if m and not m.group(1).startswith('127.')}


def start(b, out, *args, hosts, **more):
    """A job in the middle of its work."""
    p = b.start('dave-eval', 'slow.yaml', '-o', out, *args, ranks=2 * hosts, **more)
    wait_for(lambda: (status_of(b.path(out)) == DONE).any() or p.poll() is not None)
    return p


def compare(t, b, name, r, out):
    d = r if r.code else difference(b.path('alone.h5'), b.path(out))
    t.ok(f'{name}: the bytes of one rank alone', not d, d)


def look(t, hosts, name, count):
    """Nodes are nodes to Open MPI, and the ranks of different ones talk over TCP."""
    names, addresses = hosts.names[:count], hosts.addresses[:count]
    seen = [(host_name(pid), environment(pid).get('OMPI_COMM_WORLD_LOCAL_SIZE'))
            for host in names for pid in pids_of(host, 'dave-eval')]
    t.equal(f'{name}: each has a name of its own and two local ranks', seen, [(n, '2') for n in names for _ in '12'])
    got = [peers(host) for host in names]
    t.ok(f'{name}: the first has heard from all others over TCP', got[0] == set(addresses[1:]), got)
    t.ok(f'{name}: and they from the first', all(addresses[0] in g for g in got[1:]), got)


def whole(t, b, hosts, count):
    name, out = f'{count} hosts', f'hosts{count}.h5'
    p = start(b, out, hosts=count)
    look(t, hosts, name, count)
    compare(t, b, name, b.finish(p), out)


def unseen(t, b, hosts):
    """A results file that only rank 0's host has."""
    os.mkdir(b.path('private'))
    r = b.evaluate('slow.yaml', '-o', 'private/out.h5', ranks=4, env={'PRIVATE': b.path('private')})
    t.ok('a host without the file is named', r.code == 1 and f'node {hosts.names[1]} cannot open' in r.err, r)


def stopped(t, b, hosts):
    """The warning of a scheduler: SIGUSR1 to mpirun."""
    p = start(b, 'stopped.h5', hosts=2)
    kill(pids_of(hosts.names[0], 'mpirun'), signal.SIGUSR1)
    r = b.finish(p)
    t.equal('SIGUSR1: the ranks of all hosts stop', r.code, STOPPED)
    r = b.evaluate('slow.yaml', '-o', 'stopped.h5', '--resume', ranks=6)
    compare(t, b, 'SIGUSR1: resumed on three hosts', r, 'stopped.h5')


def lost(t, b, hosts, name, strike, left, env=None):
    """strike() takes something away; the run is resumed on the hosts that are `left`. Has it said how to go on?"""
    out = f'{name.replace(" ", "-")}.h5'
    p = start(b, out, hosts=2, env=env)
    t.ok(f'{name}: in the middle of the work', 0 < np.sum(status_of(b.path(out)) == DONE) < len(b.images), 'too late')
    strike()
    struck = time.time()
    r = b.finish(p, 20)
    t.ok(f'{name}: mpirun fails within seconds', not r.timed_out and r.code not in (0, STOPPED), r)
    print(f'     exit status {r.code} after {time.time() - struck:.1f} s')
    wait_for(lambda: not any(pids(host) for host in hosts.names), 5)
    t.equal(f'{name}: processes left on the hosts', [pids(host) for host in hosts.names], [[], [], []])
    bad, status = bad_rows(b.path(out))
    t.ok(f'{name}: finished rows are right', not bad and (status == DONE).any(), (bad, status))
    again = b.evaluate('slow.yaml', '-o', out, '--resume', ranks=2 * left)
    compare(t, b, f'{name}: resumed', again, out)
    return '--resume' in r.err


def losses(t, b, hosts):
    first, second = hosts.names[:2]
    said = [lost(t, b, hosts, 'ranks of the first host killed', lambda: kill(pids_of(first, 'dave-eval')), 2),
            lost(t, b, hosts, 'ranks of a host killed', lambda: kill(pids_of(second, 'dave-eval')), 2),
            lost(t, b, hosts, 'a host dies', lambda: kill(pids(second)), 1),
            lost(t, b, hosts, 'a link dies', lambda: hosts.link(second, 'down'), 1, IMPATIENT)]
    hosts.link(second, 'up')
    # two deaths make mpirun end the others twice over: now and then they get SIGKILL without a SIGTERM before
    t.ok('rank 0 or the last rank says how to go on', sum(said) >= 2, said)


def body(t, b):
    try:
        hosts = Hosts(3)
    except (OSError, subprocess.CalledProcessError) as e:
        t.skip('nodes', f'no network namespaces (root and iproute2 are needed): {e}')
        return
    alone = b.command
    b.command = lambda program, *args, ranks=None: alone(program, *args) if ranks is None else hosts.mpirun(
        b.path('hostfile'), ranks // 2, alone(program, *args))
    b.write('slow.yaml', slow_config(1000))
    if not t.equal('one rank alone exits 0', b.evaluate('slow.yaml', '-o', 'alone.h5').code, 0):
        return
    whole(t, b, hosts, 2)
    whole(t, b, hosts, 3)
    unseen(t, b, hosts)
    stopped(t, b, hosts)
    losses(t, b, hosts)


main(body)
