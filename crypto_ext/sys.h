/* Every system call that moves packets goes through here, so that a test build can make any of them fail on any
 * kernel (faults.h). */
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

#endif
