/* One sendmsg to a peer: name, control messages, and a little patience with a full socket buffer (envelope.h). */
#include "envelope.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "state.h"

enum { UDP_LEVEL = 17, UDP_SEGMENT_TYPE = 103, WAIT_MS = 1, RETRIES = 2 };

struct name {
    int fd;
    socklen_t len;
    union {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
};

static void name(struct name *to, const struct sp_pump *pump, const struct sp_endpoint *endpoint)
{
    memset(to, 0, sizeof(*to));
    if (endpoint->family == 4) {
        to->fd = pump->udp.fd4;
        to->len = sizeof(to->address.in);
        to->address.in.sin_family = AF_INET;
        to->address.in.sin_port = htons(endpoint->port);
        memcpy(&to->address.in.sin_addr, endpoint->addr, 4);
    } else {
        to->fd = pump->udp.fd6;
        to->len = sizeof(to->address.in6);
        to->address.in6.sin6_family = AF_INET6;
        to->address.in6.sin6_port = htons(endpoint->port);
        to->address.in6.sin6_scope_id = endpoint->scope_id;
        memcpy(&to->address.in6.sin6_addr, endpoint->addr, 16);
    }
}

static void add_control(struct msghdr *header, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)((uint8_t *)header->msg_control + header->msg_controllen);

    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    header->msg_controllen += CMSG_SPACE(len);
}

static void add_source(struct msghdr *header, const struct sp_source *source)
{
    if (source->family == 4) {
        /* No interface: the address is what must stay, the way out may have changed. */
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, source->addr, 4);
        add_control(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    } else {
        struct in6_pktinfo info = {0};
        memcpy(&info.ipi6_addr, source->addr, 16);
        if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
            info.ipi6_ifindex = source->ifindex;
        add_control(header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
}

/* A full socket buffer is waited for as long as there is patience. */
static int post(struct sp_pump *pump, int fd, const struct msghdr *header, int *patience)
{
    int retries = RETRIES;

    for (;;) {
        struct pollfd ask = {.fd = fd, .events = POLLOUT};
        pump->stats.udp_sends++;
        if (sp_sys_sendmsg(fd, header) >= 0)
            return 0;
        if (errno == EAGAIN && *patience > 0) {
            --*patience;
            sp_sys_poll(&ask, 1, WAIT_MS);
        } else if ((errno == EINTR || errno == ECONNREFUSED) && retries > 0) { /* the latter is old news */
            retries--;
        } else {
            return -errno;
        }
    }
}

int sp_envelope_send(struct sp_pump *pump, struct sp_peer *peer, uint8_t *data, uint32_t len, uint32_t size,
                     int *patience)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
    struct iovec iov = {.iov_base = data, .iov_len = len};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
    uint16_t segment = (uint16_t)size;
    struct name to;

    name(&to, pump, &peer->endpoint);
    if (to.fd < 0)
        return -EAFNOSUPPORT;
    header.msg_name = &to.address;
    header.msg_namelen = to.len;
    memset(control, 0, sizeof(control));
    if (len > size)
        add_control(&header, UDP_LEVEL, UDP_SEGMENT_TYPE, &segment, sizeof(segment));
    if (peer->source.family == peer->endpoint.family)
        add_source(&header, &peer->source);
    if (header.msg_controllen == 0)
        header.msg_control = NULL;
    return post(pump, to.fd, &header, patience);
}
