/* The gate before Python: a handshake message goes up only if its length is exact and its mac1 proves
 * that the sender knows our public key. Everything else about it is Python's. */
#ifndef SALLYPORT_GATE_H
#define SALLYPORT_GATE_H

#include "api.h"
#include "peers.h"

struct sp_gate {
    uint8_t keys[SP_MAX_MAC1_KEYS][SP_KEY_BYTES];
    int count;
};

/* type: the first four bytes, 1 to 3. */
void sp_gate_enter(struct sp_pump *pump, uint32_t type, const uint8_t *data, size_t len,
                   const struct sp_endpoint *from, const struct sp_source *local);

#endif
