/* Reading from the TUN, and writing to it what was joined (tun_io.h). */
#include "tun_io.h"

#include <errno.h>
#include <string.h>

#include "state.h"

enum { PACKET_AT = 16, VNET_BYTES = 10 };

_Static_assert(sizeof(struct sp_vnet_hdr) == VNET_BYTES, "as the kernel writes it");

int sp_tun_init(struct sp_pump *pump)
{
    pump->tun.fd = -1;
    pump->tun.join = sp_join_new();
    return pump->tun.join == NULL ? -ENOMEM : 0;
}

void sp_tun_close(struct sp_pump *pump)
{
    sp_join_free(pump->tun.join);
}

uint8_t *sp_tun_packet(struct sp_pump *pump)
{
    return pump->tun.buffer + PACKET_AT;
}

/* A deleted interface says EBADFD; a descriptor that somebody closed, or whose other end closed, is as
 * dead. One that is only down is not. */
static int is_gone(int error)
{
    return error == EBADFD || error == EBADF || error == ENODEV || error == ENXIO || error == EPIPE;
}

/* Nothing was read: an empty packet, or the end of everything? */
static int hung_up(int fd)
{
    struct pollfd ask = {.fd = fd, .events = POLLIN};

    return sp_sys_poll(&ask, 1, 0) > 0 && (ask.revents & (POLLHUP | POLLNVAL)) != 0;
}

int sp_tun_read(struct sp_pump *pump)
{
    struct sp_tun *tun = &pump->tun;
    size_t head = tun->offloads & SP_OFFLOAD_VNET_HDR ? VNET_BYTES : 0;
    ssize_t n;

    if (tun->fd < 0)
        return tun->gone ? -ESHUTDOWN : 0;
    n = sp_sys_tun_read(tun->fd, tun->buffer + PACKET_AT - head, SP_PACKET_BYTES + head);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return 0;
        tun->gone = is_gone(errno);
        return tun->gone ? -ESHUTDOWN : -errno;
    }
    pump->stats.tun_reads++;
    if (n == 0 && hung_up(tun->fd)) {
        tun->gone = 1;
        return -ESHUTDOWN;
    }
    memset(&tun->header, 0, sizeof(tun->header));
    if ((size_t)n <= head)
        return -EMSGSIZE;
    memcpy(&tun->header, tun->buffer + PACKET_AT - head, head);
    return (int)((size_t)n - head);
}

/* One write; 1 when the kernel took it, 0 when the packets are lost, -EINVAL when joining is to blame. */
static int put(struct sp_pump *pump, const struct iovec *iov, size_t n, uint32_t packets, int kind)
{
    struct sp_tun *tun = &pump->tun;
    size_t skip = tun->offloads & SP_OFFLOAD_VNET_HDR ? 0 : 1;

    if (tun->fd >= 0 && sp_sys_tun_write(tun->fd, iov + skip, n - skip, kind != 0) >= 0) {
        pump->stats.tun_writes++;
        pump->stats.tun_packets_out += packets;
        return 1;
    }
    if (kind != 0 && tun->fd >= 0 && errno == EINVAL)
        return -EINVAL;
    if (tun->fd >= 0 && is_gone(errno))
        tun->gone = 1;
    sp_drop(pump, SP_DROP_TUN_WRITE, packets);
    return 0;
}

/* The kernel takes no superpackets of this protocol, whatever it promised: never again, and this one in
 * pieces. */
static void put_parts(struct sp_pump *pump, size_t item, int kind)
{
    struct sp_tun *tun = &pump->tun;
    struct sp_vnet_hdr plain = {0};
    struct iovec pair[2] = {{.iov_base = &plain, .iov_len = VNET_BYTES}};
    size_t n = sp_join_parts(tun->join, item, tun->parts);

    tun->may_join &= ~(1U << kind);
    sp_upward_notice(pump, kind == SP_JOIN_TCP ? SP_NOTICE_TUN_TCP : SP_NOTICE_TUN_UDP);
    for (size_t i = 0; i < n; i++) {
        pair[1] = tun->parts[i];
        put(pump, pair, 2, 1, 0);
    }
}

void sp_tun_flush(struct sp_pump *pump)
{
    struct sp_tun *tun = &pump->tun;
    size_t items = sp_join_items(tun->join);

    for (size_t i = 0; i < items; i++) {
        struct sp_vnet_hdr header;
        int kind;
        size_t n = sp_join_item(tun->join, i, &header, tun->iov + 1, &kind);
        uint32_t packets = kind == 0 ? 1 : (uint32_t)(n - 1); /* one header slice, then a payload each */
        tun->iov[0].iov_base = &header;
        tun->iov[0].iov_len = VNET_BYTES;
        if (put(pump, tun->iov, n + 1, packets, kind) == -EINVAL)
            put_parts(pump, i, kind);
    }
    sp_join_clear(tun->join);
    sp_join_allow(tun->join, tun->may_join);
}

void sp_tun_add(struct sp_pump *pump, const uint8_t *packet, uint32_t len)
{
    if (sp_join_add(pump->tun.join, packet, len) == 0)
        return;
    sp_tun_flush(pump);
    sp_join_add(pump->tun.join, packet, len);
}

int sp_pump_set_tun(struct sp_pump *pump, int fd, uint32_t offloads, uint32_t mtu)
{
    struct sp_tun *tun = &pump->tun;

    sp_pump_take(pump);
    tun->fd = fd;
    tun->offloads = offloads;
    tun->mtu = mtu;
    tun->gone = 0;
    tun->may_join = 0;
    if (offloads & SP_OFFLOAD_VNET_HDR) {
        if (offloads & SP_OFFLOAD_JOIN_TCP)
            tun->may_join |= 1U << SP_JOIN_TCP;
        if (offloads & SP_OFFLOAD_JOIN_UDP)
            tun->may_join |= 1U << SP_JOIN_UDP;
    }
    sp_join_allow(tun->join, tun->may_join);
    sp_pump_give(pump);
    sp_pump_kick(pump);
    return 0;
}

int sp_pump_set_mtu(struct sp_pump *pump, uint32_t mtu)
{
    sp_pump_take(pump);
    pump->tun.mtu = mtu;
    sp_pump_give(pump);
    return 0;
}
