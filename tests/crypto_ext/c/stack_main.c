/* Seals and opens on a stack of its own and then looks through that stack: for each word of the key, of block 0 of its
 * key stream (whose first half is the Poly1305 key) and of the state that it comes from, which the rounds undone turn
 * into the key. Prints "path what: words found"; arguments: the paths to try. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "api.h"

enum { STACK_BYTES = 1 << 18, JOBS = 3, SECRETS = 8 + 16 + 16, ROOM = 2000 };

static const uint32_t lengths[JOBS] = {1420, 100, 800};
static uint8_t stack[STACK_BYTES] __attribute__((aligned(64)));
static uint8_t key[SP_KEY_BYTES], bytes[JOBS][ROOM];
static uint32_t secrets[SECRETS];
static ucontext_t here, there;
static struct sp_aead *aead;
static int opening;
static size_t count;

static void work(void)
{
    struct sp_aead_job jobs[JOBS];

    memset(jobs, 0, sizeof jobs);
    for (size_t i = 0; i < count; i++) {
        jobs[i].key = key;
        jobs[i].counter = 5 + i;
        jobs[i].in = jobs[i].out = bytes[i];
        jobs[i].len = lengths[i] + (opening ? SP_TAG_BYTES : 0);
    }
    (opening ? sp_open_batch : sp_seal_batch)(aead, jobs, count);
    for (size_t i = 0; opening && i < count; i++)
        if (!jobs[i].ok)
            abort();
}

static uint32_t rotate(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

static void quarter(uint32_t *x, int a, int b, int c, int d)
{
    x[a] += x[b], x[d] = rotate(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = rotate(x[b] ^ x[c], 12);
    x[a] += x[b], x[d] = rotate(x[d] ^ x[a], 8);
    x[c] += x[d], x[b] = rotate(x[b] ^ x[c], 7);
}

/* Of the first packet. Not inlined, nor is found(): the registers that they worked with would be saved on the stack. */
__attribute__((noinline)) static void know_secrets(void)
{
    uint32_t first[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, x[16];

    memcpy(first + 4, key, sizeof key);
    first[14] = 5;
    memcpy(x, first, sizeof x);
    for (int i = 0; i < 10; i++) {
        for (int k = 0; k < 4; k++)
            quarter(x, k, 4 + k, 8 + k, 12 + k);
        for (int k = 0; k < 4; k++)
            quarter(x, k, 4 + (k + 1) % 4, 8 + (k + 2) % 4, 12 + (k + 3) % 4);
    }
    memcpy(secrets, key, sizeof key);
    memcpy(secrets + 8, x, sizeof x);
    for (int i = 0; i < 16; i++)
        secrets[24 + i] = x[i] + first[i];
}

__attribute__((noinline)) static int found(void)
{
    int words = 0;

    for (size_t at = 0; at < STACK_BYTES; at += sizeof(uint32_t))
        for (size_t i = 0; i < SECRETS; i++)
            words += memcmp(stack + at, &secrets[i], sizeof secrets[i]) == 0;
    return words;
}

static void try(const char *path)
{
    for (count = 1; count <= JOBS; count += JOBS - 1) {
        for (opening = 0; opening < 2; opening++) {
            memset(stack, 0, sizeof stack);
            getcontext(&there);
            there.uc_stack.ss_sp = stack;
            there.uc_stack.ss_size = sizeof stack;
            there.uc_link = &here;
            makecontext(&there, work, 0);
            swapcontext(&here, &there);
            printf("%s %s %zu: %d\n", path, opening ? "open" : "seal", count, found());
        }
    }
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(0x91 + 37 * i);
    know_secrets();
    for (int i = 1; i < argc; i++) {
        aead = sp_aead_new(argv[i]); /* its self-test also binds what is bound lazily, with another key */
        if (!aead)
            return 1;
        try(argv[i]);
        sp_aead_free(aead);
    }
    return 0;
}
