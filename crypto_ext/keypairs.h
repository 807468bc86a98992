/* Keypairs: previous, current and next of every peer.
 *
 * The rules of rotation are the kernel's (noise.c): an initiator's new keypair is current at once, a
 * responder's waits as next until the peer has used it. A keypair that falls out is wiped at once and
 * freed when the burst in progress no longer points to it. */
#ifndef SALLYPORT_KEYPAIRS_H
#define SALLYPORT_KEYPAIRS_H

#include "api.h"
#include "indices.h"
#include "window.h"

struct sp_peer;

struct sp_keypair {
    uint8_t send_key[SP_KEY_BYTES];
    uint8_t receive_key[SP_KEY_BYTES];
    uint64_t send_counter; /* of the next message */
    uint64_t created_ns;
    struct sp_peer *peer; /* NULL: retired */
    struct sp_keypair *next_retired;
    uint32_t local_index;
    uint32_t remote_index;
    uint8_t is_initiator;
    uint8_t no_send;     /* expired by configuration: received on, not sent on */
    uint8_t last_minute; /* the last-minute rekey was asked for */
    struct sp_window window;
};

struct sp_keypairs {
    struct sp_indices indices;
    struct sp_keypair *retired;
};

int sp_keypairs_init(struct sp_pump *pump);
void sp_keypairs_close(struct sp_pump *pump);
struct sp_keypair *sp_keypairs_find(const struct sp_pump *pump, uint32_t local_index);
/* The peer used this keypair. 1 when it was next and is now current. */
int sp_keypairs_used(struct sp_pump *pump, struct sp_keypair *keypair);
/* The peer's current keypair if it may still be sent on, else NULL. */
struct sp_keypair *sp_keypairs_to_send(const struct sp_peer *peer, uint64_t now_ns);
/* May a transport message with this counter still be opened? */
int sp_keypair_receives(const struct sp_keypair *keypair, uint64_t counter, uint64_t now_ns);
/* Should a newer key be fetched, now that this one was sent on (or received on)? */
int sp_keypair_stale_to_send(const struct sp_keypair *keypair, uint64_t now_ns);
int sp_keypair_last_minute(const struct sp_keypair *keypair, uint64_t now_ns);
void sp_keypairs_erase(struct sp_pump *pump, struct sp_peer *peer);
void sp_keypairs_bury(struct sp_pump *pump); /* frees what is retired; when no burst points to any */

#endif
