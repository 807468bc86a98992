/* One block of Poly1305 for the 64-bit multiplier, as assembly that others can put between their own.
 *
 * A number modulo p = 2^130 - 5 is three 64-bit words of which the third stays small. As r is clamped, r1 is a
 * multiple of 4, and r1 2^128 = (r1 / 4) 2^130 = 5 r1 / 4 modulo p: that is r5. */
#ifndef SALLYPORT_POLY_MULX_H
#define SALLYPORT_POLY_MULX_H

#include "engine.h"

enum { SP_POLY_BYTES = 16 };

/* h = (h + block + 2^128) r, the block at `at` bytes behind text. a, b, c and rdx are for use meanwhile. */
#define SP_POLY_BLOCK(at) \
    "addq " #at "(%[text]), %[h0]\n\t" \
    "adcq " #at "+8(%[text]), %[h1]\n\t" \
    "adcq $1, %[h2]\n\t" \
    "movq 32(%[poly]), %%rdx\n\t" \
    "mulxq %[h0], %[b0], %[b1]\n\t" /* b, of weight 2^64: h0 r1 */ \
    "movq 24(%[poly]), %%rdx\n\t" \
    "mulxq %[h0], %[a0], %[a1]\n\t" /* a = h0 r0 */ \
    "mulxq %[h1], %[c], %[h0]\n\t" /* b += h1 r0 */ \
    "addq %[c], %[b0]\n\t" \
    "adcq %[h0], %[b1]\n\t" \
    "imulq %[h2], %%rdx\n\t" /* b += h2 r0 2^64 */ \
    "addq %%rdx, %[b1]\n\t" \
    "movq 40(%[poly]), %%rdx\n\t" \
    "mulxq %[h1], %[c], %[h1]\n\t" /* a += h1 r1 2^128 */ \
    "imulq %%rdx, %[h2]\n\t" /* b += h2 r1 2^128 */ \
    "addq %[c], %[a0]\n\t" \
    "adcq %[h1], %[a1]\n\t" \
    "addq %[h2], %[b0]\n\t" \
    "adcq $0, %[b1]\n\t" \
    "addq %[a1], %[b0]\n\t" \
    "adcq $0, %[b1]\n\t" \
    "movq %[b1], %[c]\n\t" /* what is above 2^130 comes back times 5 */ \
    "movq %[b1], %[h2]\n\t" \
    "shrq $2, %[c]\n\t" \
    "andq $-4, %[b1]\n\t" \
    "addq %[b1], %[c]\n\t" \
    "andl $3, %k[h2]\n\t" \
    "movq %[a0], %[h0]\n\t" \
    "movq %[b0], %[h1]\n\t" \
    "addq %[c], %[h0]\n\t" \
    "adcq $0, %[h1]\n\t" \
    "adcq $0, %[h2]\n\t"
#define SP_POLY_OUTPUTS(state, a0_, a1_, b0_, b1_, c_) \
    [h0] "+&r"((state)->h[0]), [h1] "+&r"((state)->h[1]), [h2] "+&r"((state)->h[2]), [a0] "=&r"(a0_), \
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
