/* The whole C surface of Sallyport: what Python may call, and what memory the two sides share.
 *
 * This one file is the contract. Every .c file includes it; build.py hands the part between the two
 * `cdef` marks to cffi, so that part holds plain declarations only (no #if, no macros).
 *
 * Division of labour: C owns everything about an established key, Python owns
 * everything about getting one. C never reads a clock except in sp_run(): every other door takes
 * `now_ns`, CLOCK_BOOTTIME in nanoseconds, so that all of it runs on a virtual clock.
 *
 * Errors: functions that return int give 0 (or a count) on success and a negative errno otherwise.
 * Threads: every function that takes a pump takes its table lock itself, unless its comment says
 * "no lock". The lock is held for one burst at a time, so a caller waits for the burst in progress
 * at most, and whatever it changed is true for every packet after it returned.
 */
#ifndef SALLYPORT_API_H
#define SALLYPORT_API_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */

enum {
    SP_ABI = 3, /* compared by crypto_ext/__init__.py at import */
    SP_KEY_BYTES = 32,
    SP_TAG_BYTES = 16,
    SP_DATAGRAM_BYTES = 192, /* room for the largest handshake message, 148 bytes */
    SP_MAX_MAC1_KEYS = 2,    /* two while a static key is being rotated */
    SP_SLOT_WORDS = 32
};

/* An address and a port. family is 4, 6 or 0 for none; addr holds 4 or 16 bytes in network order;
 * port is in host order. Exactly 24 bytes, because it also lies in a slot. */
struct sp_endpoint {
    uint16_t family;
    uint16_t port;
    uint32_t scope_id;
    uint8_t addr[16];
};

/* ---- slots: counters that survive us -----------------------------------------
 *
 * A slot is 32 little-endian 64-bit words in a memory-mapped file (or, for a peer that nobody bills,
 * inside the peer). Python binds and frees it and writes words 0 to 5; C adds to 6 to 11 and writes
 * 13 to 16; both sides read all of it without a lock, one aligned 64-bit load at a time. */
enum sp_slot_word {
    SP_SLOT_MAGIC = 0,        /* SP_SLOT_BOUND while bound, 0 while free */
    SP_SLOT_GENERATION = 1,
    SP_SLOT_SESSION = 2,      /* words 2..5: session id, ASCII, zero padded */
    SP_SLOT_BYTES_IN = 6,     /* billed, toward the client: inner IP total length when accepted for sending */
    SP_SLOT_BYTES_OUT = 7,    /* billed, from the client: inner IP total length after the source check */
    SP_SLOT_PACKETS_IN = 8,
    SP_SLOT_PACKETS_OUT = 9,
    SP_SLOT_TX_BYTES = 10,    /* as `wg show` counts: UDP payload of authenticated messages sent */
    SP_SLOT_RX_BYTES = 11,    /* the same, received */
    SP_SLOT_HANDSHAKE_NS = 12, /* wall clock of the last completed handshake, written through sp_peer_handshake_done */
    SP_SLOT_ENDPOINT = 13,    /* words 13..15: struct sp_endpoint, the peer's last authenticated endpoint */
    SP_SLOT_SEEN_NS = 16      /* CLOCK_BOOTTIME of the last authenticated packet received */
};

/* ---- AEAD: the seam ---------------------------------------------------------- */

/* One packet. Nonce = 4 zero bytes + little-endian counter; no additional data.
 * seal: reads len bytes at in, writes len + 16 at out. open: reads len bytes at in, of which the last
 * 16 are the tag, writes len - 16 at out. in == out is allowed, other overlap is not.
 * ok is set by open: 1 verified, 0 not, and then nothing was written at out.
 * placed, for seal: that many bytes of the text, a multiple of 64, stand at out already, and only what follows
 * them is read from in (from in + placed on). */
struct sp_aead_job {
    const uint8_t *key;
    uint64_t counter;
    const uint8_t *in;
    uint8_t *out;
    uint32_t len;
    uint32_t ok;
    uint32_t placed;
};

