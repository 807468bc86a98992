/* The two channels from the pump to Python, behind one eventfd.
 *
 * The ring carries handshake messages and may drop: the peer repeats them. Pending bits of peers, and the
 * events of the pump, may not drop: they are levels, set until somebody takes them, however often they
 * were raised meanwhile. The eventfd is readable exactly while something waits, and written only when
 * that begins. All of it happens under the table lock. */
#ifndef SALLYPORT_UPWARD_H
#define SALLYPORT_UPWARD_H

#include "api.h"
#include "list.h"

struct sp_peer;

enum { SP_RING_DATAGRAMS = 256 };

struct sp_upward {
    int fd;
    int readable;   /* what we believe of fd */
    int armed;      /* raise COUNTED at the next billed byte */
    uint32_t events;
    uint32_t head;  /* ring: first waiting, and how many */
    uint32_t count;
    struct sp_link dirty; /* peers with pending bits, oldest first */
    struct sp_datagram ring[SP_RING_DATAGRAMS];
};

int sp_upward_init(struct sp_pump *pump);
void sp_upward_close(struct sp_pump *pump);
/* Room for one handshake message, to be filled and then pushed; NULL when the ring is full. */
struct sp_datagram *sp_upward_room(struct sp_pump *pump);
void sp_upward_push(struct sp_pump *pump);
void sp_upward_event(struct sp_pump *pump, uint32_t event);
void sp_upward_mark(struct sp_pump *pump, struct sp_peer *peer, uint32_t bits);
void sp_upward_clear(struct sp_pump *pump, struct sp_peer *peer, uint32_t bits);
/* A notice is an event only the first time. */
void sp_upward_notice(struct sp_pump *pump, uint32_t notice);
void sp_upward_counted(struct sp_pump *pump);

#endif
