/* The Internet checksum (RFC 1071), the one hot arithmetic of split and join beside the cipher. */
#ifndef SALLYPORT_CHECKSUM_H
#define SALLYPORT_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Adds bytes at p to a running sum. Any length and alignment; an odd length pads with zero, so only
 * the last piece of a message may be odd. The sum is kept unfolded in 64 bits, in memory order. */
uint64_t sp_sum(uint64_t sum, const void *p, size_t bytes);
/* Folds to 16 bits (not complemented), in memory order: store it with memcpy. */
uint16_t sp_sum_fold(uint64_t sum);
/* Pseudo-header sum of an IPv4 (family 4) or IPv6 (family 6) packet's addresses, protocol and length. */
uint64_t sp_sum_pseudo(int family, const uint8_t *src, const uint8_t *dst, uint8_t protocol, uint32_t length);

#endif
