#!/bin/sh
# agent.sh HOST COMMAND...: runs a command on a host of hosts.py as ssh does on a machine: mpirun's plm_rsh_agent.
# Processes on one kernel could meet in /dev/shm and in the session folder; so a host has those for itself, under the
# names that they have on every machine, and a host name, by which Open MPI tells nodes apart.
# TMPDIR: for the session folder. PRIVATE: one more folder to hide from the other hosts.
host=$1
shift
# no exec: this process stays on the host that called, as an ssh client does
ip netns exec "$host" unshare --uts --mount sh -ec '
	hostname "$0"
	for folder in /dev/shm "$TMPDIR" $PRIVATE; do mount -t tmpfs "$0" "$folder"; done
	eval "$*"' "$host" "$@"
exit $?
