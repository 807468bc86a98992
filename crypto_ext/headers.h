/* Where things are in the headers of inner packets, and their numbers: network byte order, at any
 * alignment. Whoever includes this defines _DEFAULT_SOURCE or _GNU_SOURCE first, for endian.h. */
#ifndef SALLYPORT_HEADERS_H
#define SALLYPORT_HEADERS_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

static inline uint16_t sp_get16(const uint8_t *p)
{
    uint16_t word;
    memcpy(&word, p, sizeof word);
    return be16toh(word);
}

static inline void sp_put16(uint8_t *p, size_t value)
{
    uint16_t word = htobe16((uint16_t)value);
    memcpy(p, &word, sizeof word);
}

static inline uint32_t sp_get32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return be32toh(word);
}

static inline void sp_put32(uint8_t *p, uint32_t value)
{
    value = htobe32(value);
    memcpy(p, &value, sizeof value);
}

/* Length of a TCP header, options included; read from the packet, not checked. */
static inline uint32_t sp_tcp_header_bytes(const uint8_t *tcp) { return (uint32_t)(tcp[12] >> 4) * 4; }

#endif
