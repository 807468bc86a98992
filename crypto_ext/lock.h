/* The table lock: first come, first served.
 *
 * The pump takes it for every burst, thousands of times a second, and lets go only for an instant. With
 * an ordinary mutex a Python thread that waits for it could wait for ever; with tickets it is next. */
#ifndef SALLYPORT_LOCK_H
#define SALLYPORT_LOCK_H

#include <stdint.h>

struct sp_lock {
    uint32_t next;    /* the ticket that the next comer draws */
    uint32_t serving; /* the ticket whose holder may enter; also the futex word */
};

void sp_lock_take(struct sp_lock *lock);
void sp_lock_give(struct sp_lock *lock);

#endif
