/* ChaCha20-Poly1305 by the system's libcrypto, one EVP operation per packet.
 *
 * The library is loaded with dlopen at run time: linking it would bind our wheel to one version, or
 * graft a copy into it that nobody patches. One sealing and one opening context are made per sp_aead
 * and kept; a context is keyed again only when a job's key differs from the one it holds, which saves
 * most of a small packet's cost as a burst mostly belongs to one peer. The copy of the key that this
 * needs is wiped when the sp_aead is freed.
 *
 * EVP decrypts before it can verify: of all paths this one alone writes where the tag is wrong, also in place, and
 * zeroes the output afterwards. To verify first would mean to decrypt twice. An operation that
 * fails inside libcrypto (no memory) zeroes its output likewise: the peer then drops the datagram,
 * and no plaintext leaves. */
#define _DEFAULT_SOURCE /* endian.h */
#include "aead.h"

#include <dlfcn.h>
#include <endian.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "blake2s.h"

typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct engine_st ENGINE;

enum { CTRL_AEAD_GET_TAG = 0x10, CTRL_AEAD_SET_TAG = 0x11, NONCE_BYTES = 12, MOST_AT_ONCE = 1 << 30 };

/* The part of libcrypto that is used, the same in 1.1 and 3. */
static struct {
    const EVP_CIPHER *(*chacha20_poly1305)(void);
    EVP_CIPHER_CTX *(*ctx_new)(void);
    void (*ctx_free)(EVP_CIPHER_CTX *);
    int (*ctx_ctrl)(EVP_CIPHER_CTX *, int, int, void *);
    int (*init)(EVP_CIPHER_CTX *, const EVP_CIPHER *, ENGINE *, const uint8_t *, const uint8_t *, int);
    int (*update)(EVP_CIPHER_CTX *, uint8_t *, int *, const uint8_t *, int);
    int (*final)(EVP_CIPHER_CTX *, uint8_t *, int *);
} evp;
static int evp_loaded;
static pthread_once_t evp_once = PTHREAD_ONCE_INIT;

static int bind_symbol(void *library, const char *name, void *function_pointer)
{
    void *symbol = dlsym(library, name);
    memcpy(function_pointer, &symbol, sizeof symbol); /* ISO C has no cast from object to function pointer */
    return symbol != NULL;
}

/* Never unloaded again: libcrypto registers an exit handler and per-thread data. */
static void evp_load(void)
{
    static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so"};

    for (size_t i = 0; i < sizeof names / sizeof names[0] && !evp_loaded; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (!library)
            continue;
        evp_loaded = bind_symbol(library, "EVP_chacha20_poly1305", &evp.chacha20_poly1305) &&
                     bind_symbol(library, "EVP_CIPHER_CTX_new", &evp.ctx_new) &&
                     bind_symbol(library, "EVP_CIPHER_CTX_free", &evp.ctx_free) &&
                     bind_symbol(library, "EVP_CIPHER_CTX_ctrl", &evp.ctx_ctrl) &&
                     bind_symbol(library, "EVP_CipherInit_ex", &evp.init) &&
                     bind_symbol(library, "EVP_CipherUpdate", &evp.update) &&
                     bind_symbol(library, "EVP_CipherFinal_ex", &evp.final);
        if (!evp_loaded)
            dlclose(library);
    }
}

/* A context and the key that it holds. */
struct side {
    EVP_CIPHER_CTX *ctx;
    int keyed;
    uint8_t key[SP_KEY_BYTES];
};

struct state {
    struct side seal, open;
    int has_avx;
};

static void libcrypto_free(void *opaque)
{
    struct state *state = opaque;

    evp.ctx_free(state->seal.ctx); /* wipes its own copy of the key; NULL is allowed */
    evp.ctx_free(state->open.ctx);
    sp_wipe(state, sizeof *state);
    free(state);
}

static void *libcrypto_make(void)
{
    struct state *state;

    pthread_once(&evp_once, evp_load);
    if (!evp_loaded)
        return NULL;
    state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
#if defined(__x86_64__)
    state->has_avx = __builtin_cpu_supports("avx") != 0;
#endif
    state->seal.ctx = evp.ctx_new();
    state->open.ctx = evp.ctx_new();
    if (!state->seal.ctx || !state->open.ctx ||
        evp.init(state->seal.ctx, evp.chacha20_poly1305(), NULL, NULL, NULL, 1) != 1 ||
        evp.init(state->open.ctx, evp.chacha20_poly1305(), NULL, NULL, NULL, 0) != 1) {
        libcrypto_free(state);
        return NULL;
    }
    return state;
}

/* Sets the nonce, and the key unless the context has it already. */
static int start(struct side *side, const struct sp_aead_job *job, int encrypt)
{
    uint64_t counter = htole64(job->counter);
    uint8_t nonce[NONCE_BYTES] = {0};
    const uint8_t *key = NULL;

    memcpy(nonce + 4, &counter, sizeof counter);
    if (!side->keyed || !sp_equal(side->key, job->key, SP_KEY_BYTES)) {
        memcpy(side->key, job->key, SP_KEY_BYTES);
        key = side->key;
    }
    side->keyed = evp.init(side->ctx, NULL, NULL, key, nonce, encrypt) == 1;
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
static int finish(struct side *side)
{
    uint8_t nothing[SP_TAG_BYTES];
    int written = 0;
    return evp.final(side->ctx, nothing, &written) == 1;
}

static int crypt(struct side *side, uint8_t *out, const uint8_t *in, uint32_t len)
{
    for (uint32_t done = 0; done < len;) { /* one pass for any packet; lengths are int over there */
        int n = len - done < MOST_AT_ONCE ? (int)(len - done) : MOST_AT_ONCE, written = 0;
        if (evp.update(side->ctx, out + done, &written, in + done, n) != 1 || written != n)
            return 0;
        done += (uint32_t)n;
    }
    return 1;
}

static void seal_one(struct state *state, const struct sp_aead_job *job)
{
    struct side *side = &state->seal;
    uint32_t placed = job->placed;

    if (!start(side, job, 1) || !crypt(side, job->out, job->out, placed) ||
        !crypt(side, job->out + placed, job->in + placed, job->len - placed) || !finish(side) ||
        evp.ctx_ctrl(side->ctx, CTRL_AEAD_GET_TAG, SP_TAG_BYTES, job->out + job->len) != 1) {
        side->keyed = 0;
        memset(job->out, 0, (size_t)job->len + SP_TAG_BYTES);
    }
    clean_up(state);
}

static int open_one(struct state *state, const struct sp_aead_job *job)
{
    struct side *side = &state->open;
    uint32_t len = job->len - SP_TAG_BYTES;
    uint8_t tag[SP_TAG_BYTES];
    int verified;

    memcpy(tag, job->in + len, SP_TAG_BYTES);
    verified = start(side, job, 0) && evp.ctx_ctrl(side->ctx, CTRL_AEAD_SET_TAG, SP_TAG_BYTES, tag) == 1 &&
               crypt(side, job->out, job->in, len) && finish(side);
    if (!verified)
        memset(job->out, 0, len);
    clean_up(state);
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
