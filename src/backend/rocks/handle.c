/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing. The order guards against two dangers: the lock is taken before RocksDB
 * looks at the directory, because even a failed second open of its own moves the holder's files;
 * and a directory whose database has lost its root file is refused, because RocksDB would make a
 * new database there and delete the old one's files as unknown.
 *
 * RocksDB's own LOCK file is never opened here: closing it would drop this process's lock on it.
 */
#include "backend/rocks/handle.h"

#include "backend/rocks/options.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Our lock's file, beside RocksDB's. */
#define LOCK_FILE "lock"
/* The namespace whose values are large. */
#define LARGE_FAMILY "block"
/* RocksDB always has this family. */
#define DEFAULT_FAMILY "default"
/* Bytes in memory from which closing writes tables; less is replayed at the next open faster than
 * the tables' syncs take. */
#define FLUSH_AT_CLOSE_MIN (2u << 20)

static bool has_suffix(const char *name, const char *suffix)
{
    size_t size = strlen(name);
    size_t need = strlen(suffix);
    return size >= need && strcmp(name + size - need, suffix) == 0;
}

/* Whether file names in `dir` say that a database is there. A root file says so; data without one
 * is GRV_CORRUPT. Files of a first open that was cut short count as nothing. */
static grv_status inspect(int dir, const char *directory, bool *ret_exists, grv_error *error)
{
    DIR *entries = NULL;
    grv_status status = grv_directory_entries(dir, directory, &entries, error);
    bool root = false;
    bool data = false;
    const char *name = NULL;
    while (!status) {
        status = grv_directory_next(entries, directory, &name, error);
        if (status || !name) {
            break;
        }
        root = root || strcmp(name, "CURRENT") == 0;
        data = data || has_suffix(name, ".sst") || has_suffix(name, ".log") ||
               has_suffix(name, ".blob");
    }
    grv_directory_close(entries);
    if (status) {
        return status;
    }
    if (data && !root) {
        return grv_error_set(error, GRV_CORRUPT, "rocks",
                             "the database in %s has lost its file CURRENT: restore it from a "
                             "backup, or RocksDB's repair may rebuild it",
                             directory);
    }
    *ret_exists = root;
    return GRV_OK;
}

grv_status grv_rocks_exists(const char *directory, bool *ret_exists, grv_error *error)
{
    int dir = -1;
    grv_status status = grv_directory_open(AT_FDCWD, directory, false, &dir, error);
    if (status == GRV_NOT_FOUND) {
        *ret_exists = false;
        return GRV_OK;
    }
    if (status) {
        return status;
    }
    status = inspect(dir, directory, ret_exists, error);
    grv_file_calls()->close(dir);
    return status;
}

/* Names and options of the families to open: all that are there and all that are wanted. */
typedef struct family_list {
    size_t count;
    const char *names[GRV_ROCKS_FAMILIES_MAX];
    const rocksdb_options_t *options[GRV_ROCKS_FAMILIES_MAX];
    char **there; /* from RocksDB, NULL for a new database */
    size_t there_count;
} family_list;

