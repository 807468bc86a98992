/* ChaCha20-Poly1305 (RFC 8439) in plain C: the fallback where there is no libcrypto, the reference that faster
 * paths are tested against, and what seals the parts of a handshake, which alone have additional data.
 *
 * ChaCha20 runs four blocks at a time, one block per lane of 128-bit GNU C vectors, which compile to
 * SSE2 and NEON. The first group of a packet holds block 0, whose first half is the Poly1305 key, and
 * the first 192 bytes of key stream, so a small packet costs one group. Poly1305 is in poly_portable.c.
 *
 * Nothing but lengths and the verdict decides a branch or an address. open() verifies first: where
 * the tag is wrong, nothing is written. */
#include "aead_portable.h"

#include <string.h>

#include "aead.h"
#include "blake2s.h"
#include "bytes.h"
#include "poly_portable.h"

enum { BLOCK_BYTES = 64, GROUP_BLOCKS = 4, GROUP_BYTES = GROUP_BLOCKS * BLOCK_BYTES };

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
        s->word[4 + i] = sp_get_le32(key + 4 * i);
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
        for (int block = 0; block < GROUP_BLOCKS; block++)
            sp_put_le32(s->group + block * BLOCK_BYTES + 4 * i, x[i][block]);
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

/* ---- the two doors ----------------------------------------------------------------------------------- */

/* Not inlined, so that sp_wipe_stack() reaches all that they leave on the stack. */
__attribute__((noinline)) void sp_seal_portable(const struct sp_aead_job *job, const uint8_t *ad, size_t ad_len)
{
    struct stream stream;
    uint8_t poly_key[SP_KEY_BYTES];

    stream_begin(&stream, job->key, job->counter);
    stream_group(&stream);
    memcpy(poly_key, stream.group, sizeof poly_key);
    if (job->placed > 0 && job->out != job->in) /* else all of it stands there already */
        memcpy(job->out + job->placed, job->in + job->placed, job->len - job->placed);
    stream_xor(&stream, job->out, job->placed > 0 ? job->out : job->in, job->len);
    sp_poly_portable(job->out + job->len, poly_key, ad, ad_len, job->out, job->len);
    sp_wipe(&stream, sizeof stream);
    sp_wipe(poly_key, sizeof poly_key);
}

__attribute__((noinline)) int sp_open_portable(const struct sp_aead_job *job, const uint8_t *ad, size_t ad_len)
{
    struct stream stream;
    uint8_t tag[SP_TAG_BYTES];
    size_t len = job->len - SP_TAG_BYTES;
    int verified;

    if (job->len < SP_TAG_BYTES)
        return 0;
    stream_begin(&stream, job->key, job->counter);
    stream_group(&stream);
    sp_poly_portable(tag, stream.group, ad, ad_len, job->in, len);
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
        sp_seal_portable(&jobs[i], NULL, 0);
    sp_wipe_stack();
}

static void portable_open(void *state, struct sp_aead_job *jobs, size_t n)
{
    (void)state;
    for (size_t i = 0; i < n; i++)
        jobs[i].ok = (uint32_t)sp_open_portable(&jobs[i], NULL, 0);
    sp_wipe_stack();
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
