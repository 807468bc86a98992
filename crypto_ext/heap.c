/* A binary heap of peers, the one with the nearest deadline first (heap.h). */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>

#include "peers.h"

int sp_heap_reserve(struct sp_heap *heap, uint32_t peers)
{
    struct sp_peer **grown;

    if (peers <= heap->room)
        return 0;
    grown = realloc(heap->peers, (size_t)peers * 2 * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    heap->peers = grown;
    heap->room = peers * 2;
    return 0;
}

void sp_heap_close(struct sp_heap *heap)
{
    free(heap->peers);
}

static void set(struct sp_heap *heap, uint32_t place, struct sp_peer *peer)
{
    heap->peers[place] = peer;
    peer->heap_place = place + 1;
}

static void up(struct sp_heap *heap, uint32_t place, struct sp_peer *peer)
{
    while (place > 0 && heap->peers[(place - 1) / 2]->heap_ns > peer->heap_ns) {
        set(heap, place, heap->peers[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    set(heap, place, peer);
}

static void down(struct sp_heap *heap, uint32_t place, struct sp_peer *peer)
{
    for (;;) {
        uint32_t child = place * 2 + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->peers[child + 1]->heap_ns < heap->peers[child]->heap_ns)
            child++;
        if (heap->peers[child]->heap_ns >= peer->heap_ns)
            break;
        set(heap, place, heap->peers[child]);
        place = child;
    }
    set(heap, place, peer);
}

void sp_heap_remove(struct sp_heap *heap, struct sp_peer *peer)
{
    uint32_t place = peer->heap_place - 1;
    struct sp_peer *last = heap->peers[--heap->count];

    peer->heap_place = 0;
    if (last == peer)
        return;
    if (last->heap_ns < peer->heap_ns)
        up(heap, place, last);
    else
        down(heap, place, last);
}

void sp_heap_earlier(struct sp_heap *heap, struct sp_peer *peer, uint64_t at_ns)
{
    uint32_t place = peer->heap_place == 0 ? heap->count++ : peer->heap_place - 1;

    peer->heap_ns = at_ns;
    up(heap, place, peer);
}

void sp_heap_later(struct sp_heap *heap, struct sp_peer *peer, uint64_t at_ns)
{
    peer->heap_ns = at_ns;
    down(heap, peer->heap_place - 1, peer);
}
