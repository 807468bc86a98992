/* Poly1305 (RFC 8439) of eight packets at once, one packet per 64-bit lane, each with its own key.
 *
 * A step takes 64 bytes of each packet, four blocks m0 to m3:  h = (h + m0) r^4 + m1 r^3 + m2 r^2 + m3 r.
 * Three of the four products do not wait for h.
 *
 * Front alignment spares all code for ends: a packet's blocks are its text (the last one padded with zeroes)
 * and the block of its length, and they are placed so that every packet *ends* with the last step. What
 * stands before its first block counts as empty blocks, zeroes without the bit that a real block has, and h stays
 * 0 through them. So packets of any lengths go together, and the last step is always r^4 .. r. */
#include "engine.h"

#if defined(__x86_64__)

#include "api.h"
#include "poly_avx512.h"
#include "poly_avx512_one.h"

enum { PACKETS = 8, STEP_BYTES = POLY_PART_BYTES, STEP_BLOCKS = 4, BLOCK_BYTES = 16 };

/* Eight packets in their common time: where each begins, and the steps that are whole for all of them. */
struct eight {
    const struct sp_mac *mac[PACKETS];
    int64_t before[PACKETS]; /* bytes of empty blocks before the text */
    int64_t steps, whole_from, whole_to;
};

/* Packets behind the n-th repeat the first one, and nobody asks for their tags. */
static void arrange(struct eight *e, const struct sp_mac *macs, size_t n)
{
    int64_t blocks[PACKETS];

    e->steps = e->whole_from = 0;
    for (size_t i = 0; i < PACKETS; i++) {
        e->mac[i] = &macs[i < n ? i : 0];
        blocks[i] = ((int64_t)e->mac[i]->len + BLOCK_BYTES - 1) / BLOCK_BYTES + 1;
        if (e->steps < (blocks[i] + STEP_BLOCKS - 1) / STEP_BLOCKS)
            e->steps = (blocks[i] + STEP_BLOCKS - 1) / STEP_BLOCKS;
    }
    e->whole_to = e->steps - 1;
    for (size_t i = 0; i < PACKETS; i++) {
        int64_t from, to;
        e->before[i] = (e->steps * STEP_BLOCKS - blocks[i]) * BLOCK_BYTES;
        from = (e->before[i] + STEP_BYTES - 1) / STEP_BYTES;
        to = (e->before[i] + e->mac[i]->len) / STEP_BYTES;
        e->whole_from = from > e->whole_from ? from : e->whole_from;
        e->whole_to = to < e->whole_to ? to : e->whole_to;
    }
}

/* word[i], packet by packet -> word by word. */
POLY_INLINE void transpose(__m512i v[8])
{
    __m512i t[8], u[8];

#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi64(v[i], v[i + 1]); /* words 0 2 4 6 of packets i, i + 1 */
        t[i + 1] = _mm512_unpackhi_epi64(v[i], v[i + 1]);
    }
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; odd++) {
        u[odd] = _mm512_shuffle_i64x2(t[odd], t[2 + odd], 0x88); /* words 0 4 of packets 0 to 3 */
        u[2 + odd] = _mm512_shuffle_i64x2(t[odd], t[2 + odd], 0xdd);
        u[4 + odd] = _mm512_shuffle_i64x2(t[4 + odd], t[6 + odd], 0x88);
        u[6 + odd] = _mm512_shuffle_i64x2(t[4 + odd], t[6 + odd], 0xdd);
        v[odd] = _mm512_shuffle_i64x2(u[odd], u[4 + odd], 0x88);
        v[4 + odd] = _mm512_shuffle_i64x2(u[odd], u[4 + odd], 0xdd);
        v[2 + odd] = _mm512_shuffle_i64x2(u[2 + odd], u[6 + odd], 0x88);
        v[6 + odd] = _mm512_shuffle_i64x2(u[2 + odd], u[6 + odd], 0xdd);
    }
}

/* The powers r^1 to r^4 of all eight keys, and their s. */
struct keys {
    struct poly_multiplier power[STEP_BLOCKS]; /* [i]: r^(i + 1) */
    __m512i s_low, s_high;
};

