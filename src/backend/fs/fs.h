/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the block store on files, shared by its files:
 *
 *   layout.c       names of temporary files, the prefix's rules
 *   directory.c    one algorithm's directory: presence, and making its entries durable
 *   sync.c         the thread that makes groups of new files durable
 *   batch.c        puts and commits; group.c its groups of temporary files
 *   link.c         second names of all block files, for a copy of the store
 *   list.c         scans, lists, statistics
 *   sweep.c        blocks set aside, and what nobody needs any more
 *   block_store.c  the port's table, superblock, opening and closing
 *
 * How a block becomes durable: put writes it to a temporary file under `<prefix>/.tmp`, of a name
 * that no one else uses. Files gather in groups; a group is synced as one, by fdatasync where it
 * has a few files and by syncfs where it has many; then each is renamed into the directory of its
 * algorithm, and commit syncs that directory. So a block that can be seen always has its bytes,
 * also after a power loss, and one that a commit answered for has its name too.
 *
 * What a crash leaves lies under `.tmp` alone: files of a batch that was never committed. Their
 * owner cannot be told from their names (several hosts may share a store), so nobody removes them
 * in passing: the collector, which runs when no writer is there, may remove all of `.tmp`.
 */
#ifndef GRV_BACKEND_FS_FS_H
#define GRV_BACKEND_FS_FS_H

#include "core/block_name.h"

#include <graviton/backend/fs.h>
#include <pthread.h>
#include <time.h>

/* Where temporary files lie, under the prefix. */
#define GRV_FS_TEMP ".tmp"
/* Where blocks that were set aside lie, under the prefix, in a directory an algorithm. */
#define GRV_FS_QUARANTINE ".quarantine"
/* Room for a temporary file's name: 16 hex digits, "-", at most 20 digits, NUL. */
#define GRV_FS_TEMP_SIZE 40
/* Up to so many files waiting are synced one by one, through descriptors kept open for that. */
#define GRV_FS_FEW 4
/* Most descriptors that a store keeps open for that; beyond it syncfs does the work. */
#define GRV_FS_HELD_MAX 256

/* Sizes that tests make small. */
typedef struct grv_fs_tuning {
    uint64_t group_bytes; /* a group of so many bytes is synced */
    size_t group_files;   /* or of so many files */
    size_t list_window;   /* keys that a list keeps in memory */
} grv_fs_tuning;

typedef struct grv_fs_store grv_fs_store;
typedef struct grv_fs_group grv_fs_group;

/* One algorithm's directory. */
typedef struct grv_fs_directory {
    grv_fs_store *store;
    const char *name;
    int fd;           /* -1 until the directory was seen; atomic */
    uint64_t changes; /* renames and unlinks of this store, counted after the call; atomic */
    pthread_mutex_t lock;
    pthread_cond_t ended_changed;
    /* Under the lock. */
    uint64_t begun;          /* syncs begun */
    uint64_t ended;          /* the last sync that succeeded, by that count */
    uint64_t synced_changes; /* `changes` when it began */
    bool running;
    bool marked;          /* all entries are durable while the directory's ctime equals `mark` */
    struct timespec mark; /* see grv_fs_directory_settle */
    grv_error failure;    /* of the first failed sync: final */
} grv_fs_directory;

/* The thread that syncs groups, and its queue. */
typedef struct grv_fs_sync {
    pthread_mutex_t lock;
    pthread_cond_t queue_changed;
    pthread_cond_t group_changed;
    /* Under the lock. */
    grv_fs_group *first;
    grv_fs_group *last;
    bool started;
    bool stopping;
    pthread_t thread;
    uint64_t failures; /* failed syncs; also read without the lock, atomically */
    size_t held;       /* descriptors kept open for syncs; atomic */
} grv_fs_sync;

struct grv_fs_store {
    grv_block_store base;
    grv_fs_tuning tuning;
    int root_fd;
    int prefix_fd;
    int temp_fd; /* -1 until the first batch; under temp_lock */
    pthread_mutex_t temp_lock;
    uint64_t temp_id;    /* random: temporary names of this opened store */
    uint64_t temp_count; /* atomic: the next temporary file's number */
    grv_fs_directory directories[2];
    grv_fs_sync sync;
};

