/* Keyed BLAKE2s-128 (RFC 7693): mac1, the one hash the gate needs before Python is bothered. */
#ifndef SALLYPORT_BLAKE2S_H
#define SALLYPORT_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

void sp_blake2s_mac(uint8_t out[16], const uint8_t key[32], const uint8_t *data, size_t len);
/* 1 when equal; takes the same time whatever differs. */
int sp_equal(const void *a, const void *b, size_t bytes);

#endif
