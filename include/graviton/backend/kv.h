/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adaptors: ports over any key_value_store. They share one store, each in namespaces of its own.
 * The store is borrowed: it must outlive the adaptor.
 */
#ifndef GRAVITON_BACKEND_KV_H
#define GRAVITON_BACKEND_KV_H

#include <graviton/port/block_store.h>
#include <graviton/port/key_value_store.h>
#include <graviton/port/manifest_repo.h>
#include <graviton/port/range_tracker.h>
#include <graviton/port/replica_index.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Namespaces of a graviton store. Numbers and names are stored; never reuse one. */
typedef enum grv_kv_namespace {
    GRV_NS_META = 0,       /* "meta": descriptor, superblock */
    GRV_NS_ROOT = 1,       /* "root": blob key -> manifest root */
    GRV_NS_PAGE = 2,       /* "page": manifest id, level, page number -> manifest page */
    GRV_NS_SEQUENCE = 3,   /* "sequence": commit sequence -> blob key */
    GRV_NS_ATTRIBUTES = 4, /* "attributes": blob key -> attributes */
    GRV_NS_BLOCK = 5,      /* "block": block key -> frame */
    GRV_NS_BLOCK_INFO = 6, /* "block_info": block key -> stored size, beside every frame */
    GRV_NS_REPLICA = 7,    /* "replica": replica key -> its locators */
    GRV_NS_LOCATED = 8,    /* "located": locator, replica key -> nothing */
    GRV_NS_RANGE = 9,      /* "range": locator -> generation and ranges */
    GRV_NS_COUNT = 10
} grv_kv_namespace;

/* The namespaces' names by number, for backends that name them (column families). */
extern const char *const grv_kv_namespace_names[GRV_NS_COUNT];

/* A block store over `kv`: each block a frame, plain or zstd. Verified. Has GRV_BLOCK_CAP_ORDERED.
 */
grv_status grv_block_store_kv_new(grv_kv *kv, grv_block_store **ret_store, grv_error *error);

/* A manifest repository over `kv`. Has GRV_MANIFEST_CAP_NEWEST. */
grv_status grv_manifest_repo_kv_new(grv_kv *kv, grv_manifest_repo **ret_repo, grv_error *error);

/* A replica index over `kv`. */
grv_status grv_replica_index_kv_new(grv_kv *kv, grv_replica_index **ret_index, grv_error *error);

/* A range tracker over `kv`. */
grv_status grv_range_tracker_kv_new(grv_kv *kv, grv_range_tracker **ret_tracker, grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
