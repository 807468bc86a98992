/* Kdf of the WireGuard paper: HKDF over HMAC-BLAKE2s. See hkdf.c. */
#ifndef SALLYPORT_HKDF_H
#define SALLYPORT_HKDF_H

#include <stddef.h>
#include <stdint.h>

enum { SP_HKDF_MOST = 3 };

/* Kdf_n(chain_key, input): n keys, 1 to 3; input of 0 to 64 bytes. out may be where the chain key stands.
 * Leaves traces of its secrets on the stack below the caller, who calls sp_wipe_stack when all is done. */
void sp_hkdf(uint8_t out[][32], int n, const uint8_t *chain_key, const uint8_t *input, size_t len);

#endif
