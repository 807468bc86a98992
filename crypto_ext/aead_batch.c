/* Sealing and opening whole batches with a vector engine.
 *
 * A few packets at a time, a share of the batch, become one row of ChaCha20 blocks: block 0 of each, whose
 * first half is its Poly1305 key, and the blocks of its text. Results go where they belong at once, except that
 * block 0 goes to a scratch slot of its packet, and so does the key stream of a text's last block when that
 * is not whole.
 *
 * Opening verifies first. Its first row is block 0 of each packet, and as that alone would leave most lanes
 * empty, also the key stream of the first blocks of text, into scratch: so many that the first row has 32 blocks. Then the tags; and only the packets
 * whose tag is right enter the second row and are written.
 *
 * An engine that can compute tags beside ChaCha20 is given the tags of one share together with the rows of the next
 * one, and its own as far as they can be; hence there are two shares.
 *
 * Scratch belongs to one caller at a time. What was used of it is wiped before each batch returns. */
#include "aead_batch.h"

#include <stdlib.h>

#include "aead_order.h"
#include "blake2s.h"

struct share {
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
    struct share shares[2];
    const struct sp_engine *engine;
    struct sp_queue queue;
    struct sp_run runs[SP_TOGETHER_MOST];
    struct sp_xor xors[2 * SP_TOGETHER_MOST];
    struct sp_mac macs[SP_ORDER_JOBS]; /* in the order of the jobs */
    struct sp_aead_job *ordered[SP_ORDER_JOBS];
};

_Static_assert((int)SP_TOGETHER_MOST <= (int)SP_MOST_LANES, "each packet has a slot for its block 0");

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

static void wipe_all(struct sp_batch *batch)
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

static void use(size_t *used, size_t bytes)
{
    if (*used < bytes)
        *used = bytes;
}

/* The next packets of a list of n. */
static void take(struct sp_batch *batch, struct share *share, struct sp_aead_job *const *jobs, size_t n)
{
    share->jobs = jobs;
    share->n = sp_together(jobs, n, batch->engine->step, batch->engine->bytes);
    share->macs = batch->macs + (jobs - batch->ordered);
}

/* Works off the runs of a share, whose tags join the queue behind those of the share before. */
static void chacha(struct sp_batch *batch, const struct share *share)
{
    batch->queue.late = share->macs;
    batch->queue.end = share->macs + share->n;
    batch->engine->chacha(&batch->group, batch->runs, share->n, &batch->queue);
}

/* Of a text of that length, block 0 included. */
static uint32_t blocks_of(uint32_t len) { return 1 + (len + SP_BLOCK_BYTES - 1) / SP_BLOCK_BYTES; }

/* The blocks of a job's text, of which there are len bytes, from that block on; the text begins with block 1. Where
 * the last one is not whole, tail takes its key stream, and *xor says what to do with it. Returns the number
 * of tails used. */
static size_t text_run(struct sp_run *run, const struct sp_aead_job *job, uint32_t len, uint32_t block, uint8_t *tail,
                       struct sp_xor *xor)
{
    uint32_t rest = len % SP_BLOCK_BYTES;

