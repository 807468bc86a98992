/* The leaf modules under sanitizers: random and edge inputs from a fixed seed, every buffer exactly as
 * long as it is said to be, results against the dumbest twin that fits. Prints what went wrong and
 * returns 1, or returns 0. Argument: number of rounds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "blake2s.h"
#include "check.h"
#include "checksum.h"
#include "ip.h"
#include "join.h"
#include "split.h"
#include "trie.h"
#include "window.h"

static uint64_t state = 0x9E3779B97F4A7C15U;

static uint64_t noise(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545F4914F6CDD1DU;
}

static uint32_t below(uint32_t n) { return (uint32_t)(noise() >> 33) % n; }

/* A heap block of exactly this length, so that one byte beyond is noticed. */
static uint8_t *block(size_t len)
{
    uint8_t *p = malloc(len ? len : 1);
    CHECK(p);
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)noise();
    return p;
}

/* ---- cipher ------------------------------------------------------------------------------------------ */

static void try_aead(const char *path, const char *other)
{
    struct sp_aead *aead = sp_aead_new(path), *twin = sp_aead_new(other);
    enum { JOBS = 9 };
    struct sp_aead_job jobs[JOBS], copies[JOBS];
    uint8_t *plain[JOBS], *key = block(32);

    CHECK(aead && twin);
    for (int i = 0; i < JOBS; i++) {
        uint32_t len = below(3) ? below(300) : below(9001);
        plain[i] = block(len);
        jobs[i] = (struct sp_aead_job){
            .key = key, .counter = noise(), .in = plain[i], .out = block(len + 16), .len = len};
        copies[i] = jobs[i];
        copies[i].out = block(len + 16);
    }
    sp_seal_batch(aead, jobs, JOBS);
    sp_seal_batch(twin, copies, JOBS);
    for (int i = 0; i < JOBS; i++) {
        CHECK(memcmp(jobs[i].out, copies[i].out, jobs[i].len + 16) == 0);
        jobs[i].in = jobs[i].out; /* open in place */
        jobs[i].len += 16;
        if (i % 3 == 1)
            jobs[i].out[below(jobs[i].len)] ^= 4;
        if (i % 3 == 2)
            jobs[i].len -= 1 + below(jobs[i].len); /* cut short, down to nothing */
    }
    sp_open_batch(aead, jobs, JOBS);
    for (int i = 0; i < JOBS; i++) {
        CHECK(jobs[i].ok == (i % 3 == 0));
        if (jobs[i].ok)
            CHECK(memcmp(jobs[i].out, plain[i], jobs[i].len - 16) == 0);
        free(jobs[i].out);
        free(copies[i].out);
        free(plain[i]);
    }
    free(key);
    sp_aead_free(aead);
    sp_aead_free(twin);
}

static void try_blake2s(void)
{
    size_t len = below(300);
    uint8_t *data = block(len), *key = block(32), *out = block(16), *again = block(16);

    sp_blake2s_mac(out, key, data, len);
    sp_blake2s_mac(again, key, data, len);
    CHECK(sp_equal(out, again, 16));
    key[below(32)] ^= 1;
    sp_blake2s_mac(again, key, data, len);
    CHECK(!sp_equal(out, again, 16));
    free(data);
    free(key);
    free(out);
    free(again);
}

/* ---- checksum, window, trie --------------------------------------------------------------------------- */

static void try_checksum(void)
{
    size_t len = below(2) ? below(80) : below(4000);
    uint8_t *data = block(len);
    uint32_t dumb = 0;
    uint16_t folded = sp_sum_fold(sp_sum(0, data, len)), expected;

    for (size_t i = 0; i < len; i++)
        dumb += i % 2 ? data[i] : (uint32_t)data[i] << 8;
    while (dumb >> 16)
        dumb = (dumb & 0xffff) + (dumb >> 16);
    expected = (uint16_t)dumb;
    uint8_t bytes[2] = {(uint8_t)(expected >> 8), (uint8_t)expected};
    CHECK(memcmp(bytes, &folded, 2) == 0);
    free(data);
}

static void try_window(void)
{
    enum { SPAN = 40000, BEHIND = 8128 };
    struct sp_window *window = calloc(1, sizeof *window);
    uint8_t *seen = calloc(1, SPAN);
    uint32_t greatest = 0;

    CHECK(window && seen);
    for (int i = 0; i < 3000; i++) {
        uint32_t reach = below(2) ? 100 : 9000, counter = greatest + below(reach), back = below(reach);
        counter = counter > back ? counter - back : 0;
        if (counter >= SPAN)
            break;
        int expected = !seen[counter] && counter + BEHIND >= greatest;
        CHECK(sp_window_accept(window, counter) == expected);
        seen[counter] |= (uint8_t)expected;
        if (expected && counter > greatest)
            greatest = counter;
    }
    for (uint64_t counter = UINT64_MAX - BEHIND - 10; counter != 2; counter++)
        sp_window_accept(window, counter);
    CHECK(!sp_window_accept(window, UINT64_MAX) && !sp_window_accept(window, UINT64_MAX - BEHIND - 1));
    free(window);
    free(seen);
}

