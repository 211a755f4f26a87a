/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a blob beside its bytes, and the cursors that manifest_repo and blob_store
 * share: over blobs, and over one blob's blocks.
 */
#ifndef GRAVITON_BLOB_H
#define GRAVITON_BLOB_H

#include <graviton/attributes.h>
#include <graviton/call.h>
#include <graviton/chunker.h>
#include <graviton/key.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct grv_blob_cursor grv_blob_cursor;
typedef struct grv_ref_cursor grv_ref_cursor;

/* One block of a blob: its key and where it begins in the blob. */
typedef struct grv_block_ref {
    grv_block_key key;
    uint64_t offset;
} grv_block_ref;

/* A blob as stat and lists show it. */
typedef struct grv_blob_info {
    grv_blob_key key;
    uint64_t block_count;     /* references in the manifest, repeats counted */
    grv_hash block_hash;      /* algorithm of the block keys */
    grv_chunker_spec chunker; /* kind 0 where the store has no chunker */
    uint64_t created_ns;      /* first stored; nanoseconds since 1970, UTC */
    uint64_t sequence;        /* the store's commit number, from 1, growing, with gaps */
} grv_blob_info;

/* Order of a list of blobs. */
typedef enum grv_list_order {
    GRV_ORDER_KEY = 0,   /* by key */
    GRV_ORDER_NEWEST = 1 /* by sequence, highest first (a capability) */
} grv_list_order;

/*
 * Which blobs a list shows. It resumes after the last item seen: pass that item's key (order key)
 * or sequence (order newest). A blob stored or deleted meanwhile may or may not be shown; every
 * other one is shown exactly once.
 */
typedef struct grv_blob_list {
    grv_list_order order;
    const grv_blob_key *start; /* order key: first key >= this; NULL: the first */
    bool after_start;          /* order key: leave `start` itself out */
    uint64_t below_sequence;   /* order newest: only smaller sequences; 0: all */
} grv_blob_list;

/* Operations of a cursor over blobs. No slot is NULL. */
typedef struct grv_blob_cursor_ops {
    const char *name;
    /* Up to `capacity` (> 0) next blobs; *ret_count 0 at the end, and again after it. A blob whose
     * record is GRV_CORRUPT or GRV_UNSUPPORTED fails the call that comes to it, named in the
     * message; the next call goes on after it. Any other failure ends the list: a call after it
     * is GRV_INVALID_ARGUMENT. */
    grv_status (*next)(const grv_call *call, grv_blob_cursor *cursor, grv_blob_info infos[],
                       size_t capacity, size_t *ret_count, grv_error *error);
    void (*free)(grv_blob_cursor *cursor);
} grv_blob_cursor_ops;

/* Base of every cursor over blobs; embed it as the first member. */
struct grv_blob_cursor {
    const grv_blob_cursor_ops *ops;
};

/* Operations of a cursor over block references. No slot is NULL. */
typedef struct grv_ref_cursor_ops {
    const char *name;
    /* Up to `capacity` (> 0) next references in blob order; *ret_count 0 at the end, and only at
     * the blob's true end: a manifest that ends early or does not join up is GRV_CORRUPT; one
     * deleted meanwhile is GRV_NOT_FOUND. */
    grv_status (*next)(const grv_call *call, grv_ref_cursor *cursor, grv_block_ref refs[],
                       size_t capacity, size_t *ret_count, grv_error *error);
    void (*free)(grv_ref_cursor *cursor);
} grv_ref_cursor_ops;

/* Base of every cursor over references; embed it as the first member. */
struct grv_ref_cursor {
    const grv_ref_cursor_ops *ops;
};

/* Dispatchers. free takes NULL. A cursor is used by one thread at a time and freed before its
 * store. */
grv_status grv_blob_cursor_next(const grv_call *call, grv_blob_cursor *cursor,
                                grv_blob_info infos[], size_t capacity, size_t *ret_count,
                                grv_error *error);
void grv_blob_cursor_free(grv_blob_cursor *cursor);
grv_status grv_ref_cursor_next(const grv_call *call, grv_ref_cursor *cursor, grv_block_ref refs[],
                               size_t capacity, size_t *ret_count, grv_error *error);
void grv_ref_cursor_free(grv_ref_cursor *cursor);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
