/* dave-eval: DAVE attributions and faithfulness metrics of a Vision Transformer over a data set. */
#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"
#include "formats/h5.h"
#include "pipeline/comm.h"
#include "pipeline/config.h"
#include "pipeline/run.h"
#include "pipeline/schema.h"
#include "pipeline/store.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
	"usage: dave-eval [options] CONFIG.yaml\n"
	"       mpirun -n N dave-eval [options] CONFIG.yaml\n"
	"\n"
	"Computes attributions of a Vision Transformer over a data set, and the metrics that judge them,\n"
	"into an HDF5 file. Results are the same bit for bit for any number of ranks.\n"
	"\n"
	"  -o, --output FILE            the same as --set run.output=FILE\n"
	"  -s, --set SECTION.KEY=VALUE  override a key; items of lists by name: --set "
	"methods.dave.samples=6\n"
	"  -l, --limit N                only the first N images (--set data.limit=N)\n"
	"      --seed N                 the same as --set run.seed=N\n"
	"      --resume                 go on with the results file, if it is there\n"
	"      --overwrite              replace the results file, if it is there\n"
	"      --verify FILE            read the rows of a results file back and compare them with their "
	"checksums\n"
	"      --progress FILE          progress as JSON lines (default: OUTPUT.progress.jsonl; none: no "
	"file)\n"
	"      --log-dir DIR            a log file per rank, with the time of every image\n"
	"  -n, --dry-run                check everything, print the resolved configuration and what the run "
	"will\n"
	"                               take, write nothing (but the index of tar shards)\n"
	"  -h, --help                   this text and all configuration keys\n"
	"  -V, --version                version and revision\n"
	"\n"
	"Exit status: 0 done; 1 the run failed; 2 wrong usage or configuration; 85 stopped by SIGINT, "
	"SIGTERM or\n"
	"SIGUSR1 (run again with --resume).\n";

enum {
	OPT_SEED = 256,
	OPT_RESUME,
	OPT_OVERWRITE,
	OPT_VERIFY,
	OPT_PROGRESS,
	OPT_LOG_DIR,
	OPT_KEYS,
	OPT_SCHEMA,
	MAX_SETS = 256
};

struct arguments {
	const char *file, *verify, *log_dir, *sets[MAX_SETS];
	char *made[MAX_SETS]; /* owned */
	int sets_count, made_count;
	struct run_options run;
};

static void add_set(struct arguments *a, const char *key, const char *value)
{
	if (a->sets_count < MAX_SETS)
		a->sets[a->sets_count] = a->made[a->made_count++] = x_asprintf("%s=%s", key, value);
	a->sets_count++;
}

static int bad_usage(int speak, const char *what, const char *which)
{
	if (speak)
		log_error("%s (%s); try: dave-eval --help", what, which);
	return EXIT_USAGE;
}

/* Returns the exit status when the program is to end now, else -1. */
static int parse_arguments(struct arguments *a, int argc, char **argv, int speak)
{
	static const struct option table[] = {{"output", required_argument, NULL, 'o'},
		{"set", required_argument, NULL, 's'}, {"limit", required_argument, NULL, 'l'},
		{"seed", required_argument, NULL, OPT_SEED}, {"resume", no_argument, NULL, OPT_RESUME},
		{"overwrite", no_argument, NULL, OPT_OVERWRITE},
		{"verify", required_argument, NULL, OPT_VERIFY},
		{"progress", required_argument, NULL, OPT_PROGRESS},
		{"log-dir", required_argument, NULL, OPT_LOG_DIR}, {"dry-run", no_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'},
		{"reference-keys", no_argument, NULL, OPT_KEYS},
		{"reference-schema", no_argument, NULL, OPT_SCHEMA}, {NULL, 0, NULL, 0}};
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, "o:s:l:nhV", table, NULL)) != -1)
		switch (o) {
		case 'o':
			add_set(a, "run.output", optarg);
			break;
		case 's':
			if (a->sets_count < MAX_SETS)
				a->sets[a->sets_count] = optarg;
			a->sets_count++;
			break;
		case 'l':
			add_set(a, "data.limit", optarg);
			break;
		case OPT_SEED:
			add_set(a, "run.seed", optarg);
			break;
		case OPT_RESUME:
			a->run.resume = 1;
			break;
		case OPT_OVERWRITE:
			a->run.overwrite = 1;
			break;
		case OPT_VERIFY:
			a->verify = optarg;
			break;
		case OPT_PROGRESS:
			a->run.progress = optarg;
			break;
		case OPT_LOG_DIR:
			a->log_dir = optarg;
			break;
		case 'n':
			a->run.dry_run = 1;
			break;
		case 'h':
			if (speak) {
				fputs(usage, stdout);
				config_help(stdout);
			}
			return 0;
		case 'V':
			if (speak)
				printf("dave-eval %s (%s)\n", DAVE_EVAL_VERSION, version_revision());
			return 0;
		case OPT_KEYS:
			if (speak)
				config_reference(stdout);
			return 0;
		case OPT_SCHEMA:
			if (speak)
				schema_reference(stdout);
			return 0;
		default:
			return bad_usage(speak, "unknown option or missing value", argv[optind - 1]);
		}
	if (a->verify && optind == argc)
		return -1;
	if (optind + 1 != argc || a->verify)
		return bad_usage(
			speak, "expected one CONFIG.yaml", optind < argc ? argv[optind + 1] : "none given");
	if (a->run.resume && a->run.overwrite)
		return bad_usage(speak, "exclude each other", "--resume and --overwrite");
	if (a->sets_count > MAX_SETS)
		return bad_usage(speak, "too many overrides", "at most 256");
	a->file = argv[optind];
	return -1;
}

