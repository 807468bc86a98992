/* Opening a batch with a vector engine: tags first, and only what they verify is written.
 *
 * The first row of a share is block 0 of each packet, and as that alone would leave most lanes empty, also the
 * key stream of the first blocks of text, into scratch: so many that the row has 32 blocks. Then the tags; and only the
 * packets whose tag is right enter the second row and are written. */
#include "aead_share.h"
#include "blake2s.h"

/* The keys for the tags of a share, and the key stream for the beginning of its texts. */
static void look_ahead(struct sp_batch *batch, struct sp_share *share)
{
    share->ahead = SP_MOST_LANES / (uint32_t)share->n;
    for (size_t i = 0; i < share->n; i++) {
        const struct sp_aead_job *job = share->jobs[i];
        uint32_t len = job->len - SP_TAG_BYTES, blocks = sp_blocks_of(len);
        uint8_t *stream = share->streams + i * share->ahead * SP_BLOCK_BYTES;

        batch->runs[i] = (struct sp_run){
            .key = job->key,
            .counter = job->counter,
            .blocks = blocks < share->ahead ? blocks : share->ahead,
            .out = (uintptr_t)stream,
        };
        share->macs[i] =
            (struct sp_mac){.key = stream, .text = job->in, .tag = share->tags + i * SP_TAG_BYTES, .len = len};
    }
    sp_use(&share->streams_used, share->n * share->ahead * SP_BLOCK_BYTES);
    sp_use(&share->tags_used, share->n * SP_TAG_BYTES);
    sp_share_chacha(batch, share);
}

/* Finishes the tags of a share and sets ok of its jobs. */
static void verify(struct sp_batch *batch, const struct sp_share *share)
{
    batch->engine->mac(&batch->queue);
    for (size_t i = 0; i < share->n; i++) {
        const struct sp_mac *mac = &share->macs[i];
        share->jobs[i]->ok = (uint32_t)sp_equal(mac->tag, mac->text + mac->len, SP_TAG_BYTES);
    }
}

static void decrypt_verified(struct sp_batch *batch, const struct sp_share *share)
{
    uint32_t ready = (share->ahead - 1) * SP_BLOCK_BYTES; /* bytes for which there is key stream already */
    size_t runs = 0, xors = 0, tails = 0;

    for (size_t i = 0; i < share->n; i++) {
        const struct sp_aead_job *job = share->jobs[i];
        uint32_t len = job->len - SP_TAG_BYTES;

        if (!job->ok)
            continue;
        batch->xors[xors++] = (struct sp_xor){
            .out = job->out,
            .in = job->in,
            .stream = share->streams + (i * share->ahead + 1) * SP_BLOCK_BYTES,
            .len = len < ready ? len : ready,
        };
        if (len > ready) {
            uint8_t *tail = batch->tails + tails * SP_BLOCK_BYTES;
            size_t has_tail = sp_text_run(&batch->runs[runs++], job, len, share->ahead, tail, &batch->xors[xors]);
            xors += has_tail;
            tails += has_tail;
        }
    }
    sp_use(&batch->tails_used, tails * SP_BLOCK_BYTES);
    batch->engine->chacha(&batch->group, batch->runs, runs, &batch->queue);
    batch->engine->xor(batch->xors, xors);
}

static void open_ordered(struct sp_batch *batch, struct sp_aead_job *const *jobs, size_t n)
{
    struct sp_share *share = batch->shares, *next = batch->shares + 1, *swap;
    int beside = batch->engine->beside;

    if (n == 0)
        return;
    batch->queue = (struct sp_queue){.next = batch->macs, .late = batch->macs, .end = batch->macs};
    sp_share_take(batch, share, jobs, n);
    look_ahead(batch, share);
    for (; n > 0; swap = share, share = next, next = swap) {
        jobs += share->n;
        n -= share->n;
        if (n > 0 && beside) { /* the tags of this share beside the rows of the next one */
            sp_share_take(batch, next, jobs, n);
            look_ahead(batch, next);
        } else {
            sp_all_there(batch);
        }
        verify(batch, share);
        sp_all_there(batch);
        decrypt_verified(batch, share);
        if (n > 0 && !beside) {
            sp_share_take(batch, next, jobs, n);
            look_ahead(batch, next);
        }
    }
}

void sp_batch_open(struct sp_batch *batch, struct sp_aead_job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        jobs[i].ok = 0;
    for (size_t done = 0; done < n; done += SP_ORDER_JOBS)
        open_ordered(batch, batch->ordered, sp_order(batch->ordered, jobs + done, n - done, SP_TAG_BYTES));
    sp_batch_wipe(batch);
}
