/* SPDX-License-Identifier: Apache-2.0 */
/* The block stores that tests/conformance/block_store.c runs over. */
#include "block_store_fixtures.h"

#include <graviton/backend/fs.h>
#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <graviton/backend/rocks.h>

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

const block_fixture block_fixtures[] = {
    {"memory", false, open_memory, close_plain, 0},
    {"kv over memory", true, open_kv_memory, close_kv_memory, 0},
    {"kv over rocks", true, open_kv_rocks, close_kv_rocks, 0},
    {"fs", true, open_fs, close_plain, 1100},
};
const size_t block_fixture_count = sizeof block_fixtures / sizeof block_fixtures[0];
