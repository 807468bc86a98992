/* The Poly1305 in plain C without its last block, the length: so its edges can be aimed at. */
#define sp_poly_portable leaf_unused_portable
#include "poly_portable.c"

void leaf_poly1305(uint8_t tag[16], const uint8_t key[32], const uint8_t *message, size_t blocks);

void leaf_poly1305(uint8_t tag[16], const uint8_t key[32], const uint8_t *message, size_t blocks)
{
    struct poly poly;
    poly_begin(&poly, key);
    poly_blocks(&poly, message, blocks);
    poly_end(&poly, tag);
}
