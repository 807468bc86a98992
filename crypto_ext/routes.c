/* Cryptokey routing: which prefixes belong to which peer. One table for all peers, so that the longest
 * prefix decides, whoever it belongs to, in both directions. */
#include <errno.h>

#include "state.h"

int sp_peer_allow(struct sp_pump *pump, uint32_t peer, int family, const uint8_t *addr, int prefix_len)
{
    int result = -ENOENT;

    sp_pump_take(pump);
    if (sp_peers_find(pump, peer) != NULL)
        result = sp_trie_set(pump->prefixes, family, addr, prefix_len, peer);
    sp_pump_give(pump);
    return result;
}

int sp_peer_disallow(struct sp_pump *pump, uint32_t peer, int family, const uint8_t *addr, int prefix_len)
{
    int result = -ENOENT;

    sp_pump_take(pump);
    if (sp_peers_find(pump, peer) != NULL)
        result = sp_trie_remove(pump->prefixes, family, addr, prefix_len, peer);
    sp_pump_give(pump);
    return result;
}

int sp_peer_disallow_all(struct sp_pump *pump, uint32_t peer)
{
    int result = -ENOENT;

    sp_pump_take(pump);
    if (sp_peers_find(pump, peer) != NULL) {
        sp_trie_remove_owner(pump->prefixes, peer);
        result = 0;
    }
    sp_pump_give(pump);
    return result;
}

uint32_t sp_route(struct sp_pump *pump, int family, const uint8_t *addr)
{
    uint32_t peer;

    sp_pump_take(pump);
    peer = sp_trie_find(pump->prefixes, family, addr);
    sp_pump_give(pump);
    return peer;
}