POLY_INLINE void load_keys(struct keys *keys, const struct eight *e)
{
    __m512i v[PACKETS];
    struct poly_limbs r, power;

    for (int i = 0; i < PACKETS; i++)
        v[i] = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)e->mac[i]->key));
    transpose(v);
    r = power = poly_clamped(v[0], v[1]);
    keys->power[0] = poly_multiplier(r);
    for (int i = 1; i < STEP_BLOCKS; i++) {
        power = poly_product(power, &keys->power[0]);
        keys->power[i] = poly_multiplier(power);
    }
    keys->s_low = v[2];
    keys->s_high = v[3];
}

/* One step; v holds 64 bytes of each packet, bit what to add to each of the four blocks. */
POLY_INLINE struct poly_limbs step(struct poly_limbs h, __m512i v[8], const __m512i bit[STEP_BLOCKS],
                                   const struct keys *keys)
{
    struct poly_sums sums = poly_nothing();

#pragma GCC unroll 4
    for (int i = STEP_BLOCKS - 1; i > 0; i--)
        poly_multiply(&sums, poly_split(v[2 * i], v[2 * i + 1], bit[i]), &keys->power[STEP_BLOCKS - 1 - i]);
    poly_multiply(&sums, poly_add(h, poly_split(v[0], v[1], bit[0])), &keys->power[STEP_BLOCKS - 1]);
    return poly_carry(&sums);
}

/* A step in which some packet begins, ends or has not begun yet. */
POLY_AVX512 static struct poly_limbs step_in_parts(struct poly_limbs h, const struct eight *e, int64_t number,
                                                   const struct keys *keys)
{
    const __m512i before = _mm512_loadu_si512(e->before);
    __m512i v[PACKETS], bit[STEP_BLOCKS];

    for (int i = 0; i < PACKETS; i++)
        v[i] = poly_load(e->mac[i], number * STEP_BYTES - e->before[i]);
    transpose(v);
    for (int i = 0; i < STEP_BLOCKS; i++) {
        __m512i at = _mm512_set1_epi64(number * STEP_BYTES + i * BLOCK_BYTES);
        bit[i] = _mm512_maskz_set1_epi64(_mm512_cmpge_epi64_mask(at, before), POLY_BIT);
    }
    if (number == e->steps - 1) {
        uint64_t len[PACKETS];
        for (int i = 0; i < PACKETS; i++)
            len[i] = e->mac[i]->len;
        v[7] = _mm512_loadu_si512(len);
    }
    return step(h, v, bit, keys);
}

POLY_AVX512 static void mac_eight(const struct sp_mac *macs, size_t n)
{
    const __m512i bit = _mm512_set1_epi64(POLY_BIT), bits[STEP_BLOCKS] = {bit, bit, bit, bit};
    struct poly_limbs h = {{_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()}};
    struct eight e;
    struct keys keys;
    __m512i tag[2];
    uint64_t words[2][PACKETS];
    int64_t number = 0;

    arrange(&e, macs, n);
    load_keys(&keys, &e);
    while (number < e.steps) {
        if (number < e.whole_from || number >= e.whole_to) {
            h = step_in_parts(h, &e, number, &keys);
            number++;
            continue;
        }
        for (; number < e.whole_to; number++) {
            __m512i v[PACKETS];
#pragma GCC unroll 8
            for (int i = 0; i < PACKETS; i++)
                v[i] = _mm512_loadu_si512(e.mac[i]->text + (number * STEP_BYTES - e.before[i]));
            transpose(v);
            h = step(h, v, bits, &keys);
        }
    }
    poly_finish(h, keys.s_low, keys.s_high, &tag[0], &tag[1]);
    _mm512_storeu_si512(words[0], tag[0]);
    _mm512_storeu_si512(words[1], tag[1]);
    for (size_t i = 0; i < n; i++) {
        memcpy(macs[i].tag, &words[0][i], 8);
        memcpy(macs[i].tag + 8, &words[1][i], 8);
    }
    sp_wipe(words, sizeof words); /* the right tag of a forged packet is nobody's business */
    sp_wipe(&keys, sizeof keys);
}

POLY_AVX512 void sp_mac_avx512(struct sp_queue *queue)
{
    while (queue->late - queue->next > 2) {
        size_t left = (size_t)(queue->late - queue->next), count = left < PACKETS ? left : PACKETS;
        mac_eight(queue->next, count);
        queue->next += count;
    }
    for (; queue->next < queue->late; queue->next++)
        sp_mac_avx512_one(queue->next);
    _mm256_zeroupper();
}

#endif
