/* What a reader of one peer gets to see: one consistent picture, taken between two bursts. */
#include <errno.h>
#include <string.h>

#include "state.h"

static uint32_t index_of(const struct sp_keypair *keypair)
{
    return keypair == NULL ? 0 : keypair->local_index;
}

static void fill(struct sp_peer_view *out, const struct sp_peer *peer)
{
    memset(out, 0, sizeof(*out));
    out->endpoint = peer->endpoint;
    out->tx_bytes = peer->slot[SP_SLOT_TX_BYTES];
    out->rx_bytes = peer->slot[SP_SLOT_RX_BYTES];
    out->handshake_wall_ns = peer->slot[SP_SLOT_HANDSHAKE_NS];
    out->seen_ns = peer->slot[SP_SLOT_SEEN_NS];
    out->keepalive_at_ns = peer->keepalive_at_ns;
    out->unanswered_at_ns = peer->unanswered_at_ns;
    out->persistent_at_ns = peer->persistent_at_ns;
    if (peer->current != NULL) {
        out->current_created_ns = peer->current->created_ns;
        out->send_counter = peer->current->send_counter;
    }
    out->current_index = index_of(peer->current);
    out->previous_index = index_of(peer->previous);
    out->next_index = index_of(peer->next);
    out->staged = peer->staged;
    out->persistent_seconds = peer->persistent_seconds;
}

int sp_peer_get(struct sp_pump *pump, uint32_t number, struct sp_peer_view *out)
{
    struct sp_peer *peer;

    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL)
        fill(out, peer);
    sp_pump_give(pump);
    return peer == NULL ? -ENOENT : 0;
}
