/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole store by name: opens both halves, checks that they belong together, and gives the blob
 * store over them. This is where most programs begin.
 */
#ifndef GRAVITON_STORE_H
#define GRAVITON_STORE_H

#include <graviton/backend/s3.h>
#include <graviton/cache.h>
#include <graviton/port/blob_store.h>
#include <graviton/port/block_store.h>
#include <graviton/port/manifest_repo.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct grv_store grv_store;

/* Size of a store id in bytes; it prints as 32 hex digits. */
#define GRV_STORE_ID_SIZE 16

/*
 * Which store, and how. Zero-initialise, then set; strings are borrowed for the call. Either
 * `directory` (files and RocksDB under it, or "memory:", or "http[s]://HOST[:PORT][/PREFIX]" of a
 * running server) or both `blocks` and `meta`.
 *   blocks: fs:DIR | s3://BUCKET/PREFIX | kv: | memory:
 *   meta: rocks:DIR | postgresql://HOST/DATABASE | memory: | scala:postgresql://HOST/DATABASE
 * "fs:DIR?prefix=P" sets the block prefix, "rocks:DIR?reserve=SIZE" is `reserve_bytes` in words.
 * "s3://BUCKET/PREFIX" takes ?endpoint=URL&region=NAME&style=path|virtual&connections=N, which go
 * before what `s3` says. "scala:" with "fs:" or "s3:" is a deployment of the Scala system; it can
 * only be read.
 */
typedef struct grv_store_config {
    const char *directory;
    const char *blocks;
    const char *meta;
    bool create;    /* make the store where neither half exists */
    bool read_only; /* change nothing that is stored: puts, removals and attributes are
                       GRV_UNSUPPORTED. Opens faster, and where nothing can be written; where it
                       can, the lock still says who has the store. Not together with `create` */
    grv_hash hash;  /* GRV_HASH_NONE: what the store has, blake3 for a new one */
    const grv_chunker_spec *chunker; /* NULL: what the store has; for a new one the default, or
                                        cdc:1M where its blocks are in S3 */
    const grv_s3_config *s3;         /* of blocks in S3; NULL: what the environment says */
    unsigned threads;                /* 0: one a core */
    size_t budget_bytes;             /* 0: GRV_CAS_BUDGET_DEFAULT */
    /* Disk space kept beside the metadata, so that a full disk's store can be made smaller; 0 for
     * none. NULL: what the store has, 64 MiB for a new one. At most an eighth of the disk. */
    const uint64_t *reserve_bytes;
    /* Of metadata in PostgreSQL: see grv_pg_config. Any number of processes have such a store open
     * at once, unless one collects. */
    unsigned connections; /* 0: GRV_PG_CONNECTIONS_DEFAULT */
    bool allow_unsafe;
    uint64_t patience_ns; /* of a server, too. 0: GRV_PG_PATIENCE_DEFAULT */
    const char *token;    /* of a server: see grv_remote_config */
    const char *command;  /* who this is, for others' messages; NULL: "libgraviton" */
    /* The opener promises to ask grv_store_is_wanted every second or so, and to end its puts and
     * lend the store where it is: for processes that live long. Whoever wants the store to itself
     * waits for those who do, and for nobody else. Where somebody has it already, opening succeeds,
     * and the store is lent (grv_store_is_lent). */
    bool gives_way;
    /* A cache of blocks that were read; NULL: none. On a local disk, DIR[?size=SIZE], 1G unless
     * said, for stores whose blocks are far away; processes and stores may share DIR. Or in this
     * process's memory, memory:[?size=SIZE], 256M unless said, beside the budget: what lies there
     * is not read and hashed again. Either changes no answer and fails no call (see
     * grv_store_cache); background calls read past it. */
    const char *cache;
    bool use_reserve; /* to remove things: open also on a full disk, by means of the reserve. Puts
                      are GRV_OUT_OF_SPACE until there is room again */
} grv_store_config;

/* What a store is. Of the Scala system's, which has no such record: an id of zeros, the default
 * chunker. */
typedef struct grv_store_info {
    uint8_t id[GRV_STORE_ID_SIZE];
    uint32_t format_version;
    grv_hash hash; /* of its blobs; GRV_HASH_NONE: the Scala system's, with both in use, or empty */
    grv_chunker_spec chunker;
    uint64_t created_ns; /* nanoseconds since 1970, UTC */
} grv_store_info;

/*
 * Figures of a whole store, counted. Ratios people want: logical/unique (dedup), unique/stored
 * (compression).
 */
