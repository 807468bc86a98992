/* Joining decrypted packets into superpackets: what makes a download cost one TUN write, and one
 * traversal of the host's network stack, for dozens of packets.
 *
 * A joined item must be one that the kernel, cutting it again, turns back into the packets that went
 * in (but for the IPv4 id, which counts on from the first). So everything that a cut cannot restore has
 * to be equal: addresses and ports, ack and window, TCP options byte by byte, TTL, TOS, don't-fragment,
 * flow label; flags are exactly ACK or ACK with PSH; the sequence numbers adjoin and all payloads are
 * of one size, of which only the last may be shorter. And since the cut makes new checksums, each packet's own
 * are verified first: a damaged one is passed on alone and unmodified, for the receiver to refuse.
 *
 * Order: TCP packets extend only the newest item of their flow, found through a small hash table in
 * which every other packet of that flow (a bare ACK, a FIN, a damaged one) stands as an item that
 * nothing extends. A packet that may belong to a TCP flow that cannot be told, such as a fragment, closes
 * all items before it. UDP extends only the newest item of all. Packets of one flow come from one
 * peer: the pump has checked their source address against the sender's allowed-ips. */
#define _DEFAULT_SOURCE /* endian.h */
#include "join.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "ip.h"

enum {
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ICMPV6 = 58,
    IPV4_HEADER_BYTES = 20,
    IPV6_HEADER_BYTES = 40,
    TCP_HEADER_BYTES = 20,
    TCP_CHECKSUM = 16,
    UDP_HEADER_BYTES = 8,
    UDP_CHECKSUM = 6,
    FLAG_PSH = 0x08,
    FLAG_ACK = 0x10,
    IPV4_DONT_FRAGMENT = 0x4000,
    MAX_TOTAL_BYTES = 65535,
    MAX_UDP_SEGMENTS = 64, /* what kernels before 6.10 take in one UDP superpacket */
    TABLE_SLOTS = 512      /* a power of two, twice the items: probing ends soon */
};

struct packet {
    const uint8_t *data;
    uint32_t len;
    uint16_t next; /* number of the item's next packet + 1, 0: last */
};

struct item {
    uint16_t first, last, count;
    uint8_t kind;        /* what its packets are: enum sp_join_kind, 0: never joined */
    uint8_t open;        /* may still be extended */
    uint8_t has_flow;    /* stands in the table */
    uint8_t network_len; /* of every packet in it */
    uint16_t header_len; /* network + transport */
    uint16_t segment_len;
    uint32_t total_len;
    uint32_t next_sequence;
};

struct sp_join {
    unsigned may;
    uint32_t packet_count, item_count;
    uint32_t barrier; /* items below this number are not extended any more */
    uint16_t table[TABLE_SLOTS]; /* newest item of a TCP flow + 1, 0: empty */
    struct packet packets[SP_JOIN_PACKETS];
    struct item items[SP_JOIN_PACKETS];
    uint8_t headers[SP_JOIN_PACKETS][SP_JOIN_HEADER_BYTES];
};

static inline uint16_t get16(const uint8_t *p)
{
    uint16_t word;
    memcpy(&word, p, sizeof word);
    return be16toh(word);
}

static inline void put16(uint8_t *p, size_t value)
{
    uint16_t word = htobe16((uint16_t)value);
    memcpy(p, &word, sizeof word);
}

static inline uint32_t get32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return be32toh(word);
}

/* ---- what a packet is -------------------------------------------------------------------------------- */

/* A packet under consideration: the item it would begin, and what is known of its place in the order. */
struct candidate {
    struct item item;
    uint32_t sequence;
    uint8_t psh;
    uint8_t is_barrier; /* may be of any TCP flow */
};

static int sums_right(const struct sp_ip *ip, const uint8_t *packet, uint8_t protocol)
{
    uint32_t len = ip->total_len - ip->header_len;

    if (ip->family == 4 && sp_sum_fold(sp_sum(0, packet, ip->header_len)) != 0xffff)
        return 0;
    return sp_sum_fold(sp_sum(sp_sum_pseudo(ip->family, ip->source, ip->destination, protocol, len),
                              packet + ip->header_len, len)) == 0xffff;
}

