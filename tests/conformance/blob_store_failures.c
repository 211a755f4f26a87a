/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts and reads that do not end well: given up, refused, cancelled or late. What they all share:
 * nothing becomes visible, the failure is told again, and the store goes on.
 */
#include "blob_store_suite.h"

#include <stdlib.h>

static void a_put_given_up_leaves_nothing(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    static const size_t sizes[] = {0, 1, 5000, 400000};
    const grv_put_plan plan = {0};
    uint8_t *data = suite_random(30, 400000);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const grv_bytes bytes = {data, sizes[i]};
        grv_blob_key key = suite_key(env, bytes);
        grv_blob_sink *sink;
        assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
        assert_grv_ok(grv_sink_write(NULL, &sink->base, bytes, &error));
        suite_check_absent(env, &key);
        grv_sink_free(&sink->base);
        suite_check_absent(env, &key);
        suite_reopen(env);
        suite_check_absent(env, &key);
        assert_int_equal(suite_count(env), i);
        /* What it may have left in the way of blocks is no hindrance. */
        assert_false(suite_put(env, bytes).already_stored);
        suite_check_blob(env, &key, bytes);
    }
    free(data);
}

static void a_window_not_written_is_not_stored(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    grv_span window;
    assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of("abc", 3), &error));
    assert_grv_ok(grv_sink_reserve(NULL, &sink->base, &window, &error));
    memset(window.data, 'x', window.size);
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key want = suite_key(env, grv_bytes_of("abc", 3));
    assert_int_equal(grv_blob_key_compare(&sink->result.key, &want), 0);
    grv_sink_free(&sink->base);
    suite_check_blob(env, &want, grv_bytes_of("abc", 3));
}

static void a_committed_put_takes_no_more(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    grv_span window;
    assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of("once", 4), &error));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    assert_grv_status(grv_sink_commit(NULL, &sink->base, &error), GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_sink_reserve(NULL, &sink->base, &window, &error), GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_sink_write(NULL, &sink->base, grv_bytes_of("x", 1), &error),
                      GRV_INVALID_ARGUMENT);
    assert_int_equal(grv_blob_key_compare(&sink->result.key, &key), 0);
    grv_sink_free(&sink->base);
    suite_check_blob(env, &key, grv_bytes_of("once", 4));
    assert_int_equal(suite_count(env), 1);
}

static void bytes_other_than_expected_are_refused(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t *data = suite_random(31, 200001);
    const grv_bytes bytes = {data, 200000};
    const grv_bytes longer = {data, 200001};
    grv_blob_key key = suite_key(env, bytes);
    grv_blob_key other_size = suite_key(env, longer);
    grv_blob_key other_bytes = suite_key(env, grv_bytes_of(data + 1, 200000));
    grv_blob_key other_hash = key;
    other_hash.digest.hash = key.digest.hash == GRV_HASH_BLAKE3 ? GRV_HASH_SHA256 : GRV_HASH_BLAKE3;
    const grv_blob_key *const wrong[] = {&other_size, &other_bytes, &other_hash};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const grv_put_plan plan = {.expected = wrong[i]};
        grv_put_result result = {.blocks = 77};
        assert_grv_status(suite_try_put(env, &plan, bytes, SUITE_ODD, &result, &error),
                          GRV_CONFLICT);
        assert_true(error.message[0] != '\0');
        assert_int_equal(result.blocks, 77);
        suite_check_absent(env, &key);
        suite_check_absent(env, wrong[i]);
    }
    suite_reopen(env);
    assert_int_equal(suite_count(env), 0);
    const grv_put_plan right = {.expected = &key};
    grv_put_result result;
    assert_grv_ok(suite_try_put(env, &right, bytes, SUITE_ODD, &result, &error));
    suite_check_blob(env, &key, bytes);
    assert_grv_ok(suite_try_put(env, &right, bytes, SUITE_ODD, &result, &error));
    assert_true(result.already_stored);
    /* A refused put of a blob that is there leaves it and its attributes. */
    const grv_put_plan plan = {.expected = &other_size};
    assert_grv_status(suite_try_put(env, &plan, bytes, SUITE_ODD, &result, &error), GRV_CONFLICT);
    suite_check_blob(env, &key, bytes);
    free(data);
}

