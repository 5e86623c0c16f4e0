#include "pipeline/run.h"

#include "base/clock.h"
#include "base/log.h"
#include "formats/digest.h"
#include "formats/h5.h"
#include "kernels/gemm.h"
#include "pipeline/evaluate.h"
#include "pipeline/progress.h"
#include "pipeline/store.h"
#include "pipeline/work.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Everything that a run holds. */
struct job {
	const struct comm *comm;
	const struct config *c;
	struct vit vit;
	struct grids grids;
	struct dataset data;
	struct region_source regions;
	struct schema schema;
	uint8_t *status;       /* (images): what a resumed run finds */
	int *work, work_count; /* the images that are not done, in order */
	double started;
	int lock; /* of the results file, on rank 0; -1 elsewhere */
};

/* Rank 0 lists the images, everybody gets the list. */
static int share_dataset(struct job *j, struct err *err)
{
	const struct config *c = j->c;
	char *block = NULL;
	size_t size = 0;
	int rc = 0;

	if (!j->comm->rank &&
		!(rc = dataset_read(&j->data, c->data.path, c->data.classes, c->data.limit, err)))
		block = dataset_pack(&j->data, &size);
	if (comm_agree(rc))
		return -1;
	comm_broadcast(&block, &size);
	if (j->comm->rank)
		dataset_unpack(&j->data, block, size);
	free(block);
	return 0;
}

/* Rank 0 reads the file of annotations, everybody parses it; of a folder each rank reads what it needs. */
static int share_regions(struct job *j, struct err *err)
{
	const char *path = j->c->data.boxes;
	char *text = NULL;
	size_t size = 0;
	int rc = !j->comm->rank && *path ? region_load(&text, &size, path, err) : 0;

	if (comm_agree(rc))
		return -1;
	if (comm_agree(text != NULL))
		comm_broadcast(&text, &size);
	rc = region_source_init(&j->regions, path, text, size, &j->data, err);
	free(text);
	if (!comm_agree(rc) && rc) /* what rank 0 sees too, it says for all */
		log_error("node %s: %s", comm_node(), err->msg);
	rc = comm_max(rc != 0) ? -1 : 0;
	if (!rc && !j->comm->rank && *path && !region_count(&j->regions, &j->data, 1))
		log_warn("%s: no image of %s has an annotation%s there", path, j->c->data.path,
			j->data.names ? " of its class" : "");
	return rc;
}

/* Classes of the data and of the model must fit; what cannot fail later is checked now. */
static int check_classes(const struct job *j, struct err *err)
{
	int classes = j->vit.config.classes;

	if (j->c->target == TARGET_LABEL && j->data.classes > classes)
		return err_set(err,
			"%s: data.path has %d classes, but the model %s has %d; name the folders in "
			"data.classes, or set data.target",
			j->c->file, j->data.classes, j->c->model.path, classes);
	if (j->c->target == TARGET_LABEL && !*j->c->data.classes && j->data.folders &&
		j->data.classes < classes && !j->comm->rank)
		log_warn("%s has %d class folders, the model %d classes: folder k is taken for class k; name "
			 "the folders in data.classes if they are a selection",
			j->c->data.path, j->data.classes, classes);
	if (j->c->target == TARGET_INDEX && j->c->target_index >= classes)
		return err_set(err, "%s: data.target: class %d, but the model has classes 0 to %d",
			j->c->file, j->c->target_index, classes - 1);
	if (grids_check(&j->grids, &j->data, classes, err))
		return err_prefix(err, "%s: gridpg", j->c->file);
	return 0;
}

/* Not every method explains every network. */
static int check_methods(const struct job *j, struct err *err)
{
	for (int i = 0; i < j->c->methods_count; i++) {
		const struct method_ops *ops = j->c->methods[i].ops;

		if (ops->check && ops->check(&j->vit.config, j->c->methods[i].params, err))
			return err_prefix(err, "%s: method %s", j->c->file, j->c->methods[i].name);
	}
	return 0;
}

