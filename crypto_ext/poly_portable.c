/* Poly1305 (RFC 8439) in plain C, of a ciphertext and the additional data before it.
 *
 * Three limbs of 44, 44 and 42 bits with 128-bit products, or five of 26 bits where the compiler has no
 * such type (SP_NO_INT128 forces that one, for tests). Nothing but the length decides a branch or an address. */
#define _DEFAULT_SOURCE /* endian.h */
#include "poly_portable.h"

#include <endian.h>
#include <string.h>

#include "api.h"
#include "bytes.h"

#if defined(__SIZEOF_INT128__) && !defined(SP_NO_INT128)
#define HAVE_INT128 1
#else
#define HAVE_INT128 0
#endif

enum { POLY_BYTES = SP_TAG_BYTES };

#if HAVE_INT128

typedef unsigned __int128 wide;

#define MASK44 0xfffffffffffU
#define MASK42 0x3ffffffffffU

struct poly {
    uint64_t r[3], h[3], s[2];
};

static void poly_begin(struct poly *poly, const uint8_t key[32])
{
    uint64_t low = sp_get_le64(key) & 0x0ffffffc0fffffffU, high = sp_get_le64(key + 8) & 0x0ffffffc0ffffffcU;

    poly->r[0] = low & MASK44;
    poly->r[1] = (low >> 44 | high << 20) & MASK44;
    poly->r[2] = high >> 24;
    poly->h[0] = poly->h[1] = poly->h[2] = 0;
    poly->s[0] = sp_get_le64(key + 16);
    poly->s[1] = sp_get_le64(key + 24);
}

static void poly_blocks(struct poly *poly, const uint8_t *m, size_t blocks)
{
    const uint64_t r0 = poly->r[0], r1 = poly->r[1], r2 = poly->r[2];
    const uint64_t s1 = r1 * 20, s2 = r2 * 20; /* 2^132 = 4 x 5 mod p, limbs 0 and 1 are 44 bits wide */
    uint64_t h0 = poly->h[0], h1 = poly->h[1], h2 = poly->h[2];

    for (; blocks > 0; blocks--, m += POLY_BYTES) {
        uint64_t low = sp_get_le64(m), high = sp_get_le64(m + 8);
        wide d0, d1, d2;

        h0 += low & MASK44;
        h1 += (low >> 44 | high << 20) & MASK44;
        h2 += high >> 24 | 1ULL << 40;
        d0 = (wide)h0 * r0 + (wide)h1 * s2 + (wide)h2 * s1;
        d1 = (wide)h0 * r1 + (wide)h1 * r0 + (wide)h2 * s2;
        d2 = (wide)h0 * r2 + (wide)h1 * r1 + (wide)h2 * r0;
        h0 = (uint64_t)d0 & MASK44;
        d1 += (uint64_t)(d0 >> 44);
        h1 = (uint64_t)d1 & MASK44;
        d2 += (uint64_t)(d1 >> 44);
        h2 = (uint64_t)d2 & MASK42;
        h0 += (uint64_t)(d2 >> 42) * 5;
        h1 += h0 >> 44;
        h0 &= MASK44;
    }
    poly->h[0] = h0;
    poly->h[1] = h1;
    poly->h[2] = h2;
}

static void poly_end(struct poly *poly, uint8_t tag[POLY_BYTES])
{
    uint64_t h0 = poly->h[0], h1 = poly->h[1], h2 = poly->h[2], g0, g1, g2, keep, low, high;

    for (int pass = 0; pass < 2; pass++) {
        h2 += h1 >> 44;
        h1 &= MASK44;
        h0 += (h2 >> 42) * 5;
        h2 &= MASK42;
        h1 += h0 >> 44;
        h0 &= MASK44;
    }
    g0 = h0 + 5; /* h - p = h + 5 - 2^130, taken when it is not negative */
    g1 = h1 + (g0 >> 44);
    g2 = h2 + (g1 >> 44) - (1ULL << 42);
    keep = 0 - (g2 >> 63);
    h0 = (h0 & keep) | (g0 & MASK44 & ~keep);
    h1 = (h1 & keep) | (g1 & MASK44 & ~keep);
    h2 = (h2 & keep) | (g2 & ~keep);
    low = h0 | h1 << 44;
    high = h1 >> 20 | h2 << 24;
    low += poly->s[0];
    high += poly->s[1] + (low < poly->s[0]);
    low = htole64(low);
    high = htole64(high);
    memcpy(tag, &low, 8);
    memcpy(tag + 8, &high, 8);
}

