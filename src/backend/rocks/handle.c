/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing, and a disk that runs full. The lock is taken before RocksDB looks at the
 * directory, because even a failed second open of its own moves the holder's files.
 *
 * On a full disk: a write that only adds is refused before RocksDB sees it, one that makes room
 * may use the reserve (reserve.h). Where RocksDB runs out of space all the same, in a write or in
 * the background, it takes no more writes until it is opened again: the next write does that.
 */
#include "backend/rocks/handle.h"

#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Our lock's file, beside RocksDB's. */
#define LOCK_FILE "lock"
/* Bytes in memory from which closing writes tables; less is replayed at the next open faster than
 * the tables' syncs take. */
#define FLUSH_AT_CLOSE_MIN (2u << 20)

/* Refuses a database that came back with less than was acknowledged as durable. */
static grv_status check_watermark(grv_rocks *rocks, grv_error *error)
{
    uint64_t sequence = rocksdb_get_latest_sequence_number(rocks->db);
    if (sequence >= rocks->watermark.sequence) {
        return GRV_OK;
    }
    return grv_error_set(error, GRV_CORRUPT, "rocks",
                         "the database in %s ends at write %llu, but %llu were acknowledged as "
                         "durable: its log is damaged; restore a backup, or remove the file %s to "
                         "go on without the lost writes",
                         rocks->directory, (unsigned long long)sequence,
                         (unsigned long long)rocks->watermark.sequence, GRV_WATERMARK_FILE);
}

/* Lets the reserve's space go where the disk has no room. */
static grv_status make_room(grv_rocks *rocks, bool *ret_released, grv_error *error)
{
    *ret_released = false;
    if (grv_reserve_room(&rocks->reserve, 0)) {
        return GRV_OK;
    }
    grv_status status = grv_reserve_release(&rocks->reserve, ret_released, error);
    if (*ret_released) {
        __atomic_store_n(&rocks->released, true, __ATOMIC_RELAXED);
    }
    return status;
}

/* Opens the database for writing; `frees`: the reserve may be used for that. */
static grv_status open_to_write(grv_rocks *rocks, bool exists, bool frees, grv_error *error)
{
    grv_reserve *reserve = &rocks->reserve;
    bool whole = grv_reserve_fill(reserve);
    if (!frees && (!whole || !grv_reserve_room(reserve, 0))) {
        return grv_reserve_refuse(reserve, error);
    }
    bool released = false;
    grv_status status = make_room(rocks, &released, error);
    if (status) {
        return status;
    }
    status = grv_rocks_database_open(rocks, exists, false, error);
    if (status == GRV_OUT_OF_SPACE && frees && !released) {
        status = grv_reserve_release(reserve, &released, error);
        if (!status && released) {
            __atomic_store_n(&rocks->released, true, __ATOMIC_RELAXED);
            return grv_rocks_database_open(rocks, exists, false, error);
        }
        return status ? status : grv_reserve_refuse(reserve, error);
    }
    return status;
}

/* With the lock held: looks again, opens, checks. */
static grv_status open_locked(grv_rocks *rocks, grv_error *error)
{
    const grv_rocks_config *config = &rocks->config;
    bool exists = false;
    grv_status status = grv_rocks_inspect(rocks->dir, config->directory, &exists, error);
    if (!status) {
        status = grv_watermark_open(rocks->dir, config->read_only, &rocks->watermark, error);
    }
    if (!status && config->read_only) {
        status = grv_rocks_database_open(rocks, exists, true, error);
    } else if (!status) {
        status = grv_reserve_open(rocks->dir, config->reserve_bytes, &rocks->reserve, error);
        if (!status) {
            status = open_to_write(rocks, exists, config->use_reserve, error);
        }
    }
    return status ? status : check_watermark(rocks, error);
}

/* Copies what a configuration borrows: the database may have to be opened again. */
static grv_status config_copy(const grv_rocks_config *config, grv_rocks *rocks, grv_error *error)
{
    rocks->config = *config;
    rocks->config.namespaces = (const char *const *)rocks->names;
    rocks->config.directory = rocks->directory = strdup(config->directory);
    bool copied = rocks->directory != NULL;
    for (unsigned i = 0; i < config->namespace_count; i++) {
        rocks->names[i] = strdup(config->namespaces[i]);
        copied = copied && rocks->names[i];
    }
    if (!copied) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "rocks", "no memory for a database");
    }
    return GRV_OK;
}

static grv_status rocks_new(grv_rocks **ret_rocks, grv_error *error)
{
    grv_rocks *rocks = calloc(1, sizeof *rocks);
    if (!rocks) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "rocks", "no memory for a database");
    }
    int failed = pthread_mutex_init(&rocks->failure_lock, NULL);
    if (failed) {
        free(rocks);
        return grv_error_set_errno(error, failed, "rocks", "cannot make a lock");
    }
    grv_status status = grv_gate_init(&rocks->gate, error);
    if (status) {
        pthread_mutex_destroy(&rocks->failure_lock);
        free(rocks);
        return status;
    }
    rocks->dir = -1;
    rocks->lock.fd = -1;
    rocks->watermark.fd = -1;
    rocks->reserve.dir = -1;
    rocks->read = rocksdb_readoptions_create();
    rocks->read_memory = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(rocks->read_memory, GRV_ROCKS_TIER_MEMORY);
    rocks->durable = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(rocks->durable, 1);
    rocks->ordered = rocksdb_writeoptions_create();
    *ret_rocks = rocks;
    return GRV_OK;
}

