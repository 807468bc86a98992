/* The header of an inner IP packet, checked against the bytes that are really there.
 *
 * Called for every packet in both directions: after the TUN was read (to route it) and after a
 * datagram was opened (to cut its padding, check its source and bill its length). */
#include "ip.h"

#include <errno.h>

#include "headers.h"

int sp_ip_parse_untrusted(struct sp_ip *ip, const uint8_t *packet, size_t len)
{
    if (len < 1)
        return -EINVAL;
    switch (packet[0] >> 4) {
    case 4:
        if (len < SP_IPV4_BYTES)
            return -EINVAL;
        ip->family = 4;
        ip->header_len = (packet[0] & 15U) * 4;
        ip->total_len = sp_get16(packet + SP_IPV4_LENGTH);
        ip->protocol = packet[9];
        ip->source = packet + 12;
        ip->destination = packet + 16;
        if (ip->header_len < SP_IPV4_BYTES)
            return -EINVAL;
        break;
    case 6:
        if (len < SP_IPV6_BYTES)
            return -EINVAL;
        ip->family = 6;
        ip->header_len = SP_IPV6_BYTES;
        ip->total_len = SP_IPV6_BYTES + sp_get16(packet + SP_IPV6_LENGTH);
        ip->protocol = packet[6];
        ip->source = packet + 8;
        ip->destination = packet + 24;
        break;
    default:
        return -EINVAL;
    }
    return ip->total_len >= ip->header_len && ip->total_len <= len ? 0 : -EINVAL;
}
