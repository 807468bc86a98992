/* Poly1305 (RFC 8439) with the 64-bit multiplier, several packets taking turns.
 *
 * One block's result is the next one's input, through a multiplication and a chain of carries: a packet by
 * itself leaves most of the core idle. Packets do not depend on each other, so they absorb a block each in turns.
 * The first of the queue may have begun already, beside the rounds of chacha_avx2.c. */
#include "engine.h"

#if defined(__x86_64__)

#include "api.h"
#include "poly_mulx.h"

enum { TOGETHER = 3 };

static inline __attribute__((always_inline)) void absorb(struct sp_poly *poly, const uint8_t *text, uint32_t blocks)
{
    for (; blocks > 0; blocks--, text += SP_POLY_BYTES) {
        uint64_t a0, a1, b0, b1, c;
        __asm__ volatile(SP_POLY_BLOCK(0, h1, b0, a1)
                : SP_POLY_OUTPUTS(poly, a0, a1, b0, b1, c)
                : SP_POLY_INPUTS(poly), [text] "r"(text)
                : "cc", "memory");
        poly->h[1] = b0;
    }
}

/* With the target of its callers: mixing the two encodings of vector instructions is slow on some CPUs. */
__attribute__((target("avx2"))) void sp_poly_finish(struct sp_poly *poly, const struct sp_mac *mac)
{
    uint8_t block[SP_POLY_BYTES] = {0};
    uint32_t rest = mac->len % SP_POLY_BYTES;
    uint64_t low, high, over, s[2], len = mac->len;

    absorb(poly, poly->text, poly->blocks);
    if (rest > 0) {
        memcpy(block, mac->text + (mac->len - rest), rest);
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

void sp_mac_mulx(struct sp_queue *queue)
{
    struct sp_poly poly[TOGETHER];

    if (queue->next == queue->late)
        return;
    while (queue->next < queue->late) {
        size_t left = (size_t)(queue->late - queue->next), count = left < TOGETHER ? left : TOGETHER;
        uint32_t turns = UINT32_MAX;

        for (size_t i = 0; i < count; i++) {
            if (queue->begun)
                poly[i] = queue->poly;
            else
                sp_poly_begin(&poly[i], &queue->next[i]);
            queue->begun = 0;
            turns = poly[i].blocks < turns ? poly[i].blocks : turns;
        }
        for (uint32_t turn = 0; turn < turns; turn++)
            for (size_t i = 0; i < count; i++)
                absorb(&poly[i], poly[i].text + (size_t)turn * SP_POLY_BYTES, 1);
        for (size_t i = 0; i < count; i++) {
            poly[i].text += (size_t)turns * SP_POLY_BYTES;
            poly[i].blocks -= turns;
            sp_poly_finish(&poly[i], &queue->next[i]);
        }
        queue->next += count;
    }
    sp_wipe(poly, sizeof poly);
}

#endif