/* ---- dry run ---- */

/* What MPI, HDF5 and BLAS take for themselves, measured. */
enum { LIBRARIES_MB = 9 };

/* What was recognised, where it is not the plainest kind. */
static void print_kind(const struct vit_config *v)
{
	const struct {
		bool is;
		const char *text;
	} parts[] = {
		{!v->class_token, "no class token"},
		{v->dist_head, "two heads averaged (class and distillation token)"},
		{v->dist_token && !v->dist_head, "distillation token"},
		{v->pool == VIT_POOL_AVG, "mean patch classified"},
		{v->pool == VIT_POOL_BOTH, "class token and mean patch classified"},
		{v->bcos, "B-cos"},
		{v->stem_depth > 0, "convolutional stem"},
		{v->fc_norm, "fc_norm"},
		{v->norm_pre, "norm_pre"},
		{v->qk_norm, "q_norm and k_norm"},
		{v->layer_scale, "LayerScale"},
		{v->activation == VIT_QUICK_GELU, "quick GELU"},
		{v->activation == VIT_SWIGLU, "SwiGLU"},
		{v->pos_prefix < v->prefix, "pos_embed without rows for all prefix tokens"},
		{v->external_head, "head from model.head"},
	};

	if (v->registers)
		printf(", %d registers", v->registers);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (parts[i].is)
			printf(", %s", parts[i].text);
	if (v->bcos)
		printf(", sine and cosine positions");
	else if (v->pos_h != v->grid_h || v->pos_w != v->grid_w)
		printf(", pos_embed resampled from %d x %d to %d x %d", v->pos_h, v->pos_w, v->grid_h,
			v->grid_w);
	putchar('\n');
}

static void print_plan(const struct job *j)
{
	const struct config *c = j->c;
	const struct vit_config *v = &j->vit.config;
	char *text = config_format(c, 0);
	double forward, backward, macs;
	char maps[32];

	evaluator_passes(c, v, &j->grids, &forward, &backward, &macs);
	double gmacs = 1e-9 * macs;
	fputs(text, stdout);
	free(text);
	printf("\n# model    %s: %d x %d pixels, patch %d, %d tokens, width %d, %d blocks, %d heads, %d "
	       "classes",
		v->architecture, v->image_h, v->image_w, v->patch, v->tokens, v->width, v->depth, v->heads,
		v->classes);
	print_kind(v);
	printf("# data     %d images, %d classes\n", j->data.count, j->data.classes);
	if (j->regions.kind == REGIONS_TABLE)
		printf("# boxes    of %d images, by %s\n", region_count(&j->regions, &j->data, j->data.count),
			j->data.names ? "name of the class" : "image alone: classes have no names");
	else if (j->regions.kind == REGIONS_FOLDER)
		printf("# boxes    a folder, read image by image\n");
	printf("# batch    %d images per pass\n", evaluate_batch(c, v));
	printf("# work     %.0f forward and %.0f backward passes per image, %.1f GMAC; %.3g TFLOP in all\n",
		forward, backward, gmacs, 2e-3 * gmacs * j->data.count);
	printf("# time     about %s on one core at 80 GFLOP/s\n",
		clock_format(maps, 2 * gmacs * j->data.count / 80));
	printf("# stop     within about %s of a signal: the pass that is running is finished, the image "
	       "dropped\n",
		clock_format(maps, ceil(2e-9 * evaluator_pass_macs(c, v, &j->grids) / 80)));
	printf("# memory   %.0f MB per rank, and %.0f MB of weights shared by the ranks of a node\n",
		LIBRARIES_MB + 1e-6 * (double)(evaluator_bytes(c, &j->vit, &j->grids, &j->schema) +
					       j->vit.weights.own_bytes),
		1e-6 * (double)(safetensors_bytes(&j->vit.file) + safetensors_bytes(&j->vit.head)));
	printf("# output   %.1f MB in %s%s\n", 1e-6 * schema_file_bytes(&j->schema), c->run.output,
		access(c->run.output, F_OK) ? "" : " (exists: --resume or --overwrite)");
}

