/* One sendmsg to a peer: datagrams of equal size in one buffer, under the peer's address and, where that is known,
 * from the address of ours that it reached. Waits for a full socket buffer, but a few milliseconds at most. */
#ifndef SALLYPORT_ENVELOPE_H
#define SALLYPORT_ENVELOPE_H

#include <stdint.h>

struct sp_peer;
struct sp_pump;

/* Sends len bytes as datagrams of `size`, by UDP segmentation when there are several; 0 or a negative errno. */
int sp_envelope_send(struct sp_pump *pump, struct sp_peer *peer, uint8_t *data, uint32_t len, uint32_t size);

#endif
