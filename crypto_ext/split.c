/* Splitting a superpacket into the packets that the kernel would have emitted for it.
 *
 * The TUN hands over what its transport stack or a forwarded GRO batch left whole: one set of headers,
 * one payload, and a virtio_net_hdr saying how to cut. Every segment repeats the headers; IPv4 length,
 * id and header checksum, IPv6 payload length, TCP sequence number and flags, UDP length and the
 * transport checksum differ. FIN and PSH belong to the last segment, CWR to the first.
 *
 * hdr_len of the virtio_net_hdr is not used: it is a hint that some kernels get wrong. Where the
 * transport header lies is read from the packet itself, through IPv6 extension headers too, and
 * csum_start must agree with it. */
#define _DEFAULT_SOURCE /* endian.h */
#include "split.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "checksum.h"
#include "headers.h"
#include "ip.h"

enum {
    IPV4_IS_FRAGMENT = 0x3fff, /* more-fragments and the offset */
    EXT_HOP_BY_HOP = 0,
    EXT_ROUTING = 43,
    EXT_DESTINATION = 60
};

/* Stores a finished checksum that must not read as "none" (memory order needs no swapping). */
static inline void put_sum(uint8_t *p, uint64_t sum, int zero_is_none)
{
    uint16_t word = (uint16_t)~sp_sum_fold(sum);
    if (word == 0 && zero_is_none)
        word = 0xffff;
    memcpy(p, &word, sizeof word);
}

/* NEEDS_CSUM: the field holds the pseudo-header sum; add everything from csum_start on. Like the
 * kernel's own helper this writes 0xFFFF for 0 whatever the protocol, TCP included. */
static int complete(const struct sp_vnet_hdr *header, const struct sp_ip *ip, uint8_t *packet)
{
    size_t start = header->csum_start, field = start + header->csum_offset;

    if (start < ip->header_len || field + 2 > ip->total_len)
        return -EINVAL;
    put_sum(packet + field, sp_sum(0, packet + start, ip->total_len - start), 1);
    return 0;
}

/* A packet that stays whole: one segment, or -EINVAL when its checksum cannot be where the header says. */
static int keep_whole(const struct sp_vnet_hdr *header, const struct sp_ip *ip, uint8_t *packet)
{
    if ((header->flags & SP_VNET_NEEDS_CSUM) != 0 && complete(header, ip, packet) != 0)
        return -EINVAL;
    return 1;
}

/* ---- what lies where ------------------------------------------------------------------------------------ */

/* The transport header of a GSO packet. `routed`: its checksum covers another destination than the IP header's. */
struct transport {
    int is_udp, routed;
    size_t at, len, sum_offset;
};

/* Which transport a kind of GSO means, when it is one that we know for this family. */
static int expect(struct transport *transport, uint8_t kind, int family)
{
    *transport = (struct transport){.is_udp = kind == SP_GSO_UDP_L4};
    transport->sum_offset = transport->is_udp ? SP_UDP_CHECKSUM : SP_TCP_CHECKSUM;
    return transport->is_udp || (kind == SP_GSO_TCPV4 && family == 4) || (kind == SP_GSO_TCPV6 && family == 6);
}

/* Past IPv6's extension headers; a later fragment has no transport header. */
static int find_transport(struct transport *transport, const struct sp_ip *ip, const uint8_t *packet)
{
    size_t at = ip->header_len;
    uint8_t next = ip->protocol;

    while (ip->family == 6 && (next == EXT_HOP_BY_HOP || next == EXT_ROUTING || next == EXT_DESTINATION)) {
        if (at + 8 > ip->total_len)
            return 0;
        transport->routed |= next == EXT_ROUTING;
        next = packet[at];
        at += 8 * (1 + (size_t)packet[at + 1]);
    }
    if (ip->family == 4 && (sp_get16(packet + SP_IPV4_FRAGMENT) & IPV4_IS_FRAGMENT) != 0)
        return 0;
    transport->at = at;
    return next == (transport->is_udp ? SP_PROTOCOL_UDP : SP_PROTOCOL_TCP) && at <= UINT8_MAX;
}

/* How long the header is, and that the packet holds all of it. */
static int measure_transport(struct transport *transport, const struct sp_ip *ip, const uint8_t *packet)
{
    size_t least = transport->is_udp ? SP_UDP_BYTES : SP_TCP_BYTES;

    if (transport->at + least > ip->total_len)
        return 0;
    transport->len = transport->is_udp ? least : sp_tcp_header_bytes(packet + transport->at);
    return transport->len >= least && transport->at + transport->len <= ip->total_len;
}

/* The kernel means this header's checksum; or none at all, where the packet itself tells what one covers. */
static int sum_agrees(const struct transport *transport, const struct sp_vnet_hdr *header)
{
    if ((header->flags & SP_VNET_NEEDS_CSUM) == 0)
        return !transport->routed;
    return header->csum_start == transport->at && header->csum_offset == transport->sum_offset;
}

/* ---- splitting ------------------------------------------------------------------------------------------ */

