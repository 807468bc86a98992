/* Finding, by its endpoint, a peer whose key we lost (lost.h). */
#include "lost.h"

#include <string.h>

#include "state.h"

static struct sp_link *bucket_of(struct sp_lost *lost, const struct sp_endpoint *endpoint)
{
    uint32_t words[sizeof(*endpoint) / sizeof(uint32_t)];
    uint32_t hash = lost->secret;

    memcpy(words, endpoint, sizeof(words));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        hash = (hash ^ words[i]) * UINT32_C(0x9e3779b1);
        hash ^= hash >> 15;
    }
    return &lost->buckets[hash & (SP_LOST_BUCKETS - 1)];
}

void sp_lost_init(struct sp_pump *pump, uint64_t seed)
{
    for (size_t i = 0; i < SP_LOST_BUCKETS; i++)
        sp_list_init(&pump->lost.buckets[i]);
    pump->lost.secret = (uint32_t)(seed ^ seed >> 32);
}

void sp_lost_add(struct sp_pump *pump, struct sp_peer *peer)
{
    sp_list_append(bucket_of(&pump->lost, &peer->endpoint), &peer->lost);
    pump->lost.members++;
}

void sp_lost_remove(struct sp_pump *pump, struct sp_peer *peer)
{
    if (!sp_list_empty(&peer->lost)) {
        sp_list_remove(&peer->lost);
        pump->lost.members--;
    }
}

void sp_lost_heard(struct sp_pump *pump, const struct sp_endpoint *from, uint64_t now_ns)
{
    const struct sp_link *bucket;

    if (pump->lost.members == 0)
        return;
    bucket = bucket_of(&pump->lost, from);
    for (struct sp_link *at = bucket->next; at != bucket; at = at->next) {
        struct sp_peer *peer = SP_CONTAINER(at, struct sp_peer, lost);
        if (memcmp(&peer->endpoint, from, sizeof(*from)) == 0)
            sp_peer_want_key(pump, peer, now_ns);
    }
}
