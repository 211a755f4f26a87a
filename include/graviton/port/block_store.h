/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port block_store: keeps each distinct block once, by its key. This header is the contract;
 * tests/conformance/block_store.c checks it over every implementation.
 *
 * All slots are thread-safe. A batch's put may be called from several threads at once; its commit
 * and free only when no put is under way. A block store hands out verified bytes only: every
 * constructor puts the verify layer on top. It trusts its writers: whoever puts a block has
 * computed its key (a wrong one is found at the first read, as corrupt).
 */
#ifndef GRAVITON_PORT_BLOCK_STORE_H
#define GRAVITON_PORT_BLOCK_STORE_H

#include <graviton/call.h>
#include <graviton/key.h>
#include <graviton/port/key_value_store.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Most keys or blocks in one call, and most blocks in one batch. */
#define GRV_BLOCK_CALL_MAX  65536u
#define GRV_BLOCK_BATCH_MAX 65536u
/* Largest superblock and recovery record, in bytes. */
#define GRV_SUPERBLOCK_MAX 4096u
#define GRV_NOTE_MAX       (1u << 20)

/* Capabilities: optional abilities, refused by the dispatcher as GRV_UNSUPPORTED where absent. */
#define GRV_BLOCK_CAP_NOTES (UINT64_C(1) << 0) /* grv_block_batch_note keeps recovery records */
#define GRV_BLOCK_CAP_ORDERED                                                                      \
    (UINT64_C(1) << 1) /* commit honours GRV_ORDERED; else it is durable */

typedef struct grv_block_store grv_block_store;
typedef struct grv_block_batch grv_block_batch;
typedef struct grv_block_cursor grv_block_cursor;

/* A block to store: its key and its bytes, bytes.size == key.size. Borrowed for the call. */
typedef struct grv_block {
    grv_block_key key;
    grv_bytes bytes;
} grv_block;

/* What a commit did with one block. */
typedef enum grv_block_outcome {
    GRV_BLOCK_FRESH = 1,    /* stored by this batch */
    GRV_BLOCK_DUPLICATE = 2 /* was there already, or twice in this batch */
} grv_block_outcome;

/* What one block became. stored_size is what it takes in the store, 0 for a duplicate. */
typedef struct grv_block_result {
    grv_block_outcome outcome;
    uint32_t stored_size;
} grv_block_result;

/* One block as a list shows it. */
typedef struct grv_block_entry {
    grv_block_key key;
    uint64_t stored_size; /* bytes it takes in the store: encoded, without file system slack */
} grv_block_entry;

/* Figures of a store, counted, never estimated. */
typedef struct grv_block_stats {
    uint64_t blocks;       /* distinct blocks */
    uint64_t raw_bytes;    /* sum of their sizes */
    uint64_t stored_bytes; /* sum of their stored sizes */
} grv_block_stats;

/* What nobody needs any more, as a sweep finds or removes it. */
typedef struct grv_block_sweep {
    uint64_t temporary;       /* what puts that never ended left behind: files, rows */
    uint64_t temporary_bytes; /* and what they take */
    uint64_t aside;           /* blocks in quarantine that the store has again */
    uint64_t aside_bytes;     /* and what those copies take */
} grv_block_sweep;

