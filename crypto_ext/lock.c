/* A ticket lock whose waiters sleep on a futex (lock.h). */
#include "lock.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    /* How often a waiter looks before it sleeps. Holders from Python are done within a microsecond;
     * a burst of the pump takes a hundred times longer and is worth sleeping for. */
    SPINS = 200
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

void sp_lock_take(struct sp_lock *lock)
{
    uint32_t ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_SEQ_CST);

    for (int spin = 0;; spin++) {
        uint32_t serving = __atomic_load_n(&lock->serving, __ATOMIC_SEQ_CST);
        if (serving == ticket)
            return;
        if (spin < SPINS)
            relax();
        else /* returns at once when the word has changed meanwhile; any early return is harmless */
            syscall(SYS_futex, &lock->serving, FUTEX_WAIT_PRIVATE, serving, NULL, NULL, 0);
    }
}

void sp_lock_give(struct sp_lock *lock)
{
    uint32_t following = __atomic_load_n(&lock->serving, __ATOMIC_RELAXED) + 1;

    __atomic_store_n(&lock->serving, following, __ATOMIC_SEQ_CST);
    /* A waiter drew its ticket before it looked at `serving`, so either it sees the new value or we see
     * its ticket here. All are woken: each sleeps on the same word and only the right one goes on. */
    if (__atomic_load_n(&lock->next, __ATOMIC_SEQ_CST) != following)
        syscall(SYS_futex, &lock->serving, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
