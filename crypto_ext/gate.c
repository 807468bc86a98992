/* The gate (gate.h): lengths, mac1, and a place in the ring upward. */
#include "gate.h"

#include <errno.h>
#include <string.h>

#include "blake2s.h"
#include "state.h"

enum { MAC_BYTES = 16 };

/* Which key made mac1, or -1. */
static int matching_key(const struct sp_gate *gate, const uint8_t *data, size_t len)
{
    const uint8_t *mac1 = data + len - 2 * MAC_BYTES;
    uint8_t expected[MAC_BYTES];

    for (int i = 0; i < gate->count; i++) {
        sp_blake2s_mac(expected, gate->keys[i], data, len - 2 * MAC_BYTES);
        if (sp_equal(expected, mac1, MAC_BYTES))
            return i;
    }
    return -1;
}

void sp_gate_enter(struct sp_pump *pump, uint32_t type, const uint8_t *data, size_t len,
                   const struct sp_endpoint *from, const struct sp_source *local)
{
    static const size_t lengths[] = {
        [SP_MESSAGE_INITIATION] = SP_INITIATION_BYTES,
        [SP_MESSAGE_RESPONSE] = SP_RESPONSE_BYTES,
        [SP_MESSAGE_COOKIE] = SP_COOKIE_BYTES,
    };
    struct sp_datagram *up;
    int key = 0;

    if (len != lengths[type]) {
        sp_drop(pump, SP_DROP_MALFORMED, 1);
        return;
    }
    if (type != SP_MESSAGE_COOKIE) { /* a cookie reply has no mac1: it is sealed to what we sent */
        key = matching_key(&pump->gate, data, len);
        if (key < 0) {
            sp_drop(pump, SP_DROP_MAC1, 1);
            return;
        }
    }
    up = sp_upward_room(pump);
    if (up == NULL) {
        sp_drop(pump, SP_DROP_RING_FULL, 1);
        return;
    }
    up->len = (uint16_t)len;
    up->mac1_key = (uint16_t)key;
    up->local_ifindex = local->family == 0 ? 0 : local->ifindex;
    up->from = *from;
    memset(up->local, 0, sizeof(up->local));
    if (local->family != 0)
        memcpy(up->local, local->addr, sizeof(up->local));
    memcpy(up->data, data, len);
    memset(up->data + len, 0, sizeof(up->data) - len);
    sp_upward_push(pump);
}

int sp_gate_set(struct sp_pump *pump, const uint8_t *mac1_keys, int n)
{
    if (n < 0 || n > SP_MAX_MAC1_KEYS)
        return -EINVAL;
    sp_pump_take(pump);
    memset(pump->gate.keys, 0, sizeof(pump->gate.keys));
    if (n > 0)
        memcpy(pump->gate.keys, mac1_keys, (size_t)n * SP_KEY_BYTES);
    pump->gate.count = n;
    sp_pump_give(pump);
    return 0;
}
