/* Fingerprints: SHA-256 (OpenSSL's libcrypto) for identity, CRC-32 (zlib) for rows of results. */
#ifndef FORMATS_DIGEST_H
#define FORMATS_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_TEXT = 65 };

/* SHA-256 as 64 hexadecimal digits. */
void digest_sha256(char hex[DIGEST_TEXT], const void *data, size_t size);

/* CRC-32 of a piece, continuing from `crc` (0 to begin). */
uint32_t digest_crc32(uint32_t crc, const void *data, size_t size);

#endif
