/* Peers that may hold a key of ours that we lost: after a restart a client goes on sending on its old key,
 * whose index means nothing to us, and would notice only after 15 s. We know where it is (its slot, or
 * the configuration, told us), so a transport message with an unknown index from exactly that endpoint
 * makes us shake hands with it. The message proves nothing: all that a forged one can cause is an initiation
 * to where the peer really was, not more often than every 5 s, and only while it has no key at all. */
#ifndef SALLYPORT_LOST_H
#define SALLYPORT_LOST_H

#include "api.h"
#include "list.h"

struct sp_peer;

enum { SP_LOST_BUCKETS = 1024 };

struct sp_lost {
    struct sp_link buckets[SP_LOST_BUCKETS];
    uint32_t members;
    uint32_t secret;
};

void sp_lost_init(struct sp_pump *pump, uint64_t seed);
void sp_lost_add(struct sp_pump *pump, struct sp_peer *peer);    /* it has an endpoint and no key */
void sp_lost_remove(struct sp_pump *pump, struct sp_peer *peer); /* harmless when it is not there */
/* A transport message with an index that is not ours came from there. */
void sp_lost_heard(struct sp_pump *pump, const struct sp_endpoint *from, uint64_t now_ns);

#endif
