/* ChaCha20-Poly1305 by the system's libcrypto, one EVP operation per packet.
 *
 * One sealing and one opening context are made per sp_aead and kept; a context is keyed again only when a
 * job's key differs from the one it holds, which saves most of a small packet's cost as a burst mostly
 * belongs to one peer. The copy of the key that this needs is wiped when the sp_aead is freed.
 *
 * EVP decrypts before it can verify. So what it decrypts goes to scratch, and from there to its place when the
 * tag is right; scratch is wiped before a batch returns. A sealing that fails inside libcrypto (no memory) leaves
 * zeroes: the peer then drops the datagram, and no plaintext leaves. */
#define _DEFAULT_SOURCE /* endian.h */
#include "aead.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "blake2s.h"
#include "libcrypto.h"

enum { NONCE_BYTES = 12, MOST_AT_ONCE = 1 << 30, SCRATCH_BYTES = 65536 /* no datagram is longer */ };

/* A context and the key that it holds. */
struct side {
    EVP_CIPHER_CTX *ctx;
    int keyed;
    uint8_t key[SP_KEY_BYTES];
};

struct state {
    const struct sp_evp *evp;
    struct side seal, open;
    uint8_t *scratch;
    size_t scratch_bytes, scratch_used; /* used: since the last wipe */
    int has_avx;
};

static void wipe_scratch(struct state *state)
{
    if (state->scratch_used > 0)
        sp_wipe(state->scratch, state->scratch_used);
    state->scratch_used = 0;
}

/* Whether scratch holds that many bytes. */
static int make_room(struct state *state, size_t bytes)
{
    if (bytes <= state->scratch_bytes)
        return 1;
    wipe_scratch(state);
    free(state->scratch);
    state->scratch = malloc(bytes);
    state->scratch_bytes = state->scratch ? bytes : 0;
    return state->scratch != NULL;
}

static void libcrypto_free(void *opaque)
{
    struct state *state = opaque;

    state->evp->ctx_free(state->seal.ctx); /* wipes its own copy of the key; NULL is allowed */
    state->evp->ctx_free(state->open.ctx);
    free(state->scratch);
    sp_wipe(state, sizeof *state);
    free(state);
}

static void *libcrypto_make(void)
{
    const struct sp_evp *evp = sp_libcrypto();
    struct state *state = evp ? calloc(1, sizeof *state) : NULL;

    if (!state)
        return NULL;
    state->evp = evp;
#if defined(__x86_64__)
    state->has_avx = __builtin_cpu_supports("avx") != 0;
#endif
    state->seal.ctx = evp->ctx_new();
    state->open.ctx = evp->ctx_new();
    if (!make_room(state, SCRATCH_BYTES) || !state->seal.ctx || !state->open.ctx ||
        evp->init(state->seal.ctx, evp->chacha20_poly1305(), NULL, NULL, NULL, 1) != 1 ||
        evp->init(state->open.ctx, evp->chacha20_poly1305(), NULL, NULL, NULL, 0) != 1) {
        libcrypto_free(state);
        return NULL;
    }
    return state;
}

/* Sets the nonce, and the key unless the context has it already. */
static int start(const struct sp_evp *evp, struct side *side, const struct sp_aead_job *job, int encrypt)
{
    uint64_t counter = htole64(job->counter);
    uint8_t nonce[NONCE_BYTES] = {0};
    const uint8_t *key = NULL;

    memcpy(nonce + 4, &counter, sizeof counter);
    if (!side->keyed || !sp_equal(side->key, job->key, SP_KEY_BYTES)) {
        memcpy(side->key, job->key, SP_KEY_BYTES);
        key = side->key;
    }
    side->keyed = evp->init(side->ctx, NULL, NULL, key, nonce, encrypt) == 1;
    return side->keyed;
}

