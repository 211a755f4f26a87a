/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs that look after a whole store: collection frees what no blob needs, scrubbing reads and
 * checks everything, a backup copies it. One job at a time on a store: another one is
 * GRV_UNAVAILABLE meanwhile.
 *
 * They know of the puts that go through the store's blob store. Whoever writes to its other ports
 * directly keeps away from a store while a job runs.
 *
 * Copying blobs from store to store is no such job: it is a read of one and a put into the other,
 * may be done by several threads at once, and beside anything that reads and puts may be beside.
 */
#ifndef GRAVITON_MAINTAIN_H
#define GRAVITON_MAINTAIN_H

#include <graviton/store.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* What a collection frees, or would free, and what it looked at. */
typedef struct grv_collect_report {
    uint64_t blobs;      /* whose manifests were read */
    uint64_t references; /* blocks that they name, repeats counted */
    uint64_t kept_blocks;
    uint64_t kept_bytes;           /* raw */
    uint64_t freed_blocks;         /* that no blob names */
    uint64_t freed_bytes;          /* raw */
    uint64_t freed_stored_bytes;   /* what they took */
    uint64_t missing_blocks;       /* that a blob names and that are not there: damage */
    grv_block_sweep block_sweep;   /* leftovers among the bytes */
    grv_manifest_sweep meta_sweep; /* leftovers among the metadata */
} grv_collect_report;

/* How to collect. Zero-initialise, then set. Jobs run as background calls, whatever `call` says. */
typedef struct grv_collect_config {
    bool dry_run;    /* free nothing; the report tells exactly what a collection would free now */
    size_t keys_max; /* block keys held at once; 0: about 50 MiB of them. Fewer cost more passes
                        over the manifests */
    /* Called between steps with what was done so far; NULL: not. */
    void (*progress)(void *context, const grv_collect_report *so_far);
    void *context;
} grv_collect_config;

/*
 * Frees the blocks that no blob names, and what puts and removals that were cut short have left.
 *
 * Exclusive: GRV_UNAVAILABLE where a put is open on this store (its sink not freed yet), or another
 * job runs; puts that are opened meanwhile wait. Other processes that may write to the store are
 * waited for, a minute at most, where all of them give way (grv_store_config.gives_way); else it is
 * GRV_UNAVAILABLE, and names one. Blobs may be read and removed. Every manifest is read before
 * anything is freed: where one cannot be, GRV_CORRUPT or GRV_UNSUPPORTED names the blob and nothing
 * is freed. A collection that ends early, by kill -9 too, has freed some of what it would have; the
 * next one frees the rest. GRV_UNSUPPORTED on a store opened to read only, unless `dry_run`.
 */
grv_status grv_store_collect(const grv_call *call, grv_store *store,
                             const grv_collect_config *config, grv_collect_report *ret_report,
                             grv_error *error);

/* What a backup wrote. */
typedef struct grv_backup_report {
    uint64_t linked_blocks; /* that the copy shares with the store */
    uint64_t linked_bytes;  /* raw */
    uint64_t copied_blocks;
    uint64_t copied_bytes;   /* raw */
    uint64_t corrupt_blocks; /* found wrong while copying, and left out */
    uint64_t meta_files;     /* blocks in the metadata's RocksDB are among these */
    uint64_t meta_bytes;     /* the disk space that they take */
} grv_backup_report;

/* How to back up. Zero-initialise, then set; strings are borrowed for the call. */
typedef struct grv_backup_config {
    const char *directory; /* made where it is missing; must be empty */
    bool copy; /* copy block files also where links would do: a copy that shares no disk block */
    /* Called now and then with what was done so far; NULL: not. */
    void (*progress)(void *context, const grv_backup_report *so_far);
    void *context;
} grv_backup_config;

/*
 * Makes a copy of an embedded store in a directory: all that was committed before the call, and
 * perhaps some of what comes meanwhile. Puts, reads and removals go on; blobs removed meanwhile are
 * in the copy. It opens as a store: blocks in files with `directory`; blocks in RocksDB with
 * "kv:" and "rocks:DIRECTORY/meta". It has the store's id.
 *
 * Durable on GRV_OK. Before, and after any failure or crash, the directory does not open as a
 * store. GRV_ALREADY_EXISTS where it is not empty; GRV_UNSUPPORTED for a store in memory or open
 * to read only; GRV_UNAVAILABLE while another job runs. Block files are linked where the file
 * system allows it, and not read; those that must be copied are checked, and what is wrong is
 * counted and left out.
 */
grv_status grv_store_backup(const grv_call *call, grv_store *store, const grv_backup_config *config,
                            grv_backup_report *ret_report, grv_error *error);

/* What is wrong with a block. */
typedef enum grv_scrub_kind {
    GRV_SCRUB_CORRUPT = 1,   /* its bytes are not what its key says */
    GRV_SCRUB_MISSING = 2,   /* a blob names it, and it is not there */
    GRV_SCRUB_UNREADABLE = 3 /* reading it failed: it may be well */
} grv_scrub_kind;

/* One bad block. */
typedef struct grv_scrub_finding {
    grv_scrub_kind kind;
    grv_block_key key;
    bool set_aside; /* corrupt: it is missing from now on, and the next put of its bytes heals it */
    const char *message;
} grv_scrub_finding;

