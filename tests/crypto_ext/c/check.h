/* What every harness here does when something is not as it must be: say where, and end with 1. */
#ifndef SALLYPORT_TESTS_CHECK_H
#define SALLYPORT_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

#endif
