/* Two pumps against each other under a sanitizer: over UDP on this host, with socket pairs for TUNs, on a
 * virtual clock, from one fixed seed. `pump_main step`: everything in turn, with garbage, mutations and
 * all control doors in between (ASan, UBSan). `pump_main threads`: both pumps in their loops, while another
 * thread turns every knob, also of the peer in traffic (TSan). Prints one line and exits 0 when all held. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "blake2s.h"
#include "check.h"
#include "split.h"

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
    int udp, udp6;
    int tun[2]; /* ours, the pump's */
    struct sp_endpoint at, at6;
    uint32_t peer;
    int purse; /* the peer's */
    uint64_t slot[SP_SLOT_WORDS];
};

static const uint8_t gate_keys[SP_MAX_MAC1_KEYS][SP_KEY_BYTES] = {{7}, {8}};

/* A socket on this host, and where it is. */
static int open_socket(int family, struct sp_endpoint *at)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 name6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr *any = family == 4 ? (struct sockaddr *)&name : (struct sockaddr *)&name6;
    socklen_t len = family == 4 ? sizeof(name) : sizeof(name6);
    int fd = socket(any->sa_family, SOCK_DGRAM | SOCK_NONBLOCK, 0), one = 1;

    CHECK(bind(fd, any, len) == 0);
    CHECK(getsockname(fd, any, &len) == 0);
    setsockopt(fd, IPPROTO_UDP, 104, &one, sizeof(one)); /* UDP_GRO */
    setsockopt(fd, family == 4 ? IPPROTO_IP : IPPROTO_IPV6, family == 4 ? IP_PKTINFO : IPV6_RECVPKTINFO, &one,
               sizeof(one));
    at->family = (uint16_t)family;
    at->port = ntohs(family == 4 ? name.sin_port : name6.sin6_port);
    memcpy(at->addr, family == 4 ? (void *)&name.sin_addr : (void *)&name6.sin6_addr, family == 4 ? 4 : 16);
    return fd;
}

static void set_tun(struct side *side, uint32_t joins, uint32_t mtu)
{
    CHECK(sp_pump_set_tun(side->pump, side->tun[1], SP_OFFLOAD_VNET_HDR | joins, mtu) == 0);
}

/* One side computes the cipher as it does in service, the other in plain C: they must agree. */
static void open_side(struct side *side, const char *aead)
{
    memset(side, 0, sizeof(*side));
    side->pump = sp_pump_new(aead, 5);
    CHECK(side->pump != NULL);
    side->udp = open_socket(4, &side->at);
    side->udp6 = open_socket(6, &side->at6);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, side->tun) == 0);
    set_tun(side, SP_OFFLOAD_JOIN_TCP | SP_OFFLOAD_JOIN_UDP, 1420);
    CHECK(sp_pump_set_udp(side->pump, side->udp, side->udp6, SP_OFFLOAD_UDP_GSO) == 0);
    CHECK(sp_gate_set(side->pump, gate_keys[0], SP_MAX_MAC1_KEYS) == 0);
}

static void close_side(struct side *side)
{
    sp_pump_free(side->pump);
    close(side->udp);
    close(side->udp6);
    close(side->tun[0]);
    close(side->tun[1]);
}

static void allow(struct side *side, uint8_t theirs)
{
    const uint8_t addr[4] = {10, 0, 0, theirs}, addr6[16] = {0xfd, [15] = theirs};

    CHECK(sp_peer_allow(side->pump, side->peer, 4, addr, 32) == 0);
    CHECK(sp_peer_allow(side->pump, side->peer, 6, addr6, 128) == 0);
}