struct sp_aead;
/* path: "auto", "avx512", "avx2", "libcrypto" or "portable"; NULL when that path is not to be had here. */
struct sp_aead *sp_aead_new(const char *path);
/* 1 when this machine has that path but it computes wrong answers, so that "auto" passes it over; else 0. */
int sp_aead_broken(const char *path);
void sp_aead_free(struct sp_aead *aead);
const char *sp_aead_path(const struct sp_aead *aead); /* the path in use, one of the words above */
void sp_seal_batch(struct sp_aead *aead, struct sp_aead_job *jobs, size_t n);
void sp_open_batch(struct sp_aead *aead, struct sp_aead_job *jobs, size_t n);
void sp_aead_forget(struct sp_aead *aead); /* any key that it keeps from one batch to the next */

/* ---- the pump --------------------------------------------------------------------------------------- */

struct sp_pump;

/* Why a packet was dropped. The names in crypto_ext/__init__.py follow this order. */
enum sp_drop {
    SP_DROP_MALFORMED = 0,   /* datagram: no message type, wrong length for its type */
    SP_DROP_MAC1,            /* handshake message whose mac1 is wrong */
    SP_DROP_RING_FULL,       /* handshake message, ring upward full */
    SP_DROP_UNKNOWN_INDEX,   /* transport message, receiver index not ours */
    SP_DROP_EXPIRED,         /* transport message on a key past REJECT_AFTER_TIME or _MESSAGES */
    SP_DROP_FORGED,          /* transport message whose tag is wrong */
    SP_DROP_REPLAY,          /* authentic, but its counter was used or is too old */
    SP_DROP_INNER_MALFORMED, /* authentic, but not an IP packet of a possible length */
    SP_DROP_SOURCE,          /* inner source address is not that peer's */
    SP_DROP_PURSE,           /* did not fit the purse, either direction */
    SP_DROP_NO_PEER,         /* TUN packet to an address of no peer */
    SP_DROP_NO_ENDPOINT,     /* TUN packet to a peer whose endpoint is not known */
    SP_DROP_TUN_MALFORMED,   /* what the TUN gave is no IP packet, or an offload header that makes no sense */
    SP_DROP_STAGED_FULL,     /* staged packet pushed out by a newer one, or no room in the staging pool */
    SP_DROP_STAGED_LOST,     /* staged packet given up (handshake gave up, peer removed) */
    SP_DROP_UDP_SEND,        /* the kernel refused the datagram for good */
    SP_DROP_TUN_WRITE,       /* the kernel refused the packet (interface down, and the like) */
    SP_DROP_TRUNCATED,       /* datagram longer than the receive buffer */
    SP_DROP_REASONS
};

/* What the kernel refused and we now do without; each is reported upward once (SP_EVENT_NOTICE). */
enum sp_notice {
    SP_NOTICE_UDP_GSO = 1,      /* EIO: UDP segmentation off for a destination for good */
    SP_NOTICE_UDP_GSO_PATH = 2, /* EINVAL/EMSGSIZE: off for a destination for ten minutes */
    SP_NOTICE_TUN_TCP = 4,      /* EINVAL on a joined TCP write: joining off for TCP */
    SP_NOTICE_TUN_UDP = 8,      /* the same for UDP */
    SP_NOTICE_SOURCE = 16       /* a cached source address was refused and forgotten */
};

struct sp_stats {
    uint64_t drops[SP_DROP_REASONS];
    uint64_t udp_datagrams_in;  /* after splitting GRO batches */
    uint64_t udp_datagrams_out; /* before joining into GSO sends */
    uint64_t udp_receives;      /* recvmmsg messages */
    uint64_t udp_sends;         /* sendmsg calls */
    uint64_t tun_reads;
    uint64_t tun_writes;
    uint64_t tun_packets_in;    /* inner packets read from the TUN, after splitting */
    uint64_t tun_packets_out;   /* inner packets written to the TUN, before joining */
    uint64_t handshakes_up;     /* put into the ring */
    uint64_t turns;
    uint64_t sleeps;
    uint32_t notices;           /* enum sp_notice bits seen so far */
};

