/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer fault over a block store, its batches and its lists. A put of a batch that lost its answer
 * leaves the batch of no use, as every block store's own failures may: what is below holds blocks
 * that the caller does not count.
 */
#include "layer/fault.h"

#include <stdlib.h>
#include <string.h>

typedef struct fault_store {
    grv_block_store base;
    grv_block_store *inner;
    grv_fault_plan *plan;
} fault_store;

typedef struct fault_batch {
    grv_block_batch base;
    grv_block_batch *inner;
    grv_fault_plan *plan;
    int lost; /* a put's answer was lost; atomic: puts may come from several threads */
} fault_batch;

typedef struct fault_cursor {
    grv_block_cursor base;
    grv_block_cursor *inner;
    grv_fault_plan *plan;
} fault_cursor;

static fault_store *fault_of(grv_block_store *store)
{
    return (fault_store *)store;
}

/* ---- The batch ---- */

static grv_status fault_put(const grv_call *call, grv_block_batch *base, const grv_block blocks[],
                            size_t count, size_t *ret_first, grv_error *error)
{
    fault_batch *batch = (fault_batch *)base;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, batch->plan, "a put into a batch", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_batch_put(call, batch->inner, blocks, count, ret_first, error);
    if (!status && action == GRV_FAULT_FORGET) {
        __atomic_store_n(&batch->lost, 1, __ATOMIC_RELEASE);
        return grv_fault_fail(batch->plan, "a put into a batch", error);
    }
    return status;
}

static grv_status fault_note(const grv_call *call, grv_block_batch *base, grv_bytes record,
                             grv_error *error)
{
    fault_batch *batch = (fault_batch *)base;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, batch->plan, "a note of a batch", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_batch_note(call, batch->inner, record, error);
    return grv_fault_end(batch->plan, action, "a note of a batch", status, error);
}

static grv_status fault_commit(const grv_call *call, grv_block_batch *base,
                               grv_durability durability, grv_block_result ret_results[],
                               size_t count, grv_error *error)
{
    fault_batch *batch = (fault_batch *)base;
    grv_status status = GRV_OK;
    if (__atomic_load_n(&batch->lost, __ATOMIC_ACQUIRE)) {
        return grv_fault_fail(batch->plan, "an earlier put into the batch", error);
    }
    grv_fault_action action =
        grv_fault_begin(call, batch->plan, "the commit of a batch", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_batch_commit(call, batch->inner, durability, ret_results, count, error);
    return grv_fault_end(batch->plan, action, "the commit of a batch", status, error);
}

static void fault_batch_free(grv_block_batch *base)
{
    grv_block_batch_free(((fault_batch *)base)->inner);
    free(base);
}

static const grv_block_batch_ops fault_batch_ops = {
    .name = "fault",
    .put = fault_put,
    .note = fault_note,
    .commit = fault_commit,
    .free = fault_batch_free,
};

/* ---- The list ---- */

static grv_status fault_next(const grv_call *call, grv_block_cursor *base,
                             grv_block_entry entries[], size_t capacity, size_t *ret_count,
                             grv_error *error)
{
    fault_cursor *cursor = (fault_cursor *)base;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, cursor->plan, "a step of a list of blocks", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_cursor_next(call, cursor->inner, entries, capacity, ret_count, error);
    return grv_fault_end(cursor->plan, action, "a step of a list of blocks", status, error);
}

static void fault_cursor_free(grv_block_cursor *base)
{
    grv_block_cursor_free(((fault_cursor *)base)->inner);
    free(base);
}

static const grv_block_cursor_ops fault_cursor_ops = {
    .name = "fault",
    .next = fault_next,
    .free = fault_cursor_free,
};

/* ---- The store ---- */

static grv_status fault_missing(const grv_call *call, grv_block_store *store,
                                const grv_block_key keys[], size_t count, bool ret_missing[],
                                grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a lookup of blocks", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_store_missing(call, faulty->inner, keys, count, ret_missing, error);
    return grv_fault_end(faulty->plan, action, "a lookup of blocks", status, error);
}

static grv_status fault_open_batch(const grv_call *call, grv_block_store *store,
                                   grv_block_batch **ret_batch, grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening a batch", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_batch *batch = calloc(1, sizeof *batch);
    if (!batch) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for a batch");
    }
    status = grv_block_store_open_batch(call, faulty->inner, &batch->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_block_batch_free(batch->inner);
        status = grv_fault_fail(faulty->plan, "opening a batch", error);
    }
    if (status) {
        free(batch);
        return status;
    }
    batch->base.ops = &fault_batch_ops;
    batch->plan = faulty->plan;
    *ret_batch = &batch->base;
    return GRV_OK;
}

/* Fails a get as the port's contract wants it: each block has a status. */
static grv_status fail_each(grv_status status, grv_status ret_statuses[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ret_statuses[i] = status;
    }
    return status;
}

