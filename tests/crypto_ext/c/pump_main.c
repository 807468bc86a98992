/* Two pumps against each other under a sanitizer: over UDP on this host, with socket pairs for TUNs, on a
 * virtual clock, from one fixed seed. `pump_main step`: everything in turn, with garbage, mutations and
 * all control doors in between (ASan, UBSan). `pump_main threads`: one pump in its loop, while another
 * thread turns every knob (TSan). Prints one line and exits 0 when every invariant held. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "split.h"

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "line %d: %s\n", __LINE__, #what); \
            exit(1); \
        } \
    } while (0)

enum { SECOND = 1000000000 };

static uint64_t seed = 88172645463325252ULL;

static uint32_t draw(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

struct side {
    struct sp_pump *pump;
    int udp;
    int tun[2]; /* ours, the pump's */
    struct sp_endpoint at;
    uint32_t peer;
    uint64_t slot[SP_SLOT_WORDS];
};

/* One side computes the cipher as it does in service, the other in plain C: they must agree. */
static void open_side(struct side *side, const char *aead)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(name);
    int one = 1;

    memset(side, 0, sizeof(*side));
    side->pump = sp_pump_new(aead, 5);
    CHECK(side->pump != NULL);
    side->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK(bind(side->udp, (struct sockaddr *)&name, sizeof(name)) == 0);
    CHECK(getsockname(side->udp, (struct sockaddr *)&name, &len) == 0);
    setsockopt(side->udp, IPPROTO_UDP, 104, &one, sizeof(one)); /* UDP_GRO */
    setsockopt(side->udp, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, side->tun) == 0);
    side->at.family = 4;
    side->at.port = ntohs(name.sin_port);
    memcpy(side->at.addr, &name.sin_addr, 4);
    sp_pump_set_tun(side->pump, side->tun[1], SP_OFFLOAD_VNET_HDR | SP_OFFLOAD_JOIN_TCP | SP_OFFLOAD_JOIN_UDP, 1420);
    sp_pump_set_udp(side->pump, side->udp, -1, SP_OFFLOAD_UDP_GSO);
}

static void close_side(struct side *side)
{
    sp_pump_free(side->pump);
    close(side->udp);
    close(side->tun[0]);
    close(side->tun[1]);
}

static void meet(struct side *side, const struct side *other, uint8_t theirs)
{
    const uint8_t key[32] = {theirs};
    const uint8_t addr[4] = {10, 0, 0, theirs};
    int64_t number = sp_peer_add(side->pump, key, side->slot, 0);

    CHECK(number > 0);
    side->peer = (uint32_t)number;
    CHECK(sp_peer_allow(side->pump, side->peer, 4, addr, 32) == 0);
    CHECK(sp_peer_set_endpoint(side->pump, side->peer, &other->at) == 0);
}

static void shake(struct side *first, struct side *second, uint32_t n, uint64_t now)
{
    struct sp_keypair_spec spec = {.local_index = 2 * n, .remote_index = 2 * n + 1, .created_ns = now};

    memset(spec.send_key, (int)(n & 127), 32);
    memset(spec.receive_key, (int)(n & 127) + 128, 32);
    spec.is_initiator = 1;
    struct sp_keypair_spec back = spec;
    memcpy(back.send_key, spec.receive_key, 32);
    memcpy(back.receive_key, spec.send_key, 32);
    back.local_index = spec.remote_index;
    back.remote_index = spec.local_index;
    back.is_initiator = 0;
    CHECK(sp_peer_install(second->pump, second->peer, &back, now) == 0);
    CHECK(sp_peer_install(first->pump, first->peer, &spec, now) == 0);
}

/* A packet, or a superpacket, from own to theirs; a sixteenth of them damaged anywhere. */
static void feed(struct side *side, uint8_t own, uint8_t theirs)
{
    static uint8_t bytes[10 + 65535];
    uint32_t whole = draw(4) == 0 ? 40 + draw(65000) : 40 + draw(1380);
    struct sp_vnet_hdr header = {0};
    uint8_t *ip = bytes + 10;

    memset(bytes, 0, 10 + 60);
    ip[0] = 0x45;
    ip[2] = (uint8_t)(whole >> 8);
    ip[3] = (uint8_t)whole;
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 12, (uint8_t[]){10, 0, 0, own, 10, 0, 0, theirs}, 8);
    ip[32] = 0x50;
    ip[33] = 0x10;
    if (whole > 1420) {
        header.flags = SP_VNET_NEEDS_CSUM;
        header.gso_type = SP_GSO_TCPV4;
        header.gso_size = (uint16_t)(1 + draw(1380));
        header.hdr_len = 40;
        header.csum_start = 20;
        header.csum_offset = 16;
    }
    memcpy(bytes, &header, sizeof(header));
    if (draw(16) == 0)
        bytes[draw(10 + 60)] = (uint8_t)draw(256);
    if (draw(64) == 0)
        whole = draw(whole);
    if (send(side->tun[0], bytes, 10 + whole, 0) < 0)
        return; /* full: also a case */
}

static uint64_t empty_tun(struct side *side)
{
    static uint8_t bytes[1 << 17];
    uint64_t n = 0;

    while (recv(side->tun[0], bytes, sizeof(bytes), 0) > 0)
        n++;
    return n;
}