/* How far a scrub is. A round goes through the whole store, in one run or in several. */
typedef struct grv_scrub_report {
    bool complete;       /* the round has come to its end */
    bool resumed;        /* this run went on where an earlier one stopped */
    uint64_t started_ns; /* when the round began, since 1970, UTC */
    uint64_t blocks;     /* read in this round, and bytes (raw) */
    uint64_t bytes;
    uint64_t total_blocks; /* in the store when this run began, and those set aside before */
    uint64_t total_bytes;
    uint64_t corrupt;    /* found in this round */
    uint64_t set_aside;  /* of those */
    uint64_t unreadable; /* found in this round */
    uint64_t missing; /* found at the round's end, but for the last 65536 that this run told of */
} grv_scrub_report;

/* How to scrub. Zero-initialise, then set. */
typedef struct grv_scrub_config {
    uint64_t rate_bytes; /* most bytes a second, on average; 0: as fast as it goes */
    bool restart;        /* begin a round, whatever an earlier run has left */
    size_t keys_max;     /* as in grv_collect_config */
    /* Called for each bad block when it is found; NULL: not. A failure ends the run. */
    grv_status (*found)(void *context, const grv_scrub_finding *finding, grv_error *error);
    /* Called for each blob that names a bad block of this run, once a blob and block, after the
     * block was told of; `offset` is the first place. NULL: not. A failure ends the run. */
    grv_status (*named)(void *context, const grv_blob_key *blob, const grv_block_key *block,
                        uint64_t offset, grv_error *error);
    /* A corrupt block is set aside while no put is open. Called with true before that is tried, so
     * that a program that has puts open may keep new ones from beginning and wait a while for the
     * others, and with false when it has been tried; NULL: not. */
    void (*quiet)(void *context, bool begin);
    /* Called between steps; NULL: not. */
    void (*progress)(void *context, const grv_scrub_report *so_far);
    void *context;
} grv_scrub_config;

/*
 * Reads and checks every block, in key order, whether a blob names it or not, then tells which
 * blocks are missing. GRV_OK means that the round is complete; what it found is in the report.
 *
 * A run that ends early (cancelled, out of time, killed) keeps its place in the store: the next one
 * goes on from there, having lost at most about a second's work. *ret_report is filled in on
 * failure too.
 *
 * A corrupt block is set aside (see grv_block_store_quarantine), except while puts are open on this
 * store or where that fails: then it stays, and the message says why. GRV_UNAVAILABLE where another
 * job runs, GRV_UNSUPPORTED on a store opened to read only. A manifest that cannot be read fails
 * the round's end with GRV_CORRUPT or GRV_UNSUPPORTED and the blob's name. A note about its place
 * that cannot be read is GRV_CORRUPT, unless `restart`.
 */
grv_status grv_store_scrub(const grv_call *call, grv_store *store, const grv_scrub_config *config,
                           grv_scrub_report *ret_report, grv_error *error);

/*
 * Whether blobs of `source` can be copied to `target`: GRV_CONFLICT where the two are one store (a
 * backup has the id of what it was made of), or where they name blobs by different hashes, so that
 * a copy would have another id. Their chunkers may differ. A source with blobs of both hashes can
 * be copied from; grv_blob_copy refuses those with the other one.
 */
grv_status grv_store_copy_check(const grv_store *source, const grv_store *target, grv_error *error);

/*
 * Tells which blobs a store has: ret_present[i] says it of keys[i]. The keys ascend. Asks by lists
 * where many of them are near each other in the store, so that thousands take few calls. A blob
 * whose record cannot be read counts as not there: whatever is done with it next says why.
 */
grv_status grv_blob_store_present(const grv_call *call, grv_blob_store *store,
                                  const grv_blob_key keys[], size_t count, bool ret_present[],
                                  grv_error *error);

/* What a copy of one blob did. */
typedef struct grv_copy_result {
    bool already_there; /* the target had the blob, and keeps its attributes unless it got the blob
                           while it was being copied */
    bool target_failed; /* the error is the target's, not the source's */
    grv_put_result put; /* what the target's put did, where the blob was copied */
} grv_copy_result;

/* How to copy a blob. Zero-initialise, then set. */
typedef struct grv_copy_config {
    bool absent; /* the caller knows that the target lacks it: do not ask */
    /* Blocks become durable every so many bytes; see grv_put_plan. 0: 128 MiB. */
    uint64_t checkpoint_bytes;
    /* Called with the number of bytes after each piece, on the caller's thread; NULL: not. */
    void (*progress)(void *context, uint64_t bytes);
    void *context;
} grv_copy_config;

/*
 * Copies a blob and its attributes. The bytes are read in full and checked, cut by the target's
 * chunker, and committed only if they have the same key there. On GRV_OK the copy is durable. After
 * any failure or crash it is absent, or whole with its attributes; the blocks that came to be
 * durable meanwhile are there for the next try, or for a collection.
 *
 * GRV_NOT_FOUND where the source has no such blob, GRV_CORRUPT where it is damaged, GRV_CONFLICT
 * where the target would give it another key; otherwise as reading and putting.
 * *ret_result is filled in on failure too. Thread-safe.
 */
grv_status grv_blob_copy(const grv_call *call, grv_blob_store *source, grv_blob_store *target,
                         const grv_blob_key *key, const grv_copy_config *config,
                         grv_copy_result *ret_result, grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
