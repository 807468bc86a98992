/* Stand-ins for dlopen, dlsym, malloc and free, put in place of the real ones by -D, so that a libcrypto that is
 * missing, incomplete, wrong or out of memory can be had on any machine. */
#define _GNU_SOURCE
#include <string.h>
#include <malloc.h>

#undef dlopen
#undef dlsym
#undef malloc
#undef free
#include <dlfcn.h>
#include <stdlib.h>

enum { FAULT_NO_LIBRARY = 1, FAULT_NO_SYMBOL = 2, FAULT_WRONG_ANSWERS = 3 };
#ifndef LEAF_FAULT
#define LEAF_FAULT 0
#endif

typedef int (*update_function)(void *, unsigned char *, int *, const unsigned char *, int);
typedef int (*init_function)(void *, const void *, void *, const unsigned char *, const unsigned char *, int);

void *leaf_dlopen(const char *name, int flags);
void *leaf_dlsym(void *library, const char *name);
void *leaf_malloc(size_t bytes);
void leaf_free(void *memory);

int leaf_failing_update; /* set by the test: the next updates fail after writing */
int leaf_failing_init;   /* the next initialisations fail */
int leaf_failing_malloc; /* there is no memory (calloc has some) */
int leaf_asked;          /* how often a library was looked for */
int leaf_keyings;        /* how often a key was handed over */
unsigned char leaf_needle[32];
int leaf_needles_freed; /* blocks that held the needle when they were freed */

static update_function real_update;
static init_function real_init;

static int update(void *ctx, unsigned char *out, int *written, const unsigned char *in, int len)
{
    int answer = real_update(ctx, out, written, in, len);
    if (LEAF_FAULT == FAULT_WRONG_ANSWERS && len > 0)
        out[len - 1] ^= 1;
    return leaf_failing_update ? 0 : answer;
}

static int init(void *ctx, const void *type, void *engine, const unsigned char *key, const unsigned char *iv, int enc)
{
    leaf_keyings += key != NULL;
    return leaf_failing_init ? 0 : real_init(ctx, type, engine, key, iv, enc);
}

void *leaf_dlopen(const char *name, int flags)
{
    leaf_asked++;
    return LEAF_FAULT == FAULT_NO_LIBRARY ? NULL : dlopen(name, flags);
}

void *leaf_dlsym(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    update_function our_update = update;
    init_function our_init = init;

    if (LEAF_FAULT == FAULT_NO_SYMBOL && strcmp(name, "EVP_CipherFinal_ex") == 0)
        return NULL;
    if (strcmp(name, "EVP_CipherUpdate") == 0) {
        memcpy(&real_update, &symbol, sizeof symbol);
        memcpy(&symbol, &our_update, sizeof symbol);
    }
    if (strcmp(name, "EVP_CipherInit_ex") == 0) {
        memcpy(&real_init, &symbol, sizeof symbol);
        memcpy(&symbol, &our_init, sizeof symbol);
    }
    return symbol;
}

void *leaf_malloc(size_t bytes) { return leaf_failing_malloc ? NULL : malloc(bytes); }

void leaf_free(void *memory)
{
    if (memory && memmem(memory, malloc_usable_size(memory), leaf_needle, sizeof leaf_needle))
        leaf_needles_freed++;
    free(memory);
}
