/* SPDX-License-Identifier: Apache-2.0 */
/* Layer fault over a range tracker and its lists. */
#include "layer/fault.h"

#include <stdlib.h>

typedef struct fault_tracker {
    grv_range_tracker base;
    grv_range_tracker *inner;
    grv_fault_plan *plan;
} fault_tracker;

typedef struct fault_cursor {
    grv_tracked_cursor base;
    grv_tracked_cursor *inner;
    grv_fault_plan *plan;
    bool ended; /* by a failure made here: the port allows no step after it */
} fault_cursor;

static fault_tracker *fault_of(grv_range_tracker *tracker)
{
    return (fault_tracker *)tracker;
}

/* ---- The list ---- */

static grv_status fault_next(const grv_call *call, grv_tracked_cursor *base, grv_tracked items[],
                             size_t capacity, size_t *ret_count, grv_error *error)
{
    fault_cursor *cursor = (fault_cursor *)base;
    if (cursor->ended) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "fault", "the list has failed");
    }
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, cursor->plan, "a step of a list of ranges", &status, error);
    if (action == GRV_FAULT_STOP) {
        cursor->ended = true;
        return status;
    }
    status = grv_tracked_cursor_next(call, cursor->inner, items, capacity, ret_count, error);
    if (!status && action == GRV_FAULT_FORGET) {
        cursor->ended = true;
        return grv_fault_fail(cursor->plan, "a step of a list of ranges", error);
    }
    return status;
}

static void fault_cursor_free(grv_tracked_cursor *base)
{
    grv_tracked_cursor_free(((fault_cursor *)base)->inner);
    free(base);
}

static const grv_tracked_cursor_ops fault_cursor_ops = {
    .name = "fault",
    .next = fault_next,
    .free = fault_cursor_free,
};

/* ---- The tracker ---- */

/* Moves a set out where it is wanted. */
static void give(grv_range_set *ret, grv_range_set *taken)
{
    if (ret) {
        grv_range_set_done(ret);
        *ret = *taken;
    } else {
        grv_range_set_done(taken);
    }
}

static grv_status fault_current(const grv_call *call, grv_range_tracker *tracker,
                                const grv_locator *locator, uint64_t *ret_generation,
                                grv_range_set *set, grv_error *error)
{
    fault_tracker *faulty = fault_of(tracker);
    grv_status status = GRV_OK;
    grv_fault_action action = grv_fault_begin(call, faulty->plan, "reading ranges", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    uint64_t generation = 0;
    grv_range_set read;
    grv_range_set_init(&read);
    status = grv_range_tracker_current(call, faulty->inner, locator, &generation, &read, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_range_set_done(&read);
        return grv_fault_fail(faulty->plan, "reading ranges", error);
    }
    if (status) {
        grv_range_set_done(&read);
        return status;
    }
    give(set, &read);
    *ret_generation = generation;
    return status;
}

static grv_status fault_merge(const grv_call *call, grv_range_tracker *tracker,
                              const grv_locator *locator, uint64_t generation, grv_range range,
                              grv_range_set *ret_set, grv_range_set *ret_new, grv_error *error)
{
    fault_tracker *faulty = fault_of(tracker);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "merging a range", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_range_set whole;
    grv_range_set fresh;
    grv_range_set_init(&whole);
    grv_range_set_init(&fresh);
    status = grv_range_tracker_merge(call, faulty->inner, locator, generation, range, &whole,
                                     &fresh, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_range_set_done(&whole);
        grv_range_set_done(&fresh);
        return grv_fault_fail(faulty->plan, "merging a range", error);
    }
    give(status ? NULL : ret_set, &whole);
    give(status ? NULL : ret_new, &fresh);
    return status;
}

static grv_status fault_reset(const grv_call *call, grv_range_tracker *tracker,
                              const grv_locator *locator, uint64_t generation, grv_error *error)
{
    fault_tracker *faulty = fault_of(tracker);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "resetting ranges", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_range_tracker_reset(call, faulty->inner, locator, generation, error);
    return grv_fault_end(faulty->plan, action, "resetting ranges", status, error);
}

static grv_status fault_remove(const grv_call *call, grv_range_tracker *tracker,
                               const grv_locator *locator, grv_error *error)
{
    fault_tracker *faulty = fault_of(tracker);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "removing ranges", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_range_tracker_remove(call, faulty->inner, locator, error);
    return grv_fault_end(faulty->plan, action, "removing ranges", status, error);
}

static grv_status fault_open_list(const grv_call *call, grv_range_tracker *tracker,
                                  const grv_tracked_list *list, grv_tracked_cursor **ret_cursor,
                                  grv_error *error)
{
    fault_tracker *faulty = fault_of(tracker);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening a list of ranges", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for a list");
    }
    status = grv_range_tracker_open_list(call, faulty->inner, list, &cursor->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_tracked_cursor_free(cursor->inner);
        status = grv_fault_fail(faulty->plan, "opening a list of ranges", error);
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

static void fault_free(grv_range_tracker *tracker)
{
    grv_range_tracker_free(fault_of(tracker)->inner);
    free(tracker);
}

static const grv_range_tracker_ops fault_ops = {
    .name = "fault",
    .current = fault_current,
    .merge = fault_merge,
    .reset = fault_reset,
    .remove = fault_remove,
    .open_list = fault_open_list,
    .free = fault_free,
};

grv_status grv_range_tracker_fault_new(grv_range_tracker *inner, grv_fault_plan *plan,
                                       grv_range_tracker **ret_tracker, grv_error *error)
{
    fault_tracker *faulty = calloc(1, sizeof *faulty);
    if (!faulty) {
        grv_range_tracker_free(inner);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for the layer");
    }
    grv_status status = grv_range_tracker_init(&faulty->base, &fault_ops, error);
    if (status) {
        grv_range_tracker_free(inner);
        free(faulty);
        return status;
    }
    faulty->inner = inner;
    faulty->plan = plan;
    *ret_tracker = &faulty->base;
    return GRV_OK;
}
