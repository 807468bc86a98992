/* Wiping secrets. */
#include <string.h>

#include "api.h"

/* Overwrites a secret in a way that no compiler may leave out. */
void sp_wipe(void *memory, size_t bytes)
{
    explicit_bzero(memory, bytes);
}
