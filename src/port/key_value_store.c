/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of port key_value_store: argument bounds, then the backend's slot. */
#include "port/port.h"

#include <assert.h>
#include <graviton/port/key_value_store.h>

grv_status grv_kv_init(grv_kv *kv, const grv_kv_ops *ops, unsigned namespace_count,
                       grv_error *error)
{
    if (namespace_count < 1 || namespace_count > GRV_KV_NAMESPACE_MAX) {
        return grv_error_set(error, GRV_INTERNAL, "kv", "%u namespaces, want 1 to %u",
                             namespace_count, GRV_KV_NAMESPACE_MAX);
    }
    kv->ops = ops;
    kv->namespace_count = namespace_count;
    kv->whole_scans = false;
    return grv_port_check_table("key_value_store", ops, sizeof *ops, error);
}

static grv_status check_key(const grv_kv *kv, unsigned ns, grv_bytes key, grv_error *error)
{
    if (ns >= kv->namespace_count) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv", "no namespace %u", ns);
    }
    if (key.size < 1 || key.size > GRV_KV_KEY_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv", "a key of %zu bytes, want 1 to %u",
                             key.size, GRV_KV_KEY_MAX);
    }
    return GRV_OK;
}

grv_status grv_kv_get(const grv_call *call, grv_kv *kv, unsigned ns, grv_bytes key,
                      grv_value *ret_value, grv_error *error)
{
    grv_status status = check_key(kv, ns, key, error);
    if (status) {
        return status;
    }
    return kv->ops->get(call, kv, ns, key, ret_value, error);
}

static grv_status check_keys(const grv_kv *kv, unsigned ns, const grv_bytes keys[], size_t count,
                             grv_error *error)
{
    if (count > GRV_KV_BATCH_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv", "%zu keys in one call, at most %u",
                             count, GRV_KV_BATCH_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        grv_status status = check_key(kv, ns, keys[i], error);
        if (status) {
            return status;
        }
    }
    return GRV_OK;
}

grv_status grv_kv_multi_get(const grv_call *call, grv_kv *kv, unsigned ns, const grv_bytes keys[],
                            size_t count, grv_value ret_values[], grv_status ret_statuses[],
                            grv_error *error)
{
    grv_status status = check_keys(kv, ns, keys, count, error);
    if (status || count == 0) {
        return status;
    }
    return kv->ops->multi_get(call, kv, ns, keys, count, ret_values, ret_statuses, error);
}

grv_status grv_kv_missing(const grv_call *call, grv_kv *kv, unsigned ns, const grv_bytes keys[],
                          size_t count, bool ret_missing[], grv_error *error)
{
    grv_status status = check_keys(kv, ns, keys, count, error);
    if (status || count == 0) {
        return status;
    }
    return kv->ops->missing(call, kv, ns, keys, count, ret_missing, error);
}

static grv_status check_op(const grv_kv *kv, const grv_kv_op *op, bool guarded, grv_error *error)
{
    switch (op->kind) {
    case GRV_KV_PUT:
        if (op->value.size > GRV_KV_VALUE_MAX) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv",
                                 "a value of %zu bytes, at most %u", op->value.size,
                                 GRV_KV_VALUE_MAX);
        }
        return check_key(kv, op->ns, op->key, error);
    case GRV_KV_DELETE:
        return check_key(kv, op->ns, op->key, error);
    case GRV_KV_DELETE_RANGE:
        if (guarded) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv",
                                 "a batch with guards may not delete a range");
        }
        if (op->end.size > GRV_KV_KEY_MAX) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv",
                                 "a range's end of %zu bytes, at most %u", op->end.size,
                                 GRV_KV_KEY_MAX);
        }
        return check_key(kv, op->ns, op->key, error);
    }
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv", "no operation %d", (int)op->kind);
}

grv_status grv_kv_write(const grv_call *call, grv_kv *kv, const grv_kv_batch *batch,
                        grv_error *error)
{
    if (batch->op_count > GRV_KV_BATCH_MAX || batch->guard_count > GRV_KV_BATCH_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv",
                             "a batch of %zu operations and %zu guards, at most %u",
                             batch->op_count, batch->guard_count, GRV_KV_BATCH_MAX);
    }
    for (size_t i = 0; i < batch->op_count; i++) {
        grv_status status = check_op(kv, &batch->ops[i], batch->guard_count > 0, error);
        if (status) {
            return status;
        }
    }
    for (size_t i = 0; i < batch->guard_count; i++) {
        const grv_kv_guard *guard = &batch->guards[i];
        grv_status status = check_key(kv, guard->ns, guard->key, error);
        if (status) {
            return status;
        }
        if (guard->kind < GRV_KV_ABSENT || guard->kind > GRV_KV_PRESENT) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv", "no guard %d",
                                 (int)guard->kind);
        }
    }
    return kv->ops->write(call, kv, batch, error);
}

grv_status grv_kv_open_scan(const grv_call *call, grv_kv *kv, const grv_kv_scan *scan,
                            grv_kv_cursor **ret_cursor, grv_error *error)
{
    if (scan->ns >= kv->namespace_count) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv", "no namespace %u", scan->ns);
    }
    if (scan->prefix.size > GRV_KV_KEY_MAX || scan->start.size > GRV_KV_KEY_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv",
                             "a scan's prefix or start is longer than %u bytes", GRV_KV_KEY_MAX);
    }
    return kv->ops->open_scan(call, kv, scan, ret_cursor, error);
}

grv_status grv_kv_cursor_next(const grv_call *call, grv_kv_cursor *cursor, grv_kv_item *ret_item,
                              grv_error *error)
{
    grv_status status = cursor->ops->next(call, cursor, ret_item, error);
    assert(status || ret_item->key.size > 0);
    return status;
}

void grv_kv_cursor_free(grv_kv_cursor *cursor)
{
    if (cursor) {
        cursor->ops->free(cursor);
    }
}

grv_status grv_kv_flush(const grv_call *call, grv_kv *kv, grv_error *error)
{
    return kv->ops->flush(call, kv, error);
}

void grv_kv_free(grv_kv *kv)
{
    if (kv) {
        kv->ops->free(kv);
    }
}
