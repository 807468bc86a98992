/* Who has which public key: a hash from keys to peers, each of which knows the next one of its bucket. */
#ifndef SALLYPORT_DIRECTORY_H
#define SALLYPORT_DIRECTORY_H

#include "api.h"

struct sp_peer;

struct sp_directory {
    uint32_t *buckets; /* place + 1 of the first peer */
    uint32_t bucket_count;
    uint64_t secret;
};

int sp_directory_init(struct sp_pump *pump);
void sp_directory_close(struct sp_pump *pump);
struct sp_peer *sp_directory_find(struct sp_pump *pump, const uint8_t *public_key); /* NULL: nobody */
/* A peer with a number and a key of its own. */
void sp_directory_add(struct sp_pump *pump, struct sp_peer *peer);
void sp_directory_remove(struct sp_pump *pump, struct sp_peer *peer); /* which is in */

#endif
