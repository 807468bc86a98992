/* The seam between the pump and its cipher: ChaCha20-Poly1305 (RFC 8439) over batches of packets.
 *
 * Decides which implementation serves: libcrypto when it loads, else the portable code, and neither
 * before it has answered a known-answer test right, sealing and opening, for an empty and for a longer
 * message. What is chosen at start stays; no decision is taken per packet. */
#include "aead.h"

#include <stdlib.h>
#include <string.h>

struct sp_aead {
    const struct sp_aead_ops *ops;
    void *state;
};

static const struct sp_aead_ops *const paths[] = {
    &sp_aead_avx512, &sp_aead_avx2, &sp_aead_libcrypto, &sp_aead_portable, /* best first */
};

enum { KNOWN_BYTES = 100 };

/* Key 00 01 .. 1f, counter 0x0807060504030201, plaintext 00 01 .. 63: tags of its first 0 and 100 bytes,
 * and the last 8 bytes of the longer ciphertext. Computed with an independent implementation. */
static const uint64_t known_counter = 0x0807060504030201U;
static const uint8_t known_tag_empty[SP_TAG_BYTES] = {
    0xcf, 0xfc, 0x98, 0x69, 0x16, 0x9e, 0x7e, 0xd5,
    0x80, 0x46, 0x36, 0xdb, 0x29, 0x3c, 0x37, 0x29
};
static const uint8_t known_tag[SP_TAG_BYTES] = {
    0xcf, 0x24, 0xda, 0xec, 0x52, 0x6d, 0xb7, 0xed,
    0xa5, 0x5e, 0x88, 0x9d, 0xdb, 0xba, 0x76, 0x87
};
static const uint8_t known_end[8] = {0x4e, 0xcc, 0x1a, 0x04, 0x16, 0x26, 0x04, 0xc1};

static int answers_right(struct sp_aead *aead)
{
    uint8_t key[SP_KEY_BYTES], plain[KNOWN_BYTES], sealed[KNOWN_BYTES + SP_TAG_BYTES], empty[SP_TAG_BYTES];
    uint8_t opened[KNOWN_BYTES];
    struct sp_aead_job jobs[3] = {
        {.key = key, .counter = known_counter, .in = plain, .out = sealed, .len = KNOWN_BYTES},
        {.key = key, .counter = known_counter, .in = plain, .out = empty, .len = 0},
    };

    for (int i = 0; i < SP_KEY_BYTES; i++)
        key[i] = (uint8_t)i;
    for (int i = 0; i < KNOWN_BYTES; i++)
        plain[i] = (uint8_t)i;
    sp_seal_batch(aead, jobs, 2);
    if (memcmp(sealed + KNOWN_BYTES - 8, known_end, 8) != 0 || memcmp(empty, known_tag_empty, SP_TAG_BYTES) != 0 ||
        memcmp(sealed + KNOWN_BYTES, known_tag, SP_TAG_BYTES) != 0)
        return 0;

    jobs[0] = (struct sp_aead_job){
        .key = key, .counter = known_counter, .in = sealed, .out = opened, .len = sizeof sealed};
    jobs[1] = (struct sp_aead_job){.key = key, .counter = known_counter, .in = empty, .out = opened, .len = sizeof empty};
    sp_open_batch(aead, jobs, 2);
    if (!jobs[0].ok || !jobs[1].ok || memcmp(opened, plain, KNOWN_BYTES) != 0)
        return 0;

    sealed[KNOWN_BYTES / 2] ^= 1; /* and it must say no as well as yes */
    sp_open_batch(aead, jobs, 1);
    return !jobs[0].ok;
}

static struct sp_aead *new_path(const struct sp_aead_ops *ops)
{
    struct sp_aead *aead = calloc(1, sizeof *aead);

    if (!aead)
        return NULL;
    aead->ops = ops;
    aead->state = ops->make();
    if (!aead->state) {
        free(aead);
        return NULL;
    }
    if (!answers_right(aead)) {
        sp_aead_free(aead);
        return NULL;
    }
    return aead;
}

struct sp_aead *sp_aead_new(const char *path)
{
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (strcmp(path, "auto") == 0 || strcmp(path, paths[i]->name) == 0) {
            struct sp_aead *aead = new_path(paths[i]);
            if (aead)
                return aead;
        }
    }
    return NULL;
}

void sp_aead_free(struct sp_aead *aead)
{
    if (!aead)
        return;
    aead->ops->free(aead->state);
    free(aead);
}

const char *sp_aead_path(const struct sp_aead *aead) { return aead->ops->name; }

void sp_seal_batch(struct sp_aead *aead, struct sp_aead_job *jobs, size_t n) { aead->ops->seal(aead->state, jobs, n); }

void sp_open_batch(struct sp_aead *aead, struct sp_aead_job *jobs, size_t n) { aead->ops->open(aead->state, jobs, n); }