typedef struct grv_store_stats {
    uint64_t blobs;
    uint64_t logical_bytes;       /* sum of the blobs' sizes */
    uint64_t references;          /* block references in all manifests */
    uint64_t blocks;              /* distinct blocks in the block store */
    uint64_t unique_bytes;        /* sum of their raw sizes */
    uint64_t stored_bytes;        /* what they take */
    uint64_t unreferenced_blocks; /* blocks no manifest names: garbage */
    uint64_t unreferenced_bytes;  /* raw */
    uint64_t missing_blocks;      /* blocks a manifest names that are not there: damage */
} grv_store_stats;

/*
 * Opens a store. Nothing is written unless both halves are absent and `create` is set. Errors, each
 * with its own message: GRV_NOT_FOUND (no store there, and `create` not set), GRV_CONFLICT (the
 * halves have different ids, one half is missing, or `hash` or `chunker` is not the store's),
 * GRV_UNAVAILABLE (another process has it), GRV_OUT_OF_SPACE (no room to write: open it for
 * reading, or with `use_reserve`), GRV_UNSUPPORTED (newer format, unknown scheme, a store that can
 * only be read and is to be written to),
 * GRV_INVALID_ARGUMENT (malformed configuration). Free with grv_store_close.
 */
grv_status grv_store_open(const grv_call *call, const grv_store_config *config,
                          grv_store **ret_store, grv_error *error);

/* The store's ports; they live as long as the store. A server shows its blobs alone: the other two
 * are NULL. */
grv_blob_store *grv_store_blobs(grv_store *store);
grv_block_store *grv_store_blocks(grv_store *store);
grv_manifest_repo *grv_store_manifests(grv_store *store);

/* What whoever looks after the store ought to know, such as that the bucket lets objects expire;
 * NULL: nothing. One line; lives as long as the store. */
const char *grv_store_warning(const grv_store *store);

/* Whether it was opened to read only. */
bool grv_store_is_read_only(const grv_store *store);

/* What the store is; lives as long as the store. */
const grv_store_info *grv_store_get_info(const grv_store *store);

/* Counts the whole store: reads all manifests and the block index, in bounded memory. */
grv_status grv_store_count(const grv_call *call, grv_store *store, grv_store_stats *ret_stats,
                           grv_error *error);

/* The figures of the store's cache, false where it has none. Fills `ret_failure` (NULL allowed)
 * with the first thing that went wrong with its files, if any: the cache serves less then, or
 * nothing. Thread-safe. */
bool grv_store_cache(grv_store *store, grv_cache_figures *ret_figures, grv_error *ret_failure);

/*
 * Giving way. A process that may write to a store with metadata in PostgreSQL keeps others from
 * having that store to themselves, as `graviton gc` needs it, until it is closed, or lends it. All
 * of these may be called from any thread; lending and reclaiming from one at a time.
 *
 * Whether somebody wants the store to himself, or has it, and this process could give way. One
 * small query; false for stores that are one process's at a time, for those open to read only,
 * while this process itself collects or scrubs it, and while it is lent.
 */
grv_status grv_store_is_wanted(const grv_call *call, grv_store *store, bool *ret_wanted,
                               grv_error *error);

/*
 * Lends the store: from then on others may have it to themselves. Reading and removing blobs go on;
 * puts that are opened meanwhile wait until it is reclaimed, or end as their call says
 * (GRV_TIMEOUT, GRV_CANCELLED); collecting and scrubbing it are GRV_UNAVAILABLE. GRV_UNAVAILABLE,
 * and nothing is lent, while a put is open in this process, or it collects, scrubs or backs up the
 * store; GRV_UNSUPPORTED for stores of which grv_store_is_wanted is always false. Lending what is
 * lent does nothing. A store may be closed while it is lent.
 */
grv_status grv_store_lend(const grv_call *call, grv_store *store, grv_error *error);

/* Whether it is lent now. */
bool grv_store_is_lent(const grv_store *store);

/*
 * Takes back what was lent; ask again and again until it succeeds. GRV_UNAVAILABLE while somebody
 * still has the store to himself or wants to, or the database cannot be reached. GRV_UNSUPPORTED
 * where its schema is another one by now: then only closing is left. Whatever was known of what is
 * stored has been forgotten by then. Where the other's work was left unended, puts fail as they
 * say, until a collection has finished it: this process may run it. Does nothing where nothing is
 * lent.
 */
grv_status grv_store_reclaim(const grv_call *call, grv_store *store, grv_error *error);

/* Closes. Everything opened through it has been freed. NULL is allowed. */
void grv_store_close(grv_store *store);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
