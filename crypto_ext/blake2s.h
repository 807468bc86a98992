/* BLAKE2s (RFC 7693): the gate's mac1, the hash of a handshake, and what hkdf.c builds on. See blake2s.c. */
#ifndef SALLYPORT_BLAKE2S_H
#define SALLYPORT_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

enum { SP_BLAKE2S_BLOCK_BYTES = 64, SP_BLAKE2S_BYTES = 32 };

/* The state before the first block of an unkeyed hash of 32 bytes. */
extern const uint32_t sp_blake2s_start[8];

/* One block, zero padded where it is the last; bytes_so_far counts this one's, without padding. */
void sp_blake2s_compress(uint32_t state[8], const uint8_t *block, uint64_t bytes_so_far, int last);
/* Two states, and a block for each, which is the last of neither. */
void sp_blake2s_compress_two(uint32_t states[][8], const uint8_t blocks[][64], uint64_t bytes_so_far);
/* The state as bytes: the hash, after the last block. */
void sp_blake2s_write(uint8_t *out, const uint32_t *state, size_t bytes);

void sp_blake2s_hash(uint8_t out[32], const uint8_t *data, size_t len);
void sp_blake2s_mac(uint8_t out[16], const uint8_t key[32], const uint8_t *data, size_t len);
/* 1 when equal; takes the same time whatever differs. */
int sp_equal(const void *a, const void *b, size_t bytes);

#endif