/* Operations of a store. No slot is NULL. */
typedef struct grv_block_store_ops {
    const char *name;
    /*
     * For each key whether the store lacks it: ret_missing[i]. "Present" means that the block is
     * durable once any batch, even an empty one, is committed after this answer. Never "missing"
     * because of a failure: a failure fails the call.
     */
    grv_status (*missing)(const grv_call *call, grv_block_store *store, const grv_block_key keys[],
                          size_t count, bool ret_missing[], grv_error *error);
    /* Opens a batch of puts. */
    grv_status (*open_batch)(const grv_call *call, grv_block_store *store,
                             grv_block_batch **ret_batch, grv_error *error);
    /*
     * Reads `count` blocks: buffers[i].size == keys[i].size. Sets every ret_statuses[i]: GRV_OK
     * (the buffer holds the block), GRV_NOT_FOUND, GRV_CORRUPT, or the failure. Returns the first
     * in index order that is not GRV_OK, described by `error` with the block's key. The buffer of a
     * block that is not GRV_OK holds nothing to rely on.
     */
    grv_status (*get)(const grv_call *call, grv_block_store *store, const grv_block_key keys[],
                      const grv_span buffers[], size_t count, grv_status ret_statuses[],
                      grv_error *error);
    /*
     * Removes blocks: the collector's alone. ret_removed[i] tells whether it was there. Durable on
     * GRV_OK; on failure some may be gone. The caller has made sure that nothing refers to them.
     */
    grv_status (*remove)(const grv_call *call, grv_block_store *store, const grv_block_key keys[],
                         size_t count, bool ret_removed[], grv_error *error);
    /*
     * Sets blocks aside: the scrubber's alone, for blocks whose bytes are wrong. What the store has
     * of each moves as it is (what cannot be read is dropped) to a place where no other operation
     * sees it, so that the block is missing from then on and a put stores it anew. It replaces what
     * was set aside under that key before. ret_moved[i] tells whether the store had anything.
     * Durable on GRV_OK; on failure some may have moved. No batch is open: the caller has made
     * sure.
     */
    grv_status (*quarantine)(const grv_call *call, grv_block_store *store,
                             const grv_block_key keys[], size_t count, bool ret_moved[],
                             grv_error *error);
    /*
     * Finds what nobody needs any more (see grv_block_sweep) and, unless `dry_run`, removes it:
     * the collector's alone. *ret_sweep is what is removed, or would be; a second sweep finds
     * nothing. Blocks are not touched, nor those in quarantine that the store lacks. Durable on
     * GRV_OK; on failure some may be gone. No batch is open, in any process: the caller has made
     * sure.
     */
    grv_status (*sweep)(const grv_call *call, grv_block_store *store, bool dry_run,
                        grv_block_sweep *ret_sweep, grv_error *error);
    /*
     * Opens a list of all blocks in key order, from the first key greater than `after` (NULL: from
     * the first). Blocks that come or go meanwhile may or may not be shown; every other one is
     * shown exactly once.
     */
    grv_status (*open_list)(const grv_call *call, grv_block_store *store,
                            const grv_block_key *after, grv_block_cursor **ret_cursor,
                            grv_error *error);
    /* Makes everything committed so far durable in its final place. */
    grv_status (*flush)(const grv_call *call, grv_block_store *store, grv_error *error);
    /* Counts the store; may read all of its index. */
    grv_status (*stats)(const grv_call *call, grv_block_store *store, grv_block_stats *ret_stats,
                        grv_error *error);
    /*
     * The superblock (a small record that names the store; src/store/ gives it meaning), appended
     * to `out`. GRV_NOT_FOUND where the store has none yet.
     */
    grv_status (*superblock_get)(const grv_call *call, grv_block_store *store, grv_buffer *out,
                                 grv_error *error);
    /*
     * Writes the superblock, durably and atomically. Where `expected` is NULL the store must have
     * none, and no block either (GRV_CONFLICT otherwise: bytes without a name are never adopted);
     * else it must equal `expected` (GRV_CONFLICT).
     */
    grv_status (*superblock_set)(const grv_call *call, grv_block_store *store,
                                 const grv_bytes *expected, grv_bytes superblock, grv_error *error);
    /* Closes. All batches and cursors have been freed. */
    void (*free)(grv_block_store *store);
} grv_block_store_ops;

/* Base of every block store; embed it as the first member. */
struct grv_block_store {
    const grv_block_store_ops *ops;
    uint64_t capabilities;
};

/* Operations of a batch. No slot is NULL. */
typedef struct grv_block_batch_ops {
    const char *name;
    /*
     * Takes blocks into the batch, in order; their bytes are not needed after the call. A block may
     * become visible to others before the commit, never before its bytes are what they will be.
     * Blocks get consecutive indices; with several threads at once each call's blocks stay
     * together and *ret_first (NULL allowed) is the index of its first.
     */
    grv_status (*put)(const grv_call *call, grv_block_batch *batch, const grv_block blocks[],
                      size_t count, size_t *ret_first, grv_error *error);
    /* Keeps a recovery record with the batch (capability GRV_BLOCK_CAP_NOTES). */
    grv_status (*note)(const grv_call *call, grv_block_batch *batch, grv_bytes record,
                       grv_error *error);
    /*
     * On GRV_OK every block of the batch is in the store and durable (or ordered, where asked and
     * the capability is there: durable no later than the next durable write of the key-value store
     * under it). ret_results has one place a block, by index. On failure some blocks may have been
     * kept: garbage that a collector finds. Once only.
     */
    grv_status (*commit)(const grv_call *call, grv_block_batch *batch, grv_durability durability,
                         grv_block_result ret_results[], size_t count, grv_error *error);
    void (*free)(grv_block_batch *batch);
} grv_block_batch_ops;

