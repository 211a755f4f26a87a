/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying blobs from one store to another: a verified read on one side, a put on the other that
 * must come to the same key. Nothing is known here of how either store keeps its bytes, so any two
 * will do. A blob and its attributes become visible in one write, so that a blob that is there has
 * been copied whole, and a copy of many that was cut short is taken up by asking what is there.
 */
#include "store/descriptor.h"
#include "store/handle.h"

#include <graviton/backend/remote.h>
#include <graviton/maintain.h>
#include <string.h>

#define ORIGIN "copy"
/* Blobs of one page of a list. */
#define PRESENT_PAGE 128u
/* A list is worth reading on where a page settles at least one key for so many blobs in it. */
#define PRESENT_SPARSE 8u
/* A list is not worth opening for so few. */
#define PRESENT_STATS 2u
/* Most bytes of one view: a block is at most that. */
#define VIEW_MAX ((size_t)GRV_BLOCK_SIZE_MAX)
/* Bytes that a copy cut short may have to write again. */
#define CHECKPOINT_BYTES (UINT64_C(128) << 20)

/* ---- Which stores ---- */

grv_status grv_store_copy_check(const grv_store *source, const grv_store *target, grv_error *error)
{
    if (memcmp(source->info.id, target->info.id, GRV_STORE_ID_SIZE) == 0) {
        char id[2 * GRV_STORE_ID_SIZE + 1];
        grv_store_id_print(source->info.id, id);
        return grv_error_set(error, GRV_CONFLICT, ORIGIN,
                             "source and target are the same store %s, or one is a backup of the "
                             "other",
                             id);
    }
    if (source->info.hash != GRV_HASH_NONE && source->info.hash != target->info.hash) {
        return grv_error_set(error, GRV_CONFLICT, ORIGIN,
                             "the source names blobs by %s and the target by %s: the copies would "
                             "have other ids",
                             grv_hash_name(source->info.hash), grv_hash_name(target->info.hash));
    }
    return GRV_OK;
}

/* ---- What is there ---- */

/* Keys still to be looked for: those before `at` are settled. */
typedef struct present_run {
    grv_blob_store *store;
    const grv_blob_key *keys;
    bool *present;
    size_t count;
    size_t at;
} present_run;

/* Settles the keys up to the last one of a page of the list; returns how many those are. */
static size_t page_settle(present_run *run, const grv_blob_info infos[], size_t count)
{
    size_t before = run->at;
    size_t i = 0;
    while (run->at < run->count && i < count) {
        int order = grv_blob_key_compare(&run->keys[run->at], &infos[i].key);
        if (order > 0) {
            i++;
        } else {
            run->present[run->at++] = order == 0;
        }
    }
    return run->at - before;
}

/* The next page of a list, past records that cannot be read; empty at its end. */
static grv_status page_next(const grv_call *call, grv_blob_cursor *cursor, grv_blob_info infos[],
                            size_t *ret_count, grv_error *error)
{
    grv_error unread = GRV_ERROR_INIT;
    for (;;) {
        grv_error why = GRV_ERROR_INIT;
        grv_status status =
            grv_blob_cursor_next(call, cursor, infos, PRESENT_PAGE, ret_count, &why);
        if (status == GRV_CORRUPT || status == GRV_UNSUPPORTED) {
            unread = why;
            continue;
        }
        if (status == GRV_INVALID_ARGUMENT && unread.status) {
            why = unread; /* that was no single record's: it ended the list */
        }
        if (status && error) {
            *error = why;
        }
        return status ? why.status : GRV_OK;
    }
}

/* Reads a list on from the next key until no more is wanted or the keys lie too far apart. */
static grv_status list_settle(const grv_call *call, present_run *run, grv_error *error)
{
    const grv_blob_list list = {.order = GRV_ORDER_KEY, .start = &run->keys[run->at]};
    grv_blob_info infos[PRESENT_PAGE];
    grv_blob_cursor *cursor;
    grv_status status = grv_blob_store_open_list(call, run->store, &list, &cursor, error);
    if (status) {
        return status;
    }
    bool worth_it = true;
    while (!status && worth_it && run->at < run->count) {
        size_t count = 0;
        status = page_next(call, cursor, infos, &count, error);
        if (!status && count == 0) { /* the end: the rest is not there */
            memset(run->present + run->at, 0, (run->count - run->at) * sizeof *run->present);
            run->at = run->count;
        } else if (!status) {
            worth_it = page_settle(run, infos, count) >= count / PRESENT_SPARSE;
        }
    }
    grv_blob_cursor_free(cursor);
    return status;
}

