/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every blob store there is, for the conformance suite: one entry each. The `cas` ones differ in
 * where blocks and manifests lie and in how streams are cut.
 */
#include "blob_store_fixtures.h"

#include "blob_store_server.h"
#include "postgres_store.h"
#include "s3.h"

#include <graviton/backend/cas.h>
#include <graviton/backend/fs.h>
#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <graviton/backend/rocks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

static grv_status memory_open(const blob_store_fixture *fixture, const char *directory,
                              void **ret_context, grv_blob_store **ret_store, grv_error *error)
{
    (void)directory;
    grv_status status = grv_blob_store_memory_new(fixture->hash, UINT64_MAX, ret_store, error);
    if (status) {
        return status;
    }
    *ret_context = *ret_store;
    return GRV_OK;
}

static void memory_close(void *context)
{
    grv_blob_store_free(context);
}

/* A cas store and what lies under it. */
typedef struct cas_halves {
    grv_kv *kv;
    grv_pg *pg;
    grv_pg_session *session;
    grv_s3 *s3;
    grv_block_store *blocks;
    grv_manifest_repo *manifests;
    grv_blob_store *store;
} cas_halves;

/* The database of the test that runs now; it outlives the store, as its directory does. */
static void *pg_database;

/* And its bucket. */
static char s3_bucket[TEST_S3_BUCKET_SIZE];

static bool in_s3(const blob_store_fixture *fixture)
{
    return fixture->halves == FIXTURE_S3 || fixture->halves == FIXTURE_S3_PG;
}

static bool in_pg(const blob_store_fixture *fixture)
{
    return fixture->halves == FIXTURE_PG || fixture->halves == FIXTURE_S3_PG ||
           fixture->halves == FIXTURE_SERVED_S3_PG;
}

static void services_remove(void)
{
    test_postgres_store_close(&pg_database, true);
    if (*s3_bucket) {
        grv_s3 *s3 = test_s3_open();
        test_s3_remove_bucket(s3, s3_bucket);
        grv_s3_close(s3);
        *s3_bucket = '\0';
    }
}

static void cas_close(void *context)
{
    cas_halves *halves = context;
    grv_blob_store_free(halves->store);
    grv_manifest_repo_free(halves->manifests);
    grv_block_store_free(halves->blocks);
    grv_s3_close(halves->s3);
    grv_kv_free(halves->kv);
    if (halves->pg) {
        grv_pg_session_close(halves->session);
        test_postgres_store_close(&pg_database, false);
    }
    free(halves);
}

static grv_status open_rocks(const char *directory, grv_kv **ret_kv, grv_error *error)
{
    char path[512];
    snprintf(path, sizeof path, "%s/meta", directory);
    const grv_rocks_config config = {
        .directory = path,
        .namespaces = grv_kv_namespace_names,
        .namespace_count = GRV_NS_COUNT,
        .create = true,
    };
    return grv_kv_rocks_new(&config, ret_kv, error);
}

static grv_status open_files(const char *directory, grv_block_store **ret_store, grv_error *error)
{
    const grv_fs_config config = {.root = directory, .create = true};
    return grv_block_store_fs_new(&config, ret_store, error);
}

static uint64_t session_epoch(void *context)
{
    const cas_halves *halves = context;
    return halves->session ? grv_pg_session_epoch(halves->session) : 0;
}

static grv_status open_bucket(cas_halves *halves, grv_error *error)
{
    halves->s3 = test_s3_open();
    if (!*s3_bucket) {
        test_s3_make_bucket(halves->s3, s3_bucket);
    }
    const grv_s3_blocks_config config = {
        .bucket = s3_bucket, .prefix = "blocks", .epoch = session_epoch, .context = halves};
    return grv_block_store_s3_new(NULL, halves->s3, &config, &halves->blocks, error);
}

static grv_status open_manifests(const blob_store_fixture *fixture, const char *directory,
                                 cas_halves *halves, grv_error *error)
{
    grv_status status = GRV_OK;
    if (in_pg(fixture)) {
        status = test_postgres_store_open(0, &pg_database, &halves->pg, error);
        if (!status) {
            status = grv_pg_session_open(NULL, halves->pg, "blob_store", &halves->session, error);
        }
        return status ? status
                      : grv_manifest_repo_pg_new(halves->pg, halves->session, &halves->manifests,
                                                 error);
    }
    status = fixture->persistent ? open_rocks(directory, &halves->kv, error)
                                 : grv_kv_memory_new(GRV_NS_COUNT, &halves->kv, error);
    return status ? status : grv_manifest_repo_kv_new(halves->kv, &halves->manifests, error);
}

/* Opens the halves that a fixture names and the cas store over them. */
static grv_status cas_open_halves(const blob_store_fixture *fixture, const char *directory,
                                  cas_halves *halves, grv_error *error)
{
    grv_cas_config config = {
        .hash = fixture->hash,
        .threads = 3,
        .memory_cache_bytes = fixture->memory_cache_bytes,
        .ordered_blocks = fixture->halves == FIXTURE_KV_MEMORY || fixture->halves == FIXTURE_ROCKS,
        .distant_blocks = in_s3(fixture),
        .blocks_hold = in_s3(fixture) ? GRV_S3_BLOCKS_HOLD : 0,
    };
    grv_status status = open_manifests(fixture, directory, halves, error);
    if (!status && config.ordered_blocks) {
        status = grv_block_store_kv_new(halves->kv, &halves->blocks, error);
    } else if (!status && in_s3(fixture)) {
        status = open_bucket(halves, error);
    } else if (!status && (fixture->halves == FIXTURE_FILES || fixture->halves == FIXTURE_PG)) {
        status = open_files(directory, &halves->blocks, error);
    } else if (!status) {
        status = grv_block_store_memory_new(&halves->blocks, error);
    }
    if (!status) {
        status = grv_chunker_spec_parse(grv_bytes_of(fixture->blocks, strlen(fixture->blocks)),
                                        &config.chunker, error);
    }
    if (status) {
        return status;
    }
    config.blocks = halves->blocks;
    config.manifests = halves->manifests;
    return grv_blob_store_cas_new(&config, &halves->store, error);
}

