/* Data sets of tar shards in the layout of WebDataset, and the index that is kept of them. */
#include "pipeline/dataset_parts.h"

#include "base/log.h"
#include "base/num.h"
#include "formats/digest.h"
#include "formats/tar.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* The shards of a data set, paths relative to its root. */
struct shards {
	char **path;
	int count;
};

static bool is_tar_name(const char *name)
{
	size_t n = strlen(name);

	return n > 4 && !strcasecmp(name + n - 4, ".tar");
}

static void add_shard(struct shards *s, const char *path)
{
	s->path = x_realloc(s->path, (size_t)(s->count + 1) * sizeof(*s->path));
	s->path[s->count++] = x_strdup(path);
}

static void free_shards(struct shards *s)
{
	for (int i = 0; i < s->count; i++)
		free(s->path[i]);
	free(s->path);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The .tar files of a folder, sorted; none where there are none. */
static void list_folder(struct shards *s, const char *folder)
{
	DIR *dir = opendir(folder);

	for (struct dirent *e; dir && (e = readdir(dir));)
		if (e->d_name[0] != '.' && is_tar_name(e->d_name))
			add_shard(s, e->d_name);
	if (dir)
		closedir(dir);
	if (s->count)
		qsort(s->path, (size_t)s->count, sizeof(*s->path), by_bytes);
}

/* A list of shards: its first line that says something ends in .tar. */
static int list_file(struct shards *s, const char *path, struct err *err)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	int rc = 0;

	for (int number = 1; !rc && f && getline(&line, &room, f) > 0; number++) {
		line[strcspn(line, "\r\n")] = 0;
		if (!*line || *line == '#')
			continue;
		if (is_tar_name(line))
			add_shard(s, line);
		else if (s->count)
			rc = err_set(
				err, "%s:%d: expected a path of a .tar, got \"%.80s\"", path, number, line);
		else
			break;
	}
	free(line);
	if (f)
		fclose(f);
	return rc;
}

/* ---- members to images ---- */

/* The members of one key stand side by side. */
struct builder {
	struct dataset *d;
	const char *shard;       /* relative to the root */
	char *key, *image;       /* of the sample at hand; owned */
	int64_t offset;          /* of its image */
	int label, images, bare; /* -1: none yet; images of this key; members that make no sample */
};

static int end_sample(struct builder *b, struct err *err)
{
	int rc = 0;

	if (b->images > 1)
		rc = err_set(err, "key %s has %d images: expected one", b->key, b->images);
	else if (b->images && b->label < 0)
		rc = err_set(err, "key %s has an image but no .cls with its class index", b->key);
	else if (!b->images && b->label >= 0)
		rc = err_set(err, "key %s has a .cls but no .jpg, .jpeg or .png", b->key);
	if (!rc && b->images) {
		char *path = x_asprintf("%s/%s", b->shard, b->image);

		dataset_add(b->d, path, b->label, b->offset);
		free(path);
	}
	free(b->key);
	free(b->image);
	b->key = b->image = NULL;
	b->label = -1;
	b->images = 0;
	return rc;
}

static int set_label(struct builder *b, const struct tar_member *m, struct err *err)
{
	char *text = x_strdup(m->text ? m->text : "(too long)"), *word = text + strspn(text, " \t\r\n");
	long label;
	int rc = 0;

	for (size_t n = strlen(word); n && strchr(" \t\r\n", word[n - 1]);)
		word[--n] = 0;
	if (b->label >= 0)
		rc = err_set(err, "key %s has more than one .cls", b->key);
	else if (!num_parse_long(&label, word) || label < 0 || label > DATASET_MAX_LABEL)
		rc = err_set(err, "member %s: expected a class index, got \"%.40s\"", m->name, word);
	else
		b->label = (int)label;
	free(text);
	return rc;
}

static int on_member(const struct tar_member *m, void *ctx, struct err *err)
{
	struct builder *b = ctx;
	const char *slash = strrchr(m->name, '/'), *base = slash ? slash + 1 : m->name;
	const char *dot = strchr(base, '.');

	if (!dot || dot == base) /* no key, or a hidden file (archives made on a Mac have ._ files) */
		return 0;
	size_t n = (size_t)(dot - m->name);
	if (!b->key || strlen(b->key) != n || memcmp(b->key, m->name, n) != 0) {
		if (end_sample(b, err))
			return -1;
		b->key = x_asprintf("%.*s", (int)n, m->name);
	}
	if (!strcmp(dot, ".cls"))
		return set_label(b, m, err);
	if (strrchr(base, '.') == dot && dataset_is_image_name(base)) {
		b->images++;
		b->offset = m->offset;
		free(b->image);
		b->image = x_strdup(m->name);
	}
	return 0;
}

