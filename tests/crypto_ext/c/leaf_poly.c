/* The Poly1305 of aead_portable.c by itself: sealing random packets never reaches its edges. */
#define sp_aead_portable leaf_unused_portable
#include "aead_portable.c"

void leaf_poly1305(uint8_t tag[16], const uint8_t key[32], const uint8_t *message, size_t blocks);

void leaf_poly1305(uint8_t tag[16], const uint8_t key[32], const uint8_t *message, size_t blocks)
{
    struct poly poly;
    poly_begin(&poly, key);
    poly_blocks(&poly, message, blocks);
    poly_end(&poly, tag);
}
