/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the conformance suite cannot see of the range tracker over a key-value store: what one
 * change writes, races, damage, and the most ranges there may be.
 */
#include "core/range_record.h"
#include "indexes.h"

#include <stdlib.h>

typedef struct fixture {
    watched_kv kv;
    grv_range_tracker *tracker;
    grv_locator locator;
    grv_bytes key;
} fixture;

static int setup(void **state)
{
    static const char text[] = "s3://b/p";
    static fixture f;
    grv_error error = GRV_ERROR_INIT;
    f = (fixture){.key = grv_bytes_of(text, strlen(text)), .locator = locator_of(text)};
    watched_kv_init(&f.kv);
    assert_grv_ok(grv_range_tracker_kv_new(&f.kv.base, &f.tracker, &error));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    grv_range_tracker_free(f->tracker);
    grv_kv_free(&f->kv.base);
    return 0;
}

static grv_status merge(fixture *f, uint64_t generation, uint64_t first, uint64_t end,
                        grv_range_set *ret_new, grv_error *error)
{
    return grv_range_tracker_merge(NULL, f->tracker, &f->locator, generation,
                                   (grv_range){first, end}, NULL, ret_new, error);
}

static uint64_t size_now(fixture *f)
{
    grv_error error = GRV_ERROR_INIT;
    uint64_t generation = 0;
    grv_range_set set;
    grv_range_set_init(&set);
    assert_grv_ok(
        grv_range_tracker_current(NULL, f->tracker, &f->locator, &generation, &set, &error));
    uint64_t size = grv_range_set_size(&set);
    grv_range_set_done(&set);
    return size;
}

static void a_merge_is_one_durable_write_of_the_record(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(merge(f, 3, 5, 10, NULL, &error));
    assert_int_equal(f->kv.writes, 1);
    assert_int_equal(f->kv.op_count, 1);
    assert_int_equal(f->kv.durability, GRV_DURABLE);
    grv_value value = {0};
    grv_range_set set;
    grv_range_set_init(&set);
    uint64_t generation = 0;
    assert_grv_ok(grv_kv_get(NULL, f->kv.inner, GRV_NS_RANGE, f->key, &value, &error));
    assert_grv_ok(grv_range_record_decode(value.bytes, &generation, &set, &error));
    assert_int_equal(generation, 3);
    assert_int_equal(set.count, 1);
    grv_range_set_done(&set);
    grv_value_done(&value);
    /* Nothing to change: still one write, which waits until what was read is durable. */
    assert_grv_ok(merge(f, 3, 6, 9, NULL, &error));
    assert_int_equal(f->kv.writes, 2);
    assert_int_equal(f->kv.op_count, 0);
    assert_int_equal(f->kv.durability, GRV_DURABLE);
    assert_grv_ok(grv_range_tracker_remove(NULL, f->tracker, &f->locator, &error));
    assert_int_equal(f->kv.writes, 3);
    assert_int_equal(f->kv.durability, GRV_DURABLE);
    assert_int_equal(watched_kv_rows(&f->kv, GRV_NS_RANGE), 0);
}

/* On a full disk what makes room must work. */
static void only_changes_that_make_room_may_use_the_reserve(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_range_tracker_reset(NULL, f->tracker, &f->locator, 1, &error));
    assert_false(f->kv.frees); /* a record where there was none */
    assert_grv_ok(merge(f, 1, 0, 1, NULL, &error));
    assert_false(f->kv.frees);
    assert_grv_ok(grv_range_tracker_reset(NULL, f->tracker, &f->locator, 1, &error));
    assert_true(f->kv.frees);
    assert_grv_ok(merge(f, 1, 0, 1, NULL, &error));
    assert_grv_ok(grv_range_tracker_remove(NULL, f->tracker, &f->locator, &error));
    assert_true(f->kv.frees);
}

