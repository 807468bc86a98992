/* The arena of peers, the hash of their keys, and adding and removing them (peers.h). */
#include "peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "state.h"

enum { PLACE_MASK = (1 << SP_PEER_PLACE_BITS) - 1, FIRST_BUCKETS = 64 };

int sp_peers_init(struct sp_pump *pump)
{
    struct sp_peers *peers = &pump->peers;

    peers->buckets = calloc(FIRST_BUCKETS, sizeof(*peers->buckets));
    peers->bucket_count = FIRST_BUCKETS;
    /* Public keys are chosen by others; a secret keeps them from choosing our bucket. Early in boot there
     * may be no randomness yet, and then a guessable secret is better than waiting. */
    if (getrandom(&peers->secret, sizeof(peers->secret), GRND_NONBLOCK) < 0)
        peers->secret = (uintptr_t)peers->buckets;
    return peers->buckets == NULL ? -ENOMEM : 0;
}

void sp_peers_close(struct sp_pump *pump)
{
    struct sp_peers *peers = &pump->peers;

    for (uint32_t i = 0; i < peers->places; i++) {
        struct sp_peer *peer = sp_peers_at(pump, i);
        if (peer->number != 0)
            sp_keypairs_erase(pump, peer);
    }
    for (uint32_t i = 0; i < peers->places; i += SP_PEERS_PER_CHUNK)
        free(peers->chunks[i / SP_PEERS_PER_CHUNK]);
    free(peers->chunks);
    free(peers->buckets);
}

struct sp_peer *sp_peers_at(struct sp_pump *pump, uint32_t place)
{
    return &pump->peers.chunks[place / SP_PEERS_PER_CHUNK][place % SP_PEERS_PER_CHUNK];
}

struct sp_peer *sp_peers_find(struct sp_pump *pump, uint32_t number)
{
    uint32_t place = (number & PLACE_MASK) - 1; /* wraps for 0, which no table is large enough for */
    struct sp_peer *peer;

    if (number == 0 || place >= pump->peers.places)
        return NULL;
    peer = sp_peers_at(pump, place);
    return peer->number == number ? peer : NULL;
}

