/* Which packets of a batch go together through a vector engine: see aead_order.c. */
#ifndef SALLYPORT_AEAD_ORDER_H
#define SALLYPORT_AEAD_ORDER_H

#include "api.h"

enum { SP_ORDER_JOBS = 256, SP_TOGETHER_MOST = 16 };

/* Lists the first SP_ORDER_JOBS jobs (or all n) by length, without those shorter than `least`; returns how
 * many it listed. */
size_t sp_order(struct sp_aead_job **ordered, struct sp_aead_job *jobs, size_t n, uint32_t least);

/* How many of these n > 0 jobs go together: all, or a multiple of `step` up to SP_TOGETHER_MOST, while they have
 * no more than `bytes`. */
size_t sp_together(struct sp_aead_job *const *ordered, size_t n, uint32_t step, uint32_t bytes);

#endif
