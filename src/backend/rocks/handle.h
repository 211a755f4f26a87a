/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open RocksDB database: its options, column families by namespace, and the lock file that
 * keeps other processes out. Ports of this backend share it.
 */
#ifndef GRV_BACKEND_ROCKS_HANDLE_H
#define GRV_BACKEND_ROCKS_HANDLE_H

#include "backend/rocks/gate.h"
#include "backend/rocks/reserve.h"
#include "backend/rocks/watermark.h"
#include "os/lock.h"

#include <graviton/backend/rocks.h>
#include <pthread.h>
#include <rocksdb/c.h>

/* Column families of a database: ours, "default", and any that an older version left. */
#define GRV_ROCKS_FAMILIES_MAX (GRV_KV_NAMESPACE_MAX + 32u)

/* kBlockCacheTier of RocksDB's ReadTier, for which its C interface has no name. */
#define GRV_ROCKS_TIER_MEMORY 1

/* The namespace whose values are large. */
#define GRV_ROCKS_LARGE "block"

typedef struct grv_rocks {
    grv_rocks_config config; /* its strings are the next two */
    char *directory;
    char *names[GRV_KV_NAMESPACE_MAX];
    int dir;       /* the directory, open */
    grv_gate gate; /* who uses the next four */
    rocksdb_t *db; /* NULL where it could not be opened again */
    rocksdb_column_family_handle_t *families[GRV_KV_NAMESPACE_MAX]; /* by namespace, in `opened` */
    rocksdb_column_family_handle_t *opened[GRV_ROCKS_FAMILIES_MAX];
    size_t opened_count;
    rocksdb_readoptions_t *read;
    rocksdb_readoptions_t *read_memory; /* what would need the disk is refused */
    rocksdb_writeoptions_t *durable;
    rocksdb_writeoptions_t *ordered;
    bool read_only;
    grv_lock lock;
    grv_watermark watermark;
    grv_reserve reserve; /* where it is open for writing */
    bool released;       /* atomic: its space was given back */
    uint64_t logged;     /* atomic: bytes that the log may hold and no table does, or more */
    bool large_removed;  /* atomic: large values were removed, so that a rewrite gives space */
    uint64_t shown;      /* sequence numbers that readers may have seen; of whoever is alone */
    pthread_mutex_t failure_lock; /* guards `failure` */
    int failed;                   /* atomic: there is one */
    grv_error failure;
} grv_rocks;

/* Opens the database as grv_kv_rocks_new says. Ends with grv_rocks_close. */
grv_status grv_rocks_open(const grv_rocks_config *config, grv_rocks **ret_rocks, grv_error *error);

/* Makes ordered writes durable as far as that is possible and closes. */
void grv_rocks_close(grv_rocks *rocks);

/*
 * Sets the error for RocksDB's message `text`, which it frees, and returns the status: the one
 * place where its messages are turned into statuses. `doing` says what was tried.
 */
grv_status grv_rocks_error(char *text, const char *doing, grv_error *error);

/* As grv_rocks_error, for a failed read: names the database in `directory`, which RocksDB itself
 * does not always do. */
grv_status grv_rocks_read_error(const char *directory, char *text, const char *doing,
                                grv_error *error);

/*
 * As grv_rocks_error, for a failed write. The database then takes no more writes: what its log
 * holds is in doubt until it is read again, and RocksDB itself refuses most of them anyway.
 */
grv_status grv_rocks_stop(grv_rocks *rocks, char *text, const char *doing, grv_error *error);

/* GRV_OK, or the failure that stopped writing, as often as it is asked for. */
grv_status grv_rocks_writable(grv_rocks *rocks, grv_error *error);

/* The failure that stopped writing, whatever it was. */
grv_status grv_rocks_failure(grv_rocks *rocks, grv_error *error);

/* Sets what stops writing, NULL: nothing does any more. The caller is alone inside. */
void grv_rocks_set_failure(grv_rocks *rocks, const grv_error *failure);

/* Begins a call on the database: it ends with grv_gate_leave, unless this fails. */
grv_status grv_rocks_enter(const grv_call *call, grv_rocks *rocks, grv_error *error);

/*
 * Whether a write of about `size` bytes may go on; the caller is inside, holds no stripe, and
 * builds its write afterwards. GRV_OUT_OF_SPACE without room beside the reserve, unless the write
 * `frees`: then the reserve gives way. A database that a full disk had stopped is opened again.
 */
grv_status grv_rocks_admit(grv_rocks *rocks, uint64_t size, bool frees, grv_error *error);

/* Makes all writes so far durable. */
grv_status grv_rocks_sync(grv_rocks *rocks, grv_error *error);

/* Notes that values of namespace `ns` were removed. */
void grv_rocks_note_removed(grv_rocks *rocks, unsigned ns);

/* ---- manifest.c ---- */

/* GRV_CORRUPT where the last records of the database's manifest are damaged in the one way that
 * RocksDB takes for the end of it. */
grv_status grv_rocks_check_manifest(int dir, const char *directory, grv_error *error);

/* ---- table.c ---- */

/*
 * GRV_CORRUPT where a table or a file of large values in `dir` is damaged in a way that makes
 * RocksDB end the process. What is damaged otherwise is RocksDB's to tell, and so it is good here;
 * nothing else in the directory is looked at.
 */
grv_status grv_rocks_check_tables(int dir, const char *directory, grv_error *error);

/* ---- kv.c ---- */

/* The database of a key-value store of this backend; NULL for another's. */
grv_rocks *grv_rocks_of_kv(grv_kv *kv);

/* ---- batch.c ---- */

/* Appends the batch's operations to `writes`. No other batch may write into the ranges that it
 * removes until it is written. */
grv_status grv_rocks_add_operations(const grv_call *call, grv_rocks *rocks,
                                    const grv_kv_batch *batch, rocksdb_writebatch_t *writes,
                                    grv_error *error);

/* ---- open.c ---- */

/* Whether file names in `dir` say that a database is there. GRV_CORRUPT where it has lost its root
 * file. */
grv_status grv_rocks_inspect(int dir, const char *directory, bool *ret_exists, grv_error *error);

/* Opens the database as `config` says, or for reading only. */
grv_status grv_rocks_database_open(grv_rocks *rocks, bool exists, bool read_only, grv_error *error);

/* Closes it where it is open. */
void grv_rocks_database_close(grv_rocks *rocks);

#endif