static int index_shard(struct dataset *d, const char *shard, struct err *err)
{
	char *full = dataset_full_path(d->root, shard);
	struct builder b = {.d = d, .shard = shard, .label = -1};
	int before = d->count;
	int rc = tar_each(full, on_member, &b, err) || end_sample(&b, err) ? -1 : 0; /* 1 says: no shards */

	if (rc && strncmp(err->msg, full, strlen(full)) != 0)
		err_prefix(err, "%s", full);
	if (!rc && d->count == before)
		rc = err_set(
			err, "%s: no images: expected members key.jpg (or .jpeg, .png) and key.cls", full);
	free(b.key);
	free(b.image);
	free(full);
	return rc;
}

/* ---- the index ---- */

/* What an index is of, as text: the shards with their sizes and times. NULL where one cannot be seen. */
static char *describe(const char *root, const struct shards *s)
{
	char *text = x_strdup("dave-eval index 2\n");

	for (int i = 0; i < s->count && text; i++) {
		char *full = dataset_full_path(root, s->path[i]), *longer = NULL;
		struct stat st;

		if (!stat(full, &st))
			longer = x_asprintf("%s%lld %lld.%09ld %s\n", text, (long long)st.st_size,
				(long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, s->path[i]);
		free(full);
		free(text);
		text = longer;
	}
	return text;
}

/* The whole file, or NULL. */
static char *slurp(const char *path, size_t *size)
{
	FILE *f = fopen(path, "re");
	char *data = NULL;
	struct stat st;

	if (f && !fstat(fileno(f), &st) && S_ISREG(st.st_mode)) {
		*size = (size_t)st.st_size;
		data = x_malloc(*size + 1);
		if (fread(data, 1, *size, f) != *size) {
			free(data);
			data = NULL;
		}
	}
	if (f)
		fclose(f);
	return data;
}

/* An index is: what it is of, a NUL, the packed data set, and the CRC-32 of all that. */
static bool load_index(struct dataset *d, const char *path, const char *of)
{
	size_t size = 0, head = strlen(of) + 1;
	char *data = slurp(path, &size);
	uint32_t crc;
	bool good = data && size > head + sizeof(crc) && !memcmp(data, of, head);

	if (good) {
		size -= sizeof(crc);
		memcpy(&crc, data + size, sizeof(crc));
		good = crc == digest_crc32(0, data, size) && dataset_is_packed(data + head, size - head);
	}
	if (good) {
		char *root = d->root;

		dataset_unpack(d, data + head, size - head);
		free(d->root); /* the folder may have moved with its index */
		d->root = root;
	}
	free(data);
	return good;
}

static void save_index(const struct dataset *d, const char *path, const char *of)
{
	char *temporary = x_asprintf("%s.%d.tmp", path, (int)getpid());
	size_t size, head = strlen(of) + 1;
	char *block = dataset_pack(d, &size);
	uint32_t crc = digest_crc32(digest_crc32(0, of, head), block, size);
	FILE *f = fopen(temporary, "we");
	int bad = !f || fwrite(of, 1, head, f) != head || fwrite(block, 1, size, f) != size ||
		  fwrite(&crc, 1, sizeof(crc), f) != sizeof(crc);

	bad = (f && fclose(f)) || bad || rename(temporary, path);
	if (bad) {
		log_info("the index of the shards cannot be kept as %s (%s): every run builds it", path,
			strerror(errno));
		unlink(temporary);
	}
	free(block);
	free(temporary);
}

/* Reads the shards' headers, from the index where there is one. */
static int read_shards(struct dataset *d, const struct shards *s, const char *index, struct err *err)
{
	char *of = describe(d->root, s);
	int rc = 0;

	if (!of || !load_index(d, index, of)) {
		for (int i = 0; i < s->count && !rc; i++)
			rc = index_shard(d, s->path[i], err);
		if (!rc && of)
			save_index(d, index, of);
	}
	free(of);
	return rc;
}

int dataset_read_shards(struct dataset *d, const char *path, struct err *err)
{
	bool folder = dataset_is_folder(path);
	const char *slash = strrchr(path, '/');
	struct shards s = {0};
	int rc = 0;

	if (folder)
		list_folder(&s, path);
	else if (is_tar_name(path))
		add_shard(&s, slash ? slash + 1 : path);
	else
		rc = list_file(&s, path, err);
	if (!rc && s.count) {
		char *index = folder ? x_asprintf("%s/dave-eval.index", path) : x_asprintf("%s.index", path);

		d->root = dataset_root(path);
		rc = read_shards(d, &s, index, err);
		free(index);
	} else if (!rc) {
		rc = 1;
	}
	free_shards(&s);
	return rc;
}
