/* SPDX-License-Identifier: Apache-2.0 */
/* Opening stores that an older version made: whole for readers as they are, and for writers. */
#include "backend/rocks/handle.h"
#include "temp.h"
#include "test.h"

#include <graviton/backend/kv.h>
#include <graviton/store.h>

static const char content[] = "content that an older version stored";

static int setup(void **state)
{
    static char directory[256];
    test_temp_make(directory);
    *state = directory;
    return 0;
}

static int teardown(void **state)
{
    test_temp_remove(*state);
    return 0;
}

static void put_content(const char *directory, grv_blob_key *ret_key)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_store_config config = {.directory = directory, .create = true, .threads = 1};
    const grv_put_plan plan = {0};
    grv_store *store = NULL;
    grv_blob_sink *sink = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    assert_grv_ok(grv_blob_store_open_put(NULL, grv_store_blobs(store), &plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of(content, sizeof content), &error));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    *ret_key = sink->result.key;
    grv_sink_free(&sink->base);
    grv_store_close(store);
}

/* Takes away the namespaces from `count` on, as if they had never been thought of; returns how many
 * there are. */
static size_t keep_namespaces(const char *directory, unsigned count)
{
    grv_error error = GRV_ERROR_INIT;
    char meta[300];
    snprintf(meta, sizeof meta, "%s/meta", directory);
    const grv_rocks_config config = {
        .directory = meta, .namespaces = grv_kv_namespace_names, .namespace_count = count};
    grv_rocks *rocks = NULL;
    assert_grv_ok(grv_rocks_open(&config, &rocks, &error));
    size_t there = rocks->opened_count - 1; /* without RocksDB's own */
    for (size_t i = 1 + count; i < rocks->opened_count; i++) {
        char *failed = NULL;
        rocksdb_drop_column_family(rocks->db, rocks->opened[i], &failed);
        assert_null(failed);
    }
    grv_rocks_close(rocks);
    return there;
}

static void check_content(const char *directory, bool read_only, const grv_blob_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_store_config config = {.directory = directory, .read_only = read_only, .threads = 1};
    grv_store *store = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    grv_blob_info info;
    assert_grv_ok(grv_blob_store_stat(NULL, grv_store_blobs(store), key, &info, &error));
    assert_int_equal(info.key.size, sizeof content);
    grv_store_stats stats;
    assert_grv_ok(grv_store_count(NULL, store, &stats, &error));
    assert_int_equal(stats.blobs, 1);
    assert_int_equal(stats.missing_blocks, 0);
    grv_store_close(store);
}

/* The first version had the namespaces up to the one of block sizes. */
static void an_older_store_is_read_as_it_is_and_written_to(void **state)
{
    const char *directory = *state;
    const unsigned first_version = GRV_NS_BLOCK_INFO + 1;
    grv_blob_key key;
    put_content(directory, &key);
    assert_int_equal(keep_namespaces(directory, first_version), GRV_NS_COUNT);
    check_content(directory, true, &key);
    assert_int_equal(keep_namespaces(directory, first_version), first_version); /* none was made */
    check_content(directory, false, &key);
    assert_int_equal(keep_namespaces(directory, first_version), GRV_NS_COUNT);
    grv_blob_key again;
    put_content(directory, &again);
    assert_int_equal(grv_blob_key_compare(&key, &again), 0);
    check_content(directory, true, &key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_older_store_is_read_as_it_is_and_written_to, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