static grv_status stat_settle(const grv_call *call, present_run *run, grv_error *error)
{
    grv_blob_info info;
    grv_status status = grv_blob_store_stat(call, run->store, &run->keys[run->at], &info, error);
    switch (status) {
    case GRV_OK:
    case GRV_NOT_FOUND:
    case GRV_CORRUPT: /* these two as in a list */
    case GRV_UNSUPPORTED:
        run->present[run->at++] = status == GRV_OK;
        return GRV_OK;
    default:
        return status;
    }
}

grv_status grv_blob_store_present(const grv_call *call, grv_blob_store *store,
                                  const grv_blob_key keys[], size_t count, bool ret_present[],
                                  grv_error *error)
{
    present_run run = {.store = store, .keys = keys, .present = ret_present, .count = count};
    for (size_t i = 1; i < count; i++) {
        if (grv_blob_key_compare(&keys[i - 1], &keys[i]) > 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                                 "keys to be looked for must ascend");
        }
    }
    if (grv_blob_store_is_remote(store)) {
        return grv_blob_store_remote_present(call, store, keys, count, ret_present, error);
    }
    grv_status status = GRV_OK;
    while (!status && run.at < count) {
        status = count - run.at > PRESENT_STATS ? list_settle(call, &run, error)
                                                : stat_settle(call, &run, error);
    }
    return status;
}

/* ---- One blob ---- */

/* Moves all bytes. */
static grv_status bytes_copy(const grv_call *call, grv_source *source, grv_sink *sink,
                             const grv_copy_config *config, grv_copy_result *result,
                             grv_error *error)
{
    for (;;) {
        grv_bytes view;
        grv_status status = grv_source_next(call, source, VIEW_MAX, &view, error);
        if (status || view.size == 0) {
            return status;
        }
        status = grv_sink_write(call, sink, view, error);
        if (status) {
            result->target_failed = true;
            return status;
        }
        if (config->progress) {
            config->progress(config->context, view.size);
        }
    }
}

/* Puts what `source` gives and commits it under `key` alone. */
static grv_status blob_put(const grv_call *call, grv_blob_store *target, const grv_blob_key *key,
                           grv_source *source, const grv_attributes *attributes,
                           const grv_copy_config *config, grv_copy_result *result, grv_error *error)
{
    const grv_put_plan plan = {
        .attributes = attributes->count > 0 ? attributes : NULL,
        .expected = key,
        .is_absent = true, /* it has just been asked for, here or by the caller */
        .has_size_hint = true,
        .size_hint = key->size,
        .checkpoint_bytes = config->checkpoint_bytes ? config->checkpoint_bytes : CHECKPOINT_BYTES,
    };
    grv_blob_sink *sink;
    grv_status status = grv_blob_store_open_put(call, target, &plan, &sink, error);
    if (status) {
        result->target_failed = true;
        return status;
    }
    status = bytes_copy(call, source, &sink->base, config, result, error);
    if (!status) {
        status = grv_sink_commit(call, &sink->base, error);
        result->target_failed = status != GRV_OK;
    }
    if (!status) {
        result->put = sink->result;
        result->already_there = sink->result.already_stored;
    }
    grv_sink_free(&sink->base);
    return status;
}

static grv_status blob_copy(const grv_call *call, grv_blob_store *source, grv_blob_store *target,
                            const grv_blob_key *key, grv_attributes *attributes,
                            const grv_copy_config *config, grv_copy_result *result,
                            grv_error *error)
{
    grv_status status = grv_blob_store_attributes_get(call, source, key, attributes, error);
    if (status) {
        return status;
    }
    grv_source *bytes;
    status = grv_blob_store_open_get(call, source, key, GRV_RANGE_ALL, &bytes, error);
    if (status) {
        return status;
    }
    status = blob_put(call, target, key, bytes, attributes, config, result, error);
    grv_source_free(bytes);
    return status;
}

grv_status grv_blob_copy(const grv_call *call, grv_blob_store *source, grv_blob_store *target,
                         const grv_blob_key *key, const grv_copy_config *config,
                         grv_copy_result *ret_result, grv_error *error)
{
    *ret_result = (grv_copy_result){0};
    if (!config->absent) {
        grv_blob_info info;
        grv_status status = grv_blob_store_stat(call, target, key, &info, error);
        if (!status) {
            ret_result->already_there = true;
            return GRV_OK;
        }
        if (status != GRV_NOT_FOUND) {
            ret_result->target_failed = true;
            return status;
        }
    }
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    grv_status status =
        blob_copy(call, source, target, key, &attributes, config, ret_result, error);
    grv_attributes_done(&attributes);
    return status;
}
