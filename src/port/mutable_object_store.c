/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of port mutable_object_store: locators and capabilities, then the backend's slot. */
#include "port/object_store.h"
#include "port/port.h"

#include <assert.h>
#include <graviton/port/mutable_object_store.h>

grv_status grv_mutable_object_store_init(grv_mutable_object_store *store,
                                         const grv_object_store_ops *base_ops,
                                         const grv_mutable_object_store_ops *ops,
                                         const char *scheme, uint64_t capabilities,
                                         grv_error *error)
{
    store->ops = ops;
    store->capabilities = capabilities;
    grv_status status = grv_object_store_init(&store->base, base_ops, scheme, error);
    if (status) {
        return status;
    }
    return grv_port_check_table("mutable_object_store", ops, sizeof *ops, error);
}

static grv_status check_if_absent(const grv_mutable_object_store *store, bool if_absent,
                                  grv_error *error)
{
    if (if_absent && !(store->capabilities & GRV_OBJECT_CAP_IF_ABSENT)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "objects",
                             "object store \"%s\" cannot put only where nothing is",
                             store->ops->name);
    }
    return GRV_OK;
}

grv_status grv_mutable_object_store_open_put(const grv_call *call, grv_mutable_object_store *store,
                                             const grv_locator *locator, const grv_object_put *put,
                                             grv_object_sink **ret_sink, grv_error *error)
{
    grv_status status = grv_object_locator_check(&store->base, locator, error);
    if (!status) {
        status = check_if_absent(store, put->if_absent, error);
    }
    if (status) {
        return status;
    }
    grv_object_sink *sink = NULL;
    status = store->ops->open_put(call, store, locator, put, &sink, error);
    if (status) {
        return status;
    }
    assert(sink->base.ops && sink->base.failed == GRV_OK && !sink->base.committed);
    *ret_sink = sink;
    return GRV_OK;
}

grv_status grv_mutable_object_store_remove(const grv_call *call, grv_mutable_object_store *store,
                                           const grv_locator *locator, grv_error *error)
{
    grv_status status = grv_object_locator_check(&store->base, locator, error);
    if (status) {
        return status;
    }
    return store->ops->remove(call, store, locator, error);
}

grv_status grv_mutable_object_store_copy(const grv_call *call, grv_mutable_object_store *store,
                                         const grv_locator *from, const grv_locator *to,
                                         bool if_absent, grv_object_info *ret_info,
                                         grv_error *error)
{
    grv_status status = grv_object_locator_check(&store->base, from, error);
    if (!status) {
        status = grv_object_locator_check(&store->base, to, error);
    }
    if (!status) {
        status = check_if_absent(store, if_absent, error);
    }
    if (status) {
        return status;
    }
    if (grv_locator_compare(from, to) == 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "objects",
                             "%s://%s/%.200s copied onto itself", to->scheme, to->bucket, to->path);
    }
    grv_object_info info = {0};
    status = store->ops->copy(call, store, from, to, if_absent, &info, error);
    if (status) {
        return status;
    }
    assert(info.tag[0] != '\0');
    if (ret_info) {
        *ret_info = info;
    }
    return GRV_OK;
}

void grv_mutable_object_store_free(grv_mutable_object_store *store)
{
    if (store) {
        grv_object_store_free(&store->base);
    }
}
