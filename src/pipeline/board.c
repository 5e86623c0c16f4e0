#include "pipeline/board.h"

#include "base/clock.h"
#include "base/err.h"

#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_ASK = 1, TAG_ANSWER };

/* Between looks for messages: an image takes seconds, a look some microseconds. */
static const double pause_seconds = 0.005;

struct parts {
	MPI_Comm comm; /* of its own, so that messages cannot meet others */
	int shared, threaded;
	MPI_Win window; /* shared memory; or: */
	pthread_t thread;
	pthread_mutex_t lock;
	atomic_int over;
	double slots[BOARD_SLOTS]; /* on rank 0 */
};

static void apply(struct parts *p, const double *add, double *before)
{
	pthread_mutex_lock(&p->lock);
	if (before)
		memcpy(before, p->slots, sizeof(p->slots));
	for (int i = 0; add && i < BOARD_SLOTS; i++)
		p->slots[i] += add[i];
	pthread_mutex_unlock(&p->lock);
}

/* Answers all messages that are there. Open MPI looks before it lets messages in: only the second look sees
 * them. Rank 0. */
static void serve(struct parts *p)
{
	double add[BOARD_SLOTS], before[BOARD_SLOTS];
	MPI_Status from;
	int found;

	for (int looks = 0; looks < 2; looks++) {
		MPI_Iprobe(MPI_ANY_SOURCE, TAG_ASK, p->comm, &found, &from);
		if (!found)
			continue;
		MPI_Recv(add, BOARD_SLOTS, MPI_DOUBLE, from.MPI_SOURCE, TAG_ASK, p->comm, MPI_STATUS_IGNORE);
		apply(p, add, before);
		MPI_Send(before, BOARD_SLOTS, MPI_DOUBLE, from.MPI_SOURCE, TAG_ANSWER, p->comm);
		looks = -1;
	}
}

static void *serve_always(void *data)
{
	struct parts *p = data;

	while (!atomic_load(&p->over)) {
		serve(p);
		clock_sleep(pause_seconds);
	}
	return NULL;
}

static void make_window(struct parts *p, int rank)
{
	size_t bytes = rank ? 0 : sizeof(p->slots);
	double *slots;

	MPI_Win_allocate((MPI_Aint)bytes, (int)sizeof(double), MPI_INFO_NULL, p->comm, &slots, &p->window);
	MPI_Win_lock_all(0, p->window);
	if (!rank)
		memset(slots, 0, bytes);
	MPI_Win_sync(p->window);
}

void board_init(struct board *b, const struct comm *comm, bool nodes)
{
	struct parts *p = x_calloc(1, sizeof(*p));

	*b = (struct board){comm->rank, p};
	p->shared = !nodes && comm_nodes() == 1;
	pthread_mutex_init(&p->lock, NULL);
	MPI_Comm_dup(MPI_COMM_WORLD, &p->comm);
	if (p->shared) {
		make_window(p, comm->rank);
	} else if (!comm->rank) {
		p->threaded = comm->threads && !pthread_create(&p->thread, NULL, serve_always, p);
	}
	MPI_Barrier(p->comm);
}

void board_release(struct board *b)
{
	struct parts *p = b->parts;

	if (p->shared) {
		MPI_Win_unlock_all(p->window);
		MPI_Win_free(&p->window);
	} else if (p->threaded) {
		atomic_store(&p->over, 1);
		pthread_join(p->thread, NULL);
	}
	MPI_Comm_free(&p->comm);
	pthread_mutex_destroy(&p->lock);
	free(p);
	*b = (struct board){0};
}

static void exchange_shared(struct parts *p, const double *add, double *before)
{
	static const double nothing;
	double old[BOARD_SLOTS];

	/* an atomic read of what is not added to: MPI_NO_OP leaves a slot as it is */
	for (int i = 0; i < BOARD_SLOTS; i++)
		if (add && add[i] != 0)
			MPI_Fetch_and_op(&add[i], &old[i], MPI_DOUBLE, 0, i, MPI_SUM, p->window);
		else if (before)
			MPI_Fetch_and_op(&nothing, &old[i], MPI_DOUBLE, 0, i, MPI_NO_OP, p->window);
	MPI_Win_flush(0, p->window);
	if (before)
		memcpy(before, old, sizeof(old));
}

void board_answer(struct board *b)
{
	struct parts *p = b->parts;

	if (!b->rank && !p->shared && !p->threaded)
		serve(p);
}

void board_exchange(struct board *b, const double *add, double *before)
{
	struct parts *p = b->parts;
	double zeros[BOARD_SLOTS] = {0}, answer[BOARD_SLOTS];

	if (p->shared) {
		exchange_shared(p, add, before);
	} else if (!b->rank) {
		board_answer(b);
		apply(p, add, before);
	} else {
		MPI_Sendrecv(add ? add : zeros, BOARD_SLOTS, MPI_DOUBLE, 0, TAG_ASK, answer, BOARD_SLOTS,
			MPI_DOUBLE, 0, TAG_ANSWER, p->comm, MPI_STATUS_IGNORE);
		if (before)
			memcpy(before, answer, sizeof(answer));
	}
}