static uint32_t *bucket_of(struct sp_peers *peers, const uint8_t *public_key)
{
    uint64_t hash = peers->secret;

    for (size_t i = 0; i < SP_KEY_BYTES; i += 8) {
        uint64_t word;
        memcpy(&word, public_key + i, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return &peers->buckets[hash & (peers->bucket_count - 1)];
}

static struct sp_peer *find_key(struct sp_pump *pump, const uint8_t *public_key)
{
    for (uint32_t at = *bucket_of(&pump->peers, public_key); at != 0;) {
        struct sp_peer *peer = sp_peers_at(pump, at - 1);
        if (memcmp(peer->public_key, public_key, SP_KEY_BYTES) == 0)
            return peer;
        at = peer->chain;
    }
    return NULL;
}

static void bucket_add(struct sp_pump *pump, struct sp_peer *peer)
{
    uint32_t *bucket = bucket_of(&pump->peers, peer->public_key);

    peer->chain = *bucket;
    *bucket = peer->number & PLACE_MASK;
}

static void bucket_remove(struct sp_pump *pump, struct sp_peer *peer)
{
    uint32_t *at = bucket_of(&pump->peers, peer->public_key);

    while (*at != (peer->number & PLACE_MASK))
        at = &sp_peers_at(pump, *at - 1)->chain;
    *at = peer->chain;
}

/* As many buckets as peers; failing to get them only makes chains longer. */
static void buckets_grow(struct sp_pump *pump)
{
    struct sp_peers *peers = &pump->peers;
    uint32_t *grown;

    if (peers->live < peers->bucket_count)
        return;
    grown = calloc((size_t)peers->bucket_count * 2, sizeof(*grown));
    if (grown == NULL)
        return;
    free(peers->buckets);
    peers->buckets = grown;
    peers->bucket_count *= 2;
    for (uint32_t i = 0; i < peers->places; i++)
        if (sp_peers_at(pump, i)->number != 0)
            bucket_add(pump, sp_peers_at(pump, i));
}

static void place_free(struct sp_pump *pump, uint32_t place)
{
    struct sp_peers *peers = &pump->peers;

    sp_peers_at(pump, place)->chain = 0;
    if (peers->free_first == 0)
        peers->free_first = place + 1;
    else
        sp_peers_at(pump, peers->free_last - 1)->chain = place + 1;
    peers->free_last = place + 1;
}

static int chunk_add(struct sp_pump *pump)
{
    struct sp_peers *peers = &pump->peers;
    uint32_t n = peers->places / SP_PEERS_PER_CHUNK;
    struct sp_peer **chunks;

    if (peers->places + SP_PEERS_PER_CHUNK > PLACE_MASK)
        return -ENOSPC;
    chunks = realloc(peers->chunks, (n + 1) * sizeof(*chunks));
    if (chunks == NULL)
        return -ENOMEM;
    peers->chunks = chunks;
    chunks[n] = calloc(SP_PEERS_PER_CHUNK, sizeof(**chunks));
    if (chunks[n] == NULL)
        return -ENOMEM;
    peers->places += SP_PEERS_PER_CHUNK;
    for (uint32_t i = 0; i < SP_PEERS_PER_CHUNK; i++)
        place_free(pump, n * SP_PEERS_PER_CHUNK + i);
    return 0;
}

static int64_t add(struct sp_pump *pump, const uint8_t *public_key, uint64_t *slot, struct sp_purse *purse)
{
    struct sp_peers *peers = &pump->peers;
    struct sp_peer *peer;
    uint32_t place, generation;
    int result;

    if (purse == NULL)
        return -ENOENT;
    if (find_key(pump, public_key) != NULL)
        return -EEXIST;
    if (peers->free_first == 0 && (result = chunk_add(pump)) != 0)
        return result;
    if (sp_timers_reserve(pump, peers->live + 1) != 0)
        return -ENOMEM;
    buckets_grow(pump);
    place = peers->free_first - 1;
    peer = sp_peers_at(pump, place);
    peers->free_first = peer->chain;
    generation = peer->generation + 1;
    memset(peer, 0, sizeof(*peer));
    peer->generation = generation;
    peer->number = (generation << SP_PEER_PLACE_BITS) | (place + 1);
    memcpy(peer->public_key, public_key, SP_KEY_BYTES);
    peer->slot = slot != NULL ? slot : peer->own_slot;
    peer->purse = purse;
    sp_list_init(&peer->dirty);
    sp_list_init(&peer->lost);
    sp_list_append(&purse->peers, &peer->purse_link);
    bucket_add(pump, peer);
    peers->live++;
    if (purse->shut)
        sp_upward_mark(pump, peer, SP_PENDING_PURSE);
    return peer->number;
}

int64_t sp_peer_add(struct sp_pump *pump, const uint8_t *public_key, uint64_t *slot, int purse)
{
    int64_t number;

    sp_pump_take(pump);
    number = add(pump, public_key, slot, sp_purse_find(pump, purse));
    sp_pump_give(pump);
    return number;
}

int sp_peer_remove(struct sp_pump *pump, uint32_t number)
{
    struct sp_peer *peer;

    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL) {
        sp_trie_remove_owner(pump->prefixes, number);
        sp_staging_drop(pump, peer, SP_DROP_STAGED_LOST);
        sp_keypairs_erase(pump, peer);
        sp_timers_stop(pump, peer);
        sp_upward_clear(pump, peer, UINT32_MAX);
        sp_list_remove(&peer->purse_link);
        sp_lost_remove(pump, peer);
        bucket_remove(pump, peer);
        peer->number = 0;
        peer->slot = peer->own_slot;
        pump->peers.live--;
        place_free(pump, (number & PLACE_MASK) - 1);
    }
    sp_pump_give(pump);
    return peer == NULL ? -ENOENT : 0;
}

void sp_peer_want_key(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns)
{
    if (peer->key_asked_ns != 0 && now_ns < peer->key_asked_ns + SP_REKEY_TIMEOUT_NS)
        return; /* Python heard it and sends, or repeats, an initiation by itself */
    peer->key_asked_ns = now_ns;
    sp_upward_mark(pump, peer, SP_PENDING_KEY);
}
