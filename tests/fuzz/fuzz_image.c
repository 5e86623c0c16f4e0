/* JPEG and PNG files. Those that declare many pixels are passed over: memory and time for them are meant to
 * be spent, and would be all that is tested. */
#include "fuzz.h"

#include "formats/digest.h"
#include "formats/image.h"

#include <stdlib.h>
#include <zlib.h>

enum { MAX_PIXELS = 1 << 16, PNG_MAGIC = 8, CHUNK = 12, MADE_DATA = 2200, MADE_PNG = MADE_DATA + 1100 };

static uint32_t big_endian(const uint8_t *p, int bytes)
{
	uint32_t value = 0;

	for (int i = 0; i < bytes; i++)
		value = value << 8 | p[i];
	return value;
}

static int is_png(const uint8_t *data, size_t size)
{
	return size >= PNG_MAGIC && data[0] == 0x89;
}

/* Anything that may be read as the header of a large image. */
static int is_large(const uint8_t *data, size_t size)
{
	if (is_png(data, size))
		return size >= 24 &&
		       (uint64_t)big_endian(data + 16, 4) * big_endian(data + 20, 4) > MAX_PIXELS;
	for (size_t i = 0; i + 8 < size; i++)
		if (data[i] == 0xff && data[i + 1] >> 4 == 0xc &&
			big_endian(data + i + 5, 2) * big_endian(data + i + 7, 2) > MAX_PIXELS)
			return 1;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {""};
	struct image image;
	volatile unsigned sum = 0;

	if (is_large(data, size))
		return 0;
	if (fuzz_failed(image_decode(&image, data, size, "fuzz", &err), &err)) {
		FUZZ_CHECK(!image.rgb && !image.width && !image.height);
		return 0;
	}
	FUZZ_CHECK(image.width > 0 && image.height > 0 && image.width <= MAX_PIXELS / image.height);
	for (int i = 0; i < 3 * image.width * image.height; i++)
		sum += image.rgb[i];
	(void)sum;
	image_release(&image);
	return 0;
}

/* ---- changes: all that is below serves PNG, which would refuse nearly every changed byte ---- */

static void mend_checksums(uint8_t *png, size_t size)
{
	for (size_t at = PNG_MAGIC; at + CHUNK <= size;) {
		size_t length = big_endian(png + at, 4);

		if (length > size - at - CHUNK)
			break;
		uint32_t crc = digest_crc32(0, png + at + 4, length + 4);
		for (int i = 0; i < 4; i++)
			png[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
		at += CHUNK + length;
	}
}

static uint8_t *put_chunk(uint8_t *at, const char *type, const uint8_t *content, size_t length)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(length >> (24 - 8 * i));
	memcpy(at + 4, type, 4);
	memcpy(at + 8, content, length);
	return at + CHUNK + length;
}

/* A small image of any kind, size, depth and palette: what has to fit together. Its data are 0 to 4
 * throughout, so that whatever begins a row names a filter. */
static size_t make_png(uint8_t *png, unsigned seed)
{
	static const uint8_t types[] = {0, 2, 3, 4, 6};
	uint8_t header[13] = {[3] = (uint8_t)(1 + rand_r(&seed) % 16),
		[7] = (uint8_t)(1 + rand_r(&seed) % 16),
		[8] = (uint8_t)(1 << rand_r(&seed) % 5),
		[9] = types[rand_r(&seed) % 5],
		[12] = (uint8_t)(rand_r(&seed) % 2)};
	uint8_t colors[256 * 3] = {1, 2, 3}, raw[MADE_DATA], packed[MADE_DATA + 100], *at = png;
	uLongf length = sizeof(packed);

	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(rand_r(&seed) % 5);
	compress2(packed, &length, raw, sizeof(raw), 0);
	memcpy(at, "\x89PNG\r\n\x1a\n", PNG_MAGIC);
	at = put_chunk(at + PNG_MAGIC, "IHDR", header, sizeof(header));
	if (header[9] & 1)
		at = put_chunk(at, "PLTE", colors, (size_t)(1 + rand_r(&seed) % 256) * 3);
	at = put_chunk(at, "IDAT", packed, length);
	at = put_chunk(at, "IEND", packed, 0);
	return (size_t)(at - png);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
	if (seed % 64 == 0 && room >= MADE_PNG)
		size = make_png(data, seed);
	else
		size = LLVMFuzzerMutate(data, size, room);
	if (is_png(data, size) && seed % 8 != 1) /* checksums have to be wrong at times */
		mend_checksums(data, size);
	return size;
}
