/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port mutable_object_store: an immutable_object_store whose objects can be put, copied and
 * removed, each as a whole. This header is the contract; tests/conformance/object_store.c checks
 * it over every implementation.
 *
 * The immutable port is the first member: `&store->base` reads. All slots are thread-safe; a sink
 * belongs to one thread at a time.
 */
#ifndef GRAVITON_PORT_MUTABLE_OBJECT_STORE_H
#define GRAVITON_PORT_MUTABLE_OBJECT_STORE_H

#include <graviton/port/immutable_object_store.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Capability: puts and copies honour `if_absent`; else the dispatcher refuses it as
 * GRV_UNSUPPORTED. */
#define GRV_OBJECT_CAP_IF_ABSENT (UINT64_C(1) << 0)
/* Capability: each put and copy gives a tag that the locator never had before. Without it a put of
 * the bytes that are there already may keep the tag. */
#define GRV_OBJECT_CAP_TAG_PER_PUT (UINT64_C(1) << 1)
/* Capability: paths need not be UTF-8. Without it those are refused as GRV_UNSUPPORTED. */
#define GRV_OBJECT_CAP_ANY_PATH (UINT64_C(1) << 2)

typedef struct grv_mutable_object_store grv_mutable_object_store;

/* What the caller says of a put beforehand. Zero-initialise, then set. */
typedef struct grv_object_put {
    bool if_absent; /* only where no object is there yet; else the last commit wins */
    bool has_size_hint;
    uint64_t size_hint; /* bytes that are likely to come; only a hint */
} grv_object_put;

/* The sink of a put: use it through grv_sink_*; `info` is the object's after a commit that is
 * GRV_OK. */
typedef struct grv_object_sink {
    grv_sink base;
    grv_object_info info;
} grv_object_sink;

/* Operations of a store. No slot is NULL. */
typedef struct grv_mutable_object_store_ops {
    const char *name;
    /*
     * Opens a sink. Nothing of it can be seen before the commit, which replaces the object at once:
     * everyone finds the old bytes, or none, or all of the new ones. On GRV_OK of the commit they
     * are durable. With `if_absent` it is GRV_ALREADY_EXISTS where an object is there: from
     * open_put, or from the commit where it came to be meanwhile; of puts that race exactly one
     * succeeds. The object that made it fail is durable. It is GRV_UNSUPPORTED where the store can
     * do that only for objects smaller than this one. After any other failure of the commit the
     * object has its old bytes or the new ones. A sink that is freed without a commit, and a crash
     * before it, leave no object and no change.
     */
    grv_status (*open_put)(const grv_call *call, grv_mutable_object_store *store,
                           const grv_locator *locator, const grv_object_put *put,
                           grv_object_sink **ret_sink, grv_error *error);
    /* Removes the object, durably on GRV_OK. Idempotent: GRV_OK too where there is none. */
    grv_status (*remove)(const grv_call *call, grv_mutable_object_store *store,
                         const grv_locator *locator, grv_error *error);
    /*
     * Makes `to` an object with the bytes of `from`, as if they were got and put: atomic, durable
     * on GRV_OK, all bytes of one put. GRV_NOT_FOUND where `from` is no object; `if_absent` as in
     * open_put. The locators differ; their buckets may. *ret_info is that of `to`.
     */
    grv_status (*copy)(const grv_call *call, grv_mutable_object_store *store,
                       const grv_locator *from, const grv_locator *to, bool if_absent,
                       grv_object_info *ret_info, grv_error *error);
} grv_mutable_object_store_ops;

/* Base of every mutable object store; embed it as the first member. */
struct grv_mutable_object_store {
    grv_object_store base;
    const grv_mutable_object_store_ops *ops;
    uint64_t capabilities;
};

/* Constructors call this: sets both bases up after checking that no slot is missing. GRV_INTERNAL
 * otherwise. */
grv_status grv_mutable_object_store_init(grv_mutable_object_store *store,
                                         const grv_object_store_ops *base_ops,
                                         const grv_mutable_object_store_ops *ops,
                                         const char *scheme, uint64_t capabilities,
                                         grv_error *error);

/* Dispatchers: check locators and capabilities, then the slot of the same name. */
grv_status grv_mutable_object_store_open_put(const grv_call *call, grv_mutable_object_store *store,
                                             const grv_locator *locator, const grv_object_put *put,
                                             grv_object_sink **ret_sink, grv_error *error);
grv_status grv_mutable_object_store_remove(const grv_call *call, grv_mutable_object_store *store,
                                           const grv_locator *locator, grv_error *error);
/* Equal locators are GRV_INVALID_ARGUMENT. ret_info: NULL is allowed. */
grv_status grv_mutable_object_store_copy(const grv_call *call, grv_mutable_object_store *store,
                                         const grv_locator *from, const grv_locator *to,
                                         bool if_absent, grv_object_info *ret_info,
                                         grv_error *error);
void grv_mutable_object_store_free(grv_mutable_object_store *store); /* NULL is allowed */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
