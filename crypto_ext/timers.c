/* Timers as functions of (peer, now), their deadlines in a lazy heap (timers.h). The table of events is the
 * kernel's. */
#include "timers.h"

#include <errno.h>

#include "state.h"

void sp_timers_init(struct sp_pump *pump, uint64_t seed)
{
    pump->timers.random = seed;
}

void sp_timers_close(struct sp_pump *pump)
{
    sp_heap_close(&pump->timers.heap);
}

int sp_timers_reserve(struct sp_pump *pump, uint32_t peers)
{
    return sp_heap_reserve(&pump->timers.heap, peers);
}

/* 0 to a third of a second (splitmix64), so that two ends do not start their handshakes together. */
static uint64_t jitter_ns(struct sp_timers *timers)
{
    uint64_t z = timers->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % (SP_JITTER_NS + 1);
}

static uint64_t nearest(const struct sp_peer *peer)
{
    /* 0 is idle: minus one it is the greatest number there is. */
    uint64_t a = peer->keepalive_at_ns - 1, b = peer->unanswered_at_ns - 1, c = peer->persistent_at_ns - 1;
    uint64_t least = a < b ? a : b;

    return (least < c ? least : c) + 1;
}

/* A deadline of the peer was set. Only one that comes before what the heap knows moves anything. */
static void armed(struct sp_pump *pump, struct sp_peer *peer, uint64_t at_ns)
{
    if (peer->heap_place == 0 || at_ns < peer->heap_ns)
        sp_heap_earlier(&pump->timers.heap, peer, at_ns);
}

/* ---- events ----------------------------------------------------------------------------------------- */

static void any_authenticated_packet_traversal(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns)
{
    if (peer->persistent_seconds == 0)
        return;
    peer->persistent_at_ns = now_ns + peer->persistent_seconds * SP_SECOND_NS;
    armed(pump, peer, peer->persistent_at_ns);
}

void sp_timers_data_sent(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns)
{
    if (peer->unanswered_at_ns != 0)
        return;
    peer->unanswered_at_ns = now_ns + SP_UNANSWERED_NS + jitter_ns(&pump->timers);
    armed(pump, peer, peer->unanswered_at_ns);
}

void sp_timers_data_received(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns)
{
    if (peer->keepalive_at_ns != 0) {
        peer->need_another = 1;
        return;
    }
    peer->keepalive_at_ns = now_ns + SP_KEEPALIVE_TIMEOUT_NS;
    armed(pump, peer, peer->keepalive_at_ns);
}

void sp_timers_any_authenticated_packet_sent(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns)
{
    peer->keepalive_at_ns = 0;
    any_authenticated_packet_traversal(pump, peer, now_ns);
}

void sp_timers_any_authenticated_packet_received(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns)
{
    peer->unanswered_at_ns = 0;
    any_authenticated_packet_traversal(pump, peer, now_ns);
}

void sp_timers_keepalive_set(struct sp_pump *pump, struct sp_peer *peer, uint16_t seconds, uint64_t now_ns)
{
    peer->persistent_seconds = seconds;
    peer->persistent_at_ns = 0;
    if (seconds == 0)
        return;
    any_authenticated_packet_traversal(pump, peer, now_ns);
    sp_outward_keepalive(pump, peer, now_ns);
}

void sp_timers_handshake_given_up(struct sp_peer *peer)
{
    peer->keepalive_at_ns = 0;
    peer->need_another = 0;
    peer->key_asked_ns = 0;
}

void sp_timers_stop(struct sp_pump *pump, struct sp_peer *peer)
{
    peer->keepalive_at_ns = 0;
    peer->unanswered_at_ns = 0;
    peer->persistent_at_ns = 0;
    if (peer->heap_place != 0)
        sp_heap_remove(&pump->timers.heap, peer);
}

/* ---- deadlines -------------------------------------------------------------------------------------- */

static int due(uint64_t *at_ns, uint64_t now_ns)
{
    if (*at_ns == 0 || *at_ns > now_ns)
        return 0;
    *at_ns = 0;
    return 1;
}

static int fire(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns)
{
    int fired = 0;

    if (due(&peer->unanswered_at_ns, now_ns)) {
        fired++;
        sp_peer_forget(peer); /* perhaps it is our old address that no answer reaches */
        peer->key_asked_ns = 0;
        sp_peer_want_key(pump, peer, now_ns);
    }
    if (due(&peer->keepalive_at_ns, now_ns)) {
        fired++;
        sp_outward_keepalive(pump, peer, now_ns);
        if (peer->need_another) {
            peer->need_another = 0;
            sp_timers_data_received(pump, peer, now_ns);
        }
    }
    if (due(&peer->persistent_at_ns, now_ns)) {
        fired++;
        /* Again in any case: without a key nothing is sent now, and the handshake may be given up. A peer
         * without an endpoint can be sent nothing at all; finding one wakes it. */
        if (peer->endpoint.family != 0)
            any_authenticated_packet_traversal(pump, peer, now_ns);
        sp_outward_keepalive(pump, peer, now_ns);
    }
    return fired;
}

/* Puts the first peer of the heap in its true place; 0 when it is there already. */
static int correct_first(struct sp_heap *heap)
{
    struct sp_peer *peer = sp_heap_first(heap);
    uint64_t at_ns = nearest(peer);

    if (at_ns == peer->heap_ns)
        return 0;
    if (at_ns == 0)
        sp_heap_remove(heap, peer);
    else
        sp_heap_later(heap, peer, at_ns);
    return 1;
}

int sp_timers_run(struct sp_pump *pump, uint64_t now_ns)
{
    struct sp_heap *heap = &pump->timers.heap;
    struct sp_peer *first;
    int fired = 0;

    while ((first = sp_heap_first(heap)) != NULL && first->heap_ns <= now_ns)
        if (!correct_first(heap))
            fired += fire(pump, first, now_ns);
    return fired;
}

uint64_t sp_timers_next(struct sp_pump *pump)
{
    struct sp_heap *heap = &pump->timers.heap;

    while (sp_heap_first(heap) != NULL && correct_first(heap))
        ;
    return sp_heap_first(heap) != NULL ? sp_heap_first(heap)->heap_ns : 0;
}

uint64_t sp_next_deadline(struct sp_pump *pump)
{
    uint64_t at_ns;

    sp_pump_take(pump);
    at_ns = sp_timers_next(pump);
    sp_pump_give(pump);
    return at_ns;
}

int sp_peer_set_keepalive(struct sp_pump *pump, uint32_t number, uint16_t seconds, uint64_t now_ns)
{
    struct sp_peer *peer;

    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL)
        sp_timers_keepalive_set(pump, peer, seconds, now_ns);
    sp_pump_give(pump);
    return peer == NULL ? -ENOENT : 0;
}
