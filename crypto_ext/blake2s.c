/* BLAKE2s (RFC 7693), as a hash of 32 bytes and keyed with a digest of 16; and the comparison of secrets that
 * takes the same time whatever differs.
 *
 * The gate runs sp_blake2s_mac over each handshake message before anything dearer is done with it. A whole
 * handshake is some eighty blocks, so a CPU with AVX2 computes them in vectors (blake2s_avx2.c), and elsewhere the
 * rounds are written out: with constants for indices the state stays in registers. Nothing but lengths decides a
 * branch or an address.
 *
 * Nothing is kept between calls, and nothing is wiped here: what is hashed or keyed by mac1 is public. hkdf.c,
 * which compresses secrets, has their traces wiped (sp_wipe_stack). */
#define _DEFAULT_SOURCE /* endian.h */
#include "blake2s.h"

#include <endian.h>
#include <string.h>

#include "blake2s_rounds.h"

enum { BLOCK_BYTES = SP_BLAKE2S_BLOCK_BYTES, KEY_BYTES = 32, MAC_BYTES = 16 };

const uint32_t sp_blake2s_initial[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                        0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

const uint32_t sp_blake2s_start[8] = {0x6A09E667 ^ 0x01010000 ^ SP_BLAKE2S_BYTES,
                                      0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                      0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

static inline uint32_t rotate_right(uint32_t x, int bits) { return x >> bits | x << (32 - bits); }

static inline void mix(uint32_t v[16], int a, int b, int c, int d, uint32_t x, uint32_t y)
{
    v[a] += v[b] + x;
    v[d] = rotate_right(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 12);
    v[a] += v[b] + y;
    v[d] = rotate_right(v[d] ^ v[a], 8);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 7);
}

/* A statement for a round, given the order in which it takes the words of the block. */
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15) \
    do { \
        mix(v, 0, 4, 8, 12, m[s0], m[s1]); \
        mix(v, 1, 5, 9, 13, m[s2], m[s3]); \
        mix(v, 2, 6, 10, 14, m[s4], m[s5]); \
        mix(v, 3, 7, 11, 15, m[s6], m[s7]); \
        mix(v, 0, 5, 10, 15, m[s8], m[s9]); \
        mix(v, 1, 6, 11, 12, m[s10], m[s11]); \
        mix(v, 2, 7, 8, 13, m[s12], m[s13]); \
        mix(v, 3, 4, 9, 14, m[s14], m[s15]); \
    } while (0);

void sp_blake2s_compress(uint32_t h[8], const uint8_t *block, uint64_t bytes_so_far, int last)
{
    uint32_t m[16], v[16];

    if (sp_blake2s_compress_avx2(h, block, bytes_so_far, last))
        return;

    for (int i = 0; i < 16; i++) {
        memcpy(&m[i], block + 4 * i, 4);
        m[i] = le32toh(m[i]);
    }
    memcpy(v, h, 8 * sizeof v[0]);
    memcpy(v + 8, sp_blake2s_initial, sizeof sp_blake2s_initial);
    v[12] ^= (uint32_t)bytes_so_far;
    v[13] ^= (uint32_t)(bytes_so_far >> 32);
    v[14] ^= 0 - (uint32_t)(last != 0);

    SP_BLAKE2S_ROUNDS(ROUND)

    for (int i = 0; i < 8; i++)
        h[i] ^= v[i] ^ v[i + 8];
}

void sp_blake2s_compress_two(uint32_t h[][8], const uint8_t blocks[][BLOCK_BYTES], uint64_t bytes_so_far)
{
    if (sp_blake2s_compress_two_avx2(h, blocks, bytes_so_far))
        return;
    sp_blake2s_compress(h[0], blocks[0], bytes_so_far, 0);
    sp_blake2s_compress(h[1], blocks[1], bytes_so_far, 0);
}

void sp_blake2s_write(uint8_t *out, const uint32_t *h, size_t bytes)
{
    for (size_t i = 0; i < bytes / 4; i++) {
        uint32_t word = htole32(h[i]);
        memcpy(out + 4 * i, &word, 4);
    }
}

/* The rest of a message, of which `done` bytes are in already; there is more of it, or done is 0. */
static void absorb(uint32_t h[8], uint64_t done, const uint8_t *data, size_t len)
{
    uint8_t block[BLOCK_BYTES] = {0};

    for (; len > BLOCK_BYTES; data += BLOCK_BYTES, len -= BLOCK_BYTES)
        sp_blake2s_compress(h, data, done += BLOCK_BYTES, 0);
    if (len > 0)
        memcpy(block, data, len);
    sp_blake2s_compress(h, block, done + len, 1);
}

void sp_blake2s_hash(uint8_t out[SP_BLAKE2S_BYTES], const uint8_t *data, size_t len)
{
    uint32_t h[8];

    memcpy(h, sp_blake2s_start, sizeof h);
    absorb(h, 0, data, len);
    sp_blake2s_write(out, h, SP_BLAKE2S_BYTES);
}

void sp_blake2s_mac(uint8_t out[MAC_BYTES], const uint8_t key[KEY_BYTES], const uint8_t *data, size_t len)
{
    uint8_t block[BLOCK_BYTES] = {0}; /* the padded key is the first block */
    uint32_t h[8];

    memcpy(h, sp_blake2s_initial, sizeof h);
    h[0] ^= 0x01010000U ^ (uint32_t)KEY_BYTES << 8 ^ (uint32_t)MAC_BYTES;
    memcpy(block, key, KEY_BYTES);
    sp_blake2s_compress(h, block, BLOCK_BYTES, len == 0);
    if (len > 0)
        absorb(h, BLOCK_BYTES, data, len);
    sp_blake2s_write(out, h, MAC_BYTES);
}

int sp_equal(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a, *y = b;
    unsigned difference = 0;

    for (size_t i = 0; i < bytes; i++)
        difference |= (unsigned)(x[i] ^ y[i]);
    __asm__ volatile("" : "+r"(difference)); /* keeps the compiler from leaving the loop early */
    return (int)((difference - 1) >> 31);
}
