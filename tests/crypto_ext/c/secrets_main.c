/* Secrets under valgrind's memcheck, which here is told that they are not initialised: it follows every bit that
 * depends on them, and reports a jump or an address that does. So what runs through without a report takes the same
 * steps whatever the secret is. Public are lengths, counters, whether a tag was right, and what leaves by the wire.
 *
 * One argument: an AEAD path, "mac1", "handshake", "pump", or a leak, of which memcheck must report each. Exits with 0
 * when the results were right and depended on the secrets as they must; what memcheck says comes on top of that. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <valgrind/memcheck.h>

#include "api.h"
#include "blake2s.h"
#include "check.h"
#include "state.h"

enum { MOST_JOBS = 24, MOST_BYTES = 4200, KEYS = 2 };

static void now_secret(void *bytes, size_t len) { (void)VALGRIND_MAKE_MEM_UNDEFINED(bytes, len); }
static void now_public(void *bytes, size_t len) { (void)VALGRIND_MAKE_MEM_DEFINED(bytes, len); }

/* How many bits of it depend on a secret. Without that, a harness that lost its secrets would find no leak. */
static size_t secret_bits(void *bytes, size_t len)
{
    uint8_t shadow[MOST_BYTES];
    size_t bits = 0;

    CHECK(len <= sizeof shadow && VALGRIND_GET_VBITS(bytes, shadow, len) == 1);
    for (size_t i = 0; i < len; i++)
        bits += (size_t)__builtin_popcount(shadow[i]);
    return bits;
}

/* The linker puts this in the place of sp_equal: how it compares is watched, what comes out is public. */
int __real_sp_equal(const void *a, const void *b, size_t bytes);
int __wrap_sp_equal(const void *a, const void *b, size_t bytes);

int __wrap_sp_equal(const void *a, const void *b, size_t bytes)
{
    int equal = __real_sp_equal(a, b, bytes);

    now_public(&equal, sizeof equal);
    return equal;
}

void __real_sp_seal_batch(struct sp_aead *aead, struct sp_aead_job *all, size_t n);
void __wrap_sp_seal_batch(struct sp_aead *aead, struct sp_aead_job *all, size_t n);
void __real_sp_open_batch(struct sp_aead *aead, struct sp_aead_job *all, size_t n);
void __wrap_sp_open_batch(struct sp_aead *aead, struct sp_aead_job *all, size_t n);

/* ---- the cipher ------------------------------------------------------------------------------------------ */

static const uint32_t lengths[] = {
    1420, 0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 200, 511, 576, 1000, 1419, 1452, 2048, 4100};

struct packet {
    uint8_t plain[MOST_BYTES], wire[MOST_BYTES], opened[MOST_BYTES];
};

static uint8_t keys[KEYS][SP_KEY_BYTES];
static struct packet packets[MOST_JOBS];
static struct sp_aead_job jobs[MOST_JOBS];

static void seal(struct sp_aead *aead, size_t n, size_t shift)
{
    for (size_t i = 0; i < n; i++) {
        struct packet *packet = &packets[i];
        uint32_t len = lengths[(i + shift) % (sizeof lengths / sizeof lengths[0])];
        int in_place = (i + shift) % 3 == 0;

        memset(packet->plain, (int)(i + 1), len);
        memcpy(packet->wire, packet->plain, len);
        now_secret(packet->plain, len);
        now_secret(packet->wire, len);
        jobs[i] = (struct sp_aead_job){
            .key = keys[i % KEYS],
            .counter = 1000 * shift + i,
            .in = in_place ? packet->wire : packet->plain,
            .out = packet->wire,
            .len = len,
            .placed = i % 2 ? len / 64 * 64 : 0,
        };
    }
    __real_sp_seal_batch(aead, jobs, n);
    for (size_t i = 0; i < n; i++) {
        size_t len = jobs[i].len + SP_TAG_BYTES;
        CHECK(secret_bits(packets[i].wire, len) == 8 * len);
        now_public(packets[i].wire, len);
    }
}

