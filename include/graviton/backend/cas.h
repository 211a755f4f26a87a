/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blob store proper: cuts streams into blocks, stores each distinct one once in a block_store
 * and how they join in a manifest_repo.
 */
#ifndef GRAVITON_BACKEND_CAS_H
#define GRAVITON_BACKEND_CAS_H

#include <graviton/port/blob_store.h>
#include <graviton/port/block_store.h>
#include <graviton/port/manifest_repo.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Bytes all streams of a store may hold together, unless told otherwise. */
#define GRV_CAS_BUDGET_DEFAULT ((size_t)256 << 20)
/* The smallest budget: one put and one get of the largest blocks. */
#define GRV_CAS_BUDGET_MIN ((size_t)128 << 20)

/* Configuration. The ports are borrowed: they must outlive the blob store. */
typedef struct grv_cas_config {
    grv_block_store *blocks;
    grv_manifest_repo *manifests;
    grv_hash hash; /* of blocks and blobs */
    grv_chunker_spec chunker;
    unsigned threads;            /* workers; 0: one a core */
    size_t budget_bytes;         /* 0: GRV_CAS_BUDGET_DEFAULT */
    uint64_t memory_cache_bytes; /* blocks that were read are kept in so much memory, verified, and
                                    given out from there; beside the budget. 0: none, or at least
                                    1 MiB */
    bool manifests_no_wait;      /* the manifest repository heeds `no_wait` of a call */
    bool read_only;              /* puts, removals and new attributes are GRV_UNSUPPORTED */
    bool ordered_blocks; /* blocks and manifests lie in one key-value store: a put's blocks need
                            only be ordered before its manifest */
    bool distant_blocks; /* a call of the block store takes long, and many blocks in one no longer
                            than few: streams hold more, so as to ask for more at once, and without
                            `threads` there are more of those that wait */
    size_t blocks_hold;  /* bytes that the block store itself may hold for puts: taken off the
                            budget, and off what a put holds */
} grv_cas_config;

/* Makes a blob store with its own worker pool. Free with grv_blob_store_free. */
grv_status grv_blob_store_cas_new(const grv_cas_config *config, grv_blob_store **ret_store,
                                  grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
