/* Allowed-ips: a path-compressed binary trie per address family, and the prefixes of each owner.
 *
 * A node stands for a prefix: either one that somebody owns, or (owner 0) the place where two longer
 * ones part, so there are fewer than two nodes per prefix and a walk is as long as the path has forks.
 * Nodes lie in one growing arena and name each other by number (0: none), freed ones are reused, and
 * nothing here recurses: depth is bounded by data that clients can influence.
 *
 * Owned nodes are also threaded into hash chains by owner, so that a peer's removal visits its own
 * prefixes (and the few that share its chain), not all of them. */
#define _DEFAULT_SOURCE /* endian.h */
#include "trie.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The first bit of an address is the top bit of high; IPv4 uses the upper half of high only. */
struct key {
    uint64_t high, low;
};

struct node {
    struct key key; /* host bits are zero */
    uint32_t child[2];
    uint32_t parent;
    uint32_t owner;
    uint32_t chain_next, chain_previous; /* among the owned nodes of one chain; free list uses next */
    uint8_t bits;                        /* prefix length */
    uint8_t six;                         /* which root */
};

struct sp_trie {
    struct node *nodes; /* number 0 is never used */
    uint32_t used, room, free_nodes, free_count;
    uint32_t roots[2];
    uint32_t *chains;
    uint32_t chain_mask; /* number of chains, a power of two, less one */
    uint32_t owned;
};

enum { FIRST_ROOM = 64, FIRST_CHAINS = 64 };

static inline uint32_t bit_at(struct key key, uint32_t i)
{
    return (uint32_t)(i < 64 ? key.high >> (63 - i) : key.low >> (127 - i)) & 1;
}

/* Number of leading bits in which two keys agree. */
static inline uint32_t common_bits(struct key a, struct key b)
{
    uint64_t high = a.high ^ b.high, low = a.low ^ b.low;
    if (high)
        return (uint32_t)__builtin_clzll(high);
    return low ? 64 + (uint32_t)__builtin_clzll(low) : 128;
}

static struct key load_key(int family, const uint8_t *addr)
{
    struct key key = {0, 0};
    if (family == 4) {
        uint32_t word;
        memcpy(&word, addr, 4);
        key.high = (uint64_t)be32toh(word) << 32;
    } else {
        memcpy(&key.high, addr, 8);
        memcpy(&key.low, addr + 8, 8);
        key.high = be64toh(key.high);
        key.low = be64toh(key.low);
    }
    return key;
}

static struct key mask_key(struct key key, uint32_t bits)
{
    if (bits < 64)
        key.high &= bits ? ~0ULL << (64 - bits) : 0;
    if (bits < 128)
        key.low &= bits > 64 ? ~0ULL << (128 - bits) : 0;
    return key;
}

static int is_prefix(int family, int prefix_len)
{
    return prefix_len >= 0 && ((family == 4 && prefix_len <= 32) || (family == 6 && prefix_len <= 128));
}

/* ---- owners ------------------------------------------------------------------------------------------ */

static inline uint32_t chain_of(const struct sp_trie *trie, uint32_t owner)
{
    return (owner * 0x9E3779B1U >> 7) & trie->chain_mask;
}

static void chain_in(struct sp_trie *trie, uint32_t at, uint32_t owner)
{
    uint32_t *head = &trie->chains[chain_of(trie, owner)];
    struct node *node = &trie->nodes[at];

    node->owner = owner;
    node->chain_previous = 0;
    node->chain_next = *head;
    if (*head)
        trie->nodes[*head].chain_previous = at;
    *head = at;
}

static void chain_out(struct sp_trie *trie, uint32_t at)
{
    struct node *node = &trie->nodes[at];

    if (node->chain_previous)
        trie->nodes[node->chain_previous].chain_next = node->chain_next;
    else
        trie->chains[chain_of(trie, node->owner)] = node->chain_next;
    if (node->chain_next)
        trie->nodes[node->chain_next].chain_previous = node->chain_previous;
    node->owner = 0;
}

