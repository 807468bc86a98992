/* The table from local index to keypair: open addressing, linear probing (indices.h). */
#include "indices.h"

#include <errno.h>
#include <stdlib.h>

#include "keypairs.h"

enum { FIRST_SIZE = 64 };

int sp_indices_init(struct sp_indices *indices)
{
    indices->table = calloc(FIRST_SIZE, sizeof(*indices->table));
    indices->mask = FIRST_SIZE - 1;
    return indices->table == NULL ? -ENOMEM : 0;
}

void sp_indices_close(struct sp_indices *indices)
{
    free(indices->table);
}

static uint32_t place_of(const struct sp_indices *indices, uint32_t index)
{
    uint32_t place = index & indices->mask;

    while (indices->table[place] != NULL && indices->table[place]->local_index != index)
        place = (place + 1) & indices->mask;
    return place;
}

struct sp_keypair *sp_indices_find(const struct sp_indices *indices, uint32_t index)
{
    return indices->table[place_of(indices, index)];
}

/* At most half full, so that probing stays short. */
int sp_indices_reserve(struct sp_indices *indices)
{
    struct sp_keypair **old = indices->table;
    uint32_t size = indices->mask + 1;

    if ((indices->count + 1) * 2 <= size)
        return 0;
    indices->table = calloc((size_t)size * 2, sizeof(*old));
    if (indices->table == NULL) {
        indices->table = old;
        return -ENOMEM;
    }
    indices->mask = size * 2 - 1;
    for (uint32_t i = 0; i < size; i++)
        if (old[i] != NULL)
            indices->table[place_of(indices, old[i]->local_index)] = old[i];
    free(old);
    return 0;
}

void sp_indices_put(struct sp_indices *indices, struct sp_keypair *keypair)
{
    indices->table[place_of(indices, keypair->local_index)] = keypair;
    indices->count++;
}

/* Removal without tombstones: whatever probed past the hole moves back into it. */
void sp_indices_remove(struct sp_indices *indices, uint32_t index)
{
    uint32_t hole = place_of(indices, index);
    uint32_t place = hole;

    indices->table[hole] = NULL;
    indices->count--;
    for (;;) {
        struct sp_keypair *moved;
        uint32_t home;
        place = (place + 1) & indices->mask;
        moved = indices->table[place];
        if (moved == NULL)
            return;
        home = moved->local_index & indices->mask;
        if (((place - home) & indices->mask) < ((place - hole) & indices->mask))
            continue; /* its home lies behind the hole: it may stay */
        indices->table[hole] = moved;
        indices->table[place] = NULL;
        hole = place;
    }
}
