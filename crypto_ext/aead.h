/* What an implementation of ChaCha20-Poly1305 gives to the seam in api.h. */
#ifndef SALLYPORT_AEAD_H
#define SALLYPORT_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "api.h"

/* Each path is one such table. state is whatever make() returned; it belongs to one caller at a time.
 * open sets ok of every job, must refuse those that are shorter than a tag, and writes only what it has verified. */
struct sp_aead_ops {
    const char *name;
    void *(*make)(void); /* NULL: not to be had here */
    void (*free)(void *state);
    void (*seal)(void *state, struct sp_aead_job *jobs, size_t n);
    void (*open)(void *state, struct sp_aead_job *jobs, size_t n);
    void (*forget)(void *state); /* the keys that it keeps from one batch to the next; NULL: it keeps none */
    /* Whether libcrypto is faster at sealing (or opening) this batch; NULL: never. */
    int (*yields)(const struct sp_aead_job *jobs, size_t n, int sealing);
};

/* What the functions of a cipher or of a handshake may use of the stack, measured, with room to spare. */
enum { SP_CIPHER_STACK_BYTES = 2048 };

/* Wipes what they left there: a compiler puts there what registers have no room for, parts of a key too. For a path to
 * call when they have returned. */
void sp_wipe_stack(void);

extern const struct sp_aead_ops sp_aead_avx512;
extern const struct sp_aead_ops sp_aead_avx2;
extern const struct sp_aead_ops sp_aead_libcrypto;
extern const struct sp_aead_ops sp_aead_portable;

#endif