/* Keeps chains short. Without memory for it they merely get longer. */
static void chains_grow(struct sp_trie *trie)
{
    uint32_t old = trie->chain_mask + 1, *chains, *before = trie->chains;

    if (trie->owned <= old || old > UINT32_MAX / 8)
        return;
    chains = calloc((size_t)old * 4, sizeof *chains);
    if (!chains)
        return;
    trie->chains = chains;
    trie->chain_mask = old * 4 - 1;
    for (uint32_t c = 0; c < old; c++) {
        for (uint32_t at = before[c], next; at; at = next) {
            next = trie->nodes[at].chain_next;
            chain_in(trie, at, trie->nodes[at].owner);
        }
    }
    free(before);
}

/* ---- nodes ------------------------------------------------------------------------------------------- */

/* Makes room for two more nodes, the most that one prefix needs. */
static int reserve(struct sp_trie *trie)
{
    struct node *nodes;

    if (trie->free_count + (trie->room - trie->used) >= 2)
        return 0;
    if (trie->room > UINT32_MAX / 4)
        return -ENOMEM;
    nodes = realloc(trie->nodes, (size_t)trie->room * 2 * sizeof *nodes);
    if (!nodes)
        return -ENOMEM;
    trie->nodes = nodes;
    trie->room *= 2;
    return 0;
}

static uint32_t take_node(struct sp_trie *trie, struct key key, uint32_t bits, int six)
{
    uint32_t at = trie->free_nodes;

    if (at) {
        trie->free_nodes = trie->nodes[at].chain_next;
        trie->free_count--;
    } else {
        at = trie->used++;
    }
    trie->nodes[at] = (struct node){.key = mask_key(key, bits), .bits = (uint8_t)bits, .six = (uint8_t)six};
    return at;
}

static void give_node(struct sp_trie *trie, uint32_t at)
{
    trie->nodes[at].chain_next = trie->free_nodes;
    trie->free_nodes = at;
    trie->free_count++;
}

/* The word that points to a node: a root, or one of its parent's children. */
static uint32_t *link_to(struct sp_trie *trie, uint32_t at)
{
    const struct node *node = &trie->nodes[at];
    struct node *parent = &trie->nodes[node->parent];

    if (!node->parent)
        return &trie->roots[node->six];
    return &parent->child[parent->child[1] == at];
}

static void hang(struct sp_trie *trie, uint32_t parent, uint32_t at)
{
    const struct node *node = &trie->nodes[at];
    trie->nodes[parent].child[bit_at(node->key, trie->nodes[parent].bits)] = at;
    trie->nodes[at].parent = parent;
}

/* Takes a node out when nobody owns it and it is no fork; then its parent may have become such a one. */
static void prune(struct sp_trie *trie, uint32_t at)
{
    while (at) {
        const struct node *node = &trie->nodes[at];
        uint32_t only = node->child[0] ? node->child[0] : node->child[1], parent = node->parent;

        if (node->owner || (node->child[0] && node->child[1]))
            return;
        *link_to(trie, at) = only;
        if (only)
            trie->nodes[only].parent = parent;
        give_node(trie, at);
        at = parent;
    }
}

static void disown(struct sp_trie *trie, uint32_t at)
{
    chain_out(trie, at);
    trie->owned--;
    prune(trie, at);
}

/* ---- the doors --------------------------------------------------------------------------------------- */

struct sp_trie *sp_trie_new(void)
{
    struct sp_trie *trie = calloc(1, sizeof *trie);

    if (!trie)
        return NULL;
    trie->nodes = calloc(FIRST_ROOM, sizeof *trie->nodes);
    trie->chains = calloc(FIRST_CHAINS, sizeof *trie->chains);
    trie->used = 1;
    trie->room = FIRST_ROOM;
    trie->chain_mask = FIRST_CHAINS - 1;
    if (!trie->nodes || !trie->chains) {
        sp_trie_free(trie);
        return NULL;
    }
    return trie;
}

