/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port blob_store: what users hold. Puts a stream and gives back its key; gives the bytes of a key
 * back, checked. This header is the contract; tests/conformance/blob_store.c checks it over every
 * implementation.
 *
 * All slots are thread-safe; a sink, source or cursor belongs to one thread at a time.
 */
#ifndef GRAVITON_PORT_BLOB_STORE_H
#define GRAVITON_PORT_BLOB_STORE_H

#include <graviton/blob.h>
#include <graviton/range.h>
#include <graviton/stream.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Capabilities: refused by the dispatcher as GRV_UNSUPPORTED where absent. */
#define GRV_BLOB_CAP_NEWEST (UINT64_C(1) << 0) /* lists in GRV_ORDER_NEWEST */
#define GRV_BLOB_CAP_REFS   (UINT64_C(1) << 1) /* shows a blob's blocks */
/* Refuses nothing. A put costs a transfer: who can tell the key beforehand (plan.expected) saves it
 * where the blob is there. */
#define GRV_BLOB_CAP_DISTANT (UINT64_C(1) << 2)
/* Refuses nothing. Heeds `no_wait` of a call: stat, open_get and its source, and attributes_get
 * where the call says has_opened. */
#define GRV_BLOB_CAP_NO_WAIT (UINT64_C(1) << 3)

typedef struct grv_blob_store grv_blob_store;

/* What the caller says of a put beforehand. Zero-initialise, then set; borrowed for open_put. */
typedef struct grv_put_plan {
    const grv_attributes *attributes; /* NULL: leave the blob's attributes as they are */
    const grv_blob_key *expected;     /* not NULL: the commit fails with GRV_CONFLICT, and stores
                                         no blob, unless the bytes have this key */
    bool is_absent; /* the caller has just asked, and the blob is not there. Only a hint */
    bool has_size_hint;
    uint64_t size_hint; /* bytes that are likely to come; only a hint */
    /* Not 0: new blocks become durable every so many bytes or so, so that a put that is cut short
     * and made again finds them; what it leaves is garbage until then. 0: seldom before the commit.
     * Only a hint. */
    uint64_t checkpoint_bytes;
    /*
     * Not NULL: told on the way that the store was asked for blocks of `bytes` more of the blob,
     * and that `duplicate_bytes` more are ones it had, or that repeat; either may be 0. On any
     * thread, never on two at once, and not after the sink is freed. Of a commit that is GRV_OK the
     * sums are the blob's size and the result's duplicate_bytes.
     */
    void (*progress)(void *context, uint64_t bytes, uint64_t duplicate_bytes);
    void *progress_context;
} grv_put_plan;

/* What a put did. fresh: stored by it; duplicate: found there, or repeated in the blob. */
typedef struct grv_put_result {
    grv_blob_key key;
    bool already_stored; /* the whole blob was there */
    uint64_t blocks;
    uint64_t fresh_blocks;
    uint64_t fresh_bytes;     /* raw size of the fresh blocks */
    uint64_t duplicate_bytes; /* raw size of the others */
    uint64_t stored_bytes;    /* what the fresh blocks take in the store */
} grv_put_result;

/* The sink of a put: use it through grv_sink_*; `result` is filled by a commit that is GRV_OK.
 * After one that is GRV_CONFLICT because of plan.expected, result.key is what the bytes have where
 * the store knows it; its hash is GRV_HASH_NONE after any other failure. */
typedef struct grv_blob_sink {
    grv_sink base;
    grv_put_result result;
} grv_blob_sink;