static bool list_has(const family_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool there_has(const family_list *list, const char *name)
{
    for (size_t i = 0; i < list->there_count; i++) {
        if (strcmp(list->there[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static grv_status list_add(family_list *list, const char *name, grv_error *error)
{
    if (list_has(list, name)) {
        return GRV_OK;
    }
    if (list->count == GRV_ROCKS_FAMILIES_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "rocks",
                             "the database has more than %u column families",
                             GRV_ROCKS_FAMILIES_MAX);
    }
    list->names[list->count++] = name;
    return GRV_OK;
}

static grv_status list_fill(family_list *list, const grv_rocks_config *config, bool exists,
                            const rocksdb_options_t *options, grv_error *error)
{
    char *failed = NULL;
    if (exists) {
        list->there =
            rocksdb_list_column_families(options, config->directory, &list->there_count, &failed);
        if (failed) {
            list->there_count = 0;
            return grv_rocks_error(failed, "read the database's column families", error);
        }
    }
    grv_status status = list_add(list, DEFAULT_FAMILY, error);
    for (unsigned i = 0; !status && i < config->namespace_count; i++) {
        if (strcmp(config->namespaces[i], DEFAULT_FAMILY) == 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "rocks",
                                 "a namespace may not be named %s", DEFAULT_FAMILY);
        }
        if (list_has(list, config->namespaces[i])) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "rocks",
                                 "two namespaces are named %s", config->namespaces[i]);
        }
        if (!config->read_only || there_has(list, config->namespaces[i])) {
            status = list_add(list, config->namespaces[i], error);
        }
    }
    for (size_t i = 0; !status && i < list->there_count; i++) {
        status = list_add(list, list->there[i], error);
    }
    return status;
}

static void list_done(family_list *list)
{
    if (list->there) {
        rocksdb_list_column_families_destroy(list->there, list->there_count);
    }
}

/*
 * Families by namespace. One that is not there (only read-only: the making of the database was cut
 * short, or it is of an older version) is empty, and so is "default", which nothing ever uses.
 */
static void set_families(grv_rocks *rocks, const grv_rocks_config *config, const family_list *list)
{
    for (unsigned i = 0; i < config->namespace_count; i++) {
        rocks->families[i] = rocks->opened[0];
        for (size_t j = 1; j < list->count; j++) {
            if (strcmp(list->names[j], config->namespaces[i]) == 0) {
                rocks->families[i] = rocks->opened[j];
            }
        }
    }
}

/* Opens the database itself. */
static grv_status open_database(grv_rocks *rocks, const grv_rocks_config *config, bool exists,
                                grv_error *error)
{
    rocksdb_options_t *options = NULL;
    rocksdb_options_t *large = NULL;
    grv_rocks_options_new(config, &options, &large);
    family_list list = {0};
    grv_status status = list_fill(&list, config, exists, options, error);
    if (!status) {
        for (size_t i = 0; i < list.count; i++) {
            list.options[i] = strcmp(list.names[i], LARGE_FAMILY) == 0 ? large : options;
        }
        char *failed = NULL;
        rocks->db =
            config->read_only
                ? rocksdb_open_for_read_only_column_families(
                      options, config->directory, (int)list.count, list.names, list.options,
                      rocks->opened, 0, &failed)
                : rocksdb_open_column_families(options, config->directory, (int)list.count,
                                               list.names, list.options, rocks->opened, &failed);
        if (failed) {
            rocks->db = NULL;
            status = grv_rocks_error(failed, "open the database", error);
        } else {
            rocks->opened_count = list.count;
            set_families(rocks, config, &list);
        }
    }
    list_done(&list);
    rocksdb_options_destroy(large);
    rocksdb_options_destroy(options);
    return status;
}

/* Refuses a database that came back with less than was acknowledged as durable. */
static grv_status check_watermark(grv_rocks *rocks, grv_error *error)
{
    uint64_t sequence = rocksdb_get_latest_sequence_number(rocks->db);
    if (sequence >= rocks->watermark.sequence) {
        return GRV_OK;
    }
    return grv_error_set(error, GRV_CORRUPT, "rocks",
                         "the database ends at write %llu, but %llu were acknowledged as durable: "
                         "its log is damaged; restore a backup, or remove the file %s to go on "
                         "without the lost writes",
                         (unsigned long long)sequence,
                         (unsigned long long)rocks->watermark.sequence, GRV_WATERMARK_FILE);
}

/* With the lock held: looks again, opens, checks. */
static grv_status open_locked(grv_rocks *rocks, const grv_rocks_config *config, int dir,
                              grv_error *error)
{
    bool exists = false;
    grv_status status = inspect(dir, config->directory, &exists, error);
    if (status) {
        return status;
    }
    status = grv_watermark_open(dir, config->read_only, &rocks->watermark, error);
    if (status) {
        return status;
    }
    status = open_database(rocks, config, exists, error);
    return status ? status : check_watermark(rocks, error);
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
    rocks->lock.fd = -1;
    rocks->watermark.fd = -1;
    rocks->read = rocksdb_readoptions_create();
    rocks->durable = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(rocks->durable, 1);
    rocks->ordered = rocksdb_writeoptions_create();
    *ret_rocks = rocks;
    return GRV_OK;
}

static void rocks_destroy(grv_rocks *rocks)
{
    for (size_t i = 0; i < rocks->opened_count; i++) {
        rocksdb_column_family_handle_destroy(rocks->opened[i]);
    }
    if (rocks->db) {
        rocksdb_close(rocks->db);
    }
    rocksdb_readoptions_destroy(rocks->read);
    rocksdb_writeoptions_destroy(rocks->durable);
    rocksdb_writeoptions_destroy(rocks->ordered);
    if (rocks->watermark.fd >= 0) {
        grv_watermark_close(&rocks->watermark);
    }
    if (rocks->lock.fd >= 0) {
        grv_lock_close(&rocks->lock);
    }
    pthread_mutex_destroy(&rocks->failure_lock);
    free(rocks);
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
    int dir = -1;
    status = grv_directory_open(AT_FDCWD, config->directory, config->create, &dir, error);
    if (!status) {
        char what[GRV_ERROR_MESSAGE_SIZE / 2];
        snprintf(what, sizeof what, "store %s", config->directory);
        status = grv_lock_open(dir, LOCK_FILE, what, config->read_only, &rocks->lock, error);
        if (!status) {
            status = open_locked(rocks, config, dir, error);
        }
        grv_file_calls()->close(dir);
    }
    if (status) {
        rocks_destroy(rocks);
        return status;
    }
    *ret_rocks = rocks;
    return GRV_OK;
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
    uint64_t total = 0;
    for (size_t i = 0; i < rocks->opened_count; i++) {
        uint64_t size = 0;
        if (rocksdb_property_int_cf(rocks->db, rocks->opened[i], "rocksdb.cur-size-all-mem-tables",
                                    &size) == 0) {
            total += size;
        }
    }
    for (size_t i = 0; total >= FLUSH_AT_CLOSE_MIN && i < rocks->opened_count; i++) {
        char *failed = NULL;
        rocksdb_flush_cf(rocks->db, options, rocks->opened[i], &failed);
        rocksdb_free(failed);
    }
    rocksdb_flushoptions_destroy(options);
}

void grv_rocks_close(grv_rocks *rocks)
{
    if (!rocks->read_only && grv_rocks_sync(rocks, NULL) == GRV_OK) {
        flush_tables(rocks);
    }
    rocks_destroy(rocks);
}