/* Something that is no message of ours, or one of ours with a byte changed. */
static void garbage(struct side *from, const struct side *to)
{
    static uint8_t bytes[2048];
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(to->at.port)};
    size_t len = draw(sizeof(bytes));

    memcpy(&name.sin_addr, to->at.addr, 4);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)draw(256);
    memcpy(bytes, (uint8_t[]){(uint8_t)draw(6), 0, 0, 0, (uint8_t)draw(40), 0, 0, 0}, 8);
    sendto(from->udp, bytes, len, 0, (struct sockaddr *)&name, sizeof(name));
}

static void knob(struct side *side, const struct side *other, uint64_t now)
{
    uint8_t message[148] = {1};
    struct sp_datagram up[8];
    struct sp_pending pending[8];
    struct sp_stats stats;
    struct sp_peer_view view;
    uint8_t stranger[32] = {9, (uint8_t)draw(50)};
    int64_t number;

    switch (draw(12)) {
    case 0: sp_peer_set_keepalive(side->pump, side->peer, (uint16_t)draw(30), now); break;
    case 1: sp_peer_set_endpoint(side->pump, side->peer, &other->at); break;
    case 2: sp_peer_handshake_out(side->pump, side->peer, message, 148, (int)draw(2), now); break;
    case 3: sp_take_datagrams(side->pump, up, 8); break;
    case 4: sp_take_pending(side->pump, pending, 8); break;
    case 5: sp_take_events(side->pump); break;
    case 6: sp_pump_stats(side->pump, &stats); break;
    case 7: CHECK(sp_peer_get(side->pump, side->peer, &view) == 0); break;
    case 8: sp_arm_counted(side->pump); break;
    case 9: sp_peer_forget_source(side->pump, 0); break;
    case 10:
        number = sp_peer_add(side->pump, stranger, NULL, 0);
        if (number > 0 && draw(3) > 0)
            CHECK(sp_peer_remove(side->pump, (uint32_t)number) == 0);
        break;
    default: sp_ping(side->pump); break;
    }
}

static int step_all(void)
{
    struct side a, b;
    uint64_t now = 1000 * (uint64_t)SECOND, arrived = 0;
    uint32_t n = 1;

    open_side(&a, "auto");
    open_side(&b, "portable");
    meet(&a, &b, 2);
    meet(&b, &a, 1);
    for (int round = 0; round < 3000; round++) {
        if (draw(50) == 0)
            shake(draw(2) ? &a : &b, draw(2) ? &b : &a, n++, now); /* sometimes with oneself: no key fits */
        if (draw(200) == 0)
            sp_peer_erase_keys(a.pump, a.peer);
        if (draw(200) == 0)
            sp_peer_drop_staged(b.pump, b.peer);
        if (draw(300) == 0) {
            CHECK(sp_peer_remove(a.pump, a.peer) == 0);
            meet(&a, &b, 2);
        }
        feed(&a, 1, 2);
        feed(&b, 2, 1);
        garbage(&a, &b);
        knob(&a, &b, now);
        knob(&b, &a, now);
        CHECK(sp_step(a.pump, now) >= 0);
        CHECK(sp_step(b.pump, now) >= 0);
        arrived += empty_tun(&a) + empty_tun(&b);
        now += draw(2) ? draw(SECOND / 10) : draw(4) * (uint64_t)SECOND;
        CHECK(sp_next_deadline(a.pump) == 0 || sp_next_deadline(a.pump) > now - 20 * (uint64_t)SECOND);
    }
    printf("%llu writes arrived\n", (unsigned long long)arrived);
    CHECK(arrived > 100);
    close_side(&a);
    close_side(&b);
    return 0;
}

static void *run(void *pump)
{
    CHECK(sp_run(pump) == SP_END_STOPPED);
    return NULL;
}

static int two_threads(void)
{
    struct side a, b;
    pthread_t threads[2];
    struct timespec clock;
    uint64_t now, arrived = 0;

    clock_gettime(CLOCK_BOOTTIME, &clock);
    now = (uint64_t)clock.tv_sec * SECOND + (uint64_t)clock.tv_nsec;
    open_side(&a, "auto");
    open_side(&b, "portable");
    meet(&a, &b, 2);
    meet(&b, &a, 1);
    CHECK(pthread_create(&threads[0], NULL, run, a.pump) == 0);
    CHECK(pthread_create(&threads[1], NULL, run, b.pump) == 0);
    for (uint32_t round = 0; round < 1500; round++) {
        if (round % 100 == 0)
            shake(&a, &b, round + 1, now);
        feed(&a, 1, 2);
        feed(&b, 2, 1);
        knob(&a, &b, now);
        knob(&b, &a, now);
        if (round % 50 == 0)
            sp_pump_set_udp(a.pump, a.udp, -1, SP_OFFLOAD_UDP_GSO);
        arrived += empty_tun(&a) + empty_tun(&b);
    }
    sp_stop(a.pump);
    sp_stop(b.pump);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    printf("%llu writes arrived\n", (unsigned long long)arrived);
    CHECK(arrived > 10);
    close_side(&a);
    close_side(&b);
    return 0;
}

int main(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "threads") == 0 ? two_threads() : step_all();
}
