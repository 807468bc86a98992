/* The three slots of every peer and the index table (keypairs.h). */
#include "keypairs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

enum { FIRST_TABLE = 64 };

int sp_keypairs_init(struct sp_pump *pump)
{
    pump->keypairs.table = calloc(FIRST_TABLE, sizeof(*pump->keypairs.table));
    pump->keypairs.mask = FIRST_TABLE - 1;
    return pump->keypairs.table == NULL ? -ENOMEM : 0;
}

/* Local indices are random numbers that we drew ourselves, so their low bits are as good as any hash. */
static uint32_t place_of(const struct sp_keypairs *keypairs, uint32_t index)
{
    uint32_t place = index & keypairs->mask;

    while (keypairs->table[place] != NULL && keypairs->table[place]->local_index != index)
        place = (place + 1) & keypairs->mask;
    return place;
}

struct sp_keypair *sp_keypairs_find(const struct sp_pump *pump, uint32_t local_index)
{
    return pump->keypairs.table[place_of(&pump->keypairs, local_index)];
}

/* At most half full, so that probing stays short. */
static int table_reserve(struct sp_keypairs *keypairs)
{
    struct sp_keypair **old = keypairs->table;
    uint32_t size = keypairs->mask + 1;

    if ((keypairs->count + 1) * 2 <= size)
        return 0;
    keypairs->table = calloc((size_t)size * 2, sizeof(*old));
    if (keypairs->table == NULL) {
        keypairs->table = old;
        return -ENOMEM;
    }
    keypairs->mask = size * 2 - 1;
    for (uint32_t i = 0; i < size; i++)
        if (old[i] != NULL)
            keypairs->table[place_of(keypairs, old[i]->local_index)] = old[i];
    free(old);
    return 0;
}

/* Removal without tombstones: whatever probed past the hole moves back into it. */
static void table_remove(struct sp_keypairs *keypairs, uint32_t index)
{
    uint32_t hole = place_of(keypairs, index);
    uint32_t place = hole;

    keypairs->table[hole] = NULL;
    keypairs->count--;
    for (;;) {
        struct sp_keypair *moved;
        uint32_t home;
        place = (place + 1) & keypairs->mask;
        moved = keypairs->table[place];
        if (moved == NULL)
            return;
        home = moved->local_index & keypairs->mask;
        if (((place - home) & keypairs->mask) < ((place - hole) & keypairs->mask))
            continue; /* its home lies behind the hole: it may stay */
        keypairs->table[hole] = moved;
        keypairs->table[place] = NULL;
        hole = place;
    }
}

static void retire(struct sp_pump *pump, struct sp_keypair **slot)
{
    struct sp_keypair *keypair = *slot;

    *slot = NULL;
    if (keypair == NULL)
        return;
    table_remove(&pump->keypairs, keypair->local_index);
    sp_wipe(keypair, sizeof(*keypair));
    keypair->next_retired = pump->keypairs.retired;
    pump->keypairs.retired = keypair;
}

void sp_keypairs_bury(struct sp_pump *pump)
{
    if (pump->aead != NULL)
        sp_aead_forget(pump->aead);
    while (pump->keypairs.retired != NULL) {
        struct sp_keypair *keypair = pump->keypairs.retired;
        pump->keypairs.retired = keypair->next_retired;
        free(keypair);
    }
}

void sp_keypairs_erase(struct sp_pump *pump, struct sp_peer *peer)
{
    retire(pump, &peer->previous);
    retire(pump, &peer->current);
    retire(pump, &peer->next);
    peer->key_asked_ns = 0;
}

void sp_keypairs_close(struct sp_pump *pump)
{
    sp_keypairs_bury(pump);
    free(pump->keypairs.table);
}

int sp_keypairs_used(struct sp_pump *pump, struct sp_keypair *keypair)
{
    struct sp_peer *peer = keypair->peer;

    if (peer->next != keypair)
        return 0;
    retire(pump, &peer->previous);
    peer->previous = peer->current;
    peer->current = keypair;
    peer->next = NULL;
    return 1;
}

/* No subtraction of times: a clock that a test (or a race between readers) moves back must not wrap. */
static int older(const struct sp_keypair *keypair, uint64_t than_ns, uint64_t now_ns)
{
    return now_ns > keypair->created_ns + than_ns;
}

struct sp_keypair *sp_keypairs_to_send(const struct sp_peer *peer, uint64_t now_ns)
{
    struct sp_keypair *keypair = peer->current;

