/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of port range_tracker: locators, generations and ranges, then the backend's slot. */
#include "port/port.h"

#include <assert.h>
#include <graviton/key.h>
#include <graviton/port/range_tracker.h>
#include <inttypes.h>

grv_status grv_range_tracker_init(grv_range_tracker *tracker, const grv_range_tracker_ops *ops,
                                  grv_error *error)
{
    tracker->ops = ops;
    return grv_port_check_table("range_tracker", ops, sizeof *ops, error);
}

static grv_status check_locator(const grv_locator *locator, grv_error *error)
{
    return grv_port_check_locator("ranges", locator, GRV_TRACKER_LOCATOR_MAX, error);
}

static grv_status check_generation(uint64_t generation, grv_error *error)
{
    if (generation < 1 || generation > GRV_TRACKER_GENERATION_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "ranges",
                             "generation %" PRIu64 ", want 1 to %" PRIu64, generation,
                             GRV_TRACKER_GENERATION_MAX);
    }
    return GRV_OK;
}

grv_status grv_range_tracker_current(const grv_call *call, grv_range_tracker *tracker,
                                     const grv_locator *locator, uint64_t *ret_generation,
                                     grv_range_set *set, grv_error *error)
{
    grv_status status = check_locator(locator, error);
    if (status) {
        return status;
    }
    return tracker->ops->current(call, tracker, locator, ret_generation, set, error);
}

grv_status grv_range_tracker_merge(const grv_call *call, grv_range_tracker *tracker,
                                   const grv_locator *locator, uint64_t generation, grv_range range,
                                   grv_range_set *ret_set, grv_range_set *ret_new, grv_error *error)
{
    assert(!ret_set || ret_set != ret_new);
    grv_status status = check_locator(locator, error);
    if (!status) {
        status = check_generation(generation, error);
    }
    if (status) {
        return status;
    }
    if (range.first > range.end || range.end > GRV_BLOB_SIZE_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "ranges",
                             "a range from %" PRIu64 " to %" PRIu64, range.first, range.end);
    }
    status =
        tracker->ops->merge(call, tracker, locator, generation, range, ret_set, ret_new, error);
    assert(status || !ret_set || grv_range_set_contains(ret_set, range));
    return status;
}

grv_status grv_range_tracker_reset(const grv_call *call, grv_range_tracker *tracker,
                                   const grv_locator *locator, uint64_t generation,
                                   grv_error *error)
{
    grv_status status = check_locator(locator, error);
    if (!status) {
        status = check_generation(generation, error);
    }
    return status ? status : tracker->ops->reset(call, tracker, locator, generation, error);
}

grv_status grv_range_tracker_remove(const grv_call *call, grv_range_tracker *tracker,
                                    const grv_locator *locator, grv_error *error)
{
    grv_status status = check_locator(locator, error);
    return status ? status : tracker->ops->remove(call, tracker, locator, error);
}

grv_status grv_range_tracker_open_list(const grv_call *call, grv_range_tracker *tracker,
                                       const grv_tracked_list *list,
                                       grv_tracked_cursor **ret_cursor, grv_error *error)
{
    grv_status status =
        grv_port_check_prefix("ranges", list->prefix, GRV_TRACKER_LOCATOR_MAX, error);
    if (!status && list->start) {
        status = check_locator(list->start, error);
    }
    return status ? status : tracker->ops->open_list(call, tracker, list, ret_cursor, error);
}

void grv_range_tracker_free(grv_range_tracker *tracker)
{
    if (tracker) {
        tracker->ops->free(tracker);
    }
}

grv_status grv_tracked_cursor_next(const grv_call *call, grv_tracked_cursor *cursor,
                                   grv_tracked items[], size_t capacity, size_t *ret_count,
                                   grv_error *error)
{
    assert(capacity > 0);
    size_t count = 0;
    grv_status status = cursor->ops->next(call, cursor, items, capacity, &count, error);
    if (status) {
        return status;
    }
    assert(count <= capacity);
    *ret_count = count;
    return GRV_OK;
}

void grv_tracked_cursor_free(grv_tracked_cursor *cursor)
{
    if (cursor) {
        cursor->ops->free(cursor);
    }
}
