/* Poly1305 (RFC 8439) with the 64-bit multiplier, several packets taking turns.
 *
 * One block's result is the next one's input, through a multiplication and a chain of carries: a packet by
 * itself leaves most of the core idle. Packets do not depend on each other, so each gets a few blocks in its turn,
 * and the core overlaps the end of one turn with the next.
 *
 * A number modulo p = 2^130 - 5 is three 64-bit words of which the third stays small. As r is clamped, r1 is a
 * multiple of 4, and r1 2^128 = (r1 / 4) 2^130 = 5 r1 / 4 modulo p. */
#include "engine.h"

#if defined(__x86_64__)

#include "api.h"

enum { TOGETHER = 4, TURN_BLOCKS = 2, BLOCK_BYTES = 16 };

struct poly {
    uint64_t h[3], r[2], r1_by_4_times_5;
    const uint8_t *text;
    uint32_t blocks; /* whole ones still to come */
};

/* h = (h + block + 2^128) r, for that many blocks. */
static inline __attribute__((always_inline)) void absorb(struct poly *poly, const uint8_t *text, uint32_t blocks)
{
    uint64_t h0 = poly->h[0], h1 = poly->h[1], h2 = poly->h[2], a0, a1, b0, b1, c0, c1;

    for (; blocks > 0; blocks--, text += BLOCK_BYTES)
        __asm__("addq 0(%[text]), %[h0]\n\t"
                "adcq 8(%[text]), %[h1]\n\t"
                "adcq $1, %[h2]\n\t"
                "movq %[r0], %%rdx\n\t"
                "mulxq %[h0], %[a0], %[a1]\n\t" /* a = h0 r0 */
                "mulxq %[h1], %[b0], %[b1]\n\t" /* b = h1 r0 */
                "imulq %[h2], %%rdx\n\t"        /* h2 r0, which has weight 2^128 */
                "addq %%rdx, %[b1]\n\t"
                "movq %[r1], %%rdx\n\t"
                "mulxq %[h0], %[c0], %[c1]\n\t" /* b += h0 r1 */
                "addq %[c0], %[b0]\n\t"
                "adcq %[c1], %[b1]\n\t"
                "movq %[r5], %%rdx\n\t"
                "mulxq %[h1], %[c0], %[c1]\n\t" /* a += h1 r1 2^128 */
                "imulq %%rdx, %[h2]\n\t"        /* b += h2 r1 2^128 */
                "addq %[c0], %[a0]\n\t"
                "adcq %[c1], %[a1]\n\t"
                "addq %[h2], %[b0]\n\t"
                "adcq $0, %[b1]\n\t"
                "movq %[a0], %[h0]\n\t"
                "addq %[a1], %[b0]\n\t"
                "adcq $0, %[b1]\n\t"
                "movq %[b0], %[h1]\n\t"
                "movq %[b1], %[h2]\n\t"         /* what is above 2^130 comes back times 5 */
                "movq %[b1], %[c0]\n\t"
                "andl $3, %k[h2]\n\t"
                "shrq $2, %[b1]\n\t"
                "andq $-4, %[c0]\n\t"
                "addq %[b1], %[c0]\n\t"
                "addq %[c0], %[h0]\n\t"
                "adcq $0, %[h1]\n\t"
                "adcq $0, %[h2]\n\t"
                : [h0] "+&r"(h0), [h1] "+&r"(h1), [h2] "+&r"(h2), [a0] "=&r"(a0), [a1] "=&r"(a1), [b0] "=&r"(b0),
                  [b1] "=&r"(b1), [c0] "=&r"(c0), [c1] "=&r"(c1)
                : [text] "r"(text), [r0] "m"(poly->r[0]), [r1] "m"(poly->r[1]), [r5] "m"(poly->r1_by_4_times_5),
                  "m"(*(const uint8_t(*)[BLOCK_BYTES])text)
                : "rdx", "cc");
    poly->h[0] = h0;
    poly->h[1] = h1;
    poly->h[2] = h2;
}

static void begin(struct poly *poly, const struct sp_mac *mac)
{
    memset(poly->h, 0, sizeof poly->h);
    memcpy(poly->r, mac->key, sizeof poly->r);
    poly->r[0] &= 0x0ffffffc0fffffffU;
    poly->r[1] &= 0x0ffffffc0ffffffcU;
    poly->r1_by_4_times_5 = poly->r[1] + (poly->r[1] >> 2);
    poly->text = mac->text;
    poly->blocks = mac->len / BLOCK_BYTES;
}

/* The rest: blocks that nobody shares turns with any more, a last one that is not whole, the length. */
static void end(struct poly *poly, const struct sp_mac *mac)
{
    uint8_t block[BLOCK_BYTES] = {0};
    uint32_t rest = mac->len % BLOCK_BYTES;
    uint64_t low, high, over, s[2], len = mac->len;

    absorb(poly, poly->text, poly->blocks);
    if (rest > 0) {
        memcpy(block, poly->text + (size_t)poly->blocks * BLOCK_BYTES, rest);
        absorb(poly, block, 1);
        memset(block, 0, sizeof block);
    }
    memcpy(block + 8, &len, sizeof len);
    absorb(poly, block, 1);

    /* h is below 2 p. h - p = h + 5 - 2^130, taken when that is not negative. */
    low = poly->h[0] + 5;
    high = poly->h[1] + (low < 5);
    over = 0 - ((poly->h[2] + (high < poly->h[1])) >> 2); /* all ones or nothing */
    low = (low & over) | (poly->h[0] & ~over);
    high = (high & over) | (poly->h[1] & ~over);
    memcpy(s, mac->key + 16, sizeof s);
    low += s[0];
    high += s[1] + (low < s[0]);
    memcpy(mac->tag, &low, 8);
    memcpy(mac->tag + 8, &high, 8);
}

void sp_mac_mulx(const struct sp_mac *macs, size_t n)
{
    struct poly poly[TOGETHER];

    while (n > 0) {
        size_t count = n < TOGETHER ? n : TOGETHER;
        uint32_t turns = UINT32_MAX;

        for (size_t i = 0; i < count; i++) {
            begin(&poly[i], &macs[i]);
            turns = poly[i].blocks / TURN_BLOCKS < turns ? poly[i].blocks / TURN_BLOCKS : turns;
        }
        for (uint32_t turn = 0; turn < turns; turn++)
            for (size_t i = 0; i < count; i++)
                absorb(&poly[i], poly[i].text + (size_t)turn * TURN_BLOCKS * BLOCK_BYTES, TURN_BLOCKS);
        for (size_t i = 0; i < count; i++) {
            poly[i].text += (size_t)turns * TURN_BLOCKS * BLOCK_BYTES;
            poly[i].blocks -= turns * TURN_BLOCKS;
            end(&poly[i], &macs[i]);
        }
        macs += count;
        n -= count;
    }
    sp_wipe(poly, sizeof poly);
}

#endif