void sp_trie_free(struct sp_trie *trie)
{
    if (!trie)
        return;
    free(trie->nodes);
    free(trie->chains);
    free(trie);
}

/* Down to the first node that is not a shorter prefix of this one (0: there is none), and what it hangs below. */
static uint32_t descend(const struct sp_trie *trie, struct key key, uint32_t bits, int six, uint32_t *parent)
{
    uint32_t at = trie->roots[six];

    *parent = 0;
    while (at) {
        const struct node *node = &trie->nodes[at];
        if (node->bits >= bits || common_bits(node->key, key) < node->bits)
            break;
        *parent = at;
        at = node->child[bit_at(key, node->bits)];
    }
    return at;
}

/* A new node between parent and next, either of which may be 0. Room for two is reserved. */
static uint32_t insert(struct sp_trie *trie, struct key key, uint32_t bits, int six, uint32_t parent, uint32_t next)
{
    uint32_t at = take_node(trie, key, bits, six), top = at;

    if (next) {
        uint32_t common = common_bits(trie->nodes[next].key, key);
        if (common < bits) { /* they part below both: a fork that nobody owns */
            top = take_node(trie, key, common, six);
            hang(trie, top, at);
        }
        hang(trie, top, next);
    }
    if (parent)
        hang(trie, parent, top);
    else
        trie->roots[six] = top;
    return at;
}

int sp_trie_set(struct sp_trie *trie, int family, const uint8_t *addr, int prefix_len, uint32_t owner)
{
    int six = family == 6;
    uint32_t bits = (uint32_t)prefix_len, at, parent;
    struct key key;

    if (owner == 0 || !is_prefix(family, prefix_len))
        return -EINVAL;
    if (reserve(trie) != 0)
        return -ENOMEM;
    key = mask_key(load_key(family, addr), bits);
    at = descend(trie, key, bits, six, &parent);
    if (!at || trie->nodes[at].bits != bits || common_bits(trie->nodes[at].key, key) < bits) {
        at = insert(trie, key, bits, six, parent, at);
    } else if (trie->nodes[at].owner) {
        chain_out(trie, at);
        trie->owned--;
    }
    trie->owned++;
    chain_in(trie, at, owner);
    chains_grow(trie);
    return 0;
}

int sp_trie_remove(struct sp_trie *trie, int family, const uint8_t *addr, int prefix_len, uint32_t owner)
{
    uint32_t bits = (uint32_t)prefix_len, at;
    struct key key;

    if (owner == 0 || !is_prefix(family, prefix_len))
        return -ENOENT;
    key = mask_key(load_key(family, addr), bits);
    for (at = trie->roots[family == 6]; at && trie->nodes[at].bits < bits;)
        at = trie->nodes[at].child[bit_at(key, trie->nodes[at].bits)];
    if (!at || trie->nodes[at].bits != bits || trie->nodes[at].owner != owner ||
        common_bits(trie->nodes[at].key, key) < bits)
        return -ENOENT;
    disown(trie, at);
    return 0;
}

void sp_trie_remove_owner(struct sp_trie *trie, uint32_t owner)
{
    if (owner == 0)
        return;
    for (uint32_t at = trie->chains[chain_of(trie, owner)], next; at; at = next) {
        next = trie->nodes[at].chain_next; /* taking a node out frees forks, which are in no chain */
        if (trie->nodes[at].owner == owner)
            disown(trie, at);
    }
}

uint32_t sp_trie_find(const struct sp_trie *trie, int family, const uint8_t *addr)
{
    uint32_t owner = 0, max_bits = family == 4 ? 32 : 128;
    struct key key;

    if (family != 4 && family != 6)
        return 0;
    key = load_key(family, addr);
    for (uint32_t at = trie->roots[family == 6]; at;) {
        const struct node *node = &trie->nodes[at];
        if (common_bits(node->key, key) < node->bits)
            break;
        if (node->owner)
            owner = node->owner;
        if (node->bits == max_bits)
            break;
        at = node->child[bit_at(key, node->bits)];
    }
    return owner;
}
