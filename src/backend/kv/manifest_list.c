/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of blobs, a few at a time: by key straight from the roots, by newest from the sequences
 * and the roots they name. A root that cannot be read is one failed item; the list goes on after
 * it, so that one damaged blob does not hide the others.
 */
#include "backend/kv/manifest_repo.h"
#include "core/wire.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Items read ahead. Bounds what a list holds: by newest that many roots at once. */
#define LIST_BATCH 16u

/* An item to give out: a blob, or why there is none. */
typedef struct list_item {
    grv_status status;
    grv_blob_info info;
    grv_error error;
} list_item;

typedef struct kv_list {
    grv_blob_cursor base;
    grv_manifest_repo_kv *repo;
    grv_list_order order;
    grv_kv_cursor *scan;
    bool skip; /* order key: leave out the item `skip_key` */
    uint8_t skip_key[GRV_KEY_BYTES_SIZE];
    bool ended;
    bool failed;  /* the scan itself failed: what comes after is not known */
    size_t given; /* items[given, filled) are still to be given out */
    size_t filled;
    list_item items[LIST_BATCH];
} kv_list;

/* Decodes a root into the next item. */
static void fill_root(kv_list *list, const grv_blob_key *key, grv_bytes bytes)
{
    list_item *item = &list->items[list->filled++];
    grv_manifest_root root;
    item->status = grv_manifest_root_decode_of(key, bytes, &root, &item->error);
    if (!item->status) {
        item->info = root.info;
    }
}

static grv_status fill_by_key(const grv_call *call, kv_list *list, grv_error *error)
{
    while (list->filled < LIST_BATCH) {
        grv_kv_item found;
        grv_status status = grv_kv_cursor_next(call, list->scan, &found, error);
        if (status == GRV_NOT_FOUND) {
            list->ended = true;
            return GRV_OK;
        }
        if (status) {
            return status;
        }
        if (list->skip && found.key.size == sizeof list->skip_key &&
            memcmp(found.key.data, list->skip_key, sizeof list->skip_key) == 0) {
            continue;
        }
        grv_blob_key key;
        list_item *item = &list->items[list->filled];
        item->status = grv_blob_key_decode(found.key, &key, &item->error);
        if (item->status) {
            grv_error_prefix(&item->error, "list of blobs");
            list->filled++;
        } else {
            fill_root(list, &key, found.value);
        }
    }
    return GRV_OK;
}

/* Entries of the sequence index, as far as one batch goes. */
typedef struct sequence_batch {
    size_t count;
    uint64_t sequences[LIST_BATCH];
    grv_blob_key keys[LIST_BATCH];
    uint8_t key_bytes[LIST_BATCH][GRV_KEY_BYTES_SIZE];
    grv_bytes views[LIST_BATCH];
} sequence_batch;

/* Reads entries until the batch is full, the end, or an entry that is damaged: an item for that
 * one would stand before the batch's own, so it ends the batch and is given in *ret_damaged. */
static grv_status read_sequences(const grv_call *call, kv_list *list, sequence_batch *batch,
                                 list_item *ret_damaged, grv_error *error)
{
    while (batch->count < LIST_BATCH - 1) {
        grv_kv_item found;
        grv_status status = grv_kv_cursor_next(call, list->scan, &found, error);
        if (status == GRV_NOT_FOUND) {
            list->ended = true;
            return GRV_OK;
        }
        if (status) {
            return status;
        }
        size_t at = batch->count;
        grv_error *why = &ret_damaged->error;
        ret_damaged->status =
            found.key.size == GRV_SEQUENCE_KEY_SIZE
                ? grv_blob_key_decode(found.value, &batch->keys[at], why)
                : grv_error_set(why, GRV_CORRUPT, "manifests", "a stored sequence is no number");
        if (ret_damaged->status) {
            grv_error_prefix(why, "list of newest blobs");
            return GRV_OK;
        }
        batch->sequences[at] = grv_wire_get_u64be(found.key.data);
        grv_blob_key_encode(&batch->keys[at], batch->key_bytes[at]);
        batch->views[at] = grv_bytes_of(batch->key_bytes[at], GRV_KEY_BYTES_SIZE);
        batch->count++;
    }
    return GRV_OK;
}

