/* The hash of public keys (directory.h). */
#include "directory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "state.h"

enum { FIRST_BUCKETS = 64 };

int sp_directory_init(struct sp_pump *pump)
{
    struct sp_directory *directory = &pump->directory;

    directory->buckets = calloc(FIRST_BUCKETS, sizeof(*directory->buckets));
    directory->bucket_count = FIRST_BUCKETS;
    /* Public keys are chosen by others; a secret keeps them from choosing our bucket. Early in boot there
     * may be no randomness yet, and then a guessable secret is better than waiting. */
    if (getrandom(&directory->secret, sizeof(directory->secret), GRND_NONBLOCK) < 0)
        directory->secret = (uintptr_t)directory->buckets;
    return directory->buckets == NULL ? -ENOMEM : 0;
}

void sp_directory_close(struct sp_pump *pump) { free(pump->directory.buckets); }

static uint32_t *bucket_of(struct sp_directory *directory, const uint8_t *public_key)
{
    uint64_t hash = directory->secret;

    for (size_t i = 0; i < SP_KEY_BYTES; i += 8) {
        uint64_t word;
        memcpy(&word, public_key + i, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return &directory->buckets[hash & (directory->bucket_count - 1)];
}

struct sp_peer *sp_directory_find(struct sp_pump *pump, const uint8_t *public_key)
{
    for (uint32_t at = *bucket_of(&pump->directory, public_key); at != 0;) {
        struct sp_peer *peer = sp_peers_at(pump, at - 1);
        if (memcmp(peer->public_key, public_key, SP_KEY_BYTES) == 0)
            return peer;
        at = peer->chain;
    }
    return NULL;
}

static void put(struct sp_pump *pump, struct sp_peer *peer)
{
    uint32_t *bucket = bucket_of(&pump->directory, peer->public_key);

    peer->chain = *bucket;
    *bucket = peer->number & SP_PEER_PLACE_MASK;
}

/* As many buckets as peers; failing to get them only makes chains longer. The newcomer is not among the live. */
static void grow(struct sp_pump *pump, const struct sp_peer *newcomer)
{
    struct sp_directory *directory = &pump->directory;
    uint32_t *grown;

    if (pump->peers.live < directory->bucket_count)
        return;
    grown = calloc((size_t)directory->bucket_count * 2, sizeof(*grown));
    if (grown == NULL)
        return;
    free(directory->buckets);
    directory->buckets = grown;
    directory->bucket_count *= 2;
    for (uint32_t i = 0; i < pump->peers.places; i++) {
        struct sp_peer *peer = sp_peers_at(pump, i);
        if (peer->number != 0 && peer != newcomer)
            put(pump, peer);
    }
}

void sp_directory_add(struct sp_pump *pump, struct sp_peer *peer)
{
    grow(pump, peer);
    put(pump, peer);
}

void sp_directory_remove(struct sp_pump *pump, struct sp_peer *peer)
{
    uint32_t *at = bucket_of(&pump->directory, peer->public_key);

    while (*at != (peer->number & SP_PEER_PLACE_MASK))
        at = &sp_peers_at(pump, *at - 1)->chain;
    *at = peer->chain;
}
