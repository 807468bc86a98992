/* Making system calls fail, for tests: nothing of this is in the shipped build (faults.h). */
#include "faults.h"

#ifdef SALLYPORT_FAULTS

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <unistd.h>

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

int sp_fault_fails(int kind)
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

int sp_fault_fails_send(const struct msghdr *message)
{
    enum { UDP_LEVEL = 17, UDP_SEGMENT_TYPE = 103 };

    if (sp_fault_fails(SP_FAULT_SENDMSG))
        return 1;
    if (carries(message, UDP_LEVEL, UDP_SEGMENT_TYPE) && sp_fault_fails(SP_FAULT_SENDMSG_GSO))
        return 1;
    return (carries(message, IPPROTO_IP, IP_PKTINFO) || carries(message, IPPROTO_IPV6, IPV6_PKTINFO)) &&
           sp_fault_fails(SP_FAULT_SENDMSG_SOURCE);
}

#endif
