#include "pipeline/progress.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"
#include "formats/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Seconds between lines: on a terminal, elsewhere, in the file. */
static const double terminal_pause = 0.5, line_pause = 10, file_pause = 5;

static int is_auc(const char *name)
{
	size_t n = strlen(name);

	return n > 4 && !strcmp(name + n - 4, "/auc");
}

void progress_init(struct progress *p, const struct schema *s, int total, int already)
{
	*p = (struct progress){.total = total, .already = already, .started = clock_seconds(), .schema = s};
	p->said = p->noted = p->started;
	p->terminal = isatty(STDERR_FILENO);
	for (int i = 0; i < s->summary.count && p->headlines < MAX_HEADLINES; i++)
		if (is_auc(s->summary.rows[i].name))
			p->field[p->headlines++] = s->summary.rows[i].field;
}

void progress_count(const struct progress *p, double add[BOARD_SLOTS], const unsigned char *row, int failed)
{
	for (int k = 0; k < p->headlines && !failed; k++) {
		double v;

		memcpy(&v, row + p->schema->fields[p->field[k]].offset, sizeof(v));
		if (isfinite(v)) {
			add[SLOT_SUMS + 2 * k] += v;
			add[SLOT_SUMS + 2 * k + 1] += 1;
		}
	}
	add[failed ? SLOT_FAILED : SLOT_DONE] += 1;
}

/* Where the time went, in shares of all ranks' time. */
static void say_time(const double seconds[STAGES], double start, double other, double summary)
{
	double total = start + other + summary;
	char line[512];
	int n = 0;

	for (int i = 0; i < STAGES; i++)
		total += seconds[i];
	for (int i = 0; i < STAGES; i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%s %.2f %%, ", stage_names[i],
			100 * seconds[i] / total);
	log_info("time of the ranks: %sstart %.2f %%, summary %.2f %%, other %.2f %%", line,
		100 * start / total, 100 * summary / total, 100 * other / total);
}

/* ---- the file ---- */

/* Writes one object, which is released, as a line. A full disk ends the file, not the run. */
static void note(struct progress *p, const char *event, json_t *rest)
{
	char now[CLOCK_TIMESTAMP];
	json_t *line = json_pack("{s:s, s:s}", "event", event, "time", clock_timestamp(now));

	if (!line || !rest || json_object_update(line, rest))
		BUG("progress line %s", event);
	json_decref(rest);
	if (json_dumpf(line, p->file, JSON_COMPACT | JSON_REAL_PRECISION(6)) || fputc('\n', p->file) < 0 ||
		fflush(p->file)) {
		log_warn("the progress file cannot be written: %s", strerror(errno));
		fclose(p->file);
		p->file = NULL;
	}
	json_decref(line);
}

static bool same_file(const char *a, const char *b)
{
	struct stat s, t;

	return !stat(a, &s) && !stat(b, &t) && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

void progress_open(struct progress *p, const char *path, int append, const char *output, int ranks, int nodes)
{
	if (same_file(path, output)) {
		log_warn("%s: progress would replace the results: it is not written", path);
		return;
	}
	/* a pipe that nobody reads must not hold the run up */
	int fd =
		open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | (append ? O_APPEND : O_TRUNC), 0666);
	p->file = fd < 0 ? NULL : fdopen(fd, append ? "a" : "w");
	if (!p->file) {
		log_warn("%s: cannot open for progress: %s", path, strerror(errno));
		return;
	}
	note(p, "start",
		json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i}", "version", DAVE_EVAL_VERSION, "revision",
			version_revision(), "output", output, "ranks", ranks, "nodes", nodes, "images",
			p->total, "already", p->already));
}

static void note_numbers(struct progress *p, const double *v, double now)
{
	double fresh = v[SLOT_DONE] + v[SLOT_FAILED], rate = fresh / (now - p->started);
	json_t *o = json_pack("{s:f, s:i, s:i, s:i, s:f}", "elapsed", now - p->started, "done",
		(int)(p->already + v[SLOT_DONE]), "failed", (int)v[SLOT_FAILED], "images", p->total,
		"images_per_second", rate);

	if (fresh > 0)
		json_object_set_new(o, "eta", json_real((p->total - p->already - fresh) / rate));
	note(p, "progress", o);
}

void progress_close(struct progress *p, struct board *b, int exit_status, const double seconds[STAGES],
	double start, double other, double summary)
{
	double v[BOARD_SLOTS], now = clock_seconds();
	json_t *stages = json_pack("{s:f, s:f, s:f}", "start", start, "other", other, "summary", summary);

	for (int i = 0; i < STAGES; i++)
		json_object_set_new(stages, stage_names[i], json_real(seconds[i]));
	board_exchange(b, NULL, v);
	say_time(seconds, start, other, summary);
	if (p->file)
		note(p, "end",
			json_pack("{s:f, s:i, s:i, s:i, s:i, s:O}", "elapsed", now - p->started, "done",
				(int)(p->already + v[SLOT_DONE]), "failed", (int)v[SLOT_FAILED], "images",
				p->total, "exit_status", exit_status, "rank_seconds", stages));
	json_decref(stages);
	if (p->file)
		fclose(p->file);
	p->file = NULL;
}

/* ---- while it runs ---- */

static void print_line(struct progress *p, const double *v, double now, int last)
{
	double done = v[SLOT_DONE] + v[SLOT_FAILED], rate = done / (now - p->started);
	char left[32], line[512];
	int n = snprintf(line, sizeof(line), "%.0f/%d images, %.3g/s", p->already + done, p->total, rate);

	if (done > 0 && !last)
		n += snprintf(line + n, sizeof(line) - (size_t)n, ", %s left",
			clock_format(left, (p->total - p->already - done) / rate));
	if (v[SLOT_FAILED] > 0)
		n += snprintf(line + n, sizeof(line) - (size_t)n, ", %.0f failed", v[SLOT_FAILED]);
	for (int k = 0; k < p->headlines; k++)
		if (v[SLOT_SUMS + 2 * k + 1] > 0 && n < 400) {
			const char *path = p->schema->fields[p->field[k]].path + strlen("/methods/");

			n += snprintf(line + n, sizeof(line) - (size_t)n, ", %.*s %.4f",
				(int)strlen(path) - 4, path, v[SLOT_SUMS + 2 * k] / v[SLOT_SUMS + 2 * k + 1]);
		}
	fprintf(stderr, p->terminal ? "\r\033[K%s%s" : "%s%s", line, p->terminal && !last ? "" : "\n");
	fflush(stderr);
}

void progress_say(struct progress *p, struct board *b, int last)
{
	double now = clock_seconds(), v[BOARD_SLOTS];
	int say = last || now - p->said >= (p->terminal ? terminal_pause : line_pause);
	int to_file = p->file && (last || now - p->noted >= file_pause);

	if (!say && !to_file)
		return;
	board_exchange(b, NULL, v);
	if (say)
		print_line(p, v, p->said = now, last);
	if (to_file)
		note_numbers(p, v, p->noted = now);
}