static grv_status fault_get(const grv_call *call, grv_block_store *store,
                            const grv_block_key keys[], const grv_span buffers[], size_t count,
                            grv_status ret_statuses[], grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a get of blocks", &status, error);
    if (action == GRV_FAULT_STOP) {
        return fail_each(status, ret_statuses, count);
    }
    status = grv_block_store_get(call, faulty->inner, keys, buffers, count, ret_statuses, error);
    if (!status && action == GRV_FAULT_FORGET) {
        status = grv_fault_fail(faulty->plan, "a get of blocks", error);
        return fail_each(status, ret_statuses, count);
    }
    if (!status && action == GRV_FAULT_SPOIL) {
        size_t half = buffers[count - 1].size / 2;
        memset(buffers[count - 1].data + half, 0, buffers[count - 1].size - half);
    }
    return status;
}

static grv_status fault_remove(const grv_call *call, grv_block_store *store,
                               const grv_block_key keys[], size_t count, bool ret_removed[],
                               grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a removal of blocks", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_store_remove(call, faulty->inner, keys, count, ret_removed, error);
    return grv_fault_end(faulty->plan, action, "a removal of blocks", status, error);
}

static grv_status fault_open_list(const grv_call *call, grv_block_store *store,
                                  const grv_block_key *after, grv_block_cursor **ret_cursor,
                                  grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening a list of blocks", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for a list");
    }
    status = grv_block_store_open_list(call, faulty->inner, after, &cursor->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_block_cursor_free(cursor->inner);
        status = grv_fault_fail(faulty->plan, "opening a list of blocks", error);
    }
    if (status) {
        free(cursor);
        return status;
    }
    cursor->base.ops = &fault_cursor_ops;
    cursor->plan = faulty->plan;
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

static grv_status fault_quarantine(const grv_call *call, grv_block_store *store,
                                   const grv_block_key keys[], size_t count, bool ret_moved[],
                                   grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "setting blocks aside", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_store_quarantine(call, faulty->inner, keys, count, ret_moved, error);
    return grv_fault_end(faulty->plan, action, "setting blocks aside", status, error);
}

static grv_status fault_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                              grv_block_sweep *ret_sweep, grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a sweep of blocks", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_store_sweep(call, faulty->inner, dry_run, ret_sweep, error);
    return grv_fault_end(faulty->plan, action, "a sweep of blocks", status, error);
}

static grv_status fault_flush(const grv_call *call, grv_block_store *store, grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a flush of blocks", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_store_flush(call, faulty->inner, error);
    return grv_fault_end(faulty->plan, action, "a flush of blocks", status, error);
}

static grv_status fault_stats(const grv_call *call, grv_block_store *store,
                              grv_block_stats *ret_stats, grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "statistics of blocks", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_block_stats stats = {0};
    status = grv_block_store_stats(call, faulty->inner, &stats, error);
    if (!status && action == GRV_FAULT_FORGET) {
        return grv_fault_fail(faulty->plan, "statistics of blocks", error);
    }
    if (!status) {
        *ret_stats = stats;
    }
    return status;
}

static grv_status fault_superblock_get(const grv_call *call, grv_block_store *store,
                                       grv_buffer *out, grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "reading the superblock", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    size_t before = out->size;
    status = grv_block_store_superblock_get(call, faulty->inner, out, error);
    if (!status && action == GRV_FAULT_FORGET) {
        out->size = before;
        return grv_fault_fail(faulty->plan, "reading the superblock", error);
    }
    if (!status && action == GRV_FAULT_SPOIL) {
        out->size = before + (out->size - before) / 2;
    }
    return status;
}

static grv_status fault_superblock_set(const grv_call *call, grv_block_store *store,
                                       const grv_bytes *expected, grv_bytes superblock,
                                       grv_error *error)
{
    fault_store *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "writing the superblock", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_block_store_superblock_set(call, faulty->inner, expected, superblock, error);
    return grv_fault_end(faulty->plan, action, "writing the superblock", status, error);
}

static void fault_free(grv_block_store *store)
{
    grv_block_store_free(fault_of(store)->inner);
    free(store);
}

static const grv_block_store_ops fault_ops = {
    .name = "fault",
    .missing = fault_missing,
    .open_batch = fault_open_batch,
    .get = fault_get,
    .remove = fault_remove,
    .quarantine = fault_quarantine,
    .sweep = fault_sweep,
    .open_list = fault_open_list,
    .flush = fault_flush,
    .stats = fault_stats,
    .superblock_get = fault_superblock_get,
    .superblock_set = fault_superblock_set,
    .free = fault_free,
};

grv_status grv_block_store_fault_new(grv_block_store *inner, grv_fault_plan *plan,
                                     grv_block_store **ret_store, grv_error *error)
{
    fault_store *faulty = calloc(1, sizeof *faulty);
    if (!faulty) {
        grv_block_store_free(inner);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for the layer");
    }
    grv_status status = grv_block_store_init(&faulty->base, &fault_ops, inner->capabilities, error);
    if (status) {
        grv_block_store_free(inner);
        free(faulty);
        return status;
    }
    faulty->inner = inner;
    faulty->plan = plan;
    *ret_store = &faulty->base;
    return GRV_OK;
}
