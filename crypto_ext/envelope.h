/* One sendmsg to a peer: datagrams of equal size in one buffer, under the peer's address and, where that is known,
 * from the address of ours that it reached. Waits for a full socket buffer while its caller has patience. */
#ifndef SALLYPORT_ENVELOPE_H
#define SALLYPORT_ENVELOPE_H

#include <stdint.h>

struct sp_peer;
struct sp_pump;

/* For all sends of a train together, as the table lock is held: waits of a millisecond at most. */
enum { SP_ENVELOPE_PATIENCE = 10 };

/* Sends len bytes as datagrams of `size`, by UDP segmentation when there are several; 0 or a negative errno. Each wait
 * takes one off *patience; without any left a full buffer is an error at once. */
int sp_envelope_send(struct sp_pump *pump, struct sp_peer *peer, uint8_t *data, uint32_t len, uint32_t size,
                     int *patience);

#endif