    if (keypair == NULL || keypair->no_send || keypair->send_counter >= SP_REJECT_AFTER_MESSAGES ||
        now_ns >= keypair->created_ns + SP_REJECT_AFTER_TIME_NS)
        return NULL;
    return keypair;
}

int sp_keypair_receives(const struct sp_keypair *keypair, uint64_t counter, uint64_t now_ns)
{
    return counter < SP_REJECT_AFTER_MESSAGES && now_ns < keypair->created_ns + SP_REJECT_AFTER_TIME_NS;
}

int sp_keypair_stale_to_send(const struct sp_keypair *keypair, uint64_t now_ns)
{
    return keypair->send_counter > SP_REKEY_AFTER_MESSAGES ||
           (keypair->is_initiator && older(keypair, SP_REKEY_AFTER_TIME_NS, now_ns));
}

int sp_keypair_last_minute(const struct sp_keypair *keypair, uint64_t now_ns)
{
    return keypair->is_initiator && !keypair->no_send && !keypair->last_minute &&
           older(keypair, SP_LAST_MINUTE_NS, now_ns);
}

/* Puts a new keypair into the slots (noise.c, add_new_keypair). */
static void rotate(struct sp_pump *pump, struct sp_peer *peer, struct sp_keypair *fresh)
{
    if (!fresh->is_initiator) {
        retire(pump, &peer->next);
        peer->next = fresh;
        retire(pump, &peer->previous);
        return;
    }
    retire(pump, &peer->previous);
    if (peer->next != NULL) {
        peer->previous = peer->next;
        peer->next = NULL;
        retire(pump, &peer->current);
    } else {
        peer->previous = peer->current;
    }
    peer->current = fresh;
}

static int install(struct sp_pump *pump, struct sp_peer *peer, const struct sp_keypair_spec *spec)
{
    struct sp_keypairs *keypairs = &pump->keypairs;
    struct sp_keypair *fresh;

    if (sp_keypairs_find(pump, spec->local_index) != NULL)
        return -EADDRINUSE;
    if (table_reserve(keypairs) != 0)
        return -ENOMEM;
    fresh = calloc(1, sizeof(*fresh));
    if (fresh == NULL)
        return -ENOMEM;
    memcpy(fresh->send_key, spec->send_key, SP_KEY_BYTES);
    memcpy(fresh->receive_key, spec->receive_key, SP_KEY_BYTES);
    fresh->local_index = spec->local_index;
    fresh->remote_index = spec->remote_index;
    fresh->created_ns = spec->created_ns;
    fresh->is_initiator = spec->is_initiator != 0;
    fresh->peer = peer;
    keypairs->table[place_of(keypairs, fresh->local_index)] = fresh;
    keypairs->count++;
    rotate(pump, peer, fresh);
    sp_lost_remove(pump, peer);
    peer->key_asked_ns = 0;
    return 0;
}

int sp_peer_install(struct sp_pump *pump, uint32_t number, const struct sp_keypair_spec *spec, uint64_t now_ns)
{
    struct sp_peer *peer;
    int result = -ENOENT;

    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL)
        result = install(pump, peer, spec);
    /* The responder may send only when it has heard from us on the new key: data, or else a keepalive. */
    if (result == 0 && spec->is_initiator)
        sp_outward_keepalive(pump, peer, now_ns);
    sp_pump_give(pump);
    return result;
}

int sp_peer_erase_keys(struct sp_pump *pump, uint32_t number)
{
    struct sp_peer *peer;

    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL)
        sp_keypairs_erase(pump, peer);
    sp_pump_give(pump);
    return peer == NULL ? -ENOENT : 0;
}

int sp_peer_expire_keys(struct sp_pump *pump, uint32_t number)
{
    struct sp_peer *peer;

    sp_pump_take(pump);
    peer = sp_peers_find(pump, number);
    if (peer != NULL) {
        if (peer->current != NULL)
            peer->current->no_send = 1;
        if (peer->next != NULL)
            peer->next->no_send = 1;
        peer->key_asked_ns = 0;
    }
    sp_pump_give(pump);
    return peer == NULL ? -ENOENT : 0;
}

int sp_index_in_use(struct sp_pump *pump, uint32_t index)
{
    int used;

    sp_pump_take(pump);
    used = sp_keypairs_find(pump, index) != NULL;
    sp_pump_give(pump);
    return used;
}
