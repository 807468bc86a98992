/* Sealing and opening whole batches with a vector engine: see aead_share.h, aead_seal.c and aead_open.c. */
#ifndef SALLYPORT_AEAD_BATCH_H
#define SALLYPORT_AEAD_BATCH_H

#include "api.h"
#include "engine.h"

struct sp_batch;

struct sp_batch *sp_batch_new(const struct sp_engine *engine);
void sp_batch_free(struct sp_batch *batch);
void sp_batch_seal(struct sp_batch *batch, struct sp_aead_job *jobs, size_t n);
void sp_batch_open(struct sp_batch *batch, struct sp_aead_job *jobs, size_t n);

#endif
