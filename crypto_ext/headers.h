/* Where things are in the headers of inner packets. */
#ifndef SALLYPORT_HEADERS_H
#define SALLYPORT_HEADERS_H

#include "bytes.h"

enum {
    SP_IPV4_BYTES = 20, /* without options */
    SP_IPV4_LENGTH = 2,
    SP_IPV4_ID = 4,
    SP_IPV4_FRAGMENT = 6,
    SP_IPV4_CHECKSUM = 10,
    SP_IPV6_BYTES = 40,
    SP_IPV6_LENGTH = 4,

    SP_PROTOCOL_TCP = 6,
    SP_TCP_BYTES = 20, /* without options */
    SP_TCP_SEQUENCE = 4,
    SP_TCP_FLAGS = 13,
    SP_TCP_CHECKSUM = 16,
    SP_TCP_FIN = 0x01,
    SP_TCP_PSH = 0x08,
    SP_TCP_ACK = 0x10,
    SP_TCP_CWR = 0x80,

    SP_PROTOCOL_UDP = 17,
    SP_UDP_BYTES = 8,
    SP_UDP_LENGTH = 4,
    SP_UDP_CHECKSUM = 6,

    SP_PROTOCOL_ICMPV6 = 58
};

/* Length of a TCP header, options included; read from the packet, not checked. */
static inline uint32_t sp_tcp_header_bytes(const uint8_t *tcp) { return (uint32_t)(tcp[12] >> 4) * 4; }

#endif
