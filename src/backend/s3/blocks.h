/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the block store on S3, one object a block:
 *
 *   block_names.c    keys of objects
 *   block_window.c   many requests at once, a bounded number of them in memory
 *   block_present.c  which blocks are known to be there, and which were just found not to be
 *   block_scan.c     pages of lists, several at once, in key order; the list and statistics
 *   block_missing.c  which blocks are there: by lists where those answer many, else one by one
 *   block_batch.c    puts
 *   block_sweep.c    removal, quarantine, sweep
 *   block_super.c    the superblock
 *   block_store.c    get, the table, the constructor
 */
#ifndef GRV_BACKEND_S3_BLOCKS_H
#define GRV_BACKEND_S3_BLOCKS_H

#include "backend/s3/s3.h"
#include "base/budget.h"
#include "core/block_name.h"
#include "core/key_set.h"

#include <pthread.h>

/* Room for an object's key, NUL included. */
#define GRV_S3_NAME_SIZE 1025u
/* Longest prefix, so that every name of a block below it is a key. */
#define GRV_S3_PREFIX_MAX 768u
/* Keys of one request of ListObjectsV2 and of DeleteObjects. */
#define GRV_S3_PAGE_KEYS 1000u
/* Algorithms, by their number. */
#define GRV_S3_HASHES 3u

/* ---- block_present.c ---- */

#define GRV_S3_SHARDS 64u

/* A part of the set of blocks known to be there: buckets of keys, all in one array. */
typedef struct grv_s3_shard {
    pthread_mutex_t lock;
    uint64_t stamp; /* what is in it was true at this stamp; another one empties it */
    grv_block_key *slots;
    size_t capacity; /* a power of two times a bucket, or 0 */
} grv_s3_shard;

/* Keys found absent a moment ago; a later one takes an earlier one's place. */
#define GRV_S3_ABSENT_SLOTS 4096u

typedef struct grv_s3_present {
    uint64_t (*epoch)(void *context);
    void *context;
    uint64_t removals; /* atomic: grows whenever this store removes blocks */
    size_t shard_max;  /* slots of a shard at most */
    grv_s3_shard shards[GRV_S3_SHARDS];
    pthread_mutex_t absent_lock;
    grv_block_key *absent;
} grv_s3_present;

/* Makes an empty set of at most about `max` keys. */
grv_status grv_s3_present_init(grv_s3_present *present, size_t max, grv_error *error);
void grv_s3_present_done(grv_s3_present *present);

/* What holds now: taken before a question is asked, and given with what its answer was. */
uint64_t grv_s3_present_stamp(grv_s3_present *present);

/* Remembers, asks, and forgets. A key is remembered only if nothing was removed since the stamp. */
void grv_s3_present_add(grv_s3_present *present, uint64_t stamp, const grv_block_key *key);
bool grv_s3_present_has(grv_s3_present *present, uint64_t stamp, const grv_block_key *key);
void grv_s3_present_forget_all(grv_s3_present *present);

/* Notes that a key was found absent; takes that note, once. It may be out of date: whoever trusts
 * it may send a block that is there by now. */
void grv_s3_absent_note(grv_s3_present *present, const grv_block_key *key);
bool grv_s3_absent_take(grv_s3_present *present, const grv_block_key *key);

/* ---- The store ---- */

typedef struct grv_s3_blocks {
    grv_block_store base;
    grv_s3 *s3;
    char *bucket;
    char *prefix; /* "" or ends with "/" */
    grv_s3_present present;
    grv_budget copies;
    uint64_t span[GRV_S3_HASHES]; /* atomic: how far apart neighbouring digests lie, by their first
                                     8 bytes; 0: unknown */
    uint64_t seen_ns;             /* atomic: when the bucket was last known to be there */
    uint64_t hits;                /* atomic: questions for one block that found it, since all were
                                     last learned */
    bool learning;                /* atomic: a thread is at it */
} grv_s3_blocks;

/* ---- block_names.c ---- */

/* The key of a block's object, and of its copy in quarantine. */
void grv_s3_block_name(const grv_s3_blocks *blocks, const grv_block_key *key,
                       char ret_name[GRV_S3_NAME_SIZE]);
void grv_s3_aside_name(const grv_s3_blocks *blocks, const grv_block_key *key,
                       char ret_name[GRV_S3_NAME_SIZE]);
void grv_s3_super_name(const grv_s3_blocks *blocks, char ret_name[GRV_S3_NAME_SIZE]);
/* What the keys of an algorithm's blocks begin with, or those of its copies in quarantine. */
void grv_s3_folder_name(const grv_s3_blocks *blocks, grv_hash hash, bool aside,
                        char ret_name[GRV_S3_NAME_SIZE]);

/* GRV_INVALID_ARGUMENT for a prefix that is none. */
grv_status grv_s3_prefix_check(const char *prefix, grv_error *error);

/* Where a digest lies among all: its first 8 bytes. */
uint64_t grv_s3_position(const grv_block_key *key);

/* Puts "block KEY" before the message; returns the status. */
grv_status grv_s3_blame(grv_status status, const grv_block_key *key, grv_error *error);

/* ---- block_window.c ---- */

/* One of many requests. The window zeroes it before it is prepared. */
typedef struct grv_s3_slot {
    grv_s3_request request;
    size_t index;
    char name[GRV_S3_NAME_SIZE];    /* room for its key, */
    grv_s3_pair headers[2];         /* its headers, */
    char value[GRV_S3_SOURCE_SIZE]; /* and the value of one */
    grv_buffer out;                 /* its answer's body; the window frees it */
} grv_s3_slot;

