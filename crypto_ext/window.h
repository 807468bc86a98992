/* The replay window of one receiving key: RFC 6479, 8192 bits, of which 8128 are usable. */
#ifndef SALLYPORT_WINDOW_H
#define SALLYPORT_WINDOW_H

#include <stdint.h>

enum { SP_WINDOW_WORDS = 128 };

struct sp_window {
    uint64_t top; /* 1 + greatest counter accepted; 0: none yet */
    uint64_t bits[SP_WINDOW_WORDS];
};

/* 1 and remembered when the counter is new and not too old; else 0. To be asked only of packets that
 * are authentic. Counters of REJECT_AFTER_MESSAGES and more are refused. */
int sp_window_accept(struct sp_window *window, uint64_t counter);

#endif
