/* symmetric.c and what it stands on under sanitizers: random transcripts of two sides that must agree, every buffer
 * exactly as long as it is said to be. Prints what went wrong and returns 1, or returns 0. Argument: number of
 * rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "check.h"

static uint64_t random_state = 0x9E3779B97F4A7C15U;

static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

/* A heap block of exactly this length, so that one byte beyond is noticed. */
static uint8_t *block(size_t len)
{
    uint8_t *p = malloc(len ? len : 1);
    CHECK(p);
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)below(256);
    return p;
}

static void same(const struct sp_symmetric *a, const struct sp_symmetric *b)
{
    CHECK(memcmp(a->chain_key, b->chain_key, 32) == 0 && memcmp(a->hash, b->hash, 32) == 0);
}

static void seal_and_open(struct sp_symmetric *sender, struct sp_symmetric *receiver)
{
    size_t len = below(65);
    uint8_t *secret = block(32), *text = block(len), *sealed = block(len + 16);
    struct sp_symmetric before = *receiver;

    CHECK(sp_symmetric_seal(sender, secret, text, len) == 0);
    memcpy(sealed, sender->out, len + 16);
    sealed[below((uint32_t)len + 16)] ^= 1;
    CHECK(sp_symmetric_open(receiver, secret, sealed, len + 16) < 0);
    CHECK(memcmp(&before, receiver, sizeof before) == 0);
    memcpy(sealed, sender->out, len + 16);
    CHECK(sp_symmetric_open(receiver, secret, sealed, len + 16) == 0 && memcmp(receiver->out, text, len) == 0);
    CHECK(sp_symmetric_open(receiver, secret, sealed, below(16)) < 0);
    free(secret);
    free(text);
    free(sealed);
}

static void transcript(void)
{
    struct sp_symmetric *sender = (struct sp_symmetric *)block(sizeof *sender);
    struct sp_symmetric *receiver = (struct sp_symmetric *)block(sizeof *receiver);
    static const uint8_t zeroes[64];

    *receiver = *sender;
    for (uint32_t steps = below(8); steps > 0; steps--) {
        uint8_t *public_key = block(32), *first = below(2) ? block(32) : NULL, *second = below(2) ? block(32) : NULL;
        if (below(2)) {
            struct sp_symmetric *fork = (struct sp_symmetric *)block(sizeof *fork), before = *receiver;
            sp_symmetric_mix(sender, sender, public_key, first, second);
            sp_symmetric_mix(fork, receiver, public_key, first, second);
            CHECK(memcmp(&before, receiver, sizeof before) == 0);
            sp_symmetric_mac(receiver, public_key, public_key, 32);
            sp_symmetric_mix(receiver, receiver, public_key, first, second);
            same(fork, receiver);
            free(fork);
        } else {
            seal_and_open(sender, receiver);
        }
        same(sender, receiver);
        free(public_key);
        free(first);
        free(second);
    }
    uint8_t *psk = block(32), *tag = block(16);
    sp_symmetric_seal_end(sender, psk);
    CHECK(sp_symmetric_open_end(receiver, psk, tag) < 0);
    memcpy(tag, sender->out + 64, 16);
    CHECK(sp_symmetric_open_end(receiver, psk, tag) == 0);
    CHECK(memcmp(sender->out, receiver->out, 64) == 0 && memcmp(sender, zeroes, 64) == 0);
    same(sender, receiver);
    free(psk);
    free(tag);
    free(sender);
    free(receiver);
}

int main(int argc, char **argv)
{
    for (int rounds = argc > 1 ? atoi(argv[1]) : 100; rounds > 0; rounds--)
        transcript();
    return 0;
}
