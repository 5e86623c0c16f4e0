#include "pipeline/work.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* What rank 0 does between passes, in the middle of an image. */
static const struct work *g_work;

static void between_passes(void)
{
	board_answer(g_work->board);
	progress_say(g_work->progress, g_work->board, 0);
}

/* A row's line in the log of this rank. */
static void log_row(const struct work *w, int i, enum evaluate_result r, const double before[STAGES])
{
	double s[STAGES];

	for (int k = 0; k < STAGES; k++)
		s[k] = w->seconds[k] - before[k];
	log_detail("image %d %s: %s, wait %.4f decode %.4f attribution %.4f metrics %.4f write %.4f", i,
		dataset_path(w->evaluator->data, i), r == EVALUATE_DONE ? "done" : "failed", s[STAGE_WAIT],
		s[STAGE_DECODE], s[STAGE_ATTRIBUTION], s[STAGE_METRICS], s[STAGE_WRITE]);
}

/* One image. Returns what became of it; trouble comes back in err. */
static enum evaluate_result do_image(struct work *w, int i, unsigned char *row, int *trouble, struct err *err)
{
	enum evaluate_result r = evaluate(w->evaluator, i, row, w->seconds, err);
	double since = clock_seconds();

	*trouble = 0;
	if (r == EVALUATE_STOPPED)
		return r;
	if (r == EVALUATE_FAILED)
		log_warn("%s failed: %s", dataset_path(w->evaluator->data, i), err->msg);
	/* a row of weights that are changing is nobody's result */
	*trouble = vit_unchanged(w->evaluator->vit, err) ||
		   store_write_row(w->store, i, row, r == EVALUATE_DONE ? ROW_DONE : ROW_FAILED, err);
	stage_charge(w->seconds, STAGE_WRITE, &since);
	return r;
}

/* Takes images from the board until none is left. Returns true when this rank cannot go on. */
static int loop(struct work *w)
{
	unsigned char *row = x_malloc(w->evaluator->schema->row_bytes);
	double add[BOARD_SLOTS] = {0}, board[BOARD_SLOTS], before[STAGES];
	int trouble = 0;
	struct err err = {{0}};

	while (!stop_requested()) {
		double since = clock_seconds();

		memcpy(before, w->seconds, sizeof(before));
		add[SLOT_NEXT] = 1;
		board_exchange(w->board, add, board);
		memset(add, 0, sizeof(add));
		stage_charge(w->seconds, STAGE_WAIT, &since);
		if (board[SLOT_NEXT] >= w->count)
			break;
		int i = w->list[(int)board[SLOT_NEXT]];
		enum evaluate_result r = do_image(w, i, row, &trouble, &err);
		if (trouble || r == EVALUATE_STOPPED)
			break;
		progress_count(w->progress, add, row, r == EVALUATE_FAILED);
		log_row(w, i, r, before);
	}
	free(row);
	add[SLOT_LEFT] = 1;
	add[SLOT_TROUBLE] = trouble;
	if (trouble || stop_requested()) /* of one rank is of all: nothing more is handed out */
		add[SLOT_NEXT] = w->count;
	board_exchange(w->board, add, board);
	if (trouble && board[SLOT_TROUBLE] == 0)
		log_error("%s; finished rows are safe: mend it, then run again with --resume", err.msg);
	else if (trouble)
		log_detail("error: %s", err.msg);
	return trouble;
}

/* Rank 0 goes on reporting, and answering, until the others have come out of the loop too. */
static void wait_for_others(struct work *w)
{
	double board[BOARD_SLOTS];

	for (;;) {
		board_exchange(w->board, NULL, board);
		if (board[SLOT_LEFT] >= w->comm->size)
			return;
		progress_say(w->progress, w->board, 0);
		clock_sleep(0.02);
	}
}

enum work_end work(struct work *w)
{
	g_work = w;
	if (!w->comm->rank)
		stop_on_ask(between_passes);
	int trouble = loop(w);
	double since = clock_seconds();
	stop_on_ask(NULL);
	if (!w->comm->rank)
		wait_for_others(w);
	enum work_end end = comm_max(trouble ? WORK_TROUBLE : stop_requested() ? WORK_STOPPED : WORK_DONE);
	stage_charge(w->seconds, STAGE_WAIT, &since);
	return end;
}
