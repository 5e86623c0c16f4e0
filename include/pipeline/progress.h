/*
 * What the run says while it runs: one line that is rewritten on a terminal, otherwise a line now and then;
 * and the same for programs, a JSON object a line (jobs/README.md, "Progress"). The numbers come from the
 * board, so rank 0 speaks for all.
 */
#ifndef PIPELINE_PROGRESS_H
#define PIPELINE_PROGRESS_H

#include "pipeline/board.h"
#include "pipeline/schema.h"
#include "pipeline/stage.h"

#include <stdio.h>

enum { MAX_HEADLINES = 4 };

/* Slots of the board: the next piece of work, rows done and failed, ranks that have no more work, ranks that
 * cannot go on; then, per headline, sum and n. */
enum { SLOT_NEXT, SLOT_DONE, SLOT_FAILED, SLOT_LEFT, SLOT_TROUBLE, SLOT_SUMS };

struct progress {
	int total, already; /* images of this run; of them, done before it began */
	double started, said, noted;
	int terminal, headlines;
	int field[MAX_HEADLINES]; /* fields whose running mean is shown */
	const struct schema *schema;
	FILE *file; /* JSON lines; NULL: none */
};

/* already: rows that a resumed run finds done. Any rank; no file yet. */
void progress_init(struct progress *p, const struct schema *s, int total, int already);

/* Opens the file of JSON lines, behind what an earlier run left there where `append`, and writes the line
 * "start". A file that cannot be written is warned about. Rank 0. */
void progress_open(
	struct progress *p, const char *path, int append, const char *output, int ranks, int nodes);

/* Says where the time went, writes the line "end" with the seconds of all ranks by stage (and those of none:
 * `start` until the first image, `other`, `summary`) to the file, and closes it. Rank 0. */
void progress_close(struct progress *p, struct board *b, int exit_status, const double seconds[STAGES],
	double start, double other, double summary);

/* Adds a finished row to what is to be added to the board. Any rank. */
void progress_count(const struct progress *p, double add[BOARD_SLOTS], const unsigned char *row, int failed);

/* Says where the run is if it is time, or if `last`. Rank 0. */
void progress_say(struct progress *p, struct board *b, int last);

#endif
