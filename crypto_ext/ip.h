/* A checked view of an inner IP packet's header. Everything that takes bytes from the network ends in
 * _untrusted and fails in one way only. */
#ifndef SALLYPORT_IP_H
#define SALLYPORT_IP_H

#include <stddef.h>
#include <stdint.h>

struct sp_ip {
    int family;             /* 4 or 6 */
    uint32_t header_len;    /* IPv4: IHL x 4; IPv6: 40 (extension headers count as payload) */
    uint32_t total_len;     /* from the header: what is billed, and what is left after padding is cut */
    uint8_t protocol;       /* IPv4 protocol, IPv6 next header */
    const uint8_t *source;
    const uint8_t *destination;
};

/* 0, or -EINVAL: version not 4 or 6, shorter than its header, IHL < 5, or its own length beyond len. */
int sp_ip_parse_untrusted(struct sp_ip *ip, const uint8_t *packet, size_t len);

#endif
