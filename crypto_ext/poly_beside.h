/* Which tag of a queue is computed beside the rounds of ChaCha20, and how much of it: see poly_beside.c. */
#ifndef SALLYPORT_POLY_BESIDE_H
#define SALLYPORT_POLY_BESIDE_H

#include "engine.h"
#include "lanes.h"

enum { SP_DOUBLE_ROUNDS = 10, SP_BESIDE_BLOCKS = 3 /* absorbed in each of them, where one has company */ };

/* In how many of the next double rounds the packet that queue->poly is then about can absorb blocks. `runs` are those
 * of the ChaCha20 call in progress, which is at `at`. */
uint32_t sp_poly_beside(struct sp_queue *queue, const struct sp_run *runs, const struct sp_cursor *at);

#endif
