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

/* The reserve that grv_store_open gives a new store, in bytes. */
#define GRV_ROCKS_RESERVE_DEFAULT (UINT64_C(64) << 20)

/* Configuration; pointers are borrowed for the call. */
typedef struct grv_rocks_config {
    const char *directory;
    /* Names by number. New ones are created; where the database is only read they are empty. */
    const char *const *namespaces;
    unsigned namespace_count;
    bool read_only;     /* writes nothing: a write is GRV_UNSUPPORTED. Not together with create */
    bool create;        /* make the database where there is none; else GRV_NOT_FOUND */
    size_t cache_bytes; /* block cache; 0: 32 MiB */
    size_t write_buffer_bytes;     /* all memtables together; 0: 32 MiB */
    const uint64_t *reserve_bytes; /* size of the reserve, 0: none. NULL: what the database has,
                                      none for a new one */
    bool use_reserve; /* open a full disk's database by means of the reserve: to remove things */
} grv_rocks_config;

/*
 * A full disk. RocksDB writes even where something is removed, so a database may keep a reserve:
 * the file `reserve` beside it, which takes `reserve_bytes` of the disk, at most an eighth of it.
 *
 *   - A write that adds is GRV_OUT_OF_SPACE where it would leave less than 1 MiB free (a 64th of a
 *     small disk), or where the reserve is not whole and cannot be filled. Nothing is changed and
 *     the store is as good as before: it takes writes as soon as there is room.
 *   - A write marked `frees` uses the reserve where it must, and the store is then as above until
 *     the reserve could be filled again, which is tried at each opening, closing and write.
 *   - Opening for writing where there is no room is GRV_OUT_OF_SPACE, unless `use_reserve` is set.
 *     Opening for reading, and reading, need no room.
 *   - Where RocksDB runs out of space all the same, the write is GRV_OUT_OF_SPACE, and the next
 *     one opens the database again inside the store; not while a cursor or a value of more than
 *     64 KiB stays held: then it is GRV_OUT_OF_SPACE again.
 *
 * Opens the database. Free with grv_kv_free. GRV_NOT_FOUND where there is none and `create` is
 * false, and then nothing is made; GRV_UNAVAILABLE where another process holds it, with its pid
 * and command in the message.
 */
grv_status grv_kv_rocks_new(const grv_rocks_config *config, grv_kv **ret_kv, grv_error *error);

/* What a checkpoint wrote. */
typedef struct grv_rocks_checkpoint {
    uint64_t files;
    uint64_t bytes;
} grv_rocks_checkpoint;

/*
 * Makes `directory`, which must not exist while its parent must, a database of its own: a copy of
 * this one at one moment, every write that had returned by the call in it. Files that never change
 * are linked where the file system allows it, unless `copy` is set. Durable on GRV_OK, its own name
 * apart. The copy gets a reserve of the same size, filled when it is opened for writing. On failure
 * what is there is no database, or not a whole one. GRV_UNSUPPORTED for a store that is not of
 * grv_kv_rocks_new, or was opened for reading only.
 */
grv_status grv_kv_rocks_checkpoint(const grv_call *call, grv_kv *kv, const char *directory,
                                   bool copy, grv_rocks_checkpoint *ret_checkpoint,
                                   grv_error *error);

/* Whether `directory` holds a RocksDB database; opens and creates nothing. */
grv_status grv_rocks_exists(const char *directory, bool *ret_exists, grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
