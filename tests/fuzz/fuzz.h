/* What the fuzz targets share. */
#ifndef FUZZ_H
#define FUZZ_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What libFuzzer calls: once per input; and, where a target has one, instead of its own change of an input.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
/* libFuzzer's own change, for use in the above. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

/* A promise that holds whatever the input is. */
#define FUZZ_CHECK(promise)                                                                                  \
	do {                                                                                                 \
		if (!(promise))                                                                              \
			BUG("broken promise: %s", #promise);                                                 \
	} while (0)

/* Did a function fail? Then it has to say why, in one line; err was empty before. */
static inline int fuzz_failed(int rc, const struct err *err)
{
	FUZZ_CHECK(rc == 0 || rc == -1);
	FUZZ_CHECK(rc == 0 || (*err->msg && !strpbrk(err->msg, "\r\n")));
	return rc;
}

#endif
