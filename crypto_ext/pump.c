/* Birth and death of a pump: one block of memory, its tables and buffers, and nothing else anywhere. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "state.h"

static int fill(struct sp_pump *pump, const char *aead_path, uint64_t seed)
{
    static int (*const parts[])(struct sp_pump *) = {
        sp_upward_init, sp_peers_init,   sp_keypairs_init, sp_purses_init,
        sp_udp_init,    sp_staging_init, sp_train_init,    sp_tun_init,
    };

    sp_timers_init(pump, seed);
    sp_lost_init(pump, seed);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int result = parts[i](pump);
        if (result != 0)
            return result;
    }
    pump->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pump->prefixes = sp_trie_new();
    pump->aead = sp_aead_new(aead_path);
    return pump->wake_fd < 0 || pump->prefixes == NULL || pump->aead == NULL ? -ENOMEM : 0;
}

struct sp_pump *sp_pump_new(const char *aead_path, uint64_t seed)
{
    struct sp_pump *pump = calloc(1, sizeof(*pump));

    if (pump == NULL)
        return NULL;
    pump->wake_fd = -1;
    pump->up.fd = -1;
    if (fill(pump, aead_path, seed) != 0) {
        sp_pump_free(pump);
        return NULL;
    }
    return pump;
}

void sp_pump_free(struct sp_pump *pump)
{
    if (pump == NULL)
        return;
    /* Each of these copes with a part that was never made. Peers go before the keypairs they hold. */
    sp_peers_close(pump);
    sp_keypairs_close(pump);
    sp_purses_close(pump);
    sp_timers_close(pump);
    sp_staging_close(pump);
    sp_train_close(pump);
    sp_tun_close(pump);
    sp_udp_close(pump);
    sp_upward_close(pump);
    if (pump->prefixes != NULL)
        sp_trie_free(pump->prefixes);
    if (pump->aead != NULL)
        sp_aead_free(pump->aead);
    if (pump->wake_fd >= 0)
        close(pump->wake_fd);
    sp_wipe(pump, sizeof(*pump));
    free(pump);
}

const char *sp_pump_aead(const struct sp_pump *pump)
{
    return sp_aead_path(pump->aead);
}
