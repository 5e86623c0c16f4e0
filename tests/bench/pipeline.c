/*
 * What the pipeline itself can do: exchanges with the board a second, rows written a second.
 *   mpirun -n N pipeline FILE      FILE is written and removed; prints CSV: what,ranks,value,unit
 */
#include "base/clock.h"
#include "formats/h5.h"
#include "pipeline/board.h"
#include "pipeline/config.h"
#include "pipeline/dataset_parts.h"
#include "pipeline/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IMAGES = 600, EXCHANGES = 20000, SERVED = 400 };

/* The main job: float16 maps of 224 x 224, a curve of 130 points and one of 225. */
static const char config_text[] = "run: {output: x.h5}\nmodel: {path: x}\ndata: {path: x}\n"
				  "methods: [dave]\nmetrics:\n"
				  "  - deletion: {preset: dave}\n  - insertion: {preset: rise}\n";

/* All ranks ask at once, n times each; the slowest counts. */
static void time_exchanges(const struct comm *comm, bool nodes, int n)
{
	double add[BOARD_SLOTS] = {1}, board[BOARD_SLOTS], left[BOARD_SLOTS] = {0, 1};
	struct board b;

	board_init(&b, comm, nodes);
	double began = clock_seconds();
	for (int i = 0; i < n; i++)
		board_exchange(&b, add, board);
	double took = clock_seconds() - began;
	for (board_exchange(&b, left, board); !comm->rank && board[1] < comm->size;) {
		board_exchange(&b, NULL, board); /* rank 0 stays until the others are done */
		clock_sleep(0.001);
	}
	board_release(&b);
	if (comm->rank == comm->size - 1) {
		const char *kind = nodes ? "between nodes" : "within a node";

		printf("exchange %s,%d,%.4g,us\n", kind, comm->size, 1e6 * took / n);
		printf("exchanges %s,%d,%.4g,1/s\n", kind, comm->size, n * comm->size / took);
	}
}

static void time_rows(const struct comm *comm, const char *path)
{
	struct vit_config vit = {.image_h = 224, .image_w = 224, .channels = 3, .classes = 1000};
	struct store_identity id = {"", "", "", "", "", "", "", 0, 1};
	struct dataset d = {0};
	struct config c = {0};
	struct schema s;
	struct store st;
	struct err err = {{0}};

	if (config_parse(&c, config_text, strlen(config_text), "bench", NULL, 0, &err))
		BUG("%s", err.msg);
	for (int i = 0; i < IMAGES; i++)
		dataset_add(&d, "n01440764/ILSVRC2012_val_00000293.JPEG", 0, -1);
	schema_init(&s, &c, &vit, &d);
	if (comm_agree(comm->rank ? 0 : store_create(path, &s, &c, &id, &d, &err)) ||
		store_open(&st, path, &s, &err))
		BUG("%s", err.msg);
	unsigned char *row = x_malloc(s.row_bytes);
	memset(row, 1, s.row_bytes);
	double began = clock_seconds();
	for (int i = comm->rank; i < IMAGES; i += comm->size)
		if (store_write_row(&st, i, row, ROW_DONE, &err))
			BUG("%s", err.msg);
	comm_max(0); /* all are done */
	double took = clock_seconds() - began;
	if (!comm->rank) {
		printf("row,%d,%.4g,ms\n", comm->size, 1e3 * took * comm->size / IMAGES);
		printf("rows,%d,%.4g,1/s\n", comm->size, IMAGES / took);
		printf("bytes,%d,%.4g,MB/s\n", comm->size, 1e-6 * (double)s.row_bytes * IMAGES / took);
	}
	store_close(&st, &err);
	if (!comm->rank)
		unlink(path);
	free(row);
	schema_release(&s);
	dataset_release(&d);
	config_release(&c);
}

int main(int argc, char **argv)
{
	struct comm comm;

	comm_init(&comm, &argc, &argv);
	h5_setup();
	if (argc != 2)
		BUG("usage: pipeline FILE");
	time_exchanges(&comm, false, EXCHANGES);
	if (comm.size > 1)
		time_exchanges(&comm, true, SERVED);
	time_rows(&comm, argv[1]);
	comm_finish();
	return 0;
}
