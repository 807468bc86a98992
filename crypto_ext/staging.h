/* Packets that wait for a key: at most 128 per peer, the oldest make room for the newest.
 *
 * They lie in chains of 2 KB blocks of one fixed pool, reserved once as address space and touched only
 * as far as it was ever needed at a time. Staged packets are not billed: they are when they leave. */
#ifndef SALLYPORT_STAGING_H
#define SALLYPORT_STAGING_H

#include "api.h"

struct sp_peer;

enum { SP_STAGING_BLOCK_BYTES = 2048, SP_STAGING_BLOCKS = 16384 };

struct sp_staging {
    uint8_t *pool;
    uint32_t touched; /* blocks ever used since the pool was last empty */
    uint32_t used;
    uint32_t free_first; /* block + 1 */
};

int sp_staging_init(struct sp_pump *pump);
void sp_staging_close(struct sp_pump *pump);
void sp_stage(struct sp_pump *pump, struct sp_peer *peer, const uint8_t *packet, uint32_t len);
/* Copies the oldest staged packet out and frees it: its length, 0 when there is none. */
uint32_t sp_unstage(struct sp_pump *pump, struct sp_peer *peer, uint8_t *out);
void sp_staging_drop(struct sp_pump *pump, struct sp_peer *peer, enum sp_drop reason);

#endif