/* Every fourth is forged, in its text or in its tag. */
static void open_again(struct sp_aead *aead, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        jobs[i].len += SP_TAG_BYTES;
        jobs[i].in = packets[i].wire;
        jobs[i].out = i % 3 ? packets[i].opened : packets[i].wire;
        jobs[i].ok = 2;
        if (i % 4 == 3)
            packets[i].wire[i % 8 == 3 ? 0 : jobs[i].len - 1] ^= 0x80;
    }
    __real_sp_open_batch(aead, jobs, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t len = jobs[i].len - SP_TAG_BYTES;

        CHECK(jobs[i].ok == (i % 4 != 3));
        if (!jobs[i].ok)
            continue;
        CHECK(secret_bits(jobs[i].out, len) == 8 * (size_t)len);
        now_public(jobs[i].out, len);
        for (uint32_t k = 0; k < len; k++)
            CHECK(jobs[i].out[k] == i + 1);
    }
}

static void try_aead(const char *path)
{
    static const size_t batches[] = {1, 2, 5, 8, 9, 16, MOST_JOBS};
    struct sp_aead *aead = sp_aead_new(path);

    CHECK(aead);
    for (int i = 0; i < KEYS; i++) {
        memset(keys[i], 0x5a + i, SP_KEY_BYTES);
        now_secret(keys[i], SP_KEY_BYTES);
    }
    for (size_t shift = 0; shift < 4 * sizeof batches / sizeof batches[0]; shift++) {
        size_t n = batches[shift % (sizeof batches / sizeof batches[0])];
        seal(aead, n, shift);
        open_again(aead, n);
    }
    sp_aead_forget(aead);
    sp_aead_free(aead);
}

/* ---- mac1 ------------------------------------------------------------------------------------------------ */

/* The gate with secret keys: the second one made the mac, then none did. */
static void try_mac1(void)
{
    struct sp_pump *pump = sp_pump_new("portable", 1);
    struct sp_endpoint from = {.family = 4, .port = 1};
    struct sp_source local = {0};
    uint8_t gate_keys[2 * SP_KEY_BYTES], message[148] = {1}, *mac1 = message + sizeof message - 32;
    struct sp_datagram up;

    CHECK(pump);
    memset(gate_keys, 7, sizeof gate_keys);
    gate_keys[SP_KEY_BYTES] = 8;
    now_secret(gate_keys, sizeof gate_keys);
    CHECK(sp_gate_set(pump, gate_keys, 2) == 0);
    for (size_t len = 0; len <= 200; len += 1 + len / 8) { /* from the empty text over several blocks */
        uint8_t text[200] = {0};
        now_secret(text, sizeof text);
        sp_blake2s_mac(mac1, gate_keys, text, len);
        CHECK(secret_bits(mac1, 16) == 8 * 16);
    }
    sp_blake2s_mac(mac1, gate_keys + SP_KEY_BYTES, message, sizeof message - 32);
    CHECK(secret_bits(mac1, 16) == 8 * 16);
    now_public(mac1, 16);
    sp_gate_enter(pump, 1, message, sizeof message, &from, &local);
    CHECK(sp_take_datagrams(pump, &up, 1) == 1 && up.mac1_key == 1);
    mac1[15] ^= 1;
    sp_gate_enter(pump, 1, message, sizeof message, &from, &local);
    CHECK(sp_take_datagrams(pump, &up, 1) == 0 && pump->stats.drops[SP_DROP_MAC1] == 1);
    sp_pump_free(pump);
}

/* ---- the pump -------------------------------------------------------------------------------------------- */

/* What the pump seals goes out, and what it opens goes to the host: its business with keys ends here. */
void __wrap_sp_seal_batch(struct sp_aead *aead, struct sp_aead_job *all, size_t n)
{
    __real_sp_seal_batch(aead, all, n);
    for (size_t i = 0; i < n; i++) {
        CHECK(secret_bits(all[i].out + all[i].len, SP_TAG_BYTES) == 8 * SP_TAG_BYTES);
        now_public(all[i].out, (size_t)all[i].len + SP_TAG_BYTES);
    }
}

