#include "pipeline/comm.h"

#include "base/clock.h"
#include "base/err.h"

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void comm_init(struct comm *c, int *argc, char ***argv)
{
	int provided;

	MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &c->rank);
	MPI_Comm_size(MPI_COMM_WORLD, &c->size);
}

void comm_finish(void)
{
	MPI_Finalize();
}

void comm_abort(int status)
{
	MPI_Abort(MPI_COMM_WORLD, status);
	abort();
}

void comm_broadcast(char **block, size_t *size)
{
	const size_t piece = 1 << 30; /* counts are ints */
	uint64_t n = *size;
	int rank;

	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Bcast(&n, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
	*size = n;
	if (rank)
		*block = x_malloc(n);
	for (size_t at = 0; at < n; at += piece)
		MPI_Bcast(*block + at, (int)(n - at < piece ? n - at : piece), MPI_BYTE, 0, MPI_COMM_WORLD);
}

int comm_agree(int value)
{
	MPI_Bcast(&value, 1, MPI_INT, 0, MPI_COMM_WORLD);
	return value;
}

int comm_max(int value)
{
	MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
	return value;
}

/* Between nodes, one-sided operations proceed only while their target is inside MPI. */
static void answer(void)
{
	int found;

	MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &found, MPI_STATUS_IGNORE);
}

void board_init(struct board *b, int slots)
{
	MPI_Win *window = x_malloc(sizeof(MPI_Win)); /* NOLINT(bugprone-sizeof-expression): a handle */
	int rank;

	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	b->slots = slots;
	MPI_Win_allocate(rank ? 0 : (MPI_Aint)((size_t)slots * sizeof(double)), sizeof(double), MPI_INFO_NULL,
		MPI_COMM_WORLD, &b->values, window);
	MPI_Win_lock_all(0, *window);
	for (int i = 0; !rank && i < slots; i++)
		b->values[i] = 0;
	MPI_Win_sync(*window);
	b->window = window;
	stop_on_ask(answer);
	MPI_Barrier(MPI_COMM_WORLD);
}

void board_release(struct board *b)
{
	stop_on_ask(NULL);
	MPI_Win *window = b->window;

	MPI_Win_unlock_all(*window);
	MPI_Win_free(window);
	free(window);
	*b = (struct board){0};
}

double board_add(struct board *b, int slot, double value)
{
	MPI_Win *window = b->window;
	double before;

	MPI_Fetch_and_op(&value, &before, MPI_DOUBLE, 0, slot, MPI_SUM, *window);
	MPI_Win_flush(0, *window);
	return before;
}

void board_read(struct board *b, double *values)
{
	MPI_Win *window = b->window;

	/* an atomic read: MPI_NO_OP leaves the slots as they are */
	MPI_Get_accumulate(NULL, 0, MPI_DOUBLE, values, b->slots, MPI_DOUBLE, 0, 0, b->slots, MPI_DOUBLE,
		MPI_NO_OP, *window);
	MPI_Win_flush(0, *window);
}

int comm_same(const char *text)
{
	char theirs[256] = "";
	int differs;

	snprintf(theirs, sizeof(theirs), "%s", text);
	MPI_Bcast(theirs, sizeof(theirs), MPI_CHAR, 0, MPI_COMM_WORLD);
	differs = strncmp(theirs, text, sizeof(theirs) - 1) != 0;
	return !comm_max(differs);
}

const char *comm_node(void)
{
	static char name[MPI_MAX_PROCESSOR_NAME];
	int length;

	MPI_Get_processor_name(name, &length);
	return name;
}
