/* Poly1305 arithmetic on eight numbers at a time, one in each 64-bit lane, with AVX-512 IFMA.
 *
 * A number modulo p = 2^130 - 5 is three limbs of 44, 44 and 42 bits. IFMA multiplies 52-bit numbers and adds
 * the low or the high 52 bits of the product to a 64-bit sum. The high half of a product of limbs weighs 2^52,
 * that is 2^8 of the next limb (2^10 where the limb has 42 bits), so low and high halves are summed apart
 * and brought together once, in the carry. A product of limbs 1 and 2 weighs 2^132 or more, and 2^132 = 4 x 5
 * modulo p: hence a multiplier carries its upper limbs times 20 as well.
 *
 * Ranges: limbs given to multiply() are below 2^46, a multiplier's below 2^45 (below 2^50 times 20), so that a
 * sum of up to 16 products of three terms stays far below 2^64. */
#ifndef SALLYPORT_POLY_AVX512_H
#define SALLYPORT_POLY_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#include "engine.h"

#define POLY_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512ifma,avx512vbmi2")))
#define POLY_INLINE POLY_AVX512 static inline __attribute__((always_inline))

#define POLY_MASK44 0xfffffffffffLL
#define POLY_MASK42 0x3ffffffffffLL
#define POLY_BIT (1LL << 40) /* the 1 that follows 16 bytes of message, seen from limb 2 */

enum { POLY_PART_BYTES = 64 };

struct poly_limbs {
    __m512i limb[3];
};

struct poly_multiplier {
    __m512i r[3], r20[3]; /* r20[0] is not used */
};

struct poly_sums {
    __m512i low[3], high[3];
};

/* 64 bytes at that place of the text, which may begin before it or reach behind it: there are zeroes, and nothing
 * is read. */
POLY_INLINE __m512i poly_load(const struct sp_mac *mac, int64_t at)
{
    int64_t from = at < 0 ? -at : 0, to = (int64_t)mac->len - at;

    if (to > POLY_PART_BYTES)
        to = POLY_PART_BYTES;
    if (from >= to)
        return _mm512_setzero_si512();
    return _mm512_maskz_loadu_epi8((~0ULL << from) & (~0ULL >> (POLY_PART_BYTES - to)),
                                   (const void *)((uintptr_t)mac->text + (uintptr_t)at));
}

/* 128-bit numbers into limbs; bit is added to limb 2. */
POLY_INLINE struct poly_limbs poly_split(__m512i low, __m512i high, __m512i bit)
{
    const __m512i mask = _mm512_set1_epi64(POLY_MASK44);
    return (struct poly_limbs){{
        _mm512_and_si512(low, mask),
        _mm512_and_si512(_mm512_shrdi_epi64(low, high, 44), mask),
        _mm512_or_si512(_mm512_srli_epi64(high, 24), bit),
    }};
}

POLY_INLINE struct poly_limbs poly_add(struct poly_limbs a, struct poly_limbs b)
{
    for (int i = 0; i < 3; i++)
        a.limb[i] = _mm512_add_epi64(a.limb[i], b.limb[i]);
    return a;
}

POLY_INLINE __m512i poly_times20(__m512i x)
{
    return _mm512_add_epi64(_mm512_slli_epi64(x, 4), _mm512_slli_epi64(x, 2));
}

POLY_INLINE struct poly_multiplier poly_multiplier(struct poly_limbs r)
{
    struct poly_multiplier m;
    for (int i = 0; i < 3; i++) {
        m.r[i] = r.limb[i];
        m.r20[i] = poly_times20(r.limb[i]);
    }
    return m;
}

POLY_INLINE struct poly_sums poly_nothing(void)
{
    const __m512i zero = _mm512_setzero_si512();
    return (struct poly_sums){{zero, zero, zero}, {zero, zero, zero}};
}

/* sums += a * m */
POLY_INLINE void poly_multiply(struct poly_sums *sums, struct poly_limbs a, const struct poly_multiplier *m)
{
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) {
            int to = (i + j) % 3;
            __m512i by = i + j < 3 ? m->r[j] : m->r20[j];
            sums->low[to] = _mm512_madd52lo_epu64(sums->low[to], a.limb[i], by);
            sums->high[to] = _mm512_madd52hi_epu64(sums->high[to], a.limb[i], by);
        }
    }
}

