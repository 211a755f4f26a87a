/* SPDX-License-Identifier: Apache-2.0 */
/* The object stores that tests/conformance/object_store.c runs over. */
#include "object_store_fixtures.h"

#include "backend/s3/objects.h"
#include "postgres_store.h"
#include "s3_store.h"

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

static grv_status open_s3_with(const grv_s3_objects_tuning *tuning, void **context,
                               grv_mutable_object_store **ret_store, grv_error *error)
{
    static const char *const buckets[] = {OBJECT_BUCKET, OBJECT_BUCKET_OTHER};
    grv_s3 *s3 = NULL;
    grv_status status = test_s3_store_open(buckets, 2, context, &s3, error);
    return status ? status
                  : grv_object_store_s3_new_tuned(NULL, s3, buckets, 2, tuning, ret_store, error);
}

static grv_status open_s3(const char *dir, void **context, grv_mutable_object_store **ret_store,
                          grv_error *error)
{
    (void)dir;
    return open_s3_with(&grv_s3_objects_defaults, context, ret_store, error);
}

/* All but the smallest objects have many parts and ranges, and are copied in many. */
static grv_status open_s3_small(const char *dir, void **context,
                                grv_mutable_object_store **ret_store, grv_error *error)
{
    static const grv_s3_objects_tuning tuning = {
        .single_max = 128 << 10,
        .single_if_absent_max = 128 << 10,
        .part_size = 64 << 10,
        .part_slots = 3,
        .get_first = 1000,
        .get_size = 50000,
        .get_slots = 3,
        .copy_single_max = 100000,
        .copy_part_size = 64 << 10,
        .copy_slots = 3,
    };
    (void)dir;
    return open_s3_with(&tuning, context, ret_store, error);
}

static void close_s3(grv_mutable_object_store *store, void **context, bool last)
{
    grv_mutable_object_store_free(store);
    test_s3_store_close(context, last);
}

const object_fixture object_fixtures[] = {
    {.name = "memory", .keeps_in_memory = true, .open = open_memory, .close = close_memory},
    {.name = "fs", .open = open_fs, .close = close_fs},
    {.name = "pg", .needs_postgres = true, .open = open_pg, .close = close_pg},
    {.name = "pg, one connection", .needs_postgres = true, .open = open_pg_one, .close = close_pg},
    {.name = "s3",
     .needs_s3 = true,
     .whole_seconds = true,
     .holds_bytes = 56 << 20,
     .open = open_s3,
     .close = close_s3},
    {.name = "s3, small parts",
     .needs_s3 = true,
     .whole_seconds = true,
     .open = open_s3_small,
     .close = close_s3},
};
const size_t object_fixture_count = sizeof object_fixtures / sizeof object_fixtures[0];
