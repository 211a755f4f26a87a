/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A persistent ordered map: a treap whose nodes are shared between versions and counted. A version
 * is its root; holding a root holds that version for ever at no cost, so a snapshot is one
 * reference and a batch becomes visible by the exchange of one pointer. An edit copies only the
 * nodes on its way that older versions can see.
 *
 * References may be taken and dropped from any thread; an edit belongs to one thread.
 */
#ifndef GRV_BACKEND_MEMORY_TREE_H
#define GRV_BACKEND_MEMORY_TREE_H

#include <graviton/bytes.h>
#include <stdbool.h>

/* A key and its value, immutable, counted; the key's bytes come first. */
typedef struct grv_tree_entry {
    unsigned refs;
    uint32_t key_size;
    size_t value_size;
    uint8_t bytes[];
} grv_tree_entry;

typedef struct grv_tree_node grv_tree_node;

/* One edit: nodes that carry its id were made by it and are seen by nobody else, so it changes
 * them in place. `id` is unique among the edits of a map; `random` is any state, and moves on. */
typedef struct grv_tree_edit {
    uint64_t id;
    uint64_t *random;
} grv_tree_edit;

static inline grv_bytes grv_tree_entry_key(const grv_tree_entry *entry)
{
    return (grv_bytes){entry->bytes, entry->key_size};
}

static inline grv_bytes grv_tree_entry_value(const grv_tree_entry *entry)
{
    return (grv_bytes){entry->bytes + entry->key_size, entry->value_size};
}

/* Another reference to `entry`, which must be held already. Returns it. */
grv_tree_entry *grv_tree_entry_ref(grv_tree_entry *entry);

/* Drops a reference; the last one frees. */
void grv_tree_entry_unref(grv_tree_entry *entry);

/* Another reference to a version; NULL is the empty map. Returns it. */
grv_tree_node *grv_tree_ref(grv_tree_node *root);

/* Drops a version; what no other version shares is freed. */
void grv_tree_unref(grv_tree_node *root);

/* The entry of `key`, borrowed from the version, or NULL. */
grv_tree_entry *grv_tree_find(const grv_tree_node *root, grv_bytes key);

/* A question that holds from some key on, or up to some key; see the two searches. */
typedef bool grv_tree_test(grv_bytes key, const void *context);

/* The entry of the least key for which `test` holds, where it holds for every greater key too.
 * Borrowed from the version; NULL where there is none. */
grv_tree_entry *grv_tree_first(const grv_tree_node *root, grv_tree_test *test, const void *context);

/* The entry of the greatest key for which `test` holds, where it holds for every smaller key too.
 * Borrowed from the version; NULL where there is none. */
grv_tree_entry *grv_tree_last(const grv_tree_node *root, grv_tree_test *test, const void *context);

/*
 * Edits of the version *root, whose reference is replaced by one to the new version. Without
 * memory they fail with GRV_LIMIT_EXCEEDED, and then *root is good for nothing but
 * grv_tree_unref; versions held by others are untouched.
 */

/* Inserts or replaces; the bytes are copied. */
grv_status grv_tree_put(grv_tree_edit *edit, grv_tree_node **root, grv_bytes key, grv_bytes value,
                        grv_error *error);

/* Removes `key`; nothing happens where it is absent. */
grv_status grv_tree_remove(grv_tree_edit *edit, grv_tree_node **root, grv_bytes key,
                           grv_error *error);

/* Removes all keys from `start` to before `end`; an empty end means to the last. */
grv_status grv_tree_remove_range(grv_tree_edit *edit, grv_tree_node **root, grv_bytes start,
                                 grv_bytes end, grv_error *error);

#endif
