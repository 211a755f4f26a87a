/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key-value store on RocksDB: a namespace is a column family. One process at a time: a lock file
 * of its own names the holder.
 */
#ifndef GRAVITON_BACKEND_ROCKS_H
#define GRAVITON_BACKEND_ROCKS_H

#include <graviton/port/key_value_store.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Configuration; pointers are borrowed for the call. */
typedef struct grv_rocks_config {
    const char *directory;
    /* Names by number. New ones are created; where the database is only read they are empty. */
    const char *const *namespaces;
    unsigned namespace_count;
    bool read_only;     /* writes nothing: a write is GRV_UNSUPPORTED. Not together with create */
    bool create;        /* make the database where there is none; else GRV_NOT_FOUND */
    size_t cache_bytes; /* block cache; 0: 32 MiB */
    size_t write_buffer_bytes; /* all memtables together; 0: 32 MiB */
} grv_rocks_config;

/*
 * Opens the database. Free with grv_kv_free. GRV_NOT_FOUND where there is none and `create` is
 * false, and then nothing is made; GRV_UNAVAILABLE where another process holds it, with its pid
 * and command in the message.
 */
grv_status grv_kv_rocks_new(const grv_rocks_config *config, grv_kv **ret_kv, grv_error *error);

/* Whether `directory` holds a RocksDB database; opens and creates nothing. */
grv_status grv_rocks_exists(const char *directory, bool *ret_exists, grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
