/* SPDX-License-Identifier: Apache-2.0 */
/* The replica indexes that tests/conformance/replica_index.c runs over. */
#include "replica_index_fixtures.h"

#include "postgres_store.h"
#include "temp.h"

#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <graviton/backend/pg.h>
#include <graviton/backend/rocks.h>

/* The key-value store outlives the index over it: that is what there is to open again. */
static grv_status open_kv_memory(const char *dir, void **context, grv_replica_index **ret_index,
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
    return grv_replica_index_kv_new(*context, ret_index, error);
}

static void close_kv_memory(grv_replica_index *index, void **context, bool last)
{
    grv_replica_index_free(index);
    if (last) {
        grv_kv_free(*context);
        *context = NULL;
    }
}

static grv_status open_kv_rocks(const char *dir, void **context, grv_replica_index **ret_index,
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
    *context = kv;
    return grv_replica_index_kv_new(kv, ret_index, error);
}

/* The database is closed each time: what is read after that came from its files. */
static void close_kv_rocks(grv_replica_index *index, void **context, bool last)
{
    (void)last;
    grv_replica_index_free(index);
    grv_kv_free(*context);
    *context = NULL;
}

static grv_status open_postgres(unsigned connections, void **context, grv_replica_index **ret_index,
                                grv_error *error)
{
    grv_pg *pg = NULL;
    grv_status status = test_postgres_store_open(connections, context, &pg, error);
    return status ? status : grv_replica_index_pg_new(pg, ret_index, error);
}

static grv_status open_pg(const char *dir, void **context, grv_replica_index **ret_index,
                          grv_error *error)
{
    (void)dir;
    return open_postgres(0, context, ret_index, error);
}

static grv_status open_pg_one(const char *dir, void **context, grv_replica_index **ret_index,
                              grv_error *error)
{
    (void)dir;
    return open_postgres(1, context, ret_index, error);
}

static void close_pg(grv_replica_index *index, void **context, bool last)
{
    grv_replica_index_free(index);
    test_postgres_store_close(context, last);
}

const replica_fixture replica_fixtures[] = {
    {"kv over memory", false, open_kv_memory, close_kv_memory},
    {"kv over rocks", false, open_kv_rocks, close_kv_rocks},
    {"pg", true, open_pg, close_pg},
    {"pg, one connection", true, open_pg_one, close_pg},
};
const size_t replica_fixture_count = sizeof replica_fixtures / sizeof replica_fixtures[0];

void replica_case_turn(replica_case *self)
{
    grv_error error = GRV_ERROR_INIT;
    if (!self->reopen) {
        return;
    }
    self->fixture->close(self->index, &self->context, false);
    self->index = NULL;
    assert_grv_ok(self->fixture->open(self->directory, &self->context, &self->index, &error));
}

grv_locator test_locator(const char *text)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator;
    assert_grv_ok(grv_locator_parse(grv_bytes_of(text, strlen(text)), &locator, &error));
    return locator;
}

grv_replica_key test_replica_key(unsigned number)
{
    grv_replica_key key = {.kind = (grv_replica_kind)(number % 3 + 1)};
    grv_digest digest = {.hash = number & 4 ? GRV_HASH_SHA256 : GRV_HASH_BLAKE3};
    uint64_t random = number;
    test_random_fill(&random, digest.bytes, GRV_DIGEST_SIZE);
    switch (key.kind) {
    case GRV_REPLICA_BLOB:
        key.of.blob = (grv_blob_key){.digest = digest, .size = number * UINT64_C(0x100000001)};
        break;
    case GRV_REPLICA_BLOCK:
        key.of.block = (grv_block_key){.digest = digest, .size = number + 1};
        break;
    case GRV_REPLICA_PACK:
        test_random_fill(&random, key.of.pack.session, GRV_SESSION_ID_SIZE);
        key.of.pack.number = number;
        break;
    }
    return key;
}

void test_check_replicas(grv_replica_index *index, const grv_replica_key *key,
                         const char *const texts[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    assert_grv_ok(grv_replica_index_replicas(NULL, index, key, &set, &error));
    assert_int_equal(set.count, count);
    for (size_t i = 0; i < count; i++) {
        char text[GRV_LOCATOR_TEXT_SIZE];
        grv_locator_print(&set.locators[i], text);
        assert_string_equal(text, texts[i]);
    }
    grv_locator_set_done(&set);
}

size_t test_list_replicas(grv_replica_index *index, const grv_replica_list *list, size_t capacity,
                          grv_replica items[], size_t max)
{
    grv_error error = GRV_ERROR_INIT;
    grv_replica_cursor *cursor = NULL;
    assert_grv_ok(grv_replica_index_open_list(NULL, index, list, &cursor, &error));
    size_t total = 0;
    size_t count = 1;
    while (count > 0) {
        size_t room = capacity < max - total ? capacity : max - total;
        assert_true(room > 0);
        assert_grv_ok(grv_replica_cursor_next(NULL, cursor, items + total, room, &count, &error));
        total += count;
    }
    grv_replica after;
    assert_grv_ok(grv_replica_cursor_next(NULL, cursor, &after, 1, &count, &error));
    assert_int_equal(count, 0);
    grv_replica_cursor_free(cursor);
    return total;
}

int test_replica_compare(const grv_replica *a, const grv_replica *b)
{
    int order = grv_locator_compare(&a->locator, &b->locator);
    return order ? order : grv_replica_key_compare(&a->key, &b->key);
}
