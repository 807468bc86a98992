/* The peers: fixed small records in an arena that never moves, found by number (and by public key: directory.h). */
#ifndef SALLYPORT_PEERS_H
#define SALLYPORT_PEERS_H

#include "api.h"
#include "list.h"

struct sp_keypair;
struct sp_purse;

/* The address of ours at which the peer last reached us: answers leave from it. */
struct sp_source {
    uint32_t family; /* 4, 6 or 0: none */
    uint32_t ifindex;
    uint8_t addr[16];
};

struct sp_peer {
    uint32_t number; /* generation and place; 0 while free */
    uint32_t generation;
    uint32_t chain; /* place + 1 of the next peer in the key hash, or of the next free one */
    uint16_t persistent_seconds;
    uint8_t need_another; /* data came while a passive keepalive was already due */
    uint8_t reserved;
    uint8_t public_key[SP_KEY_BYTES];

    struct sp_endpoint endpoint;
    struct sp_source source;
    uint64_t gso_off_until_ns; /* UDP segmentation refused on the way to it; UINT64_MAX: for good */

    struct sp_keypair *current;
    struct sp_keypair *previous;
    struct sp_keypair *next;
    uint64_t key_asked_ns; /* when Python was last asked for a key, 0: not since the keys changed */

    /* Timers; 0: idle. heap_ns <= the nearest of them while heap_place > 0. */
    uint64_t keepalive_at_ns;
    uint64_t unanswered_at_ns;
    uint64_t persistent_at_ns;
    uint64_t heap_ns;
    uint32_t heap_place; /* place + 1 */

    uint32_t staged_first; /* block + 1 of the oldest and newest staged packet */
    uint32_t staged_last;
    uint32_t staged;

    uint32_t pending; /* enum sp_pending_bit */
    struct sp_link dirty;
    struct sp_link lost; /* in lost.c's table: an endpoint, but no key */
    struct sp_link purse_link;
    struct sp_purse *purse;

    uint64_t *slot; /* the caller's, or the one below */
    uint64_t own_slot[SP_SLOT_WORDS];
};

_Static_assert(sizeof(struct sp_peer) <= 768, "memory per configured peer");

enum { SP_PEERS_PER_CHUNK = 64, SP_PEER_PLACE_BITS = 20, SP_PEER_PLACE_MASK = (1 << SP_PEER_PLACE_BITS) - 1 };

struct sp_peers {
    struct sp_peer **chunks;
    uint32_t places;   /* in all chunks */
    uint32_t live;
    uint32_t free_first; /* place + 1; first in, first out, so that numbers rest before they return */
    uint32_t free_last;
};

int sp_peers_init(struct sp_pump *pump);
void sp_peers_close(struct sp_pump *pump);
struct sp_peer *sp_peers_find(struct sp_pump *pump, uint32_t number);
/* The n-th place, live (number > 0) or not; n < places. */
struct sp_peer *sp_peers_at(struct sp_pump *pump, uint32_t place);

/* An authentic message came from there, to this address of ours: the peer roams. */
void sp_peer_reached(struct sp_peer *peer, const struct sp_endpoint *from, const struct sp_source *local,
                     uint64_t now_ns);
void sp_peer_forget(struct sp_peer *peer); /* the cached source */
/* Asks Python for a key, not more often than an initiation may be sent. */
void sp_peer_want_key(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns);

/* A slot word is read by others without a lock, so it is stored whole. Only we write it. */
static inline void sp_slot_put(struct sp_peer *peer, enum sp_slot_word word, uint64_t value)
{
    __atomic_store_n(&peer->slot[word], value, __ATOMIC_RELAXED);
}

static inline void sp_slot_add(struct sp_peer *peer, enum sp_slot_word word, uint64_t value)
{
    sp_slot_put(peer, word, peer->slot[word] + value);
}

#endif
