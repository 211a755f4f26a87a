/* SPDX-License-Identifier: Apache-2.0 */
/* The block stores that tests/conformance/block_store.c runs over. */
#include "block_store_fixtures.h"

#include "layer/cache.h"
#include "s3.h"

#include <errno.h>
#include <graviton/backend/fs.h>
#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <graviton/backend/rocks.h>
#include <stdio.h>
#include <sys/stat.h>

static void close_plain(grv_block_store *store, void **context, bool last)
{
    (void)context;
    (void)last;
    grv_block_store_free(store);
}

static grv_status open_memory(const char *dir, void **context, grv_block_store **ret_store,
                              grv_error *error)
{
    (void)dir;
    (void)context;
    return grv_block_store_memory_new(ret_store, error);
}

/* The key-value store outlives the block store over it: that is what there is to open again. */
static grv_status open_kv_memory(const char *dir, void **context, grv_block_store **ret_store,
                                 grv_error *error)
{
    (void)dir;
    if (!*context) {
        grv_kv *kv = NULL;
        grv_status status = grv_kv_memory_new(GRV_NS_COUNT, &kv, error);
        if (status) {
            return status;
        }
        *context = kv;
    }
    return grv_block_store_kv_new(*context, ret_store, error);
}

static void close_kv_memory(grv_block_store *store, void **context, bool last)
{
    grv_block_store_free(store);
    if (last) {
        grv_kv_free(*context);
        *context = NULL;
    }
}

static grv_status open_fs(const char *dir, void **context, grv_block_store **ret_store,
                          grv_error *error)
{
    (void)context;
    grv_fs_config config = {.root = dir, .create = true};
    return grv_block_store_fs_new(&config, ret_store, error);
}

/* Puts the smallest cache on a store: the suite's larger blocks then make it evict. */
static grv_status cached(const char *dir, grv_status status, grv_block_store **store,
                         grv_error *error)
{
    char path[512];
    snprintf(path, sizeof path, "%s/cache", dir);
    const grv_block_cache_config config = {.directory = path, .size_bytes = GRV_CACHE_SIZE_MIN};
    return status ? status : grv_block_store_cache_new(*store, &config, store, error);
}

static grv_status open_cache_memory(const char *dir, void **context, grv_block_store **ret_store,
                                    grv_error *error)
{
    return cached(dir, open_memory(dir, context, ret_store, error), ret_store, error);
}

static grv_status open_cache_fs(const char *dir, void **context, grv_block_store **ret_store,
                                grv_error *error)
{
    return cached(dir, open_fs(dir, context, ret_store, error), ret_store, error);
}

/* The key-value store is closed and opened with the block store over it. */
static grv_status open_kv_rocks(const char *dir, void **context, grv_block_store **ret_store,
                                grv_error *error)
{
    grv_rocks_config config = {.directory = dir,
                               .namespaces = grv_kv_namespace_names,
                               .namespace_count = GRV_NS_COUNT,
                               .create = true};
    grv_kv *kv = NULL;
    grv_status status = grv_kv_rocks_new(&config, &kv, error);
    if (status) {
        return status;
    }
    *context = kv;
    status = grv_block_store_kv_new(kv, ret_store, error);
    if (status) {
        grv_kv_free(kv);
    }
    return status;
}

static void close_kv_rocks(grv_block_store *store, void **context, bool last)
{
    (void)last;
    close_kv_memory(store, context, true);
}

/* A test's bucket, made at its first open; closing the store closes the handle too. */
typedef struct s3_place {
    char bucket[TEST_S3_BUCKET_SIZE];
    grv_s3 *s3;
} s3_place;

static grv_status open_s3(const char *dir, void **context, grv_block_store **ret_store,
                          grv_error *error)
{
    (void)dir;
    s3_place *place = *context;
    if (!place) {
        place = calloc(1, sizeof *place);
        if (!place) {
            abort();
        }
        *context = place;
    }
    place->s3 = test_s3_open();
    if (!*place->bucket) {
        test_s3_make_bucket(place->s3, place->bucket);
    }
    const grv_s3_blocks_config config = {.bucket = place->bucket, .prefix = "cas/ü +blocks"};
    return grv_block_store_s3_new(NULL, place->s3, &config, ret_store, error);
}

static void close_s3(grv_block_store *store, void **context, bool last)
{
    s3_place *place = *context;
    grv_block_store_free(store);
    if (last) {
        test_s3_remove_bucket(place->s3, place->bucket);
    }
    grv_s3_close(place->s3);
    place->s3 = NULL;
    if (last) {
        free(place);
        *context = NULL;
    }
}

static grv_status write_file(const char *dir, const char *name, size_t size, grv_error *error)
{
    static const char bytes[64] = "left";
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(bytes, 1, size, file) == size;
    good = file && fclose(file) == 0 && good;
    return good ? GRV_OK : grv_error_set(error, GRV_INTERNAL, "test", "cannot write %s", path);
}

/* Two files of a batch and one of a superblock's; and what is nobody's leftover. */
static grv_status leave_fs(const char *dir, grv_block_sweep *found, grv_error *error)
{
    char path[512];
    snprintf(path, sizeof path, "%s/cas/blocks/.tmp", dir);
    if (mkdir(path, 0777) && errno != EEXIST) {
        return grv_error_set_errno(error, errno, "test", "cannot make %s", path);
    }
    snprintf(path, sizeof path, "%s/cas/blocks/.tmp/folder", dir);
    if (mkdir(path, 0777) && errno != EEXIST) {
        return grv_error_set_errno(error, errno, "test", "cannot make %s", path);
    }
    const struct {
        const char *name;
        size_t size;
        bool left;
    } files[] = {
        {"cas/blocks/.tmp/00112233445566778-0", 10, true},
        {"cas/blocks/.tmp/00112233445566778-1", 0, true},
        {".graviton.json.0011223344556677.tmp", 20, true},
        {".graviton.json.0011223344556677.tmp.mine", 1, false},
        {".graviton.json.001122334455667.tmp", 1, false},
        {"mine.tmp", 1, false},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        grv_status status = write_file(dir, files[i].name, files[i].size, error);
        if (status) {
            return status;
        }
        found->temporary += files[i].left;
        found->temporary_bytes += files[i].left ? files[i].size : 0;
    }
    return GRV_OK;
}

const block_fixture block_fixtures[] = {
    {"memory", false, open_memory, close_plain, 0, NULL, false},
    {"kv over memory", true, open_kv_memory, close_kv_memory, 0, NULL, false},
    {"kv over rocks", true, open_kv_rocks, close_kv_rocks, 0, NULL, false},
    {"fs", true, open_fs, close_plain, 1100, leave_fs, false},
    {"s3", true, open_s3, close_s3, 2500, NULL, true},
    {"cache over memory", false, open_cache_memory, close_plain, 0, NULL, false},
    {"cache over fs", true, open_cache_fs, close_plain, 1100, leave_fs, false},
};
const size_t block_fixture_count = sizeof block_fixtures / sizeof block_fixtures[0];
