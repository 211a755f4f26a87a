/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer fault over a mutable object store, its sinks, sources and lists. A read that is cut short
 * gives half of its bytes and then the end: what no store may do, and what whoever knows how many
 * bytes there must be can find. A list may be tried again after a failure: a step whose answer is
 * lost is not taken at all.
 */
#include "layer/fault.h"

#include <stdlib.h>

typedef struct fault_objects {
    grv_mutable_object_store base;
    grv_mutable_object_store *inner;
    grv_fault_plan *plan;
} fault_objects;

typedef struct fault_sink {
    grv_object_sink base;
    grv_object_sink *inner;
    grv_fault_plan *plan;
} fault_sink;

typedef struct fault_source {
    grv_source base;
    grv_source *inner;
    grv_fault_plan *plan;
    grv_status failed; /* what every further call answers */
    bool ended;        /* cut short: every further call answers that this is the end */
} fault_source;

typedef struct fault_list {
    grv_object_cursor base;
    grv_object_cursor *inner;
    grv_fault_plan *plan;
} fault_list;

static fault_objects *fault_of(grv_mutable_object_store *store)
{
    return (fault_objects *)(void *)store;
}

static grv_status no_memory(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for %s", what);
}

/* ---- The sink ---- */

static grv_status fault_reserve(const grv_call *call, grv_sink *base, grv_span *ret_window,
                                grv_error *error)
{
    fault_sink *sink = (fault_sink *)(void *)base;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, sink->plan, "a window of an object's put", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_sink_reserve(call, &sink->inner->base, ret_window, error);
    return grv_fault_end(sink->plan, action, "a window of an object's put", status, error);
}

static grv_status fault_advance(const grv_call *call, grv_sink *base, size_t size, grv_error *error)
{
    fault_sink *sink = (fault_sink *)(void *)base;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, sink->plan, "a write of an object's put", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_sink_advance(call, &sink->inner->base, size, error);
    return grv_fault_end(sink->plan, action, "a write of an object's put", status, error);
}

static grv_status fault_commit(const grv_call *call, grv_sink *base, grv_error *error)
{
    fault_sink *sink = (fault_sink *)(void *)base;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, sink->plan, "the commit of an object", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_sink_commit(call, &sink->inner->base, error);
    if (!status && action == GRV_FAULT_FORGET) {
        return grv_fault_fail(sink->plan, "the commit of an object", error);
    }
    if (!status) {
        sink->base.info = sink->inner->info;
    }
    return status;
}

static void fault_sink_free(grv_sink *base)
{
    grv_sink_free(&((fault_sink *)(void *)base)->inner->base);
    free(base);
}

static const grv_sink_ops fault_sink_ops = {
    .name = "fault",
    .reserve = fault_reserve,
    .advance = fault_advance,
    .commit = fault_commit,
    .free = fault_sink_free,
};

/* ---- The source ---- */

static grv_status fault_source_next(const grv_call *call, grv_source *base, size_t max,
                                    grv_bytes *ret_view, grv_error *error)
{
    fault_source *source = (fault_source *)(void *)base;
    if (source->failed) {
        return grv_error_set(error, source->failed, "fault", "an earlier read was made to fail");
    }
    if (source->ended) {
        *ret_view = (grv_bytes){0};
        return GRV_OK;
    }
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, source->plan, "a read of an object", &status, error);
    if (action == GRV_FAULT_STOP) {
        source->failed = status;
        return status;
    }
    grv_bytes view;
    status = grv_source_next(call, source->inner, max, &view, error);
    if (!status && action == GRV_FAULT_FORGET) {
        source->failed = grv_fault_fail(source->plan, "a read of an object", error);
        return source->failed;
    }
    if (status) {
        return status;
    }
    if (action == GRV_FAULT_SPOIL) {
        source->ended = true;
        view.size /= 2;
    }
    *ret_view = view;
    return GRV_OK;
}

static void fault_source_free(grv_source *base)
{
    grv_source_free(((fault_source *)(void *)base)->inner);
    free(base);
}

static const grv_source_ops fault_source_ops = {
    .name = "fault",
    .next = fault_source_next,
    .free = fault_source_free,
};

/* ---- The list ---- */

static grv_status fault_list_next(const grv_call *call, grv_object_cursor *base,
                                  grv_object_entry entries[], size_t capacity, size_t *ret_count,
                                  grv_error *error)
{
    fault_list *list = (fault_list *)base;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, list->plan, "a step of a list of objects", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    if (action == GRV_FAULT_FORGET) {
        return grv_fault_fail(list->plan, "a step of a list of objects", error);
    }
    return grv_object_cursor_next(call, list->inner, entries, capacity, ret_count, error);
}

static void fault_list_free(grv_object_cursor *base)
{
    grv_object_cursor_free(((fault_list *)base)->inner);
    free(base);
}

static const grv_object_cursor_ops fault_list_ops = {
    .name = "fault",
    .next = fault_list_next,
    .free = fault_list_free,
};

/* ---- The store: reading ---- */

