/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer meter: counts and times every call to the block store below, its batches and its lists,
 * and changes nothing. The figures are plain atomic sums, so metering costs two clock readings a
 * call and no lock.
 */
#include "layer/meter.h"

#include <stdlib.h>

typedef struct meter_store {
    grv_block_store base;
    grv_block_store *inner;
    grv_block_meter *meter;
} meter_store;

typedef struct meter_batch {
    grv_block_batch base;
    grv_block_batch *inner;
    grv_block_meter *meter;
} meter_batch;

typedef struct meter_cursor {
    grv_block_cursor base;
    grv_block_cursor *inner;
    grv_block_meter *meter;
} meter_cursor;

static meter_store *meter_of(grv_block_store *store)
{
    return (meter_store *)store;
}

static void meter_sum(uint64_t *sum, uint64_t more)
{
    __atomic_fetch_add(sum, more, __ATOMIC_RELAXED);
}

/* Counts one call that began at `start`; returns its status. */
static grv_status meter_add(grv_block_meter *meter, grv_meter_slot slot, uint64_t start,
                            size_t blocks, uint64_t bytes, grv_status status)
{
    grv_meter_count *count = &meter->slots[slot];
    meter_sum(&count->calls, 1);
    meter_sum(&count->errors, status ? 1 : 0);
    meter_sum(&count->blocks, blocks);
    meter_sum(&count->bytes, bytes);
    meter_sum(&count->ns, grv_now_ns() - start);
    return status;
}

grv_meter_count grv_block_meter_read(const grv_block_meter *meter, grv_meter_slot slot)
{
    const grv_meter_count *count = &meter->slots[slot];
    return (grv_meter_count){
        .calls = __atomic_load_n(&count->calls, __ATOMIC_RELAXED),
        .errors = __atomic_load_n(&count->errors, __ATOMIC_RELAXED),
        .blocks = __atomic_load_n(&count->blocks, __ATOMIC_RELAXED),
        .bytes = __atomic_load_n(&count->bytes, __ATOMIC_RELAXED),
        .ns = __atomic_load_n(&count->ns, __ATOMIC_RELAXED),
    };
}

/* --- The batch --- */

static grv_status meter_put(const grv_call *call, grv_block_batch *base, const grv_block blocks[],
                            size_t count, size_t *ret_first, grv_error *error)
{
    meter_batch *batch = (meter_batch *)base;
    uint64_t start = grv_now_ns();
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += blocks[i].bytes.size;
    }
    grv_status status = grv_block_batch_put(call, batch->inner, blocks, count, ret_first, error);
    return meter_add(batch->meter, GRV_METER_PUT, start, count, bytes, status);
}

static grv_status meter_note(const grv_call *call, grv_block_batch *base, grv_bytes record,
                             grv_error *error)
{
    meter_batch *batch = (meter_batch *)base;
    uint64_t start = grv_now_ns();
    grv_status status = grv_block_batch_note(call, batch->inner, record, error);
    return meter_add(batch->meter, GRV_METER_NOTE, start, 0, record.size, status);
}

static grv_status meter_commit(const grv_call *call, grv_block_batch *base,
                               grv_durability durability, grv_block_result ret_results[],
                               size_t count, grv_error *error)
{
    meter_batch *batch = (meter_batch *)base;
    uint64_t start = grv_now_ns();
    grv_status status =
        grv_block_batch_commit(call, batch->inner, durability, ret_results, count, error);
    return meter_add(batch->meter, GRV_METER_COMMIT, start, count, 0, status);
}

static void meter_batch_free(grv_block_batch *base)
{
    grv_block_batch_free(((meter_batch *)base)->inner);
    free(base);
}

static const grv_block_batch_ops meter_batch_ops = {
    .name = "meter",
    .put = meter_put,
    .note = meter_note,
    .commit = meter_commit,
    .free = meter_batch_free,
};

/* --- The list --- */

static grv_status meter_next(const grv_call *call, grv_block_cursor *base,
                             grv_block_entry entries[], size_t capacity, size_t *ret_count,
                             grv_error *error)
{
    meter_cursor *cursor = (meter_cursor *)base;
    uint64_t start = grv_now_ns();
    size_t count = 0;
    grv_status status =
        grv_block_cursor_next(call, cursor->inner, entries, capacity, &count, error);
    *ret_count = count;
    return meter_add(cursor->meter, GRV_METER_LIST, start, count, 0, status);
}

static void meter_cursor_free(grv_block_cursor *base)
{
    grv_block_cursor_free(((meter_cursor *)base)->inner);
    free(base);
}

static const grv_block_cursor_ops meter_cursor_ops = {
    .name = "meter",
    .next = meter_next,
    .free = meter_cursor_free,
};

/* --- The store --- */

static grv_status meter_missing(const grv_call *call, grv_block_store *store,
                                const grv_block_key keys[], size_t count, bool ret_missing[],
                                grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    grv_status status =
        grv_block_store_missing(call, metered->inner, keys, count, ret_missing, error);
    return meter_add(metered->meter, GRV_METER_MISSING, start, count, 0, status);
}

