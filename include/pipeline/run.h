/* The run: everything between the command line and the exit status. */
#ifndef PIPELINE_RUN_H
#define PIPELINE_RUN_H

#include "base/err.h"
#include "pipeline/comm.h"
#include "pipeline/config.h"

struct run_options {
	int resume, overwrite, dry_run;
	const char *progress; /* file of JSON lines; NULL: OUTPUT.progress.jsonl, "none": none */
};

enum { EXIT_STOPPED = 85 }; /* stopped by a signal: run again with --resume */

/* Runs the configuration over its data set and returns the exit status. Messages are printed. **Collective.**
 */
int run(const struct comm *comm, const struct config *c, const struct run_options *o);

#endif
