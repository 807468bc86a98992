/* Sealing and opening whole batches with a vector engine.
 *
 * A few packets at a time become one row of ChaCha20 blocks: block 0 of each, whose first half is its
 * Poly1305 key, and the blocks of its text. Results go where they belong at once, except that block 0 goes to
 * a scratch slot of its packet, and so does the key stream of a text's last block when that is not whole.
 *
 * Opening verifies first. Its first row is block 0 of each packet, and as that alone would leave most lanes
 * empty, also the key stream of the first blocks of text, into scratch. Then the tags; and only the packets
 * whose tag is right enter the second row and are written.
 *
 * Scratch belongs to one caller at a time. What was used of it is wiped before each batch returns. */
#include "aead_batch.h"

#include <stdlib.h>

#include "aead_order.h"
#include "blake2s.h"

struct sp_batch {
    struct sp_group group;
    _Alignas(64) uint8_t streams[SP_MOST_LANES * SP_BLOCK_BYTES];  /* key stream from block 0 on, all packets */
    _Alignas(64) uint8_t tails[SP_TOGETHER_MOST * SP_BLOCK_BYTES]; /* key stream of the last block */
    uint8_t tags[SP_TOGETHER_MOST * SP_TAG_BYTES];
    size_t streams_used, tails_used, tags_used; /* bytes since the last wipe */
    const struct sp_engine *engine;
    struct sp_run runs[SP_TOGETHER_MOST];
    struct sp_mac macs[SP_TOGETHER_MOST];
    struct sp_xor xors[2 * SP_TOGETHER_MOST];
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

static void wipe(struct sp_batch *batch)
{
    sp_wipe(batch->group.rows, batch->group.used);
    sp_wipe(batch->group.nowhere, sizeof batch->group.nowhere);
    sp_wipe(batch->streams, batch->streams_used);
    sp_wipe(batch->tails, batch->tails_used);
    sp_wipe(batch->tags, batch->tags_used);
    batch->streams_used = batch->tails_used = batch->tags_used = batch->group.used = 0;
}

static void use(size_t *used, size_t bytes)
{
    if (*used < bytes)
        *used = bytes;
}

static uint32_t blocks_of(uint32_t len) { return 1 + (len + SP_BLOCK_BYTES - 1) / SP_BLOCK_BYTES; }

/* The blocks of a job's text from that one on; block 1 is the first. */
static struct sp_run text_run(const struct sp_aead_job *job, uint32_t block, uint32_t blocks, uint8_t *tail)
{
    return (struct sp_run){
        .key = job->key,
        .counter = job->counter,
        .block = block,
        .blocks = blocks - block,
        .in = (uintptr_t)job->in - SP_BLOCK_BYTES,
        .out = (uintptr_t)job->out - SP_BLOCK_BYTES,
        .tail = tail,
    };
}

/* The bytes of the last block when it is not whole. */
static struct sp_xor tail_xor(const struct sp_aead_job *job, uint32_t len, const uint8_t *tail)
{
    uint32_t rest = len % SP_BLOCK_BYTES;
    return (struct sp_xor){.out = job->out + (len - rest), .in = job->in + (len - rest), .stream = tail, .len = rest};
}

static void seal_together(struct sp_batch *batch, struct sp_aead_job *const *jobs, size_t n)
{
    const struct sp_engine *engine = batch->engine;
    size_t tails = 0;

    for (size_t i = 0; i < n; i++) {
        const struct sp_aead_job *job = jobs[i];
        uint8_t *key = batch->streams + i * SP_BLOCK_BYTES, *tail = NULL;

        if (job->len % SP_BLOCK_BYTES != 0) {
            tail = batch->tails + tails * SP_BLOCK_BYTES;
            batch->xors[tails++] = tail_xor(job, job->len, tail);
        }
        batch->runs[i] = text_run(job, 0, blocks_of(job->len), tail);
        batch->runs[i].head = key;
        batch->macs[i] = (struct sp_mac){.key = key, .text = job->out, .tag = job->out + job->len, .len = job->len};
    }
    use(&batch->streams_used, n * SP_BLOCK_BYTES);
    use(&batch->tails_used, tails * SP_BLOCK_BYTES);
    engine->chacha(&batch->group, batch->runs, n);
    engine->xor(batch->xors, tails);
    engine->mac(batch->macs, n);
}

/* Sets ok of each job: computes its tag, and keeps the first `ahead` blocks of its key stream. */
static void verify_together(struct sp_batch *batch, struct sp_aead_job *const *jobs, size_t n, uint32_t ahead)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t len = jobs[i]->len - SP_TAG_BYTES, blocks = blocks_of(len);
        uint8_t *stream = batch->streams + i * ahead * SP_BLOCK_BYTES;

