/* Receiving batches from the UDP sockets (udp_io.h); sending is in udp_send.c. */
#include "udp_io.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

enum { UDP_LEVEL = 17, UDP_GRO_TYPE = 104 };

int sp_udp_init(struct sp_pump *pump)
{
    struct sp_udp *udp = &pump->udp;
    void *buffers = NULL;

    udp->fd4 = -1;
    udp->fd6 = -1;
    if (posix_memalign(&buffers, 4096, (size_t)SP_UDP_MESSAGES * SP_UDP_BUFFER_BYTES) != 0)
        return -ENOMEM;
    udp->buffers = buffers;
    for (int i = 0; i < SP_UDP_MESSAGES; i++) {
        udp->iov[i].iov_base = udp->buffers + (size_t)i * SP_UDP_BUFFER_BYTES;
        udp->iov[i].iov_len = SP_UDP_BUFFER_BYTES;
        udp->messages[i].msg_hdr.msg_iov = &udp->iov[i];
        udp->messages[i].msg_hdr.msg_iovlen = 1;
        udp->messages[i].msg_hdr.msg_name = &udp->names[i];
        udp->messages[i].msg_hdr.msg_control = udp->control[i];
    }
    return 0;
}

void sp_udp_close(struct sp_pump *pump)
{
    free(pump->udp.buffers);
}

static void read_name(struct sp_endpoint *from, const struct sockaddr_storage *name)
{
    memset(from, 0, sizeof(*from));
    if (name->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, name, sizeof(in));
        from->family = 4;
        from->port = ntohs(in.sin_port);
        memcpy(from->addr, &in.sin_addr, 4);
    } else if (name->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, name, sizeof(in6));
        from->family = 6;
        from->port = ntohs(in6.sin6_port);
        from->scope_id = in6.sin6_scope_id;
        memcpy(from->addr, &in6.sin6_addr, 16);
    }
}

static void read_control(struct sp_arrival *arrival, struct msghdr *header)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == UDP_LEVEL && c->cmsg_type == UDP_GRO_TYPE) {
            int segment;
            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
            if (segment > 0)
                arrival->segment = (size_t)segment;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            arrival->local.family = 4;
            arrival->local.ifindex = (uint32_t)info.ipi_ifindex;
            memcpy(arrival->local.addr, &info.ipi_spec_dst, 4);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            arrival->local.family = 6;
            arrival->local.ifindex = (uint32_t)info.ipi6_ifindex;
            memcpy(arrival->local.addr, &info.ipi6_addr, 16);
        }
    }
}

int sp_udp_receive(struct sp_pump *pump, int fd)
{
    struct sp_udp *udp = &pump->udp;
    int n;

    for (int i = 0; i < SP_UDP_MESSAGES; i++) {
        udp->messages[i].msg_hdr.msg_namelen = sizeof(udp->names[i]);
        udp->messages[i].msg_hdr.msg_controllen = SP_UDP_CONTROL_BYTES;
        udp->messages[i].msg_hdr.msg_flags = 0;
    }
    n = sp_sys_recvmmsg(fd, udp->messages, SP_UDP_MESSAGES);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        struct sp_arrival *arrival = &udp->arrivals[i];
        struct msghdr *header = &udp->messages[i].msg_hdr;
        memset(&arrival->local, 0, sizeof(arrival->local));
        arrival->bytes = udp->iov[i].iov_base;
        arrival->len = udp->messages[i].msg_len;
        arrival->segment = arrival->len;
        arrival->truncated = (header->msg_flags & MSG_TRUNC) != 0;
        read_name(&arrival->from, &udp->names[i]);
        read_control(arrival, header);
        pump->stats.udp_receives++;
    }
    return n;
}

int sp_pump_set_udp(struct sp_pump *pump, int fd4, int fd6, uint32_t offloads)
{
    sp_pump_take(pump);
    pump->udp.fd4 = fd4;
    pump->udp.fd6 = fd6;
    pump->udp.offloads = offloads;
    sp_pump_give(pump);
    sp_pump_kick(pump);
    return 0;
}
