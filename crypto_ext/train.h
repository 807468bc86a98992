/* The train: sealed datagrams for one peer, back to back in one buffer, ready for UDP segmentation.
 *
 * Packets are written into their slots, or only their headers are and the rest stays where it was read; then
 * all are sealed with one call, which leaves them in their slots, and sent with as few sendmsg as the kernel
 * allows. All datagrams are of equal size, only the last may be shorter (that is
 * what UDP_SEGMENT can express); a train that cannot take the next packet leaves first. Never holds
 * anything back: whoever fills it flushes it before the table lock is given back. */
#ifndef SALLYPORT_TRAIN_H
#define SALLYPORT_TRAIN_H

#include "api.h"

struct sp_peer;
struct sp_keypair;

enum {
    SP_TRAIN_DATAGRAMS = 192,
    SP_TRAIN_BYTES = 256 * 1024,
    /* Three superpackets of 64 KB: two sends take one of them, but four take three. More would save little,
     * make the cache colder, and let the first ones wait longer. */
    SP_TRAIN_FULL_BYTES = 180 * 1024
};

struct sp_train {
    uint8_t *bytes;
    struct sp_peer *peer;
    struct sp_keypair *keypair;
    uint32_t count;
    uint32_t sealed; /* of them, from the first on */
    uint32_t used;
    uint32_t size; /* of every datagram but a shorter last one */
    int closed;    /* a shorter one is in */
    int data;      /* at least one is no keepalive */
    struct sp_aead_job jobs[SP_TRAIN_DATAGRAMS];
};

int sp_train_init(struct sp_pump *pump);
void sp_train_close(struct sp_pump *pump);
/* A place for a packet of len bytes, to be filled before the next call; draws the next counter of the
 * keypair, which must be usable and below REJECT_AFTER_MESSAGES. */
uint8_t *sp_train_slot(struct sp_pump *pump, struct sp_peer *peer, struct sp_keypair *keypair, uint32_t len,
                       uint64_t now_ns);
/* Of the packet for which there was a place last, only the first `head` bytes were filled in; byte k of the
 * others stands at packet + k, where it must stay until sp_train_seal. */
void sp_train_leave(struct sp_pump *pump, const uint8_t *packet, uint32_t head, uint32_t len);
/* Seals what is in. What was left elsewhere is needed no longer; the train goes on. */
void sp_train_seal(struct sp_pump *pump);
void sp_train_flush(struct sp_pump *pump, uint64_t now_ns);

#endif
