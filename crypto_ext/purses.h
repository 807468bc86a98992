/* Purses: a number of bytes that several peers may spend (one account, many sessions).
 *
 * Each inner packet is paid for when it passes: then it is subtracted and billed, in one step and for
 * good. A packet that does not fit is refused and latches the purse shut, also for smaller packets, so
 * that billed bytes never exceed the limit; every peer of the purse is then marked for Python. */
#ifndef SALLYPORT_PURSES_H
#define SALLYPORT_PURSES_H

#include "api.h"
#include "list.h"

struct sp_peer;

#define SP_PURSE_UNLIMITED UINT64_MAX

struct sp_purse {
    uint64_t bytes;
    uint8_t shut;
    struct sp_link peers;
};

struct sp_purses {
    struct sp_purse **table; /* number -> purse; pointers, because lists point into a purse */
    uint32_t size;
};

int sp_purses_init(struct sp_pump *pump);
void sp_purses_close(struct sp_pump *pump);
struct sp_purse *sp_purse_find(struct sp_pump *pump, int number);
/* 1: paid and billed in the peer's slot; 0: refused, drop the packet. toward_client picks the words. */
int sp_purse_pay(struct sp_pump *pump, struct sp_peer *peer, uint32_t bytes, int toward_client);

#endif
