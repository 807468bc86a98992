/* One packet at a time, with additional data: see aead_portable.c. */
#ifndef SALLYPORT_AEAD_PORTABLE_H
#define SALLYPORT_AEAD_PORTABLE_H

#include "api.h"

/* As sp_seal_batch and sp_open_batch say, for one job. open gives the verdict and leaves job->ok alone; where the
 * tag is wrong, nothing is written. */
void sp_seal_portable(const struct sp_aead_job *job, const uint8_t *ad, size_t ad_len);
int sp_open_portable(const struct sp_aead_job *job, const uint8_t *ad, size_t ad_len);

#endif
