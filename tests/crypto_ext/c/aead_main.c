/* The AEAD paths under sanitizers: random batches from a fixed seed, results against the portable path. Half
 * of the packets are worked on in place, batches have up to three keys, and texts may begin where they end up. Every
 * buffer ends, or begins, where memory does: what assembly reads and writes no sanitizer sees, but a page that
 * is not there stops it. Arguments: a path, the number of batches. Returns 1 when something is wrong. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "api.h"
#include "check.h"

enum { MOST_JOBS = 40, MOST_KEYS = 3, PAGE = 4096 };

static uint64_t state = 0x9E3779B97F4A7C15U;

static uint64_t noise(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545F4914F6CDD1DU;
}

static uint32_t below(uint32_t n) { return (uint32_t)(noise() >> 33) % n; }

/* A buffer, and how it is given back: a heap block of that length, or pages with nothing before and behind. */
struct buffer {
    uint8_t *bytes;
    void *pages; /* NULL: heap */
    size_t span;
};

static struct buffer make(size_t len)
{
    struct buffer b = {0};
    size_t room = (len + PAGE - 1) / PAGE * PAGE;

    if (below(2)) {
        b.bytes = malloc(len ? len : 1);
        CHECK(b.bytes);
        return b;
    }
    b.span = room + (size_t)2 * PAGE;
    b.pages = mmap(NULL, b.span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(b.pages != MAP_FAILED);
    CHECK(room == 0 || mprotect((uint8_t *)b.pages + PAGE, room, PROT_READ | PROT_WRITE) == 0);
    b.bytes = (uint8_t *)b.pages + PAGE + (below(4) ? room - len : 0);
    return b;
}

static void drop(struct buffer *b)
{
    if (b->pages)
        CHECK(munmap(b->pages, b->span) == 0);
    else
        free(b->bytes);
}

static uint32_t length(void)
{
    switch (below(4)) {
    case 0: return below(130);
    case 1: return below(2000);
    case 2: return 1420;
    default: return below(20) ? 64 * below(30) : below(20000);
    }
}

static void fill(uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)noise();
}

/* How much of a text stands at `out` already: the contract wants multiples of 64. */
static uint32_t placed_of(uint32_t len)
{
    static const uint32_t few[] = {0, 0, 64, 128, UINT32_MAX};
    uint32_t most = len / 64, some = below(2) ? few[below(5)] / 64 : below(most + 1);
    return 64 * (some < most ? some : most);
}

/* One packet to seal and to open again. Where it is not in place, `sealed` and `opened` are buffers of their own. */
struct packet {
    struct buffer plain, first, second, expected;
    uint8_t *sealed, *opened;
    uint32_t len;
    int in_place, forged;
};

/* The jobs that seal it; the twin gets the whole text from `plain`. */
static void prepare(struct packet *p, const uint8_t *key, struct sp_aead_job *job, struct sp_aead_job *twin)
{
    uint32_t len = length(), placed = placed_of(len);
    size_t room = (size_t)len + SP_TAG_BYTES;

    *p = (struct packet){.len = len, .in_place = (int)below(2)};
    p->plain = make(len);
    p->first = make(room);
    p->second = make(p->in_place ? 0 : len);
    p->expected = make(room);
    fill(p->plain.bytes, len);
    fill(p->first.bytes, room);
    p->sealed = p->first.bytes;
    p->opened = p->in_place ? p->first.bytes : p->second.bytes;
    memcpy(p->sealed, p->plain.bytes, p->in_place ? len : placed);
    if (!p->in_place) { /* what is placed must not be read from `in`: noise stands there */
        fill(p->second.bytes, placed);
        memcpy(p->second.bytes + placed, p->plain.bytes + placed, len - placed);
    }
    *job = (struct sp_aead_job){.key = key, .counter = noise(), .out = p->sealed, .len = len, .placed = placed};
    *twin = *job;
    job->in = p->opened;
    twin->in = p->plain.bytes;
    twin->out = p->expected.bytes;
    twin->placed = 0;
}

/* What was sealed is right; and the job that opens it, or finds out that it is forged. */
static void turn_around(struct packet *p, struct sp_aead_job *job)
{
    size_t room = (size_t)p->len + SP_TAG_BYTES;

    CHECK(memcmp(p->sealed, p->expected.bytes, room) == 0);
    p->forged = below(4) == 0;
    if (p->forged)
        p->sealed[below((uint32_t)room)] ^= (uint8_t)(1U << below(8));
    if (!p->in_place)
        memset(p->opened, 0xa5, p->len);
    memcpy(p->expected.bytes, p->opened, p->len); /* as it is now */
    job->in = p->sealed;
    job->out = p->opened;
    job->len = p->len + SP_TAG_BYTES;
}

static void look_at(const struct packet *p, const struct sp_aead_job *job)
{
    CHECK(job->ok == (p->forged ? 0 : 1));
    for (uint32_t k = 0; k < p->len; k++)
        CHECK(p->opened[k] == (p->forged ? p->expected.bytes[k] : p->plain.bytes[k]));
}

static void try_batch(struct sp_aead *aead, struct sp_aead *twin)
{
    struct buffer keys[MOST_KEYS];
    struct packet packets[MOST_JOBS];
    struct sp_aead_job jobs[MOST_JOBS], twins[MOST_JOBS];
    uint32_t n = below(3) ? 1 + below(MOST_JOBS) : 1 + below(3), differ = 1 + below(MOST_KEYS);

    for (uint32_t i = 0; i < differ; i++) {
        keys[i] = make(SP_KEY_BYTES);
        fill(keys[i].bytes, SP_KEY_BYTES);
    }
    for (uint32_t i = 0; i < n; i++)
        prepare(&packets[i], keys[below(differ)].bytes, &jobs[i], &twins[i]);
    sp_seal_batch(aead, jobs, n);
    sp_seal_batch(twin, twins, n);
    for (uint32_t i = 0; i < n; i++)
        turn_around(&packets[i], &jobs[i]);
    sp_open_batch(aead, jobs, n);
    for (uint32_t i = 0; i < n; i++) {
        look_at(&packets[i], &jobs[i]);
        drop(&packets[i].plain);
        drop(&packets[i].first);
        drop(&packets[i].second);
        drop(&packets[i].expected);
    }
    for (uint32_t i = 0; i < differ; i++)
        drop(&keys[i]);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);

    int rounds = atoi(argv[2]);
    struct sp_aead *aead = sp_aead_new(argv[1]), *twin = sp_aead_new("portable");

    CHECK(aead);
    CHECK(twin);
    for (int i = 0; i < rounds; i++)
        try_batch(aead, twin);
    printf("%s %d\n", argv[1], rounds);
    sp_aead_free(aead);
    sp_aead_free(twin);
    return 0;
}