/* Back to limbs: below 2^44, 2^44, 2^42 but for a few bits too many in limb 0. */
POLY_INLINE struct poly_limbs poly_carry(const struct poly_sums *sums)
{
    const __m512i mask44 = _mm512_set1_epi64(POLY_MASK44), mask42 = _mm512_set1_epi64(POLY_MASK42);
    __m512i wrapped = _mm512_add_epi64(_mm512_slli_epi64(sums->high[2], 12), _mm512_slli_epi64(sums->high[2], 10));
    __m512i d0 = _mm512_add_epi64(sums->low[0], wrapped); /* 2^10 x 5 */
    __m512i d1 = _mm512_add_epi64(sums->low[1], _mm512_slli_epi64(sums->high[0], 8));
    __m512i d2 = _mm512_add_epi64(sums->low[2], _mm512_slli_epi64(sums->high[1], 8));
    __m512i over;

    d1 = _mm512_add_epi64(d1, _mm512_srli_epi64(d0, 44));
    d2 = _mm512_add_epi64(d2, _mm512_srli_epi64(d1, 44));
    over = _mm512_srli_epi64(d2, 42);
    over = _mm512_add_epi64(over, _mm512_slli_epi64(over, 2));
    return (struct poly_limbs){{
        _mm512_add_epi64(_mm512_and_si512(d0, mask44), over),
        _mm512_and_si512(d1, mask44),
        _mm512_and_si512(d2, mask42),
    }};
}

POLY_INLINE struct poly_limbs poly_product(struct poly_limbs a, const struct poly_multiplier *m)
{
    struct poly_sums sums = poly_nothing();
    poly_multiply(&sums, a, m);
    return poly_carry(&sums);
}

/* One key per lane: its four words, r clamped and cut into limbs, s as it is. */
POLY_INLINE struct poly_limbs poly_clamped(__m512i low, __m512i high)
{
    low = _mm512_and_si512(low, _mm512_set1_epi64(0x0ffffffc0fffffffLL));
    high = _mm512_and_si512(high, _mm512_set1_epi64(0x0ffffffc0ffffffcLL));
    return poly_split(low, high, _mm512_setzero_si512());
}

/* (h mod p) + s modulo 2^128: the tags, as low and high words. */
POLY_INLINE void poly_finish(struct poly_limbs h, __m512i s_low, __m512i s_high, __m512i *low, __m512i *high)
{
    const __m512i mask44 = _mm512_set1_epi64(POLY_MASK44), mask42 = _mm512_set1_epi64(POLY_MASK42);
    __m512i h0 = h.limb[0], h1 = h.limb[1], h2 = h.limb[2], g0, g1, g2, over;
    __mmask8 below, carry;

    for (int pass = 0; pass < 2; pass++) {
        h1 = _mm512_add_epi64(h1, _mm512_srli_epi64(h0, 44));
        h0 = _mm512_and_si512(h0, mask44);
        h2 = _mm512_add_epi64(h2, _mm512_srli_epi64(h1, 44));
        h1 = _mm512_and_si512(h1, mask44);
        over = _mm512_srli_epi64(h2, 42);
        h2 = _mm512_and_si512(h2, mask42);
        h0 = _mm512_add_epi64(h0, _mm512_add_epi64(over, _mm512_slli_epi64(over, 2)));
    }
    h1 = _mm512_add_epi64(h1, _mm512_srli_epi64(h0, 44)); /* now h0 is short; h1 may be 2^44 */
    h0 = _mm512_and_si512(h0, mask44);
    h2 = _mm512_add_epi64(h2, _mm512_srli_epi64(h1, 44));
    h1 = _mm512_and_si512(h1, mask44);

    g0 = _mm512_add_epi64(h0, _mm512_set1_epi64(5)); /* h - p = h + 5 - 2^130, taken when not negative */
    g1 = _mm512_add_epi64(h1, _mm512_srli_epi64(g0, 44));
    g2 = _mm512_sub_epi64(_mm512_add_epi64(h2, _mm512_srli_epi64(g1, 44)), _mm512_set1_epi64(1LL << 42));
    below = _mm512_movepi64_mask(g2);
    h0 = _mm512_mask_mov_epi64(_mm512_and_si512(g0, mask44), below, h0);
    h1 = _mm512_mask_mov_epi64(_mm512_and_si512(g1, mask44), below, h1);
    h2 = _mm512_mask_mov_epi64(g2, below, h2);

    *low = _mm512_or_si512(h0, _mm512_slli_epi64(h1, 44));
    *high = _mm512_or_si512(_mm512_srli_epi64(h1, 20), _mm512_slli_epi64(h2, 24));
    *low = _mm512_add_epi64(*low, s_low);
    carry = _mm512_cmplt_epu64_mask(*low, s_low);
    *high = _mm512_add_epi64(*high, s_high);
    *high = _mm512_mask_add_epi64(*high, carry, *high, _mm512_set1_epi64(1));
}

#endif
