/* Poly1305 in plain C: see poly_portable.c. */
#ifndef SALLYPORT_POLY_PORTABLE_H
#define SALLYPORT_POLY_PORTABLE_H

#include <stddef.h>
#include <stdint.h>

/* The tag of a ciphertext with its additional data; key is the first half of block 0. */
void sp_poly_portable(uint8_t tag[16], const uint8_t *key, const uint8_t *ad, size_t ad_len,
                      const uint8_t *text, size_t len);

#endif