/* ---- the file ---- */

static int is_folder(const char *path)
{
	struct stat s;

	return !stat(path, &s) && S_ISDIR(s.st_mode);
}

/* SHA-256 of the checkpoint's file; of several (shards, an external head) the digest of their digests. */
static void digest_checkpoint(char hex[DIGEST_TEXT], const struct vit *vit)
{
	const struct safetensors *const lists[] = {&vit->file, &vit->head};
	int count = vit->file.maps_count + vit->head.maps_count;
	char *all = x_calloc((size_t)count, DIGEST_TEXT), *at = all;

	for (int l = 0; l < 2; l++)
		for (int i = 0; i < lists[l]->maps_count; i++, at += DIGEST_TEXT)
			digest_sha256(at, lists[l]->maps[i].data, lists[l]->maps[i].size);
	if (count == 1)
		memcpy(hex, all, DIGEST_TEXT);
	else
		digest_sha256(hex, all, (size_t)count * DIGEST_TEXT);
	free(all);
}

/* Creates the results file, or finds out what is left to do in it. Returns 0 or an exit status: what is asked
 * for cannot be, or what can be has failed. Rank 0. */
static int prepare_file(struct job *j, const struct run_options *o, struct err *err)
{
	const struct config *c = j->c;
	char *config = config_format(c, 1), checkpoint[DIGEST_TEXT], data[DIGEST_TEXT];
	char model[VIT_CONFIG_TEXT];
	struct store_identity id = {.config = config,
		.checkpoint_sha256 = checkpoint,
		.data_sha256 = data,
		.boxes_sha256 = j->regions.digest,
		.architecture = j->vit.config.architecture,
		.model = vit_config_text(model, &j->vit.config),
		.cpu_kernels = gemm_core(),
		.seed = c->run.seed,
		.batch = evaluate_batch(c, &j->vit.config)};
	int exists, rc;
	size_t size;
	char *block = dataset_pack(&j->data, &size);
	size_t labels = (size_t)j->data.count * sizeof(int), text = j->data.text_size;

	/* labels and paths, but not the root: data may move */
	memmove(block, block + size - text, text);
	memcpy(block + text, j->data.label, labels);
	digest_sha256(data, block, text + labels);
	digest_checkpoint(checkpoint, &j->vit);
	j->lock = store_lock(c->run.output, err);
	rc = j->lock < 0 ? EXIT_USAGE : 0;
	exists = !rc && !access(c->run.output, F_OK);
	if (exists && is_folder(c->run.output)) {
		err_set(err, "%s: expected a file, not a folder", c->run.output);
		rc = EXIT_USAGE;
	} else if (exists && o->resume) {
		rc = store_check(c->run.output, &j->schema, &id, j->status, err) ? EXIT_USAGE : 0;
	} else if (exists && !o->overwrite) {
		err_set(err, "%s exists: go on with --resume, or replace it with --overwrite", c->run.output);
		rc = EXIT_USAGE;
	} else if (!rc) {
		rc = store_create(c->run.output, &j->schema, c, &id, &j->data, err) ? EXIT_RUN : 0;
	}
	free(block);
	free(config);
	return rc;
}

/* What costs most comes first, so that no rank begins on a long image when the others are done. All images
 * of a run take all of its methods; those that failed before most likely fail again, at once. */
static void list_work(struct job *j)
{
	static const enum row_status order[] = {ROW_PENDING, ROW_FAILED};

	j->work = x_malloc((size_t)j->data.count * sizeof(*j->work));
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < j->data.count; i++)
			if (j->status[i] == order[k])
				j->work[j->work_count++] = i;
}

/* ---- the end ---- */