static grv_status fill_newest(const grv_call *call, kv_list *list, grv_error *error)
{
    sequence_batch batch = {0};
    list_item damaged = {0};
    grv_status status = read_sequences(call, list, &batch, &damaged, error);
    if (status) {
        return status;
    }
    grv_value values[LIST_BATCH] = {0};
    grv_status statuses[LIST_BATCH];
    status = grv_kv_multi_get(call, list->repo->kv, GRV_NS_ROOT, batch.views, batch.count, values,
                              statuses, error);
    if (status) {
        return status;
    }
    for (size_t i = 0; i < batch.count; i++) {
        if (statuses[i] == GRV_NOT_FOUND) {
            continue; /* removed since the list began */
        }
        fill_root(list, &batch.keys[i], values[i].bytes);
        grv_value_done(&values[i]);
        list_item *item = &list->items[list->filled - 1];
        if (!item->status && item->info.sequence != batch.sequences[i]) {
            list->filled--; /* removed and stored anew: it stands elsewhere */
        }
    }
    if (damaged.status) {
        list->items[list->filled++] = damaged;
    }
    return GRV_OK;
}

static grv_status kv_list_next(const grv_call *call, grv_blob_cursor *base, grv_blob_info infos[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    kv_list *list = (kv_list *)base;
    if (list->failed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "the list of blobs has failed; begin another where it stopped");
    }
    while (list->given == list->filled && !list->ended) {
        list->given = 0;
        list->filled = 0;
        grv_status status = list->order == GRV_ORDER_KEY ? fill_by_key(call, list, error)
                                                         : fill_newest(call, list, error);
        if (status) {
            list->failed = true;
            return status;
        }
    }
    size_t count = 0;
    while (count < capacity && list->given < list->filled && !list->items[list->given].status) {
        infos[count++] = list->items[list->given++].info;
    }
    if (count == 0 && list->given < list->filled) {
        const list_item *item = &list->items[list->given++];
        if (error) {
            *error = item->error;
        }
        return item->status;
    }
    *ret_count = count;
    return GRV_OK;
}

static void kv_list_free(grv_blob_cursor *base)
{
    kv_list *list = (kv_list *)base;
    grv_kv_cursor_free(list->scan);
    free(list);
}

static const grv_blob_cursor_ops kv_list_ops = {
    .name = "kv",
    .next = kv_list_next,
    .free = kv_list_free,
};

static grv_status open_scan(const grv_call *call, kv_list *list, const grv_blob_list *wanted,
                            grv_error *error)
{
    uint8_t start[GRV_KEY_BYTES_SIZE];
    grv_kv_scan scan = {.ns = GRV_NS_ROOT};
    if (wanted->order == GRV_ORDER_KEY && wanted->start) {
        grv_blob_key_encode(wanted->start, start);
        scan.start = grv_bytes_of(start, sizeof start);
        list->skip = wanted->after_start;
        memcpy(list->skip_key, start, sizeof start);
    }
    if (wanted->order == GRV_ORDER_NEWEST) {
        scan.ns = GRV_NS_SEQUENCE;
        scan.reverse = true;
        if (wanted->below_sequence > 0) {
            grv_wire_put_u64be(start, wanted->below_sequence - 1);
            scan.start = grv_bytes_of(start, GRV_SEQUENCE_KEY_SIZE);
        }
    }
    return grv_kv_open_scan(call, list->repo->kv, &scan, &list->scan, error);
}

grv_status grv_manifest_repo_kv_open_list(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_list *wanted, grv_blob_cursor **ret_cursor,
                                          grv_error *error)
{
    kv_list *list = calloc(1, sizeof *list);
    if (!list) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests", "no memory for a list");
    }
    list->base.ops = &kv_list_ops;
    list->repo = grv_manifest_repo_kv_of(base);
    list->order = wanted->order;
    grv_status status = open_scan(call, list, wanted, error);
    if (status) {
        free(list);
        return status;
    }
    *ret_cursor = &list->base;
    return GRV_OK;
}
