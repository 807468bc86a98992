/* The symmetric state of a handshake: what both sides have mixed into it so far, as a chaining key and a hash.
 *
 * Noise framework, section 5.2, as WireGuard uses it (paper, section 5.4): every cipher key seals exactly one
 * thing, with a nonce of zero. So mixing a secret in and using the key that it gives are one step here, and no cipher
 * key outlives a call. In which order a handshake takes these steps is not known here: core/noise.py
 * says it, once for both roles.
 *
 * Secrets: whatever a call derives beside the state itself is overwritten before it returns, in its own variables
 * and on the stack where its callees had theirs. */
#include <errno.h>
#include <string.h>

#include "aead.h"
#include "aead_portable.h"
#include "api.h"
#include "blake2s.h"
#include "hkdf.h"

enum { KEY = SP_KEY_BYTES, SEALED_BYTES = SP_SYMMETRIC_TEXT_BYTES + SP_TAG_BYTES };

/* What a step derives: Kdf gives the next chaining key, with a preshared key something to hash, and a cipher key. */
struct derived {
    uint8_t keys[SP_HKDF_MOST][KEY];
    uint8_t hash[SP_BLAKE2S_BYTES];
};

static void mix_hash(uint8_t hash[SP_BLAKE2S_BYTES], const uint8_t *data, size_t len)
{
    uint8_t both[SP_BLAKE2S_BYTES + SEALED_BYTES];

    memcpy(both, hash, SP_BLAKE2S_BYTES);
    memcpy(both + SP_BLAKE2S_BYTES, data, len);
    sp_blake2s_hash(hash, both, SP_BLAKE2S_BYTES + len);
    sp_wipe(both, sizeof both);
}

static void mix_key(struct sp_symmetric *state, const uint8_t *secret)
{
    sp_hkdf(&state->chain_key, 1, state->chain_key, secret, KEY);
}

static void commit(struct sp_symmetric *state, const struct derived *next)
{
    memcpy(state->chain_key, next->keys[0], KEY);
    memcpy(state->hash, next->hash, sizeof state->hash);
}

/* ---- beside the steps --------------------------------------------------------------------------------------- */

/* Nothing here is secret, so nothing is wiped. */
void sp_symmetric_mac(struct sp_symmetric *state, const uint8_t *key, const uint8_t *data, size_t len)
{
    sp_blake2s_mac(state->out, key, data, len);
}

/* ---- steps ---------------------------------------------------------------------------------------------- */

void sp_symmetric_mix(struct sp_symmetric *state, const struct sp_symmetric *from, const uint8_t *public_key,
                      const uint8_t *first, const uint8_t *second)
{
    *state = *from;
    mix_hash(state->hash, public_key, KEY);
    mix_key(state, public_key);
    if (first != NULL)
        mix_key(state, first);
    if (second != NULL)
        mix_key(state, second);
    sp_wipe_stack();
}

int sp_symmetric_seal(struct sp_symmetric *state, const uint8_t *secret, const uint8_t *text, size_t len)
{
    struct derived next;
    struct sp_aead_job job = {.key = next.keys[1], .in = text, .out = state->out, .len = (uint32_t)len};

    if (len > SP_SYMMETRIC_TEXT_BYTES)
        return -EINVAL;
    sp_hkdf(next.keys, 2, state->chain_key, secret, KEY);
    memcpy(next.hash, state->hash, sizeof next.hash);
    sp_seal_portable(&job, next.hash, sizeof next.hash);
    mix_hash(next.hash, state->out, len + SP_TAG_BYTES);
    commit(state, &next);
    sp_wipe(&next, sizeof next);
    sp_wipe_stack();
    return 0;
}

int sp_symmetric_open(struct sp_symmetric *state, const uint8_t *secret, const uint8_t *sealed, size_t len)
{
    struct derived next;
    struct sp_aead_job job = {.key = next.keys[1], .in = sealed, .out = state->out, .len = (uint32_t)len};
    int verified;

    if (len < SP_TAG_BYTES || len > SEALED_BYTES)
        return -EINVAL;
    sp_hkdf(next.keys, 2, state->chain_key, secret, KEY);
    memcpy(next.hash, state->hash, sizeof next.hash);
    verified = sp_open_portable(&job, next.hash, sizeof next.hash);
    if (verified) {
        mix_hash(next.hash, sealed, len);
        commit(state, &next);
    }
    sp_wipe(&next, sizeof next);
    sp_wipe_stack();
    return verified ? 0 : -EBADMSG;
}

/* ---- the end -------------------------------------------------------------------------------------------- */

/* MixKeyAndHash, as far as it decides what the tag is. */
static void mix_key_and_hash(struct derived *next, const struct sp_symmetric *state, const uint8_t *psk)
{
    sp_hkdf(next->keys, 3, state->chain_key, psk, KEY);
    memcpy(next->hash, state->hash, sizeof next->hash);
    mix_hash(next->hash, next->keys[1], KEY);
}

/* What is hashed after the last thing sealed is of no use to anybody, so that is left out. */
static void split(struct sp_symmetric *state, const uint8_t *chain_key)
{
    uint8_t keys[2][KEY];

    sp_hkdf(keys, 2, chain_key, NULL, 0);
    memcpy(state->out, keys, sizeof keys);
    sp_wipe(keys, sizeof keys);
    sp_wipe(state->chain_key, sizeof state->chain_key);
    sp_wipe(state->hash, sizeof state->hash);
}

void sp_symmetric_seal_end(struct sp_symmetric *state, const uint8_t *psk)
{
    struct derived next;
    struct sp_aead_job job = {.key = next.keys[2], .in = psk, .out = state->out + 2 * KEY, .len = 0};

    mix_key_and_hash(&next, state, psk);
    sp_seal_portable(&job, next.hash, sizeof next.hash);
    split(state, next.keys[0]);
    sp_wipe(&next, sizeof next);
    sp_wipe_stack();
}

int sp_symmetric_open_end(struct sp_symmetric *state, const uint8_t *psk, const uint8_t *tag)
{
    struct derived next;
    struct sp_aead_job job = {.key = next.keys[2], .in = tag, .out = state->out, .len = SP_TAG_BYTES};
    int verified;

    mix_key_and_hash(&next, state, psk);
    verified = sp_open_portable(&job, next.hash, sizeof next.hash);
    if (verified)
        split(state, next.keys[0]);
    sp_wipe(&next, sizeof next);
    sp_wipe_stack();
    return verified ? 0 : -EBADMSG;
}
