#include "formats/digest.h"

#include "base/err.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <zlib.h>

void digest_sha256(char hex[DIGEST_TEXT], const void *data, size_t size)
{
	unsigned char sum[EVP_MAX_MD_SIZE];

	if (!EVP_Digest(data, size, sum, NULL, EVP_sha256(), NULL))
		BUG("libcrypto refuses SHA-256");
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
}

uint32_t digest_crc32(uint32_t crc, const void *data, size_t size)
{
	return (uint32_t)crc32_z(crc, data, size);
}
