/* The UDP sockets: batches in (recvmmsg, UDP_GRO), batches out (UDP_SEGMENT), and what to do when the
 * kernel refuses. Replies leave from the address that the peer reached (PKTINFO). */
#ifndef SALLYPORT_UDP_IO_H
#define SALLYPORT_UDP_IO_H

#include "sys.h"

#include "api.h"
#include "peers.h"

enum {
    SP_UDP_MESSAGES = 4,         /* messages of one recvmmsg, each possibly a GRO batch */
    SP_UDP_BUFFER_BYTES = 65536, /* a GRO batch is at most 65,535 bytes */
    SP_UDP_CONTROL_BYTES = 128
};

/* One received message: `len` bytes that are datagrams of `segment` bytes each, the last maybe shorter. */
struct sp_arrival {
    uint8_t *bytes;
    size_t len;
    size_t segment;
    int truncated;
    struct sp_endpoint from;
    struct sp_source local;
};

struct sp_udp {
    int fd4;
    int fd6;
    uint32_t offloads;
    uint8_t *buffers;
    struct sp_arrival arrivals[SP_UDP_MESSAGES];
    struct mmsghdr messages[SP_UDP_MESSAGES];
    struct iovec iov[SP_UDP_MESSAGES];
    struct sockaddr_storage names[SP_UDP_MESSAGES];
    _Alignas(8) uint8_t control[SP_UDP_MESSAGES][SP_UDP_CONTROL_BYTES];
};

int sp_udp_init(struct sp_pump *pump);
void sp_udp_close(struct sp_pump *pump);
/* Fills arrivals; how many, 0 when nothing waits, or a negative errno. */
int sp_udp_receive(struct sp_pump *pump, int fd);
/* Sends len bytes as datagrams of `size` (the last may be shorter) to the peer's endpoint, in order.
 * Returns how many datagrams the kernel took; the rest are counted as drops. `*bytes` is their sum.
 * `*error`: the last refusal as a negative errno, or 0. */
uint32_t sp_udp_send(struct sp_pump *pump, struct sp_peer *peer, uint8_t *data, uint32_t len, uint32_t size,
                     uint64_t now_ns, uint64_t *bytes, int *error);

#endif
