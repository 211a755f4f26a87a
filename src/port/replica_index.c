/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of port replica_index: keys, locators and sets, then the backend's slot. */
#include "port/port.h"

#include <assert.h>
#include <graviton/port/replica_index.h>
#include <string.h>

grv_status grv_replica_index_init(grv_replica_index *index, const grv_replica_index_ops *ops,
                                  grv_error *error)
{
    index->ops = ops;
    return grv_port_check_table("replica_index", ops, sizeof *ops, error);
}

static grv_status check_key(const grv_replica_key *key, grv_error *error)
{
    if (!grv_replica_key_is_valid(key)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "replicas", "not a valid replica key");
    }
    return GRV_OK;
}

static grv_status check_locator(const grv_locator *locator, grv_error *error)
{
    return grv_port_check_locator("replicas", locator, GRV_REPLICA_LOCATOR_MAX, error);
}

static grv_status check_set(const grv_locator_set *set, grv_error *error)
{
    if (set->count > GRV_LOCATOR_SET_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "replicas",
                             "%zu locators for one key, want at most %u", set->count,
                             GRV_LOCATOR_SET_MAX);
    }
    for (size_t i = 0; i < set->count; i++) {
        grv_status status = check_locator(&set->locators[i], error);
        if (status) {
            return status;
        }
        if (i > 0 && grv_locator_compare(&set->locators[i - 1], &set->locators[i]) >= 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "replicas",
                                 "locator %zu of a set is out of order", i);
        }
    }
    return GRV_OK;
}

grv_status grv_replica_index_replicas(const grv_call *call, grv_replica_index *index,
                                      const grv_replica_key *key, grv_locator_set *set,
                                      grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    return index->ops->replicas(call, index, key, set, error);
}

grv_status grv_replica_index_update(const grv_call *call, grv_replica_index *index,
                                    const grv_replica_key *key, const grv_locator_set *set,
                                    grv_error *error)
{
    grv_status status = check_key(key, error);
    if (!status) {
        status = check_set(set, error);
    }
    return status ? status : index->ops->update(call, index, key, set, error);
}

grv_status grv_replica_index_add(const grv_call *call, grv_replica_index *index,
                                 const grv_replica_key *key, const grv_locator *locator,
                                 grv_error *error)
{
    grv_status status = check_key(key, error);
    if (!status) {
        status = check_locator(locator, error);
    }
    return status ? status : index->ops->add(call, index, key, locator, error);
}

grv_status grv_replica_index_remove(const grv_call *call, grv_replica_index *index,
                                    const grv_replica_key *key, const grv_locator *locator,
                                    grv_error *error)
{
    grv_status status = check_key(key, error);
    if (!status) {
        status = check_locator(locator, error);
    }
    return status ? status : index->ops->remove(call, index, key, locator, error);
}

grv_status grv_replica_index_open_list(const grv_call *call, grv_replica_index *index,
                                       const grv_replica_list *list,
                                       grv_replica_cursor **ret_cursor, grv_error *error)
{
    grv_status status =
        grv_port_check_prefix("replicas", list->prefix, GRV_REPLICA_LOCATOR_MAX, error);
    if (!status && list->start) {
        status = check_key(&list->start->key, error);
        if (!status) {
            status = check_locator(&list->start->locator, error);
        }
    }
    return status ? status : index->ops->open_list(call, index, list, ret_cursor, error);
}

void grv_replica_index_free(grv_replica_index *index)
{
    if (index) {
        index->ops->free(index);
    }
}

grv_status grv_replica_cursor_next(const grv_call *call, grv_replica_cursor *cursor,
                                   grv_replica items[], size_t capacity, size_t *ret_count,
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

void grv_replica_cursor_free(grv_replica_cursor *cursor)
{
    if (cursor) {
        cursor->ops->free(cursor);
    }
}
