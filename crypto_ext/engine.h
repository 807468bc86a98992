/* What a vector engine computes, and the lists in which work is handed to it.
 *
 * aead_seal.c and aead_open.c turn a batch of packets into these lists; an engine (AVX-512, AVX2) works them off
 * without knowing what a packet is to whom. ChaCha20 blocks of all packets are one row of lanes, so that no lane
 * of a vector stands empty but at the very end. */
#ifndef SALLYPORT_ENGINE_H
#define SALLYPORT_ENGINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SP_BLOCK_BYTES = 64, SP_MOST_LANES = 32 };

/* Consecutive ChaCha20 blocks of one packet. Block b has its text at in + 64 b and its result at
 * out + 64 b; as text begins with block 1, `in` is 64 below it, hence no pointer. */
struct sp_run {
    const uint8_t *key;
    uint64_t counter; /* the nonce */
    uint32_t block;   /* number of the first one */
    uint32_t blocks;
    uint32_t placed; /* blocks below this number have their text at out, not at in */
    uintptr_t in; /* 0: no text, the key stream itself is wanted */
    uintptr_t out;
    uint8_t *head; /* not NULL: the first block goes there instead, as key stream */
    uint8_t *tail; /* the same for the last one */
};

/* The Poly1305 tag of a ciphertext without additional data; key is the first half of block 0. */
struct sp_mac {
    const uint8_t *key;
    const uint8_t *text;
    uint8_t *tag;
    uint32_t len;
};

/* Poly1305 half way through a packet: h, the clamped r, and r[1] / 4 x 5. */
struct sp_poly {
    uint64_t h[3], r[2], r5;
    const uint8_t *text;
    uint32_t blocks; /* whole ones still to come, at text */
};

/* Tags to be computed. Those from `late` on belong to the runs of the ChaCha20 call in progress, in their order: to
 * each there is a key when block 0 of its run is written, and text as far as the run has written it (a run without
 * text: all of it). An engine may absorb what there is beside its other work. */
struct sp_queue {
    const struct sp_mac *next, *late, *end;
    int begun; /* poly is that of *next */
    struct sp_poly poly;
};

struct sp_xor {
    uint8_t *out;
    const uint8_t *in, *stream;
    uint32_t len;
};

/* Room for one group of lanes. Holds keys and key stream while in use: whoever owns it wipes it. */
struct sp_group {
    _Alignas(64) uint8_t rows[SP_MOST_LANES * SP_BLOCK_BYTES];
    _Alignas(64) uint8_t nowhere[SP_BLOCK_BYTES];          /* results of lanes without work */
    const uint8_t *key; /* whose words all lanes of rows still hold, as an engine left them; NULL: nobody's */
    uintptr_t in[SP_MOST_LANES], out[SP_MOST_LANES]; /* by lane: addresses of text and of result */
    size_t used; /* bytes of rows ever written; never lowered by an engine */
};

struct sp_engine {
    uint32_t step;  /* how many packets, or a multiple of that, it likes to have together */
    uint32_t bytes; /* of text that it likes to have together at most */
    int beside;     /* whether it works on the queue beside ChaCha20, so that waiting tags cost less */
    /* No run is of 0 blocks. */
    void (*chacha)(struct sp_group *group, const struct sp_run *runs, size_t n, struct sp_queue *queue);
    void (*mac)(struct sp_queue *queue); /* finishes all before late */
    void (*xor)(const struct sp_xor *xors, size_t n);
};

void sp_chacha_avx512(struct sp_group *group, const struct sp_run *runs, size_t n, struct sp_queue *queue);
void sp_mac_avx512(struct sp_queue *queue);
void sp_xor_avx512(const struct sp_xor *xors, size_t n);
void sp_chacha_avx2(struct sp_group *group, const struct sp_run *runs, size_t n, struct sp_queue *queue);
void sp_mac_mulx(struct sp_queue *queue);
void sp_xor_avx2(const struct sp_xor *xors, size_t n);

#endif
