/* Which vector instructions this machine, its kernel included, lets us use.
 *
 * A CPU may have registers that the kernel does not save across a context switch (or was told not to):
 * XCR0 says which it does. So each answer needs both, the feature bits of CPUID and XCR0. */
#include "cpu.h"

#if defined(__x86_64__) && !defined(SP_NO_AVX2) /* which lets tests have an old machine */

#include <cpuid.h>
#include <stdint.h>

enum {
    XCR0_YMM = 0x06,   /* xmm and the upper halves of ymm */
    XCR0_ZMM = 0xe6,   /* these, the mask registers, the upper halves of zmm, zmm16 to zmm31 */
};

static uint32_t saved_registers(void)
{
    uint32_t a, b, c, d, low, high;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

int sp_cpu_has_avx2(void)
{
    return (saved_registers() & XCR0_YMM) == XCR0_YMM && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("bmi2");
}

/* Asked for every batch, so without CPUID, which a hypervisor traps; the compiler's bits heed XCR0 as well. */
int sp_cpu_has_avx512f(void) { return __builtin_cpu_supports("avx512f") != 0; }

int sp_cpu_has_avx512(void)
{
    return (saved_registers() & XCR0_ZMM) == XCR0_ZMM && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512ifma") &&
           __builtin_cpu_supports("avx512vbmi2");
}

#else

int sp_cpu_has_avx2(void) { return 0; }
int sp_cpu_has_avx512f(void) { return 0; }
int sp_cpu_has_avx512(void) { return 0; }

#endif
