/* Filling, sealing and sending one train (train.h). */
#include "train.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "state.h"

enum { PLACED_MULTIPLE = 64 }; /* struct sp_aead_job */

_Static_assert(SP_TRAIN_BYTES >= SP_TRAIN_FULL_BYTES + SP_PACKET_BYTES + SP_TRANSPORT_OVERHEAD_BYTES + SP_PADDING_BYTES,
               "the largest packet fits behind a train that is not full");

int sp_train_init(struct sp_pump *pump)
{
    void *bytes = NULL;

    if (posix_memalign(&bytes, 4096, SP_TRAIN_BYTES) != 0)
        return -ENOMEM;
    pump->train.bytes = bytes;
    return 0;
}

void sp_train_close(struct sp_pump *pump)
{
    free(pump->train.bytes);
}

/* Length after padding to 16, but never above the MTU (send.c, calculate_skb_padding). */
static uint32_t padded(uint32_t len, uint32_t mtu)
{
    uint32_t last = len;
    uint32_t up;

    if (mtu == 0)
        return (len + SP_PADDING_BYTES - 1) & ~(uint32_t)(SP_PADDING_BYTES - 1);
    if (last > mtu)
        last %= mtu;
    up = (last + SP_PADDING_BYTES - 1) & ~(uint32_t)(SP_PADDING_BYTES - 1);
    if (up > mtu)
        up = mtu;
    return len + (up - last);
}

static void put_header(uint8_t *p, uint32_t remote_index, uint64_t counter)
{
    sp_put_le32(p, SP_MESSAGE_TRANSPORT);
    sp_put_le32(p + 4, remote_index);
    sp_put_le64(p + 8, counter);
}

static int fits(const struct sp_train *train, const struct sp_keypair *keypair, uint32_t size)
{
    return train->count == 0 ||
           (train->keypair == keypair && !train->closed && size <= train->size &&
            train->count < SP_TRAIN_DATAGRAMS && train->used + size <= SP_TRAIN_BYTES);
}

uint8_t *sp_train_slot(struct sp_pump *pump, struct sp_peer *peer, struct sp_keypair *keypair, uint32_t len,
                       uint64_t now_ns)
{
    struct sp_train *train = &pump->train;
    uint32_t plain = padded(len, pump->tun.mtu);
    uint32_t size = plain + SP_TRANSPORT_OVERHEAD_BYTES;
    struct sp_aead_job *job;
    uint8_t *at;

    if (!fits(train, keypair, size))
        sp_train_flush(pump, now_ns);
    if (train->count == 0) {
        train->peer = peer;
        train->keypair = keypair;
        train->size = size;
        train->closed = 0;
        train->data = 0;
    }
    at = train->bytes + train->used;
    job = &train->jobs[train->count++];
    train->used += size;
    train->closed = size < train->size;
    train->data |= len > 0;
    put_header(at, keypair->remote_index, keypair->send_counter);
    at += SP_TRANSPORT_HEADER_BYTES;
    memset(at + len, 0, plain - len);
    job->key = keypair->send_key;
    job->counter = keypair->send_counter++;
    job->in = at;
    job->out = at;
    job->len = plain;
    job->placed = 0;
    return at;
}

void sp_train_leave(struct sp_pump *pump, const uint8_t *packet, uint32_t head, uint32_t len)
{
    struct sp_train *train = &pump->train;
    struct sp_aead_job *job = &train->jobs[train->count - 1];
    uint32_t placed = (head + PLACED_MULTIPLE - 1) & ~(uint32_t)(PLACED_MULTIPLE - 1);

    if (placed >= len || job->len != len) /* padding can only stand behind a copy */
        placed = len;
    memcpy(job->out + head, packet + head, placed - head);
    if (placed < len) {
        job->in = packet;
        job->placed = placed;
    }
}

void sp_train_seal(struct sp_pump *pump)
{
    struct sp_train *train = &pump->train;

    if (train->sealed < train->count)
        sp_seal_batch(pump->aead, train->jobs + train->sealed, train->count - train->sealed);
    train->sealed = train->count;
}

void sp_train_flush(struct sp_pump *pump, uint64_t now_ns)
{
    struct sp_train *train = &pump->train;
    struct sp_peer *peer = train->peer;
    uint32_t sent;
    uint64_t bytes;
    int error;

    if (train->count == 0)
        return;
    sp_train_seal(pump);
    sent = sp_udp_send(pump, peer, train->bytes, train->used, train->size, now_ns, &bytes, &error);
    sp_slot_add(peer, SP_SLOT_TX_BYTES, bytes);
    sp_timers_any_authenticated_packet_sent(pump, peer, now_ns);
    if (train->data && sent > 0)
        sp_timers_data_sent(pump, peer, now_ns);
    if (sp_keypair_stale_to_send(train->keypair, now_ns))
        sp_peer_want_key(pump, peer, now_ns);
    train->count = 0;
    train->sealed = 0;
    train->used = 0;
    train->keypair = NULL;
    train->peer = NULL;
}
