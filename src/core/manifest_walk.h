/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking a manifest's blocks in order from any byte on, at most one page of each level at a time.
 * The place is a byte offset; the page that holds it is found by search, so that going on and
 * seeking are the same step. Where pages come from is the caller's.
 */
#ifndef GRV_CORE_MANIFEST_WALK_H
#define GRV_CORE_MANIFEST_WALK_H

#include "core/manifest.h"

#include <graviton/call.h>

/*
 * Reads and decodes the page that entry `index` of `parent` names; what follows it there may be
 * read ahead. The page stays in memory until the next one of its level is loaded. Errors name the
 * blob.
 */
typedef grv_status (*grv_manifest_load)(void *context, const grv_call *call,
                                        const grv_manifest_table *parent, uint32_t index,
                                        grv_manifest_table *ret_table, grv_error *error);

/* A walk, in the caller's storage. Holds no resources. */
typedef struct grv_manifest_walk {
    const grv_manifest_root *root;
    grv_manifest_load load;
    void *context;
    grv_manifest_table pages[2]; /* by level: leaf, index; no page where count is 0 */
    uint64_t at;                 /* the next block holds this byte */
    bool started;
    uint64_t next_block; /* number of the next block, once started */
} grv_manifest_walk;

/* Begins at the block that holds byte `offset`, at most the blob's size. `root` is borrowed. */
void grv_manifest_walk_init(grv_manifest_walk *walk, const grv_manifest_root *root, uint64_t offset,
                            grv_manifest_load load, void *context);

/* As the slot `next` of a cursor over references: up to `capacity` (> 0), *ret_count 0 only at the
 * blob's end. GRV_CORRUPT for pages that do not join up; else load's errors. */
grv_status grv_manifest_walk_next(const grv_call *call, grv_manifest_walk *walk,
                                  grv_block_ref out[], size_t capacity, size_t *ret_count,
                                  grv_error *error);

#endif