static grv_status meter_open_batch(const grv_call *call, grv_block_store *store,
                                   grv_block_batch **ret_batch, grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    meter_batch *batch = calloc(1, sizeof *batch);
    if (!batch) {
        return meter_add(
            metered->meter, GRV_METER_OPEN_BATCH, start, 0, 0,
            grv_error_set(error, GRV_LIMIT_EXCEEDED, "meter", "no memory for a batch"));
    }
    grv_status status = grv_block_store_open_batch(call, metered->inner, &batch->inner, error);
    if (status) {
        free(batch);
    } else {
        batch->base.ops = &meter_batch_ops;
        batch->meter = metered->meter;
        *ret_batch = &batch->base;
    }
    return meter_add(metered->meter, GRV_METER_OPEN_BATCH, start, 0, 0, status);
}

static grv_status meter_get(const grv_call *call, grv_block_store *store,
                            const grv_block_key keys[], const grv_span buffers[], size_t count,
                            grv_status ret_statuses[], grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    grv_status status =
        grv_block_store_get(call, metered->inner, keys, buffers, count, ret_statuses, error);
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += ret_statuses[i] ? 0 : keys[i].size;
    }
    return meter_add(metered->meter, GRV_METER_GET, start, count, bytes, status);
}

static grv_status meter_remove(const grv_call *call, grv_block_store *store,
                               const grv_block_key keys[], size_t count, bool ret_removed[],
                               grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    grv_status status =
        grv_block_store_remove(call, metered->inner, keys, count, ret_removed, error);
    return meter_add(metered->meter, GRV_METER_REMOVE, start, count, 0, status);
}

static grv_status meter_quarantine(const grv_call *call, grv_block_store *store,
                                   const grv_block_key keys[], size_t count, bool ret_moved[],
                                   grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    grv_status status =
        grv_block_store_quarantine(call, metered->inner, keys, count, ret_moved, error);
    return meter_add(metered->meter, GRV_METER_QUARANTINE, start, count, 0, status);
}

static grv_status meter_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                              grv_block_sweep *ret_sweep, grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    grv_status status = grv_block_store_sweep(call, metered->inner, dry_run, ret_sweep, error);
    return meter_add(metered->meter, GRV_METER_SWEEP, start, 0, 0, status);
}

static grv_status meter_open_list(const grv_call *call, grv_block_store *store,
                                  const grv_block_key *after, grv_block_cursor **ret_cursor,
                                  grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    meter_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return meter_add(metered->meter, GRV_METER_OPEN_LIST, start, 0, 0,
                         grv_error_set(error, GRV_LIMIT_EXCEEDED, "meter", "no memory for a list"));
    }
    grv_status status =
        grv_block_store_open_list(call, metered->inner, after, &cursor->inner, error);
    if (status) {
        free(cursor);
    } else {
        cursor->base.ops = &meter_cursor_ops;
        cursor->meter = metered->meter;
        *ret_cursor = &cursor->base;
    }
    return meter_add(metered->meter, GRV_METER_OPEN_LIST, start, 0, 0, status);
}

static grv_status meter_flush(const grv_call *call, grv_block_store *store, grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    grv_status status = grv_block_store_flush(call, metered->inner, error);
    return meter_add(metered->meter, GRV_METER_FLUSH, start, 0, 0, status);
}

static grv_status meter_stats(const grv_call *call, grv_block_store *store,
                              grv_block_stats *ret_stats, grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    grv_status status = grv_block_store_stats(call, metered->inner, ret_stats, error);
    return meter_add(metered->meter, GRV_METER_STATS, start, 0, 0, status);
}

static grv_status meter_superblock_get(const grv_call *call, grv_block_store *store,
                                       grv_buffer *out, grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    grv_status status = grv_block_store_superblock_get(call, metered->inner, out, error);
    return meter_add(metered->meter, GRV_METER_SUPERBLOCK_GET, start, 0, 0, status);
}

static grv_status meter_superblock_set(const grv_call *call, grv_block_store *store,
                                       const grv_bytes *expected, grv_bytes superblock,
                                       grv_error *error)
{
    meter_store *metered = meter_of(store);
    uint64_t start = grv_now_ns();
    grv_status status =
        grv_block_store_superblock_set(call, metered->inner, expected, superblock, error);
    return meter_add(metered->meter, GRV_METER_SUPERBLOCK_SET, start, 0, 0, status);
}

static void meter_free(grv_block_store *store)
{
    grv_block_store_free(meter_of(store)->inner);
    free(store);
}

static const grv_block_store_ops meter_ops = {
    .name = "meter",
    .missing = meter_missing,
    .open_batch = meter_open_batch,
    .get = meter_get,
    .remove = meter_remove,
    .quarantine = meter_quarantine,
    .sweep = meter_sweep,
    .open_list = meter_open_list,
    .flush = meter_flush,
    .stats = meter_stats,
    .superblock_get = meter_superblock_get,
    .superblock_set = meter_superblock_set,
    .free = meter_free,
};

grv_status grv_block_store_meter_new(grv_block_store *inner, grv_block_meter *meter,
                                     grv_block_store **ret_store, grv_error *error)
{
    meter_store *metered = calloc(1, sizeof *metered);
    if (!metered) {
        grv_block_store_free(inner);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "meter", "no memory for the layer");
    }
    grv_status status =
        grv_block_store_init(&metered->base, &meter_ops, inner->capabilities, error);
    if (status) {
        grv_block_store_free(inner);
        free(metered);
        return status;
    }
    metered->inner = inner;
    metered->meter = meter;
    *ret_store = &metered->base;
    return GRV_OK;
}
