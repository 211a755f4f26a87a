/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over a block list. */
#include "store/walk.h"

grv_status grv_block_walk_peek(const grv_call *call, grv_block_walk *walk,
                               const grv_block_entry **ret_entry, grv_error *error)
{
    if (walk->at == walk->count) {
        walk->at = 0;
        grv_status status = grv_block_cursor_next(call, walk->cursor, walk->entries,
                                                  GRV_WALK_ENTRIES, &walk->count, error);
        if (status) {
            walk->count = 0;
            return status;
        }
    }
    *ret_entry = walk->count ? &walk->entries[walk->at] : NULL;
    return GRV_OK;
}
