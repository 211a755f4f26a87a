/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks do manifests name? Answers it for a whole store in bounded memory, in passes: each
 * pass reads all manifests and keeps the keys of one stretch of the key space, as wide as memory
 * allows. Statistics use it, and collection.
 */
#ifndef GRV_STORE_MARK_H
#define GRV_STORE_MARK_H

#include <graviton/port/manifest_repo.h>

/* Most keys one pass keeps, unless a test says otherwise (about 45 MiB,
 * and half as much again while the set grows). */
#define GRV_MARK_KEYS_MAX ((size_t)1 << 19)

typedef struct grv_mark grv_mark;

/* What the first pass counts on its way. */
typedef struct grv_mark_totals {
    uint64_t blobs;
    uint64_t logical_bytes;
    uint64_t references;
} grv_mark_totals;

/* A mark over `repo` (borrowed), before its first pass. `keys_max` 0: GRV_MARK_KEYS_MAX;
 * less than 2: that. */
grv_status grv_mark_new(grv_manifest_repo *repo, size_t keys_max, grv_mark **ret_mark,
                        grv_error *error);

/* Reads the next stretch of the key space; *ret_end when there is none left. A blob that is removed
 * meanwhile is left out; any other failure to read a manifest fails the pass. */
grv_status grv_mark_pass(const grv_call *call, grv_mark *mark, bool *ret_end, grv_error *error);

/* Whether this pass's stretch ends before `key`. Keys are asked in ascending order. */
bool grv_mark_is_past(const grv_mark *mark, const grv_block_key *key);

/* Whether a manifest names `key`, which lies in this pass's stretch; notes that it was asked. */
bool grv_mark_test(grv_mark *mark, const grv_block_key *key);

/* Keys of this pass that were named but never asked for. */
uint64_t grv_mark_unasked(const grv_mark *mark);

/* Calls `visit` for each of those keys, in no order, until it fails. */
grv_status grv_mark_each_unasked(const grv_mark *mark,
                                 grv_status (*visit)(void *context, const grv_block_key *key,
                                                     grv_error *error),
                                 void *context, grv_error *error);

/* Totals of the first pass. */
grv_mark_totals grv_mark_get_totals(const grv_mark *mark);

/* Frees. NULL is allowed. */
void grv_mark_free(grv_mark *mark);

#endif
