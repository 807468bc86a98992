/* Purses, and paying from them (purses.h). */
#include "purses.h"

#include <errno.h>
#include <stdlib.h>

#include "state.h"

static struct sp_purse *purse_make(uint64_t bytes)
{
    struct sp_purse *purse = calloc(1, sizeof(*purse));

    if (purse != NULL) {
        purse->bytes = bytes;
        sp_list_init(&purse->peers);
    }
    return purse;
}

int sp_purses_init(struct sp_pump *pump)
{
    pump->purses.table = calloc(1, sizeof(*pump->purses.table));
    if (pump->purses.table == NULL)
        return -ENOMEM;
    pump->purses.table[0] = purse_make(SP_PURSE_UNLIMITED);
    pump->purses.size = 1;
    return pump->purses.table[0] == NULL ? -ENOMEM : 0;
}

void sp_purses_close(struct sp_pump *pump)
{
    for (uint32_t i = 0; i < pump->purses.size; i++)
        free(pump->purses.table[i]);
    free(pump->purses.table);
}

struct sp_purse *sp_purse_find(struct sp_pump *pump, int number)
{
    if (number < 0 || (uint32_t)number >= pump->purses.size)
        return NULL;
    return pump->purses.table[number];
}

int sp_purse_pay(struct sp_pump *pump, struct sp_peer *peer, uint32_t bytes, int toward_client)
{
    struct sp_purse *purse = peer->purse;

    if (purse->bytes != SP_PURSE_UNLIMITED) {
        if (!purse->shut && bytes > purse->bytes) {
            purse->shut = 1;
            for (struct sp_link *l = purse->peers.next; l != &purse->peers; l = l->next)
                sp_upward_mark(pump, SP_CONTAINER(l, struct sp_peer, purse_link), SP_PENDING_PURSE);
        }
        if (purse->shut) {
            sp_drop(pump, SP_DROP_PURSE, 1);
            return 0;
        }
        purse->bytes -= bytes;
    }
    sp_slot_add(peer, toward_client ? SP_SLOT_BYTES_IN : SP_SLOT_BYTES_OUT, bytes);
    sp_slot_add(peer, toward_client ? SP_SLOT_PACKETS_IN : SP_SLOT_PACKETS_OUT, 1);
    sp_upward_counted(pump);
    return 1;
}

/* A place in the table, growing it when all are taken; 0 is never free. */
static int place_find(struct sp_purses *purses)
{
    struct sp_purse **grown;
    uint32_t size = purses->size;

    for (uint32_t i = 1; i < size; i++)
        if (purses->table[i] == NULL)
            return (int)i;
    if (size > INT32_MAX / 2)
        return -ENOMEM;
    grown = realloc(purses->table, (size_t)size * 2 * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    for (uint32_t i = size; i < size * 2; i++)
        grown[i] = NULL;
    purses->table = grown;
    purses->size = size * 2;
    return (int)size;
}

int sp_purse_new(struct sp_pump *pump, uint64_t bytes)
{
    int number;

    sp_pump_take(pump);
    number = place_find(&pump->purses);
    if (number > 0) {
        pump->purses.table[number] = purse_make(bytes);
        if (pump->purses.table[number] == NULL)
            number = -ENOMEM;
    } else if (number == 0) {
        number = -ENOMEM;
    }
    sp_pump_give(pump);
    return number;
}

int sp_purse_set(struct sp_pump *pump, int number, uint64_t bytes)
{
    struct sp_purse *purse;
    int result = -ENOENT;

    if (number == 0)
        return -EPERM; /* the unlimited one is everybody's */
    sp_pump_take(pump);
    purse = sp_purse_find(pump, number);
    if (purse != NULL) {
        purse->bytes = bytes;
        purse->shut = 0;
        for (struct sp_link *l = purse->peers.next; l != &purse->peers; l = l->next)
            sp_upward_clear(pump, SP_CONTAINER(l, struct sp_peer, purse_link), SP_PENDING_PURSE);
        result = 0;
    }
    sp_pump_give(pump);
    return result;
}

int sp_purse_get(struct sp_pump *pump, int number, uint64_t *bytes, int *shut)
{
    struct sp_purse *purse;
    int result = -ENOENT;

    sp_pump_take(pump);
    purse = sp_purse_find(pump, number);
    if (purse != NULL) {
        *bytes = purse->bytes;
        *shut = purse->shut;
        result = 0;
    }
    sp_pump_give(pump);
    return result;
}

int sp_purse_free(struct sp_pump *pump, int number)
{
    struct sp_purse *purse;
    int result = -ENOENT;

    if (number == 0)
        return -EPERM;
    sp_pump_take(pump);
    purse = sp_purse_find(pump, number);
    if (purse != NULL) {
        result = sp_list_empty(&purse->peers) ? 0 : -EBUSY;
        if (result == 0) {
            pump->purses.table[number] = NULL;
            free(purse);
        }
    }
    sp_pump_give(pump);
    return result;
}
