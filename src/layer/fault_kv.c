/* SPDX-License-Identifier: Apache-2.0 */
/* Layer fault over a key-value store and its cursors. */
#include "layer/fault.h"

#include <stdlib.h>

typedef struct fault_kv {
    grv_kv base;
    grv_kv *inner;
    grv_fault_plan *plan;
} fault_kv;

typedef struct fault_kv_cursor {
    grv_kv_cursor base;
    grv_kv_cursor *inner;
    grv_fault_plan *plan;
} fault_kv_cursor;

static fault_kv *fault_of(grv_kv *kv)
{
    return (fault_kv *)kv;
}

/* ---- The cursor ---- */

static grv_status fault_cursor_next(const grv_call *call, grv_kv_cursor *base,
                                    grv_kv_item *ret_item, grv_error *error)
{
    fault_kv_cursor *cursor = (fault_kv_cursor *)base;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, cursor->plan, "a step of a key-value scan", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_kv_item item;
    status = grv_kv_cursor_next(call, cursor->inner, &item, error);
    if (!status && action == GRV_FAULT_FORGET) {
        return grv_fault_fail(cursor->plan, "a step of a key-value scan", error);
    }
    if (!status) {
        item.value.size /= action == GRV_FAULT_SPOIL ? 2 : 1;
        *ret_item = item;
    }
    return status;
}

static void fault_cursor_free(grv_kv_cursor *base)
{
    grv_kv_cursor_free(((fault_kv_cursor *)base)->inner);
    free(base);
}

static const grv_kv_cursor_ops fault_cursor_ops = {
    .name = "fault",
    .next = fault_cursor_next,
    .free = fault_cursor_free,
};

/* ---- The store ---- */

static grv_status fault_get(const grv_call *call, grv_kv *kv, unsigned ns, grv_bytes key,
                            grv_value *ret_value, grv_error *error)
{
    fault_kv *faulty = fault_of(kv);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a key-value get", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_value value = {0};
    status = grv_kv_get(call, faulty->inner, ns, key, &value, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_value_done(&value);
        return grv_fault_fail(faulty->plan, "a key-value get", error);
    }
    if (!status) {
        value.bytes.size /= action == GRV_FAULT_SPOIL ? 2 : 1;
        *ret_value = value;
    }
    return status;
}

static grv_status fault_multi_get(const grv_call *call, grv_kv *kv, unsigned ns,
                                  const grv_bytes keys[], size_t count, grv_value ret_values[],
                                  grv_status ret_statuses[], grv_error *error)
{
    fault_kv *faulty = fault_of(kv);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a key-value multi-get", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status =
        grv_kv_multi_get(call, faulty->inner, ns, keys, count, ret_values, ret_statuses, error);
    if (!status && action == GRV_FAULT_FORGET) {
        for (size_t i = 0; i < count; i++) {
            grv_value_done(&ret_values[i]);
        }
        return grv_fault_fail(faulty->plan, "a key-value multi-get", error);
    }
    for (size_t i = 0; !status && action == GRV_FAULT_SPOIL && i < count; i++) {
        ret_values[i].bytes.size /= 2;
    }
    return status;
}

static grv_status fault_missing(const grv_call *call, grv_kv *kv, unsigned ns,
                                const grv_bytes keys[], size_t count, bool ret_missing[],
                                grv_error *error)
{
    fault_kv *faulty = fault_of(kv);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a key-value lookup", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_kv_missing(call, faulty->inner, ns, keys, count, ret_missing, error);
    return grv_fault_end(faulty->plan, action, "a key-value lookup", status, error);
}

static grv_status fault_write(const grv_call *call, grv_kv *kv, const grv_kv_batch *batch,
                              grv_error *error)
{
    fault_kv *faulty = fault_of(kv);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a key-value write", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_kv_write(call, faulty->inner, batch, error);
    return grv_fault_end(faulty->plan, action, "a key-value write", status, error);
}

static grv_status fault_open_scan(const grv_call *call, grv_kv *kv, const grv_kv_scan *scan,
                                  grv_kv_cursor **ret_cursor, grv_error *error)
{
    fault_kv *faulty = fault_of(kv);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening a key-value scan", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_kv_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for a scan");
    }
    status = grv_kv_open_scan(call, faulty->inner, scan, &cursor->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_kv_cursor_free(cursor->inner);
        status = grv_fault_fail(faulty->plan, "opening a key-value scan", error);
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

static grv_status fault_flush(const grv_call *call, grv_kv *kv, grv_error *error)
{
    fault_kv *faulty = fault_of(kv);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a key-value flush", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_kv_flush(call, faulty->inner, error);
    return grv_fault_end(faulty->plan, action, "a key-value flush", status, error);
}

static void fault_free(grv_kv *kv)
{
    grv_kv_free(fault_of(kv)->inner);
    free(kv);
}

static const grv_kv_ops fault_ops = {
    .name = "fault",
    .get = fault_get,
    .multi_get = fault_multi_get,
    .missing = fault_missing,
    .write = fault_write,
    .open_scan = fault_open_scan,
    .flush = fault_flush,
    .free = fault_free,
};

grv_status grv_kv_fault_new(grv_kv *inner, grv_fault_plan *plan, grv_kv **ret_kv, grv_error *error)
{
    fault_kv *faulty = calloc(1, sizeof *faulty);
    if (!faulty) {
        grv_kv_free(inner);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for the layer");
    }
    grv_status status = grv_kv_init(&faulty->base, &fault_ops, inner->namespace_count, error);
    if (status) {
        grv_kv_free(inner);
        free(faulty);
        return status;
    }
    faulty->base.whole_scans = inner->whole_scans;
    faulty->inner = inner;
    faulty->plan = plan;
    *ret_kv = &faulty->base;
    return GRV_OK;
}
