/* SPDX-License-Identifier: Apache-2.0 */
/* What the memory blob store promises beyond its port: the bound on its bytes, and that a blob
 * whose memory went wrong is told, not given. */
#include "test.h"

#include <graviton/backend/memory.h>
#include <stdlib.h>

static grv_blob_store *open_store(uint64_t size_max)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_store *store;
    assert_grv_ok(grv_blob_store_memory_new(GRV_HASH_BLAKE3, size_max, &store, &error));
    return store;
}

/* Puts `size` bytes of `value`. */
static grv_status put(grv_blob_store *store, uint8_t value, size_t size, grv_blob_key *ret_key)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    memset(data, value, size);
    assert_grv_ok(grv_blob_store_open_put(NULL, store, &plan, &sink, &error));
    grv_status status = grv_sink_write(NULL, &sink->base, grv_bytes_of(data, size), &error);
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, &error);
    }
    *ret_key = sink->result.key;
    grv_sink_free(&sink->base);
    free(data);
    return status;
}

static void a_full_store_takes_what_fits(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_store *store = open_store(200000);
    grv_blob_key first;
    grv_blob_key key;
    grv_blob_info info;
    assert_grv_status(put(store, 1, 200001, &key), GRV_OUT_OF_SPACE);
    assert_grv_status(put(store, 1, 150000, &first), GRV_OK);
    assert_grv_status(put(store, 2, 50001, &key), GRV_OUT_OF_SPACE);
    /* What is there already takes no room. */
    assert_grv_status(put(store, 1, 150000, &key), GRV_OK);
    assert_grv_status(put(store, 2, 50000, &key), GRV_OK);
    assert_grv_status(put(store, 3, 1, &key), GRV_OUT_OF_SPACE);
    assert_grv_status(put(store, 3, 0, &key), GRV_OK);
    assert_grv_ok(grv_blob_store_remove(NULL, store, &first, &error));
    assert_grv_status(put(store, 4, 150000, &key), GRV_OK);
    assert_grv_ok(grv_blob_store_stat(NULL, store, &key, &info, &error));
    grv_blob_store_free(store);
}

static void bytes_that_changed_are_withheld(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    static const size_t sizes[] = {1, 65536, 200000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grv_blob_store *store = open_store(UINT64_MAX);
        grv_blob_key key;
        grv_source *source;
        grv_bytes view;
        size_t given = 0;
        assert_grv_status(put(store, 5, sizes[i], &key), GRV_OK);
        assert_grv_ok(
            grv_blob_store_open_get(NULL, store, &key, (grv_range){0, 1}, &source, &error));
        assert_grv_ok(grv_source_next(NULL, source, 1, &view, &error));
        /* A view is the store's own memory: this is a bit that flipped in it. */
        *(uint8_t *)(uintptr_t)view.data ^= 0x10;
        grv_source_free(source);

        assert_grv_ok(grv_blob_store_open_get(NULL, store, &key, GRV_RANGE_ALL, &source, &error));
        grv_status status;
        do {
            status = grv_source_next(NULL, source, 30000, &view, &error);
            given += status ? 0 : view.size;
        } while (!status && view.size > 0);
        assert_grv_status(status, GRV_CORRUPT);
        assert_true(given < sizes[i]);
        assert_non_null(strstr(error.message, "blake3:"));
        assert_grv_status(grv_source_next(NULL, source, 30000, &view, &error), GRV_CORRUPT);
        grv_source_free(source);
        grv_blob_store_free(store);
    }
}

static void an_advance_past_the_window_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_store *store = open_store(UINT64_MAX);
    grv_blob_sink *sink;
    grv_span window;
    assert_grv_ok(grv_blob_store_open_put(NULL, store, &plan, &sink, &error));
    assert_grv_ok(grv_sink_reserve(NULL, &sink->base, &window, &error));
    assert_grv_status(grv_sink_advance(NULL, &sink->base, window.size + 1, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_sink_commit(NULL, &sink->base, &error), GRV_INVALID_ARGUMENT);
    grv_sink_free(&sink->base);
    grv_blob_store_free(store);
}

static void an_unknown_hash_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_store *store = NULL;
    assert_grv_status(grv_blob_store_memory_new(GRV_HASH_NONE, 1, &store, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_blob_store_memory_new((grv_hash)3, 1, &store, &error),
                      GRV_INVALID_ARGUMENT);
    assert_null(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_store_takes_what_fits),
        cmocka_unit_test(bytes_that_changed_are_withheld),
        cmocka_unit_test(an_advance_past_the_window_is_refused),
        cmocka_unit_test(an_unknown_hash_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
