/* The compression of BLAKE2s with AVX2: a row of the state in half a register, four columns or diagonals at a time;
 * and in the other half that of another state, which then costs next to nothing.
 *
 * Every step waits for the one before, so for one block this is hardly faster than blake2s.c as long as nothing
 * disturbs the core. But it has a third of the instructions, and keeps its pace when another thread of the core takes
 * issue slots.
 *
 * The words of a block come in the order of a round by two permutations, one of each half of the block, and a choice
 * between the two. Addresses are those of constants; nothing branches. */
#include "blake2s.h"
#include "blake2s_rounds.h"

#if defined(__x86_64__) && !defined(SP_NO_AVX2)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* A word's number as the permutation takes it, which heeds the lowest three bits; bit 31 chooses the second half. */
#define WORD(i) (((i) & 7) | (uint32_t)(i) >> 3 << 31)
/* What columns add first, what they add second; then the diagonals, beginning with the one that has word 4 of the
 * state: so the second row, which everything waits for, stays where it is (see compress). */
#define ORDER(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15) \
    { \
        {WORD(s0), WORD(s2), WORD(s4), WORD(s6), WORD(s1), WORD(s3), WORD(s5), WORD(s7)}, \
        {WORD(s14), WORD(s8), WORD(s10), WORD(s12), WORD(s15), WORD(s9), WORD(s11), WORD(s13)}, \
    },

static const uint32_t orders[10][2][8] __attribute__((aligned(32))) = {SP_BLAKE2S_ROUNDS(ORDER)};

/* Those of two states, one in either half of a register. */
struct rows {
    __m256i a, b, c, d;
};

AVX2 static inline __m256i both(const void *one, const void *other)
{
    return _mm256_set_m128i(_mm_loadu_si128(other), _mm_loadu_si128(one));
}

AVX2 static inline __m256i rotate_right(__m256i x, int bits)
{
    return _mm256_or_si256(_mm256_srli_epi32(x, bits), _mm256_slli_epi32(x, 32 - bits));
}

/* A sum of what is known early. It is kept together: the compiler would rather add what comes late twice. */
AVX2 static inline __m256i early(__m256i a, __m256i b)
{
    __m256i sum = _mm256_add_epi32(a, b);

    __asm__("" : "+x"(sum));
    return sum;
}

/* Eight words of a block, in that order. */
AVX2 static inline __m256i words(const uint8_t *block, const uint32_t order[8])
{
    __m256i which = _mm256_load_si256((const void *)order);
    __m256i low = _mm256_loadu_si256((const void *)block), high = _mm256_loadu_si256((const void *)(block + 32));
    __m256 one = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(low, which));
    __m256 other = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(high, which));

    return _mm256_castps_si256(_mm256_blendv_ps(one, other, _mm256_castsi256_ps(which)));
}

/* "mix" of blake2s.c, of four columns of either state. */
AVX2 static inline void mix(struct rows *v, __m256i one, __m256i other)
{
    const __m256i by16 = _mm256_broadcastsi128_si256(
        _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
    const __m256i by8 = _mm256_broadcastsi128_si256(
        _mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1));

    v->a = _mm256_add_epi32(early(v->a, _mm256_permute2x128_si256(one, other, 0x20)), v->b);
    v->d = _mm256_shuffle_epi8(_mm256_xor_si256(v->d, v->a), by16);
    v->c = _mm256_add_epi32(v->c, v->d);
    v->b = rotate_right(_mm256_xor_si256(v->b, v->c), 12);
    v->a = _mm256_add_epi32(early(v->a, _mm256_permute2x128_si256(one, other, 0x31)), v->b);
    v->d = _mm256_shuffle_epi8(_mm256_xor_si256(v->d, v->a), by8);
    v->c = _mm256_add_epi32(v->c, v->d);
    v->b = rotate_right(_mm256_xor_si256(v->b, v->c), 7);
}

/* h and g, block and other: two states and what each compresses, or twice the same. */
AVX2 static inline void compress(uint32_t *h, uint32_t *g, const uint8_t *block, const uint8_t *other,
                                 uint64_t bytes_so_far, int last)
{
    const int low = (int)bytes_so_far, high = (int)(bytes_so_far >> 32), ends = -(last != 0);
    const __m256i first = both(h, g), second = both(h + 4, g + 4);
    __m256i sum;
    struct rows v = {
        .a = first,
        .b = second,
        .c = both(sp_blake2s_initial, sp_blake2s_initial),
        .d = both(sp_blake2s_initial + 4, sp_blake2s_initial + 4),
    };

    v.d = _mm256_xor_si256(v.d, _mm256_set_epi32(0, ends, high, low, 0, ends, high, low));
    for (int round = 0; round < 10; round++) {
        mix(&v, words(block, orders[round][0]), words(other, orders[round][0]));
        v.a = _mm256_shuffle_epi32(v.a, 0x93); /* diagonals become columns: 3 0 1 2, */
        v.c = _mm256_shuffle_epi32(v.c, 0x39); /* 9 10 11 8, */
        v.d = _mm256_shuffle_epi32(v.d, 0x4e); /* 14 15 12 13 */
        mix(&v, words(block, orders[round][1]), words(other, orders[round][1]));
        v.a = _mm256_shuffle_epi32(v.a, 0x39);
        v.c = _mm256_shuffle_epi32(v.c, 0x93);
        v.d = _mm256_shuffle_epi32(v.d, 0x4e);
    }
    sum = _mm256_xor_si256(first, _mm256_xor_si256(v.a, v.c));
    _mm_storeu_si128((void *)h, _mm256_castsi256_si128(sum));
    _mm_storeu_si128((void *)g, _mm256_extracti128_si256(sum, 1));
    sum = _mm256_xor_si256(second, _mm256_xor_si256(v.b, v.d));
    _mm_storeu_si128((void *)(h + 4), _mm256_castsi256_si128(sum));
    _mm_storeu_si128((void *)(g + 4), _mm256_extracti128_si256(sum, 1));
}

AVX2 static void compress_one(uint32_t *h, const uint8_t *block, uint64_t bytes_so_far, int last)
{
    compress(h, h, block, block, bytes_so_far, last);
}

AVX2 static void compress_two(uint32_t h[][8], const uint8_t blocks[][SP_BLAKE2S_BLOCK_BYTES], uint64_t bytes_so_far)
{
    compress(h[0], h[1], blocks[0], blocks[1], bytes_so_far, 0);
}

/* The compiler's bits, which heed XCR0; without CPUID, which a hypervisor traps. */
static int runs_here(void) { return __builtin_cpu_supports("avx2") != 0; }

#else

static int runs_here(void) { return 0; }

static void compress_one(uint32_t *h, const uint8_t *block, uint64_t bytes_so_far, int last)
{
    (void)h, (void)block, (void)bytes_so_far, (void)last;
}

static void compress_two(uint32_t h[][8], const uint8_t blocks[][SP_BLAKE2S_BLOCK_BYTES], uint64_t bytes_so_far)
{
    (void)h, (void)blocks, (void)bytes_so_far;
}

#endif

int sp_blake2s_compress_avx2(uint32_t h[8], const uint8_t *block, uint64_t bytes_so_far, int last)
{
    if (runs_here())
        compress_one(h, block, bytes_so_far, last);
    return runs_here();
}

int sp_blake2s_compress_two_avx2(uint32_t h[][8], const uint8_t blocks[][SP_BLAKE2S_BLOCK_BYTES],
                                 uint64_t bytes_so_far)
{
    if (runs_here())
        compress_two(h, blocks, bytes_so_far);
    return runs_here();
}
