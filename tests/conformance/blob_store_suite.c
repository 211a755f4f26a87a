/* SPDX-License-Identifier: Apache-2.0 */
/* Puts, reads and checks that all tests of the blob_store suite use. */
#include "blob_store_suite.h"

#include <stdlib.h>

uint8_t *suite_random(uint64_t seed, size_t size)
{
    uint8_t *data = malloc(size ? size : 1);
    assert_non_null(data);
    test_random_fill(&seed, data, size);
    return data;
}

uint8_t *suite_lines(uint64_t seed, size_t size)
{
    uint8_t *data = suite_random(seed, size);
    for (size_t at = 0; at < size;) {
        uint64_t word = test_random(&seed);
        size_t run = 1 + (size_t)(word % 700);
        run = run < size - at ? run : size - at;
        if (word >> 32 & 1) {
            memset(data + at, (int)(word >> 40 & 3), run);
        }
        data[at + run - 1] = '\n';
        at += run;
    }
    return data;
}

static grv_status write_windows(grv_sink *sink, grv_bytes bytes, grv_error *error)
{
    uint64_t seed = bytes.size;
    size_t at = 0;
    while (at < bytes.size) {
        uint64_t word = test_random(&seed);
        grv_span window;
        grv_status status = grv_sink_reserve(NULL, sink, &window, error);
        if (!status && word % 4 == 0) {
            status = grv_sink_advance(NULL, sink, 0, error);
        }
        if (!status && word % 4 < 2) {
            status = grv_sink_reserve(NULL, sink, &window, error);
        }
        if (status) {
            return status;
        }
        size_t take = 1 + (size_t)(word >> 8) % (word % 3 ? 5000 : 90000);
        take = take < window.size ? take : window.size;
        take = take < bytes.size - at ? take : bytes.size - at;
        memcpy(window.data, bytes.data + at, take);
        if (take < window.size) {
            window.data[take] = 0xee; /* past the advance: must never be seen */
        }
        status = grv_sink_advance(NULL, sink, take, error);
        if (status) {
            return status;
        }
        at += take;
    }
    return GRV_OK;
}

grv_status suite_write(grv_sink *sink, grv_bytes bytes, suite_split split, grv_error *error)
{
    static const size_t odd[] = {1, 0, 7, 4093, 65521, 3, 131071, 1021};
    if (split == SUITE_WHOLE) {
        return grv_sink_write(NULL, sink, bytes, error);
    }
    if (split == SUITE_WINDOWS) {
        return write_windows(sink, bytes, error);
    }
    size_t at = 0;
    for (size_t i = 0; at < bytes.size; i++) {
        size_t take = split == SUITE_ONES ? 1 : odd[i % (sizeof odd / sizeof odd[0])];
        take = take < bytes.size - at ? take : bytes.size - at;
        grv_status status = grv_sink_write(NULL, sink, grv_bytes_of(bytes.data + at, take), error);
        if (status) {
            return status;
        }
        at += take;
    }
    return GRV_OK;
}

grv_status suite_try_put(suite_env *env, const grv_put_plan *plan, grv_bytes bytes,
                         suite_split split, grv_put_result *ret_result, grv_error *error)
{
    const grv_put_plan none = {0};
    grv_blob_sink *sink;
    grv_status status =
        grv_blob_store_open_put(NULL, env->store, plan ? plan : &none, &sink, error);
    if (status) {
        return status;
    }
    status = suite_write(&sink->base, bytes, split, error);
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, error);
    }
    if (!status) {
        *ret_result = sink->result;
    }
    grv_sink_free(&sink->base);
    return status;
}

/* What a put told of itself on the way; the calls never overlap. */
typedef struct told {
    uint64_t bytes;
    uint64_t duplicate_bytes;
    bool is_odd; /* more duplicates than bytes */
} told;

static void add_told(void *context, uint64_t bytes, uint64_t duplicate_bytes)
{
    told *sum = context;
    sum->bytes += bytes;
    sum->duplicate_bytes += duplicate_bytes;
    sum->is_odd = sum->is_odd || sum->duplicate_bytes > sum->bytes;
}

