/* SPDX-License-Identifier: Apache-2.0 */
/* Counts a whole store: the blocks that are there against the blocks that manifests name. */
#include "store/handle.h"
#include "store/mark.h"
#include "store/walk.h"

#include <graviton/store.h>

/* Counts the blocks of the mark's present stretch. */
static grv_status count_stretch(const grv_call *call, grv_mark *mark, grv_block_walk *walk,
                                grv_store_stats *stats, grv_error *error)
{
    for (;;) {
        const grv_block_entry *entry;
        grv_status status = grv_block_walk_peek(call, walk, &entry, error);
        if (status) {
            return status;
        }
        if (!entry || grv_mark_is_past(mark, &entry->key)) {
            break;
        }
        stats->blocks++;
        stats->unique_bytes += entry->key.size;
        stats->stored_bytes += entry->stored_size;
        if (!grv_mark_test(mark, &entry->key)) {
            stats->unreferenced_blocks++;
            stats->unreferenced_bytes += entry->key.size;
        }
        grv_block_walk_step(walk);
    }
    stats->missing_blocks += grv_mark_unasked(mark);
    return GRV_OK;
}

static grv_status count_all(const grv_call *call, grv_mark *mark, grv_block_walk *walk,
                            grv_store_stats *stats, grv_error *error)
{
    for (;;) {
        bool end = false;
        grv_status status = grv_mark_pass(call, mark, &end, error);
        if (status || end) {
            return status;
        }
        status = count_stretch(call, mark, walk, stats, error);
        if (status) {
            return status;
        }
    }
}

grv_status grv_store_count(const grv_call *call, grv_store *store, grv_store_stats *ret_stats,
                           grv_error *error)
{
    if (store->remote) {
        return grv_store_remote_count(call, store, ret_stats, error);
    }
    grv_store_stats stats = {0};
    grv_block_walk walk = {0};
    grv_mark *mark = NULL;
    grv_status status = grv_mark_new(grv_store_manifests(store), 0, &mark, error);
    if (!status) {
        status =
            grv_block_store_open_list(call, grv_store_blocks(store), NULL, &walk.cursor, error);
    }
    if (!status) {
        status = count_all(call, mark, &walk, &stats, error);
    }
    if (!status) {
        grv_mark_totals totals = grv_mark_get_totals(mark);
        stats.blobs = totals.blobs;
        stats.logical_bytes = totals.logical_bytes;
        stats.references = totals.references;
        *ret_stats = stats;
    }
    grv_block_cursor_free(walk.cursor);
    grv_mark_free(mark);
    return status;
}