void __wrap_sp_open_batch(struct sp_aead *aead, struct sp_aead_job *all, size_t n)
{
    __real_sp_open_batch(aead, all, n);
    for (size_t i = 0; i < n; i++)
        now_public(all[i].out, all[i].len - SP_TAG_BYTES);
}

static void install(struct sp_pump *pump, uint32_t peer, int is_initiator)
{
    struct sp_keypair_spec spec = {
        .local_index = is_initiator ? 2 : 3,
        .remote_index = is_initiator ? 3 : 2,
        .created_ns = 1,
        .is_initiator = is_initiator,
    };

    memcpy(spec.send_key, keys[!is_initiator], SP_KEY_BYTES);
    memcpy(spec.receive_key, keys[is_initiator], SP_KEY_BYTES);
    CHECK(sp_peer_install(pump, peer, &spec, 2) == 0);
}

/* A pump that has itself for a peer, under two names: all that it does with keys, between their installation and
 * their end. Some of what it sends it gets back damaged. */
static void try_pump(void)
{
    enum { PACKETS = 8, BYTES = 100 };
    static uint64_t slots[2][SP_SLOT_WORDS];
    struct sp_pump *pump = sp_pump_new("portable", 1);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t name_len = sizeof name;
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), tun[2];
    uint8_t packet[BYTES] = {0x45, 0, 0, BYTES, [8] = 64, 17, [12] = 10, 0, 0, 1, 10, 0, 0, 2}, datagram[2000];
    uint32_t peers[2];

    CHECK(pump && bind(udp, (struct sockaddr *)&name, sizeof name) == 0);
    CHECK(getsockname(udp, (struct sockaddr *)&name, &name_len) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, tun) == 0);
    struct sp_endpoint at = {.family = 4, .port = ntohs(name.sin_port), .addr = {127, 0, 0, 1}};
    CHECK(sp_pump_set_tun(pump, tun[1], 0, 1420) == 0 && sp_pump_set_udp(pump, udp, -1, 0) == 0);
    for (int i = 0; i < 2; i++) { /* peer 0 is the one that sends, as initiator */
        int64_t number = sp_peer_add(pump, (uint8_t[SP_KEY_BYTES]){(uint8_t)(i + 1)}, slots[i], 0);
        CHECK(number > 0);
        peers[i] = (uint32_t)number;
        CHECK(sp_peer_allow(pump, peers[i], 4, i == 0 ? packet + 16 : packet + 12, 32) == 0);
        CHECK(sp_peer_set_endpoint(pump, peers[i], &at) == 0);
    }
    install(pump, peers[1], 0);
    install(pump, peers[0], 1);
    for (int i = 0; i < PACKETS; i++)
        CHECK(send(tun[0], packet, sizeof packet, 0) == sizeof packet);
    CHECK(sp_step(pump, 3) > 0);
    ssize_t len = recv(udp, datagram, sizeof datagram, 0);
    datagram[len - 1] ^= 1;
    CHECK(len > 0 && sendto(udp, datagram, (size_t)len, 0, (struct sockaddr *)&name, name_len) == len);
    while (sp_step(pump, 4) > 0)
        ;
    CHECK(pump->stats.drops[SP_DROP_FORGED] == 1 && pump->stats.tun_packets_out >= PACKETS - 1);
    CHECK(recv(tun[0], datagram, sizeof datagram, 0) == sizeof packet && memcmp(datagram, packet, sizeof packet) == 0);
    CHECK(sp_peer_erase_keys(pump, peers[0]) == 0 && sp_peer_remove(pump, peers[1]) == 0);
    sp_pump_free(pump);
    close(udp);
    close(tun[0]);
    close(tun[1]);
}

/* ---- a handshake ------------------------------------------------------------------------------------------ */

