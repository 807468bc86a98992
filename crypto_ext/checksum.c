/* The Internet checksum (RFC 1071).
 *
 * Every byte in both directions passes sp_sum, so it is written for width: 32-bit words are added
 * into 64-bit lanes, where they cannot overflow, and the lanes are folded once at the end. One's
 * complement sums do not care in which byte order the words were loaded as long as the result is
 * stored in the same one, hence "memory order" and no byte swapping anywhere.
 *
 * The vector body is plain GNU C vectors: SSE2 or NEON as the baseline, and compiled a second time
 * for AVX2, chosen at run time (no ifunc: musl cannot load them). SP_NO_AVX2 builds without it. */
#include "checksum.h"

#include <string.h>

typedef uint64_t lanes __attribute__((vector_size(32)));

enum { BLOCK_BYTES = 128 };

#if defined(__x86_64__) && !defined(SP_NO_AVX2)
#define HAVE_AVX2 1
#else
#define HAVE_AVX2 0
#endif

/* Adds `blocks` times BLOCK_BYTES at p; lanes of 64 bits take 32-bit words, 2^28 blocks at least. */
static inline __attribute__((always_inline)) uint64_t sum_blocks(const uint8_t *p, size_t blocks)
{
    const lanes low_half = {0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU};
    lanes low0 = {0}, low1 = {0}, high0 = {0}, high1 = {0};

    for (; blocks > 0; blocks--, p += BLOCK_BYTES) {
        lanes a, b, c, d;
        memcpy(&a, p, 32);
        memcpy(&b, p + 32, 32);
        memcpy(&c, p + 64, 32);
        memcpy(&d, p + 96, 32);
        low0 += a & low_half;
        high0 += a >> 32;
        low1 += b & low_half;
        high1 += b >> 32;
        low0 += c & low_half;
        high0 += c >> 32;
        low1 += d & low_half;
        high1 += d >> 32;
    }
    low0 += low1 + high0 + high1;
    return low0[0] + low0[1] + low0[2] + low0[3];
}

#if HAVE_AVX2
static __attribute__((target("avx2"), noinline)) uint64_t sum_blocks_avx2(const uint8_t *p, size_t blocks)
{
    return sum_blocks(p, blocks);
}
#endif

static __attribute__((noinline)) uint64_t sum_blocks_baseline(const uint8_t *p, size_t blocks)
{
    return sum_blocks(p, blocks);
}

static inline uint64_t add_with_carry(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

uint64_t sp_sum(uint64_t sum, const void *bytes_at, size_t bytes)
{
    const uint8_t *p = bytes_at;
    uint64_t low = 0, high = 0, word8;
    uint32_t word4;
    uint16_t word2;

    if (bytes >= BLOCK_BYTES) {
        size_t blocks = bytes / BLOCK_BYTES;
#if HAVE_AVX2
        if (__builtin_cpu_supports("avx2"))
            low = sum_blocks_avx2(p, blocks);
        else
#endif
            low = sum_blocks_baseline(p, blocks);
        p += blocks * BLOCK_BYTES;
        bytes %= BLOCK_BYTES;
    }
    for (; bytes >= 8; bytes -= 8, p += 8) { /* two chains without carries */
        memcpy(&word8, p, 8);
        low += word8 & 0xffffffffU;
        high += word8 >> 32;
    }
    if (bytes & 4) {
        memcpy(&word4, p, 4);
        low += word4;
        p += 4;
    }
    if (bytes & 2) {
        memcpy(&word2, p, 2);
        high += word2;
        p += 2;
    }
    if (bytes & 1) { /* the byte after it counts as zero */
        word2 = 0;
        memcpy(&word2, p, 1);
        high += word2;
    }
    return add_with_carry(sum, low + high);
}

uint16_t sp_sum_fold(uint64_t sum)
{
    sum = (sum >> 32) + (sum & 0xffffffffU);
    sum = (sum >> 32) + (sum & 0xffffffffU);
    sum = (sum >> 16) + (sum & 0xffffU);
    sum = (sum >> 16) + (sum & 0xffffU);
    return (uint16_t)sum;
}

uint64_t sp_sum_pseudo(int family, const uint8_t *src, const uint8_t *dst, uint8_t protocol, uint32_t length)
{
    /* The IPv6 form; IPv4's {0, protocol, length} gives the same sum for lengths that fit 16 bits. */
    const uint8_t tail[8] = {(uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                             (uint8_t)length,         0,                       0,
                             0,                       protocol};
    size_t address_bytes = family == 4 ? 4 : 16;

    return sp_sum(sp_sum(sp_sum(0, src, address_bytes), dst, address_bytes), tail, sizeof tail);
}
