/* Handshake messages on their way through: Python makes and judges them, but endpoint, source address,
 * counters and timers are kept here, in one place with those of data. */
#include <errno.h>
#include <string.h>

#include "state.h"

static int out(struct sp_pump *pump, struct sp_peer *peer, const uint8_t *message, uint32_t len, int retry,
               uint64_t now_ns)
{
    uint8_t copy[SP_DATAGRAM_BYTES];
    uint64_t bytes;
    int error;

    if (peer->endpoint.family == 0)
        return -EDESTADDRREQ;
    if (retry)
        sp_peer_forget(peer);
    memcpy(copy, message, len);
    /* As the kernel does, the attempt counts as traffic: the persistent keepalive need not add to it. */
    sp_timers_any_authenticated_packet_sent(pump, peer, now_ns);
    sp_udp_send(pump, peer, copy, len, len, now_ns, &bytes, &error);
    sp_slot_add(peer, SP_SLOT_TX_BYTES, bytes);
    return error;
}

int sp_peer_handshake_out(struct sp_pump *pump, uint32_t number, const uint8_t *message, int len, int retry,
                          uint64_t now_ns)
{
    struct sp_peer *peer;
    int result = -ENOENT;

    if (len <= 0 || len > SP_DATAGRAM_BYTES)
        return -EINVAL;
    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL)
        result = out(pump, peer, message, (uint32_t)len, retry, now_ns);
    sp_pump_give(pump);
    return result;
}

int sp_peer_handshake_in(struct sp_pump *pump, uint32_t number, const struct sp_datagram *datagram, uint64_t now_ns)
{
    static const uint8_t nowhere[16];
    struct sp_source local = {.ifindex = datagram->local_ifindex};
    struct sp_peer *peer;

    memcpy(local.addr, datagram->local, sizeof(local.addr));
    if (memcmp(local.addr, nowhere, sizeof(nowhere)) != 0)
        local.family = datagram->from.family;
    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL) {
        sp_peer_reached(peer, &datagram->from, &local, now_ns);
        sp_slot_add(peer, SP_SLOT_RX_BYTES, datagram->len);
        sp_timers_any_authenticated_packet_received(pump, peer, now_ns);
    }
    sp_pump_give(pump);
    return peer == NULL ? -ENOENT : 0;
}

int sp_peer_handshake_done(struct sp_pump *pump, uint32_t number, uint64_t wall_ns)
{
    struct sp_peer *peer;

    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL)
        sp_slot_put(peer, SP_SLOT_HANDSHAKE_NS, wall_ns);
    sp_pump_give(pump);
    return peer == NULL ? -ENOENT : 0;
}
