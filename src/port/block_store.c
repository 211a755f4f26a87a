/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of port block_store: keys, counts and capabilities, then the backend's slot. */
#include "port/port.h"

#include <assert.h>
#include <graviton/port/block_store.h>

grv_status grv_block_store_init(grv_block_store *store, const grv_block_store_ops *ops,
                                uint64_t capabilities, grv_error *error)
{
    store->ops = ops;
    store->capabilities = capabilities;
    return grv_port_check_table("block_store", ops, sizeof *ops, error);
}

static grv_status check_keys(const grv_block_key keys[], size_t count, grv_error *error)
{
    if (count > GRV_BLOCK_CALL_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blocks",
                             "%zu blocks in one call, at most %u", count, GRV_BLOCK_CALL_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (!grv_block_key_is_valid(&keys[i])) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "blocks",
                                 "key %zu of %zu is not a valid block key", i, count);
        }
    }
    return GRV_OK;
}

grv_status grv_block_store_missing(const grv_call *call, grv_block_store *store,
                                   const grv_block_key keys[], size_t count, bool ret_missing[],
                                   grv_error *error)
{
    grv_status status = check_keys(keys, count, error);
    if (status || count == 0) {
        return status;
    }
    return store->ops->missing(call, store, keys, count, ret_missing, error);
}

grv_status grv_block_store_open_batch(const grv_call *call, grv_block_store *store,
                                      grv_block_batch **ret_batch, grv_error *error)
{
    grv_block_batch *batch = NULL;
    grv_status status = store->ops->open_batch(call, store, &batch, error);
    if (status) {
        return status;
    }
    batch->store = store;
    batch->count = 0;
    batch->committed = false;
    *ret_batch = batch;
    return GRV_OK;
}

grv_status grv_block_store_get(const grv_call *call, grv_block_store *store,
                               const grv_block_key keys[], const grv_span buffers[], size_t count,
                               grv_status ret_statuses[], grv_error *error)
{
    grv_status status = check_keys(keys, count, error);
    if (status || count == 0) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        if (buffers[i].size != keys[i].size) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "blocks",
                                 "buffer %zu has %zu bytes for a block of %u", i, buffers[i].size,
                                 keys[i].size);
        }
    }
    return store->ops->get(call, store, keys, buffers, count, ret_statuses, error);
}

grv_status grv_block_store_remove(const grv_call *call, grv_block_store *store,
                                  const grv_block_key keys[], size_t count, bool ret_removed[],
                                  grv_error *error)
{
    grv_status status = check_keys(keys, count, error);
    if (status || count == 0) {
        return status;
    }
    return store->ops->remove(call, store, keys, count, ret_removed, error);
}

grv_status grv_block_store_quarantine(const grv_call *call, grv_block_store *store,
                                      const grv_block_key keys[], size_t count, bool ret_moved[],
                                      grv_error *error)
{
    grv_status status = check_keys(keys, count, error);
    if (status || count == 0) {
        return status;
    }
    return store->ops->quarantine(call, store, keys, count, ret_moved, error);
}

grv_status grv_block_store_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                                 grv_block_sweep *ret_sweep, grv_error *error)
{
    return store->ops->sweep(call, store, dry_run, ret_sweep, error);
}

grv_status grv_block_store_open_list(const grv_call *call, grv_block_store *store,
                                     const grv_block_key *after, grv_block_cursor **ret_cursor,
                                     grv_error *error)
{
    return store->ops->open_list(call, store, after, ret_cursor, error);
}

grv_status grv_block_store_flush(const grv_call *call, grv_block_store *store, grv_error *error)
{
    return store->ops->flush(call, store, error);
}

grv_status grv_block_store_stats(const grv_call *call, grv_block_store *store,
                                 grv_block_stats *ret_stats, grv_error *error)
{
    return store->ops->stats(call, store, ret_stats, error);
}

grv_status grv_block_store_superblock_get(const grv_call *call, grv_block_store *store,
                                          grv_buffer *out, grv_error *error)
{
    return store->ops->superblock_get(call, store, out, error);
}

