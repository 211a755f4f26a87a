/* SPDX-License-Identifier: Apache-2.0 */
/* The object_store suite: puts, copies and removals, and what others see of them meanwhile. */
#include "object_store_suite.h"

#include <stdio.h>
#include <stdlib.h>

static grv_object_sink *open_put(object_case *self, const char *path, bool if_absent)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET, path);
    const grv_object_put put = {.if_absent = if_absent, .has_size_hint = true, .size_hint = 100};
    grv_object_sink *sink = NULL;
    assert_grv_ok(
        grv_mutable_object_store_open_put(NULL, self->store, &locator, &put, &sink, &error));
    return sink;
}

static grv_source *open_get(object_case *self, const char *path)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET, path);
    grv_source *source = NULL;
    assert_grv_ok(grv_object_store_open_get(NULL, &self->store->base, &locator, GRV_RANGE_ALL, NULL,
                                            &source, &error));
    return source;
}

static void remove_object(object_case *self, const char *path)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET, path);
    assert_grv_ok(grv_mutable_object_store_remove(NULL, self->store, &locator, &error));
}

static grv_status copy_to(object_case *self, const char *from, const char *bucket, const char *to,
                          bool if_absent, grv_object_info *ret_info, grv_error *error)
{
    grv_locator source = object_locator(self->store, OBJECT_BUCKET, from);
    grv_locator target = object_locator(self->store, bucket, to);
    return grv_mutable_object_store_copy(NULL, self->store, &source, &target, if_absent, ret_info,
                                         error);
}

static size_t count_all(object_case *self)
{
    object_paths list = object_list_all(self);
    size_t count = list.count;
    object_paths_free(&list);
    return count;
}

static void nothing_is_seen_before_the_commit(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    object_put(self, "old", 1, 300000);
    grv_object_sink *fresh = open_put(self, "dir/new", false);
    grv_object_sink *over = open_put(self, "old", false);
    assert_grv_ok(object_write(&fresh->base, 2, 0, 600000, &error));
    assert_grv_ok(object_write(&over->base, 3, 0, 600000, &error));
    object_check_absent(self, "dir/new");
    object_check(self, "old", 1, 300000);
    assert_int_equal(count_all(self), 1);
    assert_grv_ok(grv_sink_commit(NULL, &fresh->base, &error));
    assert_grv_ok(grv_sink_commit(NULL, &over->base, &error));
    object_check(self, "dir/new", 2, 600000);
    object_check(self, "old", 3, 600000);
    assert_grv_status(grv_sink_commit(NULL, &over->base, &error), GRV_INVALID_ARGUMENT);
    grv_sink_free(&fresh->base);
    grv_sink_free(&over->base);
    object_case_turn(self);
    object_check(self, "dir/new", 2, 600000);
    object_check(self, "old", 3, 600000);
}

static void an_abandoned_put_leaves_nothing(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    object_put(self, "old", 1, 100);
    for (int i = 0; i < 4; i++) {
        grv_object_sink *sink = open_put(self, i % 2 ? "old" : "a/b/c", false);
        assert_grv_ok(object_write(&sink->base, 2, 0, i < 2 ? 600000 : 0, &error));
        grv_sink_free(&sink->base);
    }
    object_case_turn(self);
    object_check(self, "old", 1, 100);
    object_check_absent(self, "a/b/c");
    assert_int_equal(count_all(self), 1);
}

static void a_sink_that_failed_stays_failed(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_object_sink *sink = open_put(self, "a", false);
    grv_span window;
    assert_grv_ok(grv_sink_reserve(NULL, &sink->base, &window, &error));
    assert_grv_status(grv_sink_advance(NULL, &sink->base, window.size + 1, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_sink_commit(NULL, &sink->base, &error), GRV_INVALID_ARGUMENT);
    grv_sink_free(&sink->base);
    object_case_turn(self);
    object_check_absent(self, "a");
}

/* More puts in a row than a file system's clock has ticks; sizes are all the same. */
static void puts_of_other_bytes_have_other_tags(void **state)
{
    object_case *self = *state;
    enum { PUTS = 60 };
    static grv_object_info infos[PUTS];
    for (size_t i = 0; i < PUTS; i++) {
        infos[i] = object_put(self, "a", i, 9);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(infos[i].tag, infos[k].tag);
        }
    }
    grv_object_info last = object_put(self, "a", PUTS - 1, 9);
    if (self->store->capabilities & GRV_OBJECT_CAP_TAG_PER_PUT) {
        assert_string_not_equal(last.tag, infos[PUTS - 1].tag);
    }
    object_case_turn(self);
    object_paths list = object_list_all(self);
    assert_int_equal(list.count, 1);
    object_check_info(&list.infos[0], &last);
    object_paths_free(&list);
}

