/* Where peers are: endpoints, roaming, and the addresses of ours at which they reached us. */
#include <errno.h>
#include <string.h>

#include "state.h"

/* Another address is another way through the network, which may well allow UDP segmentation. */
static void move(struct sp_peer *peer, const struct sp_endpoint *to)
{
    if (peer->endpoint.family != to->family || memcmp(peer->endpoint.addr, to->addr, sizeof(to->addr)) != 0)
        peer->gso_off_until_ns = 0;
    peer->endpoint = *to;
}

void sp_peer_reached(struct sp_peer *peer, const struct sp_endpoint *from, const struct sp_source *local,
                     uint64_t now_ns)
{
    if (memcmp(&peer->endpoint, from, sizeof(*from)) != 0) {
        uint64_t words[3];
        _Static_assert(sizeof(words) == sizeof(*from), "an endpoint fills three words of a slot");
        move(peer, from);
        memcpy(words, from, sizeof(words));
        sp_slot_put(peer, SP_SLOT_ENDPOINT, words[0]);
        sp_slot_put(peer, SP_SLOT_ENDPOINT + 1, words[1]);
        sp_slot_put(peer, SP_SLOT_ENDPOINT + 2, words[2]);
    }
    peer->source = *local;
    sp_slot_put(peer, SP_SLOT_SEEN_NS, now_ns);
}

void sp_peer_forget(struct sp_peer *peer)
{
    peer->source.family = 0;
}

int sp_peer_set_endpoint(struct sp_pump *pump, uint32_t number, const struct sp_endpoint *to)
{
    struct sp_endpoint clean = {.family = to->family, .port = to->port, .scope_id = to->scope_id};
    struct sp_peer *peer;

    if (to->family == 0)
        memset(&clean, 0, sizeof(clean));
    else if (to->family == 4)
        memcpy(clean.addr, to->addr, 4);
    else if (to->family == 6)
        memcpy(clean.addr, to->addr, 16);
    else
        return -EINVAL;
    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL) {
        int first = peer->endpoint.family == 0 && clean.family != 0;
        sp_lost_remove(pump, peer);
        move(peer, &clean);
        sp_peer_forget(peer);
        if (clean.family != 0 && peer->current == NULL && peer->previous == NULL && peer->next == NULL)
            sp_lost_add(pump, peer);
        /* Whoever has a persistent keepalive has been waiting for a place to send it to. */
        if (first && peer->persistent_seconds != 0 && peer->current == NULL)
            sp_upward_mark(pump, peer, SP_PENDING_KEY);
    }
    sp_pump_give(pump);
    return peer == NULL ? -ENOENT : 0;
}

int sp_peer_forget_source(struct sp_pump *pump, uint32_t number)
{
    struct sp_peer *peer = NULL;

    sp_pump_take(pump);
    if (number == 0) {
        for (uint32_t i = 0; i < pump->peers.places; i++)
            sp_peer_forget(sp_peers_at(pump, i));
    } else if ((peer = sp_peers_find(pump, number)) != NULL) {
        sp_peer_forget(peer);
    }
    sp_pump_give(pump);
    return number != 0 && peer == NULL ? -ENOENT : 0;
}
