/* The loop of a run: every rank takes the next image from the board, computes its row, and writes it. */
#ifndef PIPELINE_WORK_H
#define PIPELINE_WORK_H

#include "pipeline/board.h"
#include "pipeline/evaluate.h"
#include "pipeline/progress.h"
#include "pipeline/store.h"

enum work_end {
	WORK_DONE,
	WORK_STOPPED, /* a stop was requested of some rank */
	WORK_TROUBLE, /* some rank could not go on, and one of them has said why */
};

struct work {
	const struct comm *comm;
	struct evaluator *evaluator;
	struct store *store;
	struct board *board;
	struct progress *progress;
	const int *list; /* ids of the images to do, in the order in which they are handed out */
	int count;
	double seconds[STAGES]; /* receives this rank's time */
};

/* Works until no image is left, a stop is requested, or a rank cannot go on: images in flight elsewhere are
 * then finished. The same answer on all ranks. **Collective.** */
enum work_end work(struct work *w);

#endif
