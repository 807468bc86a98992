/* Every system call that moves packets goes through here, so that a test build (-DSALLYPORT_FAULTS) can
 * make any of them fail on any kernel. The shipped build contains no such switch. */
#ifndef SALLYPORT_SYS_H
#define SALLYPORT_SYS_H

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

ssize_t sp_sys_sendmsg(int fd, const struct msghdr *message);
int sp_sys_recvmmsg(int fd, struct mmsghdr *messages, unsigned int n);
ssize_t sp_sys_tun_read(int fd, void *buffer, size_t bytes);
/* joined: the write carries a superpacket, which some kernels refuse. */
ssize_t sp_sys_tun_write(int fd, const struct iovec *iov, size_t n, int joined);
/* Milliseconds; may be interrupted. */
int sp_sys_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

#ifdef SALLYPORT_FAULTS
enum sp_fault {
    SP_FAULT_SENDMSG = 0,    /* any sendmsg */
    SP_FAULT_SENDMSG_GSO,    /* one that carries UDP_SEGMENT */
    SP_FAULT_SENDMSG_SOURCE, /* one that names its source address */
    SP_FAULT_RECVMMSG,
    SP_FAULT_TUN_READ,
    SP_FAULT_TUN_WRITE,
    SP_FAULT_TUN_WRITE_JOINED,
    SP_FAULT_POLL,
    SP_FAULT_KINDS
};
/* Instead of an errno: the call hangs until its fault is set anew. */
enum { SP_FAULT_HANGS = -1 };
/* After `skip` more calls of that kind, the next `times` (-1: all) fail with that errno. */
void sp_fault_set(int kind, int error, int skip, int times);
int sp_fault_hits(int kind); /* how many calls were made to fail since sp_fault_set */
#endif

#endif