/* Summary, last words and exit status, the same on all ranks. **Collective.** */
static int finish(const struct job *j, int stopped)
{
	const struct comm *comm = j->comm;
	const char *output = j->c->run.output;
	struct err err = {{0}};
	int counts[3] = {0};
	int bad = comm_agree(comm->rank ? 0 : store_count(output, &j->schema, counts, &err));
	int pending = comm_agree(counts[ROW_PENDING]), done = comm_agree(counts[ROW_DONE]);

	bad = bad || (!pending && store_summarise(comm, output, &j->schema, j->c->run.seed, &err));
	if (bad) {
		if (!comm->rank)
			log_error("%s; finished rows are safe: run again with --resume", err.msg);
		return EXIT_RUN;
	}
	if (stopped && pending) { /* no time for a summary: it comes with the last row */
		if (!comm->rank)
			log_info("stopped with %d of %d images done; go on with --resume", done,
				j->data.count);
		return EXIT_STOPPED;
	}
	if (!comm->rank) {
		store_print_summary(output, &j->schema);
		printf("%d images done, %d failed: %s\n", done, counts[ROW_FAILED], output);
		fflush(stdout);
	}
	return done ? 0 : EXIT_RUN;
}

/* Says which node cannot see the file. */
static int everybody_sees(const char *path)
{
	int blind = access(path, R_OK | W_OK) != 0;

	if (blind)
		log_error("%s: node %s cannot open it: %s (results must lie where all nodes see them)", path,
			comm_node(), strerror(errno));
	return !comm_max(blind);
}

/* mpirun that is told to end gives the ranks a second: too little for last words after a pass. Rank 0 says
 * them at once, or the last rank, where rank 0 cannot be seen to do so. */
static void announce_stop(const struct comm *comm)
{
	int root = comm_root_here();

	if (!comm->rank || comm->rank == comm->size - 1)
		stop_announce(
			"stopping; finished rows are safe: go on with --resume\n", comm->rank ? root : 0);
}

static void begin_progress(struct progress *p, const struct job *j, const struct run_options *o, int nodes)
{
	const char *output = j->c->run.output;
	char *path = o->progress ? x_strdup(o->progress) : x_asprintf("%s.progress.jsonl", output);

	progress_init(p, &j->schema, j->data.count, j->data.count - j->work_count);
	if (!j->comm->rank && strcmp(path, "none"))
		progress_open(p, path, o->resume, output, j->comm->size, nodes);
	free(path);
}

/* The loop and what follows it, with everything open. **Collective.** */
static int work_and_finish(struct job *j, const struct run_options *o, struct evaluator *e, struct store *st)
{
	struct progress progress;
	struct board board;
	struct work w = {.comm = j->comm,
		.evaluator = e,
		.store = st,
		.board = &board,
		.progress = &progress,
		.list = j->work,
		.count = j->work_count};
	double size = j->comm->size, sum = 0;
	struct err err = {{0}};

	begin_progress(&progress, j, o, comm_nodes());
	double began = progress.started;
	board_init(&board, j->comm, false);
	announce_stop(j->comm);
	enum work_end end = work(&w);
	if (!j->comm->rank)
		progress_say(&progress, &board, 1);
	/* all ranks, since rank 0 writes to the file next; the first that could not says so */
	int unclosed = store_close(st, &err) ? j->comm->size - j->comm->rank : 0, first = comm_max(unclosed);
	if (unclosed && unclosed == first && end != WORK_TROUBLE)
		log_error("%s; finished rows are safe: run again with --resume", err.msg);
	if (first)
		end = WORK_TROUBLE;
	double looped = clock_seconds();
	int status = end == WORK_TROUBLE ? EXIT_RUN : finish(j, end == WORK_STOPPED);
	comm_sum(w.seconds, STAGES);
	for (int i = 0; i < STAGES; i++)
		sum += w.seconds[i];
	if (!j->comm->rank)
		progress_close(&progress, &board, status, w.seconds, size * (began - j->started),
			size * (looped - began) - sum, size * (clock_seconds() - looped));
	board_release(&board);
	stop_announce(NULL, 0);
	return status;
}

