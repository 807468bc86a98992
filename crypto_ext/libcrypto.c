/* Finding the system's libcrypto at run time (libcrypto.h).
 *
 * The library is loaded with dlopen: linking it would bind our wheel to one version, or graft a copy into it that
 * nobody patches. It is never unloaded again, for libcrypto registers an exit handler and per-thread data. */
#include "libcrypto.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

static struct sp_evp evp;
static int loaded;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int bind_symbol(void *library, const char *name, void *function_pointer)
{
    void *symbol = dlsym(library, name);
    memcpy(function_pointer, &symbol, sizeof symbol); /* ISO C has no cast from object to function pointer */
    return symbol != NULL;
}

static void load(void)
{
    static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so"};

    for (size_t i = 0; i < sizeof names / sizeof names[0] && !loaded; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (!library)
            continue;
        loaded = bind_symbol(library, "EVP_chacha20_poly1305", &evp.chacha20_poly1305) &&
                 bind_symbol(library, "EVP_CIPHER_CTX_new", &evp.ctx_new) &&
                 bind_symbol(library, "EVP_CIPHER_CTX_free", &evp.ctx_free) &&
                 bind_symbol(library, "EVP_CIPHER_CTX_ctrl", &evp.ctx_ctrl) &&
                 bind_symbol(library, "EVP_CipherInit_ex", &evp.init) &&
                 bind_symbol(library, "EVP_CipherUpdate", &evp.update) &&
                 bind_symbol(library, "EVP_CipherFinal_ex", &evp.final);
        if (!loaded)
            dlclose(library);
    }
}

const struct sp_evp *sp_libcrypto(void)
{
    pthread_once(&once, load);
    return loaded ? &evp : NULL;
}
