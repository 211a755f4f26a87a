/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of replicas by locator, straight from the rows. A row that is none is one failed item. */
#include "backend/kv/replica_index.h"

#include <stdlib.h>
#include <string.h>

typedef struct kv_list {
    grv_replica_cursor base;
    grv_kv_cursor *scan;
    grv_status held; /* of a row that failed behind items which had to be given out first */
    grv_error held_error;
    bool failed;      /* the scan itself failed: what comes after is not known */
    size_t skip_size; /* leave out the row `skip` */
    uint8_t skip[GRV_REPLICA_ROW_MAX];
} kv_list;

static const grv_replica_cursor_ops kv_list_ops;

/* The next row that is not to be left out; GRV_NOT_FOUND at the end. */
static grv_status next_row(const grv_call *call, kv_list *list, grv_bytes *ret_row,
                           grv_error *error)
{
    grv_kv_item item;
    grv_status status = GRV_OK;
    do {
        status = grv_kv_cursor_next(call, list->scan, &item, error);
        if (status) {
            list->failed = status != GRV_NOT_FOUND;
            return status;
        }
    } while (list->skip_size > 0 && item.key.size == list->skip_size &&
             memcmp(item.key.data, list->skip, list->skip_size) == 0);
    *ret_row = item.key;
    return GRV_OK;
}

static grv_status kv_list_next(const grv_call *call, grv_replica_cursor *base, grv_replica items[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    kv_list *list = (kv_list *)base;
    if (list->failed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "replicas",
                             "the list of replicas has failed; begin another where it stopped");
    }
    size_t count = 0;
    while (count < capacity && !list->held) {
        grv_bytes row;
        grv_status status = next_row(call, list, &row, error);
        if (status == GRV_NOT_FOUND) {
            break;
        }
        if (status) {
            return status;
        }
        list->held = grv_replica_row_decode(row, &items[count].locator, &items[count].key,
                                            &list->held_error);
        count += list->held ? 0 : 1;
    }
    if (count == 0 && list->held) {
        grv_status status = list->held;
        list->held = GRV_OK;
        grv_error_prefix(&list->held_error, "list of replicas");
        if (error) {
            *error = list->held_error;
        }
        return status;
    }
    *ret_count = count;
    return GRV_OK;
}

static void kv_list_free(grv_replica_cursor *base)
{
    kv_list *list = (kv_list *)base;
    grv_kv_cursor_free(list->scan);
    free(list);
}

static const grv_replica_cursor_ops kv_list_ops = {
    .name = "kv",
    .next = kv_list_next,
    .free = kv_list_free,
};

grv_status grv_replica_index_kv_open_list(const grv_call *call, grv_replica_index *base,
                                          const grv_replica_list *wanted,
                                          grv_replica_cursor **ret_cursor, grv_error *error)
{
    kv_list *list = calloc(1, sizeof *list);
    if (!list) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "replicas", "no memory for a list");
    }
    list->base.ops = &kv_list_ops;
    grv_kv_scan scan = {.ns = GRV_NS_LOCATED, .prefix = wanted->prefix, .keys_only = true};
    if (wanted->start) {
        size_t size =
            grv_replica_row_encode(&wanted->start->locator, &wanted->start->key, list->skip);
        scan.start = grv_bytes_of(list->skip, size);
        list->skip_size = wanted->after_start ? size : 0;
    }
    grv_status status =
        grv_kv_open_scan(call, grv_replica_index_kv_of(base)->kv, &scan, &list->scan, error);
    if (status) {
        free(list);
        return status;
    }
    *ret_cursor = &list->base;
    return GRV_OK;
}
