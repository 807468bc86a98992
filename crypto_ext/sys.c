/* The system calls that move packets (sys.h). */
#include "sys.h"

#ifdef SALLYPORT_FAULTS
#include "faults.h"
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
    FAIL_IF(sp_fault_fails_send(message));
    return sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int sp_sys_recvmmsg(int fd, struct mmsghdr *messages, unsigned int n)
{
    FAIL_IF(sp_fault_fails(SP_FAULT_RECVMMSG));
    return recvmmsg(fd, messages, n, MSG_DONTWAIT, NULL);
}

ssize_t sp_sys_tun_read(int fd, void *buffer, size_t bytes)
{
    FAIL_IF(sp_fault_fails(SP_FAULT_TUN_READ));
    return read(fd, buffer, bytes);
}

ssize_t sp_sys_tun_write(int fd, const struct iovec *iov, size_t n, int joined)
{
    (void)joined; /* only the test build wants to know */
    FAIL_IF(sp_fault_fails(SP_FAULT_TUN_WRITE) || (joined && sp_fault_fails(SP_FAULT_TUN_WRITE_JOINED)));
    return writev(fd, iov, (int)n);
}

int sp_sys_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    FAIL_IF(sp_fault_fails(SP_FAULT_POLL));
    return poll(fds, n, timeout_ms);
}