static void rocks_destroy(grv_rocks *rocks)
{
    grv_rocks_database_close(rocks);
    rocksdb_readoptions_destroy(rocks->read);
    rocksdb_readoptions_destroy(rocks->read_memory);
    rocksdb_writeoptions_destroy(rocks->durable);
    rocksdb_writeoptions_destroy(rocks->ordered);
    if (rocks->released) {
        grv_reserve_fill_rest(&rocks->reserve);
    }
    grv_reserve_close(&rocks->reserve);
    if (rocks->watermark.fd >= 0) {
        grv_watermark_close(&rocks->watermark);
    }
    if (rocks->lock.fd >= 0) {
        grv_lock_close(&rocks->lock);
    }
    if (rocks->dir >= 0) {
        (void)grv_file_close(rocks->dir, "directory", NULL); /* open to read: nothing to lose */
    }
    grv_gate_done(&rocks->gate);
    pthread_mutex_destroy(&rocks->failure_lock);
    for (unsigned i = 0; i < rocks->config.namespace_count; i++) {
        free(rocks->names[i]);
    }
    free(rocks->directory);
    free(rocks);
}

static grv_status open_directory(grv_rocks *rocks, grv_error *error)
{
    char what[GRV_ERROR_MESSAGE_SIZE / 2];
    grv_status status = grv_directory_open(AT_FDCWD, rocks->config.directory, rocks->config.create,
                                           &rocks->dir, error);
    if (status) {
        return status;
    }
    snprintf(what, sizeof what, "store %s", rocks->config.directory);
    status = grv_lock_open(rocks->dir, LOCK_FILE, what, rocks->read_only, &rocks->lock, error);
    return status ? status : open_locked(rocks, error);
}

grv_status grv_rocks_open(const grv_rocks_config *config, grv_rocks **ret_rocks, grv_error *error)
{
    bool exists = false;
    grv_status status = grv_rocks_exists(config->directory, &exists, error);
    if (status) {
        return status;
    }
    if (config->read_only && config->create) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "rocks",
                             "a database cannot be made and be read-only");
    }
    if (!exists && !config->create) {
        return grv_error_set(error, GRV_NOT_FOUND, "rocks", "there is no database in %s",
                             config->directory);
    }
    grv_rocks *rocks = NULL;
    status = rocks_new(&rocks, error);
    if (status) {
        return status;
    }
    rocks->read_only = config->read_only;
    status = config_copy(config, rocks, error);
    if (!status) {
        status = open_directory(rocks, error);
    }
    if (status) {
        rocks_destroy(rocks);
        return status;
    }
    *ret_rocks = rocks;
    return GRV_OK;
}

/* ---- Inside ---- */

grv_status grv_rocks_enter(const grv_call *call, grv_rocks *rocks, grv_error *error)
{
    grv_status status = grv_call_check(call, "rocks", error);
    if (status) {
        return status;
    }
    if (!call || !call->no_wait) {
        grv_gate_enter(&rocks->gate);
    } else if (!grv_gate_try(&rocks->gate)) {
        return grv_call_would_wait("rocks", error);
    }
    if (!rocks->db) {
        status = grv_rocks_failure(rocks, error);
        grv_gate_leave(&rocks->gate, 0);
    }
    return status;
}

/*
 * Opens the database again; the caller is alone inside. Writes that RocksDB has shown must all be
 * there: an ordered one that the failure took along would otherwise be missed by a durable one
 * that comes after and relies on it.
 */
static grv_status reopen_alone(grv_rocks *rocks, bool frees, grv_error *error)
{
    if (rocks->db) {
        uint64_t shown = rocksdb_get_latest_sequence_number(rocks->db);
        rocks->shown = shown > rocks->shown ? shown : rocks->shown;
    }
    grv_rocks_database_close(rocks);
    grv_status status = open_to_write(rocks, true, frees, error);
    if (!status) {
        status = check_watermark(rocks, error);
    }
    if (!status && rocksdb_get_latest_sequence_number(rocks->db) < rocks->shown) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "rocks",
                               "the full disk took writes along that were not yet durable");
    }
    if (status) {
        /* For readers. Where that fails too they are told what stopped the writers. */
        grv_rocks_database_close(rocks);
        (void)grv_rocks_database_open(rocks, true, true, NULL);
    }
    return status;
}

