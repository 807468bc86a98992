/* The pump as a whole: what all the parts below share. Everything here is guarded by the table lock,
 * except where a comment says otherwise. */
#ifndef SALLYPORT_STATE_H
#define SALLYPORT_STATE_H

#include "sys.h"

#include "api.h"
#include "directory.h"
#include "gate.h"
#include "inward.h"
#include "keypairs.h"
#include "lost.h"
#include "protocol.h"
#include "lock.h"
#include "outward.h"
#include "peers.h"
#include "purses.h"
#include "staging.h"
#include "timers.h"
#include "train.h"
#include "trie.h"
#include "tun_io.h"
#include "udp_io.h"
#include "upward.h"

/* Which descriptors a turn shall try. */
enum { SP_READY_UDP4 = 1, SP_READY_UDP6 = 2, SP_READY_TUN = 4, SP_READY_ALL = 7 };

struct sp_pump {
    struct sp_lock lock;
    struct sp_aead *aead;
    struct sp_trie *prefixes;
    struct sp_peers peers;
    struct sp_directory directory;
    struct sp_keypairs keypairs;
    struct sp_lost lost;
    struct sp_purses purses;
    struct sp_timers timers;
    struct sp_staging staging;
    struct sp_upward up;
    struct sp_gate gate;
    struct sp_train train;
    struct sp_udp udp;
    struct sp_tun tun;
    struct sp_inward inward;
    struct sp_stats stats;
    uint8_t scratch[SP_PACKET_BYTES + 1]; /* one staged packet on its way in or out */
    int asleep;                           /* sp_run waits, or is about to, ... */
    uint64_t armed_ns;                    /* ... for this deadline at the latest; 0: for none */

    /* No lock: atomics, and a descriptor that lives as long as the pump. */
    int wake_fd;
    int stop;
    int ping;
    int running;
};

static inline void sp_drop(struct sp_pump *pump, enum sp_drop reason, uint32_t packets)
{
    pump->stats.drops[reason] += packets;
}

static inline void sp_pump_take(struct sp_pump *pump)
{
    sp_lock_take(&pump->lock);
}

/* Brings a pump that sleeps in sp_run back to look at its flags, descriptors and timers. No lock. */
void sp_pump_kick(struct sp_pump *pump);

/* Gives the table lock back. No pointer to a retired keypair can be left by then; and if what was done
 * set a timer that comes before the one which the pump sleeps for, it must look again. */
static inline void sp_pump_give(struct sp_pump *pump)
{
    int kick = 0;

    if (pump->keypairs.retired != NULL)
        sp_keypairs_bury(pump);
    if (pump->asleep && sp_heap_first(&pump->timers.heap) != NULL &&
        (pump->armed_ns == 0 || sp_heap_first(&pump->timers.heap)->heap_ns < pump->armed_ns)) {
        pump->asleep = 0;
        kick = 1;
    }
    sp_lock_give(&pump->lock);
    if (kick)
        sp_pump_kick(pump);
}

/* One turn over the descriptors in `ready`; those that had nothing more are taken out of it, and those
 * that gave an error put into `failed`. */
int sp_turn(struct sp_pump *pump, uint64_t now_ns, unsigned *ready, unsigned *failed);

#endif