/* TUN and UDP abilities given to the pump by whoever opened the descriptors. */
enum sp_offload {
    SP_OFFLOAD_VNET_HDR = 1, /* the TUN speaks a 10-byte virtio_net_hdr before each packet */
    SP_OFFLOAD_JOIN_TCP = 2, /* TCP superpackets may be written to the TUN */
    SP_OFFLOAD_JOIN_UDP = 4, /* UDP superpackets (USO) may be written to the TUN */
    SP_OFFLOAD_UDP_GSO = 8   /* UDP_SEGMENT may be used on the sockets */
};

/* How sp_run() ended (positive), or a negative errno. */
enum sp_end { SP_END_STOPPED = 0, SP_END_TUN_GONE = 1, SP_END_UDP_GONE = 2 };

/* Lifetime. aead_path as for sp_aead_new. seed feeds only timer jitter. NULL: no memory, or no such path. */
struct sp_pump *sp_pump_new(const char *aead_path, uint64_t seed);
void sp_pump_free(struct sp_pump *pump); /* no lock; only when no thread is in sp_run; wipes all keys */
const char *sp_pump_aead(const struct sp_pump *pump);

/* Descriptors stay the caller's; -1 takes one away. All non-blocking. A running pump follows at once. */
int sp_pump_set_tun(struct sp_pump *pump, int fd, uint32_t offloads, uint32_t mtu);
int sp_pump_set_mtu(struct sp_pump *pump, uint32_t mtu);
int sp_pump_set_udp(struct sp_pump *pump, int fd4, int fd6, uint32_t offloads);

/* One turn: due timers, then a small budget in each direction. Returns the number of packets and
 * timers handled (0: nothing to do until an fd is readable or the deadline), a negative errno, or
 * -ESHUTDOWN when the TUN is gone. */
int sp_step(struct sp_pump *pump, uint64_t now_ns);
uint64_t sp_next_deadline(struct sp_pump *pump); /* CLOCK_BOOTTIME ns of the next timer; 0: none */

/* Loops sp_step until sp_stop or a fatal error; blocks all signals in the calling thread; sleeps in
 * one poll over TUN, sockets, a timerfd(CLOCK_BOOTTIME) and the stop eventfd. enum sp_end or -errno. */
int sp_run(struct sp_pump *pump);
void sp_stop(struct sp_pump *pump); /* no lock; any thread, any time, idempotent */
/* Ask a running pump for a sign of life: it answers with SP_EVENT_PONG. No lock. */
void sp_ping(struct sp_pump *pump);

/* ---- upward: one eventfd, a ring that may drop, bits that may not ----------------------------------- */

enum sp_event {
    SP_EVENT_COUNTED = 1, /* the first billed byte since sp_arm_counted */
    SP_EVENT_NOTICE = 2,  /* sp_stats.notices gained a bit */
    SP_EVENT_PONG = 4
};
enum sp_pending_bit {
    SP_PENDING_KEY = 1,       /* wants a (newer) key: data waits, or the present one is due; for traffic, raised at
                                 most once in 5 s (REKEY_TIMEOUT) until its keys change or its wait is given up */
    SP_PENDING_CONFIRMED = 2, /* the key we installed as responder was used by the peer: handshake complete */
    SP_PENDING_PURSE = 4      /* its purse has latched shut */
};

/* A handshake message that passed the gate (length, mac1). */
struct sp_datagram {
    uint16_t len;
    uint16_t mac1_key; /* which gate key matched */
    uint32_t local_ifindex;
    struct sp_endpoint from;
    uint8_t local[16]; /* the address of ours that it reached; family as in from */
    uint8_t data[192];
};
struct sp_pending {
    uint32_t peer;
    uint32_t bits;
};

