/* SPDX-License-Identifier: Apache-2.0 */
/* The object stores that tests/conformance/object_store.c runs over. */
#include "object_store_fixtures.h"

#include "postgres_store.h"

#include <graviton/backend/fs.h>
#include <graviton/backend/memory.h>
#include <stdio.h>

/* The store itself is what there is to open again. */
static grv_status open_memory(const char *dir, void **context, grv_mutable_object_store **ret_store,
                              grv_error *error)
{
    static const char *const buckets[] = {OBJECT_BUCKET, OBJECT_BUCKET_OTHER};
    (void)dir;
    grv_status status = GRV_OK;
    if (!*context) {
        grv_mutable_object_store *store = NULL;
        status = grv_object_store_memory_new(buckets, 2, UINT64_C(256) << 20, &store, error);
        *context = store;
    }
    if (!status) {
        *ret_store = *context;
    }
    return status;
}

static void close_memory(grv_mutable_object_store *store, void **context, bool last)
{
    if (last) {
        grv_mutable_object_store_free(store);
        *context = NULL;
    }
}

static grv_status open_fs(const char *dir, void **context, grv_mutable_object_store **ret_store,
                          grv_error *error)
{
    (void)context;
    char one[300];
    char two[300];
    snprintf(one, sizeof one, "%s/one", dir);
    snprintf(two, sizeof two, "%s/deep/two", dir);
    const grv_fs_bucket buckets[] = {{OBJECT_BUCKET, one}, {OBJECT_BUCKET_OTHER, two}};
    const grv_fs_objects_config config = {.buckets = buckets, .bucket_count = 2, .create = true};
    return grv_object_store_fs_new(&config, ret_store, error);
}

static void close_fs(grv_mutable_object_store *store, void **context, bool last)
{
    (void)context;
    (void)last;
    grv_mutable_object_store_free(store);
}

static grv_status open_pg_with(unsigned connections, void **context,
                               grv_mutable_object_store **ret_store, grv_error *error)
{
    static const char *const buckets[] = {OBJECT_BUCKET, OBJECT_BUCKET_OTHER};
    grv_pg *pg = NULL;
    grv_status status = test_postgres_store_open(connections, context, &pg, error);
    return status ? status : grv_object_store_pg_new(pg, buckets, 2, ret_store, error);
}

static grv_status open_pg(const char *dir, void **context, grv_mutable_object_store **ret_store,
                          grv_error *error)
{
    (void)dir;
    return open_pg_with(0, context, ret_store, error);
}

static grv_status open_pg_one(const char *dir, void **context, grv_mutable_object_store **ret_store,
                              grv_error *error)
{
    (void)dir;
    return open_pg_with(1, context, ret_store, error);
}

static void close_pg(grv_mutable_object_store *store, void **context, bool last)
{
    grv_mutable_object_store_free(store);
    test_postgres_store_close(context, last);
}

const object_fixture object_fixtures[] = {
    {"memory", true, false, open_memory, close_memory},
    {"fs", false, false, open_fs, close_fs},
    {"pg", false, true, open_pg, close_pg},
    {"pg, one connection", false, true, open_pg_one, close_pg},
};
const size_t object_fixture_count = sizeof object_fixtures / sizeof object_fixtures[0];
