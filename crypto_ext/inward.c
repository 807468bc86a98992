/* The way in (inward.h). Judging is in the order of the kernel's receive.c: index, age and counter, tag,
 * replay, endpoint, key confirmation, timers, packet, source, purse. */
#include "inward.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "ip.h"
#include "state.h"

/* The keypair is the peer's word that it has this key: a waiting one becomes current, an old one asks
 * for its successor in time. */
static void key_used(struct sp_pump *pump, struct sp_keypair *keypair, uint64_t now_ns)
{
    struct sp_peer *peer = keypair->peer;

    if (sp_keypairs_used(pump, keypair)) {
        sp_upward_mark(pump, peer, SP_PENDING_CONFIRMED);
        sp_outward_staged(pump, peer, now_ns);
        sp_train_flush(pump, now_ns);
    }
    if (peer->current != NULL && sp_keypair_last_minute(peer->current, now_ns)) {
        peer->current->last_minute = 1;
        sp_peer_want_key(pump, peer, now_ns);
    }
}

/* An authentic, fresh, non-empty plaintext: is it a packet that this peer may send? */
static void inner(struct sp_pump *pump, struct sp_peer *peer, const uint8_t *packet, uint32_t len)
{
    struct sp_ip ip;

    if (sp_ip_parse_untrusted(&ip, packet, len) != 0)
        sp_drop(pump, SP_DROP_INNER_MALFORMED, 1);
    else if (sp_trie_find(pump->prefixes, ip.family, ip.source) != peer->number)
        sp_drop(pump, SP_DROP_SOURCE, 1);
    else if (sp_purse_pay(pump, peer, ip.total_len, 0))
        sp_tun_add(pump, packet, ip.total_len);
}

static void opened(struct sp_pump *pump, uint32_t i, uint64_t now_ns)
{
    const struct sp_aead_job *job = &pump->inward.jobs[i];
    struct sp_keypair *keypair = pump->inward.keypairs[i];
    const struct sp_arrival *arrival = pump->inward.arrivals[i];
    struct sp_peer *peer = keypair->peer;
    uint32_t len = job->len - SP_TAG_BYTES;

    if (!job->ok) {
        sp_drop(pump, SP_DROP_FORGED, 1);
        return;
    }
    if (peer == NULL) { /* retired by a packet before this one in the same batch */
        sp_drop(pump, SP_DROP_UNKNOWN_INDEX, 1);
        return;
    }
    if (!sp_window_accept(&keypair->window, job->counter)) {
        sp_drop(pump, SP_DROP_REPLAY, 1);
        return;
    }
    sp_slot_add(peer, SP_SLOT_RX_BYTES, len + SP_TRANSPORT_OVERHEAD_BYTES);
    sp_peer_reached(peer, &arrival->from, &arrival->local, now_ns);
    key_used(pump, keypair, now_ns);
    sp_timers_any_authenticated_packet_received(pump, peer, now_ns);
    if (len == 0)
        return;
    sp_timers_data_received(pump, peer, now_ns);
    inner(pump, peer, job->out, len);
}

static void open_all(struct sp_pump *pump, uint64_t now_ns)
{
    struct sp_inward *inward = &pump->inward;

    if (inward->count == 0)
        return;
    sp_open_batch(pump->aead, inward->jobs, inward->count);
    for (uint32_t i = 0; i < inward->count; i++)
        opened(pump, i, now_ns);
    inward->count = 0;
}

static void transport(struct sp_pump *pump, const struct sp_arrival *arrival, uint8_t *data, size_t len,
                      uint64_t now_ns)
{
    struct sp_inward *inward = &pump->inward;
    uint64_t counter = sp_get_le64(data + 8);
    struct sp_keypair *keypair = sp_keypairs_find(pump, sp_get_le32(data + 4));
    struct sp_aead_job *job;

    if (keypair == NULL) {
        sp_drop(pump, SP_DROP_UNKNOWN_INDEX, 1);
        sp_lost_heard(pump, &arrival->from, now_ns);
        return;
    }
    if (!sp_keypair_receives(keypair, counter, now_ns)) {
        sp_drop(pump, SP_DROP_EXPIRED, 1);
        return;
    }
    job = &inward->jobs[inward->count];
    job->key = keypair->receive_key;
    job->counter = counter;
    job->in = data + SP_TRANSPORT_HEADER_BYTES;
    job->out = data + SP_TRANSPORT_HEADER_BYTES;
    job->len = (uint32_t)(len - SP_TRANSPORT_HEADER_BYTES);
    job->ok = 0;
    inward->keypairs[inward->count] = keypair;
    inward->arrivals[inward->count] = arrival;
    if (++inward->count == SP_INWARD_BATCH)
        open_all(pump, now_ns);
}

static void datagram(struct sp_pump *pump, const struct sp_arrival *arrival, uint8_t *data, size_t len,
                     uint64_t now_ns)
{
    uint32_t type = len >= 4 ? sp_get_le32(data) : 0;

    pump->stats.udp_datagrams_in++;
    if (type == SP_MESSAGE_TRANSPORT && len >= SP_TRANSPORT_OVERHEAD_BYTES)
        transport(pump, arrival, data, len, now_ns);
    else if (type >= SP_MESSAGE_INITIATION && type <= SP_MESSAGE_COOKIE)
        sp_gate_enter(pump, type, data, len, &arrival->from, &arrival->local);
    else
        sp_drop(pump, SP_DROP_MALFORMED, 1);
}

/* An empty datagram is one too, and a batch of nothing holds it. */
static void arrived(struct sp_pump *pump, const struct sp_arrival *arrival, uint64_t now_ns)
{
    size_t offset = 0;

    if (arrival->truncated) {
        sp_drop(pump, SP_DROP_TRUNCATED, 1);
        return;
    }
    do {
        size_t left = arrival->len - offset;
        size_t len = left < arrival->segment ? left : arrival->segment;
        datagram(pump, arrival, arrival->bytes + offset, len, now_ns);
        offset += len;
    } while (offset < arrival->len);
}

int sp_inward_burst(struct sp_pump *pump, int fd, uint64_t now_ns, int *drained)
{
    int n = sp_udp_receive(pump, fd);

    *drained = n < SP_UDP_MESSAGES;
    if (n <= 0)
        return n;
    for (int i = 0; i < n; i++)
        arrived(pump, &pump->udp.arrivals[i], now_ns);
    open_all(pump, now_ns);
    sp_tun_flush(pump);
    return n;
}
