/* ChaCha20 (RFC 8439) on 8 blocks at a time with AVX2, and Poly1305 of other blocks beside it.
 *
 * Vertical layout: register k holds word k of 8 blocks, one block per 32-bit lane. A state would fill all 16
 * registers, but rotations need a spare one: so word 10 is in memory during the rounds.
 *
 * The rounds keep the vector units busy and the multiplier idle: so in every double round three blocks of Poly1305
 * are absorbed, instructions of the one between those of the other, as long as the queue has a packet with whole
 * blocks to come (poly_beside.h). That hides most of its cost.
 *
 * fill, rounds and spread as in chacha_avx512.c. */
#include "engine.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "lanes.h"
#include "poly_beside.h"
#include "poly_mulx.h"

#define AVX2 __attribute__((target("avx2")))

/* Where things are in a group: the initial rows, word 10 during the rounds, how vpshufb rotates by 16 and by 8, and
 * the final rows. The assembly counts from KEPT_ROW on, so that what the rounds need is near: far displacements
 * make instructions half as long again, and the loop outgrows what the core can fetch in time. */
enum { STATE_LANES = 8, ROW_BYTES = 32, KEPT_ROW = 16, ROTATION_ROW = 17, FINAL_ROW = 19, ROWS = 35 };

static const uint8_t rotations[2 * ROW_BYTES] = {
    2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
    3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
};

/* ---- fill -------------------------------------------------------------------------------------------- */

AVX2 static inline void set_from(__m256i *row, __m256i rest, uint32_t word)
{
    *row = _mm256_blendv_epi8(*row, _mm256_set1_epi32((int)word), rest);
}

/* Whether the lanes filled last and those to come all belong to one packet. */
static inline int goes_on(const struct sp_cursor *cursor)
{
    return cursor->done >= STATE_LANES && cursor->run->blocks - cursor->done >= STATE_LANES;
}

/* What is in the rows before any key is, and stays there. */
AVX2 static void begin(__m256i *rows)
{
    static const int sigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

    for (int i = 0; i < 4; i++)
        rows[i] = _mm256_set1_epi32(sigma[i]);
    rows[13] = _mm256_setzero_si256(); /* the four zero bytes of WireGuard's nonce */
    memcpy(rows + ROTATION_ROW, rotations, sizeof rotations);
}

/* Rows 4 to 11. Mostly all packets have one key, and it is there already. */
AVX2 static inline void set_key(__m256i *rows, const uint8_t *key, __m256i rest)
{
    for (int i = 0; i < 8; i++)
        set_from(&rows[4 + i], rest, sp_get_le32(key + 4 * i));
}

AVX2 static void fill(struct sp_group *group, struct sp_cursor *cursor)
{
    const __m256i numbers = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    __m256i *rows = (__m256i *)(void *)group->rows;
    __m256i block = numbers, low = numbers, high = numbers;
    const uint8_t *key = group->key; /* that of this lane and all behind it */
    uint32_t lane = 0;

    if (goes_on(cursor)) {
        sp_lanes_take(group, cursor, 0, STATE_LANES);
        rows[12] = _mm256_add_epi32(rows[12], _mm256_set1_epi32(STATE_LANES));
        return;
    }
    if (!key)
        begin(rows);
    while (lane < STATE_LANES && cursor->run < cursor->end) {
        struct sp_piece piece = sp_lanes_take(group, cursor, lane, STATE_LANES - lane);
        /* this lane and all behind it */
        __m256i rest = _mm256_cmpgt_epi32(numbers, _mm256_set1_epi32((int)lane - 1));

        if (piece.run->key != key) {
            key = piece.run->key;
            set_key(rows, key, rest);
            group->key = lane == 0 ? key : NULL;
        }
        set_from(&block, rest, piece.block - lane);
        set_from(&low, rest, (uint32_t)piece.run->counter);
        set_from(&high, rest, (uint32_t)(piece.run->counter >> 32));
        lane += piece.count;
    }
    sp_lanes_idle(group, lane, STATE_LANES);
    rows[12] = _mm256_add_epi32(block, numbers);
    rows[14] = low;
    rows[15] = high;
}

