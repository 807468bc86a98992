/* ChaCha20 (RFC 8439) on 32 blocks at a time with AVX-512.
 *
 * Vertical layout: register k holds word k of 16 blocks, one block per 32-bit lane; two such states fill
 * the 32 registers exactly, and while one waits for its results the other computes. Per group of lanes:
 *
 *   fill    rows of the initial states from the runs; lanes of several packets meet in one register
 *   rounds  20 rounds and the addition of the initial state, in memory before and after
 *   spread  transpose, so that a register is one block; xor with the text; store
 *
 * The rounds are assembly because gcc cannot keep 32 vectors in 32 registers: it spills, and loses a
 * fifth. Keys, counters and text decide no branch and no address. */
#include "engine.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "lanes.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

enum { STATE_LANES = 16, STATE_BYTES = STATE_LANES * SP_BLOCK_BYTES };

/* ---- fill -------------------------------------------------------------------------------------------- */

AVX512 static void fill(struct sp_group *group, uint32_t state, struct sp_cursor *cursor)
{
    static const int sigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    const __m512i numbers = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512i *rows = (__m512i *)(void *)(group->rows + state * STATE_BYTES);
    __m512i key[8], block = numbers, low = numbers, high = numbers;
    uint32_t base = state * STATE_LANES, lane = 0;

    for (int i = 0; i < 8; i++)
        key[i] = numbers;
    while (lane < STATE_LANES && cursor->run < cursor->end) {
        struct sp_piece piece = sp_lanes_take(group, cursor, base + lane, STATE_LANES - lane);
        __mmask16 rest = (__mmask16)(0xffffU << lane); /* this lane and all behind it */

        for (int i = 0; i < 8; i++)
            key[i] = _mm512_mask_set1_epi32(key[i], rest, (int)sp_get_le32(piece.run->key + 4 * i));
        block = _mm512_mask_add_epi32(block, rest, numbers, _mm512_set1_epi32((int)(piece.block - lane)));
        low = _mm512_mask_set1_epi32(low, rest, (int)(uint32_t)piece.run->counter);
        high = _mm512_mask_set1_epi32(high, rest, (int)(uint32_t)(piece.run->counter >> 32));
        lane += piece.count;
    }
    sp_lanes_idle(group, base + lane, base + STATE_LANES);
    for (int i = 0; i < 4; i++)
        rows[i] = _mm512_set1_epi32(sigma[i]);
    for (int i = 0; i < 8; i++)
        rows[4 + i] = key[i];
    rows[12] = block;
    rows[13] = _mm512_setzero_si512(); /* the four zero bytes of WireGuard's nonce */
    rows[14] = low;
    rows[15] = high;
}

/* ---- rounds ------------------------------------------------------------------------------------------ */

/* Register n holds row n of rows: 0 to 15 are the first state, 16 to 31 the second. */
#define LOAD(n) "vmovdqa64 64*" #n "(%[rows]), %%zmm" #n "\n\t"
#define FINISH(n) \
    "vpaddd 64*" #n "(%[rows]), %%zmm" #n ", %%zmm" #n "\n\t" \
    "vmovdqa64 %%zmm" #n ", 64*" #n "(%[rows])\n\t"
#define ADD(x, y) "vpaddd %%zmm" #y ", %%zmm" #x ", %%zmm" #x "\n\t"
#define XOR(x, y) "vpxord %%zmm" #y ", %%zmm" #x ", %%zmm" #x "\n\t"
#define ROTATE(x, bits) "vprold $" #bits ", %%zmm" #x ", %%zmm" #x "\n\t"
/* One line of four quarter rounds side by side: a += b, d ^= a, d <<<= bits. */
#define LINE(a0, a1, a2, a3, b0, b1, b2, b3, d0, d1, d2, d3, bits) \
    ADD(a0, b0) ADD(a1, b1) ADD(a2, b2) ADD(a3, b3) XOR(d0, a0) XOR(d1, a1) XOR(d2, a2) XOR(d3, a3) \
    ROTATE(d0, bits) ROTATE(d1, bits) ROTATE(d2, bits) ROTATE(d3, bits)
#define ROUND(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3) \
    LINE(a0, a1, a2, a3, b0, b1, b2, b3, d0, d1, d2, d3, 16) LINE(c0, c1, c2, c3, d0, d1, d2, d3, b0, b1, b2, b3, 12) \
    LINE(a0, a1, a2, a3, b0, b1, b2, b3, d0, d1, d2, d3, 8) LINE(c0, c1, c2, c3, d0, d1, d2, d3, b0, b1, b2, b3, 7)
#define COLUMNS_1 ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define DIAGONALS_1 ROUND(0, 1, 2, 3, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14)
#define COLUMNS_2 ROUND(16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31)
#define DIAGONALS_2 ROUND(16, 17, 18, 19, 21, 22, 23, 20, 26, 27, 24, 25, 31, 28, 29, 30)
#define EACH_1(what) \
    what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7) \
    what(8) what(9) what(10) what(11) what(12) what(13) what(14) what(15)
