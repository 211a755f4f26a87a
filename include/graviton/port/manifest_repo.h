/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port manifest_repo: the metadata half of a store. For each blob its manifest (immutable) and its
 * attributes (mutable), and the store's descriptor. This header is the contract;
 * tests/conformance/manifest_repo.c checks it over every implementation.
 *
 * All slots are thread-safe; a put and a cursor belong to one thread at a time.
 */
#ifndef GRAVITON_PORT_MANIFEST_REPO_H
#define GRAVITON_PORT_MANIFEST_REPO_H

#include <graviton/blob.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Most block keys in one append. */
#define GRV_MANIFEST_APPEND_MAX 65536u
/* Most blocks in one manifest. */
#define GRV_MANIFEST_BLOCKS_MAX (UINT64_C(1) << 33)
/* Largest descriptor, in bytes. */
#define GRV_DESCRIPTOR_MAX 65536u
/* Most bytes of a state's name and of a state. */
#define GRV_STATE_NAME_MAX 64u
#define GRV_STATE_MAX      4096u

/* Capabilities: refused by the dispatcher as GRV_UNSUPPORTED where absent. */
#define GRV_MANIFEST_CAP_NEWEST (UINT64_C(1) << 0) /* lists in GRV_ORDER_NEWEST */

typedef struct grv_manifest_repo grv_manifest_repo;
typedef struct grv_manifest_put grv_manifest_put;

/* What is known when a manifest is begun. */
typedef struct grv_manifest_plan {
    grv_hash block_hash; /* algorithm of every block key that will be appended */
    grv_chunker_spec chunker;
} grv_manifest_plan;

/* What a commit did. */
typedef struct grv_manifest_commit {
    bool already_stored; /* the blob was there; its first manifest stays */
    grv_blob_info info;  /* of the manifest that is there now */
} grv_manifest_commit;

/* What no blob's root names, as a sweep finds or removes it. */
typedef struct grv_manifest_sweep {
    uint64_t pages;     /* of manifests whose put never ended, or whose blob is gone */
    uint64_t sequences; /* entries of the order of commits that lead to no blob */
} grv_manifest_sweep;

/* Operations of a repository. No slot is NULL. */
typedef struct grv_manifest_repo_ops {
    const char *name;
    /* Begins a manifest. Its pages are written as they fill, under a fresh manifest id; nothing is
     * visible before the commit, and what an abandoned put wrote is garbage. */
    grv_status (*open_put)(const grv_call *call, grv_manifest_repo *repo,
                           const grv_manifest_plan *plan, grv_manifest_put **ret_put,
                           grv_error *error);
    /* The blob's info. GRV_NOT_FOUND where there is none. Reads one record, whatever the size. */
    grv_status (*stat)(const grv_call *call, grv_manifest_repo *repo, const grv_blob_key *key,
                       grv_blob_info *ret_info, grv_error *error);
    /* References from the block that holds byte `offset` (at most the blob's size; at the size:
     * none) to the end, reading only the pages it needs. GRV_NOT_FOUND for an unknown blob. */
    grv_status (*open_refs)(const grv_call *call, grv_manifest_repo *repo, const grv_blob_key *key,
                            uint64_t offset, grv_ref_cursor **ret_cursor, grv_error *error);
    /* Removes a blob's manifest and attributes, durably and at once; its pages may follow later.
     * GRV_NOT_FOUND where there is none. Blocks are not touched. */
    grv_status (*remove)(const grv_call *call, grv_manifest_repo *repo, const grv_blob_key *key,
                         grv_error *error);
    /* Opens a list of blobs; see grv_blob_list. */
    grv_status (*open_list)(const grv_call *call, grv_manifest_repo *repo,
                            const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                            grv_error *error);
    /* Replaces `attributes` (initialised) by the blob's; empty where none were set. GRV_NOT_FOUND
     * for an unknown blob, unless the call says that the caller has opened it: then empty will do.
     */
    grv_status (*attributes_get)(const grv_call *call, grv_manifest_repo *repo,
                                 const grv_blob_key *key, grv_attributes *attributes,
                                 grv_error *error);
    /* Replaces the blob's attributes, durably; the last writer wins. GRV_NOT_FOUND for an unknown
     * blob. */
    grv_status (*attributes_set)(const grv_call *call, grv_manifest_repo *repo,
                                 const grv_blob_key *key, const grv_attributes *attributes,
                                 grv_error *error);
    /* Appends the store's descriptor to `out`. GRV_NOT_FOUND where there is none. */
    grv_status (*descriptor_get)(const grv_call *call, grv_manifest_repo *repo, grv_buffer *out,
                                 grv_error *error);
    /* Writes the descriptor, durably and atomically. Where `expected` is NULL there must be none,
     * and no blob either; else it must equal `expected`. GRV_CONFLICT otherwise. */
    grv_status (*descriptor_set)(const grv_call *call, grv_manifest_repo *repo,
                                 const grv_bytes *expected, grv_bytes descriptor, grv_error *error);
    /*
     * Appends the record `name` (1 to GRV_STATE_NAME_MAX of a-z, 0-9 and "-") to `out`. Such
     * records are a job's notes about this store, as where it goes on next time; what is in them is
     * the job's affair. GRV_NOT_FOUND where there is none.
     */
    grv_status (*state_get)(const grv_call *call, grv_manifest_repo *repo, const char *name,
                            grv_buffer *out, grv_error *error);
    /* Writes the record `name`, or removes it where `state` is empty, durably and atomically. Where
     * `expected` is NULL there must be none; else it must equal `expected`. GRV_CONFLICT otherwise.
     */
    grv_status (*state_set)(const grv_call *call, grv_manifest_repo *repo, const char *name,
                            const grv_bytes *expected, grv_bytes state, grv_error *error);
    /*
     * Finds what no root names (see grv_manifest_sweep) and, unless `dry_run`, removes it: the
     * collector's alone. *ret_sweep is what is removed, or would be; a second sweep finds nothing.
     * Sequences are still given out once only. Reads all roots, in bounded memory: GRV_CORRUPT or
     * GRV_UNSUPPORTED for one that cannot be read, naming the blob, with nothing removed that it
     * might name. Durable on GRV_OK; on failure some may be gone. No put is open, in any process:
     * the caller has made sure.
     */
    grv_status (*sweep)(const grv_call *call, grv_manifest_repo *repo, bool dry_run,
                        grv_manifest_sweep *ret_sweep, grv_error *error);
    /* Closes. All puts and cursors have been freed. */
    void (*free)(grv_manifest_repo *repo);
} grv_manifest_repo_ops;

