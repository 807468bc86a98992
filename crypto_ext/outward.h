/* From the TUN to the network: route, pay, split, number, seal, send. */
#ifndef SALLYPORT_OUTWARD_H
#define SALLYPORT_OUTWARD_H

#include "api.h"

struct sp_peer;

enum {
    SP_OUTWARD_READS = 16, /* small packets gathered before they are sealed and sent */
    SP_OUTWARD_LEFT_SEGMENTS = 8 /* superpackets of so many are sealed without a copy */
};

/* One burst from the TUN: how many packets, or a negative errno (-ESHUTDOWN: gone). */
int sp_outward_burst(struct sp_pump *pump, uint64_t now_ns, int *drained);
/* What waited for a key leaves, if there is one. How many packets left. */
uint32_t sp_outward_staged(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns);
/* An empty packet, or staged ones if there are any; without a key, asks for one. */
void sp_outward_keepalive(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns);

#endif
