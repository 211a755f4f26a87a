/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest repositories that tests/conformance/manifest_repo.c runs over. */
#include "manifest_repo_fixtures.h"

#include "backend/kv/manifest_repo.h"
#include "backend/pg/manifest_repo.h"
#include "postgres_store.h"

#include <graviton/backend/memory.h>
#include <graviton/backend/rocks.h>

/* The key-value store outlives the repository over it: that is what there is to open again. */
static grv_status keep_memory(void **context, grv_error *error)
{
    if (*context) {
        return GRV_OK;
    }
    grv_kv *kv = NULL;
    grv_status status = grv_kv_memory_new(GRV_NS_COUNT, &kv, error);
    if (!status) {
        *context = kv;
    }
    return status;
}

static grv_status open_kv_memory(const char *dir, void **context, grv_manifest_repo **ret_repo,
                                 grv_error *error)
{
    (void)dir;
    grv_status status = keep_memory(context, error);
    return status ? status : grv_manifest_repo_kv_new(*context, ret_repo, error);
}

/* Pages so small that 500 blocks make a manifest of two levels; 70 * 7 * 7 are all it holds. */
static grv_status open_kv_tiny(const char *dir, void **context, grv_manifest_repo **ret_repo,
                               grv_error *error)
{
    static const grv_manifest_limits tiny = {.page = 7, .inlined = 3, .children = 70};
    (void)dir;
    grv_status status = keep_memory(context, error);
    return status ? status : grv_manifest_repo_kv_new_limited(*context, &tiny, ret_repo, error);
}

static void close_kv_memory(grv_manifest_repo *repo, void **context, bool last)
{
    grv_manifest_repo_free(repo);
    if (last) {
        grv_kv_free(*context);
        *context = NULL;
    }
}

static grv_status open_kv_rocks(const char *dir, void **context, grv_manifest_repo **ret_repo,
                                grv_error *error)
{
    const grv_rocks_config config = {
        .directory = dir,
        .namespaces = grv_kv_namespace_names,
        .namespace_count = GRV_NS_COUNT,
        .create = true,
    };
    grv_kv *kv = NULL;
    grv_status status = grv_kv_rocks_new(&config, &kv, error);
    if (status) {
        return status;
    }
    status = grv_manifest_repo_kv_new(kv, ret_repo, error);
    if (status) {
        grv_kv_free(kv);
        return status;
    }
    *context = kv;
    return GRV_OK;
}

/* The database is closed each time: what is read after that came from its files. */
static void close_kv_rocks(grv_manifest_repo *repo, void **context, bool last)
{
    (void)last;
    grv_manifest_repo_free(repo);
    grv_kv_free(*context);
    *context = NULL;
}

/* Five pages under two ids that no root has, and a row of the sequence index. */
static grv_status leave_kv(void *context, uint64_t sequence, grv_manifest_sweep *found,
                           grv_error *error)
{
    enum { PAGES = 5 };
    uint8_t pages[PAGES][GRV_PAGE_KEY_SIZE];
    uint8_t number[GRV_SEQUENCE_KEY_SIZE];
    uint8_t blob[GRV_KEY_BYTES_SIZE];
    grv_kv_op ops[PAGES + 1];
    for (unsigned i = 0; i < PAGES; i++) {
        uint8_t id[GRV_MANIFEST_ID_SIZE] = {i < 3 ? 0x00 : 0xff, 0xff, (uint8_t)sequence};
        grv_page_key_encode(id, i % 2, i, pages[i]);
        ops[i] = (grv_kv_op){.kind = GRV_KV_PUT,
                             .ns = GRV_NS_PAGE,
                             .key = grv_bytes_of(pages[i], GRV_PAGE_KEY_SIZE),
                             .value = grv_bytes_of("left", 4)};
    }
    const grv_blob_key key = {.digest = {.hash = GRV_HASH_SHA256, .bytes = {7}}, .size = 1};
    grv_blob_key_encode(&key, blob);
    for (unsigned i = 0; i < GRV_SEQUENCE_KEY_SIZE; i++) {
        number[i] = (uint8_t)(sequence >> (56 - 8 * i));
    }
    ops[PAGES] = (grv_kv_op){.kind = GRV_KV_PUT,
                             .ns = GRV_NS_SEQUENCE,
                             .key = grv_bytes_of(number, sizeof number),
                             .value = grv_bytes_of(blob, sizeof blob)};
    found->pages += PAGES;
    found->sequences++;
    const grv_kv_batch batch = {.ops = ops, .op_count = PAGES + 1};
    return grv_kv_write(NULL, context, &batch, error);
}

/* ---- PostgreSQL ---- */

typedef struct pg_context {
    void *database;
    grv_pg *pg;
    grv_pg_session *session;
} pg_context;

