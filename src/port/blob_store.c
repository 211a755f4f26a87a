/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of port blob_store: keys, ranges and capabilities, then the backend's slot. */
#include "port/port.h"

#include <assert.h>
#include <graviton/port/blob_store.h>
#include <inttypes.h>

grv_status grv_blob_store_init(grv_blob_store *store, const grv_blob_store_ops *ops,
                               uint64_t capabilities, grv_error *error)
{
    store->ops = ops;
    store->capabilities = capabilities;
    return grv_port_check_table("blob_store", ops, sizeof *ops, error);
}

static grv_status check_key(const grv_blob_key *key, grv_error *error)
{
    if (!grv_blob_key_is_valid(key)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blobs", "not a valid blob key");
    }
    return GRV_OK;
}

grv_status grv_blob_store_open_put(const grv_call *call, grv_blob_store *store,
                                   const grv_put_plan *plan, grv_blob_sink **ret_sink,
                                   grv_error *error)
{
    if (plan->expected) {
        grv_status status = check_key(plan->expected, error);
        if (status) {
            return status;
        }
    }
    grv_blob_sink *sink = NULL;
    grv_status status = store->ops->open_put(call, store, plan, &sink, error);
    if (status) {
        return status;
    }
    assert(sink->base.ops && sink->base.failed == GRV_OK && !sink->base.committed);
    *ret_sink = sink;
    return GRV_OK;
}

grv_status grv_blob_store_open_get(const grv_call *call, grv_blob_store *store,
                                   const grv_blob_key *key, grv_range range,
                                   grv_source **ret_source, grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    if (range.first > range.end || range.first > key->size) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blobs",
                             "a range from %" PRIu64 " of a blob of %" PRIu64 " bytes", range.first,
                             key->size);
    }
    if (range.end > key->size) {
        range.end = key->size;
    }
    return store->ops->open_get(call, store, key, range, ret_source, error);
}

grv_status grv_blob_store_stat(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                               grv_blob_info *ret_info, grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    return store->ops->stat(call, store, key, ret_info, error);
}

grv_status grv_blob_store_attributes_get(const grv_call *call, grv_blob_store *store,
                                         const grv_blob_key *key, grv_attributes *attributes,
                                         grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    return store->ops->attributes_get(call, store, key, attributes, error);
}

grv_status grv_blob_store_attributes_set(const grv_call *call, grv_blob_store *store,
                                         const grv_blob_key *key, const grv_attributes *attributes,
                                         grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    return store->ops->attributes_set(call, store, key, attributes, error);
}

grv_status grv_blob_store_remove(const grv_call *call, grv_blob_store *store,
                                 const grv_blob_key *key, grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    return store->ops->remove(call, store, key, error);
}

grv_status grv_blob_store_open_list(const grv_call *call, grv_blob_store *store,
                                    const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                                    grv_error *error)
{
    if (list->order == GRV_ORDER_NEWEST && !(store->capabilities & GRV_BLOB_CAP_NEWEST)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "blobs",
                             "blob store \"%s\" cannot list by newest", store->ops->name);
    }
    if (list->order != GRV_ORDER_KEY && list->order != GRV_ORDER_NEWEST) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blobs", "no list order %d",
                             (int)list->order);
    }
    return store->ops->open_list(call, store, list, ret_cursor, error);
}

grv_status grv_blob_store_open_refs(const grv_call *call, grv_blob_store *store,
                                    const grv_blob_key *key, uint64_t offset,
                                    grv_ref_cursor **ret_cursor, grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    if (!(store->capabilities & GRV_BLOB_CAP_REFS)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "blobs",
                             "blob store \"%s\" keeps no blocks to show", store->ops->name);
    }
    if (offset > key->size) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "blobs",
                             "offset %" PRIu64 " is past the end of a blob of %" PRIu64 " bytes",
                             offset, key->size);
    }
    return store->ops->open_refs(call, store, key, offset, ret_cursor, error);
}

void grv_blob_store_free(grv_blob_store *store)
{
    if (store) {
        store->ops->free(store);
    }
}
