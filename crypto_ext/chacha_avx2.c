/* ChaCha20 (RFC 8439) on 8 blocks at a time with AVX2.
 *
 * Vertical layout: register k holds word k of 8 blocks, one block per 32-bit lane. A state fills all 16
 * registers, but rotations need a spare one: so of the third row's four words (8 to 11) only two are in
 * registers at a time. Columns 0 and 1 need words 8 and 9, columns 2 and 3 and then diagonals 0 and 1 need words
 * 10 and 11, diagonals 2 and 3 need 8 and 9 again: two exchanges per double round.
 *
 * fill, rounds and spread as in chacha_avx512.c. */
#include "engine.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "lanes.h"

#define AVX2 __attribute__((target("avx2")))

enum { STATE_LANES = 8, ROW_BYTES = 32, STATE_BYTES = 16 * ROW_BYTES, SPARE_BYTES = 4 * ROW_BYTES };

/* ---- fill -------------------------------------------------------------------------------------------- */

AVX2 static inline void set_from(__m256i *row, __m256i rest, uint32_t word)
{
    *row = _mm256_blendv_epi8(*row, _mm256_set1_epi32((int)word), rest);
}

AVX2 static void fill(struct sp_group *group, struct sp_cursor *cursor)
{
    static const int sigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    const __m256i numbers = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    __m256i *rows = (__m256i *)(void *)group->rows;
    __m256i key[8], block = numbers, low = numbers, high = numbers;
    uint32_t lane = 0;

    for (int i = 0; i < 8; i++)
        key[i] = numbers;
    while (lane < STATE_LANES && cursor->run < cursor->end) {
        struct sp_piece piece = sp_lanes_take(group, cursor, lane, STATE_LANES - lane);
        /* this lane and all behind it */
        __m256i rest = _mm256_cmpgt_epi32(numbers, _mm256_set1_epi32((int)lane - 1));

        for (int i = 0; i < 8; i++)
            set_from(&key[i], rest, sp_load32(piece.run->key + 4 * i));
        set_from(&block, rest, piece.block - lane);
        set_from(&low, rest, (uint32_t)piece.run->counter);
        set_from(&high, rest, (uint32_t)(piece.run->counter >> 32));
        lane += piece.count;
    }
    sp_lanes_idle(group, lane, STATE_LANES);
    for (int i = 0; i < 4; i++)
        rows[i] = _mm256_set1_epi32(sigma[i]);
    for (int i = 0; i < 8; i++)
        rows[4 + i] = key[i];
    rows[12] = _mm256_add_epi32(block, numbers);
    rows[13] = _mm256_setzero_si256(); /* the four zero bytes of WireGuard's nonce */
    rows[14] = low;
    rows[15] = high;
    rows[18] = key[6]; /* words 10 and 11 begin in the spare places, at which the rounds change them */
    rows[19] = key[7];
}

/* ---- rounds ------------------------------------------------------------------------------------------ */

/* Registers 0 to 7 and 12 to 15 hold the rows of these numbers, 8 and 9 rows 8 and 9 or 10 and 11; behind the
 * 16 rows lie spare places for rows 8 to 11. */
#define LOAD(row, n) "vmovdqa 32*" #row "(%[rows]), %%ymm" #n "\n\t"
#define STORE(row, n) "vmovdqa %%ymm" #n ", 32*" #row "(%[rows])\n\t"
#define FINISH(row, n) "vpaddd 32*" #row "(%[rows]), %%ymm" #n ", %%ymm" #n "\n\t" STORE(row, n)
#define ADD(x, y) "vpaddd %%ymm" #y ", %%ymm" #x ", %%ymm" #x "\n\t"
#define XOR(x, y) "vpxor %%ymm" #y ", %%ymm" #x ", %%ymm" #x "\n\t"
#define BYTES(x, how) "vpshufb %[" #how "], %%ymm" #x ", %%ymm" #x "\n\t"
#define SHIFT(x, left, right, spare) \
    "vpslld $" #left ", %%ymm" #x ", %%ymm" #spare "\n\t" \
    "vpsrld $" #right ", %%ymm" #x ", %%ymm" #x "\n\t" \
    "vpor %%ymm" #spare ", %%ymm" #x ", %%ymm" #x "\n\t"
