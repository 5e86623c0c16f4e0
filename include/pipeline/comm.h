/*
 * MPI, all that the program needs of it but for the board and the results file. With or without mpirun. Only
 * the main thread and the board's call it.
 */
#ifndef PIPELINE_COMM_H
#define PIPELINE_COMM_H

#include <stddef.h>

struct comm {
	int rank, size;
	int threads; /* may another thread call MPI at the same time? */
};

/* Starts MPI. **Collective.** */
void comm_init(struct comm *c, int *argc, char ***argv);

/* Ends MPI. **Collective.** */
void comm_finish(void);

/* Ends the whole job at once with an exit status; for errors of one rank that the others cannot know. */
_Noreturn void comm_abort(int status);

/* Rank 0's block on every rank; *block is malloc'd on the others. **Collective.** */
void comm_broadcast(char **block, size_t *size);

/* Rank 0's value on every rank. **Collective.** */
int comm_agree(int value);

/* Is this text the same on every rank? The same answer on all. **Collective.** */
int comm_same(const char *text);

/* Name of this node. */
const char *comm_node(void);

/* The largest of all ranks' values, on every rank. **Collective.** */
int comm_max(int value);

/* Process id of rank 0 where it runs on this node, else 0. **Collective.** */
int comm_root_here(void);

/* out[i] = sum over the ranks, on every rank. **Collective.** */
void comm_sum(double *out, int count);

/* Number of different nodes, on every rank. **Collective.** */
int comm_nodes(void);

/* Puts together what each rank has of a block: every byte may be other than 0 on one rank only, and is that
 * one on every rank afterwards. **Collective.** */
void comm_merge(void *block, size_t size);

#endif