static void look_at_tcp(struct candidate *c, const struct sp_ip *ip, const uint8_t *packet, int wanted)
{
    const uint8_t *tcp = packet + ip->header_len;
    uint32_t bytes = ip->total_len - ip->header_len, header_bytes;

    if (bytes < TCP_HEADER_BYTES) {
        c->is_barrier = 1;
        return;
    }
    c->item.has_flow = 1;
    c->item.network_len = (uint8_t)ip->header_len;
    header_bytes = (uint32_t)(tcp[12] >> 4) * 4;
    if (!wanted || header_bytes < TCP_HEADER_BYTES || header_bytes >= bytes || (tcp[12] & 0x0f) != 0 ||
        (tcp[13] & ~FLAG_PSH) != FLAG_ACK || !sums_right(ip, packet, PROTOCOL_TCP))
        return;
    c->item.kind = SP_JOIN_TCP;
    c->item.header_len = (uint16_t)(ip->header_len + header_bytes);
    c->item.segment_len = (uint16_t)(bytes - header_bytes);
    c->sequence = get32(tcp + 4);
    c->item.next_sequence = c->sequence + c->item.segment_len;
    c->psh = tcp[13] & FLAG_PSH;
    c->item.open = !c->psh;
}

static void look_at_udp(struct candidate *c, const struct sp_ip *ip, const uint8_t *packet)
{
    const uint8_t *udp = packet + ip->header_len;
    uint32_t bytes = ip->total_len - ip->header_len;

    if (bytes <= UDP_HEADER_BYTES || get16(udp + 4) != bytes || get16(udp + UDP_CHECKSUM) == 0 ||
        !sums_right(ip, packet, PROTOCOL_UDP))
        return;
    c->item.kind = SP_JOIN_UDP;
    c->item.network_len = (uint8_t)ip->header_len;
    c->item.header_len = (uint16_t)(ip->header_len + UDP_HEADER_BYTES);
    c->item.segment_len = (uint16_t)(bytes - UDP_HEADER_BYTES);
    c->item.open = 1;
}

static void look_at(struct candidate *c, const uint8_t *packet, size_t len, unsigned may)
{
    struct sp_ip ip;

    *c = (struct candidate){.item = {.count = 1}};
    if (sp_ip_parse_untrusted(&ip, packet, len) != 0 || ip.total_len != len) {
        c->is_barrier = 1;
        return;
    }
    c->item.total_len = ip.total_len;
    if (ip.family == 4 && (ip.header_len != IPV4_HEADER_BYTES || (get16(packet + 6) & ~IPV4_DONT_FRAGMENT))) {
        c->is_barrier = ip.protocol == PROTOCOL_TCP; /* options or a fragment */
        return;
    }
    if (ip.protocol == PROTOCOL_TCP)
        look_at_tcp(c, &ip, packet, (may >> SP_JOIN_TCP) & 1);
    else if (ip.protocol == PROTOCOL_UDP && (may >> SP_JOIN_UDP) & 1)
        look_at_udp(c, &ip, packet);
    else if (ip.family == 6 && ip.protocol != PROTOCOL_UDP && ip.protocol != PROTOCOL_ICMPV6)
        c->is_barrier = 1; /* TCP may follow an extension header */
}

/* ---- flows ------------------------------------------------------------------------------------------- */

/* Both packets have TCP or UDP ports right after a plain network header. */
static int same_flow(const uint8_t *a, const uint8_t *b)
{
    if ((a[0] ^ b[0]) >> 4)
        return 0;
    if (a[0] >> 4 == 4) /* source, destination, ports */
        return memcmp(a + 12, b + 12, 12) == 0 && a[9] == b[9];
    return memcmp(a + 8, b + 8, 36) == 0 && a[6] == b[6];
}