grv_status grv_block_store_superblock_set(const grv_call *call, grv_block_store *store,
                                          const grv_bytes *expected, grv_bytes superblock,
                                          grv_error *error)
{
    if (superblock.size < 1 || superblock.size > GRV_SUPERBLOCK_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blocks",
                             "a superblock of %zu bytes, want 1 to %u", superblock.size,
                             GRV_SUPERBLOCK_MAX);
    }
    return store->ops->superblock_set(call, store, expected, superblock, error);
}

void grv_block_store_free(grv_block_store *store)
{
    if (store) {
        store->ops->free(store);
    }
}

/* Counts `count` blocks into the batch, unless they are too many; they are counted before the put
 * so that puts at the same time cannot pass the bound together. */
static grv_status batch_admit(grv_block_batch *batch, size_t count, grv_error *error)
{
    size_t before = __atomic_fetch_add(&batch->count, count, __ATOMIC_RELAXED);
    if (before + count > GRV_BLOCK_BATCH_MAX) {
        __atomic_fetch_sub(&batch->count, count, __ATOMIC_RELAXED);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "blocks",
                             "a batch of more than %u blocks: commit it and open another",
                             GRV_BLOCK_BATCH_MAX);
    }
    return GRV_OK;
}

grv_status grv_block_batch_put(const grv_call *call, grv_block_batch *batch,
                               const grv_block blocks[], size_t count, size_t *ret_first,
                               grv_error *error)
{
    if (batch->committed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blocks", "the batch is committed");
    }
    for (size_t i = 0; i < count; i++) {
        if (!grv_block_key_is_valid(&blocks[i].key) || blocks[i].bytes.size != blocks[i].key.size) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "blocks",
                                 "block %zu of %zu has an invalid key or another size", i, count);
        }
    }
    grv_status status = batch_admit(batch, count, error);
    if (status || count == 0) {
        return status;
    }
    size_t first = 0;
    status = batch->ops->put(call, batch, blocks, count, &first, error);
    if (status) {
        __atomic_fetch_sub(&batch->count, count, __ATOMIC_RELAXED);
        return status;
    }
    if (ret_first) {
        *ret_first = first;
    }
    return GRV_OK;
}

grv_status grv_block_batch_note(const grv_call *call, grv_block_batch *batch, grv_bytes record,
                                grv_error *error)
{
    if (!(batch->store->capabilities & GRV_BLOCK_CAP_NOTES)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "blocks",
                             "block store \"%s\" keeps no recovery records",
                             batch->store->ops->name);
    }
    if (record.size < 1 || record.size > GRV_NOTE_MAX || batch->committed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blocks",
                             "a recovery record of %zu bytes, want 1 to %u before the commit",
                             record.size, GRV_NOTE_MAX);
    }
    return batch->ops->note(call, batch, record, error);
}

grv_status grv_block_batch_commit(const grv_call *call, grv_block_batch *batch,
                                  grv_durability durability, grv_block_result ret_results[],
                                  size_t count, grv_error *error)
{
    if (batch->committed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blocks",
                             "the batch is committed already");
    }
    if (count != __atomic_load_n(&batch->count, __ATOMIC_RELAXED)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blocks",
                             "room for %zu results of %zu blocks", count, batch->count);
    }
    if (!(batch->store->capabilities & GRV_BLOCK_CAP_ORDERED)) {
        durability = GRV_DURABLE;
    }
    batch->committed = true;
    return batch->ops->commit(call, batch, durability, ret_results, count, error);
}

void grv_block_batch_free(grv_block_batch *batch)
{
    if (batch) {
        batch->ops->free(batch);
    }
}

grv_status grv_block_cursor_next(const grv_call *call, grv_block_cursor *cursor,
                                 grv_block_entry entries[], size_t capacity, size_t *ret_count,
                                 grv_error *error)
{
    assert(capacity > 0);
    if (cursor->failed) {
        return grv_error_set(error, cursor->failed, "blocks", "this list failed earlier (%s)",
                             grv_status_name(cursor->failed));
    }
    size_t count = 0;
    cursor->failed = cursor->ops->next(call, cursor, entries, capacity, &count, error);
    if (cursor->failed) {
        return cursor->failed;
    }
    assert(count <= capacity);
    *ret_count = count;
    return GRV_OK;
}

void grv_block_cursor_free(grv_block_cursor *cursor)
{
    if (cursor) {
        cursor->ops->free(cursor);
    }
}
