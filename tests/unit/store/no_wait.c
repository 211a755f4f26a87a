/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that must not wait: they answer from memory, rightly, or say that they would wait. */
#include "temp.h"
#include "test.h"

#include <graviton/store.h>

/* A blob of one block, one of several blocks, and one that takes several fetches. */
enum { SMALL = 4096, MIDDLE = 300000, LARGE = 3000000 };

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

static grv_store *open_store(const char *directory, const char *cache)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_store_config config = {
        .directory = directory, .create = true, .threads = 2, .cache = cache};
    grv_store *store = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    return store;
}

static grv_blob_key put(grv_store *store, uint64_t seed, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink = NULL;
    uint8_t *data = malloc(size);
    assert_non_null(data);
    test_random_fill(&seed, data, size);
    assert_grv_ok(grv_blob_store_open_put(NULL, grv_store_blobs(store), &plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of(data, size), &error));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    grv_sink_free(&sink->base);
    free(data);
    return key;
}

/* Reads a range to its end: what came of it. The bytes are checked, whatever came after them. */
static grv_status get(grv_store *store, const grv_call *call, const grv_blob_key *key,
                      grv_range range, uint64_t seed)
{
    grv_error error = GRV_ERROR_INIT;
    grv_source *source = NULL;
    uint64_t size = range.end < key->size ? range.end : key->size;
    uint8_t *data = malloc((size_t)key->size);
    assert_non_null(data);
    test_random_fill(&seed, data, (size_t)key->size);
    uint64_t at = range.first;
    grv_status status =
        grv_blob_store_open_get(call, grv_store_blobs(store), key, range, &source, &error);
    while (!status) {
        grv_bytes views[4];
        size_t count = 0;
        status = grv_source_gather(call, source, SIZE_MAX, views, 4, &count, &error);
        if (status || count == 0) {
            break;
        }
        for (size_t i = 0; i < count; i++) {
            assert_true(views[i].size <= size - at);
            assert_memory_equal(views[i].data, data + at, views[i].size);
            at += views[i].size;
        }
    }
    assert_true(status || at == size);
    grv_source_free(source);
    free(data);
    return status;
}

static const grv_call now = {.no_wait = true};

static uint64_t hits(grv_store *store)
{
    grv_cache_figures figures;
    assert_true(grv_store_cache(store, &figures, NULL));
    return figures.hits;
}

static void the_store_says_whether_it_heeds(void **state)
{
    const struct {
        const char *cache;
        bool heeds;
    } all[] = {{"memory:?size=8M", true}, {NULL, false}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        grv_store *store = open_store(*state, all[i].cache);
        bool heeds = (grv_store_blobs(store)->capabilities & GRV_BLOB_CAP_NO_WAIT) != 0;
        assert_int_equal(heeds, all[i].heeds);
        grv_store_close(store);
    }
    grv_error error = GRV_ERROR_INIT;
    const grv_store_config config = {.directory = "memory:", .create = true, .cache = "memory:"};
    grv_store *store = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    assert_int_equal(grv_store_blobs(store)->capabilities & GRV_BLOB_CAP_NO_WAIT, 0);
    grv_store_close(store);
}

static void what_lies_in_memory_is_given_at_once(void **state)
{
    static const size_t sizes[] = {SMALL, MIDDLE};
    grv_store *store = open_store(*state, "memory:?size=8M");
    for (uint64_t i = 0; i < 2; i++) {
        grv_blob_key key = put(store, i, sizes[i]);
        assert_int_equal(get(store, &now, &key, GRV_RANGE_ALL, i), GRV_UNAVAILABLE);
        assert_int_equal(get(store, NULL, &key, GRV_RANGE_ALL, i), GRV_OK);
        uint64_t before = hits(store);
        assert_int_equal(get(store, &now, &key, GRV_RANGE_ALL, i), GRV_OK);
        assert_true(hits(store) > before);
        assert_int_equal(get(store, &now, &key, (grv_range){1000, 3000}, i), GRV_OK);
    }
    grv_store_close(store);
}

