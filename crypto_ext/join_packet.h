/* What joining has to know of one packet, and of two. */
#ifndef SALLYPORT_JOIN_PACKET_H
#define SALLYPORT_JOIN_PACKET_H

#include <stddef.h>
#include <stdint.h>

/* kind is what it may be joined as: enum sp_join_kind, 0: not at all. The lengths are set when it is not 0. */
struct sp_join_packet {
    uint8_t kind;
    uint8_t has_flow;    /* TCP ports follow a plain network header */
    uint8_t is_barrier;  /* may be of any TCP flow */
    uint8_t psh;
    uint8_t network_len; /* also set when it has a flow */
    uint16_t header_len; /* network + transport */
    uint16_t segment_len;
    uint32_t total_len;
    uint32_t sequence;   /* TCP */
};

/* may: as for sp_join_allow. */
void sp_join_look(struct sp_join_packet *seen, const uint8_t *packet, size_t len, unsigned may);
/* Both packets have TCP or UDP ports right after a plain network header. */
int sp_join_same_flow(const uint8_t *a, const uint8_t *b);
uint32_t sp_join_flow_hash(uint64_t seed, const uint8_t *packet);
/* Whether what a cut repeats is equal in the two packets: all header fields but lengths, IPv4 id, checksums,
 * TCP sequence number and PSH. Both are of one flow, and a is what `seen` was seen of; so is b, but for the
 * length of its payload. */
int sp_join_same_headers(const struct sp_join_packet *seen, const uint8_t *a, const uint8_t *b);

#endif