#if defined(__x86_64__)
static __attribute__((target("avx"))) void zero_upper_halves(void) { __builtin_ia32_vzeroupper(); }
#else
static void zero_upper_halves(void) {}
#endif

/* OpenSSL 3.0's AVX-512 code returns with the upper register halves dirty, and on some CPUs all SSE
 * code that follows, libcrypto's own for the next packet too, then runs several times slower. */
static void clean_up(const struct state *state)
{
    if (state->has_avx)
        zero_upper_halves();
}

/* Final may write nothing for this cipher, but must be given somewhere to write. */
static int finish(const struct sp_evp *evp, struct side *side)
{
    uint8_t nothing[SP_TAG_BYTES];
    int written = 0;
    return evp->final(side->ctx, nothing, &written) == 1;
}

static int crypt(const struct sp_evp *evp, struct side *side, uint8_t *out, const uint8_t *in, uint32_t len)
{
    for (uint32_t done = 0; done < len;) { /* one pass for any packet; lengths are int over there */
        int n = len - done < MOST_AT_ONCE ? (int)(len - done) : MOST_AT_ONCE, written = 0;
        if (evp->update(side->ctx, out + done, &written, in + done, n) != 1 || written != n)
            return 0;
        done += (uint32_t)n;
    }
    return 1;
}

static void seal_one(struct state *state, const struct sp_aead_job *job)
{
    const struct sp_evp *evp = state->evp;
    struct side *side = &state->seal;
    uint32_t placed = job->placed;

    if (!start(evp, side, job, 1) || !crypt(evp, side, job->out, job->out, placed) ||
        !crypt(evp, side, job->out + placed, job->in + placed, job->len - placed) || !finish(evp, side) ||
        evp->ctx_ctrl(side->ctx, SP_EVP_AEAD_GET_TAG, SP_TAG_BYTES, job->out + job->len) != 1) {
        side->keyed = 0;
        memset(job->out, 0, (size_t)job->len + SP_TAG_BYTES);
    }
    clean_up(state);
}

static int open_one(struct state *state, const struct sp_aead_job *job)
{
    const struct sp_evp *evp = state->evp;
    struct side *side = &state->open;
    uint32_t len = job->len - SP_TAG_BYTES;
    uint8_t tag[SP_TAG_BYTES];
    int verified;

    if (!make_room(state, len))
        return 0;
    if (state->scratch_used < len)
        state->scratch_used = len;
    memcpy(tag, job->in + len, SP_TAG_BYTES);
    verified = start(evp, side, job, 0) && evp->ctx_ctrl(side->ctx, SP_EVP_AEAD_SET_TAG, SP_TAG_BYTES, tag) == 1 &&
               crypt(evp, side, state->scratch, job->in, len) && finish(evp, side);
    clean_up(state);
    if (verified)
        memcpy(job->out, state->scratch, len);
    return verified;
}

static void libcrypto_seal(void *state, struct sp_aead_job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        seal_one(state, &jobs[i]);
}

static void libcrypto_open(void *state, struct sp_aead_job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        jobs[i].ok = jobs[i].len >= SP_TAG_BYTES && open_one(state, &jobs[i]);
    wipe_scratch(state);
}

/* The contexts can be given another key, but not none. */
static void libcrypto_forget(void *state)
{
    static const uint8_t no_key[SP_KEY_BYTES];
    uint8_t nothing[SP_TAG_BYTES] = {0};
    const struct sp_aead_job seal = {.key = no_key, .in = nothing, .out = nothing};
    const struct sp_aead_job open = {.key = no_key, .in = nothing, .out = nothing, .len = sizeof nothing};

    seal_one(state, &seal);
    open_one(state, &open);
}

const struct sp_aead_ops sp_aead_libcrypto = {
    .name = "libcrypto",
    .make = libcrypto_make,
    .free = libcrypto_free,
    .seal = libcrypto_seal,
    .open = libcrypto_open,
    .forget = libcrypto_forget,
};
