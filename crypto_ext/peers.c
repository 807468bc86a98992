/* The arena of peers, and adding and removing them (peers.h). */
#include "peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

int sp_peers_init(struct sp_pump *pump) { return sp_directory_init(pump); }

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
    sp_directory_close(pump);
}

struct sp_peer *sp_peers_at(struct sp_pump *pump, uint32_t place)
{
    return &pump->peers.chunks[place / SP_PEERS_PER_CHUNK][place % SP_PEERS_PER_CHUNK];
}

struct sp_peer *sp_peers_find(struct sp_pump *pump, uint32_t number)
{
    uint32_t place = (number & SP_PEER_PLACE_MASK) - 1; /* wraps for 0, which no table is large enough for */
    struct sp_peer *peer;

    if (number == 0 || place >= pump->peers.places)
        return NULL;
    peer = sp_peers_at(pump, place);
    return peer->number == number ? peer : NULL;
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

    if (peers->places + SP_PEERS_PER_CHUNK > SP_PEER_PLACE_MASK)
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
    if (sp_directory_find(pump, public_key) != NULL)
        return -EEXIST;
    if (peers->free_first == 0 && (result = chunk_add(pump)) != 0)
        return result;
    if (sp_timers_reserve(pump, peers->live + 1) != 0)
        return -ENOMEM;
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
    sp_directory_add(pump, peer);
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
        sp_directory_remove(pump, peer);
        peer->number = 0;
        peer->slot = peer->own_slot;
        pump->peers.live--;
        place_free(pump, (number & SP_PEER_PLACE_MASK) - 1);
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
