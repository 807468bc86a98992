/* Sealing a batch with a vector engine: texts first, then the tags of what came of them. */
#include "aead_share.h"

static void encrypt(struct sp_batch *batch, struct sp_share *share)
{
    size_t tails = 0;

    for (size_t i = 0; i < share->n; i++) {
        const struct sp_aead_job *job = share->jobs[i];
        uint8_t *key = share->streams + i * SP_BLOCK_BYTES, *tail = batch->tails + tails * SP_BLOCK_BYTES;

        tails += sp_text_run(&batch->runs[i], job, job->len, 0, tail, &batch->xors[tails]);
        batch->runs[i].head = key;
        if (job->placed > 0)
            batch->runs[i].placed = 1 + job->placed / SP_BLOCK_BYTES;
        share->macs[i] = (struct sp_mac){.key = key, .text = job->out, .tag = job->out + job->len, .len = job->len};
    }
    sp_use(&share->streams_used, share->n * SP_BLOCK_BYTES);
    sp_use(&batch->tails_used, tails * SP_BLOCK_BYTES);
    sp_share_chacha(batch, share);
    batch->engine->xor(batch->xors, tails);
}

static void seal_ordered(struct sp_batch *batch, struct sp_aead_job *const *jobs, size_t n)
{
    struct sp_share *share = batch->shares;

    batch->queue = (struct sp_queue){.next = batch->macs, .late = batch->macs, .end = batch->macs};
    for (int turn = 0; n > 0; n -= share->n, jobs += share->n, turn ^= 1) {
        share = &batch->shares[turn];
        sp_share_take(batch, share, jobs, n);
        encrypt(batch, share);
        batch->engine->mac(&batch->queue); /* what is left of the tags of the share before */
        sp_all_there(batch);
        if (!batch->engine->beside)
            batch->engine->mac(&batch->queue);
    }
    batch->engine->mac(&batch->queue);
}

void sp_batch_seal(struct sp_batch *batch, struct sp_aead_job *jobs, size_t n)
{
    for (size_t done = 0; done < n; done += SP_ORDER_JOBS)
        seal_ordered(batch, batch->ordered, sp_order(batch->ordered, jobs + done, n - done, 0));
    sp_batch_wipe(batch);
}
