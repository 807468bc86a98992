/* The loop of the pump's own thread: turn, and sleep when there is nothing to do.
 *
 * All waiting is one poll over the wake eventfd, a timerfd on CLOCK_BOOTTIME (so that suspend counts), the
 * TUN and the sockets. An idle pump is never woken: the timerfd is armed only to a true deadline. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "state.h"

enum { AT_WAKE, AT_TIMER, AT_UDP4, AT_UDP6, AT_TUN, POLLED };

/* How long a descriptor that fails is left alone: long enough not to burn the processor, short enough
 * to be back at once when its interface is up again. */
enum { QUIET_MS = 50 };

struct loop {
    struct pollfd polled[POLLED];
    int timer;
    unsigned ready;  /* SP_READY_ bits that the next turn tries */
    unsigned failed; /* those that gave an error in the turn before */
    unsigned quiet;  /* those that go on failing and are left alone for a moment */
};

static uint64_t boottime_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * SP_SECOND_NS + (uint64_t)now.tv_nsec;
}

void sp_pump_kick(struct sp_pump *pump)
{
    uint64_t one = 1;
    ssize_t n = write(pump->wake_fd, &one, sizeof(one));

    (void)n; /* it fails only when the count is full, and then it is readable already */
}

void sp_stop(struct sp_pump *pump)
{
    __atomic_store_n(&pump->stop, 1, __ATOMIC_SEQ_CST);
    sp_pump_kick(pump);
}

void sp_ping(struct sp_pump *pump)
{
    __atomic_store_n(&pump->ping, 1, __ATOMIC_SEQ_CST);
    sp_pump_kick(pump);
}

static void drain(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof(count));

    (void)n;
}

/* Reads the descriptors anew (they may have been changed) and lets the timer follow an earlier deadline.
 * A later one is left to lapse: one needless wake instead of a system call per packet. */
static void prepare(struct sp_pump *pump, struct loop *loop, int sleeping)
{
    uint64_t deadline_ns;
    int earlier;

    sp_pump_take(pump);
    deadline_ns = sp_timers_next(pump);
    earlier = deadline_ns != 0 && (pump->armed_ns == 0 || deadline_ns < pump->armed_ns);
    if (earlier)
        pump->armed_ns = deadline_ns;
    pump->asleep = sleeping;
    pump->stats.sleeps += (unsigned)sleeping;
    loop->polled[AT_UDP4].fd = pump->udp.fd4;
    loop->polled[AT_UDP6].fd = pump->udp.fd6;
    loop->polled[AT_TUN].fd = pump->tun.fd;
    sp_pump_give(pump);
    for (int i = AT_UDP4; i < POLLED; i++)
        if (loop->quiet & (1U << (i - AT_UDP4)))
            loop->polled[i].fd = -1;
    if (earlier) {
        struct itimerspec at = {.it_value = {.tv_sec = (time_t)(deadline_ns / SP_SECOND_NS),
                                             .tv_nsec = (long)(deadline_ns % SP_SECOND_NS)}};
        timerfd_settime(loop->timer, TFD_TIMER_ABSTIME, &at, NULL);
    }
}

/* Waits, or only looks while there is more to do. Fills loop->ready. 0 or a negative errno. */
static int wait_for_work(struct sp_pump *pump, struct loop *loop)
{
    int timeout_ms = loop->ready != 0 ? 0 : loop->quiet != 0 ? QUIET_MS : -1;
    int n;

    prepare(pump, loop, timeout_ms != 0);
    n = sp_sys_poll(loop->polled, POLLED, timeout_ms);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (timeout_ms != 0)
        loop->quiet = 0;
    if (loop->polled[AT_WAKE].revents != 0)
        drain(pump->wake_fd);
    if (loop->polled[AT_TIMER].revents != 0) {
        drain(loop->timer);
        sp_pump_take(pump);
        pump->armed_ns = 0;
        pump->asleep = 0; /* else giving the lock back would wake ourselves */
        sp_pump_give(pump);
    }
    for (int i = AT_UDP4; i < POLLED; i++)
        if (loop->polled[i].revents != 0)
            loop->ready |= 1U << (i - AT_UDP4);
    return 0;
}

/* A descriptor that fails twice in a row, or is reported in an error state and then gives nothing, would
 * keep us running for ever: an interface that is going away, for example. */
static void find_quiet(struct loop *loop, unsigned tried, unsigned failed, int handled)
{
    loop->quiet |= failed & loop->failed;
    loop->failed = failed;
    for (int i = AT_UDP4; handled == 0 && i < POLLED; i++)
        if ((tried & (1U << (i - AT_UDP4))) && (loop->polled[i].revents & (POLLERR | POLLHUP | POLLNVAL)))
            loop->quiet |= 1U << (i - AT_UDP4);
}

static int loop_until_stopped(struct sp_pump *pump, struct loop *loop)
{
    for (;;) {
        unsigned tried, failed;
        int handled, error;
        if (__atomic_exchange_n(&pump->stop, 0, __ATOMIC_SEQ_CST))
            return SP_END_STOPPED;
        if (__atomic_exchange_n(&pump->ping, 0, __ATOMIC_SEQ_CST)) {
            sp_pump_take(pump);
            sp_upward_event(pump, SP_EVENT_PONG);
            sp_pump_give(pump);
        }
        tried = loop->ready;
        handled = sp_turn(pump, boottime_ns(), &loop->ready, &failed);
        if (handled == -ESHUTDOWN)
            return SP_END_TUN_GONE;
        if (handled < 0)
            return SP_END_UDP_GONE;
        find_quiet(loop, tried, failed, handled);
        error = wait_for_work(pump, loop);
        if (error != 0)
            return error;
    }
}

int sp_run(struct sp_pump *pump)
{
    struct loop loop = {.polled = {{0}}, .ready = SP_READY_ALL};
    struct sched_param nothing = {0};
    int policy = sched_getscheduler(0);
    sigset_t all, before;
    int result;

    if (__atomic_exchange_n(&pump->running, 1, __ATOMIC_SEQ_CST))
        return -EBUSY;
    loop.timer = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop.timer < 0) {
        result = -errno;
        __atomic_store_n(&pump->running, 0, __ATOMIC_SEQ_CST);
        return result;
    }
    for (int i = 0; i < POLLED; i++)
        loop.polled[i].events = POLLIN;
    loop.polled[AT_WAKE].fd = pump->wake_fd;
    loop.polled[AT_TIMER].fd = loop.timer;
    sigfillset(&all);
    sp_pump_take(pump);
    pump->armed_ns = 0; /* of an earlier run, whose timer is closed */
    sp_pump_give(pump);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    /* Batches are what we are: longer slices, no pre-emption of others at every wake. Best effort. */
    sched_setscheduler(0, SCHED_BATCH, &nothing);
    result = loop_until_stopped(pump, &loop);
    if (policy >= 0)
        sched_setscheduler(0, policy, &nothing);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(loop.timer);
    __atomic_store_n(&pump->running, 0, __ATOMIC_SEQ_CST);
    return result;
}
