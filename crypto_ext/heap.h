/* A binary heap of peers, the one with the nearest deadline first.
 *
 * Where a peer stands is kept in it (heap_place, heap_ns), so that it is moved without being searched for. What the
 * deadline means, and when it is put right, is the caller's affair (timers.h). */
#ifndef SALLYPORT_HEAP_H
#define SALLYPORT_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct sp_peer;

struct sp_heap {
    struct sp_peer **peers;
    uint32_t count;
    uint32_t room;
};

void sp_heap_close(struct sp_heap *heap);
/* So that putting in that many peers never allocates. 0 or a negative errno. */
int sp_heap_reserve(struct sp_heap *heap, uint32_t peers);
/* Puts a peer in, or moves one that is in to an earlier deadline. */
void sp_heap_earlier(struct sp_heap *heap, struct sp_peer *peer, uint64_t at_ns);
/* Moves a peer that is in to a later deadline. */
void sp_heap_later(struct sp_heap *heap, struct sp_peer *peer, uint64_t at_ns);
void sp_heap_remove(struct sp_heap *heap, struct sp_peer *peer); /* which is in */

/* NULL: nobody is in. */
static inline struct sp_peer *sp_heap_first(const struct sp_heap *heap)
{
    return heap->count > 0 ? heap->peers[0] : NULL;
}

#endif
