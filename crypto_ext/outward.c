/* The way out (outward.h). What cannot leave now, for want of a key, is staged. */
#include "outward.h"

#include <errno.h>
#include <string.h>

#include "ip.h"
#include "state.h"

/* No key to send on: each segment waits as a packet of its own. */
static void stage_all(struct sp_pump *pump, struct sp_peer *peer, const struct sp_split *split, size_t from,
                      uint64_t now_ns)
{
    for (size_t i = from; i < split->segments; i++) {
        if (peer->purse->shut) { /* it could never leave; do not bother Python for a key */
            sp_drop(pump, SP_DROP_PURSE, (uint32_t)(split->segments - i));
            return;
        }
        sp_split_copy(split, i, pump->scratch);
        sp_stage(pump, peer, pump->scratch, (uint32_t)sp_split_len(split, i));
    }
    sp_peer_want_key(pump, peer, now_ns);
}

/* Segments of a great superpacket are sealed from where they stand: its length makes up for a batch of its
 * own, which must be sealed before the TUN is read again. Others are copied and sealed with their neighbours. */
static int worth_leaving(const struct sp_split *split) { return split->segments >= SP_OUTWARD_LEFT_SEGMENTS; }

static void put(struct sp_pump *pump, struct sp_peer *peer, struct sp_keypair *keypair, const struct sp_split *split,
                size_t i, uint64_t now_ns)
{
    uint32_t len = (uint32_t)sp_split_len(split, i);
    uint8_t *at = sp_train_slot(pump, peer, keypair, len, now_ns);

    if (worth_leaving(split)) {
        sp_split_header(split, i, at);
        sp_train_leave(pump, sp_split_rest(split, i), (uint32_t)split->header_len, len);
    } else {
        sp_split_copy(split, i, at);
    }
}

/* Pays for, numbers and queues each segment of one packet from the TUN. */
static void send_all(struct sp_pump *pump, struct sp_peer *peer, const struct sp_split *split, uint64_t now_ns)
{
    struct sp_keypair *keypair = sp_keypairs_to_send(peer, now_ns);

    /* What waits already goes first; normally nothing does, for a key lets it go at once. */
    if (keypair != NULL && peer->staged > 0)
        sp_outward_staged(pump, peer, now_ns);
    for (size_t i = 0; i < split->segments; i++) {
        if (keypair == NULL || keypair->send_counter >= SP_REJECT_AFTER_MESSAGES) {
            stage_all(pump, peer, split, i, now_ns);
            break;
        }
        if (sp_purse_pay(pump, peer, (uint32_t)sp_split_len(split, i), 1))
            put(pump, peer, keypair, split, i, now_ns);
    }
    if (worth_leaving(split))
        sp_train_seal(pump);
    /* Flushed here rather than in mid-packet, superpackets leave in balanced sends. */
    if (pump->train.used >= SP_TRAIN_FULL_BYTES)
        sp_train_flush(pump, now_ns);
}

static struct sp_peer *route(struct sp_pump *pump, const struct sp_ip *ip, uint32_t packets)
{
    uint32_t number = sp_trie_find(pump->prefixes, ip->family, ip->destination);
    struct sp_peer *peer = sp_peers_find(pump, number);

    if (peer == NULL) {
        sp_drop(pump, SP_DROP_NO_PEER, packets);
        return NULL;
    }
    if (peer->endpoint.family == 0) {
        sp_drop(pump, SP_DROP_NO_ENDPOINT, packets);
        return NULL;
    }
    return peer;
}

static void packet(struct sp_pump *pump, uint8_t *bytes, size_t len, uint64_t now_ns)
{
    struct sp_split split;
    struct sp_peer *peer;
    struct sp_ip ip;
    int segments;

    if (sp_ip_parse_untrusted(&ip, bytes, len) != 0) {
        sp_drop(pump, SP_DROP_TUN_MALFORMED, 1);
        return;
    }
    segments = sp_split_begin(&split, &pump->tun.header, bytes, ip.total_len);
    if (segments < 1) {
        sp_drop(pump, SP_DROP_TUN_MALFORMED, 1);
        return;
    }
    pump->stats.tun_packets_in += (uint32_t)segments;
    peer = route(pump, &ip, (uint32_t)segments);
    if (peer != NULL)
        send_all(pump, peer, &split, now_ns);
}

int sp_outward_burst(struct sp_pump *pump, uint64_t now_ns, int *drained)
{
    uint32_t bytes = 0;
    int reads = 0;
    int result = 0;

    while (reads < SP_OUTWARD_READS && bytes < SP_TRAIN_FULL_BYTES) {
        result = sp_tun_read(pump);
        if (result == -EMSGSIZE) {
            sp_drop(pump, SP_DROP_TUN_MALFORMED, 1);
            reads++;
            continue;
        }
        if (result <= 0) {
            *drained = 1;
            break;
        }
        reads++;
        bytes += (uint32_t)result;
        packet(pump, sp_tun_packet(pump), (size_t)result, now_ns);
    }
    sp_train_flush(pump, now_ns);
    return result < 0 && result != -EMSGSIZE ? result : reads;
}

uint32_t sp_outward_staged(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns)
{
    uint32_t left = 0;

    if (peer->endpoint.family == 0)
        return 0;
    while (peer->staged > 0) {
        struct sp_keypair *keypair = sp_keypairs_to_send(peer, now_ns);
        uint32_t len;
        if (keypair == NULL)
            break;
        len = sp_unstage(pump, peer, pump->scratch);
        if (!sp_purse_pay(pump, peer, len, 1))
            continue;
        memcpy(sp_train_slot(pump, peer, keypair, len, now_ns), pump->scratch, len);
        left++;
    }
    return left;
}

void sp_outward_keepalive(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns)
{
    struct sp_keypair *keypair = sp_keypairs_to_send(peer, now_ns);

    if (peer->endpoint.family == 0)
        return;
    if (keypair == NULL) {
        sp_peer_want_key(pump, peer, now_ns);
        return;
    }
    if (sp_outward_staged(pump, peer, now_ns) == 0)
        sp_train_slot(pump, peer, keypair, 0, now_ns);
    sp_train_flush(pump, now_ns);
}
