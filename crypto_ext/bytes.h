/* Numbers in packets and keys, at any alignment: network byte order, or (le) little-endian. */
#ifndef SALLYPORT_BYTES_H
#define SALLYPORT_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline uint16_t sp_get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static inline void sp_put16(uint8_t *p, size_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline uint32_t sp_get32(const uint8_t *p) { return (uint32_t)sp_get16(p) << 16 | sp_get16(p + 2); }

static inline void sp_put32(uint8_t *p, uint32_t value)
{
    sp_put16(p, value >> 16);
    sp_put16(p + 2, value);
}

static inline uint32_t sp_get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t sp_get_le64(const uint8_t *p)
{
    return sp_get_le32(p) | (uint64_t)sp_get_le32(p + 4) << 32;
}

static inline void sp_put_le32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static inline void sp_put_le64(uint8_t *p, uint64_t value)
{
    sp_put_le32(p, (uint32_t)value);
    sp_put_le32(p + 4, (uint32_t)(value >> 32));
}

#endif
