/* What a call has left on the stack below its caller: how often 32 bytes stand there. Volatile reads, and no calls in
 * between, so that what is counted is what the last call left. */
#include <string.h>

#include "api.h"

enum { DEPTH = 8192 };

__attribute__((always_inline)) static inline int traces(const uint8_t *secret)
{
    const volatile uint8_t *end = __builtin_frame_address(0);
    int found = 0;

    for (const volatile uint8_t *p = end - DEPTH; p + 32 <= end; p++) { /* our own frame holds pointers only */
        int same = 0;
        while (same < 32 && p[same] == secret[same])
            same++;
        found += same == 32;
    }
    return found;
}

__attribute__((noinline)) static void leave(const uint8_t *key)
{
    uint8_t copy[32];

    memcpy(copy, key, sizeof copy);
    __asm__ volatile("" : : "r"(copy) : "memory"); /* so that it is really written */
}

/* There must be some, or the search proves nothing. */
int leaf_traces_of_a_copy(const uint8_t *key)
{
    leave(key);
    return traces(key);
}

int leaf_traces_of_symmetric(struct sp_symmetric *state, const uint8_t *key)
{
    int found = 0;

    sp_symmetric_mix(state, state, key, NULL, NULL);
    found += traces(state->chain_key);
    sp_symmetric_mix(state, state, key, key, key);
    found += traces(state->chain_key);
    sp_symmetric_seal(state, key, key, 32);
    found += traces(state->chain_key);
    sp_symmetric_open(state, key, key, 32);
    found += traces(state->chain_key);
    sp_symmetric_seal_end(state, key);
    found += traces(state->out) + traces(state->out + 32);
    return found;
}