/* What is to be asked. */
typedef struct grv_s3_window {
    const grv_call *call;
    grv_s3_blocks *blocks;
    size_t count;
    /* Sets the request of number `slot->index` up; its bucket is set. */
    void (*prepare)(void *context, grv_s3_slot *slot);
    /* Takes a request that has ended, in order of numbers; `error` is its failure. A failure ends
     * the run: no further ones are begun, those that were are waited for and settled. */
    grv_status (*settle)(void *context, grv_s3_slot *slot, grv_status status, grv_error *error);
    void *context;
} grv_s3_window;

/* Runs all, several at once. Returns the first failure of settle, or none. *ret_settled (NULL
 * allowed): how many were settled; always the first so many. */
grv_status grv_s3_window_run(const grv_s3_window *window, size_t *ret_settled, grv_error *error);

/* Notes that a request has proved that the bucket is there. */
void grv_s3_bucket_seen(grv_s3_blocks *blocks);
/* GRV_OK where the bucket was seen a moment ago, or is there now: a HEAD's 404 does not tell which
 * of the two is missing. */
grv_status grv_s3_bucket_sure(const grv_call *call, grv_s3_blocks *blocks, grv_error *error);

/* ---- block_scan.c ---- */

/* Blocks of one algorithm whose positions lie in [first, last]. */
typedef struct grv_s3_stretch {
    grv_hash hash;
    uint64_t first;
    uint64_t last;
    bool cut; /* one page of it is enough: it ends where that does, see `reached` */
} grv_s3_stretch;

typedef struct grv_s3_scan grv_s3_scan;

/*
 * Begins a scan of the stretches that `next` gives, one after another, false where there is none
 * left. After one that may be cut it is asked only once that has been read to its end. `aside`: of
 * the copies in quarantine.
 */
grv_status grv_s3_scan_new(grv_s3_blocks *blocks, bool aside,
                           bool (*next)(void *context, grv_s3_stretch *ret_stretch), void *context,
                           grv_s3_scan **ret_scan, grv_error *error);

/* The next object, in key order within a stretch; *ret_entry NULL at the end. stored_size is the
 * object's. Valid until the next call. */
grv_status grv_s3_scan_next(const grv_call *call, grv_s3_scan *scan,
                            const grv_block_entry **ret_entry, grv_error *error);

/* The last position of the stretch that was cut last. */
uint64_t grv_s3_scan_reached(const grv_s3_scan *scan);

/* Ends the requests that are under way. NULL is allowed. */
void grv_s3_scan_free(grv_s3_scan *scan);

/* How wide a stretch should be to take about one page; 0: unknown. */
uint64_t grv_s3_page_width(const grv_s3_blocks *blocks, grv_hash hash);

/* Goes over all objects in key order, after `after` (NULL: from the first), several pages at once.
 */
typedef struct grv_s3_walk {
    grv_s3_blocks *blocks;
    grv_s3_scan *scan;
    const grv_block_key *after; /* own_after, or NULL */
    grv_block_key own_after;
    grv_hash hash; /* of the next stretch, and where that begins */
    uint64_t at;
    bool was_cut;
    bool aside;
} grv_s3_walk;

/* `walk` must not move. */
grv_status grv_s3_walk_init(grv_s3_walk *walk, grv_s3_blocks *blocks, bool aside,
                            const grv_block_key *after, grv_error *error);
grv_status grv_s3_walk_next(const grv_call *call, grv_s3_walk *walk,
                            const grv_block_entry **ret_entry, grv_error *error);
void grv_s3_walk_done(grv_s3_walk *walk);

/* Slots of the port. */
grv_status grv_s3_blocks_open_list(const grv_call *call, grv_block_store *store,
                                   const grv_block_key *after, grv_block_cursor **ret_cursor,
                                   grv_error *error);
grv_status grv_s3_blocks_stats(const grv_call *call, grv_block_store *store,
                               grv_block_stats *ret_stats, grv_error *error);

/* ---- block_missing.c ---- */

/* Asks the service which blocks it has, with nothing remembered. `any_size`: an object of another
 * size than the block's counts too. */
grv_status grv_s3_blocks_look(const grv_call *call, grv_s3_blocks *blocks,
                              const grv_block_key keys[], size_t count, bool any_size,
                              bool ret_there[], grv_error *error);

/* The same by what is remembered and, where that does not tell, by asking; remembers the answers.
 */
grv_status grv_s3_blocks_missing(const grv_call *call, grv_block_store *store,
                                 const grv_block_key keys[], size_t count, bool ret_missing[],
                                 grv_error *error);

/* ---- block_batch.c, block_sweep.c, block_super.c: slots of the port ---- */

grv_status grv_s3_blocks_open_batch(const grv_call *call, grv_block_store *store,
                                    grv_block_batch **ret_batch, grv_error *error);
grv_status grv_s3_blocks_remove(const grv_call *call, grv_block_store *store,
                                const grv_block_key keys[], size_t count, bool ret_removed[],
                                grv_error *error);
grv_status grv_s3_blocks_quarantine(const grv_call *call, grv_block_store *store,
                                    const grv_block_key keys[], size_t count, bool ret_moved[],
                                    grv_error *error);
grv_status grv_s3_blocks_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                               grv_block_sweep *ret_sweep, grv_error *error);
grv_status grv_s3_blocks_superblock_get(const grv_call *call, grv_block_store *store,
                                        grv_buffer *out, grv_error *error);
grv_status grv_s3_blocks_superblock_set(const grv_call *call, grv_block_store *store,
                                        const grv_bytes *expected, grv_bytes superblock,
                                        grv_error *error);

#endif
