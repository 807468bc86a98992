/* What Poly1305 can do beside the rounds of ChaCha20, before each group of lanes.
 *
 * The queue is worked off from its front. A packet of an earlier call is all there. One of the call in progress
 * is there as far as its run has been written: first its key, which is block 0, then its text; where
 * the run has no text (a packet to be opened), the text was there from the beginning and only the key is waited
 * for. Packets of earlier calls with too few blocks left for a double round are finished on the way. */
#include "engine.h"

#if defined(__x86_64__)

#include "poly_beside.h"
#include "poly_mulx.h"

/* How many whole blocks the first packet of the queue can absorb now; 0 also when its key is not there yet. */
static uint32_t ready(const struct sp_queue *queue, const struct sp_run *runs, const struct sp_cursor *at)
{
    const struct sp_run *run;
    uint32_t all = queue->begun ? queue->poly.blocks : queue->next->len / SP_POLY_BYTES, done, written, absorbed;

    if (queue->next < queue->late)
        return all;
    run = runs + (queue->next - queue->late);
    if (run > at->run || (run == at->run && at->done == 0))
        return 0;
    if (!run->in)
        return all;
    done = run < at->run ? run->blocks - (run->tail != NULL) : at->done;
    written = (done - 1) * (SP_BLOCK_BYTES / SP_POLY_BYTES); /* block 0 has no text */
    absorbed = queue->next->len / SP_POLY_BYTES - all;
    return written - absorbed < all ? written - absorbed : all;
}

/* With the target of its caller, as sp_poly_finish. */
__attribute__((target("avx2"))) uint32_t sp_poly_beside(struct sp_queue *queue, const struct sp_run *runs,
                                                        const struct sp_cursor *at)
{
    while (queue->next < queue->end) {
        uint32_t full = ready(queue, runs, at) / SP_BESIDE_BLOCKS;

        if (full > 0 || queue->next < queue->late) {
            if (!queue->begun)
                sp_poly_begin(&queue->poly, queue->next);
            queue->begun = 1;
        }
        if (full > 0)
            return full < SP_DOUBLE_ROUNDS ? full : SP_DOUBLE_ROUNDS;
        if (queue->next >= queue->late)
            return 0;
        sp_poly_finish(&queue->poly, queue->next);
        queue->begun = 0;
        queue->next++;
    }
    return 0;
}

#endif
