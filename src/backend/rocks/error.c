/* SPDX-License-Identifier: Apache-2.0 */
/* RocksDB reports failures as text; here, and nowhere else, that becomes statuses. */
#include "backend/rocks/handle.h"

#include <string.h>

/* How RocksDB's messages begin. The first that fits decides. */
static const struct {
    const char *prefix;
    grv_status status;
} prefixes[] = {
    {"IO error: No space left", GRV_OUT_OF_SPACE},
    {"IO error: Space limit reached", GRV_OUT_OF_SPACE},
    /* A file that the database itself names is gone. */
    {"IO error: No such file or directory", GRV_CORRUPT},
    {"IO error: lock ", GRV_UNAVAILABLE},
    {"Corruption: ", GRV_CORRUPT},
    {"Not implemented: ", GRV_UNSUPPORTED},
    {"Invalid argument: ", GRV_INVALID_ARGUMENT},
    {"NotFound: ", GRV_NOT_FOUND},
    {"Resource busy: ", GRV_UNAVAILABLE},
    {"Operation failed. Try again.", GRV_UNAVAILABLE},
    {"Operation timed out: ", GRV_TIMEOUT},
    {"Operation aborted: Memory limit", GRV_LIMIT_EXCEEDED},
    {"Shutdown in progress: ", GRV_UNAVAILABLE},
};

/* How messages of failed system calls end: errno's text. */
static const struct {
    const char *suffix;
    grv_status status;
} suffixes[] = {
    {"No space left on device", GRV_OUT_OF_SPACE},  {"Disk quota exceeded", GRV_OUT_OF_SPACE},
    {"Permission denied", GRV_PERMISSION},          {"Operation not permitted", GRV_PERMISSION},
    {"Read-only file system", GRV_PERMISSION},      {"Too many open files", GRV_LIMIT_EXCEEDED},
    {"Cannot allocate memory", GRV_LIMIT_EXCEEDED}, {"File too large", GRV_LIMIT_EXCEEDED},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static grv_status status_of(const char *text)
{
    for (size_t i = 0; i < COUNT(prefixes); i++) {
        if (strncmp(text, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0) {
            return prefixes[i].status;
        }
    }
    size_t size = strlen(text);
    for (size_t i = 0; i < COUNT(suffixes); i++) {
        size_t need = strlen(suffixes[i].suffix);
        if (size >= need && strcmp(text + size - need, suffixes[i].suffix) == 0) {
            return suffixes[i].status;
        }
    }
    return strncmp(text, "IO error: ", 10) == 0 ? GRV_UNAVAILABLE : GRV_INTERNAL;
}

grv_status grv_rocks_error(char *text, const char *doing, grv_error *error)
{
    grv_status status =
        grv_error_set(error, status_of(text), "rocks", "cannot %s: RocksDB: %s", doing, text);
    rocksdb_free(text);
    return status;
}

grv_status grv_rocks_read_error(const char *directory, char *text, const char *doing,
                                grv_error *error)
{
    grv_status status = grv_rocks_error(text, doing, error);
    grv_error_prefix(error, "the database in %s", directory);
    return status;
}

grv_status grv_rocks_stop(grv_rocks *rocks, char *text, const char *doing, grv_error *error)
{
    grv_error mine = GRV_ERROR_INIT;
    grv_status status = grv_rocks_error(text, doing, &mine);
    pthread_mutex_lock(&rocks->failure_lock);
    if (!__atomic_load_n(&rocks->failed, __ATOMIC_RELAXED)) {
        rocks->failure = mine;
        __atomic_store_n(&rocks->failed, 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&rocks->failure_lock);
    if (error) {
        *error = mine;
    }
    return status;
}

void grv_rocks_set_failure(grv_rocks *rocks, const grv_error *failure)
{
    pthread_mutex_lock(&rocks->failure_lock);
    if (failure) {
        rocks->failure = *failure;
    }
    __atomic_store_n(&rocks->failed, failure != NULL, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&rocks->failure_lock);
}

grv_status grv_rocks_failure(grv_rocks *rocks, grv_error *error)
{
    pthread_mutex_lock(&rocks->failure_lock);
    grv_error failure = rocks->failure;
    pthread_mutex_unlock(&rocks->failure_lock);
    if (error) {
        *error = failure;
        grv_error_prefix(error, failure.status == GRV_OUT_OF_SPACE
                                    ? "writing stopped after an earlier failure"
                                    : "writing stopped after an earlier failure, the store must "
                                      "be closed and opened again");
    }
    return failure.status;
}

grv_status grv_rocks_writable(grv_rocks *rocks, grv_error *error)
{
    if (rocks->read_only) {
        return grv_error_set(error, GRV_UNSUPPORTED, "rocks",
                             "the database is open for reading only");
    }
    return __atomic_load_n(&rocks->failed, __ATOMIC_ACQUIRE) ? grv_rocks_failure(rocks, error)
                                                             : GRV_OK;
}