enum { STATIC_BYTES = 32, SEALED_BYTES = STATIC_BYTES + SP_TAG_BYTES };

/* What leaves: it depends on secrets, and then it is everybody's. */
static void leaves(uint8_t *wire, size_t len)
{
    CHECK(secret_bits(wire, len) == 8 * len);
    now_public(wire, len);
}

/* Both roles' states, from a first secret to the keys of the session, with a forgery at either tag. */
static void try_handshake(void)
{
    struct sp_symmetric one = {0}, other = {0};
    uint8_t shared[3][SP_KEY_BYTES], psk[SP_KEY_BYTES], text[STATIC_BYTES], ephemeral[SP_KEY_BYTES] = {9};
    uint8_t wire[SEALED_BYTES], tag[SP_TAG_BYTES];

    memset(shared, 0x5a, sizeof shared);
    memset(psk, 0x6b, sizeof psk);
    memset(text, 0x7c, sizeof text);
    now_secret(shared, sizeof shared);
    now_secret(psk, sizeof psk);
    now_secret(text, sizeof text);

    sp_symmetric_mix(&one, &one, ephemeral, NULL, NULL);
    sp_symmetric_mix(&other, &other, ephemeral, NULL, NULL);
    CHECK(sp_symmetric_seal(&one, shared[0], text, sizeof text) == 0);
    memcpy(wire, one.out, sizeof wire);
    leaves(wire, sizeof wire);
    wire[5] ^= 1;
    CHECK(sp_symmetric_open(&other, shared[0], wire, sizeof wire) == -EBADMSG);
    wire[5] ^= 1;
    CHECK(sp_symmetric_open(&other, shared[0], wire, sizeof wire) == 0);
    CHECK(secret_bits(other.out, sizeof text) == 8 * sizeof text);

    sp_symmetric_mix(&one, &one, ephemeral, shared[1], shared[2]);
    sp_symmetric_mix(&other, &other, ephemeral, shared[1], shared[2]);
    sp_symmetric_seal_end(&one, psk);
    memcpy(tag, one.out + 2 * SP_KEY_BYTES, sizeof tag);
    leaves(tag, sizeof tag);
    tag[3] ^= 1;
    CHECK(sp_symmetric_open_end(&other, psk, tag) == -EBADMSG);
    tag[3] ^= 1;
    CHECK(sp_symmetric_open_end(&other, psk, tag) == 0);
    leaves(one.out, 2 * SP_KEY_BYTES); /* the session's keys; public for the next line's sake */
    leaves(other.out, 2 * SP_KEY_BYTES);
    CHECK(memcmp(one.out, other.out, 2 * SP_KEY_BYTES) == 0);
}

/* ---- leaks: each must be reported ------------------------------------------------------------------------ */

static volatile unsigned sink;

static void leak_by_jump(void)
{
    if (keys[0][7] & 0x10)
        sink = 1;
}

static void leak_by_address(void) { sink = lengths[keys[0][7] % 4]; }

/* The comparison that sp_equal is there to avoid. */
static void leak_by_memcmp(void)
{
    uint8_t tag[SP_TAG_BYTES] = {0};

    for (size_t i = 0; i < sizeof tag; i++)
        if (tag[i] != keys[0][i])
            return;
    sink = 1;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (!RUNNING_ON_VALGRIND) {
        fputs("to be run under valgrind\n", stderr);
        return 2;
    }
    now_secret(keys, sizeof keys);
    if (strcmp(what, "jump") == 0)
        leak_by_jump();
    else if (strcmp(what, "address") == 0)
        leak_by_address();
    else if (strcmp(what, "memcmp") == 0)
        leak_by_memcmp();
    else if (strcmp(what, "mac1") == 0)
        try_mac1();
    else if (strcmp(what, "handshake") == 0)
        try_handshake();
    else if (strcmp(what, "pump") == 0)
        try_pump();
    else
        try_aead(what);
    return 0;
}