/* ---- layout.c ---- */

/* GRV_INVALID_ARGUMENT unless `prefix` is relative, of plain, non-empty segments. */
grv_status grv_fs_prefix_check(const char *prefix, grv_error *error);

/* The name of temporary file `number` of this store. */
void grv_fs_temp_print(const grv_fs_store *store, uint64_t number, char ret_name[GRV_FS_TEMP_SIZE]);

/* ---- directory.c ---- */

grv_status grv_fs_directory_init(grv_fs_directory *directory, grv_fs_store *store, grv_hash hash,
                                 grv_error *error);
void grv_fs_directory_done(grv_fs_directory *directory);

/* The directory of an algorithm. */
grv_fs_directory *grv_fs_directory_of(grv_fs_store *store, grv_hash hash);

/* The directory's descriptor, borrowed; -1 with GRV_OK where there is none yet and `create` is
 * false. Thread-safe. */
grv_status grv_fs_directory_open(grv_fs_directory *directory, bool create, int *ret_fd,
                                 grv_error *error);

/* Whether a block's file is there, regular and of the right size: one of another size is as good
 * as none, and a put replaces it. `fd` is the directory's. */
grv_status grv_fs_block_present(int fd, const grv_block_key *key, bool *ret_present,
                                grv_error *error);

/* Counts one finished rename or unlink in the directory. */
void grv_fs_directory_changed(grv_fs_directory *directory);

/*
 * Makes every entry that was there before the call durable, whoever made it. Calls at once share
 * syncs: one that begins after they came. A sync that failed is final: from then on this fails
 * until the store is opened anew. GRV_CANCELLED or GRV_TIMEOUT where `call` says so.
 */
grv_status grv_fs_directory_settle(const grv_call *call, grv_fs_directory *directory,
                                   grv_error *error);

/* ---- sync.c ---- */

grv_status grv_fs_sync_init(grv_fs_sync *sync, grv_error *error);
/* Stops the thread. Nothing may be queued. */
void grv_fs_sync_done(grv_fs_sync *sync);
/* Starts the thread unless it runs. */
grv_status grv_fs_sync_start(grv_fs_store *store, grv_error *error);

/* How many syncs of this store have failed. A file written when the answer was another may have
 * lost bytes, whatever a later sync says: the system tells each failure once only. */
uint64_t grv_fs_sync_failures(grv_fs_store *store);

/* Takes one of the descriptors that may be kept open; false where all are taken. */
bool grv_fs_sync_hold(grv_fs_store *store);
void grv_fs_sync_unhold(grv_fs_store *store);

/* Hands a group over to be synced. */
void grv_fs_sync_submit(grv_fs_store *store, grv_fs_group *group);
/* Waits for that. GRV_OK: it is durable. Else its failure, or GRV_CANCELLED or GRV_TIMEOUT where
 * `call` says so: the group is still with the thread then. */
grv_status grv_fs_sync_wait(const grv_call *call, grv_fs_store *store, grv_fs_group *group,
                            grv_error *error);
/* Waits until the thread is done with a group that nobody wants any more. */
void grv_fs_sync_abandon(grv_fs_store *store, grv_fs_group *group);

/* Sets up a condition variable on the monotonic clock. */
grv_status grv_fs_cond_init(pthread_cond_t *cond, grv_error *error);
/* Waits on a condition once, for a while; asks `call` whether to go on. Spurious returns happen. */
grv_status grv_fs_cond_wait(const grv_call *call, pthread_cond_t *cond, pthread_mutex_t *lock,
                            grv_error *error);

/* ---- group.c ---- */

/* One new block: where its bytes are until they are renamed. */
typedef struct grv_fs_member {
    grv_block_key key;
    uint64_t temp;  /* number of the temporary file */
    uint32_t index; /* in the batch */
    bool duplicate; /* when its turn came someone else had put it there */
} grv_fs_member;