static grv_status cas_open(const blob_store_fixture *fixture, const char *directory,
                           void **ret_context, grv_blob_store **ret_store, grv_error *error)
{
    cas_halves *halves = calloc(1, sizeof *halves);
    if (!halves) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fixture", "no memory for a store");
    }
    grv_status status = cas_open_halves(fixture, directory, halves, error);
    if (status) {
        cas_close(halves);
        return status;
    }
    *ret_context = halves;
    *ret_store = halves->store;
    return GRV_OK;
}

/* ---- Behind a server ---- */

static grv_status served_open(const blob_store_fixture *fixture, const char *directory,
                              void **ret_context, grv_blob_store **ret_store, grv_error *error)
{
    char path[512];
    char blocks[TEST_S3_BUCKET_SIZE + 16];
    snprintf(path, sizeof path, "%s/served", directory);
    blob_store_served served = {.directory = path};
    if (in_pg(fixture)) {
        grv_pg *pg;
        grv_status status = test_postgres_store_open(1, &pg_database, &pg, error);
        if (status) {
            return status;
        }
        test_postgres_store_close(&pg_database, false);
        if (!*s3_bucket) {
            grv_s3 *s3 = test_s3_open();
            test_s3_make_bucket(s3, s3_bucket);
            grv_s3_close(s3);
        }
        snprintf(blocks, sizeof blocks, "s3://%s/blocks", s3_bucket);
        served.blocks = blocks;
        served.meta = ((const test_postgres_store *)pg_database)->conninfo;
    }
    return blob_store_server_open(fixture, &served, ret_context, ret_store, error);
}

#define MEMORY(name, hash, large)                                                                  \
    {                                                                                              \
        name, false, hash, NULL, large, FIXTURE_NONE, memory_open, memory_close, NULL, false,      \
            false, 0                                                                               \
    }
/* With a cache of so many bytes in memory; 0: none. */
#define CACHED(name, halves, chunker, hash, large, cache)                                          \
    {                                                                                              \
        name, halves >= FIXTURE_ROCKS, hash, chunker, large, halves, cas_open, cas_close,          \
            halves >= FIXTURE_S3 ? services_remove : NULL, halves >= FIXTURE_PG,                   \
            halves == FIXTURE_S3 || halves == FIXTURE_S3_PG, cache                                 \
    }
#define CAS(name, halves, chunker, hash, large) CACHED(name, halves, chunker, hash, large, 0)

#define SERVED(name, halves, chunker, hash, large)                                                 \
    {                                                                                              \
        name, true, hash, chunker, large, halves, served_open, blob_store_server_close,            \
            halves == FIXTURE_SERVED_S3_PG ? services_remove : NULL,                               \
            halves == FIXTURE_SERVED_S3_PG, halves == FIXTURE_SERVED_S3_PG, 0                      \
    }

const blob_store_fixture blob_store_fixtures[] = {
    MEMORY("memory", GRV_HASH_BLAKE3, 64 * MIB),
    MEMORY("memory-sha256", GRV_HASH_SHA256, 4 * MIB),
    CAS("cas-memory-cdc", FIXTURE_BLOCKS_MEMORY, "cdc:16K", GRV_HASH_BLAKE3, 64 * MIB),
    CAS("cas-memory-fixed", FIXTURE_BLOCKS_MEMORY, "fixed:64", GRV_HASH_BLAKE3, 4 * MIB),
    CAS("cas-memory-lines", FIXTURE_BLOCKS_MEMORY, "delimiter:0a", GRV_HASH_SHA256, 8 * MIB),
    CAS("cas-kv-memory", FIXTURE_KV_MEMORY, "cdc:16K", GRV_HASH_SHA256, 8 * MIB),
    CAS("cas-rocks", FIXTURE_ROCKS, "cdc:16K", GRV_HASH_BLAKE3, 6 * MIB),
    CAS("cas-files", FIXTURE_FILES, "cdc", GRV_HASH_BLAKE3, 6 * MIB),
    CAS("cas-pg", FIXTURE_PG, "cdc:16K", GRV_HASH_BLAKE3, 6 * MIB),
    CAS("cas-s3-rocks", FIXTURE_S3, "cdc:64K", GRV_HASH_SHA256, 8 * MIB),
    CAS("cas-s3-pg", FIXTURE_S3_PG, "cdc:16K", GRV_HASH_BLAKE3, 6 * MIB),
    CACHED("cas-memory-cached", FIXTURE_BLOCKS_MEMORY, "fixed:64", GRV_HASH_BLAKE3, 4 * MIB, MIB),
    CACHED("cas-files-cached", FIXTURE_FILES, "cdc:16K", GRV_HASH_SHA256, 6 * MIB, MIB),
    SERVED("remote", FIXTURE_SERVED, "cdc:16K", GRV_HASH_BLAKE3, 12 * MIB),
    SERVED("remote-sha256", FIXTURE_SERVED, "delimiter:0a", GRV_HASH_SHA256, 6 * MIB),
    SERVED("remote-s3-pg", FIXTURE_SERVED_S3_PG, "cdc:16K", GRV_HASH_BLAKE3, 6 * MIB),
};

const size_t blob_store_fixture_count = sizeof blob_store_fixtures / sizeof blob_store_fixtures[0];