/* Base of every batch; embed it as the first member. */
struct grv_block_batch {
    const grv_block_batch_ops *ops;
    grv_block_store *store;
    size_t count; /* blocks put so far; kept by the dispatchers, atomically */
    bool committed;
};

/* Operations of a list cursor. No slot is NULL. */
typedef struct grv_block_cursor_ops {
    const char *name;
    /* Up to `capacity` (> 0) next entries; *ret_count 0 at the end, and again after it. A failure
     * ends the list, for entries may have been lost with it: every further call gives it again. */
    grv_status (*next)(const grv_call *call, grv_block_cursor *cursor, grv_block_entry entries[],
                       size_t capacity, size_t *ret_count, grv_error *error);
    void (*free)(grv_block_cursor *cursor);
} grv_block_cursor_ops;

/* Base of every list cursor; embed it as the first member. */
struct grv_block_cursor {
    const grv_block_cursor_ops *ops;
    grv_status failed; /* kept by the dispatchers; zero at first */
};

/* Constructors call this: sets the base up after checking that no slot is missing. GRV_INTERNAL
 * otherwise. */
grv_status grv_block_store_init(grv_block_store *store, const grv_block_store_ops *ops,
                                uint64_t capabilities, grv_error *error);

/* Dispatchers: check arguments, keys and capabilities, then the slot of the same name. */
grv_status grv_block_store_missing(const grv_call *call, grv_block_store *store,
                                   const grv_block_key keys[], size_t count, bool ret_missing[],
                                   grv_error *error);
grv_status grv_block_store_open_batch(const grv_call *call, grv_block_store *store,
                                      grv_block_batch **ret_batch, grv_error *error);
grv_status grv_block_store_get(const grv_call *call, grv_block_store *store,
                               const grv_block_key keys[], const grv_span buffers[], size_t count,
                               grv_status ret_statuses[], grv_error *error);
grv_status grv_block_store_remove(const grv_call *call, grv_block_store *store,
                                  const grv_block_key keys[], size_t count, bool ret_removed[],
                                  grv_error *error);
grv_status grv_block_store_quarantine(const grv_call *call, grv_block_store *store,
                                      const grv_block_key keys[], size_t count, bool ret_moved[],
                                      grv_error *error);
grv_status grv_block_store_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                                 grv_block_sweep *ret_sweep, grv_error *error);
grv_status grv_block_store_open_list(const grv_call *call, grv_block_store *store,
                                     const grv_block_key *after, grv_block_cursor **ret_cursor,
                                     grv_error *error);
grv_status grv_block_store_flush(const grv_call *call, grv_block_store *store, grv_error *error);
grv_status grv_block_store_stats(const grv_call *call, grv_block_store *store,
                                 grv_block_stats *ret_stats, grv_error *error);
grv_status grv_block_store_superblock_get(const grv_call *call, grv_block_store *store,
                                          grv_buffer *out, grv_error *error);
grv_status grv_block_store_superblock_set(const grv_call *call, grv_block_store *store,
                                          const grv_bytes *expected, grv_bytes superblock,
                                          grv_error *error);
void grv_block_store_free(grv_block_store *store); /* NULL is allowed */

/* A put of more blocks than the batch may hold is GRV_LIMIT_EXCEEDED, and none is taken. */
grv_status grv_block_batch_put(const grv_call *call, grv_block_batch *batch,
                               const grv_block blocks[], size_t count, size_t *ret_first,
                               grv_error *error);
grv_status grv_block_batch_note(const grv_call *call, grv_block_batch *batch, grv_bytes record,
                                grv_error *error);
/* `count` must be the number of blocks put; a second commit is GRV_INVALID_ARGUMENT. */
grv_status grv_block_batch_commit(const grv_call *call, grv_block_batch *batch,
                                  grv_durability durability, grv_block_result ret_results[],
                                  size_t count, grv_error *error);
void grv_block_batch_free(grv_block_batch *batch); /* NULL is allowed */

/* Dispatchers of a cursor. */
grv_status grv_block_cursor_next(const grv_call *call, grv_block_cursor *cursor,
                                 grv_block_entry entries[], size_t capacity, size_t *ret_count,
                                 grv_error *error);
void grv_block_cursor_free(grv_block_cursor *cursor); /* NULL is allowed */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
