/* The AEAD paths under sanitizers: random batches from a fixed seed, results against the portable path. Every
 * buffer ends, or begins, where memory does: what assembly reads and writes no sanitizer sees, but a page that
 * is not there stops it. Argument: number of batches for each path. Returns 1 when something is wrong. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "api.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

enum { MOST_JOBS = 40, PAGE = 4096 };

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

static void try_batch(struct sp_aead *aead, struct sp_aead *twin, int zeroes)
{
    struct buffer key = make(SP_KEY_BYTES), plain[MOST_JOBS], sealed[MOST_JOBS], expected[MOST_JOBS], opened[MOST_JOBS];
    struct sp_aead_job jobs[MOST_JOBS], twins[MOST_JOBS];
    uint32_t n = below(3) ? 1 + below(MOST_JOBS) : 1 + below(3);
    int forged[MOST_JOBS];

    for (int i = 0; i < SP_KEY_BYTES; i++)
        key.bytes[i] = (uint8_t)noise();
    for (uint32_t i = 0; i < n; i++) {
        uint32_t len = length();
        plain[i] = make(len);
        for (uint32_t k = 0; k < len; k++)
            plain[i].bytes[k] = (uint8_t)noise();
        sealed[i] = make((size_t)len + SP_TAG_BYTES);
        expected[i] = make((size_t)len + SP_TAG_BYTES);
        opened[i] = make(len);
        jobs[i] = (struct sp_aead_job){
            .key = key.bytes, .counter = noise(), .in = plain[i].bytes, .out = sealed[i].bytes, .len = len};
        twins[i] = jobs[i];
        twins[i].out = expected[i].bytes;
    }
    sp_seal_batch(aead, jobs, n);
    sp_seal_batch(twin, twins, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t len = jobs[i].len;
        CHECK(memcmp(sealed[i].bytes, expected[i].bytes, (size_t)len + SP_TAG_BYTES) == 0);
        memset(opened[i].bytes, 0xa5, len);
        jobs[i].in = sealed[i].bytes;
        jobs[i].out = opened[i].bytes;
        jobs[i].len = len + SP_TAG_BYTES;
        forged[i] = below(4) == 0;
        if (forged[i])
            sealed[i].bytes[below(jobs[i].len)] ^= (uint8_t)(1U << below(8));
    }
    sp_open_batch(aead, jobs, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t len = jobs[i].len - SP_TAG_BYTES;
        CHECK(jobs[i].ok == (forged[i] ? 0 : 1));
        CHECK(forged[i] || len == 0 || memcmp(opened[i].bytes, plain[i].bytes, len) == 0);
        for (uint32_t k = 0; forged[i] && k < len; k++)
            CHECK(opened[i].bytes[k] == 0xa5 || (zeroes && opened[i].bytes[k] == 0));
        drop(&plain[i]);
        drop(&sealed[i]);
        drop(&expected[i]);
        drop(&opened[i]);
    }
    drop(&key);
}

int main(int argc, char **argv)
{
    static const char *const paths[] = {"avx512", "avx2", "auto", "libcrypto", "portable"};
    int rounds = argc > 1 ? atoi(argv[1]) : 100;
    struct sp_aead *twin = sp_aead_new("portable");

    CHECK(twin);
    for (size_t p = 0; p < sizeof paths / sizeof paths[0]; p++) {
        struct sp_aead *aead = sp_aead_new(paths[p]);
        int zeroes = strcmp(paths[p], "libcrypto") == 0 || strcmp(paths[p], "auto") == 0; /* forged outputs */
        for (int i = 0; aead && i < rounds; i++)
            try_batch(aead, twin, zeroes);
        puts(aead ? paths[p] : "-");
        sp_aead_free(aead);
    }
    sp_aead_free(twin);
    return 0;
}
