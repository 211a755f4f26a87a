/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends in memory: for tests, for caches, and for learning the ports. Nothing survives free.
 * A manifest_repo, replica_index or range_tracker in memory is the adaptor of backend/kv.h over
 * grv_kv_memory_new.
 */
#ifndef GRAVITON_BACKEND_MEMORY_H
#define GRAVITON_BACKEND_MEMORY_H

#include <graviton/port/blob_store.h>
#include <graviton/port/block_store.h>
#include <graviton/port/key_value_store.h>
#include <graviton/port/mutable_object_store.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* A key-value store with `namespace_count` namespaces. Free with grv_kv_free. */
grv_status grv_kv_memory_new(unsigned namespace_count, grv_kv **ret_kv, grv_error *error);

/* A block store, verified. Free with grv_block_store_free. */
grv_status grv_block_store_memory_new(grv_block_store **ret_store, grv_error *error);

/* A blob store that keeps whole blobs, named by `hash`; it has no blocks (no
 * GRV_BLOB_CAP_REFS). `size_max` bounds the sizes of its blobs together, and a put under way
 * alone: past it a put is GRV_OUT_OF_SPACE. Free with grv_blob_store_free. */
grv_status grv_blob_store_memory_new(grv_hash hash, uint64_t size_max, grv_blob_store **ret_store,
                                     grv_error *error);

/*
 * An object store `memory://BUCKET/` for each of the names. `size_max` bounds the bytes of its
 * objects, of puts under way, and of what is still being read: past it a put is GRV_OUT_OF_SPACE.
 * Free with grv_mutable_object_store_free.
 */
grv_status grv_object_store_memory_new(const char *const buckets[], size_t bucket_count,
                                       uint64_t size_max, grv_mutable_object_store **ret_store,
                                       grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