    *run = (struct sp_run){
        .key = job->key,
        .counter = job->counter,
        .block = block,
        .blocks = blocks_of(len) - block,
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

static void encrypt(struct sp_batch *batch, struct share *share)
{
    size_t tails = 0;

    for (size_t i = 0; i < share->n; i++) {
        const struct sp_aead_job *job = share->jobs[i];
        uint8_t *key = share->streams + i * SP_BLOCK_BYTES, *tail = batch->tails + tails * SP_BLOCK_BYTES;

        tails += text_run(&batch->runs[i], job, job->len, 0, tail, &batch->xors[tails]);
        batch->runs[i].head = key;
        batch->runs[i].placed = 1 + job->placed / SP_BLOCK_BYTES;
        share->macs[i] = (struct sp_mac){.key = key, .text = job->out, .tag = job->out + job->len, .len = job->len};
    }
    use(&share->streams_used, share->n * SP_BLOCK_BYTES);
    use(&batch->tails_used, tails * SP_BLOCK_BYTES);
    chacha(batch, share);
    batch->engine->xor(batch->xors, tails);
}

/* The keys for the tags of a share, and the key stream for the beginning of its texts. */
static void look_ahead(struct sp_batch *batch, struct share *share)
{
    share->ahead = SP_MOST_LANES / (uint32_t)share->n;
    for (size_t i = 0; i < share->n; i++) {
        const struct sp_aead_job *job = share->jobs[i];
        uint32_t len = job->len - SP_TAG_BYTES, blocks = blocks_of(len);
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
    use(&share->streams_used, share->n * share->ahead * SP_BLOCK_BYTES);
    use(&share->tags_used, share->n * SP_TAG_BYTES);
    chacha(batch, share);
}

/* Finishes the tags of a share and sets ok of its jobs. */
static void verify(struct sp_batch *batch, const struct share *share)
{
    batch->engine->mac(&batch->queue);
    for (size_t i = 0; i < share->n; i++) {
        const struct sp_mac *mac = &share->macs[i];
        share->jobs[i]->ok = (uint32_t)sp_equal(mac->tag, mac->text + mac->len, SP_TAG_BYTES);
    }
}

static void decrypt_verified(struct sp_batch *batch, const struct share *share)
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
            size_t has_tail = text_run(&batch->runs[runs++], job, len, share->ahead, tail, &batch->xors[xors]);
            xors += has_tail;
            tails += has_tail;
        }
    }
    use(&batch->tails_used, tails * SP_BLOCK_BYTES);
    batch->engine->chacha(&batch->group, batch->runs, runs, &batch->queue);
    batch->engine->xor(batch->xors, xors);
}

/* All that is in the queue is there now, text and key. */
static void all_there(struct sp_batch *batch) { batch->queue.late = batch->queue.end; }

static void seal_ordered(struct sp_batch *batch, struct sp_aead_job *const *jobs, size_t n)
{
    struct share *share = batch->shares;

    batch->queue = (struct sp_queue){.next = batch->macs, .late = batch->macs, .end = batch->macs};
    for (int turn = 0; n > 0; n -= share->n, jobs += share->n, turn ^= 1) {
        share = &batch->shares[turn];
        take(batch, share, jobs, n);
        encrypt(batch, share);
        batch->engine->mac(&batch->queue); /* what is left of the tags of the share before */
        all_there(batch);
        if (!batch->engine->beside)
            batch->engine->mac(&batch->queue);
    }
    batch->engine->mac(&batch->queue);
}

static void open_ordered(struct sp_batch *batch, struct sp_aead_job *const *jobs, size_t n)
{
    struct share *share = batch->shares, *next = batch->shares + 1, *swap;
    int beside = batch->engine->beside;

    if (n == 0)
        return;
    batch->queue = (struct sp_queue){.next = batch->macs, .late = batch->macs, .end = batch->macs};
    take(batch, share, jobs, n);
    look_ahead(batch, share);
    for (; n > 0; swap = share, share = next, next = swap) {
        jobs += share->n;
        n -= share->n;
        if (n > 0 && beside) { /* the tags of this share beside the rows of the next one */
            take(batch, next, jobs, n);
            look_ahead(batch, next);
        } else {
            all_there(batch);
        }
        verify(batch, share);
        all_there(batch);
        decrypt_verified(batch, share);
        if (n > 0 && !beside) {
            take(batch, next, jobs, n);
            look_ahead(batch, next);
        }
    }
}

void sp_batch_seal(struct sp_batch *batch, struct sp_aead_job *jobs, size_t n)
{
    for (size_t done = 0; done < n; done += SP_ORDER_JOBS)
        seal_ordered(batch, batch->ordered, sp_order(batch->ordered, jobs + done, n - done, 0));
    wipe_all(batch);
}

void sp_batch_open(struct sp_batch *batch, struct sp_aead_job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        jobs[i].ok = 0;
    for (size_t done = 0; done < n; done += SP_ORDER_JOBS)
        open_ordered(batch, batch->ordered, sp_order(batch->ordered, jobs + done, n - done, SP_TAG_BYTES));
    wipe_all(batch);
}