static uint32_t flow_hash(const struct sp_join *join, const uint8_t *packet)
{
    const uint8_t *p = packet[0] >> 4 == 4 ? packet + 12 : packet + 8;
    uint32_t words = packet[0] >> 4 == 4 ? 3 : 9, word;
    uint64_t hash = (uintptr_t)join; /* differs from process to process */

    for (uint32_t i = 0; i < words; i++) {
        memcpy(&word, p + 4 * i, 4);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15U;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

/* The table's word for this packet's flow: the newest item's number + 1, or an empty word. */
static uint16_t *flow_slot(struct sp_join *join, const uint8_t *packet)
{
    for (uint32_t at = flow_hash(join, packet);; at++) {
        uint16_t *slot = &join->table[at % TABLE_SLOTS];
        if (*slot == 0 || same_flow(packet, join->packets[join->items[*slot - 1].first].data))
            return slot;
    }
}

/* Whether what a cut repeats is equal in the two packets: all header fields but lengths, IPv4 id,
 * checksums, TCP sequence number and PSH. Both are of one flow and have headers of one length. */
static int same_headers(const struct item *item, const uint8_t *a, const uint8_t *b)
{
    const uint8_t *ta = a + item->network_len, *tb = b + item->network_len;

    if (a[0] >> 4 == 4) { /* version and IHL, TOS; flags and fragment offset, TTL */
        if (memcmp(a, b, 2) != 0 || memcmp(a + 6, b + 6, 3) != 0)
            return 0;
    } else if (memcmp(a, b, 4) != 0 || a[7] != b[7]) { /* class and flow label; hop limit */
        return 0;
    }
    if (item->kind == SP_JOIN_UDP)
        return 1;
    return memcmp(ta + 8, tb + 8, 4) == 0 &&   /* ack */
           memcmp(ta + 14, tb + 14, 2) == 0 && /* window */
           memcmp(ta + 18, tb + 18, (size_t)item->header_len - item->network_len - 18) == 0; /* urgent, options */
}

static int extends(const struct sp_join *join, const struct item *item, const struct candidate *c,
                   const uint8_t *packet)
{
    const uint8_t *head = join->packets[item->first].data;

    if (!item->open || item->kind != c->item.kind || item->header_len != c->item.header_len ||
        c->item.segment_len > item->segment_len ||
        item->total_len + c->item.segment_len > MAX_TOTAL_BYTES)
        return 0;
    if (item->kind == SP_JOIN_TCP && item->next_sequence != c->sequence)
        return 0;
    if (item->kind == SP_JOIN_UDP && (item->count >= MAX_UDP_SEGMENTS || !same_flow(head, packet)))
        return 0;
    return same_headers(item, head, packet);
}

/* ---- the doors --------------------------------------------------------------------------------------- */

struct sp_join *sp_join_new(void) { return calloc(1, sizeof(struct sp_join)); }

void sp_join_free(struct sp_join *join) { free(join); }

void sp_join_allow(struct sp_join *join, unsigned may) { join->may = may; }

void sp_join_clear(struct sp_join *join)
{
    if (join->packet_count == 0)
        return;
    join->packet_count = join->item_count = join->barrier = 0;
    memset(join->table, 0, sizeof join->table);
}

int sp_join_add(struct sp_join *join, const uint8_t *packet, size_t len)
{
    uint32_t number = join->packet_count, target = UINT32_MAX;
    uint16_t *slot = NULL;
    struct candidate c;
    struct item *item;

    if (number >= SP_JOIN_PACKETS)
        return -ENOBUFS;
    look_at(&c, packet, len, join->may);
    join->packets[number] = (struct packet){.data = packet, .len = (uint32_t)len};
    join->packet_count++;

    if (c.item.has_flow) {
        slot = flow_slot(join, packet);
        if (*slot)
            target = *slot - 1U;
    } else if (c.item.kind == SP_JOIN_UDP && join->item_count > 0) {
        target = join->item_count - 1;
    }
    if (c.item.kind && target != UINT32_MAX && target >= join->barrier &&
        extends(join, &join->items[target], &c, packet)) {
        item = &join->items[target];
        join->packets[item->last].next = (uint16_t)(number + 1);
        item->last = (uint16_t)number;
        item->count++;
        item->total_len += c.item.segment_len;
        item->next_sequence = c.item.next_sequence;
        item->open = c.item.segment_len == item->segment_len && !c.psh;
        return 0;
    }

    c.item.first = c.item.last = (uint16_t)number;
    join->items[join->item_count] = c.item;
    join->item_count++;
    if (slot)
        *slot = (uint16_t)join->item_count;
    if (c.is_barrier)
        join->barrier = join->item_count;
    return 0;
}

size_t sp_join_items(const struct sp_join *join) { return join->item_count; }

/* Writes the header that stands for all packets of an item. */
static void make_header(const struct sp_join *join, const struct item *item, uint8_t *out)
{
    const struct packet *first = &join->packets[item->first], *last = &join->packets[item->last];
    uint8_t *transport = out + item->network_len;
    uint32_t transport_len = item->total_len - item->network_len;
    int udp = item->kind == SP_JOIN_UDP, family = first->data[0] >> 4;
    const uint8_t *source = out + (family == 4 ? 12 : 8), *destination = out + (family == 4 ? 16 : 24);
    uint16_t sum;

    memcpy(out, first->data, item->header_len);
    if (family == 4) {
        put16(out + 2, item->total_len);
        memset(out + 10, 0, 2);
        sum = (uint16_t)~sp_sum_fold(sp_sum(0, out, item->network_len));
        memcpy(out + 10, &sum, 2);
    } else {
        put16(out + 4, item->total_len - IPV6_HEADER_BYTES);
    }
    if (udp)
        put16(transport + 4, transport_len);
    else
        transport[13] |= last->data[item->network_len + 13] & FLAG_PSH;
    sum = sp_sum_fold(
        sp_sum_pseudo(family, source, destination, udp ? PROTOCOL_UDP : PROTOCOL_TCP, transport_len));
    memcpy(transport + (udp ? UDP_CHECKSUM : TCP_CHECKSUM), &sum, 2);
}

size_t sp_join_item(struct sp_join *join, size_t i, struct sp_vnet_hdr *header, struct iovec *iov, int *kind)
{
    const struct item *item = &join->items[i];
    size_t n = 1;

    *header = (struct sp_vnet_hdr){0};
    *kind = 0;
    if (item->count == 1)
        return sp_join_parts(join, i, iov);

    *kind = item->kind;
    make_header(join, item, join->headers[i]);
    header->flags = SP_VNET_NEEDS_CSUM;
    header->hdr_len = item->header_len;
    header->gso_size = item->segment_len;
    header->csum_start = item->network_len;
    if (item->kind == SP_JOIN_UDP) {
        header->gso_type = SP_GSO_UDP_L4;
        header->csum_offset = UDP_CHECKSUM;
    } else {
        header->gso_type = item->network_len == IPV4_HEADER_BYTES ? SP_GSO_TCPV4 : SP_GSO_TCPV6;
        header->csum_offset = TCP_CHECKSUM;
    }
    iov[0] = (struct iovec){.iov_base = join->headers[i], .iov_len = item->header_len};
    for (uint32_t next = item->first + 1U; next; next = join->packets[next - 1].next) {
        const struct packet *packet = &join->packets[next - 1];
        iov[n].iov_base = (void *)(uintptr_t)(packet->data + item->header_len); /* iovec knows no const */
        iov[n++].iov_len = packet->len - item->header_len;
    }
    return n;
}

size_t sp_join_parts(const struct sp_join *join, size_t i, struct iovec *iov)
{
    size_t n = 0;

    for (uint32_t next = join->items[i].first + 1U; next; next = join->packets[next - 1].next) {
        const struct packet *packet = &join->packets[next - 1];
        iov[n].iov_base = (void *)(uintptr_t)packet->data;
        iov[n++].iov_len = packet->len;
    }
    return n;
}
