/* Which calls of sys.h shall fail, in the test build (-DSALLYPORT_FAULTS). The shipped build contains no such
 * switch. */
#ifndef SALLYPORT_FAULTS_H
#define SALLYPORT_FAULTS_H

#ifdef SALLYPORT_FAULTS

#include <sys/socket.h>

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

/* 1 with errno set when this call shall fail. Calls of a kind come from one thread at a time. */
int sp_fault_fails(int kind);
int sp_fault_fails_send(const struct msghdr *message); /* by what the message carries */

#endif

#endif