static void meet(struct side *side, const struct side *other, uint8_t theirs)
{
    const uint8_t key[32] = {theirs};
    int64_t number = sp_peer_add(side->pump, key, side->slot, side->purse);

    CHECK(number > 0);
    side->peer = (uint32_t)number;
    allow(side, theirs);
    CHECK(sp_peer_set_endpoint(side->pump, side->peer, draw(2) ? &other->at : &other->at6) == 0);
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

/* A packet, or a superpacket, from own to theirs, of any kind; a sixteenth of them damaged anywhere. */
static void feed(struct side *side, uint8_t own, uint8_t theirs)
{
    static uint8_t bytes[10 + 65535];
    uint32_t whole = draw(4) == 0 ? 60 + draw(65000) : 60 + draw(1360);
    int six = draw(3) == 0, udp = draw(3) == 0;
    uint32_t head = six ? 40 : 20, transport = udp ? 8 : 20, len = six ? whole - head : whole;
    struct sp_vnet_hdr header = {0};
    uint8_t *ip = bytes + 10;

    memset(bytes, 0, 10 + 60);
    ip[0] = six ? 0x60 : 0x45;
    ip[six ? 4 : 2] = (uint8_t)(len >> 8);
    ip[six ? 5 : 3] = (uint8_t)len;
    ip[six ? 7 : 8] = 64;
    ip[six ? 6 : 9] = udp ? 17 : 6;
    if (six)
        memcpy(ip + 8, (uint8_t[32]){0xfd, [15] = own, [16] = 0xfd, [31] = theirs}, 32);
    else
        memcpy(ip + 12, (uint8_t[]){10, 0, 0, own, 10, 0, 0, theirs}, 8);
    if (udp)
        memcpy(ip + head + 4, (uint8_t[]){(uint8_t)((whole - head) >> 8), (uint8_t)(whole - head)}, 2);
    else
        memcpy(ip + head + 12, (uint8_t[]){0x50, 0x10}, 2);
    if (whole > 1420) {
        header.flags = SP_VNET_NEEDS_CSUM;
        header.gso_type = udp ? SP_GSO_UDP_L4 : six ? SP_GSO_TCPV6 : SP_GSO_TCPV4;
        header.gso_size = (uint16_t)(1 + draw(1360));
        header.hdr_len = (uint16_t)(head + transport);
        header.csum_start = (uint16_t)head;
        header.csum_offset = udp ? 6 : 16;
    }
    memcpy(bytes, &header, sizeof(header));
    if (draw(16) == 0)
        bytes[draw(10 + 60)] = (uint8_t)draw(256);
    if (draw(64) == 0)
        whole = draw(whole);
    (void)!send(side->tun[0], bytes, 10 + whole, 0); /* full: also a case */
}

static uint64_t empty_tun(struct side *side)
{
    static uint8_t bytes[1 << 17];
    uint64_t n = 0;

    while (recv(side->tun[0], bytes, sizeof(bytes), 0) > 0)
        n++;
    return n;
}

/* Something that is no message of ours, or one of ours damaged, or an initiation as far as the gate looks. */
static void garbage(struct side *from, const struct side *to)
{
    static uint8_t bytes[2048];
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(to->at.port)};
    struct sockaddr_in6 name6 = {.sin6_family = AF_INET6, .sin6_port = htons(to->at6.port)};
    size_t len = draw(sizeof(bytes));

    memcpy(&name.sin_addr, to->at.addr, 4);
    memcpy(&name6.sin6_addr, to->at6.addr, 16);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)draw(256);
    memcpy(bytes, (uint8_t[]){(uint8_t)draw(6), 0, 0, 0, (uint8_t)draw(40), 0, 0, 0}, 8);
    if (draw(4) == 0) {
        len = 148;
        bytes[0] = 1;
        sp_blake2s_mac(bytes + 116, gate_keys[draw(SP_MAX_MAC1_KEYS)], bytes, 116);
    }
    if (draw(2))
        sendto(from->udp, bytes, len, 0, (struct sockaddr *)&name, sizeof(name));
    else
        sendto(from->udp6, bytes, len, 0, (struct sockaddr *)&name6, sizeof(name6));
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
    case 1: sp_peer_set_endpoint(side->pump, side->peer, draw(2) ? &other->at : &other->at6); break;
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

/* Another peer in the place of this one, with that purse: so a peer moves from purse to purse. */
static void meet_again(struct side *side, const struct side *other, uint8_t theirs, int purse)
{
    CHECK(sp_peer_remove(side->pump, side->peer) == 0);
    side->purse = purse;
    meet(side, other, theirs);
}

static void turn_purse(struct side *side, const struct side *other, uint8_t theirs)
{
    uint64_t bytes;
    int shut, old = side->purse, fresh;

    switch (draw(4)) {
    case 0:
        fresh = sp_purse_new(side->pump, draw(100000));
        CHECK(fresh > 0);
        meet_again(side, other, theirs, fresh);
        CHECK(old == 0 || sp_purse_free(side->pump, old) == 0);
        break;
    case 1: CHECK(old == 0 || sp_purse_set(side->pump, old, draw(2) ? UINT64_MAX : draw(50000)) == 0); break;
    case 2: CHECK(sp_purse_get(side->pump, old, &bytes, &shut) == 0); break;
    default: CHECK(old == 0 || sp_purse_free(side->pump, old) == -EBUSY); break;
    }
}