/* Operations of a store. No slot is NULL. */
typedef struct grv_blob_store_ops {
    const char *name;
    /*
     * Opens a sink. Committing it is idempotent: the same bytes give the same key, and nothing is
     * stored twice. On GRV_OK of the commit the blob is durable and visible; at any other outcome
     * or crash it is absent, or whole. Waits for a share of the store's memory budget:
     * GRV_LIMIT_EXCEEDED where none comes free.
     */
    grv_status (*open_put)(const grv_call *call, grv_blob_store *store, const grv_put_plan *plan,
                           grv_blob_sink **ret_sink, grv_error *error);
    /*
     * Opens a source over `range` of the blob, clamped to its size. GRV_NOT_FOUND for an unknown
     * blob; GRV_INVALID_ARGUMENT for a range that begins past the end. Every block is verified
     * before its bytes are given out; a read of the whole blob also checks its own digest, and
     * gives its last bytes only when that agrees, unless this process has seen before that the very
     * same blocks in the same order have that digest (never in the background: a call with
     * GRV_BACKGROUND hashes everything). A block that is missing or wrong ends the stream
     * with GRV_CORRUPT, naming blob and block; never with a clean end.
     */
    grv_status (*open_get)(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                           grv_range range, grv_source **ret_source, grv_error *error);
    /* The blob's info, or GRV_NOT_FOUND. */
    grv_status (*stat)(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                       grv_blob_info *ret_info, grv_error *error);
    /* Replaces `attributes` (initialised) by the blob's. GRV_NOT_FOUND for an unknown blob; or none
     * for one that went since the caller opened it, where the call says that it has. */
    grv_status (*attributes_get)(const grv_call *call, grv_blob_store *store,
                                 const grv_blob_key *key, grv_attributes *attributes,
                                 grv_error *error);
    /* Replaces the blob's attributes, durably; the last writer wins. GRV_NOT_FOUND for an unknown
     * blob. */
    grv_status (*attributes_set)(const grv_call *call, grv_blob_store *store,
                                 const grv_blob_key *key, const grv_attributes *attributes,
                                 grv_error *error);
    /* Removes the blob, durably; GRV_NOT_FOUND where there is none. Its blocks' space comes back
     * with a collection. Open sources of it may end with GRV_NOT_FOUND. */
    grv_status (*remove)(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                         grv_error *error);
    /* Opens a list of blobs; see grv_blob_list. */
    grv_status (*open_list)(const grv_call *call, grv_blob_store *store, const grv_blob_list *list,
                            grv_blob_cursor **ret_cursor, grv_error *error);
    /* The blob's blocks from the one that holds byte `offset` (capability GRV_BLOB_CAP_REFS). */
    grv_status (*open_refs)(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                            uint64_t offset, grv_ref_cursor **ret_cursor, grv_error *error);
    /* Closes. All sinks, sources and cursors have been freed. */
    void (*free)(grv_blob_store *store);
} grv_blob_store_ops;

/* Base of every blob store; embed it as the first member. */
struct grv_blob_store {
    const grv_blob_store_ops *ops;
    uint64_t capabilities;
};

/* Constructors call this: sets the base up after checking that no slot is missing. GRV_INTERNAL
 * otherwise. */
grv_status grv_blob_store_init(grv_blob_store *store, const grv_blob_store_ops *ops,
                               uint64_t capabilities, grv_error *error);

/* Dispatchers: check arguments, keys and capabilities, then the slot of the same name. */
grv_status grv_blob_store_open_put(const grv_call *call, grv_blob_store *store,
                                   const grv_put_plan *plan, grv_blob_sink **ret_sink,
                                   grv_error *error);
grv_status grv_blob_store_open_get(const grv_call *call, grv_blob_store *store,
                                   const grv_blob_key *key, grv_range range,
                                   grv_source **ret_source, grv_error *error);
grv_status grv_blob_store_stat(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                               grv_blob_info *ret_info, grv_error *error);
grv_status grv_blob_store_attributes_get(const grv_call *call, grv_blob_store *store,
                                         const grv_blob_key *key, grv_attributes *attributes,
                                         grv_error *error);
grv_status grv_blob_store_attributes_set(const grv_call *call, grv_blob_store *store,
                                         const grv_blob_key *key, const grv_attributes *attributes,
                                         grv_error *error);
grv_status grv_blob_store_remove(const grv_call *call, grv_blob_store *store,
                                 const grv_blob_key *key, grv_error *error);
grv_status grv_blob_store_open_list(const grv_call *call, grv_blob_store *store,
                                    const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                                    grv_error *error);
grv_status grv_blob_store_open_refs(const grv_call *call, grv_blob_store *store,
                                    const grv_blob_key *key, uint64_t offset,
                                    grv_ref_cursor **ret_cursor, grv_error *error);
void grv_blob_store_free(grv_blob_store *store); /* NULL is allowed */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