int sp_up_fd(const struct sp_pump *pump); /* eventfd, readable while something waits below. No lock. */
uint32_t sp_take_events(struct sp_pump *pump); /* enum sp_event bits since last asked; drains the eventfd first */
int sp_take_datagrams(struct sp_pump *pump, struct sp_datagram *out, int room); /* returns how many */
int sp_take_pending(struct sp_pump *pump, struct sp_pending *out, int room);    /* returns how many */
void sp_arm_counted(struct sp_pump *pump);
void sp_pump_stats(struct sp_pump *pump, struct sp_stats *out);

/* ---- configuration ---------------------------------------------------------------------------------- */

/* The gate: mac1 keys, BLAKE2s("mac1----" || our static public key), n of them, 32 bytes each. */
int sp_gate_set(struct sp_pump *pump, const uint8_t *mac1_keys, int n);

/* Purses. 2^64-1 is unlimited and never counts down; a purse that a packet did not fit latches shut
 * until it is set again. Purse 0 always exists and is unlimited. sp_purse_new gives a number > 0. */
int sp_purse_new(struct sp_pump *pump, uint64_t bytes);
int sp_purse_set(struct sp_pump *pump, int purse, uint64_t bytes);
int sp_purse_get(struct sp_pump *pump, int purse, uint64_t *bytes, int *shut);
int sp_purse_free(struct sp_pump *pump, int purse); /* -EBUSY while a peer uses it */

/* Peers. The number returned (> 0) names the peer until it is removed and is not soon given again;
 * a stale number gives -ENOENT. slot: SP_SLOT_WORDS words that outlive the peer, or NULL (then the
 * peer carries its own). -EEXIST: that public key is a peer already. */
int64_t sp_peer_add(struct sp_pump *pump, const uint8_t *public_key, uint64_t *slot, int purse);
int sp_peer_remove(struct sp_pump *pump, uint32_t peer);
/* Forgets the cached source. */
int sp_peer_set_endpoint(struct sp_pump *pump, uint32_t peer, const struct sp_endpoint *to);
/* 0: off. Anything else sends a keepalive at once, or wants a key for it; so does setting it again. */
int sp_peer_set_keepalive(struct sp_pump *pump, uint32_t peer, uint16_t seconds, uint64_t now_ns);
int sp_peer_forget_source(struct sp_pump *pump, uint32_t peer); /* peer 0: all peers */

/* Allowed-ips. A prefix belongs to one peer: allowing it takes it from another. Host bits are masked. */
int sp_peer_allow(struct sp_pump *pump, uint32_t peer, int family, const uint8_t *addr, int prefix_len);
int sp_peer_disallow(struct sp_pump *pump, uint32_t peer, int family, const uint8_t *addr, int prefix_len);
int sp_peer_disallow_all(struct sp_pump *pump, uint32_t peer);
/* The peer of the longest matching prefix, 0 when there is none. */
uint32_t sp_route(struct sp_pump *pump, int family, const uint8_t *addr);

/* Keys. As initiator the keypair becomes current at once and the staged packets (or one keepalive)
 * leave; as responder it becomes next until the peer uses it (as in the kernel's noise.c). -EADDRINUSE: index taken. */
struct sp_keypair_spec {
    uint8_t send_key[32];
    uint8_t receive_key[32];
    uint32_t local_index;
    uint32_t remote_index;
    uint64_t created_ns;
    int is_initiator;
};
int sp_peer_install(struct sp_pump *pump, uint32_t peer, const struct sp_keypair_spec *spec, uint64_t now_ns);
int sp_peer_erase_keys(struct sp_pump *pump, uint32_t peer);  /* wipes previous, current and next */
int sp_peer_expire_keys(struct sp_pump *pump, uint32_t peer); /* still received on, no longer sent on */
int sp_peer_drop_staged(struct sp_pump *pump, uint32_t peer); /* after a give-up; stops the passive keepalive too */
int sp_index_in_use(struct sp_pump *pump, uint32_t index);    /* 1 or 0 */

