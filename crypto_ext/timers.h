/* The data-driven timers, as functions of (peer, now) named after what happened (the kernel's timers.c).
 *
 * Each peer has three: the passive keepalive (10 s after data came and nothing went back), the unanswered
 * data timer (15 s and a jitter after data went and nothing came back) and the persistent keepalive.
 * A heap orders the peers by their nearest deadline. It is lazy: traffic moves a deadline away many
 * thousand times a second, and that touches only the peer; the heap is put right when the old deadline
 * comes up, or when the pump asks how long it may sleep. */
#ifndef SALLYPORT_TIMERS_H
#define SALLYPORT_TIMERS_H

#include "api.h"
#include "heap.h"

struct sp_peer;

struct sp_timers {
    struct sp_heap heap;
    uint64_t random;
};

void sp_timers_init(struct sp_pump *pump, uint64_t seed);
void sp_timers_close(struct sp_pump *pump);
int sp_timers_reserve(struct sp_pump *pump, uint32_t peers); /* so that arming never allocates */

void sp_timers_data_sent(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns);
void sp_timers_data_received(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns);
void sp_timers_any_authenticated_packet_sent(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns);
void sp_timers_any_authenticated_packet_received(struct sp_pump *pump, struct sp_peer *peer, uint64_t now_ns);
void sp_timers_keepalive_set(struct sp_pump *pump, struct sp_peer *peer, uint16_t seconds, uint64_t now_ns);
void sp_timers_handshake_given_up(struct sp_peer *peer);
void sp_timers_stop(struct sp_pump *pump, struct sp_peer *peer);

int sp_timers_run(struct sp_pump *pump, uint64_t now_ns); /* fires what is due; how many */
uint64_t sp_timers_next(struct sp_pump *pump);            /* the true next deadline, 0: none */

#endif
