/* Sending a train: in how many sends (envelope.h), and what to do when the kernel refuses one.
 *
 * UDP segmentation is a promise that some routes break: a device without checksum offload says EIO (then
 * it is off for that peer for good), a path MTU smaller than our datagrams says EINVAL or EMSGSIZE (off
 * for ten minutes; a plain datagram is fragmented and gets through). A cached source address may have
 * left the host; then it is forgotten and the routing table chooses. No error ends the pump. */
#include <errno.h>

#include "envelope.h"
#include "state.h"

enum {
    MOST_SEGMENTS = 64,     /* UDP_MAX_SEGMENTS of older kernels */
    MOST_PAYLOAD_4 = 65507, /* the greatest UDP payload over IPv4 and over IPv6 */
    MOST_PAYLOAD_6 = 65527
};

#define GSO_PAUSE_NS (600 * SP_SECOND_NS)

static int blames_source(int error)
{
    return error == -EINVAL || error == -EADDRNOTAVAIL || error == -ENETUNREACH;
}

/* One send, and once more without the cached source when that may be what the kernel dislikes. It is put
 * back when it was not, for it is what makes answers leave from where the peer reached us. */
static int send_or_forget(struct sp_pump *pump, struct sp_peer *peer, uint8_t *data, uint32_t len, uint32_t size,
                          int *patience)
{
    struct sp_source kept = peer->source;
    int error = sp_envelope_send(pump, peer, data, len, size, patience);

    if (!blames_source(error) || kept.family == 0 || kept.family != peer->endpoint.family)
        return error;
    sp_peer_forget(peer);
    error = sp_envelope_send(pump, peer, data, len, size, patience);
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
 * (47 leave as 24 + 23, for two sends of a size are cheaper at both ends than a great and a small one; 3 x 47 leave
 * as 36 + 3 x 35). */
static uint32_t balanced(const struct sp_pump *pump, const struct sp_peer *peer, uint32_t left, uint32_t size,
                         uint64_t now_ns)
{
    uint32_t payload = peer->endpoint.family == 4 ? MOST_PAYLOAD_4 : MOST_PAYLOAD_6;
    uint32_t limit = greatest(1, least(MOST_SEGMENTS, payload / size));
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
    int patience = SP_ENVELOPE_PATIENCE;

    *bytes = 0;
    *error = 0;
    while (left > 0) {
        uint32_t count = balanced(pump, peer, left, size, now_ns);
        uint32_t part = least(len, count * size);
        int result = send_or_forget(pump, peer, data, part, size, &patience);
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
