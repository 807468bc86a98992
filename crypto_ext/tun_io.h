/* The TUN device: superpackets out of it and, joined, into it again. */
#ifndef SALLYPORT_TUN_IO_H
#define SALLYPORT_TUN_IO_H

#include <sys/uio.h>

#include "api.h"
#include "join.h"
#include "protocol.h"
#include "split.h"

struct sp_tun {
    int fd;
    uint32_t offloads;
    uint32_t mtu;
    struct sp_join *join;
    unsigned may_join; /* for sp_join_allow; loses a bit for each protocol that the kernel refuses */
    int gone;          /* the device was deleted, or its descriptor is no more */
    struct iovec iov[SP_JOIN_PACKETS + 2]; /* vnet header, packet header, payloads */
    struct iovec parts[SP_JOIN_PACKETS];
    struct sp_vnet_hdr header;        /* of the packet last read */
    uint8_t buffer[16 + SP_PACKET_BYTES + 1]; /* the packet starts at 16, its vnet header at 6 */
};

int sp_tun_init(struct sp_pump *pump);
void sp_tun_close(struct sp_pump *pump);
/* One packet into buffer + 16 (sp_tun_packet): its length, 0 when nothing waits, or a negative errno:
 * -EMSGSIZE for something too short to look at, -ESHUTDOWN when the device is gone. */
int sp_tun_read(struct sp_pump *pump);
uint8_t *sp_tun_packet(struct sp_pump *pump);
/* A whole inner packet that stays where it is until sp_tun_flush. */
void sp_tun_add(struct sp_pump *pump, const uint8_t *packet, uint32_t len);
void sp_tun_flush(struct sp_pump *pump);

#endif