/* The whole file; rank 0 alone. */
static int read_text(char **text, size_t *size, const char *path, struct err *err)
{
	FILE *f = fopen(path, "rb");

	if (!f)
		return err_set(err, "%s: cannot open: %s", path, strerror(errno));
	*text = x_malloc(CONFIG_MAX_BYTES + 1);
	*size = fread(*text, 1, CONFIG_MAX_BYTES + 1, f);
	int bad = ferror(f);
	fclose(f);
	return bad ? err_set(err, "%s: cannot read: %s", path, strerror(errno)) : 0;
}

/* Rank 0 reads, checks and resolves; the others take the resolved text, so that all agree on every path. */
static int configure(struct config *c, const struct comm *comm, const struct arguments *a, struct err *err)
{
	char *text = NULL;
	size_t size = 0;
	int rc = 0;

	if (!comm->rank && !(rc = read_text(&text, &size, a->file, err)))
		rc = config_parse(c, text, size, a->file, a->sets, a->sets_count, err);
	free(text);
	text = NULL;
	if (comm_agree(rc))
		return -1;
	if (!comm->rank) {
		text = config_format(c, 0);
		size = strlen(text);
	}
	comm_broadcast(&text, &size);
	if (comm->rank && config_parse(c, text, size, a->file, NULL, 0, err))
		BUG("the resolved configuration does not parse: %s", err->msg);
	free(text);
	return 0;
}

/* dave-eval --verify FILE. Rank 0 alone does it. */
static int verify(const struct comm *comm, const char *path)
{
	struct store_counts n;
	struct err err = {{0}};

	if (comm->rank)
		return comm_agree(0);
	h5_setup();
	if (store_verify(path, &n, &err)) {
		log_error("%s", err.msg);
		return comm_agree(EXIT_USAGE);
	}
	if (n.other_list)
		printf("the paths and labels do not match data_sha256\n");
	printf("%d done, %d failed, %d pending, %d damaged: %s\n", n.done, n.failed, n.pending, n.damaged,
		path);
	return comm_agree(n.damaged || n.other_list ? EXIT_RUN : 0);
}

/* The log file of this rank. **Collective.** */
static int open_log(const struct comm *comm, const char *folder, struct err *err)
{
	char *path = x_asprintf("%s/rank-%05d.log", folder, comm->rank);
	int failed = 0;

	if (mkdir(folder, 0777) && errno != EEXIST)
		failed = err_set(err, "%s: cannot create the folder: %s", folder, strerror(errno)) != 0;
	failed = failed || log_open(path, err);
	if (!failed)
		log_detail("rank %d of %d on %s, process %d", comm->rank, comm->size, comm_node(),
			(int)getpid());
	free(path);
	/* what rank 0 sees too, it says for all */
	if (!comm_agree(failed) && failed)
		log_error("node %s: %s", comm_node(), err->msg);
	return comm_max(failed);
}

static int configure_and_run(const struct comm *comm, const struct arguments *a)
{
	struct err err = {{0}};
	struct config c = {0};
	int status = EXIT_USAGE;

	if ((a->log_dir && open_log(comm, a->log_dir, &err)) || configure(&c, comm, a, &err)) {
		if (!comm->rank && *err.msg)
			log_error("%s", err.msg);
	} else {
		status = run(comm, &c, &a->run);
	}
	log_detail("exit status %d", status);
	log_close();
	config_release(&c);
	return status;
}

int main(int argc, char **argv)
{
	struct arguments a = {0};
	struct comm comm;

	stop_install(); /* first: a warning that comes while MPI starts must not kill */
	comm_init(&comm, &argc, &argv);
	int status = parse_arguments(&a, argc, argv, comm.rank == 0);
	if (status < 0)
		status = a.verify ? verify(&comm, a.verify) : configure_and_run(&comm, &a);
	for (int i = 0; i < a.made_count; i++)
		free(a.made[i]);
	if (h5_abandoned())
		comm_abort(status);
	comm_finish();
	return status;
}
