/*
 * MPI, all of it that the program needs. With or without mpirun. FUNNELED: only the main thread calls it.
 */
#ifndef PIPELINE_COMM_H
#define PIPELINE_COMM_H

#include <stddef.h>

struct comm {
	int rank, size;
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

/*
 * The board: numbers on rank 0 that every rank can add to (MPI-3 one-sided). Within a node rank 0 takes no
 * part; over TCP it must be inside MPI, which it is whenever it asks stop_requested(), that is after every
 * pass. Slot 0 is the counter of work handed out.
 */
struct board {
	void *window;   /* MPI_Win */
	double *values; /* on rank 0: the slots */
	int slots;
};

/* **Collective.** */
void board_init(struct board *b, int slots);
void board_release(struct board *b);

/* Adds to a slot and returns what it held before; atomic over all ranks. Not collective. */
double board_add(struct board *b, int slot, double value);

/* A copy of all slots. Not collective. */
void board_read(struct board *b, double *values);

#endif
