/* ChaCha20-Poly1305 (RFC 8439) in plain C: the fallback where there is no libcrypto, and the
 * reference that faster paths are tested against.
 *
 * ChaCha20 runs four blocks at a time, one block per lane of 128-bit GNU C vectors, which compile to
 * SSE2 and NEON. The first group of a packet holds block 0, whose first half is the Poly1305 key, and
 * the first 192 bytes of key stream, so a small packet costs one group. Poly1305 uses three limbs of
 * 44, 44 and 42 bits with 128-bit products, or five of 26 bits where the compiler has no such type
 * (SP_NO_INT128 forces that one, for tests).
 *
 * Nothing but lengths and the verdict decides a branch or an address. open() verifies first: where
 * the tag is wrong, nothing is written. */
#define _DEFAULT_SOURCE /* endian.h */
#include "aead.h"

#include <endian.h>
#include <string.h>

#include "blake2s.h"

#if defined(__SIZEOF_INT128__) && !defined(SP_NO_INT128)
#define HAVE_INT128 1
#else
#define HAVE_INT128 0
#endif

enum { BLOCK_BYTES = 64, GROUP_BLOCKS = 4, GROUP_BYTES = GROUP_BLOCKS * BLOCK_BYTES, POLY_BYTES = 16 };

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return le32toh(word);
}

/* ---- ChaCha20 ---------------------------------------------------------------------------------------- */

typedef uint32_t lanes __attribute__((vector_size(16)));

#define ROTATE(x, bits) ((x) << (bits) | (x) >> (32 - (bits)))
#define QUARTER_ROUND(a, b, c, d) \
    do { \
        a += b, d ^= a, d = ROTATE(d, 16); \
        c += d, b ^= c, b = ROTATE(b, 12); \
        a += b, d ^= a, d = ROTATE(d, 8); \
        c += d, b ^= c, b = ROTATE(b, 7); \
    } while (0)

struct stream {
    uint32_t word[16]; /* as RFC 8439 section 2.3 lays them out; [12] is the next block's number */
    uint8_t group[GROUP_BYTES];
};

static void stream_begin(struct stream *s, const uint8_t *key, uint64_t counter)
{
    static const uint32_t sigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

    memcpy(s->word, sigma, sizeof sigma);
    for (int i = 0; i < 8; i++)
        s->word[4 + i] = load32(key + 4 * i);
    s->word[12] = 0;
    s->word[13] = 0;
    s->word[14] = (uint32_t)counter;
    s->word[15] = (uint32_t)(counter >> 32);
}

/* The next four blocks of key stream, into s->group. */
static void stream_group(struct stream *s)
{
    lanes x[16], from[16];

    for (int i = 0; i < 16; i++)
        from[i] = (lanes){s->word[i], s->word[i], s->word[i], s->word[i]};
    from[12] += (lanes){0, 1, 2, 3};
    memcpy(x, from, sizeof x);
    for (int i = 0; i < 10; i++) {
        QUARTER_ROUND(x[0], x[4], x[8], x[12]);
        QUARTER_ROUND(x[1], x[5], x[9], x[13]);
        QUARTER_ROUND(x[2], x[6], x[10], x[14]);
        QUARTER_ROUND(x[3], x[7], x[11], x[15]);
        QUARTER_ROUND(x[0], x[5], x[10], x[15]);
        QUARTER_ROUND(x[1], x[6], x[11], x[12]);
        QUARTER_ROUND(x[2], x[7], x[8], x[13]);
        QUARTER_ROUND(x[3], x[4], x[9], x[14]);
    }
    for (int i = 0; i < 16; i++) {
        x[i] += from[i];
        for (int block = 0; block < GROUP_BLOCKS; block++) {
            uint32_t word = htole32(x[i][block]);
            memcpy(s->group + block * BLOCK_BYTES + 4 * i, &word, sizeof word);
        }
    }
    s->word[12] += GROUP_BLOCKS;
}

static void xor_bytes(uint8_t *out, const uint8_t *in, const uint8_t *stream, size_t len)
{
    for (; len >= 8; len -= 8, out += 8, in += 8, stream += 8) {
        uint64_t a, b;
        memcpy(&a, in, 8);
        memcpy(&b, stream, 8);
        a ^= b;
        memcpy(out, &a, 8);
    }
    for (size_t i = 0; i < len; i++)
        out[i] = in[i] ^ stream[i];
}

/* Encrypts or decrypts a whole message; s->group holds blocks 0 to 3, block 0 already used up. */
static void stream_xor(struct stream *s, uint8_t *out, const uint8_t *in, size_t len)
{
    size_t skip = BLOCK_BYTES;

    for (;;) {
        size_t n = len < GROUP_BYTES - skip ? len : GROUP_BYTES - skip;
        xor_bytes(out, in, s->group + skip, n);
        out += n;
        in += n;
        len -= n;
        if (len == 0)
            return;
        stream_group(s);
        skip = 0;
    }
}

/* ---- Poly1305 ---------------------------------------------------------------------------------------- */

#if HAVE_INT128

typedef unsigned __int128 wide;

#define MASK44 0xfffffffffffU
#define MASK42 0x3ffffffffffU

struct poly {
    uint64_t r[3], h[3], s[2];
};

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return le64toh(word);
}

