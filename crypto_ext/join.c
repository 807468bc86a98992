/* Joining decrypted packets into superpackets: what makes a download cost one TUN write, and one
 * traversal of the host's network stack, for dozens of packets.
 *
 * Which packets may be joined, and with which, join_packet.c says; here is in which order. The sequence numbers
 * of an item's packets adjoin, and all their payloads are of one size, of which only the last may be shorter.
 * TCP packets extend only the newest item of their flow, found through a small hash table in which every other
 * packet of that flow (a bare ACK, a FIN, a damaged one) stands as an item that nothing extends. A packet that
 * may belong to a TCP flow that cannot be told, such as a fragment, closes all items before it. UDP extends only
 * the newest item of all. Packets of one flow come from one peer: the pump has checked their source address
 * against the sender's allowed-ips. */
#include "join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "headers.h"
#include "join_packet.h"

enum {
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
    struct sp_join_packet like; /* its first packet; the others are like it */
    uint16_t first, last, count;
    uint8_t open; /* may still be extended */
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

/* The table's word for this packet's flow: the newest item's number + 1, or an empty word. */
static uint16_t *flow_slot(struct sp_join *join, const uint8_t *packet)
{
    /* the seed differs from process to process */
    for (uint32_t at = sp_join_flow_hash((uintptr_t)join, packet);; at++) {
        uint16_t *slot = &join->table[at % TABLE_SLOTS];
        if (*slot == 0 || sp_join_same_flow(packet, join->packets[join->items[*slot - 1].first].data))
            return slot;
    }
}

static int extends(const struct sp_join *join, const struct item *item, const struct sp_join_packet *seen,
                   const uint8_t *packet)
{
    const uint8_t *head = join->packets[item->first].data;

    if (!item->open || item->like.kind != seen->kind || item->like.header_len != seen->header_len ||
        seen->segment_len > item->like.segment_len || item->total_len + seen->segment_len > MAX_TOTAL_BYTES)
        return 0;
    if (seen->kind == SP_JOIN_TCP && item->next_sequence != seen->sequence)
        return 0;
    if (seen->kind == SP_JOIN_UDP && (item->count >= MAX_UDP_SEGMENTS || !sp_join_same_flow(head, packet)))
        return 0;
    return sp_join_same_headers(&item->like, head, packet);
}

/* The item that this packet might extend, or NULL. *slot: its flow's word in the table, NULL without a flow. */
static struct item *newest(struct sp_join *join, const struct sp_join_packet *seen, const uint8_t *packet,
                           uint16_t **slot)
{
    uint32_t number = 0; /* + 1 */

    *slot = seen->has_flow ? flow_slot(join, packet) : NULL;
    if (*slot != NULL)
        number = **slot;
    else if (seen->kind == SP_JOIN_UDP)
        number = join->item_count;
    return number > join->barrier && seen->kind != 0 ? &join->items[number - 1] : NULL;
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
    uint16_t number = (uint16_t)join->packet_count, *slot;
    struct sp_join_packet seen;
    struct item *item;

    if (number >= SP_JOIN_PACKETS)
        return -ENOBUFS;
    sp_join_look(&seen, packet, len, join->may);
    join->packets[number] = (struct packet){.data = packet, .len = (uint32_t)len};
    join->packet_count++;

    item = newest(join, &seen, packet, &slot);
    if (item != NULL && extends(join, item, &seen, packet)) {
        join->packets[item->last].next = (uint16_t)(number + 1);
        item->total_len += seen.segment_len;
        item->open = seen.segment_len == item->like.segment_len && !seen.psh;
    } else {
        item = &join->items[join->item_count++];
        *item = (struct item){.like = seen, .first = number, .total_len = seen.total_len,
                              .open = seen.kind != 0 && !seen.psh};
        if (slot != NULL)
            *slot = (uint16_t)join->item_count;
        if (seen.is_barrier)
            join->barrier = join->item_count;
    }
    item->last = number;
    item->count++;
    item->next_sequence = seen.sequence + seen.segment_len;
    return 0;
}

size_t sp_join_items(const struct sp_join *join) { return join->item_count; }

/* Writes the header that stands for all packets of an item. */
static void make_header(const struct sp_join *join, const struct item *item, uint8_t *out)
{
    const struct packet *first = &join->packets[item->first], *last = &join->packets[item->last];
    uint8_t *transport = out + item->like.network_len;
    uint32_t transport_len = item->total_len - item->like.network_len;
    int udp = item->like.kind == SP_JOIN_UDP, family = first->data[0] >> 4;
    const uint8_t *source = out + (family == 4 ? 12 : 8), *destination = out + (family == 4 ? 16 : 24);
    uint16_t sum;

    memcpy(out, first->data, item->like.header_len);
    if (family == 4) {
        sp_put16(out + SP_IPV4_LENGTH, item->total_len);
        memset(out + SP_IPV4_CHECKSUM, 0, 2);
        sum = (uint16_t)~sp_sum_fold(sp_sum(0, out, item->like.network_len));
        memcpy(out + SP_IPV4_CHECKSUM, &sum, 2);
    } else {
        sp_put16(out + SP_IPV6_LENGTH, item->total_len - SP_IPV6_BYTES);
    }
    if (udp)
        sp_put16(transport + SP_UDP_LENGTH, transport_len);
    else
        transport[SP_TCP_FLAGS] |= last->data[item->like.network_len + SP_TCP_FLAGS] & SP_TCP_PSH;
    sum = sp_sum_fold(
        sp_sum_pseudo(family, source, destination, udp ? SP_PROTOCOL_UDP : SP_PROTOCOL_TCP, transport_len));
    memcpy(transport + (udp ? SP_UDP_CHECKSUM : SP_TCP_CHECKSUM), &sum, 2);
}

size_t sp_join_item(struct sp_join *join, size_t i, struct sp_vnet_hdr *header, struct iovec *iov, int *kind)
{
    const struct item *item = &join->items[i];
    size_t n = 1;

    *header = (struct sp_vnet_hdr){0};
    *kind = 0;
    if (item->count == 1)
        return sp_join_parts(join, i, iov);

    *kind = item->like.kind;
    make_header(join, item, join->headers[i]);
    header->flags = SP_VNET_NEEDS_CSUM;
    header->hdr_len = item->like.header_len;
    header->gso_size = item->like.segment_len;
    header->csum_start = item->like.network_len;
    if (item->like.kind == SP_JOIN_UDP) {
        header->gso_type = SP_GSO_UDP_L4;
        header->csum_offset = SP_UDP_CHECKSUM;
    } else {
        header->gso_type = item->like.network_len == SP_IPV4_BYTES ? SP_GSO_TCPV4 : SP_GSO_TCPV6;
        header->csum_offset = SP_TCP_CHECKSUM;
    }
    iov[0] = (struct iovec){.iov_base = join->headers[i], .iov_len = item->like.header_len};
    for (uint32_t next = item->first + 1U; next; next = join->packets[next - 1].next) {
        const struct packet *packet = &join->packets[next - 1];
        iov[n].iov_base = (void *)(uintptr_t)(packet->data + item->like.header_len); /* iovec knows no const */
        iov[n++].iov_len = packet->len - item->like.header_len;
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
