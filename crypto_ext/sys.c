/* System calls, and in the test build a way to make them fail (sys.h). */
#include "sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#ifdef SALLYPORT_FAULTS

/* Set by a test while the pump's thread may be in the middle of a call: so every field is atomic, and a fault is
 * disarmed (`times`) before its other fields change and armed when they have. A call that was let in before may still
 * count itself off the fault that is being set; a test that counts sets its faults while nothing runs. */
static struct {
    _Atomic int error;
    _Atomic int skip;
    _Atomic int times;
    _Atomic int hits;
} faults[SP_FAULT_KINDS];

void sp_fault_set(int kind, int error, int skip, int times)
{
    faults[kind].times = 0;
    faults[kind].error = error;
    faults[kind].skip = skip;
    faults[kind].hits = 0;
    faults[kind].times = times;
}

int sp_fault_hits(int kind) { return faults[kind].hits; }

/* 1 with errno set when this call shall fail. Calls of a kind come from one thread at a time. */
static int fails(int kind)
{
    int error;

    if (faults[kind].times == 0)
        return 0;
    if (faults[kind].skip > 0) {
        faults[kind].skip--;
        return 0;
    }
    error = faults[kind].error;
    if (error == 0) /* being set anew */
        return 0;
    if (faults[kind].times > 0)
        faults[kind].times--;
    faults[kind].hits++;
    if (error == SP_FAULT_HANGS) {
        while (faults[kind].error == SP_FAULT_HANGS)
            usleep(10000);
        return 0;
    }
    errno = error;
    return 1;
}

static int carries(const struct msghdr *message, int level, int type)
{
    struct msghdr *m = (struct msghdr *)(uintptr_t)message; /* CMSG_NXTHDR takes no const */
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == level && c->cmsg_type == type)
            return 1;
    return 0;
}

static int send_fails(const struct msghdr *message)
{
    enum { UDP_LEVEL = 17, UDP_SEGMENT_TYPE = 103 };
    if (fails(SP_FAULT_SENDMSG))
        return 1;
    if (carries(message, UDP_LEVEL, UDP_SEGMENT_TYPE) && fails(SP_FAULT_SENDMSG_GSO))
        return 1;
    return (carries(message, IPPROTO_IP, IP_PKTINFO) || carries(message, IPPROTO_IPV6, IPV6_PKTINFO)) &&
           fails(SP_FAULT_SENDMSG_SOURCE);
}

#define FAIL_IF(condition) \
    do { \
        if (condition) \
            return -1; \
    } while (0)
#else
#define FAIL_IF(condition) \
    do { \
    } while (0)
#endif

ssize_t sp_sys_sendmsg(int fd, const struct msghdr *message)
{
    FAIL_IF(send_fails(message));
    return sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int sp_sys_recvmmsg(int fd, struct mmsghdr *messages, unsigned int n)
{
    FAIL_IF(fails(SP_FAULT_RECVMMSG));
    return recvmmsg(fd, messages, n, MSG_DONTWAIT, NULL);
}

ssize_t sp_sys_tun_read(int fd, void *buffer, size_t bytes)
{
    FAIL_IF(fails(SP_FAULT_TUN_READ));
    return read(fd, buffer, bytes);
}

ssize_t sp_sys_tun_write(int fd, const struct iovec *iov, size_t n, int joined)
{
    (void)joined; /* only the test build wants to know */
    FAIL_IF(fails(SP_FAULT_TUN_WRITE) || (joined && fails(SP_FAULT_TUN_WRITE_JOINED)));
    return writev(fd, iov, (int)n);
}

int sp_sys_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    FAIL_IF(fails(SP_FAULT_POLL));
    return poll(fds, n, timeout_ms);
}
