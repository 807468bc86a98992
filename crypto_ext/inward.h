/* From the network to the TUN: classify, open, judge, join, write. */
#ifndef SALLYPORT_INWARD_H
#define SALLYPORT_INWARD_H

#include "api.h"
#include "keypairs.h"
#include "udp_io.h"

enum { SP_INWARD_BATCH = 256 };

struct sp_inward {
    uint32_t count;
    struct sp_aead_job jobs[SP_INWARD_BATCH];
    struct sp_keypair *keypairs[SP_INWARD_BATCH];
    const struct sp_arrival *arrivals[SP_INWARD_BATCH];
};

/* One burst from that socket: how many messages (GRO batches), or a negative errno. *drained is
 * set when the socket had nothing more. */
int sp_inward_burst(struct sp_pump *pump, int fd, uint64_t now_ns, int *drained);

#endif
