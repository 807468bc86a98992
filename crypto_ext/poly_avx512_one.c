/* Poly1305 (RFC 8439) of one packet by itself, eight of its blocks in the eight lanes.
 *
 * Each lane evaluates the polynomial of every eighth block; a step takes two of them per lane,
 * h = h r^16 + a r^8 + b, and at the end each lane is multiplied by the power that it lacks and all are summed.
 * Blocks are aligned at the end of the last step, as poly_avx512.c explains, so nothing is left over.
 *
 * The powers make this slower per packet than eight packets together; it is for one packet or two. */
#include "poly_avx512_one.h"

#if defined(__x86_64__)

#include "api.h"
#include "poly_avx512.h"

enum { STEP_PARTS = 4, STEP_BYTES = STEP_PARTS * POLY_PART_BYTES, STEP_BLOCKS = 16, BLOCK_BYTES = 16 };

struct powers {
    struct poly_multiplier eighth, sixteenth, lacking;
};

POLY_INLINE struct poly_limbs choose(__mmask8 which, struct poly_limbs no, struct poly_limbs yes)
{
    for (int i = 0; i < 3; i++)
        no.limb[i] = _mm512_mask_mov_epi64(no.limb[i], which, yes.limb[i]);
    return no;
}

/* After the unpacking below, the lanes hold blocks 0 4 1 5 2 6 3 7, so beyond one factor they lack another
 * 7 3 6 2 5 1 4 0; each bit of these numbers is one multiplication. */
POLY_INLINE void make_powers(struct powers *powers, struct poly_limbs r)
{
    struct poly_multiplier by = poly_multiplier(r);
    struct poly_limbs second = poly_product(r, &by), lacking = choose(0x33, r, second), fourth, eighth;

    by = poly_multiplier(second);
    fourth = poly_product(second, &by);
    lacking = choose(0x0f, lacking, poly_product(lacking, &by));
    by = poly_multiplier(fourth);
    eighth = poly_product(fourth, &by);
    lacking = choose(0x55, lacking, poly_product(lacking, &by));
    powers->lacking = poly_multiplier(lacking);
    powers->eighth = poly_multiplier(eighth);
    powers->sixteenth = poly_multiplier(poly_product(eighth, &powers->eighth));
}

/* Eight blocks out of 128 bytes. */
POLY_INLINE struct poly_limbs unpack(__m512i first, __m512i second, __m512i bit)
{
    return poly_split(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second), bit);
}

POLY_INLINE struct poly_limbs step(struct poly_limbs h, const __m512i part[STEP_PARTS], __m512i bit_a, __m512i bit_b,
                                   const struct powers *powers)
{
    struct poly_sums sums = poly_nothing();

    poly_multiply(&sums, unpack(part[0], part[1], bit_a), &powers->eighth);
    poly_multiply(&sums, h, &powers->sixteenth);
    return poly_add(poly_carry(&sums), unpack(part[2], part[3], bit_b));
}

/* A step that holds something else than text: its `at` is where it begins, seen from the text. */
POLY_AVX512 static struct poly_limbs step_in_parts(struct poly_limbs h, const struct sp_mac *mac, int64_t at, int last,
                                                   const struct powers *powers)
{
    const __m512i places = _mm512_set_epi64(112, 48, 96, 32, 80, 16, 64, 0);
    const __m512i text = _mm512_set1_epi64(-at), half = _mm512_set1_epi64(STEP_BYTES / 2);
    __mmask8 real_a = _mm512_cmpge_epi64_mask(places, text);
    __mmask8 real_b = _mm512_cmpge_epi64_mask(_mm512_add_epi64(places, half), text);
    __m512i part[STEP_PARTS];

    for (int i = 0; i < STEP_PARTS; i++)
        part[i] = poly_load(mac, at + i * POLY_PART_BYTES);
    if (last)
        part[3] = _mm512_mask_set1_epi64(part[3], 0x80, mac->len);
    return step(h, part, _mm512_maskz_set1_epi64(real_a, POLY_BIT), _mm512_maskz_set1_epi64(real_b, POLY_BIT), powers);
}

POLY_AVX512 void sp_mac_avx512_one(const struct sp_mac *mac)
{
    const __m512i bit = _mm512_set1_epi64(POLY_BIT), zero = _mm512_setzero_si512();
    int64_t blocks = ((int64_t)mac->len + BLOCK_BYTES - 1) / BLOCK_BYTES + 1;
    int64_t steps = (blocks + STEP_BLOCKS - 1) / STEP_BLOCKS;
    int64_t at = (blocks - steps * STEP_BLOCKS) * BLOCK_BYTES; /* where the step begins, seen from the text */
    struct poly_limbs h = {{zero, zero, zero}};
    struct poly_sums sums = poly_nothing();
    struct powers powers;
    uint64_t key[4];
    __m512i low, high;

    memcpy(key, mac->key, sizeof key);
    make_powers(&powers, poly_clamped(_mm512_set1_epi64((long long)key[0]), _mm512_set1_epi64((long long)key[1])));
    for (; steps > 0; steps--, at += STEP_BYTES) {
        if (at < 0 || steps == 1) {
            h = step_in_parts(h, mac, at, steps == 1, &powers);
        } else {
            __m512i part[STEP_PARTS];
#pragma GCC unroll 4
            for (int i = 0; i < STEP_PARTS; i++)
                part[i] = _mm512_loadu_si512(mac->text + at + i * POLY_PART_BYTES);
            h = step(h, part, bit, bit, &powers);
        }
    }
    poly_multiply(&sums, h, &powers.lacking);
    h = poly_carry(&sums);
    for (int i = 0; i < 3; i++)
        h.limb[i] = _mm512_set1_epi64(_mm512_reduce_add_epi64(h.limb[i]));
    poly_finish(h, _mm512_set1_epi64((long long)key[2]), _mm512_set1_epi64((long long)key[3]), &low, &high);
    low = _mm512_unpacklo_epi64(low, high);
    _mm_storeu_si128((__m128i *)(void *)mac->tag, _mm512_castsi512_si128(low));
    sp_wipe(&powers, sizeof powers);
    sp_wipe(key, sizeof key);
}

#endif