struct prefix {
    uint8_t addr[16];
    int family, len;
    uint32_t owner;
};

static int covers(const struct prefix *p, int family, const uint8_t *addr)
{
    if (p->family != family)
        return 0;
    for (int bit = 0; bit < p->len; bit++)
        if ((p->addr[bit / 8] ^ addr[bit / 8]) >> (7 - bit % 8) & 1)
            return 0;
    return 1;
}

static void try_trie(void)
{
    enum { MOST = 200 };
    struct prefix list[MOST];
    struct sp_trie *trie = sp_trie_new();
    int count = 0;

    CHECK(trie);
    for (int step = 0; step < 400; step++) {
        struct prefix p = {.family = below(2) ? 4 : 6, .owner = 1 + below(9)};
        int bytes = p.family == 4 ? 4 : 16, at;
        uint8_t *addr = calloc(1, (size_t)bytes);
        CHECK(addr);
        for (int i = 0; i < 4; i++) /* few bits vary: prefixes nest and part */
            addr[below((uint32_t)bytes)] = (uint8_t)(below(4) << (below(2) ? 6 : 0));
        memcpy(p.addr, addr, (size_t)bytes);
        p.len = (int)below((uint32_t)bytes * 8 + 1);

        for (at = 0; at < count; at++) /* is it there already? */
            if (list[at].len == p.len && covers(&list[at], p.family, p.addr))
                break;
        if (below(10) == 0) {
            sp_trie_remove_owner(trie, p.owner);
            int kept = 0;
            for (int i = 0; i < count; i++)
                if (list[i].owner != p.owner)
                    list[kept++] = list[i];
            count = kept;
        } else if (below(3) == 0) {
            int expected = at < count && list[at].owner == p.owner ? 0 : -ENOENT;
            CHECK(sp_trie_remove(trie, p.family, addr, p.len, p.owner) == expected);
            if (expected == 0)
                list[at] = list[--count];
        } else if (at < MOST) {
            CHECK(sp_trie_set(trie, p.family, addr, p.len, p.owner) == 0);
            list[at] = p;
            count += at == count;
        }
        const struct prefix *best = NULL;
        for (int i = 0; i < count; i++)
            if (covers(&list[i], p.family, addr) && (!best || list[i].len > best->len))
                best = &list[i];
        CHECK(sp_trie_find(trie, p.family, addr) == (best ? best->owner : 0));
        free(addr);
    }
    sp_trie_free(trie);
}

/* ---- split and join ----------------------------------------------------------------------------------- */

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put_check(uint8_t *p, uint64_t sum, int udp)
{
    uint16_t word = (uint16_t)~sp_sum_fold(sum);
    if (udp && word == 0)
        word = 0xffff;
    memcpy(p, &word, 2);
}

/* One right packet of a flow, in a block of its own. */
static uint8_t *make_packet(int family, int udp, uint32_t sequence, uint16_t id, uint32_t payload, size_t *len)
{
    uint32_t network = family == 4 ? 20 : 40, transport = udp ? 8 : 32, total = network + transport + payload;
    uint8_t *p = block(total), *t = p + network;

    memset(p, 0, network + transport);
    if (family == 4) {
        p[0] = 0x45;
        put16(p + 2, total);
        put16(p + 4, id);
        p[8] = 64;
        p[9] = udp ? 17 : 6;
        memset(p + 12, 10, 8);
        put_check(p + 10, sp_sum(0, p, 20), 0);
    } else {
        p[0] = 0x60;
        put16(p + 4, total - 40);
        p[6] = udp ? 17 : 6;
        p[7] = 64;
        memset(p + 8, 0xfd, 32);
    }
    put16(t, 1234);
    if (udp) {
        put16(t + 4, total - network);
    } else {
        put16(t + 4, sequence >> 16);
        put16(t + 6, sequence);
        t[12] = 0x80;
        t[13] = 0x10;
        memset(t + 20, 1, 12);
    }
    put_check(t + (udp ? 6 : 16),
              sp_sum(sp_sum_pseudo(family, p + (family == 4 ? 12 : 8), p + (family == 4 ? 16 : 24), udp ? 17 : 6,
                                   total - network),
                     t, total - network),
              udp);
    *len = total;
    return p;
}

