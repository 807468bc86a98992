/* How many nodes a trie holds: what its answers alone do not show. */
#define sp_trie_new leaf_unused_new
#define sp_trie_free leaf_unused_free
#define sp_trie_set leaf_unused_set
#define sp_trie_remove leaf_unused_remove
#define sp_trie_remove_owner leaf_unused_remove_owner
#define sp_trie_find leaf_unused_find
#include "trie.c"

uint32_t leaf_trie_nodes(const struct sp_trie *trie);

uint32_t leaf_trie_nodes(const struct sp_trie *trie) { return trie->used - 1 - trie->free_count; }
