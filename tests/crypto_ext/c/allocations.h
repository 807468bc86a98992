/* Counts the extension's allocations, in the fault build: linked with --wrap, every call of the C library's
 * allocating functions goes through here. A counter that only rises: freeing and allocating again is work, too. */
#include <stddef.h>
#include <sys/types.h>

static unsigned long long allocations;

#define COUNTED(type, name, parameters, arguments)                                                                \
    type __real_##name parameters;                                                                                \
    type __wrap_##name parameters;                                                                                \
    type __wrap_##name parameters                                                                                 \
    {                                                                                                             \
        __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);                                                    \
        return __real_##name arguments;                                                                           \
    }

COUNTED(void *, malloc, (size_t size), (size))
COUNTED(void *, calloc, (size_t n, size_t size), (n, size))
COUNTED(void *, realloc, (void *old, size_t size), (old, size))
COUNTED(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size))
COUNTED(int, posix_memalign, (void **out, size_t alignment, size_t size), (out, alignment, size))
COUNTED(void *, mmap, (void *at, size_t size, int prot, int flags, int fd, off_t offset),
        (at, size, prot, flags, fd, offset))

static unsigned long long sp_allocations(void)
{
    return __atomic_load_n(&allocations, __ATOMIC_RELAXED);
}
