/* Which packets of a batch go together through a vector engine.
 *
 * Packets that are authenticated side by side take as many steps as the longest of them, so those of about the
 * same length belong together: a counting sort by 64-byte chunks puts them there (batches of unequal
 * packets gain up to a third, equal ones skip it). How many go together is a matter of the engine: as many as it
 * has lanes for, while their bytes stay near. */
#include "aead_order.h"

#include <string.h>

enum {
    CHUNK_BYTES = 64,
    LAST_BIN = 47 /* packets of 3 KB and more are no longer told apart */
};

static uint32_t bin_of(const struct sp_aead_job *job)
{
    uint32_t chunks = job->len / CHUNK_BYTES;
    return chunks < LAST_BIN ? chunks : LAST_BIN;
}

size_t sp_order(struct sp_aead_job **ordered, struct sp_aead_job *jobs, size_t n, uint32_t least)
{
    uint16_t place[LAST_BIN + 2] = {0}; /* of the next job of each bin */
    uint32_t unlike = 0;
    size_t count = 0;

    if (n > SP_ORDER_JOBS)
        n = SP_ORDER_JOBS;
    for (size_t i = 0; i < n; i++) {
        if (jobs[i].len < least)
            continue;
        ordered[count++] = &jobs[i];
        unlike |= bin_of(&jobs[i]) ^ bin_of(ordered[0]);
    }
    if (!unlike)
        return count;
    for (size_t i = 0; i < count; i++)
        place[bin_of(ordered[i]) + 1]++;
    for (uint32_t bin = 1; bin <= LAST_BIN; bin++)
        place[bin] = (uint16_t)(place[bin] + place[bin - 1]);
    for (size_t i = 0; i < n; i++) {
        if (jobs[i].len >= least)
            ordered[place[bin_of(&jobs[i])]++] = &jobs[i];
    }
    return count;
}

size_t sp_together(struct sp_aead_job *const *ordered, size_t n, uint32_t step, uint32_t bytes)
{
    size_t most = n < SP_TOGETHER_MOST ? n : SP_TOGETHER_MOST, count = 0, sum = 0;

    while (count < most) {
        size_t next = most - count < step ? most : count + step;
        for (size_t i = count; i < next; i++)
            sum += ordered[i]->len;
        if (count > 0 && sum > bytes)
            break;
        count = next;
    }
    return count;
}