/* Reads what is left of a source: the old bytes to their end, or a failure that says so. */
static void check_old_or_told(grv_source *source, uint64_t seed, uint64_t first, uint64_t end,
                              grv_status told)
{
    grv_error error = GRV_ERROR_INIT;
    grv_status status = object_read(source, seed, first, end, &error);
    if (status != GRV_OK && status != told) {
        fail_msg("%s: %s", grv_status_name(status), error.message);
    }
    grv_source_free(source);
}

static void a_reader_never_gets_bytes_of_two_puts(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    const uint64_t size = 2000000;
    object_put(self, "a", 1, size);
    grv_source *begun = open_get(self, "a");
    grv_source *unread = open_get(self, "a");
    uint8_t first[10];
    size_t got = 0;
    assert_grv_ok(grv_source_read(NULL, begun, (grv_span){first, sizeof first}, &got, &error));
    assert_int_equal(got, sizeof first);
    object_put(self, "a", 2, size / 2);
    check_old_or_told(begun, 1, sizeof first, size, GRV_CONFLICT);
    check_old_or_told(unread, 1, 0, size, GRV_CONFLICT);
    begun = open_get(self, "a");
    remove_object(self, "a");
    check_old_or_told(begun, 2, 0, size / 2, GRV_NOT_FOUND);
    object_check_absent(self, "a");
}

static void if_absent_never_replaces(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    if (!(self->store->capabilities & GRV_OBJECT_CAP_IF_ABSENT)) {
        assert_grv_status(object_try_put(self->store, "a", 1, 1, true, NULL, &error),
                          GRV_UNSUPPORTED);
        return;
    }
    assert_grv_ok(object_try_put(self->store, "a", 1, 500, true, NULL, &error));
    object_case_turn(self);
    assert_grv_status(object_try_put(self->store, "a", 2, 600, true, NULL, &error),
                      GRV_ALREADY_EXISTS);
    object_check(self, "a", 1, 500);
    /* Both began while nothing was there: the second commit finds out. */
    grv_object_sink *one = open_put(self, "x/b", true);
    grv_object_sink *two = open_put(self, "x/b", true);
    grv_object_sink *late = open_put(self, "c", true);
    assert_grv_ok(object_write(&one->base, 3, 0, 50, &error));
    assert_grv_ok(object_write(&two->base, 4, 0, 50, &error));
    assert_grv_ok(object_write(&late->base, 5, 0, 50, &error));
    assert_grv_ok(grv_sink_commit(NULL, &two->base, &error));
    assert_grv_status(grv_sink_commit(NULL, &one->base, &error), GRV_ALREADY_EXISTS);
    object_put(self, "c", 6, 60);
    assert_grv_status(grv_sink_commit(NULL, &late->base, &error), GRV_ALREADY_EXISTS);
    grv_sink_free(&one->base);
    grv_sink_free(&two->base);
    grv_sink_free(&late->base);
    object_case_turn(self);
    object_check(self, "x/b", 4, 50);
    object_check(self, "c", 6, 60);
    assert_int_equal(count_all(self), 3);
    remove_object(self, "a");
    assert_grv_ok(object_try_put(self->store, "a", 7, 70, true, NULL, &error));
    object_check(self, "a", 7, 70);
}

static void removing_is_idempotent(void **state)
{
    object_case *self = *state;
    object_put(self, "a", 1, 10);
    object_put(self, "a/b", 2, 10);
    remove_object(self, "a/c");
    remove_object(self, "a/b/c");
    remove_object(self, "never/was");
    remove_object(self, "a/");
    remove_object(self, "a");
    object_case_turn(self);
    object_check_absent(self, "a");
    remove_object(self, "a");
    object_check(self, "a/b", 2, 10);
    assert_int_equal(count_all(self), 1);
    object_put(self, "a", 3, 30);
    object_case_turn(self);
    object_check(self, "a", 3, 30);
}

static void a_copy_is_an_object_of_its_own(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    const uint64_t size = 1500000;
    grv_object_info original = object_put(self, "from", 1, size);
    object_put(self, "over", 2, 10);
    object_put(self, "empty", 2, 0);
    grv_object_info copied;
    assert_grv_ok(copy_to(self, "from", OBJECT_BUCKET, "dir/to", false, &copied, &error));
    assert_int_equal(copied.size_bytes, size);
    assert_true(copied.modified_ns >= original.modified_ns);
    assert_grv_ok(copy_to(self, "from", OBJECT_BUCKET, "over", false, NULL, &error));
    assert_grv_ok(copy_to(self, "from", OBJECT_BUCKET_OTHER, "from", false, NULL, &error));
    assert_grv_ok(copy_to(self, "empty", OBJECT_BUCKET, "empty2", false, NULL, &error));
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET, "dir/to");
    grv_object_info head;
    assert_grv_ok(grv_object_store_head(NULL, &self->store->base, &locator, &head, &error));
    object_check_info(&head, &copied);
    object_put(self, "from", 3, 30);
    remove_object(self, "empty");
    object_case_turn(self);
    object_check(self, "from", 3, 30);
    object_check(self, "dir/to", 1, size);
    object_check(self, "over", 1, size);
    object_check(self, "empty2", 2, 0);
    object_check_in(self, OBJECT_BUCKET_OTHER, "from", 1, size);
}

