/* The seam between the pump and its cipher: ChaCha20-Poly1305 (RFC 8439) over batches of packets.
 *
 * Decides which implementation serves: the one that is asked for, or with "auto" the best one that this
 * machine can run; and none before it has answered a known-answer test right, sealing and opening, for an empty
 * and for a longer message. With "auto", batches of a shape for which libcrypto is known to be faster go to it. */
#include "aead.h"

#include <stdlib.h>
#include <string.h>

struct side {
    const struct sp_aead_ops *ops; /* NULL: there is none */
    void *state;
};

struct sp_aead {
    struct side main, other; /* other: libcrypto, where main yields to it at times */
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

static int answers_right(const struct side *side)
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
    side->ops->seal(side->state, jobs, 2);
    if (memcmp(sealed + KNOWN_BYTES - 8, known_end, 8) != 0 || memcmp(empty, known_tag_empty, SP_TAG_BYTES) != 0 ||
        memcmp(sealed + KNOWN_BYTES, known_tag, SP_TAG_BYTES) != 0)
        return 0;

    jobs[0] = (struct sp_aead_job){
        .key = key, .counter = known_counter, .in = sealed, .out = opened, .len = sizeof sealed};
    jobs[1] = (struct sp_aead_job){
        .key = key, .counter = known_counter, .in = empty, .out = opened, .len = sizeof empty};
    side->ops->open(side->state, jobs, 2);
    if (!jobs[0].ok || !jobs[1].ok || memcmp(opened, plain, KNOWN_BYTES) != 0)
        return 0;

    sealed[KNOWN_BYTES / 2] ^= 1; /* and it must say no as well as yes */
    side->ops->open(side->state, jobs, 1);
    return !jobs[0].ok;
}

static void close_side(struct side *side)
{
    if (side->ops)
        side->ops->free(side->state);
    side->ops = NULL;
}

/* Whether that path is to be had here. */
static int open_side(struct side *side, const struct sp_aead_ops *ops)
{
    side->state = ops->make();
    if (!side->state)
        return 0;
    side->ops = ops;
    if (answers_right(side))
        return 1;
    close_side(side);
    return 0;
}

struct sp_aead *sp_aead_new(const char *path)
{
    struct sp_aead *aead = calloc(1, sizeof *aead);
    int any = strcmp(path, "auto") == 0;

    if (!aead)
        return NULL;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0] && !aead->main.ops; i++)
        if (any || strcmp(path, paths[i]->name) == 0)
            open_side(&aead->main, paths[i]);
    if (!aead->main.ops) {
        free(aead);
        return NULL;
    }
    if (any && aead->main.ops->yields)
        open_side(&aead->other, &sp_aead_libcrypto);
    return aead;
}

int sp_aead_broken(const char *path)
{
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct side side = {.ops = paths[i]};
        int right;

        if (strcmp(path, side.ops->name) != 0)
            continue;
        side.state = side.ops->make();
        if (!side.state)
            return 0;
        right = answers_right(&side);
        close_side(&side);
        return !right;
    }
    return 0;
}

void sp_aead_free(struct sp_aead *aead)
{
    if (!aead)
        return;
    close_side(&aead->main);
    close_side(&aead->other);
    free(aead);
}

const char *sp_aead_path(const struct sp_aead *aead) { return aead->main.ops->name; }

static const struct side *best_for(const struct sp_aead *aead, const struct sp_aead_job *jobs, size_t n, int sealing)
{
    return aead->other.ops && aead->main.ops->yields(jobs, n, sealing) ? &aead->other : &aead->main;
}

void sp_seal_batch(struct sp_aead *aead, struct sp_aead_job *jobs, size_t n)
{
    const struct side *side = best_for(aead, jobs, n, 1);
    side->ops->seal(side->state, jobs, n);
}

void sp_open_batch(struct sp_aead *aead, struct sp_aead_job *jobs, size_t n)
{
    const struct side *side = best_for(aead, jobs, n, 0);
    side->ops->open(side->state, jobs, n);
}

void sp_aead_forget(struct sp_aead *aead)
{
    if (aead->main.ops->forget)
        aead->main.ops->forget(aead->main.state);
    if (aead->other.ops && aead->other.ops->forget)
        aead->other.ops->forget(aead->other.state);
}