/* Makes a database writable again that a full disk has stopped. */
static grv_status revive(grv_rocks *rocks, bool frees, grv_error *error)
{
    if (!grv_gate_shut(&rocks->gate)) {
        return grv_rocks_writable(rocks, error);
    }
    grv_status status = GRV_OK;
    if (grv_rocks_writable(rocks, NULL) == GRV_OUT_OF_SPACE) {
        grv_error mine = GRV_ERROR_INIT;
        status = reopen_alone(rocks, frees, &mine);
        grv_rocks_set_failure(rocks, status ? &mine : NULL);
    }
    status = grv_rocks_writable(rocks, error);
    grv_gate_open(&rocks->gate);
    return status;
}

/* Bytes that are in the log and in memory, and in no table. */
static uint64_t memory_size(const grv_rocks *rocks)
{
    uint64_t total = 0;
    for (size_t i = 0; i < rocks->opened_count; i++) {
        uint64_t size = 0;
        if (rocksdb_property_int_cf(rocks->db, rocks->opened[i], "rocksdb.cur-size-all-mem-tables",
                                    &size) == 0) {
            total += size;
        }
    }
    return total;
}

/*
 * Whether there is room to add `size` bytes. Opening a database writes what its log holds to
 * tables, and removes the log only then: so that much has to be free as well, or in the reserve,
 * or nothing could be removed any more. What was written is counted; how much of it is in tables by
 * now is asked only where that matters.
 */
static bool adding_fits(grv_rocks *rocks, uint64_t size)
{
    uint64_t reserve = rocks->reserve.size;
    uint64_t logged = __atomic_add_fetch(&rocks->logged, size, __ATOMIC_RELAXED);
    if (grv_reserve_room(&rocks->reserve, size + (logged > reserve ? logged - reserve : 0))) {
        return true;
    }
    if (logged <= reserve) {
        return false;
    }
    logged = memory_size(rocks) + size;
    __atomic_store_n(&rocks->logged, logged, __ATOMIC_RELAXED);
    return grv_reserve_room(&rocks->reserve, size + (logged > reserve ? logged - reserve : 0));
}

grv_status grv_rocks_admit(grv_rocks *rocks, uint64_t size, bool frees, grv_error *error)
{
    if (rocks->read_only) {
        return grv_rocks_writable(rocks, error);
    }
    if (!frees && (!grv_reserve_fill(&rocks->reserve) || !adding_fits(rocks, size))) {
        return grv_reserve_refuse(&rocks->reserve, error);
    }
    grv_status status = grv_rocks_writable(rocks, NULL);
    if (status == GRV_OUT_OF_SPACE) {
        return revive(rocks, frees, error);
    }
    if (status) {
        return grv_rocks_writable(rocks, error);
    }
    bool released = false;
    return frees ? make_room(rocks, &released, error) : GRV_OK;
}

grv_status grv_rocks_sync(grv_rocks *rocks, grv_error *error)
{
    if (rocks->read_only) {
        return GRV_OK; /* nothing was written that could want it */
    }
    grv_status status = grv_rocks_writable(rocks, error);
    if (status) {
        return status;
    }
    /* Read first: all up to here is in the log by now, and so in what is synced. */
    uint64_t sequence = rocksdb_get_latest_sequence_number(rocks->db);
    if (sequence <= grv_watermark_noted(&rocks->watermark)) {
        return GRV_OK; /* all of it is durable already */
    }
    char *failed = NULL;
    rocksdb_flush_wal(rocks->db, 1, &failed);
    if (failed) {
        return grv_rocks_stop(rocks, failed, "sync the log", error);
    }
    grv_watermark_raise(&rocks->watermark, sequence);
    return GRV_OK;
}

/* Writes tables where much is in memory only, so that the next open has little to replay. The log
 * is synced by then: a failure costs time, no data. */
static void flush_tables(grv_rocks *rocks)
{
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    bool much = memory_size(rocks) >= FLUSH_AT_CLOSE_MIN;
    for (size_t i = 0; much && i < rocks->opened_count; i++) {
        char *failed = NULL;
        rocksdb_flush_cf(rocks->db, options, rocks->opened[i], &failed);
        rocksdb_free(failed);
    }
    rocksdb_flushoptions_destroy(options);
}

void grv_rocks_note_removed(grv_rocks *rocks, unsigned ns)
{
    if (strcmp(rocks->names[ns], GRV_ROCKS_LARGE) == 0) {
        __atomic_store_n(&rocks->large_removed, true, __ATOMIC_RELAXED);
    }
}

/* Rewrites the keys of large values, after which files of values that nothing names are removed.
 * RocksDB does so by itself in time; a disk that is short of space cannot wait. A failure costs
 * space alone. */
static void rewrite_large(grv_rocks *rocks)
{
    for (unsigned i = 0; i < rocks->config.namespace_count; i++) {
        if (strcmp(rocks->names[i], GRV_ROCKS_LARGE) == 0) {
            rocksdb_compact_range_cf(rocks->db, rocks->families[i], NULL, 0, NULL, 0);
        }
    }
}

void grv_rocks_close(grv_rocks *rocks)
{
    if (!rocks->read_only && grv_rocks_sync(rocks, NULL) == GRV_OK) {
        if (rocks->large_removed) {
            rewrite_large(rocks);
        }
        flush_tables(rocks);
    }
    rocks_destroy(rocks);
}