/* Two quarter rounds side by side; c is in registers 8 and 9. */
#define TWO(a, A, b, B, d, D) \
    ADD(a, b) ADD(A, B) XOR(d, a) XOR(D, A) BYTES(d, by16) BYTES(D, by16) \
    ADD(8, d) ADD(9, D) XOR(b, 8) XOR(B, 9) SHIFT(b, 12, 20, 10) SHIFT(B, 12, 20, 11) \
    ADD(a, b) ADD(A, B) XOR(d, a) XOR(D, A) BYTES(d, by8) BYTES(D, by8) \
    ADD(8, d) ADD(9, D) XOR(b, 8) XOR(B, 9) SHIFT(b, 7, 25, 10) SHIFT(B, 7, 25, 11)

AVX2 static inline void rounds(uint8_t *rows)
{
    static const _Alignas(32) uint8_t by16[32] = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
                                                  2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
    static const _Alignas(32) uint8_t by8[32] = {3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
                                                 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14};
    uint32_t pairs = 10;

    __asm__ volatile(
        LOAD(0, 0) LOAD(1, 1) LOAD(2, 2) LOAD(3, 3) LOAD(4, 4) LOAD(5, 5) LOAD(6, 6) LOAD(7, 7)
        LOAD(8, 8) LOAD(9, 9) LOAD(12, 12) LOAD(13, 13) LOAD(14, 14) LOAD(15, 15)
        "1:\n\t"
        TWO(0, 1, 4, 5, 12, 13)
        STORE(16, 8) STORE(17, 9) LOAD(18, 8) LOAD(19, 9)
        TWO(2, 3, 6, 7, 14, 15)
        TWO(0, 1, 5, 6, 15, 12)
        STORE(18, 8) STORE(19, 9) LOAD(16, 8) LOAD(17, 9)
        TWO(2, 3, 7, 4, 13, 14)
        "subl $1, %[pairs]\n\t"
        "jnz 1b\n\t"
        LOAD(18, 10) LOAD(19, 11)
        FINISH(0, 0) FINISH(1, 1) FINISH(2, 2) FINISH(3, 3) FINISH(4, 4) FINISH(5, 5) FINISH(6, 6) FINISH(7, 7)
        FINISH(8, 8) FINISH(9, 9) FINISH(10, 10) FINISH(11, 11) FINISH(12, 12) FINISH(13, 13) FINISH(14, 14)
        FINISH(15, 15)
        : [pairs] "+r"(pairs)
        : [rows] "r"(rows), [by16] "m"(by16), [by8] "m"(by8)
        : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
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
    const __m256i *rows = (const __m256i *)(const void *)group->rows + 8 * half;
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

/* ---- the two doors ----------------------------------------------------------------------------------- */

AVX2 void sp_chacha_avx2(struct sp_group *group, const struct sp_run *runs, size_t n)
{
    struct sp_cursor cursor = {.run = runs, .end = runs + n};

    while (cursor.run < cursor.end) {
        fill(group, &cursor);
        rounds(group->rows);
        spread(group, 0);
        spread(group, 1);
        group->used = STATE_BYTES + SPARE_BYTES;
    }
    _mm256_zeroupper(); /* the compiler does not see which registers the assembly used */
}

AVX2 void sp_xor_avx2(const struct sp_xor *xors, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *out = xors[i].out;
        const uint8_t *in = xors[i].in, *stream = xors[i].stream;
        uint32_t len = xors[i].len;

        for (; len >= 32; len -= 32, out += 32, in += 32, stream += 32) {
            __m256i text = _mm256_loadu_si256((const __m256i *)(const void *)in);
            __m256i key = _mm256_loadu_si256((const __m256i *)(const void *)stream);
            _mm256_storeu_si256((__m256i *)(void *)out, _mm256_xor_si256(text, key));
        }
        for (; len >= 8; len -= 8, out += 8, in += 8, stream += 8) {
            uint64_t text, key;
            memcpy(&text, in, 8);
            memcpy(&key, stream, 8);
            text ^= key;
            memcpy(out, &text, 8);
        }
        for (uint32_t at = 0; at < len; at++)
            out[at] = in[at] ^ stream[at];
    }
    _mm256_zeroupper();
}

#endif