/* Base of every repository; embed it as the first member. */
struct grv_manifest_repo {
    const grv_manifest_repo_ops *ops;
    uint64_t capabilities;
};

/* Operations of a put. No slot is NULL. */
typedef struct grv_manifest_put_ops {
    const char *name;
    /* Adds the next blocks of the blob, in order. After a failure only free is of use: append and
     * commit give that status again. */
    grv_status (*append)(const grv_call *call, grv_manifest_put *put, const grv_block_key keys[],
                         size_t count, grv_error *error);
    /*
     * Makes the manifest visible under `key`, durably, together with `attributes` where they are
     * not NULL (they replace the ones there are). The sizes appended add up to key->size
     * (GRV_INVALID_ARGUMENT otherwise). Where the blob is there already its manifest stays and
     * already_stored is true. Once only.
     */
    grv_status (*commit)(const grv_call *call, grv_manifest_put *put, const grv_blob_key *key,
                         const grv_attributes *attributes, grv_manifest_commit *ret_commit,
                         grv_error *error);
    void (*free)(grv_manifest_put *put);
} grv_manifest_put_ops;

/* Base of every put; embed it as the first member. */
struct grv_manifest_put {
    const grv_manifest_put_ops *ops;
    grv_manifest_plan plan;
    uint64_t size; /* bytes and blocks appended so far; kept by the dispatchers */
    uint64_t block_count;
    bool committed;
};

/* Constructors call this: sets the base up after checking that no slot is missing. GRV_INTERNAL
 * otherwise. */
grv_status grv_manifest_repo_init(grv_manifest_repo *repo, const grv_manifest_repo_ops *ops,
                                  uint64_t capabilities, grv_error *error);

/* Dispatchers: check arguments, keys and capabilities, then the slot of the same name. */
grv_status grv_manifest_repo_open_put(const grv_call *call, grv_manifest_repo *repo,
                                      const grv_manifest_plan *plan, grv_manifest_put **ret_put,
                                      grv_error *error);
grv_status grv_manifest_repo_stat(const grv_call *call, grv_manifest_repo *repo,
                                  const grv_blob_key *key, grv_blob_info *ret_info,
                                  grv_error *error);
/* An offset past the blob's size is GRV_INVALID_ARGUMENT. */
grv_status grv_manifest_repo_open_refs(const grv_call *call, grv_manifest_repo *repo,
                                       const grv_blob_key *key, uint64_t offset,
                                       grv_ref_cursor **ret_cursor, grv_error *error);
grv_status grv_manifest_repo_remove(const grv_call *call, grv_manifest_repo *repo,
                                    const grv_blob_key *key, grv_error *error);
grv_status grv_manifest_repo_open_list(const grv_call *call, grv_manifest_repo *repo,
                                       const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                                       grv_error *error);
grv_status grv_manifest_repo_attributes_get(const grv_call *call, grv_manifest_repo *repo,
                                            const grv_blob_key *key, grv_attributes *attributes,
                                            grv_error *error);
grv_status grv_manifest_repo_attributes_set(const grv_call *call, grv_manifest_repo *repo,
                                            const grv_blob_key *key,
                                            const grv_attributes *attributes, grv_error *error);
grv_status grv_manifest_repo_descriptor_get(const grv_call *call, grv_manifest_repo *repo,
                                            grv_buffer *out, grv_error *error);
grv_status grv_manifest_repo_descriptor_set(const grv_call *call, grv_manifest_repo *repo,
                                            const grv_bytes *expected, grv_bytes descriptor,
                                            grv_error *error);
grv_status grv_manifest_repo_state_get(const grv_call *call, grv_manifest_repo *repo,
                                       const char *name, grv_buffer *out, grv_error *error);
grv_status grv_manifest_repo_state_set(const grv_call *call, grv_manifest_repo *repo,
                                       const char *name, const grv_bytes *expected, grv_bytes state,
                                       grv_error *error);
grv_status grv_manifest_repo_sweep(const grv_call *call, grv_manifest_repo *repo, bool dry_run,
                                   grv_manifest_sweep *ret_sweep, grv_error *error);
void grv_manifest_repo_free(grv_manifest_repo *repo); /* NULL is allowed */

/* Keys of another algorithm than the plan's, or of no valid size, are GRV_INVALID_ARGUMENT; more
 * blocks than GRV_MANIFEST_BLOCKS_MAX or bytes than GRV_BLOB_SIZE_MAX GRV_LIMIT_EXCEEDED. */
grv_status grv_manifest_put_append(const grv_call *call, grv_manifest_put *put,
                                   const grv_block_key keys[], size_t count, grv_error *error);
grv_status grv_manifest_put_commit(const grv_call *call, grv_manifest_put *put,
                                   const grv_blob_key *key, const grv_attributes *attributes,
                                   grv_manifest_commit *ret_commit, grv_error *error);
void grv_manifest_put_free(grv_manifest_put *put); /* NULL is allowed */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
