/* The AEAD paths that compute many packets at once, and where each of them can run. */
#include "aead.h"
#include "aead_batch.h"
#include "cpu.h"

static void vector_free(void *state) { sp_batch_free(state); }

static void vector_seal(void *state, struct sp_aead_job *jobs, size_t n)
{
    sp_batch_seal(state, jobs, n);
    sp_wipe_stack();
}

static void vector_open(void *state, struct sp_aead_job *jobs, size_t n)
{
    sp_batch_open(state, jobs, n);
    sp_wipe_stack();
}

enum { LONG_BYTES = 4096, MIDDLING_BYTES = 1024 };

/* AVX2 lives from work that is done side by side. A packet that comes alone has that when it is sealed, its tag beside
 * its text; not when it is opened, and then a long one is better off with libcrypto. Where that has wider vectors than
 * we use here, so is a middling one, either way. Measured. */
static int avx2_yields(const struct sp_aead_job *jobs, size_t n, int sealing)
{
    if (n != 1)
        return 0;
    if (sp_cpu_has_avx512f())
        return jobs[0].len >= MIDDLING_BYTES;
    return !sealing && jobs[0].len >= LONG_BYTES;
}

#if defined(__x86_64__)

static const struct sp_engine avx512 = {
    .step = 8,
    .bytes = 14 * 1024, /* text and result stay in the first-level cache */
    .chacha = sp_chacha_avx512,
    .mac = sp_mac_avx512,
    .xor = sp_xor_avx512,
};

static const struct sp_engine avx2 = {
    .step = 1,
    .bytes = 1536, /* three groups of lanes: enough to waste few, little enough to wait for */
    .beside = 1,
    .chacha = sp_chacha_avx2,
    .mac = sp_mac_mulx,
    .xor = sp_xor_avx2,
};

static void *avx512_make(void) { return sp_cpu_has_avx512() ? sp_batch_new(&avx512) : NULL; }
static void *avx2_make(void) { return sp_cpu_has_avx2() ? sp_batch_new(&avx2) : NULL; }

#else

static void *avx512_make(void) { return NULL; }
static void *avx2_make(void) { return NULL; }

#endif

const struct sp_aead_ops sp_aead_avx512 = {
    .name = "avx512",
    .make = avx512_make,
    .free = vector_free,
    .seal = vector_seal,
    .open = vector_open,
};

const struct sp_aead_ops sp_aead_avx2 = {
    .name = "avx2",
    .make = avx2_make,
    .free = vector_free,
    .seal = vector_seal,
    .open = vector_open,
    .yields = avx2_yields,
};