/* Somebody else's merge, through a tracker of its own. */
static void merge_0_to_7(void *context)
{
    fixture *f = context;
    grv_error error = GRV_ERROR_INIT;
    grv_range_tracker *other = NULL;
    assert_grv_ok(grv_range_tracker_kv_new(f->kv.inner, &other, &error));
    assert_grv_ok(grv_range_tracker_merge(NULL, other, &f->locator, 3, (grv_range){0, 7}, NULL,
                                          NULL, &error));
    grv_range_tracker_free(other);
}

static void what_is_new_is_told_as_of_the_write(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_range_set fresh;
    grv_range_set_init(&fresh);
    f->kv.before = merge_0_to_7;
    f->kv.context = f;
    assert_grv_ok(merge(f, 3, 5, 10, &fresh, &error));
    assert_int_equal(f->kv.writes, 2);
    assert_int_equal(fresh.count, 1);
    assert_int_equal(fresh.ranges[0].first, 7);
    assert_int_equal(fresh.ranges[0].end, 10);
    assert_int_equal(size_now(f), 10);
    /* An older generation that the race is lost to is a conflict, not another attempt. */
    assert_grv_ok(grv_range_tracker_remove(NULL, f->tracker, &f->locator, &error));
    f->kv.before = merge_0_to_7;
    assert_grv_status(merge(f, 2, 5, 10, &fresh, &error), GRV_CONFLICT);
    assert_int_equal(grv_range_set_size(&fresh), 3);
    assert_int_equal(size_now(f), 7);
    grv_range_set_done(&fresh);
}

static void a_race_that_is_never_won_ends(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_range_set fresh;
    grv_range_set_init(&fresh);
    f->kv.refuse = SIZE_MAX;
    assert_grv_status(merge(f, 3, 5, 10, &fresh, &error), GRV_UNAVAILABLE);
    assert_int_equal(fresh.count, 0);
    assert_true(f->kv.writes > 10);
    assert_non_null(strstr(error.message, "ranges at s3://b/p"));
    f->kv.refuse = 0;
    assert_int_equal(size_now(f), 0);
}

static void a_damaged_record_is_told_and_a_reset_mends_it(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_range_set set;
    grv_range_set_init(&set);
    uint64_t generation = 77;
    assert_grv_ok(merge(f, 3, 5, 10, &set, &error));
    watched_kv_put(&f->kv, GRV_NS_RANGE, f->key, grv_bytes_of("junk", 4));
    assert_grv_status(
        grv_range_tracker_current(NULL, f->tracker, &f->locator, &generation, &set, &error),
        GRV_CORRUPT);
    assert_non_null(strstr(error.message, "ranges at s3://b/p"));
    assert_int_equal(generation, 77);
    assert_int_equal(set.count, 1);
    assert_grv_status(merge(f, 3, 5, 10, &set, &error), GRV_CORRUPT);
    assert_int_equal(set.count, 1);
    assert_grv_ok(grv_range_tracker_reset(NULL, f->tracker, &f->locator, 2, &error));
    assert_grv_ok(merge(f, 2, 0, 1, NULL, &error));
    assert_int_equal(size_now(f), 1);
    watched_kv_put(&f->kv, GRV_NS_RANGE, f->key, grv_bytes_of("junk", 4));
    assert_grv_ok(grv_range_tracker_remove(NULL, f->tracker, &f->locator, &error));
    assert_int_equal(size_now(f), 0);
    /* One that a newer version wrote is not damaged. */
    assert_grv_ok(merge(f, 2, 0, 1, NULL, &error));
    watched_kv_make_newer(&f->kv, GRV_NS_RANGE, f->key);
    assert_grv_status(grv_range_tracker_reset(NULL, f->tracker, &f->locator, 2, &error),
                      GRV_UNSUPPORTED);
    assert_grv_status(merge(f, 2, 0, 1, NULL, &error), GRV_UNSUPPORTED);
    grv_range_set_done(&set);
}