/* Of a database that was opened just now nothing lies in memory: not its keys either. */
static void what_lies_on_the_disk_is_not(void **state)
{
    grv_store *store = open_store(*state, "memory:?size=8M");
    grv_blob_key key = put(store, 1, SMALL);
    grv_store_close(store);
    store = open_store(*state, "memory:?size=8M");
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info;
    grv_blob_store *blobs = grv_store_blobs(store);
    assert_int_equal(get(store, &now, &key, GRV_RANGE_ALL, 1), GRV_UNAVAILABLE);
    assert_grv_ok(grv_blob_store_stat(NULL, blobs, &key, &info, &error));
    assert_grv_ok(grv_blob_store_stat(&now, blobs, &key, &info, &error));
    assert_int_equal(info.block_count, 1);
    assert_int_equal(get(store, &now, &key, GRV_RANGE_ALL, 1), GRV_UNAVAILABLE); /* its block */
    assert_int_equal(get(store, NULL, &key, GRV_RANGE_ALL, 1), GRV_OK);
    assert_int_equal(get(store, &now, &key, GRV_RANGE_ALL, 1), GRV_OK);
    grv_store_close(store);
}

/* What takes several fetches, and so other threads, what is to be hashed, and what is to be read
 * from the store itself. */
static void what_takes_long_is_not(void **state)
{
    grv_store *store = open_store(*state, "memory:?size=16M");
    grv_blob_key large = put(store, 2, LARGE);
    grv_blob_key middle = put(store, 3, MIDDLE);
    assert_int_equal(get(store, NULL, &large, GRV_RANGE_ALL, 2), GRV_OK);
    assert_int_equal(get(store, &now, &large, GRV_RANGE_ALL, 2), GRV_UNAVAILABLE);
    assert_int_equal(get(store, &now, &large, (grv_range){LARGE - 1000, LARGE}, 2), GRV_OK);
    /* All its blocks are known, but not that together they are the blob. */
    assert_int_equal(get(store, NULL, &middle, (grv_range){0, MIDDLE - 1}, 3), GRV_OK);
    assert_int_equal(get(store, &now, &middle, GRV_RANGE_ALL, 3), GRV_UNAVAILABLE);
    assert_int_equal(get(store, NULL, &middle, GRV_RANGE_ALL, 3), GRV_OK);
    assert_int_equal(get(store, &now, &middle, GRV_RANGE_ALL, 3), GRV_OK);
    const grv_call background = {.no_wait = true, .priority = GRV_BACKGROUND};
    assert_int_equal(get(store, &background, &middle, GRV_RANGE_ALL, 3), GRV_UNAVAILABLE);
    grv_store_close(store);
}

/* A list that is longer than what is usual for the blob's size is known as a whole, too. */
static void many_small_blocks_are_given_at_once(void **state)
{
    char directory[300];
    grv_error error = GRV_ERROR_INIT;
    const grv_chunker_spec chunker = {.kind = GRV_CHUNKER_FIXED, .size = 1000};
    snprintf(directory, sizeof directory, "%s/small", (const char *)*state);
    const grv_store_config config = {.directory = directory,
                                     .create = true,
                                     .threads = 2,
                                     .chunker = &chunker,
                                     .cache = "memory:?size=8M"};
    grv_store *store = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    static const size_t sizes[] = {9000, 60000, 200000};
    for (uint64_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grv_blob_key key = put(store, 10 + i, sizes[i]);
        assert_int_equal(get(store, NULL, &key, GRV_RANGE_ALL, 10 + i), GRV_OK);
        assert_int_equal(get(store, &now, &key, GRV_RANGE_ALL, 10 + i), GRV_OK);
    }
    grv_store_close(store);
}

static void what_is_gone_is_gone(void **state)
{
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = open_store(*state, "memory:?size=8M");
    grv_blob_key key = put(store, 4, SMALL);
    assert_int_equal(get(store, NULL, &key, GRV_RANGE_ALL, 4), GRV_OK);
    assert_int_equal(get(store, &now, &key, GRV_RANGE_ALL, 4), GRV_OK);
    assert_grv_ok(grv_blob_store_remove(NULL, grv_store_blobs(store), &key, &error));
    grv_status status = get(store, &now, &key, GRV_RANGE_ALL, 4);
    assert_true(status == GRV_NOT_FOUND || status == GRV_UNAVAILABLE);
    grv_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_store_says_whether_it_heeds, setup, teardown),
        cmocka_unit_test_setup_teardown(what_lies_in_memory_is_given_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_lies_on_the_disk_is_not, setup, teardown),
        cmocka_unit_test_setup_teardown(what_takes_long_is_not, setup, teardown),
        cmocka_unit_test_setup_teardown(many_small_blocks_are_given_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_gone_is_gone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
