/* The memory in which a vector engine works off a batch: made, cut into shares, wiped (aead_share.h). */
#include "aead_share.h"

#include <stdlib.h>

struct sp_batch *sp_batch_new(const struct sp_engine *engine)
{
    void *memory = NULL;
    struct sp_batch *batch;

    if (posix_memalign(&memory, _Alignof(struct sp_batch), sizeof *batch) != 0)
        return NULL;
    batch = memory;
    memset(batch, 0, sizeof *batch);
    batch->engine = engine;
    return batch;
}

void sp_batch_free(struct sp_batch *batch) { free(batch); }

static void wipe(void *memory, size_t *used)
{
    sp_wipe(memory, *used);
    *used = 0;
}

void sp_batch_wipe(struct sp_batch *batch)
{
    for (int i = 0; i < 2; i++) {
        wipe(batch->shares[i].streams, &batch->shares[i].streams_used);
        wipe(batch->shares[i].tags, &batch->shares[i].tags_used);
    }
    wipe(batch->tails, &batch->tails_used);
    wipe(batch->group.rows, &batch->group.used);
    batch->group.key = NULL;
    sp_wipe(batch->group.nowhere, sizeof batch->group.nowhere);
    sp_wipe(&batch->queue, sizeof batch->queue);
}

void sp_share_take(struct sp_batch *batch, struct sp_share *share, struct sp_aead_job *const *jobs, size_t n)
{
    share->jobs = jobs;
    share->n = sp_together(jobs, n, batch->engine->step, batch->engine->bytes);
    share->macs = batch->macs + (jobs - batch->ordered);
}

void sp_share_chacha(struct sp_batch *batch, const struct sp_share *share)
{
    batch->queue.late = share->macs;
    batch->queue.end = share->macs + share->n;
    batch->engine->chacha(&batch->group, batch->runs, share->n, &batch->queue);
}
