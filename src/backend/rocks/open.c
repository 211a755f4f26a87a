/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database itself: whether there is one, its column families, opening and closing. A directory
 * whose database has lost its root file is refused, because RocksDB would make a new database
 * there and delete the old one's files as unknown.
 *
 * RocksDB's own LOCK file is never opened here: closing it would drop this process's lock on it.
 */
#include "backend/rocks/handle.h"
#include "backend/rocks/options.h"
#include "os/file.h"

#include <string.h>

/* RocksDB always has this family. */
#define DEFAULT_FAMILY "default"

static bool has_suffix(const char *name, const char *suffix)
{
    size_t size = strlen(name);
    size_t need = strlen(suffix);
    return size >= need && strcmp(name + size - need, suffix) == 0;
}

/* A root file says that there is one. Files of a first open that was cut short count as nothing. */
grv_status grv_rocks_inspect(int dir, const char *directory, bool *ret_exists, grv_error *error)
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
    status = grv_rocks_inspect(dir, directory, ret_exists, error);
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
                            bool read_only, const rocksdb_options_t *options, grv_error *error)
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
        if (!read_only || there_has(list, config->namespaces[i])) {
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
static void set_families(grv_rocks *rocks, const family_list *list)
{
    for (unsigned i = 0; i < rocks->config.namespace_count; i++) {
        rocks->families[i] = rocks->opened[0];
        for (size_t j = 1; j < list->count; j++) {
            if (strcmp(list->names[j], rocks->config.namespaces[i]) == 0) {
                rocks->families[i] = rocks->opened[j];
            }
        }
    }
}

grv_status grv_rocks_database_open(grv_rocks *rocks, bool exists, bool read_only, grv_error *error)
{
    const grv_rocks_config *config = &rocks->config;
    rocksdb_options_t *options = NULL;
    rocksdb_options_t *large = NULL;
    grv_rocks_options_new(config, &options, &large);
    family_list list = {0};
    grv_status status =
        exists ? grv_rocks_check_tables(rocks->dir, config->directory, error) : GRV_OK;
    if (!status && exists) {
        status = grv_rocks_check_manifest(rocks->dir, config->directory, error);
    }
    if (!status) {
        status = list_fill(&list, config, exists, read_only, options, error);
    }
    if (!status) {
        for (size_t i = 0; i < list.count; i++) {
            list.options[i] = strcmp(list.names[i], GRV_ROCKS_LARGE) == 0 ? large : options;
        }
        char *failed = NULL;
        rocks->db = read_only ? rocksdb_open_for_read_only_column_families(
                                    options, config->directory, (int)list.count, list.names,
                                    list.options, rocks->opened, 0, &failed)
                              : rocksdb_open_column_families(options, config->directory,
                                                             (int)list.count, list.names,
                                                             list.options, rocks->opened, &failed);
        if (failed) {
            rocks->db = NULL;
            status = grv_rocks_error(failed, "open the database", error);
        } else {
            rocks->opened_count = list.count;
            set_families(rocks, &list);
        }
    }
    list_done(&list);
    rocksdb_options_destroy(large);
    rocksdb_options_destroy(options);
    return status;
}

void grv_rocks_database_close(grv_rocks *rocks)
{
    for (size_t i = 0; i < rocks->opened_count; i++) {
        rocksdb_column_family_handle_destroy(rocks->opened[i]);
    }
    rocks->opened_count = 0;
    if (rocks->db) {
        rocksdb_close(rocks->db);
        rocks->db = NULL;
    }
}