static void a_failed_put_tells_it_again(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_key other = suite_key(env, grv_bytes_of("other", 5));
    const grv_put_plan plan = {.expected = &other};
    grv_blob_sink *sink;
    grv_span window;
    assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of("this", 4), &error));
    assert_grv_status(grv_sink_commit(NULL, &sink->base, &error), GRV_CONFLICT);
    if (sink->result.key.digest.hash != GRV_HASH_NONE) { /* it may tell what the bytes are */
        grv_blob_key bytes_key = suite_key(env, grv_bytes_of("this", 4));
        assert_int_equal(grv_blob_key_compare(&sink->result.key, &bytes_key), 0);
    }
    assert_grv_status(grv_sink_commit(NULL, &sink->base, &error), GRV_CONFLICT);
    assert_grv_status(grv_sink_reserve(NULL, &sink->base, &window, &error), GRV_CONFLICT);
    assert_grv_status(grv_sink_advance(NULL, &sink->base, 0, &error), GRV_CONFLICT);
    assert_grv_status(grv_sink_write(NULL, &sink->base, grv_bytes_of("x", 1), &error),
                      GRV_CONFLICT);
    grv_sink_free(&sink->base);
    assert_int_equal(suite_count(env), 0);
}

/* A call that is given up already, either way; the status it must give. */
typedef struct given_up {
    grv_call call;
    grv_status status;
} given_up;

static const grv_cancel raised = {.raised = 1};
static const given_up given_ups[] = {
    {{.cancel = &raised}, GRV_CANCELLED},
    {{.deadline_ns = 1}, GRV_TIMEOUT},
};

/* Writes until the put fails, which it must before 64 MiB: no call may take bytes for ever. */
static grv_status write_until_refused(const grv_call *call, grv_sink *sink)
{
    static const uint8_t piece[65536];
    for (int i = 0; i < 1024; i++) {
        grv_status status = grv_sink_write(call, sink, grv_bytes_of(piece, sizeof piece), NULL);
        if (status) {
            return status;
        }
    }
    return GRV_OK;
}

static void puts_given_up_end(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    const grv_bytes bytes = grv_bytes_of("not to be kept", 14);
    grv_blob_key key = suite_key(env, bytes);
    for (size_t i = 0; i < 2; i++) {
        const grv_call *call = &given_ups[i].call;
        grv_blob_sink *sink = NULL;
        assert_grv_status(grv_blob_store_open_put(call, env->store, &plan, &sink, &error),
                          given_ups[i].status);
        assert_null(sink);

        assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
        assert_grv_ok(grv_sink_write(NULL, &sink->base, bytes, &error));
        assert_grv_status(grv_sink_commit(call, &sink->base, &error), given_ups[i].status);
        assert_grv_status(grv_sink_commit(NULL, &sink->base, &error), given_ups[i].status);
        grv_sink_free(&sink->base);
        suite_check_absent(env, &key);

        assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
        assert_grv_status(write_until_refused(call, &sink->base), given_ups[i].status);
        assert_grv_status(grv_sink_commit(NULL, &sink->base, &error), given_ups[i].status);
        grv_sink_free(&sink->base);

        assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
        grv_span window;
        assert_grv_ok(grv_sink_reserve(NULL, &sink->base, &window, &error));
        window.data[0] = 'x';
        assert_grv_status(grv_sink_advance(call, &sink->base, 1, &error), given_ups[i].status);
        grv_sink_free(&sink->base);
    }
    suite_reopen(env);
    assert_int_equal(suite_count(env), 0);
    suite_put(env, bytes);
    suite_check_blob(env, &key, bytes);
}

static void reads_given_up_end(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t *data = suite_random(32, 3u << 20);
    const grv_bytes bytes = {data, 3u << 20};
    grv_blob_key key = suite_put(env, bytes).key;
    suite_reopen(env);
    for (size_t i = 0; i < 2; i++) {
        const grv_call *call = &given_ups[i].call;
        grv_source *source;
        grv_bytes view = {0};
        assert_grv_ok(
            grv_blob_store_open_get(NULL, env->store, &key, GRV_RANGE_ALL, &source, &error));
        assert_grv_ok(grv_source_next(NULL, source, 1000, &view, &error));
        assert_memory_equal(view.data, data, view.size);
        grv_bytes kept = view;
        assert_grv_status(grv_source_next(call, source, 1000, &view, &error), given_ups[i].status);
        assert_ptr_equal(view.data, kept.data);
        /* It is over, though this call could go on. */
        assert_grv_status(grv_source_next(NULL, source, 1000, &view, &error), given_ups[i].status);
        grv_source_free(source);
    }
    suite_check_blob(env, &key, bytes);
    free(data);
}

