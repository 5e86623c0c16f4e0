/*
 * The board: numbers on rank 0 that every rank adds to, all in one exchange. It hands out the work and counts
 * what was done.
 *
 * Where all ranks share a node, it is a window of shared memory (MPI-3): rank 0 takes no part in an exchange.
 * Between nodes it is served by a thread of rank 0 that looks for messages every few milliseconds, since
 * one-sided operations over TCP proceed only while their target is inside MPI (and Debian's Open MPI has them
 * switched off there). MPI without MPI_THREAD_MULTIPLE: rank 0 must call board_answer() now and then.
 */
#ifndef PIPELINE_BOARD_H
#define PIPELINE_BOARD_H

#include "pipeline/comm.h"

#include <stdbool.h>

enum { BOARD_SLOTS = 32 };

/* One per process at a time. */
struct board {
	int rank;
	void *parts; /* MPI's and the thread's */
};

/* All slots are 0. Several nodes are told from one by MPI, or taken for granted where `nodes` is true
 * (tests).
 * **Collective.** */
void board_init(struct board *b, const struct comm *comm, bool nodes);

/* Every exchange must be over: on rank 0 after the others have said so through the board. **Collective.** */
void board_release(struct board *b);

/* Answers other ranks where no thread does; cheap. Rank 0 calls it between passes. */
void board_answer(struct board *b);

/* before[] = the slots, then slots += add[]; slot by slot atomic over all ranks. Either may be NULL: add
 * nothing, or do not tell. Not collective; main thread only. */
void board_exchange(struct board *b, const double *add, double *before);

#endif
