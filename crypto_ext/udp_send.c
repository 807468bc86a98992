/* Sending a train, and what to do when the kernel refuses it.
 *
 * UDP segmentation is a promise that some routes break: a device without checksum offload says EIO (then
 * it is off for that peer for good), a path MTU smaller than our datagrams says EINVAL or EMSGSIZE (off
 * for ten minutes; a plain datagram is fragmented and gets through). A cached source address may have
 * left the host; then it is forgotten and the routing table chooses. Nothing here ever blocks for more
 * than a few milliseconds, and no error ends the pump. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "state.h"

enum { UDP_LEVEL = 17, UDP_SEGMENT_TYPE = 103, WAIT_MS = 5, WAITS = 2 };

#define GSO_PAUSE_NS (600 * SP_SECOND_NS)

struct envelope {
    int fd;
    socklen_t name_len;
    union {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } name;
};

static void address(struct envelope *to, const struct sp_pump *pump, const struct sp_endpoint *endpoint)
{
    memset(to, 0, sizeof(*to));
    if (endpoint->family == 4) {
        to->fd = pump->udp.fd4;
        to->name_len = sizeof(to->name.in);
        to->name.in.sin_family = AF_INET;
        to->name.in.sin_port = htons(endpoint->port);
        memcpy(&to->name.in.sin_addr, endpoint->addr, 4);
    } else {
        to->fd = pump->udp.fd6;
        to->name_len = sizeof(to->name.in6);
        to->name.in6.sin6_family = AF_INET6;
        to->name.in6.sin6_port = htons(endpoint->port);
        to->name.in6.sin6_scope_id = endpoint->scope_id;
        memcpy(&to->name.in6.sin6_addr, endpoint->addr, 16);
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

/* One sendmsg: 0 or a negative errno. A full socket buffer is waited for, within reason. */
static int send_once(struct sp_pump *pump, struct sp_peer *peer, uint8_t *data, uint32_t len, uint32_t size)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
    struct iovec iov = {.iov_base = data, .iov_len = len};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
    uint16_t segment = (uint16_t)size;
    struct envelope to;

    address(&to, pump, &peer->endpoint);
    if (to.fd < 0)
        return -EAFNOSUPPORT;
    header.msg_name = &to.name;
    header.msg_namelen = to.name_len;
    memset(control, 0, sizeof(control));
    if (len > size)
        add_control(&header, UDP_LEVEL, UDP_SEGMENT_TYPE, &segment, sizeof(segment));
    if (peer->source.family == peer->endpoint.family)
        add_source(&header, &peer->source);
    if (header.msg_controllen == 0)
        header.msg_control = NULL;
    for (int tries = 0;; tries++) {
        struct pollfd ask = {.fd = to.fd, .events = POLLOUT};
        pump->stats.udp_sends++;
        if (sp_sys_sendmsg(to.fd, &header) >= 0)
            return 0;
        if (errno == EAGAIN && tries < WAITS)
            sp_sys_poll(&ask, 1, WAIT_MS);
        else if ((errno != EINTR && errno != ECONNREFUSED) || tries >= WAITS) /* the latter is old news */
            return -errno;
    }
}

static int blames_source(int error)
{
    return error == -EINVAL || error == -EADDRNOTAVAIL || error == -ENETUNREACH;
}

/* The same, once more without the cached source when that may be what the kernel dislikes. It is put
 * back when it was not, for it is what makes answers leave from where the peer reached us. */
static int send_or_forget(struct sp_pump *pump, struct sp_peer *peer, uint8_t *data, uint32_t len, uint32_t size)
{
    struct sp_source kept = peer->source;
    int error = send_once(pump, peer, data, len, size);

    if (!blames_source(error) || kept.family == 0 || kept.family != peer->endpoint.family)
        return error;
    sp_peer_forget(peer);
    error = send_once(pump, peer, data, len, size);
    if (error == 0)
        sp_upward_notice(pump, SP_NOTICE_SOURCE);
    else
        peer->source = kept;
    return error;
}

/* Does this error mean that segmentation does not work on the way to this peer? Then it is off. */
static int blames_gso(struct sp_pump *pump, struct sp_peer *peer, int error, uint64_t now_ns)
{
    if (error == -EIO) {
        peer->gso_off_until_ns = UINT64_MAX;
        sp_upward_notice(pump, SP_NOTICE_UDP_GSO);
        return 1;
    }
    if (error == -EINVAL || error == -EMSGSIZE) {
        peer->gso_off_until_ns = now_ns + GSO_PAUSE_NS;
        sp_upward_notice(pump, SP_NOTICE_UDP_GSO_PATH);
        return 1;
    }
    return 0;
}

static uint32_t greatest(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How many datagrams the next send takes, of `left`: as few sends as the limits allow, of equal length
 * (47 leave as 24 + 23, for two sends of a size are cheaper at both ends than a great and a small one). */
static uint32_t balanced(const struct sp_pump *pump, const struct sp_peer *peer, uint32_t left, uint32_t size,
                         uint64_t now_ns)
{
    uint32_t payload = peer->endpoint.family == 4 ? SP_UDP_PAYLOAD_4 : SP_UDP_PAYLOAD_6;
    uint32_t limit = greatest(1, least(SP_UDP_SEGMENTS, payload / size));
    uint32_t sends;

    if (!(pump->udp.offloads & SP_OFFLOAD_UDP_GSO) || now_ns < peer->gso_off_until_ns)
        return 1;
    sends = (left + limit - 1) / limit;
    return (left + sends - 1) / sends;
}

uint32_t sp_udp_send(struct sp_pump *pump, struct sp_peer *peer, uint8_t *data, uint32_t len, uint32_t size,
                     uint64_t now_ns, uint64_t *bytes, int *error)
{
    uint32_t left = (len + size - 1) / size;
    uint32_t sent = 0;

    *bytes = 0;
    *error = 0;
    while (left > 0) {
        uint32_t count = balanced(pump, peer, left, size, now_ns);
        uint32_t part = least(len, count * size);
        int result = send_or_forget(pump, peer, data, part, size);
        if (result != 0 && count > 1 && blames_gso(pump, peer, result, now_ns))
            continue; /* the same datagrams again, one by one */
        if (result == 0) {
            sent += count;
            *bytes += part;
        } else {
            *error = result;
            sp_drop(pump, SP_DROP_UDP_SEND, count);
        }
        data += part;
        len -= part;
        left -= count;
    }
    pump->stats.udp_datagrams_out += sent;
    return sent;
}
