/* Wiping secrets. */
#include <string.h>

#include "aead.h"

/* Overwrites a secret in a way that no compiler may leave out. */
void sp_wipe(void *memory, size_t bytes)
{
    explicit_bzero(memory, bytes);
}

/* A frame where those of the functions called before were. */
__attribute__((noinline)) void sp_wipe_stack(void)
{
    uint8_t frame[SP_CIPHER_STACK_BYTES];
    sp_wipe(frame, sizeof frame);
}
