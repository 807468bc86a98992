/* Ring, pending bits, events and the eventfd that announces them (upward.h). */
#include "upward.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "state.h"

int sp_upward_init(struct sp_pump *pump)
{
    sp_list_init(&pump->up.dirty);
    pump->up.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return pump->up.fd < 0 ? -errno : 0;
}

void sp_upward_close(struct sp_pump *pump)
{
    if (pump->up.fd >= 0)
        close(pump->up.fd);
}

/* Makes the eventfd say what is true. One that is already right costs no system call. */
static void settle(struct sp_upward *up)
{
    int waiting = up->events != 0 || up->count != 0 || !sp_list_empty(&up->dirty);
    uint64_t one = 1;
    ssize_t n = 0;

    if (waiting == up->readable)
        return;
    /* Neither can fail: the count is 0 or 1, and the descriptor is ours alone. */
    if (waiting)
        n = write(up->fd, &one, sizeof(one));
    else
        n = read(up->fd, &one, sizeof(one));
    (void)n;
    up->readable = waiting;
}

struct sp_datagram *sp_upward_room(struct sp_pump *pump)
{
    struct sp_upward *up = &pump->up;

    if (up->count == SP_RING_DATAGRAMS)
        return NULL;
    return &up->ring[(up->head + up->count) % SP_RING_DATAGRAMS];
}

void sp_upward_push(struct sp_pump *pump)
{
    pump->up.count++;
    pump->stats.handshakes_up++;
    settle(&pump->up);
}

void sp_upward_event(struct sp_pump *pump, uint32_t event)
{
    pump->up.events |= event;
    settle(&pump->up);
}

void sp_upward_mark(struct sp_pump *pump, struct sp_peer *peer, uint32_t bits)
{
    if ((peer->pending & bits) == bits)
        return;
    peer->pending |= bits;
    if (sp_list_empty(&peer->dirty))
        sp_list_append(&pump->up.dirty, &peer->dirty);
    settle(&pump->up);
}

void sp_upward_clear(struct sp_pump *pump, struct sp_peer *peer, uint32_t bits)
{
    peer->pending &= ~bits;
    if (peer->pending == 0 && !sp_list_empty(&peer->dirty)) {
        sp_list_remove(&peer->dirty);
        settle(&pump->up);
    }
}

void sp_upward_notice(struct sp_pump *pump, uint32_t notice)
{
    if ((pump->stats.notices & notice) == notice)
        return;
    pump->stats.notices |= notice;
    sp_upward_event(pump, SP_EVENT_NOTICE);
}

void sp_upward_counted(struct sp_pump *pump)
{
    if (!pump->up.armed)
        return;
    pump->up.armed = 0;
    sp_upward_event(pump, SP_EVENT_COUNTED);
}

int sp_up_fd(const struct sp_pump *pump)
{
    return pump->up.fd;
}

uint32_t sp_take_events(struct sp_pump *pump)
{
    uint32_t events;

    sp_pump_take(pump);
    events = pump->up.events;
    pump->up.events = 0;
    settle(&pump->up);
    sp_pump_give(pump);
    return events;
}

int sp_take_datagrams(struct sp_pump *pump, struct sp_datagram *out, int room)
{
    struct sp_upward *up = &pump->up;
    int n = 0;

    sp_pump_take(pump);
    while (n < room && up->count > 0) {
        out[n++] = up->ring[up->head];
        up->head = (up->head + 1) % SP_RING_DATAGRAMS;
        up->count--;
    }
    settle(up);
    sp_pump_give(pump);
    return n;
}

int sp_take_pending(struct sp_pump *pump, struct sp_pending *out, int room)
{
    struct sp_upward *up = &pump->up;
    int n = 0;

    sp_pump_take(pump);
    while (n < room && !sp_list_empty(&up->dirty)) {
        struct sp_peer *peer = SP_CONTAINER(up->dirty.next, struct sp_peer, dirty);
        out[n].peer = peer->number;
        out[n].bits = peer->pending;
        n++;
        peer->pending = 0;
        sp_list_remove(&peer->dirty);
    }
    settle(up);
    sp_pump_give(pump);
    return n;
}

void sp_arm_counted(struct sp_pump *pump)
{
    sp_pump_take(pump);
    pump->up.armed = 1;
    sp_pump_give(pump);
}

void sp_pump_stats(struct sp_pump *pump, struct sp_stats *out)
{
    sp_pump_take(pump);
    *out = pump->stats;
    sp_pump_give(pump);
}
