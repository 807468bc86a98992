/* The part of the system's libcrypto that we use, found at run time: the same in 1.1 and in 3.
 *
 * The types are libcrypto's own, which only it looks into; the members are named after its functions. */
#ifndef SALLYPORT_LIBCRYPTO_H
#define SALLYPORT_LIBCRYPTO_H

#include <stdint.h>

typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct engine_st ENGINE;

enum { SP_EVP_AEAD_GET_TAG = 0x10, SP_EVP_AEAD_SET_TAG = 0x11 };

struct sp_evp {
    const EVP_CIPHER *(*chacha20_poly1305)(void);
    EVP_CIPHER_CTX *(*ctx_new)(void);
    void (*ctx_free)(EVP_CIPHER_CTX *);
    int (*ctx_ctrl)(EVP_CIPHER_CTX *, int, int, void *);
    int (*init)(EVP_CIPHER_CTX *, const EVP_CIPHER *, ENGINE *, const uint8_t *, const uint8_t *, int);
    int (*update)(EVP_CIPHER_CTX *, uint8_t *, int *, const uint8_t *, int);
    int (*final)(EVP_CIPHER_CTX *, uint8_t *, int *);
};

/* NULL: this system has none, or one that lacks a function. Any thread, any time. */
const struct sp_evp *sp_libcrypto(void);

#endif
