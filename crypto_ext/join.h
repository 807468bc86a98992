/* Joining decrypted packets into superpackets for one TUN write.
 *
 * Packets are added in the order in which they were received and stay where they are (no copy); every
 * item that results is a list of slices: a header of its own, then payloads. Nothing is ever held back:
 * the caller takes all items at the end of each receive burst. Order inside a 5-tuple is kept: a packet
 * joins only the newest item of its flow (TCP), or the newest item of all (UDP). */
#ifndef SALLYPORT_JOIN_H
#define SALLYPORT_JOIN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "split.h"

enum {
    SP_JOIN_PACKETS = 256,     /* packets that one burst may add before it must be flushed */
    SP_JOIN_HEADER_BYTES = 128 /* room for network + transport header with options: 60 + 60 */
};

enum sp_join_kind { SP_JOIN_TCP = 1, SP_JOIN_UDP = 2 };

struct sp_join; /* fixed size, allocated once */

struct sp_join *sp_join_new(void);
void sp_join_free(struct sp_join *join);
/* may: bits 1 << SP_JOIN_TCP and 1 << SP_JOIN_UDP; what is not in it is passed on alone. */
void sp_join_allow(struct sp_join *join, unsigned may);
/* packet: a whole inner IP packet whose length was checked against its header; it must stay unchanged
 * until sp_join_clear. Returns 0, or -ENOBUFS when SP_JOIN_PACKETS are in already. */
int sp_join_add(struct sp_join *join, const uint8_t *packet, size_t len);
size_t sp_join_items(const struct sp_join *join);

/* Item i as one write: vnet header filled in, iov[0..n) with n returned; iov must have room for
 * SP_JOIN_PACKETS + 1. kind is 0 for a packet that stands alone, else enum sp_join_kind. */
size_t sp_join_item(struct sp_join *join, size_t i, struct sp_vnet_hdr *header, struct iovec *iov, int *kind);
/* The packets of item i as they were added, for a kernel that refused the superpacket: count returned,
 * iov[k] is the k-th whole packet. */
size_t sp_join_parts(const struct sp_join *join, size_t i, struct iovec *iov);
void sp_join_clear(struct sp_join *join);

#endif
