/* What the two ways to compress a block of BLAKE2s (blake2s.c, blake2s_avx2.c) share; for nobody else. */
#ifndef SALLYPORT_BLAKE2S_ROUNDS_H
#define SALLYPORT_BLAKE2S_ROUNDS_H

#include <stdint.h>

/* RFC 7693, section 2.7: in which order each of the ten rounds takes the words of the block. */
#define SP_BLAKE2S_ROUNDS(X) \
    X(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) \
    X(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3) \
    X(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4) \
    X(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8) \
    X(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13) \
    X(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9) \
    X(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11) \
    X(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10) \
    X(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5) \
    X(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)

extern const uint32_t sp_blake2s_initial[8];

/* As those without _avx2; 0, and nothing is done, where the CPU has no AVX2. */
int sp_blake2s_compress_avx2(uint32_t state[8], const uint8_t *block, uint64_t bytes_so_far, int last);
int sp_blake2s_compress_two_avx2(uint32_t states[][8], const uint8_t blocks[][64], uint64_t bytes_so_far);

#endif
