/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the cache layer: its file, shared by all processes that use one directory.
 *
 *   cache_file.c   opening and making the file; reading and writing in it
 *   cache_room.c   who gets which room: segments, queues, eviction
 *   cache_index.c  which block lies where
 *   cache.c        the layer
 *
 * The file: a header page, a state page, a table of segments, the index, the segments. Integers are
 * little-endian. Nothing in it is trusted: a block counts only if its bytes hash to its key, so the
 * rest may be torn or stale, as long as nobody reads or writes outside of the file for it.
 */
#ifndef GRV_LAYER_CACHE_FILE_H
#define GRV_LAYER_CACHE_FILE_H

#include <graviton/key.h>
#include <pthread.h>

/* Names in the directory. All else there is left alone. */
#define GRV_CACHE_FILE      "graviton-cache"
#define GRV_CACHE_LOCK      "graviton-cache.lock"
#define GRV_CACHE_TEMPORARY "graviton-cache.tmp"

#define GRV_CACHE_PAGE         4096u
#define GRV_CACHE_SEGMENTS_MAX 4096u
#define GRV_CACHE_BUCKET_SIZE  4096u
#define GRV_CACHE_BUCKET_SLOTS 170u

/* Where things are in a file; follows from its size alone. */
typedef struct grv_cache_shape {
    uint64_t size; /* of the whole file: the bound */
    uint32_t segment_size;
    uint32_t segments;
    uint64_t buckets;
    uint64_t table_at;
    uint64_t index_at;
    uint64_t data_at;
} grv_cache_shape;

/* Queues of segments: blocks seen once, and blocks that were wanted again. */
typedef enum grv_cache_queue {
    GRV_CACHE_SMALL = 0,
    GRV_CACHE_MAIN = 1,
    GRV_CACHE_QUEUES = 2
} grv_cache_queue;

/*
 * The state page. A claim is the taking of a segment for new blocks; claims are counted, and a
 * segment goes by the number of its latest. Of a queue, `tail` is its oldest segment's claim: a
 * block of an older one is gone. Blocks of a claim before `old` are near their end: one that is
 * wanted is to be moved up.
 */
typedef struct grv_cache_state {
    uint32_t claims;
    uint64_t credit; /* bytes that may be moved within the main queue */
    struct {
        uint32_t open;  /* segment that takes new blocks, plus one; 0: none */
        uint32_t claim; /* its claim */
        uint32_t fill;  /* bytes taken in it */
        uint32_t tail;
        uint32_t old;
    } queues[GRV_CACHE_QUEUES];
} grv_cache_state;

/* Where a block lies. */
typedef struct grv_cache_place {
    uint32_t claim;
    uint32_t segment;
    uint32_t offset; /* in the segment */
    grv_cache_queue queue;
} grv_cache_place;

/* An open cache file. Constant but for what `lock` guards. */
typedef struct grv_cache_file {
    int fd; /* -1: there is none */
    int lock_fd;
    bool writable;
    grv_cache_shape shape;
    pthread_mutex_t lock; /* beside the lock file's, which only keeps other processes out */
    uint8_t *table;       /* room for the table of segments */
    uint64_t retry_ns;    /* no try for the lock file before */
} grv_cache_file;

/* ---- cache_file.c ---- */

/*
 * Opens the cache in `directory`, making directory and file where they are missing. A file of
 * another size, or a damaged one, is made anew unless somebody uses it: then the size it has is
 * taken, and the damaged one refused. GRV_OK with `writable` false where it can only be read. On a
 * failure `file` is initialised, with fd -1. Ends with grv_cache_file_done in any case.
 */
grv_status grv_cache_file_init(grv_cache_file *file, const char *directory, uint64_t size,
                               grv_error *error);
void grv_cache_file_done(grv_cache_file *file);

/* Takes the lock file, waiting up to `patience_ns`: GRV_UNAVAILABLE after that. The caller holds
 * file->lock, where other threads may use the file. */
grv_status grv_cache_file_lock(const grv_cache_file *file, uint64_t patience_ns, grv_error *error);
void grv_cache_file_unlock(const grv_cache_file *file);

/* Reads or writes all of `size` bytes. What lies behind the file's end is read as zeros. */
grv_status grv_cache_file_read(const grv_cache_file *file, uint64_t offset, void *ret_data,
                               size_t size, grv_error *error);
grv_status grv_cache_file_write(const grv_cache_file *file, uint64_t offset, const void *data,
                                size_t size, grv_error *error);

/* Whether a block of `size` bytes at `place` lies within a segment; and its offset in the file. */
bool grv_cache_place_fits(const grv_cache_shape *shape, const grv_cache_place *place,
                          uint32_t size);
uint64_t grv_cache_place_offset(const grv_cache_shape *shape, const grv_cache_place *place);

/* ---- cache_room.c ---- */

/* Why a block is to be written. */
typedef enum grv_cache_reason {
    GRV_CACHE_FRESH, /* not seen lately: to the small queue */
    GRV_CACHE_AGAIN, /* seen lately, and gone since: to the main queue */
    GRV_CACHE_RISE,  /* wanted while in the small queue: to the main queue */
    GRV_CACHE_STAY   /* wanted while in the main queue: to its end, as far as the credit goes */
} grv_cache_reason;

/* A wish for room, and what came of it. */
typedef struct grv_cache_wish {
    uint32_t size; /* of the block, in bytes */
    grv_cache_reason reason;
    bool granted;
    grv_cache_place place; /* where it is */
} grv_cache_wish;

/* What eviction gave up for some wishes. */
typedef struct grv_cache_loss {
    uint64_t segments;
    uint64_t bytes;
} grv_cache_loss;

/* Reads the state page; what is out of bounds in it counts as none. */
grv_status grv_cache_state_read(const grv_cache_file *file, grv_cache_state *ret_state,
                                grv_error *error);

/* Grants wishes in order, evicting where there is no room. Blocks larger than a segment get none.
 * GRV_UNAVAILABLE where the lock could not be had soon. Thread-safe. */
grv_status grv_cache_room_take(grv_cache_file *file, grv_cache_wish wishes[], size_t count,
                               grv_cache_loss *ret_loss, grv_error *error);

/* ---- cache_index.c ---- */

/* What the index knows of a block. */
typedef enum grv_cache_trace {
    GRV_CACHE_UNKNOWN,
    GRV_CACHE_GONE, /* it was there not long ago */
    GRV_CACHE_HERE
} grv_cache_trace;

/* Whether a block written at `place` may still be there. */
bool grv_cache_place_lives(const grv_cache_state *state, const grv_cache_place *place);

/* Looks a block up; *ret_place is set with GRV_CACHE_HERE alone. */
grv_status grv_cache_index_find(const grv_cache_file *file, const grv_cache_state *state,
                                const grv_block_key *key, grv_cache_trace *ret_trace,
                                grv_cache_place *ret_place, grv_error *error);

/* Enters a block, in place of what is least worth knowing. Without a lock: of two entries that meet
 * in one slot, one is lost. */
grv_status grv_cache_index_put(const grv_cache_file *file, const grv_cache_state *state,
                               const grv_block_key *key, const grv_cache_place *place,
                               grv_error *error);

/* Forgets a block. */
grv_status grv_cache_index_drop(const grv_cache_file *file, const grv_block_key *key,
                                grv_error *error);

#endif
