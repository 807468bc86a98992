/* One turn of the pump: what is due, then a little from each side.
 *
 * Small budgets keep latency low while both directions are busy: one burst from each descriptor. The table lock is
 * given back after each, so that a control thread waits for one burst at most. */
#include <errno.h>

#include "state.h"

typedef int burst(struct sp_pump *pump, uint64_t now_ns, int *drained);

static int udp4_burst(struct sp_pump *pump, uint64_t now_ns, int *drained)
{
    return pump->udp.fd4 < 0 ? 0 : sp_inward_burst(pump, pump->udp.fd4, now_ns, drained);
}

static int udp6_burst(struct sp_pump *pump, uint64_t now_ns, int *drained)
{
    return pump->udp.fd6 < 0 ? 0 : sp_inward_burst(pump, pump->udp.fd6, now_ns, drained);
}

static const struct {
    unsigned bit;
    burst *run;
} sources[] = {
    {SP_READY_UDP4, udp4_burst},
    {SP_READY_UDP6, udp6_burst},
    {SP_READY_TUN, sp_outward_burst},
};

/* Errors that will not pass: the descriptor itself is no more. All others (an ICMP answer to something
 * we sent, no memory, interface down) are read once and gone, or are waited out by sp_run. */
static int is_fatal(int error)
{
    return error == -ESHUTDOWN || error == -EBADF || error == -ENOTSOCK;
}

int sp_turn(struct sp_pump *pump, uint64_t now_ns, unsigned *ready, unsigned *failed)
{
    int handled;

    *failed = 0;
    sp_pump_take(pump);
    pump->asleep = 0;
    pump->stats.turns++;
    handled = sp_timers_run(pump, now_ns);
    sp_pump_give(pump);
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        int drained = 0;
        int n;
        if (!(*ready & sources[i].bit))
            continue;
        sp_pump_take(pump);
        n = sources[i].run(pump, now_ns, &drained);
        if (pump->tun.gone) /* a write may be the first to notice */
            n = -ESHUTDOWN;
        sp_pump_give(pump);
        if (n < 0 && is_fatal(n))
            return n;
        if (n < 0)
            *failed |= sources[i].bit;
        if (n <= 0 || drained)
            *ready &= ~sources[i].bit;
        if (n > 0)
            handled += n;
    }
    return handled;
}

int sp_step(struct sp_pump *pump, uint64_t now_ns)
{
    unsigned ready = SP_READY_ALL;
    unsigned failed;

    return sp_turn(pump, now_ns, &ready, &failed);
}