/* The pseudo-header's share of every segment's checksum, without the length that differs. */
static uint64_t pseudo_sum(const struct transport *transport, const struct sp_ip *ip, const uint8_t *packet)
{
    uint16_t whole_len = (uint16_t)~htobe16((uint16_t)(ip->total_len - transport->at));

    if (transport->routed) /* what the kernel put into the field, less the length in it */
        return sp_sum(sp_sum(0, packet + transport->at + transport->sum_offset, 2), &whole_len, 2);
    return sp_sum_pseudo(ip->family, ip->source, ip->destination,
                         transport->is_udp ? SP_PROTOCOL_UDP : SP_PROTOCOL_TCP, 0);
}

int sp_split_begin(struct sp_split *split, const struct sp_vnet_hdr *header, uint8_t *packet, size_t len)
{
    uint8_t kind = header->gso_type & (uint8_t)~SP_GSO_ECN;
    struct transport transport;
    struct sp_ip ip;
    size_t payload;

    if (sp_ip_parse_untrusted(&ip, packet, len) != 0)
        return -EINVAL;
    *split = (struct sp_split){.packet = packet, .packet_len = ip.total_len, .segments = 1};
    if (header->gso_type == SP_GSO_NONE)
        return keep_whole(header, &ip, packet);
    if (header->gso_size == 0 || !expect(&transport, kind, ip.family) || !find_transport(&transport, &ip, packet) ||
        !measure_transport(&transport, &ip, packet) || !sum_agrees(&transport, header))
        return -EINVAL;

    payload = ip.total_len - transport.at - transport.len;
    if (payload <= header->gso_size)
        return keep_whole(header, &ip, packet);
    split->kind = kind;
    split->network_len = (uint8_t)transport.at;
    split->header_len = transport.at + transport.len;
    split->gso_size = header->gso_size;
    split->segments = (payload + header->gso_size - 1) / header->gso_size;
    split->without_sum = transport.is_udp && ip.family == 4 && (header->flags & SP_VNET_NEEDS_CSUM) == 0 &&
                         sp_get16(packet + transport.at + SP_UDP_CHECKSUM) == 0;
    split->pseudo = pseudo_sum(&transport, &ip, packet);
    return (int)split->segments;
}

size_t sp_split_len(const struct sp_split *split, size_t segment)
{
    size_t before = segment * split->gso_size, left;

    if (split->kind == SP_GSO_NONE)
        return split->packet_len;
    left = split->packet_len - split->header_len - before;
    return split->header_len + (left < split->gso_size ? left : split->gso_size);
}

const uint8_t *sp_split_rest(const struct sp_split *split, size_t segment)
{
    return split->packet + segment * split->gso_size;
}

void sp_split_copy(const struct sp_split *split, size_t segment, uint8_t *out)
{
    size_t head = split->header_len;

    sp_split_header(split, segment, out);
    memcpy(out + head, sp_split_rest(split, segment) + head, sp_split_len(split, segment) - head);
}

void sp_split_header(const struct sp_split *split, size_t segment, uint8_t *out)
{
    size_t len = sp_split_len(split, segment), before = segment * split->gso_size;
    size_t transport_bytes = len - split->network_len, head = split->header_len;
    uint8_t *transport = out + split->network_len;
    uint16_t length = htobe16((uint16_t)transport_bytes);
    uint64_t sum;

    memcpy(out, split->packet, head);
    if (split->kind == SP_GSO_NONE)
        return;
    if (out[0] >> 4 == 4) {
        sp_put16(out + SP_IPV4_LENGTH, len);
        sp_put16(out + SP_IPV4_ID, sp_get16(out + SP_IPV4_ID) + segment);
        memset(out + SP_IPV4_CHECKSUM, 0, 2);
        put_sum(out + SP_IPV4_CHECKSUM, sp_sum(0, out, split->network_len), 0);
    } else {
        sp_put16(out + SP_IPV6_LENGTH, len - SP_IPV6_BYTES);
    }

    sum = sp_sum(sp_sum(split->pseudo, &length, 2), sp_split_rest(split, segment) + head, len - head);
    head -= split->network_len;
    if (split->kind == SP_GSO_UDP_L4) {
        sp_put16(transport + SP_UDP_LENGTH, transport_bytes);
        memset(transport + SP_UDP_CHECKSUM, 0, 2);
        if (!split->without_sum)
            put_sum(transport + SP_UDP_CHECKSUM, sp_sum(sum, transport, head), 1);
        return;
    }
    sp_put32(transport + SP_TCP_SEQUENCE, sp_get32(transport + SP_TCP_SEQUENCE) + (uint32_t)before);
    if (segment > 0)
        transport[SP_TCP_FLAGS] &= (uint8_t)~SP_TCP_CWR;
    if (segment + 1 < split->segments)
        transport[SP_TCP_FLAGS] &= (uint8_t)~(SP_TCP_FIN | SP_TCP_PSH);
    memset(transport + SP_TCP_CHECKSUM, 0, 2);
    put_sum(transport + SP_TCP_CHECKSUM, sp_sum(sum, transport, head), 0);
}