/* ---- rounds ------------------------------------------------------------------------------------------ */

/* Register n holds row n, but 10 is spare, for that row is kept in memory. */
#define LOAD(n) "vmovdqa 32*(" #n "-16)(%[kept]), %%ymm" #n "\n\t"
#define KEEP "vmovdqa %%ymm10, (%[kept])\n\t"
/* The initial state is added; the final row stands 19 rows behind the initial one. */
#define FINISH(n) \
    "vpaddd 32*(" #n "-16)(%[kept]), %%ymm" #n ", %%ymm" #n "\n\t" \
    "vmovdqa %%ymm" #n ", 32*(" #n "+3)(%[kept])\n\t"
#define ADD(x, y) "vpaddd %%ymm" #y ", %%ymm" #x ", %%ymm" #x "\n\t"
#define XOR(x, y) "vpxor %%ymm" #y ", %%ymm" #x ", %%ymm" #x "\n\t"
#define BYTES(x, rotation) "vpshufb 32*" #rotation "(%[kept]), %%ymm" #x ", %%ymm" #x "\n\t"
#define SHIFT(x, left, right) \
    "vpslld $" #left ", %%ymm" #x ", %%ymm10\n\t" \
    "vpsrld $" #right ", %%ymm" #x ", %%ymm" #x "\n\t" \
    "vpor %%ymm10, %%ymm" #x ", %%ymm" #x "\n\t"
/* c += d, b ^= c, with c in a register or, by way of the spare one, in memory. */
#define ADD_XOR(c, d, b) ADD(c, d) XOR(b, c)
#define ADD_XOR_KEPT(d, b) "vpaddd (%[kept]), %%ymm" #d ", %%ymm10\n\t" KEEP XOR(b, 10)
/* Four quarter rounds side by side: numbers of a are 0 to 3. */
#define HALF(b0, b1, b2, b3, C0, C1, C2, C3, d0, d1, d2, d3, how, left, right) \
    ADD(0, b0) ADD(1, b1) ADD(2, b2) ADD(3, b3) XOR(d0, 0) XOR(d1, 1) XOR(d2, 2) XOR(d3, 3) \
    BYTES(d0, how) BYTES(d1, how) BYTES(d2, how) BYTES(d3, how) C0 C1 C2 C3 \
    SHIFT(b0, left, right) SHIFT(b1, left, right) SHIFT(b2, left, right) SHIFT(b3, left, right)
#define COLUMNS(how, left, right) \
    HALF(4, 5, 6, 7, ADD_XOR(8, 12, 4), ADD_XOR(9, 13, 5), ADD_XOR_KEPT(14, 6), ADD_XOR(11, 15, 7), \
         12, 13, 14, 15, how, left, right)
#define DIAGONALS(how, left, right) \
    HALF(5, 6, 7, 4, ADD_XOR_KEPT(15, 5), ADD_XOR(11, 12, 6), ADD_XOR(8, 13, 7), ADD_XOR(9, 14, 4), \
         15, 12, 13, 14, how, left, right)

