/* Poly1305 of a packet that has no company: see poly_avx512_one.c. */
#ifndef SALLYPORT_POLY_AVX512_ONE_H
#define SALLYPORT_POLY_AVX512_ONE_H

#include "engine.h"

void sp_mac_avx512_one(const struct sp_mac *mac);

#endif