#else

#define MASK26 0x3ffffffU

struct poly {
    uint32_t r[5], h[5], s[4];
};

static void poly_begin(struct poly *poly, const uint8_t key[32])
{
    poly->r[0] = sp_get_le32(key) & 0x3ffffff;
    poly->r[1] = sp_get_le32(key + 3) >> 2 & 0x3ffff03;
    poly->r[2] = sp_get_le32(key + 6) >> 4 & 0x3ffc0ff;
    poly->r[3] = sp_get_le32(key + 9) >> 6 & 0x3f03fff;
    poly->r[4] = sp_get_le32(key + 12) >> 8 & 0x00fffff;
    memset(poly->h, 0, sizeof poly->h);
    for (int i = 0; i < 4; i++)
        poly->s[i] = sp_get_le32(key + 16 + 4 * i);
}

static void poly_blocks(struct poly *poly, const uint8_t *m, size_t blocks)
{
    const uint32_t *r = poly->r;
    uint32_t *h = poly->h;

    for (; blocks > 0; blocks--, m += POLY_BYTES) {
        uint64_t d[5] = {0}, carry = 0;

        h[0] += sp_get_le32(m) & MASK26;
        h[1] += sp_get_le32(m + 3) >> 2 & MASK26;
        h[2] += sp_get_le32(m + 6) >> 4 & MASK26;
        h[3] += sp_get_le32(m + 9) >> 6;
        h[4] += sp_get_le32(m + 12) >> 8 | 1U << 24;
        for (int i = 0; i < 5; i++)
            for (int j = 0; j < 5; j++) /* limb i + j, of which 5 and more wrap around times 5 */
                d[(i + j) % 5] += (uint64_t)h[i] * (i + j < 5 ? r[j] : r[j] * 5);
        for (int i = 0; i < 5; i++) {
            d[i] += carry;
            h[i] = (uint32_t)d[i] & MASK26;
            carry = d[i] >> 26;
        }
        carry = h[0] + carry * 5;
        h[0] = (uint32_t)carry & MASK26;
        h[1] += (uint32_t)(carry >> 26);
    }
}

static void poly_end(struct poly *poly, uint8_t tag[POLY_BYTES])
{
    uint32_t *h = poly->h, g[5], carry = 0, keep;
    uint64_t sum = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (int i = 1; i < 5; i++) {
            h[i] += carry;
            carry = h[i] >> 26;
            h[i] &= MASK26;
        }
        h[0] += carry * 5;
        carry = h[0] >> 26;
        h[0] &= MASK26;
    }
    h[1] += carry;
    carry = 5; /* h - p = h + 5 - 2^130, taken when it is not negative */
    for (int i = 0; i < 5; i++) {
        g[i] = h[i] + carry;
        carry = g[i] >> 26;
        g[i] &= MASK26;
    }
    keep = carry - 1;
    for (int i = 0; i < 5; i++)
        h[i] = (h[i] & keep) | (g[i] & ~keep);
    for (int i = 0; i < 4; i++) { /* limbs to words: word i begins 6 x i bits into limb i */
        uint32_t word = h[i] >> 6 * i | h[i + 1] << (26 - 6 * i);
        sum = (sum >> 32) + word + poly->s[i];
        word = htole32((uint32_t)sum);
        memcpy(tag + 4 * i, &word, 4);
    }
    sp_wipe(g, sizeof g);
}

#endif

/* Whole blocks, the last one padded with zeroes. */
static void poly_padded(struct poly *poly, const uint8_t *data, size_t len)
{
    size_t whole = len / POLY_BYTES, rest = len % POLY_BYTES;
    uint8_t block[POLY_BYTES] = {0};

    poly_blocks(poly, data, whole);
    if (rest > 0) {
        memcpy(block, data + whole * POLY_BYTES, rest);
        poly_blocks(poly, block, 1);
    }
}

void sp_poly_portable(uint8_t tag[POLY_BYTES], const uint8_t *key, const uint8_t *ad, size_t ad_len,
                      const uint8_t *text, size_t len)
{
    uint64_t lengths[2] = {htole64(ad_len), htole64(len)};
    struct poly poly;

    poly_begin(&poly, key);
    poly_padded(&poly, ad, ad_len);
    poly_padded(&poly, text, len);
    poly_blocks(&poly, (const uint8_t *)lengths, 1);
    poly_end(&poly, tag);
    sp_wipe(&poly, sizeof poly);
}
