/* SPDX-License-Identifier: Apache-2.0 */
/* Sources that give several views at once, and those that give one. */
#include "test.h"

#include <graviton/stream.h>

enum { PIECE = 5 }; /* bytes that lie together */

static const uint8_t text[] = "everything that this source has";
#define TEXT_SIZE (sizeof text - 1)

/* A source over the text. */
typedef struct text_source {
    grv_source base;
    size_t at;
    size_t fails_at; /* with `status`, once it is there */
    grv_status status;
    unsigned freed;
} text_source;

static grv_status text_next(const grv_call *call, grv_source *base, size_t max, grv_bytes *ret_view,
                            grv_error *error)
{
    text_source *source = (text_source *)(void *)base;
    (void)call;
    if (source->status && source->at >= source->fails_at) {
        return grv_error_set(error, source->status, "text", "it fails here");
    }
    size_t size = PIECE - source->at % PIECE;
    size = size < TEXT_SIZE - source->at ? size : TEXT_SIZE - source->at;
    size = size < max ? size : max;
    *ret_view = grv_bytes_of(text + source->at, size);
    source->at += size;
    return GRV_OK;
}

static grv_status text_gather(const grv_call *call, grv_source *base, size_t max,
                              grv_bytes ret_views[], size_t capacity, size_t *ret_count,
                              grv_error *error)
{
    size_t count = 0;
    while (count < capacity && max > 0) {
        grv_bytes view = {0};
        grv_status status = text_next(call, base, max, &view, count ? NULL : error);
        if (status && count == 0) {
            return status;
        }
        if (view.size == 0) {
            break;
        }
        max -= view.size;
        ret_views[count++] = view;
    }
    *ret_count = count;
    return GRV_OK;
}

static void text_free(grv_source *base)
{
    ((text_source *)(void *)base)->freed++;
}

static const grv_source_ops one_ops = {.name = "one", .next = text_next, .free = text_free};
static const grv_source_ops many_ops = {
    .name = "many", .next = text_next, .gather = text_gather, .free = text_free};

/* Reads all of it; `most` is how many views there may be at once. */
static void check_all(const grv_source_ops *ops, size_t max, size_t capacity, size_t most)
{
    grv_error error = GRV_ERROR_INIT;
    text_source source = {.base = {ops}};
    grv_bytes views[8];
    size_t got = 0;
    size_t seen = 0;
    for (;;) {
        size_t count = 99;
        assert_grv_ok(grv_source_gather(NULL, &source.base, max, views, capacity, &count, &error));
        if (count == 0) {
            break;
        }
        assert_in_range(count, 1, capacity);
        seen = count > seen ? count : seen;
        size_t together = 0;
        for (size_t i = 0; i < count; i++) {
            assert_true(views[i].size > 0);
            assert_memory_equal(views[i].data, text + got, views[i].size);
            got += views[i].size;
            together += views[i].size;
        }
        assert_true(together <= max);
    }
    assert_int_equal(got, TEXT_SIZE);
    assert_int_equal(seen, most);
    size_t count = 99;
    assert_grv_ok(grv_source_gather(NULL, &source.base, 1, views, 1, &count, &error));
    assert_int_equal(count, 0);
    grv_source_free(&source.base);
    assert_int_equal(source.freed, 1);
}

static void views_are_as_many_as_the_source_has(void **state)
{
    (void)state;
    check_all(&many_ops, 1000, 8, (TEXT_SIZE + PIECE - 1) / PIECE);
    check_all(&many_ops, 1000, 3, 3);
    check_all(&many_ops, 1000, 1, 1);
    check_all(&many_ops, 2 * PIECE + 1, 8, 3);
    check_all(&many_ops, 1, 8, 1);
}

static void a_source_without_has_one_at_a_time(void **state)
{
    (void)state;
    check_all(&one_ops, 1000, 8, 1);
    check_all(&one_ops, 1000, 1, 1);
    check_all(&one_ops, 3, 8, 1);
}

static void a_failure_leaves_the_count(void **state)
{
    (void)state;
    const grv_source_ops *const all[] = {&one_ops, &many_ops};
    for (size_t i = 0; i < 2; i++) {
        grv_error error = GRV_ERROR_INIT;
        text_source source = {.base = {all[i]}, .fails_at = 10, .status = GRV_CORRUPT};
        grv_bytes views[8];
        size_t count = 0;
        size_t got = 0;
        while (got < 10) {
            assert_grv_ok(grv_source_gather(NULL, &source.base, 100, views, 8, &count, &error));
            for (size_t k = 0; k < count; k++) {
                got += views[k].size;
            }
        }
        count = 99;
        assert_grv_status(grv_source_gather(NULL, &source.base, 100, views, 8, &count, &error),
                          GRV_CORRUPT);
        assert_int_equal(count, 99);
        assert_string_equal(error.message, "it fails here");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_are_as_many_as_the_source_has),
        cmocka_unit_test(a_source_without_has_one_at_a_time),
        cmocka_unit_test(a_failure_leaves_the_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