static void lists_given_up_end(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_blob_list list = {.order = GRV_ORDER_KEY};
    suite_put(env, grv_bytes_of("a", 1));
    for (size_t i = 0; i < 2; i++) {
        grv_blob_cursor *cursor;
        grv_blob_info info;
        size_t count = 77;
        assert_grv_ok(grv_blob_store_open_list(NULL, env->store, &list, &cursor, &error));
        assert_grv_status(
            grv_blob_cursor_next(&given_ups[i].call, cursor, &info, 1, &count, &error),
            given_ups[i].status);
        assert_int_equal(count, 77);
        grv_blob_cursor_free(cursor);
    }
}

static void a_source_may_be_freed_at_any_point(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t *data = suite_random(33, 3u << 20);
    const grv_bytes bytes = {data, 3u << 20};
    static const size_t stops[] = {0, 1, 70000, 1500000, (3u << 20) - 1, 3u << 20};
    uint8_t *back = malloc(bytes.size);
    assert_non_null(back);
    grv_blob_key key = suite_put(env, bytes).key;
    suite_reopen(env);
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        grv_source *source;
        size_t got = 0;
        assert_grv_ok(
            grv_blob_store_open_get(NULL, env->store, &key, GRV_RANGE_ALL, &source, &error));
        assert_grv_ok(grv_source_read(NULL, source, (grv_span){back, stops[i]}, &got, &error));
        assert_memory_equal(back, data, got);
        grv_source_free(source);
    }
    suite_check_blob(env, &key, bytes);
    free(back);
    free(data);
}

/* A source may outlive its blob: then it gives the right bytes or GRV_NOT_FOUND, and no others. */
static void a_removed_blob_is_never_cut_short(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t *data = suite_random(34, 3u << 20);
    const grv_bytes bytes = {data, 3u << 20};
    for (int before = 0; before < 2; before++) {
        grv_blob_key key = suite_put(env, bytes).key;
        grv_source *source;
        grv_bytes view;
        size_t at = 0;
        assert_grv_ok(
            grv_blob_store_open_get(NULL, env->store, &key, GRV_RANGE_ALL, &source, &error));
        if (before) {
            assert_grv_ok(grv_source_next(NULL, source, 1000, &view, &error));
            at = view.size;
        }
        assert_grv_ok(grv_blob_store_remove(NULL, env->store, &key, &error));
        grv_status status;
        do {
            status = grv_source_next(NULL, source, SIZE_MAX, &view, &error);
            if (!status) {
                assert_true(view.size <= bytes.size - at);
                assert_memory_equal(view.data, data + at, view.size);
                at += view.size;
            }
        } while (!status && view.size > 0);
        assert_true(status == GRV_NOT_FOUND || (status == GRV_OK && at == bytes.size));
        grv_source_free(source);
        suite_check_absent(env, &key);
    }
    free(data);
}

const suite_test suite_failure_tests[] = {
    SUITE_REOPEN(a_put_given_up_leaves_nothing),
    SUITE_FRESH(a_window_not_written_is_not_stored),
    SUITE_FRESH(a_committed_put_takes_no_more),
    SUITE_REOPEN(bytes_other_than_expected_are_refused),
    SUITE_FRESH(a_failed_put_tells_it_again),
    SUITE_REOPEN(puts_given_up_end),
    SUITE_REOPEN(reads_given_up_end),
    SUITE_FRESH(lists_given_up_end),
    SUITE_REOPEN(a_source_may_be_freed_at_any_point),
    SUITE_FRESH(a_removed_blob_is_never_cut_short),
};
const size_t suite_failure_test_count = sizeof suite_failure_tests / sizeof suite_failure_tests[0];