static grv_status fault_head(const grv_call *call, grv_object_store *store,
                             const grv_locator *locator, grv_object_info *ret_info,
                             grv_error *error)
{
    fault_objects *faulty = (fault_objects *)(void *)store;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a head of an object", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_object_info info;
    status = grv_object_store_head(call, &faulty->inner->base, locator, &info, error);
    if (!status && action == GRV_FAULT_FORGET) {
        return grv_fault_fail(faulty->plan, "a head of an object", error);
    }
    if (!status) {
        *ret_info = info;
    }
    return status;
}

static grv_status fault_open_list(const grv_call *call, grv_object_store *store,
                                  const grv_object_list *wanted, grv_object_cursor **ret_cursor,
                                  grv_error *error)
{
    fault_objects *faulty = (fault_objects *)(void *)store;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening a list of objects", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_list *list = calloc(1, sizeof *list);
    if (!list) {
        return no_memory("a list", error);
    }
    status = grv_object_store_open_list(call, &faulty->inner->base, wanted, &list->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_object_cursor_free(list->inner);
        status = grv_fault_fail(faulty->plan, "opening a list of objects", error);
    }
    if (status) {
        free(list);
        return status;
    }
    list->base.ops = &fault_list_ops;
    list->plan = faulty->plan;
    *ret_cursor = &list->base;
    return GRV_OK;
}

static grv_status fault_open_get(const grv_call *call, grv_object_store *store,
                                 const grv_locator *locator, grv_range range,
                                 grv_object_info *ret_info, grv_source **ret_source,
                                 grv_error *error)
{
    fault_objects *faulty = (fault_objects *)(void *)store;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening an object", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_source *source = calloc(1, sizeof *source);
    if (!source) {
        return no_memory("a read", error);
    }
    grv_object_info info;
    status = grv_object_store_open_get(call, &faulty->inner->base, locator, range, &info,
                                       &source->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_source_free(source->inner);
        status = grv_fault_fail(faulty->plan, "opening an object", error);
    }
    if (status) {
        free(source);
        return status;
    }
    source->base.ops = &fault_source_ops;
    source->plan = faulty->plan;
    *ret_info = info;
    *ret_source = &source->base;
    return GRV_OK;
}

static void fault_free(grv_object_store *store)
{
    grv_mutable_object_store_free(((fault_objects *)(void *)store)->inner);
    free(store);
}

static const grv_object_store_ops fault_base_ops = {
    .name = "fault",
    .head = fault_head,
    .open_list = fault_open_list,
    .open_get = fault_open_get,
    .free = fault_free,
};

/* ---- The store: writing ---- */

static grv_status fault_open_put(const grv_call *call, grv_mutable_object_store *store,
                                 const grv_locator *locator, const grv_object_put *put,
                                 grv_object_sink **ret_sink, grv_error *error)
{
    fault_objects *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening an object's put", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_sink *sink = calloc(1, sizeof *sink);
    if (!sink) {
        return no_memory("a put", error);
    }
    status =
        grv_mutable_object_store_open_put(call, faulty->inner, locator, put, &sink->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_sink_free(&sink->inner->base);
        status = grv_fault_fail(faulty->plan, "opening an object's put", error);
    }
    if (status) {
        free(sink);
        return status;
    }
    sink->base.base.ops = &fault_sink_ops;
    sink->plan = faulty->plan;
    *ret_sink = &sink->base;
    return GRV_OK;
}

static grv_status fault_remove(const grv_call *call, grv_mutable_object_store *store,
                               const grv_locator *locator, grv_error *error)
{
    fault_objects *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "the removal of an object", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_mutable_object_store_remove(call, faulty->inner, locator, error);
    return grv_fault_end(faulty->plan, action, "the removal of an object", status, error);
}

static grv_status fault_copy(const grv_call *call, grv_mutable_object_store *store,
                             const grv_locator *from, const grv_locator *to, bool if_absent,
                             grv_object_info *ret_info, grv_error *error)
{
    fault_objects *faulty = fault_of(store);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a copy of an object", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_object_info info;
    status = grv_mutable_object_store_copy(call, faulty->inner, from, to, if_absent, &info, error);
    if (!status && action == GRV_FAULT_FORGET) {
        return grv_fault_fail(faulty->plan, "a copy of an object", error);
    }
    if (!status) {
        *ret_info = info;
    }
    return status;
}

static const grv_mutable_object_store_ops fault_ops = {
    .name = "fault",
    .open_put = fault_open_put,
    .remove = fault_remove,
    .copy = fault_copy,
};

grv_status grv_object_store_fault_new(grv_mutable_object_store *inner, grv_fault_plan *plan,
                                      grv_mutable_object_store **ret_store, grv_error *error)
{
    fault_objects *faulty = calloc(1, sizeof *faulty);
    if (!faulty) {
        grv_mutable_object_store_free(inner);
        return no_memory("the layer", error);
    }
    grv_status status = grv_mutable_object_store_init(
        &faulty->base, &fault_base_ops, &fault_ops, inner->base.scheme, inner->capabilities, error);
    if (status) {
        grv_mutable_object_store_free(inner);
        free(faulty);
        return status;
    }
    faulty->inner = inner;
    faulty->plan = plan;
    *ret_store = &faulty->base;
    return GRV_OK;
}
