/* System calls, and in the test build a way to make them fail (sys.h). */
#include "sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#ifdef SALLYPORT_FAULTS

static struct {
    int error;
    int skip;
    int times;
    int hits;
} faults[SP_FAULT_KINDS];

void sp_fault_set(int kind, int error, int skip, int times)
{
    faults[kind].skip = skip;
    faults[kind].times = times;
    faults[kind].hits = 0;
    __atomic_store_n(&faults[kind].error, error, __ATOMIC_SEQ_CST);
}

int sp_fault_hits(int kind)
{
    return faults[kind].hits;
}

/* 1 with errno set when this call shall fail. */
static int fails(int kind)
{
    if (faults[kind].times == 0)
        return 0;
    if (faults[kind].skip > 0) {
        faults[kind].skip--;
        return 0;
    }
    if (faults[kind].times > 0)
        faults[kind].times--;
    faults[kind].hits++;
    if (__atomic_load_n(&faults[kind].error, __ATOMIC_SEQ_CST) == SP_FAULT_HANGS) {
        while (__atomic_load_n(&faults[kind].error, __ATOMIC_SEQ_CST) == SP_FAULT_HANGS)
            usleep(10000);
        return 0;
    }
    errno = faults[kind].error;
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
