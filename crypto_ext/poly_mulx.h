/* One block of Poly1305 for the 64-bit multiplier, as assembly that others can put between their own.
 *
 * A number modulo p = 2^130 - 5 is three 64-bit words of which the third stays small. As r is clamped, r1 is a
 * multiple of 4, and r1 2^128 = (r1 / 4) 2^130 = 5 r1 / 4 modulo p: that is r5. */
#ifndef SALLYPORT_POLY_MULX_H
#define SALLYPORT_POLY_MULX_H

#include "engine.h"

enum { SP_POLY_BYTES = 16 };

/* h = (h + block + 2^128) r, the block at `at` bytes behind text. h0 is in rdx; h1, b0, a1 name three registers: h1
 * comes in the first and leaves in the second, so that three blocks, which pass them on in turns, leave it where
 * it was. As r is clamped and h2 at most 6, a1 + h2 r5 and all of b1 stay below 2^64. */
#define SP_POLY_BLOCK(at, h1, b0, a1) \
    "addq " #at "(%[text]), %%rdx\n\t" \
    "adcq " #at "+8(%[text]), %[" #h1 "]\n\t" \
    "adcq $1, %[h2]\n\t" \
    "mulxq 32(%[poly]), %[" #b0 "], %[b1]\n\t" /* b, of weight 2^64: h0 r1 */ \
    "mulxq 24(%[poly]), %[a0], %[" #a1 "]\n\t" /* a = h0 r0 */ \
    "movq %[" #h1 "], %%rdx\n\t" \
    "mulxq 24(%[poly]), %[c], %[" #h1 "]\n\t" /* b += h1 r0 */ \
    "addq %[c], %[" #b0 "]\n\t" \
    "adcq %[" #h1 "], %[b1]\n\t" \
    "mulxq 40(%[poly]), %[c], %[" #h1 "]\n\t" /* a += h1 r1 2^128 */ \
    "addq %[c], %[a0]\n\t" \
    "adcq %[" #h1 "], %[" #a1 "]\n\t" \
    "movq %[h2], %[c]\n\t" \
    "imulq 24(%[poly]), %[c]\n\t" /* b += h2 r0 2^64 */ \
    "addq %[c], %[b1]\n\t" \
    "imulq 40(%[poly]), %[h2]\n\t" /* b += h2 r1 2^128 + the upper half of a */ \
    "addq %[h2], %[" #a1 "]\n\t" \
    "addq %[" #a1 "], %[" #b0 "]\n\t" \
    "adcq $0, %[b1]\n\t" \
    "movl %k[b1], %k[h2]\n\t" /* what is above 2^130 comes back times 5 */ \
    "shrq $2, %[b1]\n\t" \
    "andl $3, %k[h2]\n\t" \
    "leaq (%[b1], %[b1], 4), %%rdx\n\t" \
    "addq %[a0], %%rdx\n\t" \
    "adcq $0, %[" #b0 "]\n\t" \
    "adcq $0, %[h2]\n\t"
#define SP_POLY_OUTPUTS(state, a0_, a1_, b0_, b1_, c_) \
    [h0] "+&d"((state)->h[0]), [h1] "+&r"((state)->h[1]), [h2] "+&r"((state)->h[2]), [a0] "=&r"(a0_), \
    [a1] "=&r"(a1_), [b0] "=&r"(b0_), [b1] "=&r"(b1_), [c] "=&r"(c_)
#define SP_POLY_INPUTS(state) [poly] "r"(state)

_Static_assert(offsetof(struct sp_poly, r) == 24 && offsetof(struct sp_poly, r5) == 40, "as the assembly has it");

/* Makes ready for a packet. Its whole blocks can then be absorbed bit by bit, at poly->text. */
static inline __attribute__((always_inline)) void sp_poly_begin(struct sp_poly *poly, const struct sp_mac *mac)
{
    memset(poly->h, 0, sizeof poly->h);
    memcpy(poly->r, mac->key, sizeof poly->r);
    poly->r[0] &= 0x0ffffffc0fffffffU;
    poly->r[1] &= 0x0ffffffc0ffffffcU;
    poly->r5 = poly->r[1] + (poly->r[1] >> 2);
    poly->text = mac->text;
    poly->blocks = mac->len / SP_POLY_BYTES;
}

/* What is left of a packet, all of which is there: whole blocks, a last one that is not whole, the length. Then
 * the tag. */
void sp_poly_finish(struct sp_poly *poly, const struct sp_mac *mac);

#endif
