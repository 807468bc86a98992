/* What joining has to know of a packet: whether it may be joined, and with what (join_packet.h).
 *
 * A joined item must be one that the kernel, cutting it again, turns back into the packets that went
 * in (but for the IPv4 id, which counts on from the first). So everything that a cut cannot restore has
 * to be equal: addresses and ports, ack and window, TCP options byte by byte, TTL, TOS, don't-fragment,
 * flow label; and flags are exactly ACK or ACK with PSH. Since the cut makes new checksums, each packet's own
 * are verified first: a damaged one is passed on alone and unmodified, for the receiver to refuse. */
#include "join_packet.h"

#include <string.h>

#include "checksum.h"
#include "headers.h"
#include "ip.h"
#include "join.h"

enum { IPV4_DONT_FRAGMENT = 0x4000 };

static int sums_right(const struct sp_ip *ip, const uint8_t *packet, uint8_t protocol)
{
    uint32_t len = ip->total_len - ip->header_len;

    if (ip->family == 4 && sp_sum_fold(sp_sum(0, packet, ip->header_len)) != 0xffff)
        return 0;
    return sp_sum_fold(sp_sum(sp_sum_pseudo(ip->family, ip->source, ip->destination, protocol, len),
                              packet + ip->header_len, len)) == 0xffff;
}

static void look_at_tcp(struct sp_join_packet *seen, const struct sp_ip *ip, const uint8_t *packet, int wanted)
{
    const uint8_t *tcp = packet + ip->header_len;
    uint32_t bytes = ip->total_len - ip->header_len, header_bytes;

    if (bytes < SP_TCP_BYTES) {
        seen->is_barrier = 1;
        return;
    }
    seen->has_flow = 1;
    seen->network_len = (uint8_t)ip->header_len;
    header_bytes = sp_tcp_header_bytes(tcp);
    if (!wanted || header_bytes < SP_TCP_BYTES || header_bytes >= bytes || (tcp[12] & 0x0f) != 0 ||
        (tcp[SP_TCP_FLAGS] & ~SP_TCP_PSH) != SP_TCP_ACK || !sums_right(ip, packet, SP_PROTOCOL_TCP))
        return;
    seen->kind = SP_JOIN_TCP;
    seen->header_len = (uint16_t)(ip->header_len + header_bytes);
    seen->segment_len = (uint16_t)(bytes - header_bytes);
    seen->sequence = sp_get32(tcp + SP_TCP_SEQUENCE);
    seen->psh = tcp[SP_TCP_FLAGS] & SP_TCP_PSH;
}

static void look_at_udp(struct sp_join_packet *seen, const struct sp_ip *ip, const uint8_t *packet)
{
    const uint8_t *udp = packet + ip->header_len;
    uint32_t bytes = ip->total_len - ip->header_len;

    if (bytes <= SP_UDP_BYTES || sp_get16(udp + SP_UDP_LENGTH) != bytes || sp_get16(udp + SP_UDP_CHECKSUM) == 0 ||
        !sums_right(ip, packet, SP_PROTOCOL_UDP))
        return;
    seen->kind = SP_JOIN_UDP;
    seen->network_len = (uint8_t)ip->header_len;
    seen->header_len = (uint16_t)(ip->header_len + SP_UDP_BYTES);
    seen->segment_len = (uint16_t)(bytes - SP_UDP_BYTES);
}

void sp_join_look(struct sp_join_packet *seen, const uint8_t *packet, size_t len, unsigned may)
{
    struct sp_ip ip;

    *seen = (struct sp_join_packet){0};
    if (sp_ip_parse_untrusted(&ip, packet, len) != 0 || ip.total_len != len) {
        seen->is_barrier = 1;
        return;
    }
    seen->total_len = ip.total_len;
    if (ip.family == 4 && (ip.header_len != SP_IPV4_BYTES ||
                           (sp_get16(packet + SP_IPV4_FRAGMENT) & ~IPV4_DONT_FRAGMENT))) {
        seen->is_barrier = ip.protocol == SP_PROTOCOL_TCP; /* options or a fragment */
        return;
    }
    if (ip.protocol == SP_PROTOCOL_TCP)
        look_at_tcp(seen, &ip, packet, (may >> SP_JOIN_TCP) & 1);
    else if (ip.protocol == SP_PROTOCOL_UDP && (may >> SP_JOIN_UDP) & 1)
        look_at_udp(seen, &ip, packet);
    else if (ip.family == 6 && ip.protocol != SP_PROTOCOL_UDP && ip.protocol != SP_PROTOCOL_ICMPV6)
        seen->is_barrier = 1; /* TCP may follow an extension header */
}

int sp_join_same_flow(const uint8_t *a, const uint8_t *b)
{
    if ((a[0] ^ b[0]) >> 4)
        return 0;
    if (a[0] >> 4 == 4) /* source, destination, ports */
        return memcmp(a + 12, b + 12, 12) == 0 && a[9] == b[9];
    return memcmp(a + 8, b + 8, 36) == 0 && a[6] == b[6];
}

uint32_t sp_join_flow_hash(uint64_t seed, const uint8_t *packet)
{
    const uint8_t *p = packet[0] >> 4 == 4 ? packet + 12 : packet + 8;
    uint32_t words = packet[0] >> 4 == 4 ? 3 : 9, word;
    uint64_t hash = seed;

    for (uint32_t i = 0; i < words; i++) {
        memcpy(&word, p + 4 * i, 4);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15U;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

int sp_join_same_headers(const struct sp_join_packet *seen, const uint8_t *a, const uint8_t *b)
{
    const uint8_t *ta = a + seen->network_len, *tb = b + seen->network_len;

    if (a[0] >> 4 == 4) { /* version and IHL, TOS; flags and fragment offset, TTL */
        if (memcmp(a, b, 2) != 0 || memcmp(a + 6, b + 6, 3) != 0)
            return 0;
    } else if (memcmp(a, b, 4) != 0 || a[7] != b[7]) { /* class and flow label; hop limit */
        return 0;
    }
    if (seen->kind == SP_JOIN_UDP)
        return 1;
    return memcmp(ta + 8, tb + 8, 4) == 0 &&   /* ack */
           memcmp(ta + 14, tb + 14, 2) == 0 && /* window */
           memcmp(ta + 18, tb + 18, (size_t)seen->header_len - seen->network_len - 18) == 0; /* urgent, options */
}
