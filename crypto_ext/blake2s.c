/* Keyed BLAKE2s with a 16-byte digest (RFC 7693), and the comparison of secrets that takes the same
 * time whatever differs.
 *
 * The gate runs sp_blake2s_mac over each handshake message before anything dearer is done with it,
 * so this is one call over at most a few hundred bytes; nothing is kept between calls. */
#define _DEFAULT_SOURCE /* endian.h */
#include "blake2s.h"

#include <endian.h>
#include <string.h>

#include "api.h"

enum { BLOCK_BYTES = 64, KEY_BYTES = 32, MAC_BYTES = 16, ROUNDS = 10 };

static const uint32_t initial[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

static const uint8_t order[ROUNDS][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

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

static void compress(uint32_t h[8], const uint8_t block[BLOCK_BYTES], uint64_t bytes_so_far, int last)
{
    uint32_t m[16], v[16];

    for (int i = 0; i < 16; i++) {
        memcpy(&m[i], block + 4 * i, 4);
        m[i] = le32toh(m[i]);
    }
    memcpy(v, h, 8 * sizeof v[0]);
    memcpy(v + 8, initial, sizeof initial);
    v[12] ^= (uint32_t)bytes_so_far;
    v[13] ^= (uint32_t)(bytes_so_far >> 32);
    if (last)
        v[14] = ~v[14];

    for (int r = 0; r < ROUNDS; r++) {
        const uint8_t *s = order[r];
        mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
        mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
        mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
        mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
        mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
        mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
        mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
        mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
    }
    for (int i = 0; i < 8; i++)
        h[i] ^= v[i] ^ v[i + 8];
    sp_wipe(m, sizeof m); /* the key lies here when the first block is done */
    sp_wipe(v, sizeof v);
}

void sp_blake2s_mac(uint8_t out[16], const uint8_t key[32], const uint8_t *data, size_t len)
{
    uint8_t block[BLOCK_BYTES] = {0};
    uint32_t h[8];
    uint64_t done = BLOCK_BYTES; /* the padded key counts as the first block */

    memcpy(h, initial, sizeof h);
    h[0] ^= 0x01010000U ^ (uint32_t)KEY_BYTES << 8 ^ (uint32_t)MAC_BYTES;
    memcpy(block, key, KEY_BYTES);
    compress(h, block, done, len == 0);

    while (len > 0) {
        size_t n = len < BLOCK_BYTES ? len : BLOCK_BYTES;
        memset(block, 0, sizeof block);
        memcpy(block, data, n);
        data += n;
        len -= n;
        done += n;
        compress(h, block, done, len == 0);
    }
    for (int i = 0; i < MAC_BYTES / 4; i++) {
        uint32_t word = htole32(h[i]);
        memcpy(out + 4 * i, &word, 4);
    }
    sp_wipe(h, sizeof h);
    sp_wipe(block, sizeof block);
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