static void poly_begin(struct poly *poly, const uint8_t key[32])
{
    uint64_t low = load64(key) & 0x0ffffffc0fffffffU, high = load64(key + 8) & 0x0ffffffc0ffffffcU;

    poly->r[0] = low & MASK44;
    poly->r[1] = (low >> 44 | high << 20) & MASK44;
    poly->r[2] = high >> 24;
    poly->h[0] = poly->h[1] = poly->h[2] = 0;
    poly->s[0] = load64(key + 16);
    poly->s[1] = load64(key + 24);
}

static void poly_blocks(struct poly *poly, const uint8_t *m, size_t blocks)
{
    const uint64_t r0 = poly->r[0], r1 = poly->r[1], r2 = poly->r[2];
    const uint64_t s1 = r1 * 20, s2 = r2 * 20; /* 2^132 = 4 x 5 mod p, limbs 0 and 1 are 44 bits wide */
    uint64_t h0 = poly->h[0], h1 = poly->h[1], h2 = poly->h[2];

    for (; blocks > 0; blocks--, m += POLY_BYTES) {
        uint64_t low = load64(m), high = load64(m + 8);
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
    poly->r[0] = load32(key) & 0x3ffffff;
    poly->r[1] = load32(key + 3) >> 2 & 0x3ffff03;
    poly->r[2] = load32(key + 6) >> 4 & 0x3ffc0ff;
    poly->r[3] = load32(key + 9) >> 6 & 0x3f03fff;
    poly->r[4] = load32(key + 12) >> 8 & 0x00fffff;
    memset(poly->h, 0, sizeof poly->h);
    for (int i = 0; i < 4; i++)
        poly->s[i] = load32(key + 16 + 4 * i);
}

static void poly_blocks(struct poly *poly, const uint8_t *m, size_t blocks)
{
    const uint32_t *r = poly->r;
    uint32_t *h = poly->h;

    for (; blocks > 0; blocks--, m += POLY_BYTES) {
        uint64_t d[5] = {0}, carry = 0;

        h[0] += load32(m) & MASK26;
        h[1] += load32(m + 3) >> 2 & MASK26;
        h[2] += load32(m + 6) >> 4 & MASK26;
        h[3] += load32(m + 9) >> 6;
        h[4] += load32(m + 12) >> 8 | 1U << 24;
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

/* The tag of a ciphertext without additional data; key is the first half of block 0. */
static void poly_tag(uint8_t tag[POLY_BYTES], const uint8_t *key, const uint8_t *text, size_t len)
{
    size_t whole = len / POLY_BYTES, rest = len % POLY_BYTES;
    uint8_t block[POLY_BYTES] = {0};
    uint64_t length = htole64(len);
    struct poly poly;

    poly_begin(&poly, key);
    poly_blocks(&poly, text, whole);
    if (rest > 0) {
        memcpy(block, text + whole * POLY_BYTES, rest);
        poly_blocks(&poly, block, 1);
        memset(block, 0, sizeof block);
    }
    memcpy(block + 8, &length, sizeof length);
    poly_blocks(&poly, block, 1);
    poly_end(&poly, tag);
    sp_wipe(&poly, sizeof poly);
}

/* ---- the two doors ----------------------------------------------------------------------------------- */

static void seal_one(const struct sp_aead_job *job)
{
    struct stream stream;
    uint8_t poly_key[2 * POLY_BYTES];

    stream_begin(&stream, job->key, job->counter);
    stream_group(&stream);
    memcpy(poly_key, stream.group, sizeof poly_key);
    if (job->placed > 0)
        memcpy(job->out + job->placed, job->in + job->placed, job->len - job->placed);
    stream_xor(&stream, job->out, job->placed > 0 ? job->out : job->in, job->len);
    poly_tag(job->out + job->len, poly_key, job->out, job->len);
    sp_wipe(&stream, sizeof stream);
    sp_wipe(poly_key, sizeof poly_key);
}

static int open_one(const struct sp_aead_job *job)
{
    struct stream stream;
    uint8_t tag[POLY_BYTES];
    size_t len = job->len - SP_TAG_BYTES;
    int verified;

    stream_begin(&stream, job->key, job->counter);
    stream_group(&stream);
    poly_tag(tag, stream.group, job->in, len);
    verified = sp_equal(tag, job->in + len, SP_TAG_BYTES);
    if (verified)
        stream_xor(&stream, job->out, job->in, len);
    sp_wipe(&stream, sizeof stream);
    sp_wipe(tag, sizeof tag); /* the right tag of a forged packet is nobody's business */
    return verified;
}

static void portable_seal(void *state, struct sp_aead_job *jobs, size_t n)
{
    (void)state;
    for (size_t i = 0; i < n; i++)
        seal_one(&jobs[i]);
}

static void portable_open(void *state, struct sp_aead_job *jobs, size_t n)
{
    (void)state;
    for (size_t i = 0; i < n; i++)
        jobs[i].ok = jobs[i].len >= SP_TAG_BYTES && open_one(&jobs[i]);
}

static void *portable_make(void)
{
    static char nothing_to_keep;
    return &nothing_to_keep;
}

static void portable_free(void *state) { (void)state; }

const struct sp_aead_ops sp_aead_portable = {
    .name = "portable",
    .make = portable_make,
    .free = portable_free,
    .seal = portable_seal,
    .open = portable_open,
};
