/* Kdf of the WireGuard paper (section 5.4): HKDF (RFC 5869, without info) over HMAC-BLAKE2s (RFC 2104).
 *
 * All that a handshake derives from is short: keys have 32 bytes, and no message is longer than a block. So an
 * HMAC is four blocks, of which the two with the padded key are the same for all outputs of one Kdf. */
#include "hkdf.h"

#include <string.h>

#include "blake2s.h"

enum { BLOCK_BYTES = SP_BLAKE2S_BLOCK_BYTES, BYTES = SP_BLAKE2S_BYTES };

enum { INNER, OUTER, HASHES };

/* A key of HMAC: the two hashes after their first block. */
struct keyed {
    uint32_t h[HASHES][8];
};

/* alone: the message will be empty, so that the padded key is the last block inside. */
static void keyed_begin(struct keyed *keyed, const uint8_t key[BYTES], int alone)
{
    uint8_t padded[HASHES][BLOCK_BYTES];

    memset(padded[INNER], 0x36, BLOCK_BYTES);
    memset(padded[OUTER], 0x5c, BLOCK_BYTES);
    for (int i = 0; i < BYTES; i++) {
        padded[INNER][i] ^= key[i];
        padded[OUTER][i] ^= key[i];
    }
    memcpy(keyed->h[INNER], sp_blake2s_start, sizeof keyed->h[INNER]);
    memcpy(keyed->h[OUTER], sp_blake2s_start, sizeof keyed->h[OUTER]);
    if (alone) {
        sp_blake2s_compress(keyed->h[INNER], padded[INNER], BLOCK_BYTES, 1);
        sp_blake2s_compress(keyed->h[OUTER], padded[OUTER], BLOCK_BYTES, 0);
    } else {
        sp_blake2s_compress_two(keyed->h, padded, BLOCK_BYTES);
    }
}

/* HMAC of a message of 0 (then the key stands alone) to 64 bytes. */
static void hmac(uint8_t out[BYTES], const struct keyed *keyed, const uint8_t *message, size_t len)
{
    uint8_t block[BLOCK_BYTES] = {0};
    uint32_t h[8];

    memcpy(h, keyed->h[INNER], sizeof h);
    if (len > 0) {
        memcpy(block, message, len);
        sp_blake2s_compress(h, block, BLOCK_BYTES + len, 1);
    }
    memset(block, 0, sizeof block);
    sp_blake2s_write(block, h, BYTES);
    memcpy(h, keyed->h[OUTER], sizeof h);
    sp_blake2s_compress(h, block, BLOCK_BYTES + BYTES, 1);
    sp_blake2s_write(out, h, BYTES);
}

void sp_hkdf(uint8_t out[][BYTES], int n, const uint8_t *chain_key, const uint8_t *input, size_t len)
{
    uint8_t extracted[BYTES], message[BYTES + 1];
    struct keyed keyed;

    keyed_begin(&keyed, chain_key, len == 0);
    hmac(extracted, &keyed, input, len);
    keyed_begin(&keyed, extracted, 0);
    message[0] = 1;
    hmac(out[0], &keyed, message, 1);
    for (int i = 1; i < n; i++) { /* each output is the beginning of the next one's message */
        memcpy(message, out[i - 1], BYTES);
        message[BYTES] = (uint8_t)(i + 1);
        hmac(out[i], &keyed, message, sizeof message);
    }
}