/* Joined, put together as the kernel would see it, split again: the packets that went in. */
static void try_round_trip(void)
{
    enum { MOST = SP_JOIN_PACKETS };
    uint8_t *packets[MOST];
    size_t lens[MOST], count = 1 + below(80);
    int family = below(2) ? 4 : 6, udp = below(2) != 0;
    uint32_t size = 1 + below(1400), sequence = (uint32_t)noise();
    uint16_t id = (uint16_t)noise();
    struct sp_join *join = sp_join_new();
    struct iovec *iov = calloc(MOST + 1, sizeof *iov);
    size_t at = 0;

    CHECK(join && iov);
    sp_join_allow(join, 1U << SP_JOIN_TCP | 1U << SP_JOIN_UDP);
    for (size_t i = 0; i < count; i++) {
        uint32_t payload = i + 1 == count ? 1 + below(size) : size;
        packets[i] = make_packet(family, udp, sequence, id, payload, &lens[i]);
        sequence += payload;
        id++;
        CHECK(sp_join_add(join, packets[i], lens[i]) == 0);
    }
    for (size_t i = 0; i < sp_join_items(join); i++) {
        struct sp_vnet_hdr header;
        struct sp_split split;
        int kind;
        size_t n = sp_join_item(join, i, &header, iov, &kind), whole = 0, done = 0;
        for (size_t k = 0; k < n; k++)
            whole += iov[k].iov_len;
        CHECK(whole <= 65535);
        uint8_t *super = block(whole);
        for (size_t k = 0; k < n; done += iov[k++].iov_len)
            memcpy(super + done, iov[k].iov_base, iov[k].iov_len);
        int segments = sp_split_begin(&split, &header, super, whole);
        CHECK(segments >= 1 && (size_t)segments == sp_join_parts(join, i, iov));
        for (size_t s = 0; s < (size_t)segments; s++, at++) {
            size_t len = sp_split_len(&split, s);
            uint8_t *out = block(len);
            sp_split_copy(&split, s, out);
            CHECK(len == lens[at] && memcmp(out, packets[at], len) == 0);
            free(out);
        }
        free(super);
    }
    CHECK(at == count);
    for (size_t i = 0; i < count; i++)
        free(packets[i]);
    free(iov);
    sp_join_free(join);
}

/* Bytes and offload headers that lie: nothing is read or written outside. */
static void try_noise(void)
{
    size_t len;
    uint8_t *packet = make_packet(below(2) ? 4 : 6, below(2) != 0, 1, 1, below(200), &len);
    struct sp_vnet_hdr header = {
        .flags = (uint8_t)below(4),
        .gso_type = (uint8_t[]){0, 1, 4, 5, 0x81, 3}[below(6)],
        .gso_size = (uint16_t)below(300),
        .csum_start = (uint16_t)(below(2) ? 20 + 20 * below(2) : below(400)),
        .csum_offset = (uint16_t)(below(2) ? 6 + 10 * below(2) : below(400)),
    };
    struct sp_split split;
    struct sp_join *join = sp_join_new();
    struct sp_ip ip;

    CHECK(join);
    for (uint32_t flips = below(6); flips > 0; flips--)
        packet[below(below(2) && len > 70 ? 70 : (uint32_t)len)] = (uint8_t)noise();
    size_t exact_len = below(3) ? len : below((uint32_t)len + 1);
    uint8_t *exact = block(exact_len);
    memcpy(exact, packet, exact_len);

    sp_ip_parse_untrusted(&ip, exact, exact_len);
    sp_join_allow(join, (unsigned)below(8));
    for (int i = 0; i < 5; i++)
        CHECK(sp_join_add(join, exact, exact_len) == 0);
    for (size_t i = 0; i < sp_join_items(join); i++) {
        struct iovec iov[SP_JOIN_PACKETS + 1];
        struct sp_vnet_hdr unused;
        int kind;
        sp_join_item(join, i, &unused, iov, &kind);
    }
    int segments = sp_split_begin(&split, &header, exact, exact_len);
    for (int s = 0; s < segments; s++) {
        uint8_t *out = malloc(sp_split_len(&split, (size_t)s));
        CHECK(out);
        sp_split_copy(&split, (size_t)s, out);
        free(out);
    }
    free(exact);
    free(packet);
    sp_join_free(join);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 100;

    for (int i = 0; i < rounds; i++) {
        try_aead("auto", "portable");
        try_aead("portable", "auto");
        try_blake2s();
        try_checksum();
        try_window();
        try_trie();
        try_round_trip();
        for (int k = 0; k < 50; k++)
            try_noise();
    }
    return 0;
}
