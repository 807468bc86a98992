/* Cutting the runs of blocks into groups of lanes: what every ChaCha20 kernel does first.
 *
 * The functions are inline so that each kernel compiles them for its own instructions. What the kernels then
 * do with a piece has the same shape but no line in common: how a vector takes a word in some lanes only, and
 * whether keys are worth keeping in the rows, is a matter of the instructions. */
#ifndef SALLYPORT_LANES_H
#define SALLYPORT_LANES_H

#include "bytes.h"
#include "engine.h"

#define SP_INLINE static inline __attribute__((always_inline))

/* The next block to give a lane is number `done` of `run`. */
struct sp_cursor {
    const struct sp_run *run, *end;
    uint32_t done;
};

/* Blocks of one packet that lie side by side in a group. */
struct sp_piece {
    const struct sp_run *run;
    uint32_t block; /* number of the first */
    uint32_t count;
};

/* Where text is to be xored that is none: nothing but the key stream is wanted. */
static const uint8_t sp_no_text[SP_BLOCK_BYTES];

/* Takes the next piece, at most `room` blocks, and tells its lanes, from `lane` on, where their text is
 * and where their results go. The cursor must not be at its end. */
SP_INLINE struct sp_piece sp_lanes_take(struct sp_group *group, struct sp_cursor *cursor, uint32_t lane, uint32_t room)
{
    const struct sp_run *run = cursor->run;
    uint32_t left = run->blocks - cursor->done;
    struct sp_piece piece = {run, run->block + cursor->done, left < room ? left : room};
    uintptr_t at = (uintptr_t)SP_BLOCK_BYTES * piece.block, in = run->in + at, in_step = SP_BLOCK_BYTES;

    if (!run->in) {
        in = (uintptr_t)sp_no_text;
        in_step = 0;
    }
    for (uint32_t i = 0; i < piece.count; i++) {
        group->in[lane + i] = in + i * in_step;
        group->out[lane + i] = run->out + at + (uintptr_t)SP_BLOCK_BYTES * i;
    }
    for (uint32_t i = 0; i < piece.count && piece.block + i < run->placed; i++)
        group->in[lane + i] = group->out[lane + i];
    if (run->head && cursor->done == 0) {
        group->in[lane] = (uintptr_t)sp_no_text;
        group->out[lane] = (uintptr_t)run->head;
    }
    cursor->done += piece.count;
    if (cursor->done == run->blocks) {
        if (run->tail) {
            group->in[lane + piece.count - 1] = (uintptr_t)sp_no_text;
            group->out[lane + piece.count - 1] = (uintptr_t)run->tail;
        }
        cursor->run++;
        cursor->done = 0;
    }
    return piece;
}

/* Lanes for which there is no work left compute all the same. */
SP_INLINE void sp_lanes_idle(struct sp_group *group, uint32_t lane, uint32_t end)
{
    for (; lane < end; lane++) {
        group->in[lane] = (uintptr_t)sp_no_text;
        group->out[lane] = (uintptr_t)group->nowhere;
    }
}

#endif
