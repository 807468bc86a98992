/* Splitting a superpacket that the TUN handed us whole.
 *
 * sp_split_begin checks everything that came from the kernel against the bytes themselves; after it
 * the other two cannot fail. A packet without GSO (or whose payload fits one segment) is one segment,
 * whose checksum is completed in place when the header asks for that (NEEDS_CSUM): it may be used where
 * it stands, `packet_len` bytes of it (bytes beyond its own IP length are cut). */
#ifndef SALLYPORT_SPLIT_H
#define SALLYPORT_SPLIT_H

#include <stddef.h>
#include <stdint.h>

/* struct virtio_net_hdr, ten bytes, host byte order as TUN uses it. */
struct sp_vnet_hdr {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
};

enum {
    SP_VNET_NEEDS_CSUM = 1,
    SP_GSO_NONE = 0,
    SP_GSO_TCPV4 = 1,
    SP_GSO_TCPV6 = 4,
    SP_GSO_UDP_L4 = 5,
    SP_GSO_ECN = 0x80
};

struct sp_split {
    const uint8_t *packet;
    size_t packet_len;
    size_t header_len;  /* network + transport header: what every segment repeats */
    size_t gso_size;    /* payload bytes of each segment but the last */
    size_t segments;
    uint8_t kind;       /* SP_GSO_*, without the ECN bit; SP_GSO_NONE when there is one segment */
    uint8_t network_len;
    uint8_t without_sum; /* IPv4 UDP that carries no checksum: its segments carry none either */
    uint64_t pseudo;     /* sum of the pseudo-header without the length */
};

/* Number of segments (>= 1), or -EINVAL. packet is written to only to complete a checksum. */
int sp_split_begin(struct sp_split *split, const struct sp_vnet_hdr *header, uint8_t *packet, size_t len);
size_t sp_split_len(const struct sp_split *split, size_t segment); /* bytes of that segment, headers included */
/* Writes segment number `segment` to out (sp_split_len bytes), headers and checksums as the kernel would. */
void sp_split_copy(const struct sp_split *split, size_t segment, uint8_t *out);
/* Only its first header_len bytes. Byte k of what follows them stands at sp_split_rest + k. */
void sp_split_header(const struct sp_split *split, size_t segment, uint8_t *out);
const uint8_t *sp_split_rest(const struct sp_split *split, size_t segment);

#endif
