/* The replay window (RFC 6479): a ring of words that slides word by word, so that moving it on means
 * clearing the words it enters and never shifting bits. One word of the ring is always the one being
 * entered, which is why 128 x 64 = 8192 bits remember 8128 counters behind the greatest.
 *
 * `top` is one more than the greatest counter accepted and 0 means none, so a zeroed window is a fresh
 * one; bits are kept for counter + 1 likewise. The edges are those of the kernel's counter selftest. */
#include "window.h"

enum { WORD_BITS = 64, WINDOW_COUNTERS = (SP_WINDOW_WORDS - 1) * WORD_BITS };

#define REJECT_AFTER_MESSAGES (UINT64_MAX - WINDOW_COUNTERS - 1)

int sp_window_accept(struct sp_window *window, uint64_t counter)
{
    uint64_t place, word, bit;

    if (counter >= REJECT_AFTER_MESSAGES)
        return 0;
    place = counter + 1; /* no overflow below: place + WINDOW_COUNTERS < 2^64 */
    if (place + WINDOW_COUNTERS < window->top)
        return 0;

    word = place / WORD_BITS;
    bit = 1ULL << place % WORD_BITS;
    if (place > window->top) {
        uint64_t at = window->top / WORD_BITS;
        uint64_t entered = word - at < SP_WINDOW_WORDS ? word - at : SP_WINDOW_WORDS;
        for (uint64_t i = 1; i <= entered; i++)
            window->bits[(at + i) % SP_WINDOW_WORDS] = 0;
        window->top = place;
    }
    word %= SP_WINDOW_WORDS;
    if (window->bits[word] & bit)
        return 0;
    window->bits[word] |= bit;
    return 1;
}