typedef enum grv_fs_group_state {
    GRV_FS_OPEN = 0, /* gathers files */
    GRV_FS_QUEUED,   /* with the sync thread */
    GRV_FS_SYNCED,   /* its files may be renamed */
    GRV_FS_GIVEN_UP, /* a sync failed, or nobody wants it */
} grv_fs_group_state;

/* New files that are synced as one. Filled under the batch's lock, then owned by the sync thread
 * until it has ended, then by the batch. */
struct grv_fs_group {
    grv_fs_group *next;       /* in the batch */
    grv_fs_group *queue_next; /* in the sync thread's queue */
    grv_fs_member *members;
    size_t count;
    size_t capacity;
    size_t placed; /* members before this one have no temporary file any more */
    uint64_t bytes;
    int fds[GRV_FS_FEW]; /* descriptors kept open for fdatasync */
    size_t fd_count;
    uint64_t failures; /* grv_fs_sync_failures before the first file was written */
    /* Under the sync lock. */
    grv_fs_group_state state;
    bool abandoned;
    grv_error failure;
};

/* GRV_LIMIT_EXCEEDED without memory. */
grv_status grv_fs_group_new(grv_fs_group **ret_group, grv_error *error);

/*
 * Adds a written file and takes `fd` over, -1 where it is closed already. `failures` was read
 * before the file was opened. On failure nothing was taken.
 */
grv_status grv_fs_group_add(grv_fs_group *group, const grv_fs_member *member, int fd,
                            uint64_t failures, grv_error *error);

/* Closes the descriptors kept open. A failure means that bytes may be lost. */
grv_status grv_fs_group_close(grv_fs_store *store, grv_fs_group *group, grv_error *error);

/* Renames the files of a synced group into place and sets `duplicate` of those that need not be. */
grv_status grv_fs_group_place(grv_fs_store *store, grv_fs_group *group, grv_error *error);

/* Removes the temporary files that are left, and frees. The sync thread must not have it. */
void grv_fs_group_free(grv_fs_store *store, grv_fs_group *group);

/* ---- batch.c ---- */

grv_status grv_fs_batch_open(const grv_call *call, grv_block_store *base,
                             grv_block_batch **ret_batch, grv_error *error);

/* ---- list.c ---- */

/* Calls `visit` for each block file of one algorithm, in no order, until it returns false. Foreign
 * names are passed over. */
grv_status grv_fs_scan(const grv_call *call, grv_fs_store *store, grv_hash hash,
                       bool (*visit)(void *context, const grv_block_key *key), void *context,
                       grv_error *error);
grv_status grv_fs_list_open(const grv_call *call, grv_block_store *store,
                            const grv_block_key *after, grv_block_cursor **ret_cursor,
                            grv_error *error);
grv_status grv_fs_stats(const grv_call *call, grv_block_store *store, grv_block_stats *ret_stats,
                        grv_error *error);
/* Whether there is any block file. */
grv_status grv_fs_any(const grv_call *call, grv_fs_store *store, bool *ret_any, grv_error *error);

/* ---- sweep.c ---- */

/* Slots of the store. */
grv_status grv_fs_quarantine(const grv_call *call, grv_block_store *base,
                             const grv_block_key keys[], size_t count, bool ret_moved[],
                             grv_error *error);
grv_status grv_fs_sweep(const grv_call *call, grv_block_store *base, bool dry_run,
                        grv_block_sweep *ret_sweep, grv_error *error);

/* ---- block_store.c ---- */

/* grv_block_store_fs_new without the verify layer; `tuning` NULL: the sizes for real use. */
grv_status grv_fs_new(const grv_fs_config *config, const grv_fs_tuning *tuning,
                      grv_block_store **ret_store, grv_error *error);

/* The directory of temporary files, made at first use. Borrowed. */
grv_status grv_fs_temp_open(grv_fs_store *store, int *ret_fd, grv_error *error);

#endif
