/* SPDX-License-Identifier: Apache-2.0 */
/* A cache over a store in memory that outlives it, so that cache and directory can be opened again;
 * and blocks whose bytes follow from a number. */
#ifndef GRV_TESTS_CACHE_RIG_H
#define GRV_TESTS_CACHE_RIG_H

#include "layer/cache.h"
#include "layer/cache_file.h"
#include "layer/meter.h"
#include "temp.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <sys/stat.h>

#define RIG_SIZE GRV_CACHE_SIZE_MIN

typedef struct cache_rig {
    char dir[256];
    grv_kv *kv;
    grv_block_meter meter; /* of what the store below is asked */
    grv_block_store *store;
} cache_rig;

/* The bytes of block `number`; the caller's buffer has `size`. */
static inline void rig_bytes(uint64_t number, uint8_t *data, size_t size)
{
    uint64_t state = number * 7919 + size;
    test_random_fill(&state, data, size);
}

static inline grv_block_key rig_key(uint64_t number, uint32_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_key key = {.size = size};
    uint8_t *data = malloc(size);
    assert_non_null(data);
    rig_bytes(number, data, size);
    assert_grv_ok(grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(data, size), &key.digest, &error));
    free(data);
    return key;
}

static inline void rig_open_sized(cache_rig *rig, uint64_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_store *below = NULL;
    const grv_block_cache_config config = {.directory = rig->dir, .size_bytes = size};
    if (!rig->kv) {
        assert_grv_ok(grv_kv_memory_new(GRV_NS_COUNT, &rig->kv, &error));
    }
    assert_grv_ok(grv_block_store_kv_new(rig->kv, &below, &error));
    assert_grv_ok(grv_block_store_meter_new(below, &rig->meter, &below, &error));
    assert_grv_ok(grv_block_store_cache_new(below, &config, &rig->store, &error));
}

static inline void rig_open(cache_rig *rig)
{
    rig_open_sized(rig, RIG_SIZE);
}

static inline void rig_begin(cache_rig *rig)
{
    memset(rig, 0, sizeof *rig);
    test_temp_make(rig->dir);
    rig_open(rig);
}

static inline void rig_close(cache_rig *rig)
{
    grv_block_store_free(rig->store);
    rig->store = NULL;
}

static inline void rig_reopen(cache_rig *rig)
{
    rig_close(rig);
    rig_open(rig);
}

static inline void rig_end(cache_rig *rig)
{
    rig_close(rig);
    grv_kv_free(rig->kv);
    test_temp_remove(rig->dir);
}

/* Stores block `number` below. */
static inline void rig_store(cache_rig *rig, uint64_t number, uint32_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *batch = NULL;
    grv_block_result result;
    uint8_t *data = malloc(size);
    assert_non_null(data);
    rig_bytes(number, data, size);
    const grv_block block = {.key = rig_key(number, size), .bytes = {data, size}};
    assert_grv_ok(grv_block_store_open_batch(NULL, rig->store, &batch, &error));
    assert_grv_ok(grv_block_batch_put(NULL, batch, &block, 1, NULL, &error));
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, &result, 1, &error));
    grv_block_batch_free(batch);
    free(data);
}

/* Reads block `number`: its bytes are right. For any thread: false where they are not. */
static inline bool rig_reads(cache_rig *rig, const grv_call *call, uint64_t number, uint32_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_status one = GRV_INTERNAL;
    grv_block_key key = {.digest.hash = GRV_HASH_BLAKE3, .size = size};
    uint8_t *data = malloc(2 * (size_t)size);
    if (!data) {
        return false;
    }
    rig_bytes(number, data, size);
    memset(data + size, 0x5a, size);
    grv_span span = {data + size, size};
    bool good = !grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(data, size), &key.digest, &error) &&
                !grv_block_store_get(call, rig->store, &key, &span, 1, &one, &error) &&
                one == GRV_OK && memcmp(data, data + size, size) == 0;
    free(data);
    return good;
}

static inline void rig_read(cache_rig *rig, uint64_t number, uint32_t size)
{
    assert_true(rig_reads(rig, NULL, number, size));
}

/* How many blocks the store below was asked for. */
static inline uint64_t rig_below(const cache_rig *rig)
{
    return grv_block_meter_read(&rig->meter, GRV_METER_GET).blocks;
}

static inline grv_cache_figures rig_figures(cache_rig *rig)
{
    grv_cache_figures figures;
    grv_block_store_cache_read(rig->store, &figures, NULL);
    return figures;
}

/* Reads block `number`; whether the cache alone answered. */
static inline bool rig_hits(cache_rig *rig, uint64_t number, uint32_t size)
{
    uint64_t before = rig_below(rig);
    rig_read(rig, number, size);
    return rig_below(rig) == before;
}

static inline void rig_path(const cache_rig *rig, const char *name, char ret_path[512])
{
    snprintf(ret_path, 512, "%s/%s", rig->dir, name);
}

/* The cache's file is as long as its bound and takes no more than that of the disk, and beside it
 * and its lock there is nothing. */
static inline void rig_assert_bound(const cache_rig *rig, uint64_t size)
{
    char path[512];
    struct stat info;
    rig_path(rig, GRV_CACHE_FILE, path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, size);
    assert_in_range((uint64_t)info.st_blocks * 512, 1, size);
    DIR *entries = opendir(rig->dir);
    assert_non_null(entries);
    for (const struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, GRV_CACHE_FILE) != 0 &&
            strcmp(entry->d_name, GRV_CACHE_LOCK) != 0) {
            fail_msg("%s was left behind", entry->d_name);
        }
    }
    closedir(entries);
}

#endif