static int run_job(struct job *j, const struct run_options *o)
{
	const char *output = j->c->run.output;
	struct evaluator evaluator;
	struct store st;
	struct err err = {{0}};
	int failed, status = EXIT_RUN;

	if (!everybody_sees(output))
		return EXIT_RUN;
	if (!comm_same(gemm_core()) && !j->comm->rank)
		log_warn("ranks run on different kinds of CPU: rows differ in the last bits with who "
			 "computes them; OPENBLAS_CORETYPE=Haswell makes most kinds agree");
	/* memory first: to run out of it while the file is open is worse */
	evaluator_init(&evaluator, j->c, &j->vit, &j->grids, &j->data, &j->regions, &j->schema);
	failed = store_open(&st, output, &j->schema, &err) != 0;
	if (failed)
		log_error("node %s: %s", comm_node(), err.msg);
	if (!comm_max(failed))
		status = work_and_finish(j, o, &evaluator, &st);
	evaluator_release(&evaluator);
	return status;
}

/* Loads the model on every rank; the first error of any rank is everybody's. */
static int prepare(struct job *j, struct err *err)
{
	struct vit_options options = config_vit_options(j->c);
	int failed = vit_load(&j->vit, j->c->model.path, &options, err) ||
		     grids_load(&j->grids, j->c, &j->vit, err);

	/* what rank 0 sees too, it says for all */
	if (!comm_agree(failed) && failed)
		log_error("node %s: %s", comm_node(), err->msg);
	if (comm_max(failed) || share_dataset(j, err) || share_regions(j, err) || check_classes(j, err) ||
		check_methods(j, err))
		return -1;
	schema_init(&j->schema, j->c, &j->vit.config, &j->data);
	j->status = x_calloc((size_t)j->data.count, 1);
	return 0;
}

/* Threads that would share a core: mpirun binds every rank to one unless it is told otherwise. */
static void warn_of_threads(const struct job *j)
{
	cpu_set_t cpus;
	int threads = j->c->engine.threads;

	if (threads > 1 && !j->comm->rank && !sched_getaffinity(0, sizeof(cpus), &cpus) &&
		CPU_COUNT(&cpus) < threads)
		log_warn("engine.threads is %d, but a rank may run on %d core%s: mpirun --map-by slot:PE=%d, "
			 "or "
			 "--bind-to none, lets it run on more",
			threads, CPU_COUNT(&cpus), CPU_COUNT(&cpus) == 1 ? "" : "s", threads);
}

int run(const struct comm *comm, const struct config *c, const struct run_options *o)
{
	struct job j = {.comm = comm, .c = c, .lock = -1, .started = clock_seconds()};
	struct err err = {"another rank cannot load the model"};
	int status = 0;

	h5_setup();
	gemm_set_threads(c->engine.threads);
	warn_of_threads(&j);
	if (prepare(&j, &err)) {
		status = EXIT_USAGE;
	} else if (o->dry_run) {
		if (!comm->rank)
			print_plan(&j);
	} else {
		char *block = (char *)j.status;
		size_t size = (size_t)j.data.count;

		status = comm_agree(comm->rank ? 0 : prepare_file(&j, o, &err));
		if (!status) {
			if (comm->rank)
				free(j.status);
			comm_broadcast(&block, &size);
			j.status = (uint8_t *)block;
			list_work(&j);
			status = run_job(&j, o);
			err.msg[0] = 0;
		}
	}
	if (status && *err.msg && !comm->rank)
		log_error("%s", err.msg);
	store_unlock(c->run.output, j.lock);
	free(j.status);
	free(j.work);
	schema_release(&j.schema);
	region_source_release(&j.regions);
	dataset_release(&j.data);
	grids_release(&j.grids);
	vit_release(&j.vit);
	return status;
}
