/* A batch in the hands of a vector engine, and a share of it: what sealing and opening have in common.
 *
 * A few packets at a time, a share of the batch, become one row of ChaCha20 blocks: block 0 of each, whose first half
 * is its Poly1305 key, and the blocks of its text. Results go where they belong at once, except that block 0 goes to a
 * scratch slot of its packet, and so does the key stream of a text's last block when that is not whole.
 *
 * An engine that can compute tags beside ChaCha20 is given the tags of one share together with the rows of the next
 * one, and its own as far as they can be; hence there are two shares.
 *
 * Scratch belongs to one caller at a time. What was used of it is wiped before each batch returns. */
#ifndef SALLYPORT_AEAD_SHARE_H
#define SALLYPORT_AEAD_SHARE_H

#include "aead_batch.h"
#include "aead_order.h"

struct sp_share {
    _Alignas(64) uint8_t streams[SP_MOST_LANES * SP_BLOCK_BYTES]; /* key stream of its packets, from block 0 on */
    uint8_t tags[SP_TOGETHER_MOST * SP_TAG_BYTES];
    size_t streams_used, tags_used; /* bytes since the last wipe */
    struct sp_mac *macs;
    struct sp_aead_job *const *jobs;
    size_t n;
    uint32_t ahead; /* blocks of each packet in streams */
};

struct sp_batch {
    struct sp_group group;
    _Alignas(64) uint8_t tails[SP_TOGETHER_MOST * SP_BLOCK_BYTES]; /* key stream of last blocks */
    size_t tails_used;
    struct sp_share shares[2];
    const struct sp_engine *engine;
    struct sp_queue queue;
    struct sp_run runs[SP_TOGETHER_MOST];
    struct sp_xor xors[2 * SP_TOGETHER_MOST];
    struct sp_mac macs[SP_ORDER_JOBS]; /* in the order of the jobs */
    struct sp_aead_job *ordered[SP_ORDER_JOBS];
};

_Static_assert((int)SP_TOGETHER_MOST <= (int)SP_MOST_LANES, "each packet has a slot for its block 0");

void sp_batch_wipe(struct sp_batch *batch); /* what was used of its scratch */
/* The next packets of a list of n. */
void sp_share_take(struct sp_batch *batch, struct sp_share *share, struct sp_aead_job *const *jobs, size_t n);
/* Works off the runs of a share, whose tags join the queue behind those of the share before. */
void sp_share_chacha(struct sp_batch *batch, const struct sp_share *share);

/* All that is in the queue is there now, text and key. */
static inline void sp_all_there(struct sp_batch *batch) { batch->queue.late = batch->queue.end; }

/* So many bytes of a scratch have secrets in them, from its first on. */
static inline void sp_use(size_t *used, size_t bytes)
{
    if (*used < bytes)
        *used = bytes;
}

/* How many blocks a text of that length takes, block 0 included. */
static inline uint32_t sp_blocks_of(uint32_t len) { return 1 + (len + SP_BLOCK_BYTES - 1) / SP_BLOCK_BYTES; }

/* The blocks of a job's text, of which there are len bytes, from that block on; the text begins with block 1. Where
 * the last one is not whole, tail takes its key stream, and *xor says what to do with it. Returns the number
 * of tails used. */
static inline size_t sp_text_run(struct sp_run *run, const struct sp_aead_job *job, uint32_t len, uint32_t block,
                                 uint8_t *tail, struct sp_xor *xor)
{
    uint32_t rest = len % SP_BLOCK_BYTES;

    *run = (struct sp_run){
        .key = job->key,
        .counter = job->counter,
        .block = block,
        .blocks = sp_blocks_of(len) - block,
        .in = (uintptr_t)job->in - SP_BLOCK_BYTES,
        .out = (uintptr_t)job->out - SP_BLOCK_BYTES,
    };
    if (rest == 0)
        return 0;
    run->tail = tail;
    *xor = (struct sp_xor){
        .out = job->out + (len - rest), .in = job->in + (len - rest), .stream = tail, .len = rest};
    return 1;
}

#endif
