/*
 * The results file. All space and all metadata are there before the run starts (contiguous, preallocated data
 * sets); a finished image's row is written independently by the rank that computed it, and its status and
 * checksum after everything else. So the file opens at every moment, a row that says it is done is done, and
 * the order of work leaves no trace (cluster.md, "Results file").
 */
#ifndef PIPELINE_STORE_H
#define PIPELINE_STORE_H

#include "base/err.h"
#include "pipeline/comm.h"
#include "pipeline/schema.h"

#include <stdint.h>

/* What the file says about itself: attributes of the root. All owned by the caller. */
struct store_identity {
	const char *config;            /* resolved, portable */
	const char *checkpoint_sha256; /* of model.safetensors */
	const char *data_sha256;       /* of the list of paths and labels */
	const char *boxes_sha256;      /* of the annotations (region.h); "none" where there are none */
	const char *architecture;
	const char *model;       /* vit_config_text(): what config.json says of the network and the pixels */
	const char *cpu_kernels; /* machines that agree on it agree on every bit */
	uint64_t seed;
	int batch; /* images per pass that `auto` stood for */
};

struct store {
	const struct schema *schema;
	int64_t file;
	int64_t *datasets; /* one per field */
	int64_t transfer;
	int synced; /* descriptor of the same file, for fdatasync() */
	char *path;
};

/* Locks the results file for this run, through PATH.lock; its folder is created. The descriptor, for
 * store_unlock() when the run is over; -1 when another run holds it. Rank 0 alone. */
int store_lock(const char *path, struct err *err);

/* Gives the lock back and removes PATH.lock; -1 is ignored. */
void store_unlock(const char *path, int lock);

/* Creates the file with every row pending: as PATH.tmp, synced, then renamed (a file that is there is
 * replaced). Refuses when too little disk space is left for all of it. Rank 0 alone, which holds the lock. */
int store_create(const char *path, const struct schema *s, const struct config *c,
	const struct store_identity *id, const struct dataset *d, struct err *err);

/* Does the file at path hold the same run? Otherwise an error that says what differs. status (images)
 * receives each row's enum row_status; a row whose bytes do not match its checksum
 * counts as pending. Rank 0 alone. */
int store_check(const char *path, const struct schema *s, const struct store_identity *id, uint8_t *status,
	struct err *err);

/* Opens for writing rows, on each rank; rank 0 holds the lock. */
int store_open(struct store *st, const char *path, const struct schema *s, struct err *err);

/* Writes row i; when its bytes have reached the disk, its checksum and status, and waits for those too: a
 * lost node costs no row that was counted. Not collective. */
int store_write_row(struct store *st, int i, unsigned char *row, enum row_status status, struct err *err);

int store_close(struct store *st, struct err *err);

/* counts[status] = images of each enum row_status, written to the file too. Rank 0 alone, with the file
 * closed. */
int store_count(const char *path, const struct schema *s, int counts[3], struct err *err);

/* Reads all rows back and writes the summary table; the ranks share the bootstraps. With the file closed.
 * **Collective.** */
int store_summarise(
	const struct comm *comm, const char *path, const struct schema *s, uint64_t seed, struct err *err);

/* What store_verify() found; damaged rows are counted as such alone. */
struct store_counts {
	int pending, done, failed, damaged;
	int other_list; /* paths or labels are not those of data_sha256 */
};

/* Reads every finished row of a results file back and compares it with its checksum; needs nothing but the
 * file. A line on standard output per damaged row. Fails where the file is not one of results. */
int store_verify(const char *path, struct store_counts *counts, struct err *err);

/* One line per row of the summary, of a file that was summarised. */
void store_print_summary(const char *path, const struct schema *s);

#endif
