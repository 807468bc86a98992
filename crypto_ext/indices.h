/* The table from local index, by which the other side addresses us, to keypair.
 *
 * We drew the indices ourselves, at random, so their low bits are as good as any hash. */
#ifndef SALLYPORT_INDICES_H
#define SALLYPORT_INDICES_H

#include <stdint.h>

struct sp_keypair;

struct sp_indices {
    struct sp_keypair **table;
    uint32_t mask;
    uint32_t count;
};

int sp_indices_init(struct sp_indices *indices); /* 0 or a negative errno */
void sp_indices_close(struct sp_indices *indices);
/* NULL: nobody's. */
struct sp_keypair *sp_indices_find(const struct sp_indices *indices, uint32_t index);
/* Room for one more. 0 or a negative errno. */
int sp_indices_reserve(struct sp_indices *indices);
void sp_indices_put(struct sp_indices *indices, struct sp_keypair *keypair); /* its index must be nobody's */
void sp_indices_remove(struct sp_indices *indices, uint32_t index);          /* somebody's */

#endif
