/* SPDX-License-Identifier: Apache-2.0 */
/* Layer fault over a replica index and its lists. */
#include "layer/fault.h"

#include <stdlib.h>

typedef struct fault_index {
    grv_replica_index base;
    grv_replica_index *inner;
    grv_fault_plan *plan;
} fault_index;

typedef struct fault_cursor {
    grv_replica_cursor base;
    grv_replica_cursor *inner;
    grv_fault_plan *plan;
    bool ended; /* by a failure made here: the port allows no step after it */
} fault_cursor;

static fault_index *fault_of(grv_replica_index *index)
{
    return (fault_index *)index;
}

/* ---- The list ---- */

static grv_status fault_next(const grv_call *call, grv_replica_cursor *base, grv_replica items[],
                             size_t capacity, size_t *ret_count, grv_error *error)
{
    fault_cursor *cursor = (fault_cursor *)base;
    if (cursor->ended) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "fault", "the list has failed");
    }
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, cursor->plan, "a step of a list of replicas", &status, error);
    if (action == GRV_FAULT_STOP) {
        cursor->ended = true;
        return status;
    }
    status = grv_replica_cursor_next(call, cursor->inner, items, capacity, ret_count, error);
    if (!status && action == GRV_FAULT_FORGET) {
        cursor->ended = true;
        return grv_fault_fail(cursor->plan, "a step of a list of replicas", error);
    }
    return status;
}

static void fault_cursor_free(grv_replica_cursor *base)
{
    grv_replica_cursor_free(((fault_cursor *)base)->inner);
    free(base);
}

static const grv_replica_cursor_ops fault_cursor_ops = {
    .name = "fault",
    .next = fault_next,
    .free = fault_cursor_free,
};

/* ---- The index ---- */

static grv_status fault_replicas(const grv_call *call, grv_replica_index *index,
                                 const grv_replica_key *key, grv_locator_set *set, grv_error *error)
{
    fault_index *faulty = fault_of(index);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "reading replicas", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_locator_set read;
    grv_locator_set_init(&read);
    status = grv_replica_index_replicas(call, faulty->inner, key, &read, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_locator_set_done(&read);
        return grv_fault_fail(faulty->plan, "reading replicas", error);
    }
    if (status) {
        grv_locator_set_done(&read);
        return status;
    }
    grv_locator_set_done(set);
    *set = read;
    return status;
}

static grv_status fault_update(const grv_call *call, grv_replica_index *index,
                               const grv_replica_key *key, const grv_locator_set *set,
                               grv_error *error)
{
    fault_index *faulty = fault_of(index);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "replacing replicas", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_replica_index_update(call, faulty->inner, key, set, error);
    return grv_fault_end(faulty->plan, action, "replacing replicas", status, error);
}

static grv_status fault_add(const grv_call *call, grv_replica_index *index,
                            const grv_replica_key *key, const grv_locator *locator,
                            grv_error *error)
{
    fault_index *faulty = fault_of(index);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "adding a replica", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_replica_index_add(call, faulty->inner, key, locator, error);
    return grv_fault_end(faulty->plan, action, "adding a replica", status, error);
}

static grv_status fault_remove(const grv_call *call, grv_replica_index *index,
                               const grv_replica_key *key, const grv_locator *locator,
                               grv_error *error)
{
    fault_index *faulty = fault_of(index);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "removing a replica", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_replica_index_remove(call, faulty->inner, key, locator, error);
    return grv_fault_end(faulty->plan, action, "removing a replica", status, error);
}

static grv_status fault_open_list(const grv_call *call, grv_replica_index *index,
                                  const grv_replica_list *list, grv_replica_cursor **ret_cursor,
                                  grv_error *error)
{
    fault_index *faulty = fault_of(index);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening a list of replicas", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for a list");
    }
    status = grv_replica_index_open_list(call, faulty->inner, list, &cursor->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_replica_cursor_free(cursor->inner);
        status = grv_fault_fail(faulty->plan, "opening a list of replicas", error);
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

static void fault_free(grv_replica_index *index)
{
    grv_replica_index_free(fault_of(index)->inner);
    free(index);
}

static const grv_replica_index_ops fault_ops = {
    .name = "fault",
    .replicas = fault_replicas,
    .update = fault_update,
    .add = fault_add,
    .remove = fault_remove,
    .open_list = fault_open_list,
    .free = fault_free,
};

grv_status grv_replica_index_fault_new(grv_replica_index *inner, grv_fault_plan *plan,
                                       grv_replica_index **ret_index, grv_error *error)
{
    fault_index *faulty = calloc(1, sizeof *faulty);
    if (!faulty) {
        grv_replica_index_free(inner);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for the layer");
    }
    grv_status status = grv_replica_index_init(&faulty->base, &fault_ops, error);
    if (status) {
        grv_replica_index_free(inner);
        free(faulty);
        return status;
    }
    faulty->inner = inner;
    faulty->plan = plan;
    *ret_index = &faulty->base;
    return GRV_OK;
}