static grv_status open_pg_with(unsigned connections, const grv_manifest_limits *limits,
                               void **context, grv_manifest_repo **ret_repo, grv_error *error)
{
    pg_context *pg = *context ? *context : calloc(1, sizeof *pg);
    if (!pg) {
        abort();
    }
    *context = pg;
    grv_status status = test_postgres_store_open(connections, &pg->database, &pg->pg, error);
    if (!status) {
        status = grv_pg_session_open(NULL, pg->pg, "manifest_repo", &pg->session, error);
    }
    if (!status) {
        status = grv_manifest_repo_pg_new_limited(pg->pg, pg->session, limits, ret_repo, error);
    }
    return status;
}

static grv_status open_pg(const char *dir, void **context, grv_manifest_repo **ret_repo,
                          grv_error *error)
{
    (void)dir;
    return open_pg_with(0, &grv_manifest_limits_default, context, ret_repo, error);
}

static grv_status open_pg_one(const char *dir, void **context, grv_manifest_repo **ret_repo,
                              grv_error *error)
{
    (void)dir;
    return open_pg_with(1, &grv_manifest_limits_default, context, ret_repo, error);
}

static grv_status open_pg_tiny(const char *dir, void **context, grv_manifest_repo **ret_repo,
                               grv_error *error)
{
    static const grv_manifest_limits tiny = {.page = 7, .inlined = 3, .children = 70};
    (void)dir;
    return open_pg_with(0, &tiny, context, ret_repo, error);
}

static void close_pg(grv_manifest_repo *repo, void **context, bool last)
{
    pg_context *pg = *context;
    grv_manifest_repo_free(repo);
    grv_pg_session_close(pg->session);
    pg->session = NULL;
    test_postgres_store_close(&pg->database, last);
    if (last) {
        free(pg);
        *context = NULL;
    }
}

/* Copies a page as it is emitted into SQL. */
static grv_status emit_sql(void *context, unsigned level, uint64_t number, grv_bytes page,
                           grv_error *error)
{
    (void)number;
    (void)level;
    (void)error;
    const grv_manifest_page_header header = grv_manifest_page_header_of(page);
    char hex[2 * 104 + 1];
    char sql[600];
    assert_int_equal(page.size, 104);
    for (size_t i = 0; i < page.size; i++) {
        snprintf(hex + 2 * i, 3, "%02x", page.data[i]);
    }
    snprintf(sql, sizeof sql,
             "INSERT INTO graviton.blob_manifest_page SELECT encode(substring(bytes, 17, 16), "
             "'hex')::uuid, %u, %llu, %llu, %llu, %llu, %u, bytes FROM (VALUES ('\\x%s'::bytea)) "
             "page (bytes)",
             header.level, (unsigned long long)header.number, (unsigned long long)header.first,
             (unsigned long long)header.size, (unsigned long long)header.base, header.count, hex);
    test_postgres_sql(context, sql);
    return GRV_OK;
}

/* Five pages under an id that no root has, of one block each. */
static grv_status leave_pg(void *context, uint64_t sequence, grv_manifest_sweep *found,
                           grv_error *error)
{
    enum { PAGES = 5 };
    test_postgres_store *store = ((pg_context *)context)->database;
    static const grv_manifest_limits small = {.page = 1, .inlined = 1, .children = PAGES};
    const uint8_t id[GRV_MANIFEST_ID_SIZE] = {sequence % 2000 ? 0x00 : 0xff, 0xff};
    const grv_block_key block = {.digest = {.hash = GRV_HASH_BLAKE3}, .size = 9};
    grv_manifest_builder builder;
    grv_manifest_builder_init(&builder, &small, id, GRV_HASH_BLAKE3, emit_sql, store->conninfo);
    grv_status status = GRV_OK;
    for (unsigned i = 0; i < PAGES && !status; i++) {
        status = grv_manifest_builder_append(&builder, &block, 1, error);
    }
    if (!status) {
        status = grv_manifest_builder_finish(&builder, error);
    }
    grv_manifest_builder_done(&builder);
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT setval('graviton.blob_sequence', %llu)",
             (unsigned long long)sequence);
    test_postgres_sql(store->conninfo, sql);
    found->pages += PAGES;
    return status;
}

const manifest_fixture manifest_fixtures[] = {
    {"kv over memory", 100000, open_kv_memory, close_kv_memory, leave_kv, false},
    {"kv over memory, tiny pages", 3430, open_kv_tiny, close_kv_memory, leave_kv, false},
    {"kv over rocks", 100000, open_kv_rocks, close_kv_rocks, leave_kv, false},
    {"pg", 100000, open_pg, close_pg, leave_pg, true},
    {"pg, one connection", 100000, open_pg_one, close_pg, leave_pg, true},
    {"pg, tiny pages", 3430, open_pg_tiny, close_pg, leave_pg, true},
};
const size_t manifest_fixture_count = sizeof manifest_fixtures / sizeof manifest_fixtures[0];