        batch->runs[i] = (struct sp_run){
            .key = jobs[i]->key,
            .counter = jobs[i]->counter,
            .blocks = blocks < ahead ? blocks : ahead,
            .out = (uintptr_t)stream,
        };
        batch->macs[i] = (struct sp_mac){
            .key = stream, .text = jobs[i]->in, .tag = batch->tags + i * SP_TAG_BYTES, .len = len};
    }
    use(&batch->streams_used, n * ahead * SP_BLOCK_BYTES);
    use(&batch->tags_used, n * SP_TAG_BYTES);
    batch->engine->chacha(&batch->group, batch->runs, n);
    batch->engine->mac(batch->macs, n);
    for (size_t i = 0; i < n; i++)
        jobs[i]->ok = (uint32_t)sp_equal(batch->macs[i].tag, jobs[i]->in + batch->macs[i].len, SP_TAG_BYTES);
}

static void open_together(struct sp_batch *batch, struct sp_aead_job *const *jobs, size_t n)
{
    const struct sp_engine *engine = batch->engine;
    uint32_t ahead = engine->lanes > n ? engine->lanes / (uint32_t)n : 1;
    size_t runs = 0, xors = 0, tails = 0;

    verify_together(batch, jobs, n, ahead);
    for (size_t i = 0; i < n; i++) {
        const struct sp_aead_job *job = jobs[i];
        uint32_t len = job->len - SP_TAG_BYTES, ready = (ahead - 1) * SP_BLOCK_BYTES;

        if (!job->ok)
            continue;
        if (ready > 0 && len > 0)
            batch->xors[xors++] = (struct sp_xor){
                .out = job->out,
                .in = job->in,
                .stream = batch->streams + (i * ahead + 1) * SP_BLOCK_BYTES,
                .len = len < ready ? len : ready,
            };
        if (len > ready) {
            uint8_t *tail = NULL;
            if (len % SP_BLOCK_BYTES != 0) {
                tail = batch->tails + tails++ * SP_BLOCK_BYTES;
                batch->xors[xors++] = tail_xor(job, len, tail);
            }
            batch->runs[runs++] = text_run(job, ahead, blocks_of(len), tail);
        }
    }
    use(&batch->tails_used, tails * SP_BLOCK_BYTES);
    engine->chacha(&batch->group, batch->runs, runs);
    engine->xor(batch->xors, xors);
}

void sp_batch_seal(struct sp_batch *batch, struct sp_aead_job *jobs, size_t n)
{
    for (size_t done = 0; done < n; done += SP_ORDER_JOBS) {
        struct sp_aead_job **next = batch->ordered;
        size_t left = sp_order(next, jobs + done, n - done, 0);

        for (size_t together; left > 0; left -= together, next += together) {
            together = sp_together(next, left);
            seal_together(batch, next, together);
        }
    }
    wipe(batch);
}

void sp_batch_open(struct sp_batch *batch, struct sp_aead_job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        jobs[i].ok = 0;
    for (size_t done = 0; done < n; done += SP_ORDER_JOBS) {
        struct sp_aead_job **next = batch->ordered;
        size_t left = sp_order(next, jobs + done, n - done, SP_TAG_BYTES);

        for (size_t together; left > 0; left -= together, next += together) {
            together = sp_together(next, left);
            open_together(batch, next, together);
        }
    }
    wipe(batch);
}
