/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the manifest repository over a key-value store share. manifest_repo.c has the
 * records of whole blobs, manifest_put.c writes manifests, manifest_refs.c reads them,
 * manifest_list.c lists blobs, manifest_sweep.c removes what no root names, manifest_state.c has
 * the small named records.
 *
 * Where things are: GRV_NS_ROOT: blob key -> root. GRV_NS_PAGE: manifest id, level, number
 * (big-endian) -> page. GRV_NS_SEQUENCE: sequence (big-endian) -> blob key. GRV_NS_ATTRIBUTES: blob
 * key -> attributes. GRV_NS_META: "descriptor"; "sequence" -> the highest sequence of any removed
 * blob, so that none is given out twice; "state/NAME" -> a named record. A blob is there exactly
 * when its root is; what pages or sequences have no root that names them is garbage.
 */
#ifndef GRV_BACKEND_KV_MANIFEST_REPO_H
#define GRV_BACKEND_KV_MANIFEST_REPO_H

#include "core/manifest.h"

#include <graviton/backend/kv.h>

#define GRV_PAGE_KEY_SIZE     (GRV_MANIFEST_ID_SIZE + 5u) /* id, level (1), number (4) */
#define GRV_SEQUENCE_KEY_SIZE 8u

/* How often a write that lost a race is tried again before it is GRV_UNAVAILABLE. */
#define GRV_MANIFEST_ATTEMPTS 1000u

/* The repository. */
typedef struct grv_manifest_repo_kv {
    grv_manifest_repo base;
    grv_kv *kv;
    grv_manifest_limits limits;
    uint64_t next_sequence; /* atomic; a hint: the commit's guard decides */
} grv_manifest_repo_kv;

/* As grv_manifest_repo_kv_new, with other limits for what is written. For tests. */
grv_status grv_manifest_repo_kv_new_limited(grv_kv *kv, const grv_manifest_limits *limits,
                                            grv_manifest_repo **ret_repo, grv_error *error);

/* The repository of a base; it must be one of these. */
grv_manifest_repo_kv *grv_manifest_repo_kv_of(grv_manifest_repo *base);

/* Reads and decodes a blob's root. GRV_NOT_FOUND names the blob, and so does any other failure.
 * *ret_root borrows *ret_value, which the caller ends. */
grv_status grv_manifest_repo_kv_root(const grv_call *call, grv_manifest_repo_kv *repo,
                                     const grv_blob_key *key, grv_value *ret_value,
                                     grv_manifest_root *ret_root, grv_error *error);

/* Reads anew which sequence is the next; it never goes back. */
grv_status grv_manifest_repo_kv_load_sequence(const grv_call *call, grv_manifest_repo_kv *repo,
                                              grv_error *error);

/* The highest sequence of a removed blob, 0 for none; and the value itself, to guard its change,
 * which the caller ends (size 0 where there is none). */
grv_status grv_manifest_repo_kv_floor(const grv_call *call, grv_manifest_repo_kv *repo,
                                      grv_value *ret_value, uint64_t *ret_floor, grv_error *error);

/* The operation and the guard that raise the floor from `floor`, whose value is `value`, to the
 * sequence in `number` (borrowed, GRV_SEQUENCE_KEY_SIZE bytes). */
void grv_manifest_repo_kv_raise(uint64_t floor, grv_bytes value, grv_bytes number,
                                grv_kv_op *ret_op, grv_kv_guard *ret_guard);

/* Removes all pages of a manifest. For garbage only: nobody waits for it, and what stays after a
 * failure is garbage still. `frees` as in grv_kv_batch. */
void grv_manifest_repo_kv_drop_pages(const grv_call *call, grv_manifest_repo_kv *repo,
                                     const uint8_t id[GRV_MANIFEST_ID_SIZE], bool frees);

/* The key of a page. `number` is at most UINT32_MAX. */
void grv_page_key_encode(const uint8_t id[GRV_MANIFEST_ID_SIZE], unsigned level, uint64_t number,
                         uint8_t ret_bytes[GRV_PAGE_KEY_SIZE]);

/* Slots of the repository that have files of their own. */
grv_status grv_manifest_repo_kv_open_put(const grv_call *call, grv_manifest_repo *base,
                                         const grv_manifest_plan *plan, grv_manifest_put **ret_put,
                                         grv_error *error);
grv_status grv_manifest_repo_kv_open_refs(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_key *key, uint64_t offset,
                                          grv_ref_cursor **ret_cursor, grv_error *error);
grv_status grv_manifest_repo_kv_open_list(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_list *wanted, grv_blob_cursor **ret_cursor,
                                          grv_error *error);

grv_status grv_manifest_repo_kv_state_get(const grv_call *call, grv_manifest_repo *base,
                                          const char *name, grv_buffer *out, grv_error *error);
grv_status grv_manifest_repo_kv_state_set(const grv_call *call, grv_manifest_repo *base,
                                          const char *name, const grv_bytes *expected,
                                          grv_bytes state, grv_error *error);
grv_status grv_manifest_repo_kv_sweep(const grv_call *call, grv_manifest_repo *base, bool dry_run,
                                      grv_manifest_sweep *ret_sweep, grv_error *error);

/* The slot attributes_set: a commit uses it too. */
grv_status grv_manifest_repo_kv_attributes_set(const grv_call *call, grv_manifest_repo *base,
                                               const grv_blob_key *key,
                                               const grv_attributes *attributes, grv_error *error);

#endif
