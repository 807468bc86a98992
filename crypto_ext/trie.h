/* Longest-prefix match from IPv4 and IPv6 prefixes to a 32-bit owner: the allowed-ips of all peers.
 * Iterative (no recursion), nodes from one growing arena, no allocation in a look-up. */
#ifndef SALLYPORT_TRIE_H
#define SALLYPORT_TRIE_H

#include <stdint.h>

struct sp_trie;

struct sp_trie *sp_trie_new(void);
void sp_trie_free(struct sp_trie *trie);
/* Sets the owner (> 0) of a prefix, taking it from another; host bits are masked. 0, -EINVAL, -ENOMEM. */
int sp_trie_set(struct sp_trie *trie, int family, const uint8_t *addr, int prefix_len, uint32_t owner);
/* Removes the prefix if that owner has it: 0, else -ENOENT. */
int sp_trie_remove(struct sp_trie *trie, int family, const uint8_t *addr, int prefix_len, uint32_t owner);
void sp_trie_remove_owner(struct sp_trie *trie, uint32_t owner); /* all its prefixes */
uint32_t sp_trie_find(const struct sp_trie *trie, int family, const uint8_t *addr); /* owner or 0 */

#endif
