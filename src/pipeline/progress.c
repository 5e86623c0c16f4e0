#include "pipeline/progress.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int progress_slots(void)
{
	return SLOT_SUMS + 2 * MAX_HEADLINES;
}

static int is_auc(const char *name)
{
	size_t n = strlen(name);

	return n > 4 && !strcmp(name + n - 4, "/auc");
}

void progress_init(struct progress *p, const struct schema *s, int total, int already)
{
	*p = (struct progress){.total = total, .already = already, .started = clock_seconds(), .schema = s};
	p->said = p->started;
	p->terminal = isatty(STDERR_FILENO);
	for (int i = 0; i < s->summary_count && p->headlines < MAX_HEADLINES; i++)
		if (is_auc(s->summary[i]))
			p->field[p->headlines++] = s->summary_field[i];
}

void progress_count(const struct progress *p, struct board *b, const unsigned char *row, int failed)
{
	for (int k = 0; k < p->headlines && !failed; k++) {
		double v;

		memcpy(&v, row + p->schema->fields[p->field[k]].offset, sizeof(v));
		if (isfinite(v)) {
			board_add(b, SLOT_SUMS + 2 * k, v);
			board_add(b, SLOT_SUMS + 2 * k + 1, 1);
		}
	}
	board_add(b, failed ? SLOT_FAILED : SLOT_DONE, 1);
}

void progress_say(struct progress *p, struct board *b, int last)
{
	double now = clock_seconds(), v[SLOT_SUMS + 2 * MAX_HEADLINES];
	char left[32], line[512];
	int n;

	if (!last && now - p->said < (p->terminal ? 0.5 : 10))
		return;
	p->said = now;
	board_read(b, v);
	double done = v[SLOT_DONE] + v[SLOT_FAILED], rate = done / (now - p->started);
	n = snprintf(line, sizeof(line), "%.0f/%d images, %.3g/s", p->already + done, p->total, rate);
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
