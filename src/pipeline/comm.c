#include "pipeline/comm.h"

#include "base/err.h"

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void comm_init(struct comm *c, int *argc, char ***argv)
{
	int provided;

	MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &c->rank);
	MPI_Comm_size(MPI_COMM_WORLD, &c->size);
	c->threads = provided >= MPI_THREAD_MULTIPLE;
}

void comm_finish(void)
{
	MPI_Finalize();
}

void comm_abort(int status)
{
	int size;

	MPI_Comm_size(MPI_COMM_WORLD, &size);
	if (size == 1) /* MPI would say ten lines about it */
		_exit(status);
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

/* The ranks of this node, those of lower rank first; freed by the caller. */
static MPI_Comm node_ranks(void)
{
	MPI_Comm node;

	MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
	return node;
}

int comm_nodes(void)
{
	MPI_Comm node = node_ranks();
	int first;

	MPI_Comm_rank(node, &first);
	MPI_Comm_free(&node);
	first = first == 0;
	MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	return first;
}

int comm_root_here(void)
{
	MPI_Comm node = node_ranks();
	int rank, pid;

	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	pid = rank ? 0 : (int)getpid();
	MPI_Bcast(&pid, 1, MPI_INT, 0, node); /* rank 0 is the first of its node */
	MPI_Comm_free(&node);
	return pid;
}

void comm_sum(double *out, int count)
{
	MPI_Allreduce(MPI_IN_PLACE, out, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

void comm_merge(void *block, size_t size)
{
	const size_t piece = 1 << 30;

	for (size_t at = 0; at < size; at += piece)
		MPI_Allreduce(MPI_IN_PLACE, (char *)block + at, (int)(size - at < piece ? size - at : piece),
			MPI_BYTE, MPI_BOR, MPI_COMM_WORLD);
}
