/* SPDX-License-Identifier: Apache-2.0 */
/* A set of block keys in memory, as a batch keeps of what it has been given. Not thread-safe. */
#ifndef GRV_CORE_KEY_SET_H
#define GRV_CORE_KEY_SET_H

#include <graviton/key.h>

/* A set in the caller's storage; zeros are an empty one. */
typedef struct grv_key_set {
    grv_block_key *slots; /* digest.hash GRV_HASH_NONE: empty */
    size_t capacity;      /* a power of two, or 0; at most half full */
    size_t count;
} grv_key_set;

/* Adds the key; *ret_added false where it was there. GRV_LIMIT_EXCEEDED without memory: the set is
 * as it was. */
grv_status grv_key_set_add(grv_key_set *set, const grv_block_key *key, bool *ret_added,
                           grv_error *error);

/* Frees what the set holds; it is empty then. */
void grv_key_set_done(grv_key_set *set);

#endif
