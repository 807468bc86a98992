/* Which vector instructions this machine, its kernel included, lets us use. */
#ifndef SALLYPORT_CPU_H
#define SALLYPORT_CPU_H

int sp_cpu_has_avx2(void);    /* and BMI2, whose multiplication the AVX2 path uses */
int sp_cpu_has_avx512(void);  /* F, BW, VL, DQ, IFMA and VBMI2 together */
int sp_cpu_has_avx512f(void); /* at least F: then libcrypto's ChaCha20 is the wide one */

#endif