static void a_damaged_record_does_not_hide_the_others(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator first = locator_of("s3://b/a");
    grv_locator last = locator_of("s3://b/z");
    const grv_locator *locators[] = {&first, &f->locator, &last};
    for (size_t i = 0; i < 3; i++) {
        assert_grv_ok(grv_range_tracker_merge(NULL, f->tracker, locators[i], 1, (grv_range){0, 1},
                                              NULL, NULL, &error));
    }
    watched_kv_put(&f->kv, GRV_NS_RANGE, f->key, grv_bytes_of("junk", 4));
    watched_kv_put(&f->kv, GRV_NS_RANGE, grv_bytes_of("junk", 4), grv_bytes_of("junk", 4));
    grv_tracked_cursor *cursor = NULL;
    grv_tracked items[4];
    size_t count = 77;
    assert_grv_ok(
        grv_range_tracker_open_list(NULL, f->tracker, &(grv_tracked_list){0}, &cursor, &error));
    assert_grv_status(grv_tracked_cursor_next(NULL, cursor, items, 4, &count, &error), GRV_CORRUPT);
    assert_grv_ok(grv_tracked_cursor_next(NULL, cursor, items, 4, &count, &error));
    assert_int_equal(count, 1);
    assert_int_equal(grv_locator_compare(&items[0].locator, &first), 0);
    assert_grv_status(grv_tracked_cursor_next(NULL, cursor, items, 4, &count, &error), GRV_CORRUPT);
    assert_non_null(strstr(error.message, "s3://b/p"));
    assert_grv_ok(grv_tracked_cursor_next(NULL, cursor, items, 4, &count, &error));
    assert_int_equal(count, 1);
    assert_int_equal(grv_locator_compare(&items[0].locator, &last), 0);
    assert_grv_ok(grv_tracked_cursor_next(NULL, cursor, items, 4, &count, &error));
    assert_int_equal(count, 0);
    grv_tracked_cursor_free(cursor);
}

static void ranges_are_bounded(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_range_set set = {calloc(GRV_TRACKER_RANGES_MAX, sizeof(grv_range)), 0,
                         GRV_TRACKER_RANGES_MAX};
    assert_non_null(set.ranges);
    for (; set.count < GRV_TRACKER_RANGES_MAX; set.count++) {
        set.ranges[set.count] = (grv_range){2 * set.count, 2 * set.count + 1};
    }
    grv_buffer record;
    grv_buffer_init(&record, GRV_RANGE_RECORD_MAX);
    assert_grv_ok(grv_range_record_encode(1, &set, &record, &error));
    watched_kv_put(&f->kv, GRV_NS_RANGE, f->key, grv_buffer_bytes(&record));
    grv_buffer_done(&record);
    grv_range_set_done(&set);
    const uint64_t end = UINT64_C(2) * GRV_TRACKER_RANGES_MAX;
    assert_grv_status(merge(f, 1, end, end + 1, &set, &error), GRV_LIMIT_EXCEEDED);
    assert_int_equal(set.count, 0);
    assert_int_equal(size_now(f), GRV_TRACKER_RANGES_MAX);
    assert_grv_ok(merge(f, 1, 1, 2, &set, &error)); /* joins two */
    assert_grv_ok(merge(f, 1, end, end + 1, &set, &error));
    assert_int_equal(size_now(f), GRV_TRACKER_RANGES_MAX + 2);
    grv_range_set_done(&set);
}

static void a_store_without_the_namespace_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    grv_range_tracker *tracker = NULL;
    assert_grv_ok(grv_kv_memory_new(GRV_NS_RANGE, &kv, &error));
    assert_grv_status(grv_range_tracker_kv_new(kv, &tracker, &error), GRV_INVALID_ARGUMENT);
    assert_null(tracker);
    grv_kv_free(kv);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_merge_is_one_durable_write_of_the_record),
        TEST(only_changes_that_make_room_may_use_the_reserve),
        TEST(what_is_new_is_told_as_of_the_write),
        TEST(a_race_that_is_never_won_ends),
        TEST(a_damaged_record_is_told_and_a_reset_mends_it),
        TEST(a_damaged_record_does_not_hide_the_others),
        TEST(ranges_are_bounded),
        TEST(a_store_without_the_namespace_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
