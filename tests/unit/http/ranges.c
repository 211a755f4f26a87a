/* SPDX-License-Identifier: Apache-2.0 */
/* Several ranges as one body: the same bytes however they are read, the length announced, and
 * failures before the first byte and in the middle. */
#include "http/api.h"
#include "http/fields.h"

#include "temp.h"
#include "test.h"

#include <graviton/backend/memory.h>
#include <stdio.h>
#include <stdlib.h>

#define SIZE 100000u

typedef struct world {
    grv_blob_store *blobs;
    grv_blob_key key;
    uint8_t *data;
} world;

static int world_open(void **state)
{
    grv_error error = GRV_ERROR_INIT;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->data = malloc(SIZE);
    assert_non_null(w->data);
    uint64_t seed = 4;
    for (size_t i = 0; i < SIZE; i++) {
        w->data[i] = (uint8_t)test_random(&seed);
    }
    assert_grv_ok(grv_blob_store_memory_new(GRV_HASH_BLAKE3, UINT64_C(1) << 30, &w->blobs, &error));
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    assert_grv_ok(grv_blob_store_open_put(NULL, w->blobs, &plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of(w->data, SIZE), &error));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    w->key = sink->result.key;
    grv_sink_free(&sink->base);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    grv_blob_store_free(w->blobs);
    free(w->data);
    free(w);
    return 0;
}

/* What the body must be. */
static size_t body_make(const world *w, const http_ranges *ranges, char *body, size_t capacity)
{
    size_t used = 0;
    for (unsigned i = 0; i < ranges->count; i++) {
        grv_range range = ranges->ranges[i];
        used += (size_t)snprintf(body + used, capacity - used,
                                 "%s--XX\r\nContent-Type: text/plain\r\nContent-Range: bytes "
                                 "%llu-%llu/%u\r\n\r\n",
                                 i ? "\r\n" : "", (unsigned long long)range.first,
                                 (unsigned long long)range.end - 1, SIZE);
        memcpy(body + used, w->data + range.first, range.end - range.first);
        used += range.end - range.first;
    }
    used += (size_t)snprintf(body + used, capacity - used, "\r\n--XX--\r\n");
    return used;
}

static void the_same_bytes_however_they_are_read(void **state)
{
    world *w = *state;
    grv_error error = GRV_ERROR_INIT;
    static const http_ranges cases[] = {
        {2, {{0, 1}, {99999, SIZE}}},
        {3, {{50000, 90000}, {0, 40000}, {99000, 99001}}},
        {1, {{0, SIZE}}},
    };
    static const size_t steps[] = {1, 7, 1000, SIZE * 2};
    char *want = malloc(SIZE * 2);
    char *got = malloc(SIZE * 2);
    assert_true(want && got);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = body_make(w, &cases[i], want, SIZE * 2);
        for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
            grv_source *source;
            uint64_t length;
            assert_grv_ok(http_ranges_open(w->blobs, &w->key, &cases[i], "text/plain", "XX",
                                           &source, &length, &error));
            assert_int_equal(length, size);
            size_t used = 0;
            grv_bytes view;
            do {
                assert_grv_ok(grv_source_next(NULL, source, steps[k], &view, &error));
                assert_true(used + view.size <= size);
                if (view.size) {
                    memcpy(got + used, view.data, view.size);
                }
                used += view.size;
            } while (view.size > 0);
            assert_int_equal(used, size);
            assert_memory_equal(got, want, size);
            assert_grv_ok(grv_source_next(NULL, source, steps[k], &view, &error));
            assert_int_equal(view.size, 0);
            grv_source_free(source);
        }
    }
    free(want);
    free(got);
}

static void what_is_gone_fails_and_goes_on_failing(void **state)
{
    world *w = *state;
    grv_error error = GRV_ERROR_INIT;
    const http_ranges ranges = {2, {{0, 10}, {20, 30}}};
    grv_source *source;
    uint64_t length;
    grv_bytes view;
    assert_grv_ok(
        http_ranges_open(w->blobs, &w->key, &ranges, "text/plain", "XX", &source, &length, &error));
    assert_grv_ok(grv_blob_store_remove(NULL, w->blobs, &w->key, &error));
    /* Not even the headers of the first part. */
    for (int i = 0; i < 2; i++) {
        assert_grv_status(grv_source_next(NULL, source, 100, &view, &error), GRV_NOT_FOUND);
        assert_int_equal(error.status, GRV_NOT_FOUND);
    }
    grv_source_free(source);
}

/* The source of a blob that has fewer bytes than it should. */
typedef struct short_source {
    grv_source base;
    unsigned left;
} short_source;

static grv_status short_next(const grv_call *call, grv_source *base, size_t max,
                             grv_bytes *ret_view, grv_error *error)
{
    short_source *source = (short_source *)(void *)base;
    (void)call;
    (void)error;
    size_t size = source->left < max ? source->left : max;
    *ret_view = grv_bytes_of("abcdefgh", size);
    source->left -= (unsigned)size;
    return GRV_OK;
}

static void short_free(grv_source *base)
{
    free(base);
}

static grv_status short_open(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                             grv_range range, grv_source **ret_source, grv_error *error)
{
    static const grv_source_ops ops = {.name = "short", .next = short_next, .free = short_free};
    (void)call;
    (void)store;
    (void)key;
    (void)range;
    (void)error;
    short_source *source = calloc(1, sizeof *source);
    assert_non_null(source);
    source->base.ops = &ops;
    source->left = 4;
    *ret_source = &source->base;
    return GRV_OK;
}

static void a_range_of_another_length_is_no_clean_end(void **state)
{
    world *w = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_store_ops ops = *w->blobs->ops;
    ops.open_get = short_open;
    grv_blob_store liar = {&ops, 0};
    const http_ranges too_few = {1, {{0, 5}}};
    const http_ranges too_many = {1, {{0, 3}}};
    for (int i = 0; i < 2; i++) {
        grv_source *source;
        uint64_t length;
        assert_grv_ok(http_ranges_open(&liar, &w->key, i ? &too_many : &too_few, "text/plain", "XX",
                                       &source, &length, &error));
        grv_status status = GRV_OK;
        grv_bytes view = {0};
        for (int step = 0; step < 5 && !status; step++) {
            status = grv_source_next(NULL, source, 3, &view, &error);
            status = step < 2 ? status : grv_source_next(NULL, source, 1000, &view, &error);
        }
        assert_grv_status(status, GRV_CORRUPT);
        grv_source_free(source);
    }
}

static void boundaries_differ(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char one[HTTP_BOUNDARY_SIZE];
    char two[HTTP_BOUNDARY_SIZE];
    assert_grv_ok(http_boundary_make(one, &error));
    assert_grv_ok(http_boundary_make(two, &error));
    assert_int_equal(strlen(one), HTTP_BOUNDARY_SIZE - 1);
    assert_string_not_equal(one, two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_bytes_however_they_are_read, world_open,
                                        world_close),
        cmocka_unit_test_setup_teardown(what_is_gone_fails_and_goes_on_failing, world_open,
                                        world_close),
        cmocka_unit_test_setup_teardown(a_range_of_another_length_is_no_clean_end, world_open,
                                        world_close),
        cmocka_unit_test(boundaries_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