static void copies_that_cannot_be_change_nothing(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    object_put(self, "a", 1, 10);
    object_put(self, "b", 2, 20);
    assert_grv_status(copy_to(self, "none", OBJECT_BUCKET, "b", false, NULL, &error),
                      GRV_NOT_FOUND);
    assert_non_null(strstr(error.message, "none"));
    assert_grv_status(copy_to(self, "a", OBJECT_BUCKET, "a", false, NULL, &error),
                      GRV_INVALID_ARGUMENT);
    if (self->store->capabilities & GRV_OBJECT_CAP_IF_ABSENT) {
        assert_grv_status(copy_to(self, "a", OBJECT_BUCKET, "b", true, NULL, &error),
                          GRV_ALREADY_EXISTS);
        assert_grv_ok(copy_to(self, "a", OBJECT_BUCKET, "c", true, NULL, &error));
        object_check(self, "c", 1, 10);
        remove_object(self, "c");
    }
    object_case_turn(self);
    object_check(self, "a", 1, 10);
    object_check(self, "b", 2, 20);
    assert_int_equal(count_all(self), 2);
}

static void calls_that_were_given_up_change_nothing(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_cancel cancel = {0};
    const grv_call call = {.cancel = &cancel};
    grv_object_store *reader = &self->store->base;
    grv_locator a = object_locator(self->store, OBJECT_BUCKET, "a");
    grv_locator b = object_locator(self->store, OBJECT_BUCKET, "b");
    const grv_object_list plan = {.bucket = OBJECT_BUCKET};
    const grv_object_put put = {0};
    object_put(self, "a", 1, 10);
    grv_object_sink *sink = open_put(self, "a", false);
    grv_source *source = open_get(self, "a");
    grv_object_cursor *cursor = NULL;
    assert_grv_ok(grv_object_store_open_list(NULL, reader, &plan, &cursor, &error));
    grv_cancel_raise(&cancel);
    grv_object_info info;
    grv_bytes view;
    grv_object_entry entry;
    size_t count;
    grv_source *no_source = NULL;
    grv_object_cursor *no_cursor = NULL;
    grv_object_sink *no_sink = NULL;
    assert_grv_status(grv_object_store_head(&call, reader, &a, &info, &error), GRV_CANCELLED);
    assert_grv_status(
        grv_object_store_open_get(&call, reader, &a, GRV_RANGE_ALL, &info, &no_source, &error),
        GRV_CANCELLED);
    assert_grv_status(grv_object_store_open_list(&call, reader, &plan, &no_cursor, &error),
                      GRV_CANCELLED);
    assert_grv_status(grv_object_cursor_next(&call, cursor, &entry, 1, &count, &error),
                      GRV_CANCELLED);
    assert_grv_status(grv_source_next(&call, source, 1, &view, &error), GRV_CANCELLED);
    assert_grv_status(grv_source_next(NULL, source, 1, &view, &error), GRV_CANCELLED);
    assert_grv_status(
        grv_mutable_object_store_open_put(&call, self->store, &b, &put, &no_sink, &error),
        GRV_CANCELLED);
    assert_grv_status(grv_sink_commit(&call, &sink->base, &error), GRV_CANCELLED);
    assert_grv_status(grv_mutable_object_store_remove(&call, self->store, &a, &error),
                      GRV_CANCELLED);
    assert_grv_status(
        grv_mutable_object_store_copy(&call, self->store, &a, &b, false, NULL, &error),
        GRV_CANCELLED);
    assert_grv_ok(grv_object_cursor_next(NULL, cursor, &entry, 1, &count, &error));
    assert_int_equal(count, 1);
    grv_object_cursor_free(cursor);
    grv_source_free(source);
    grv_sink_free(&sink->base);
    object_case_turn(self);
    object_check(self, "a", 1, 10);
    assert_int_equal(count_all(self), 1);
}

const object_test object_put_tests[] = {
    OBJECT_TEST(nothing_is_seen_before_the_commit),
    OBJECT_TEST(an_abandoned_put_leaves_nothing),
    OBJECT_TEST(a_sink_that_failed_stays_failed),
    OBJECT_TEST(puts_of_other_bytes_have_other_tags),
    OBJECT_TEST(a_reader_never_gets_bytes_of_two_puts),
    OBJECT_TEST(if_absent_never_replaces),
    OBJECT_TEST(removing_is_idempotent),
    OBJECT_TEST(a_copy_is_an_object_of_its_own),
    OBJECT_TEST(copies_that_cannot_be_change_nothing),
    OBJECT_TEST(calls_that_were_given_up_change_nothing),
};
const size_t object_put_test_count = sizeof object_put_tests / sizeof object_put_tests[0];
