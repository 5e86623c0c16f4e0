/*
 * The board under several ranks, in shared memory and by messages: mpirun -n N board. What it handed out must
 * be every number once, and nothing that was added may be lost.
 */
#include "pipeline/board.h"

#include "base/clock.h"
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

enum { NEXT, LEFT, SUM };
enum { ROUNDS = 300 };

static int passed, failed;

static void check(const struct comm *comm, const char *name, int good)
{
	if (comm->rank)
		return;
	printf("%s %s\n", good ? "ok" : "FAIL", name);
	good ? passed++ : failed++;
}

/* Says that this rank has had its turns, and on rank 0 waits until all have said so. */
static void leave(const struct comm *comm, struct board *b, double board[BOARD_SLOTS])
{
	double add[BOARD_SLOTS] = {0};

	add[LEFT] = 1;
	board_exchange(b, add, board);
	while (!comm->rank && board[LEFT] < comm->size) {
		board_answer(b);
		clock_sleep(0.001);
		board_exchange(b, NULL, board);
	}
}

static void test_board(const struct comm *comm, int nodes, int threads)
{
	struct comm own = *comm;
	double add[BOARD_SLOTS] = {0}, board[BOARD_SLOTS];
	size_t n = (size_t)comm->size * ROUNDS;
	unsigned char *seen = x_calloc(n, 1);
	char name[128];
	struct board b;
	int wrong = 0;

	own.threads = comm->threads && threads;
	board_init(&b, &own, nodes);
	for (int i = 0; i < ROUNDS; i++) {
		add[NEXT] = 1;
		add[SUM] = 0.5 * comm->rank;
		board_exchange(&b, add, board);
		double next = board[NEXT];
		if (next < 0 || next >= (double)n || seen[(int)next]++)
			wrong = 1;
		if (i % 64 == 0) /* rank 0 is away for a while, as in a pass */
			clock_sleep(0.002);
	}
	leave(comm, &b, board);
	wrong = comm_max(wrong);
	comm_merge(seen, n);
	for (size_t i = 0; i < n; i++)
		wrong |= seen[i] != 1;
	snprintf(name, sizeof(name), "%d ranks, %s%s: ", comm->size, nodes ? "messages" : "shared memory",
		nodes ? threads ? ", a thread" : ", no thread" : "");
	char *line = x_asprintf("%severy number handed out once", name);
	check(comm, line, !wrong);
	free(line);
	line = x_asprintf("%ssums are whole", name);
	check(comm, line,
		board[NEXT] == (double)n && board[SUM] == 0.25 * ROUNDS * comm->size * (comm->size - 1));
	free(line);
	board_release(&b);
	free(seen);
}

int main(int argc, char **argv)
{
	struct comm comm;

	comm_init(&comm, &argc, &argv);
	test_board(&comm, 0, 0);
	test_board(&comm, 1, 1);
	test_board(&comm, 1, 0);
	check(&comm, "MPI lets two threads in", comm.threads);
	int bad = comm_agree(failed);
	if (!comm.rank)
		printf("%d passed, %d failed, 0 skipped\n", passed, failed);
	comm_finish();
	return bad ? 1 : 0;
}