grv_put_result suite_put(suite_env *env, grv_bytes bytes)
{
    grv_error error = GRV_ERROR_INIT;
    grv_put_result result = {0};
    told sum = {0};
    const grv_put_plan plan = {.progress = add_told, .progress_context = &sum};
    assert_grv_ok(suite_try_put(env, &plan, bytes, SUITE_WHOLE, &result, &error));
    assert_false(sum.is_odd);
    assert_int_equal(sum.bytes, bytes.size);
    assert_int_equal(sum.duplicate_bytes, result.duplicate_bytes);
    grv_blob_key want = suite_key(env, bytes);
    assert_int_equal(grv_blob_key_compare(&result.key, &want), 0);
    assert_int_equal(result.fresh_bytes + result.duplicate_bytes, bytes.size);
    assert_true(result.fresh_blocks <= result.blocks);
    assert_true(result.fresh_bytes > 0 || result.stored_bytes == 0);
    return result;
}

grv_blob_key suite_key(const suite_env *env, grv_bytes bytes)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_key key = {.size = bytes.size};
    assert_grv_ok(grv_digest_of(env->fixture->hash, bytes, &key.digest, &error));
    return key;
}

void suite_check_range(suite_env *env, const grv_blob_key *key, grv_range range, grv_bytes want,
                       size_t max)
{
    grv_error error = GRV_ERROR_INIT;
    size_t at = (size_t)range.first;
    size_t end = range.end < want.size ? (size_t)range.end : want.size;
    grv_source *source;
    assert_grv_ok(grv_blob_store_open_get(NULL, env->store, key, range, &source, &error));
    for (;;) {
        grv_bytes view;
        assert_grv_ok(grv_source_next(NULL, source, max, &view, &error));
        if (view.size == 0) {
            break;
        }
        assert_true(view.size <= max);
        assert_true(view.size <= end - at);
        assert_memory_equal(view.data, want.data + at, view.size);
        at += view.size;
    }
    assert_int_equal(at, end);
    grv_bytes view = {want.data, 1};
    assert_grv_ok(grv_source_next(NULL, source, max, &view, &error));
    assert_int_equal(view.size, 0);
    grv_source_free(source);
}

void suite_check_blob(suite_env *env, const grv_blob_key *key, grv_bytes want)
{
    suite_check_range(env, key, GRV_RANGE_ALL, want, SIZE_MAX);
}

void suite_check_absent(suite_env *env, const grv_blob_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info = {.sequence = 77};
    grv_source *source = NULL;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_status(grv_blob_store_stat(NULL, env->store, key, &info, &error), GRV_NOT_FOUND);
    assert_int_equal(info.sequence, 77);
    assert_int_equal(error.status, GRV_NOT_FOUND);
    assert_true(error.message[0] != '\0');
    assert_grv_status(
        grv_blob_store_open_get(NULL, env->store, key, GRV_RANGE_ALL, &source, &error),
        GRV_NOT_FOUND);
    assert_null(source);
    assert_grv_ok(grv_attributes_set(&attributes, "kept", grv_bytes_of("x", 1), &error));
    assert_grv_status(grv_blob_store_attributes_get(NULL, env->store, key, &attributes, &error),
                      GRV_NOT_FOUND);
    assert_int_equal(attributes.count, 1);
    assert_grv_status(grv_blob_store_attributes_set(NULL, env->store, key, &attributes, &error),
                      GRV_NOT_FOUND);
    assert_grv_status(grv_blob_store_remove(NULL, env->store, key, &error), GRV_NOT_FOUND);
    grv_attributes_done(&attributes);
    if (env->store->capabilities & GRV_BLOB_CAP_REFS) {
        grv_ref_cursor *cursor = NULL;
        assert_grv_status(grv_blob_store_open_refs(NULL, env->store, key, 0, &cursor, &error),
                          GRV_NOT_FOUND);
        assert_null(cursor);
    }
}

size_t suite_count(suite_env *env)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_blob_list list = {.order = GRV_ORDER_KEY};
    grv_blob_cursor *cursor;
    grv_blob_info infos[16];
    size_t total = 0;
    size_t count;
    assert_grv_ok(grv_blob_store_open_list(NULL, env->store, &list, &cursor, &error));
    do {
        assert_grv_ok(grv_blob_cursor_next(NULL, cursor, infos, 16, &count, &error));
        total += count;
    } while (count > 0);
    grv_blob_cursor_free(cursor);
    return total;
}