/* Handshake messages leave and arrive through here, so that endpoint, source address, counters and
 * timers stay in one place. out: to the peer's endpoint, -EDESTADDRREQ without one; retry forgets the
 * cached source first. in: an authentic message moved the endpoint. done: wall clock for `wg show`. */
int sp_peer_handshake_out(struct sp_pump *pump, uint32_t peer, const uint8_t *message, int len, int retry,
                          uint64_t now_ns);
int sp_peer_handshake_in(struct sp_pump *pump, uint32_t peer, const struct sp_datagram *datagram, uint64_t now_ns);
int sp_peer_handshake_done(struct sp_pump *pump, uint32_t peer, uint64_t wall_ns);

/* What a reader of one peer wants to know. Times are CLOCK_BOOTTIME ns, 0 for never or none. */
struct sp_peer_view {
    struct sp_endpoint endpoint;
    uint64_t tx_bytes;
    uint64_t rx_bytes;
    uint64_t handshake_wall_ns;
    uint64_t seen_ns;
    uint64_t keepalive_at_ns;  /* passive keepalive */
    uint64_t unanswered_at_ns; /* new handshake because data went unanswered */
    uint64_t persistent_at_ns;
    uint64_t current_created_ns;
    uint64_t send_counter;     /* of the current key */
    uint32_t current_index;    /* local indices, 0 where the slot is empty */
    uint32_t previous_index;
    uint32_t next_index;
    uint32_t staged;
    uint16_t persistent_seconds;
};
int sp_peer_get(struct sp_pump *pump, uint32_t peer, struct sp_peer_view *out);

/* ---- the symmetric state of a handshake ------------------------------------------------------------- */

/* Noise's SymmetricState for WireGuard: symmetric.c does the steps, Python says their order and has the X25519.
 * It is the caller's memory, begun by writing chain_key and hash, wiped by sp_wipe; no lock.
 * out is what the last call gave; no argument may lie there. Secrets and public keys have 32 bytes, texts up to 64
 * and 16 more when sealed (else -EINVAL). -EBADMSG: forged. A call that fails changes nothing. */
enum { SP_SYMMETRIC_TEXT_BYTES = 64 };
struct sp_symmetric {
    uint8_t chain_key[32];
    uint8_t hash[32];
    uint8_t out[80];
};
/* Mac of the paper, of a message under a key that all may know: 16 bytes in out. The state stays as it is. */
void sp_symmetric_mac(struct sp_symmetric *state, const uint8_t *key, const uint8_t *data, size_t len);
/* The state becomes what `from` is (which may be the same) with these mixed in: MixHash and MixKey, as patterns with a
 * preshared key have it for token "e", then MixKey of each secret that is not NULL: nothing is sealed in between. */
void sp_symmetric_mix(struct sp_symmetric *state, const struct sp_symmetric *from, const uint8_t *public_key,
                      const uint8_t *first, const uint8_t *second);
/* MixKey, then EncryptAndHash (len + 16 bytes in out) or DecryptAndHash (len - 16). */
int sp_symmetric_seal(struct sp_symmetric *state, const uint8_t *secret, const uint8_t *text, size_t len);
int sp_symmetric_open(struct sp_symmetric *state, const uint8_t *secret, const uint8_t *sealed, size_t len);
/* The end: MixKeyAndHash, an empty text sealed or opened, Split. out: the initiator's sending key, the responder's,
 * and when sealing the tag. The chaining key and the hash are wiped. */
void sp_symmetric_seal_end(struct sp_symmetric *state, const uint8_t *psk);
int sp_symmetric_open_end(struct sp_symmetric *state, const uint8_t *psk, const uint8_t *tag);

/* ---- small things that Python needs and C has anyway ------------------------------------------------ */

void sp_wipe(void *memory, size_t bytes);

/* cdef: end */

#endif
