/*
 * What the run says while it runs: one line that is rewritten on a terminal, otherwise a line now and then.
 * The numbers come from the board, so rank 0 speaks for all.
 */
#ifndef PIPELINE_PROGRESS_H
#define PIPELINE_PROGRESS_H

#include "pipeline/comm.h"
#include "pipeline/schema.h"

enum { MAX_HEADLINES = 4 };

/* Slots of the board: the next piece of work, rows done and failed, ranks that have no more work; then, per
 * headline, sum and n. */
enum { SLOT_NEXT, SLOT_DONE, SLOT_FAILED, SLOT_LEFT, SLOT_SUMS };

struct progress {
	int total, already; /* images of this run; of them, done before it began */
	double started, said;
	int terminal, headlines;
	int field[MAX_HEADLINES]; /* fields whose running mean is shown */
	const struct schema *schema;
};

/* Slots that the board must have. */
int progress_slots(void);

/* already: rows that a resumed run finds done. */
void progress_init(struct progress *p, const struct schema *s, int total, int already);

/* Adds a finished row to the board. Any rank; not collective. */
void progress_count(const struct progress *p, struct board *b, const unsigned char *row, int failed);

/* Says where the run is if it is time, or if `last`. Rank 0. */
void progress_say(struct progress *p, struct board *b, int last);

#endif