/* The rounds; in the first `beside` double rounds a packet absorbs blocks too. */
AVX2 static inline void rounds(uint8_t *rows, struct sp_poly *poly, uint32_t beside)
{
    uint32_t alone = SP_DOUBLE_ROUNDS - beside, count = beside;
    uint64_t a0, a1, b0, b1, c;

    __asm__ volatile(
        LOAD(10) KEEP LOAD(0) LOAD(1) LOAD(2) LOAD(3) LOAD(4) LOAD(5) LOAD(6) LOAD(7)
        LOAD(8) LOAD(9) LOAD(11) LOAD(12) LOAD(13) LOAD(14) LOAD(15)
        "testl %[count], %[count]\n\t"
        "jz 2f\n\t"
        "1:\n\t"
        COLUMNS(1, 12, 20) SP_POLY_BLOCK(0, h1, b0, a1) COLUMNS(2, 7, 25) SP_POLY_BLOCK(16, b0, a1, h1)
        DIAGONALS(1, 12, 20) SP_POLY_BLOCK(32, a1, h1, b0) DIAGONALS(2, 7, 25)
        "addq $48, %[text]\n\t"
        "subl $1, %[count]\n\t"
        "jnz 1b\n\t"
        "2:\n\t"
        "movl %[alone], %[count]\n\t"
        "testl %[count], %[count]\n\t"
        "jz 4f\n\t"
        "3:\n\t"
        COLUMNS(1, 12, 20) COLUMNS(2, 7, 25) DIAGONALS(1, 12, 20) DIAGONALS(2, 7, 25)
        "subl $1, %[count]\n\t"
        "jnz 3b\n\t"
        "4:\n\t"
        "vmovdqa (%[kept]), %%ymm10\n\t"
        FINISH(0) FINISH(1) FINISH(2) FINISH(3) FINISH(4) FINISH(5) FINISH(6) FINISH(7)
        FINISH(8) FINISH(9) FINISH(10) FINISH(11) FINISH(12) FINISH(13) FINISH(14) FINISH(15)
        : SP_POLY_OUTPUTS(poly, a0, a1, b0, b1, c), [count] "+&c"(count), [text] "+&b"(poly->text)
        : [poly] "S"(poly), [kept] "D"(rows + KEPT_ROW * ROW_BYTES), [alone] "m"(alone)
        : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
          "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    poly->blocks -= SP_BESIDE_BLOCKS * beside;
}

/* ---- spread ------------------------------------------------------------------------------------------ */

AVX2 static inline void xor_half(const struct sp_group *group, uint32_t lane, uint32_t half, __m256i stream)
{
    const void *in = (const void *)(group->in[lane] + half * ROW_BYTES);
    void *out = (void *)(group->out[lane] + half * ROW_BYTES);
    _mm256_storeu_si256(out, _mm256_xor_si256(stream, _mm256_loadu_si256(in)));
}

/* Eight rows are one half of each block. */
AVX2 static inline void spread(const struct sp_group *group, uint32_t half)
{
    const __m256i *rows = (const __m256i *)(const void *)group->rows + FINAL_ROW + 8 * half;
    __m256i part[2][4]; /* [i][j]: words 4 i to 4 i + 3 of blocks j, 4 + j */

#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        __m256i a = _mm256_unpacklo_epi32(rows[4 * i], rows[4 * i + 1]);
        __m256i b = _mm256_unpackhi_epi32(rows[4 * i], rows[4 * i + 1]);
        __m256i c = _mm256_unpacklo_epi32(rows[4 * i + 2], rows[4 * i + 3]);
        __m256i d = _mm256_unpackhi_epi32(rows[4 * i + 2], rows[4 * i + 3]);
        part[i][0] = _mm256_unpacklo_epi64(a, c);
        part[i][1] = _mm256_unpackhi_epi64(a, c);
        part[i][2] = _mm256_unpacklo_epi64(b, d);
        part[i][3] = _mm256_unpackhi_epi64(b, d);
    }
#pragma GCC unroll 4
    for (uint32_t j = 0; j < 4; j++) {
        xor_half(group, j, half, _mm256_permute2x128_si256(part[0][j], part[1][j], 0x20));
        xor_half(group, 4 + j, half, _mm256_permute2x128_si256(part[0][j], part[1][j], 0x31));
    }
}

/* ---- the door ---------------------------------------------------------------------------------------- */

AVX2 void sp_chacha_avx2(struct sp_group *group, const struct sp_run *runs, size_t n, struct sp_queue *queue)
{
    struct sp_cursor cursor = {.run = runs, .end = runs + n};

    while (cursor.run < cursor.end) {
        uint32_t count = sp_poly_beside(queue, runs, &cursor);
        fill(group, &cursor);
        rounds(group->rows, &queue->poly, count);
        spread(group, 0);
        spread(group, 1);
        group->used = ROWS * ROW_BYTES;
    }
    _mm256_zeroupper(); /* the compiler does not see which registers the assembly used */
}

#endif