#define EACH_2(what) \
    what(16) what(17) what(18) what(19) what(20) what(21) what(22) what(23) \
    what(24) what(25) what(26) what(27) what(28) what(29) what(30) what(31)
#define CLOBBERS_1 \
    "zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", \
    "zmm8", "zmm9", "zmm10", "zmm11", "zmm12", "zmm13", "zmm14", "zmm15"
#define CLOBBERS_2 \
    "zmm16", "zmm17", "zmm18", "zmm19", "zmm20", "zmm21", "zmm22", "zmm23", \
    "zmm24", "zmm25", "zmm26", "zmm27", "zmm28", "zmm29", "zmm30", "zmm31"

AVX512 static inline void rounds_of_one(uint8_t *rows)
{
    uint32_t pairs = 10;

    __asm__ volatile(
        EACH_1(LOAD)
        "1:\n\t" COLUMNS_1 DIAGONALS_1
        "subl $1, %[pairs]\n\t"
        "jnz 1b\n\t"
        EACH_1(FINISH)
        : [pairs] "+r"(pairs) : [rows] "r"(rows) : "memory", "cc", CLOBBERS_1);
}

AVX512 static inline void rounds_of_two(uint8_t *rows)
{
    uint32_t pairs = 10;

    __asm__ volatile(
        EACH_1(LOAD) EACH_2(LOAD)
        "1:\n\t" COLUMNS_1 COLUMNS_2 DIAGONALS_1 DIAGONALS_2
        "subl $1, %[pairs]\n\t"
        "jnz 1b\n\t"
        EACH_1(FINISH) EACH_2(FINISH)
        : [pairs] "+r"(pairs) : [rows] "r"(rows) : "memory", "cc", CLOBBERS_1, CLOBBERS_2);
}

/* ---- spread ------------------------------------------------------------------------------------------ */

AVX512 static inline void xor_block(const struct sp_group *group, uint32_t lane, __m512i block)
{
    __m512i text = _mm512_loadu_si512((const void *)group->in[lane]);
    _mm512_storeu_si512((void *)group->out[lane], _mm512_xor_si512(block, text));
}

AVX512 static inline void spread(const struct sp_group *group, uint32_t state)
{
    const __m512i *rows = (const __m512i *)(const void *)(group->rows + state * STATE_BYTES);
    __m512i part[4][4]; /* [i][j]: words 4 i to 4 i + 3 of blocks j, 4 + j, 8 + j, 12 + j */

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i a = _mm512_unpacklo_epi32(rows[4 * i], rows[4 * i + 1]);
        __m512i b = _mm512_unpackhi_epi32(rows[4 * i], rows[4 * i + 1]);
        __m512i c = _mm512_unpacklo_epi32(rows[4 * i + 2], rows[4 * i + 3]);
        __m512i d = _mm512_unpackhi_epi32(rows[4 * i + 2], rows[4 * i + 3]);
        part[i][0] = _mm512_unpacklo_epi64(a, c);
        part[i][1] = _mm512_unpackhi_epi64(a, c);
        part[i][2] = _mm512_unpacklo_epi64(b, d);
        part[i][3] = _mm512_unpackhi_epi64(b, d);
    }
#pragma GCC unroll 4
    for (uint32_t j = 0; j < 4; j++) {
        __m512i a = _mm512_shuffle_i32x4(part[0][j], part[1][j], 0x88);
        __m512i b = _mm512_shuffle_i32x4(part[0][j], part[1][j], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(part[2][j], part[3][j], 0x88);
        __m512i d = _mm512_shuffle_i32x4(part[2][j], part[3][j], 0xdd);
        uint32_t lane = state * STATE_LANES + j;
        xor_block(group, lane, _mm512_shuffle_i32x4(a, c, 0x88));
        xor_block(group, lane + 4, _mm512_shuffle_i32x4(b, d, 0x88));
        xor_block(group, lane + 8, _mm512_shuffle_i32x4(a, c, 0xdd));
        xor_block(group, lane + 12, _mm512_shuffle_i32x4(b, d, 0xdd));
    }
}

/* ---- the door ---------------------------------------------------------------------------------------- */

AVX512 void sp_chacha_avx512(struct sp_group *group, const struct sp_run *runs, size_t n, struct sp_queue *queue)
{
    struct sp_cursor cursor = {.run = runs, .end = runs + n};

    (void)queue; /* Poly1305 needs the same units here, so there is nothing to gain */
    while (cursor.run < cursor.end) {
        uint32_t states = 1;
        fill(group, 0, &cursor);
        if (cursor.run < cursor.end) {
            fill(group, 1, &cursor);
            states = 2;
            rounds_of_two(group->rows);
        } else {
            rounds_of_one(group->rows);
        }
        for (uint32_t state = 0; state < states; state++)
            spread(group, state);
        if (group->used < states * STATE_BYTES)
            group->used = states * STATE_BYTES;
    }
    _mm256_zeroupper(); /* the compiler does not see which registers the assembly used */
}

#endif
