/* The pool of staged packets (staging.h). */
#include "staging.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "state.h"

/* A packet is a chain of blocks; its first block carries the links. Block numbers are stored plus one,
 * so that 0 says none. */
struct block {
    uint32_t more;        /* next block of the same packet, or of the free list */
    uint32_t next_packet; /* first block of the packet staged after this one */
    uint32_t len;         /* of the whole packet */
    uint8_t bytes[SP_STAGING_BLOCK_BYTES - 12];
};

_Static_assert(sizeof(struct block) == SP_STAGING_BLOCK_BYTES, "blocks fill their places");

enum { POOL_BYTES = SP_STAGING_BLOCKS * SP_STAGING_BLOCK_BYTES, BLOCK_ROOM = SP_STAGING_BLOCK_BYTES - 12 };

int sp_staging_init(struct sp_pump *pump)
{
    void *pool = mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (pool == MAP_FAILED)
        return -ENOMEM;
    pump->staging.pool = pool;
    return 0;
}

void sp_staging_close(struct sp_pump *pump)
{
    if (pump->staging.pool != NULL)
        munmap(pump->staging.pool, POOL_BYTES);
}

static struct block *block_at(struct sp_staging *staging, uint32_t number)
{
    return (struct block *)(void *)(staging->pool + (size_t)(number - 1) * SP_STAGING_BLOCK_BYTES);
}

static uint32_t blocks_of(uint32_t len)
{
    return (len + BLOCK_ROOM - 1) / BLOCK_ROOM;
}

/* The caller has made sure that there is one. */
static uint32_t block_take(struct sp_staging *staging)
{
    uint32_t number = staging->free_first;

    if (number != 0)
        staging->free_first = block_at(staging, number)->more;
    else
        number = ++staging->touched;
    staging->used++;
    return number;
}

static void block_give(struct sp_staging *staging, uint32_t number)
{
    block_at(staging, number)->more = staging->free_first;
    staging->free_first = number;
    if (--staging->used > 0)
        return;
    /* All free: begin again at the front, and give back the memory of a great crowd. */
    if (staging->touched > SP_STAGED_PER_PEER)
        madvise(staging->pool, POOL_BYTES, MADV_DONTNEED);
    staging->touched = 0;
    staging->free_first = 0;
}

void sp_stage(struct sp_pump *pump, struct sp_peer *peer, const uint8_t *packet, uint32_t len)
{
    struct sp_staging *staging = &pump->staging;
    uint32_t first = 0;

    if (peer->staged == SP_STAGED_PER_PEER) {
        sp_unstage(pump, peer, NULL);
        sp_drop(pump, SP_DROP_STAGED_FULL, 1);
    }
    if (blocks_of(len) > SP_STAGING_BLOCKS - staging->used) {
        sp_drop(pump, SP_DROP_STAGED_FULL, 1);
        return;
    }
    /* From the end, so that each block knows the one that follows it. */
    for (uint32_t n = blocks_of(len); n-- > 0;) {
        uint32_t offset = n * BLOCK_ROOM;
        uint32_t bytes = len - offset < BLOCK_ROOM ? len - offset : BLOCK_ROOM;
        uint32_t number = block_take(staging);
        struct block *block = block_at(staging, number);
        memcpy(block->bytes, packet + offset, bytes);
        block->more = first;
        first = number;
    }
    block_at(staging, first)->next_packet = 0;
    block_at(staging, first)->len = len;
    if (peer->staged == 0)
        peer->staged_first = first;
    else
        block_at(staging, peer->staged_last)->next_packet = first;
    peer->staged_last = first;
    peer->staged++;
}

uint32_t sp_unstage(struct sp_pump *pump, struct sp_peer *peer, uint8_t *out)
{
    struct sp_staging *staging = &pump->staging;
    uint32_t number = peer->staged_first;
    uint32_t len, left;

    if (peer->staged == 0)
        return 0;
    len = left = block_at(staging, number)->len;
    peer->staged_first = block_at(staging, number)->next_packet;
    peer->staged--;
    while (number != 0) {
        struct block *block = block_at(staging, number);
        uint32_t bytes = left < BLOCK_ROOM ? left : BLOCK_ROOM;
        uint32_t more = block->more;
        if (out != NULL)
            memcpy(out + (len - left), block->bytes, bytes);
        left -= bytes;
        block_give(staging, number);
        number = more;
    }
    return len;
}

void sp_staging_drop(struct sp_pump *pump, struct sp_peer *peer, enum sp_drop reason)
{
    sp_drop(pump, reason, peer->staged);
    while (peer->staged > 0)
        sp_unstage(pump, peer, NULL);
}

int sp_peer_drop_staged(struct sp_pump *pump, uint32_t number)
{
    struct sp_peer *peer;

    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL) {
        sp_staging_drop(pump, peer, SP_DROP_STAGED_LOST);
        sp_timers_handshake_given_up(peer);
    }
    sp_pump_give(pump);
    return peer == NULL ? -ENOENT : 0;
}
