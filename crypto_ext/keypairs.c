/* The three slots of every peer (keypairs.h). */
#include "keypairs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

int sp_keypairs_init(struct sp_pump *pump)
{
    return sp_indices_init(&pump->keypairs.indices);
}

struct sp_keypair *sp_keypairs_find(const struct sp_pump *pump, uint32_t local_index)
{
    return sp_indices_find(&pump->keypairs.indices, local_index);
}

static void retire(struct sp_pump *pump, struct sp_keypair **slot)
{
    struct sp_keypair *keypair = *slot;

    *slot = NULL;
    if (keypair == NULL)
        return;
    sp_indices_remove(&pump->keypairs.indices, keypair->local_index);
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
    sp_indices_close(&pump->keypairs.indices);
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
    struct sp_indices *indices = &pump->keypairs.indices;
    struct sp_keypair *fresh;

    if (sp_keypairs_find(pump, spec->local_index) != NULL)
        return -EADDRINUSE;
    if (sp_indices_reserve(indices) != 0)
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
    sp_indices_put(indices, fresh);
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
