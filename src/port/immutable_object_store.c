/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of port immutable_object_store: locators, ranges and lists, then the backend's slot.
 */
#include "port/object_store.h"
#include "port/port.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

grv_status grv_object_store_init(grv_object_store *store, const grv_object_store_ops *ops,
                                 const char *scheme, grv_error *error)
{
    store->ops = ops;
    store->scheme = scheme;
    return grv_port_check_table("immutable_object_store", ops, sizeof *ops, error);
}

grv_status grv_object_locator_check(const grv_object_store *store, const grv_locator *locator,
                                    grv_error *error)
{
    grv_status status = grv_port_check_locator("objects", locator, GRV_LOCATOR_TEXT_SIZE, error);
    if (status) {
        return status;
    }
    if (strcmp(locator->scheme, store->scheme) != 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "objects",
                             "%s://%s/%.200s: this store has %s:// alone", locator->scheme,
                             locator->bucket, locator->path, store->scheme);
    }
    return GRV_OK;
}

grv_status grv_object_store_head(const grv_call *call, grv_object_store *store,
                                 const grv_locator *locator, grv_object_info *ret_info,
                                 grv_error *error)
{
    grv_status status = grv_object_locator_check(store, locator, error);
    if (status) {
        return status;
    }
    status = store->ops->head(call, store, locator, ret_info, error);
    assert(status || ret_info->tag[0] != '\0');
    return status;
}

static bool has_nul(grv_bytes bytes)
{
    return bytes.size > 0 && memchr(bytes.data, '\0', bytes.size);
}

grv_status grv_object_store_open_list(const grv_call *call, grv_object_store *store,
                                      const grv_object_list *list, grv_object_cursor **ret_cursor,
                                      grv_error *error)
{
    if (list->prefix.size > GRV_LOCATOR_PATH_MAX || list->after.size > GRV_LOCATOR_PATH_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "objects",
                             "a list's prefix or start is longer than %u bytes",
                             GRV_LOCATOR_PATH_MAX);
    }
    if (has_nul(list->prefix) || has_nul(list->after)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "objects",
                             "a list's prefix or start has a NUL, which no path has");
    }
    return store->ops->open_list(call, store, list, ret_cursor, error);
}

grv_status grv_object_store_open_get(const grv_call *call, grv_object_store *store,
                                     const grv_locator *locator, grv_range range,
                                     grv_object_info *ret_info, grv_source **ret_source,
                                     grv_error *error)
{
    grv_status status = grv_object_locator_check(store, locator, error);
    if (status) {
        return status;
    }
    if (range.first > range.end) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "objects",
                             "range from %" PRIu64 " to %" PRIu64 " ends before it begins",
                             range.first, range.end);
    }
    grv_object_info info = {0};
    status = store->ops->open_get(call, store, locator, range, &info, ret_source, error);
    if (status) {
        return status;
    }
    assert(info.tag[0] != '\0' && range.first <= info.size_bytes);
    if (ret_info) {
        *ret_info = info;
    }
    return GRV_OK;
}

void grv_object_store_free(grv_object_store *store)
{
    if (store) {
        store->ops->free(store);
    }
}

grv_status grv_object_cursor_next(const grv_call *call, grv_object_cursor *cursor,
                                  grv_object_entry entries[], size_t capacity, size_t *ret_count,
                                  grv_error *error)
{
    assert(capacity > 0);
    size_t count = 0;
    grv_status status = cursor->ops->next(call, cursor, entries, capacity, &count, error);
    if (status) {
        return status;
    }
    assert(count <= capacity);
    *ret_count = count;
    return GRV_OK;
}

void grv_object_cursor_free(grv_object_cursor *cursor)
{
    if (cursor) {
        cursor->ops->free(cursor);
    }
}
