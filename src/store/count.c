/* SPDX-License-Identifier: Apache-2.0 */
/* Counts a whole store: the blocks that are there against the blocks that manifests name. */
#include "store/mark.h"

#include <graviton/store.h>

#define COUNT_ENTRIES 512u

/* A walk over the block list that can stop between two entries. */
typedef struct count_walk {
    grv_block_cursor *cursor;
    grv_block_entry entries[COUNT_ENTRIES];
    size_t at;
    size_t count;
} count_walk;

/* The next entry, or NULL at the end. It stays next until `at` moves past it. */
static grv_status walk_peek(const grv_call *call, count_walk *walk,
                            const grv_block_entry **ret_entry, grv_error *error)
{
    if (walk->at == walk->count) {
        walk->at = 0;
        grv_status status = grv_block_cursor_next(call, walk->cursor, walk->entries, COUNT_ENTRIES,
                                                  &walk->count, error);
        if (status) {
            walk->count = 0;
            return status;
        }
    }
    *ret_entry = walk->count ? &walk->entries[walk->at] : NULL;
    return GRV_OK;
}

/* Counts the blocks of the mark's present stretch. */
static grv_status count_stretch(const grv_call *call, grv_mark *mark, count_walk *walk,
                                grv_store_stats *stats, grv_error *error)
{
    for (;;) {
        const grv_block_entry *entry;
        grv_status status = walk_peek(call, walk, &entry, error);
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
        walk->at++;
    }
    stats->missing_blocks += grv_mark_unasked(mark);
    return GRV_OK;
}

static grv_status count_all(const grv_call *call, grv_mark *mark, count_walk *walk,
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
    grv_store_stats stats = {0};
    count_walk walk = {0};
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