static void lose_prefixes(struct side *side, uint8_t theirs)
{
    const uint8_t addr[4] = {10, 0, 0, theirs};

    if (draw(2))
        CHECK(sp_peer_disallow(side->pump, side->peer, 4, addr, 32) == 0);
    else
        CHECK(sp_peer_disallow_all(side->pump, side->peer) == 0);
    CHECK(sp_route(side->pump, 4, addr) == 0);
    allow(side, theirs);
    CHECK(sp_route(side->pump, 4, addr) == side->peer);
}

/* What becomes of the peer whose packets are under way. Returns 1 when it may have no keys now. */
static int upheaval(struct side *side, const struct side *other, uint8_t theirs, uint64_t now)
{
    struct sp_datagram datagram = {.len = 148, .from = draw(2) ? other->at : other->at6, .local_ifindex = 1};

    switch (draw(11)) {
    case 0: meet_again(side, other, theirs, side->purse); return 1;
    case 1: CHECK(sp_peer_erase_keys(side->pump, side->peer) == 0); return 1;
    case 2: CHECK(sp_peer_expire_keys(side->pump, side->peer) == 0); return 1;
    case 3: CHECK(sp_peer_drop_staged(side->pump, side->peer) == 0); break;
    case 4: set_tun(side, draw(4) * SP_OFFLOAD_JOIN_TCP, 1280 + draw(2) * 140); break;
    case 5: CHECK(sp_pump_set_mtu(side->pump, 1280 + draw(200)) == 0); break;
    case 6: CHECK(sp_gate_set(side->pump, gate_keys[0], (int)draw(SP_MAX_MAC1_KEYS + 1)) == 0); break;
    case 7: turn_purse(side, other, theirs); return 1;
    case 8: lose_prefixes(side, theirs); break;
    case 9:
        CHECK(sp_peer_handshake_in(side->pump, side->peer, &datagram, now) == 0);
        CHECK(sp_peer_handshake_done(side->pump, side->peer, now) == 0);
        break;
    default:
        for (int word = 0; word < SP_SLOT_WORDS; word++)
            CHECK(__atomic_load_n(&side->slot[word], __ATOMIC_RELAXED) < UINT64_MAX);
        break;
    }
    return 0;
}

/* What keeps traffic going. */
static void settle(struct side *a, struct side *b, uint32_t n, uint64_t now)
{
    CHECK(a->purse == 0 || sp_purse_set(a->pump, a->purse, UINT64_MAX) == 0);
    CHECK(b->purse == 0 || sp_purse_set(b->pump, b->purse, UINT64_MAX) == 0);
    shake(draw(2) ? a : b, draw(2) ? b : a, n, now); /* sometimes with oneself: no key fits */
    sp_gate_set(a->pump, gate_keys[0], SP_MAX_MAC1_KEYS);
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
            settle(&a, &b, n++, now);
        if (draw(30) == 0)
            upheaval(&a, &b, 2, now);
        if (draw(30) == 0)
            upheaval(&b, &a, 1, now);
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
    for (uint32_t round = 0; round < 2000; round++) {
        usleep(50); /* or they hardly get a turn */
        int without = draw(20) == 0 && upheaval(&a, &b, 2, now);
        without |= draw(20) == 0 && upheaval(&b, &a, 1, now);
        if (round % 100 == 0 || (without && draw(2)))
            settle(&a, &b, round + 1, now);
        feed(&a, 1, 2);
        feed(&b, 2, 1);
        if (draw(4) == 0)
            garbage(&a, &b);
        knob(&a, &b, now);
        knob(&b, &a, now);
        if (round % 50 == 0)
            sp_pump_set_udp(a.pump, a.udp, a.udp6, draw(2) ? SP_OFFLOAD_UDP_GSO : 0);
        arrived += empty_tun(&a) + empty_tun(&b);
    }
    sp_stop(a.pump);
    sp_stop(b.pump);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    printf("%llu writes arrived\n", (unsigned long long)arrived);
    CHECK(arrived > 100);
    close_side(&a);
    close_side(&b);
    return 0;
}

int main(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "threads") == 0 ? two_threads() : step_all();
}
