/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over a block list that can stop between two entries, for whoever compares two orders. */
#ifndef GRV_STORE_WALK_H
#define GRV_STORE_WALK_H

#include <graviton/port/block_store.h>

#define GRV_WALK_ENTRIES 512u

/* Zero-initialise, then set `cursor`, which the caller frees. */
typedef struct grv_block_walk {
    grv_block_cursor *cursor;
    grv_block_entry entries[GRV_WALK_ENTRIES];
    size_t at;
    size_t count;
} grv_block_walk;

/* The next entry, or NULL at the end. It stays the next one until a step. */
grv_status grv_block_walk_peek(const grv_call *call, grv_block_walk *walk,
                               const grv_block_entry **ret_entry, grv_error *error);

/* Goes past the entry that the last peek showed. */
static inline void grv_block_walk_step(grv_block_walk *walk)
{
    walk->at++;
}

#endif
