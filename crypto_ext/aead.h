/* What an implementation of ChaCha20-Poly1305 gives to the seam in api.h. */
#ifndef SALLYPORT_AEAD_H
#define SALLYPORT_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "api.h"

/* Each path is one such table. state is whatever make() returned; it belongs to one caller at a time.
 * A job to open is at least as long as a tag: aead.c has checked it. */
struct sp_aead_ops {
    const char *name;
    void *(*make)(void); /* NULL: not to be had here */
    void (*free)(void *state);
    void (*seal)(void *state, struct sp_aead_job *job);
    int (*open)(void *state, struct sp_aead_job *job); /* 1 verified, 0 not */
};

extern const struct sp_aead_ops sp_aead_libcrypto;
extern const struct sp_aead_ops sp_aead_portable;

#endif
