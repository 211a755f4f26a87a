/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conformance suite of port range_tracker, over every implementation, fresh and reopened: what
 * each slot promises. range_tracker_model.c has the random tests and the threads.
 */
#include "postgres_store.h"
#include "range_tracker_fixtures.h"
#include "temp.h"

#include <graviton/key.h>

/* Merges that must succeed and of which only the effect matters. */
static void merge(grv_range_tracker *tracker, const grv_locator *locator, uint64_t generation,
                  uint64_t first, uint64_t end)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_range_tracker_merge(NULL, tracker, locator, generation,
                                          (grv_range){first, end}, NULL, NULL, &error));
}

static void a_locator_never_heard_of_has_no_ranges(void **state)
{
    tracker_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = test_locator("s3://b/p");
    uint64_t generation = 7;
    grv_range_set set;
    grv_range_set_init(&set);
    assert_grv_ok(grv_range_set_merge(&set, (grv_range){1, 2}, NULL, &error));
    assert_grv_ok(
        grv_range_tracker_current(NULL, self->tracker, &locator, &generation, &set, &error));
    assert_int_equal(generation, 0);
    assert_int_equal(set.count, 0); /* what was in it is replaced */
    grv_range_set_done(&set);
    assert_grv_ok(grv_range_tracker_remove(NULL, self->tracker, &locator, &error));
    tracker_case_turn(self);
    test_check_ranges(self->tracker, &locator, 0, NULL, 0);
    grv_tracked item;
    assert_int_equal(test_list_tracked(self->tracker, &(grv_tracked_list){0}, 1, &item, 1), 0);
}

static void a_merge_says_the_whole_and_what_was_new(void **state)
{
    tracker_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = test_locator("s3://b/p");
    grv_locator other = test_locator("s3://b/p2");
    grv_range_set whole;
    grv_range_set fresh;
    grv_range_set_init(&whole);
    grv_range_set_init(&fresh);
    merge(self->tracker, &locator, 3, 10, 20);
    merge(self->tracker, &locator, 3, 30, 40);
    merge(self->tracker, &other, 3, 0, 100);
    tracker_case_turn(self);
    assert_grv_ok(grv_range_tracker_merge(NULL, self->tracker, &locator, 3, (grv_range){15, 45},
                                          &whole, &fresh, &error));
    test_check_set(&whole, (const grv_range[]){{10, 45}}, 1);
    test_check_set(&fresh, (const grv_range[]){{20, 30}, {40, 45}}, 2);
    /* Again: the sets are replaced, not added to. */
    assert_grv_ok(grv_range_tracker_merge(NULL, self->tracker, &locator, 3, (grv_range){15, 45},
                                          &whole, &fresh, &error));
    test_check_set(&whole, (const grv_range[]){{10, 45}}, 1);
    test_check_set(&fresh, NULL, 0);
    assert_grv_ok(grv_range_tracker_merge(NULL, self->tracker, &locator, 3, (grv_range){50, 60},
                                          NULL, &fresh, &error));
    test_check_set(&fresh, (const grv_range[]){{50, 60}}, 1);
    assert_grv_ok(grv_range_tracker_merge(NULL, self->tracker, &locator, 3, (grv_range){70, 70},
                                          &whole, &fresh, &error));
    test_check_set(&whole, (const grv_range[]){{10, 45}, {50, 60}}, 2);
    test_check_set(&fresh, NULL, 0);
    tracker_case_turn(self);
    test_check_ranges(self->tracker, &locator, 3, (const grv_range[]){{10, 45}, {50, 60}}, 2);
    test_check_ranges(self->tracker, &other, 3, (const grv_range[]){{0, 100}}, 1);
    grv_range_set_done(&whole);
    grv_range_set_done(&fresh);
}

static void a_newer_generation_starts_anew_and_an_older_one_is_refused(void **state)
{
    tracker_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = test_locator("s3://b/p");
    grv_range_set whole;
    grv_range_set fresh;
    grv_range_set_init(&whole);
    grv_range_set_init(&fresh);
    merge(self->tracker, &locator, 5, 10, 20);
    assert_grv_ok(grv_range_tracker_merge(NULL, self->tracker, &locator, 6, (grv_range){15, 30},
                                          &whole, &fresh, &error));
    test_check_set(&whole, (const grv_range[]){{15, 30}}, 1);
    test_check_set(&fresh, (const grv_range[]){{15, 30}}, 1);
    tracker_case_turn(self);
    assert_grv_status(grv_range_tracker_merge(NULL, self->tracker, &locator, 5, (grv_range){0, 99},
                                              &whole, &fresh, &error),
                      GRV_CONFLICT);
    assert_non_null(strstr(error.message, "s3://b/p"));
    test_check_set(&whole, (const grv_range[]){{15, 30}}, 1); /* unchanged */
    test_check_set(&fresh, (const grv_range[]){{15, 30}}, 1);
    assert_grv_status(grv_range_tracker_reset(NULL, self->tracker, &locator, 5, &error),
                      GRV_CONFLICT);
    test_check_ranges(self->tracker, &locator, 6, (const grv_range[]){{15, 30}}, 1);
    /* Even an empty range starts one. */
    merge(self->tracker, &locator, GRV_TRACKER_GENERATION_MAX, 8, 8);
    tracker_case_turn(self);
    test_check_ranges(self->tracker, &locator, GRV_TRACKER_GENERATION_MAX, NULL, 0);
    grv_range_set_done(&whole);
    grv_range_set_done(&fresh);
}

static void reset_keeps_the_generation_and_remove_forgets_it(void **state)
{
    tracker_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = test_locator("s3://b/p");
    merge(self->tracker, &locator, 5, 10, 20);
    assert_grv_ok(grv_range_tracker_reset(NULL, self->tracker, &locator, 5, &error));
    test_check_ranges(self->tracker, &locator, 5, NULL, 0);
    merge(self->tracker, &locator, 5, 1, 2);
    assert_grv_ok(grv_range_tracker_reset(NULL, self->tracker, &locator, 9, &error));
    tracker_case_turn(self);
    test_check_ranges(self->tracker, &locator, 9, NULL, 0);
    assert_grv_status(grv_range_tracker_merge(NULL, self->tracker, &locator, 8, (grv_range){0, 1},
                                              NULL, NULL, &error),
                      GRV_CONFLICT);
    assert_grv_ok(grv_range_tracker_remove(NULL, self->tracker, &locator, &error));
    assert_grv_ok(grv_range_tracker_remove(NULL, self->tracker, &locator, &error));
    tracker_case_turn(self);
    test_check_ranges(self->tracker, &locator, 0, NULL, 0);
    merge(self->tracker, &locator, 1, 0, 1);
    test_check_ranges(self->tracker, &locator, 1, (const grv_range[]){{0, 1}}, 1);
    /* A reset is also how a locator is begun. */
    grv_locator fresh = test_locator("s3://b/q");
    assert_grv_ok(grv_range_tracker_reset(NULL, self->tracker, &fresh, 2, &error));
    test_check_ranges(self->tracker, &fresh, 2, NULL, 0);
}

static void what_is_not_valid_is_refused(void **state)
{
    tracker_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_range_tracker *tracker = self->tracker;
    grv_locator locator = test_locator("s3://b/p");
    grv_locator empty = {.scheme = "s3", .path = "p"};
    const struct {
        uint64_t generation;
        grv_range range;
    } bad[] = {
        {0, {0, 1}},
        {GRV_TRACKER_GENERATION_MAX + 1, {0, 1}},
        {1, {2, 1}},
        {1, {0, GRV_BLOB_SIZE_MAX + 1}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_grv_status(grv_range_tracker_merge(NULL, tracker, &locator, bad[i].generation,
                                                  bad[i].range, NULL, NULL, &error),
                          GRV_INVALID_ARGUMENT);
    }
    assert_grv_status(grv_range_tracker_reset(NULL, tracker, &locator, 0, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_range_tracker_reset(NULL, tracker, &empty, 1, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_range_tracker_remove(NULL, tracker, &empty, &error),
                      GRV_INVALID_ARGUMENT);
    uint8_t prefix[GRV_TRACKER_LOCATOR_MAX + 1] = {0};
    const grv_tracked_list list = {.prefix = {prefix, sizeof prefix}};
    grv_tracked_cursor *cursor = NULL;
    assert_grv_status(grv_range_tracker_open_list(NULL, tracker, &list, &cursor, &error),
                      GRV_INVALID_ARGUMENT);
    tracker_case_turn(self);
    test_check_ranges(self->tracker, &locator, 0, NULL, 0);
}

static void the_longest_locator_is_taken_and_no_longer_one(void **state)
{
    tracker_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    char text[GRV_TRACKER_LOCATOR_MAX + 2];
    memset(text, 'x', sizeof text);
    memcpy(text, "s3://b/", 7);
    text[GRV_TRACKER_LOCATOR_MAX + 1] = '\0';
    grv_locator too_long = test_locator(text);
    text[GRV_TRACKER_LOCATOR_MAX] = '\0';
    grv_locator longest = test_locator(text);
    assert_grv_status(grv_range_tracker_merge(NULL, self->tracker, &too_long, 1, (grv_range){0, 1},
                                              NULL, NULL, &error),
                      GRV_LIMIT_EXCEEDED);
    merge(self->tracker, &longest, 1, 0, GRV_BLOB_SIZE_MAX);
    tracker_case_turn(self);
    test_check_ranges(self->tracker, &longest, 1, (const grv_range[]){{0, GRV_BLOB_SIZE_MAX}}, 1);
    grv_tracked items[2];
    assert_int_equal(test_list_tracked(self->tracker, &(grv_tracked_list){0}, 2, items, 2), 1);
    assert_int_equal(grv_locator_compare(&items[0].locator, &longest), 0);
    assert_int_equal(items[0].size_bytes, GRV_BLOB_SIZE_MAX);
}

static const char *const listed[] = {
    "fs+x://a/1", "fs://a-b/1", "fs://a/1", "fs://a/1/", "fs://a/10", "s3://a/\xff\xff",
};
#define LISTED (sizeof listed / sizeof listed[0])

static void lists_are_in_order_by_prefix_and_resume(void **state)
{
    tracker_case *self = *state;
    for (size_t i = LISTED; i-- > 0;) {
        grv_locator locator = test_locator(listed[i]);
        merge(self->tracker, &locator, i + 1, 0, 10 * i);
        merge(self->tracker, &locator, i + 1, 100, 105);
    }
    tracker_case_turn(self);
    grv_tracked all[LISTED + 1];
    grv_tracked some[LISTED + 1];
    for (size_t capacity = 1; capacity <= LISTED + 1; capacity += 2) {
        assert_int_equal(
            test_list_tracked(self->tracker, &(grv_tracked_list){0}, capacity, all, LISTED + 1),
            LISTED);
    }
    for (size_t i = 0; i < LISTED; i++) {
        char text[GRV_LOCATOR_TEXT_SIZE];
        grv_locator_print(&all[i].locator, text);
        assert_string_equal(text, listed[i]);
        assert_int_equal(all[i].generation, i + 1);
        assert_int_equal(all[i].size_bytes, 10 * i + 5);
        assert_int_equal(all[i].range_count, i ? 2 : 1);
        for (size_t after = 0; after < 2; after++) {
            const grv_tracked_list list = {.start = &all[i].locator, .after_start = after};
            assert_int_equal(test_list_tracked(self->tracker, &list, 3, some, LISTED + 1),
                             LISTED - i - after);
        }
    }
    static const struct {
        const char *prefix;
        size_t first;
        size_t count;
    } wanted[] = {{"f", 0, 5},         {"fs:", 1, 4},         {"fs://a/", 2, 3}, {"fs://a/1", 2, 3},
                  {"fs://a/1/", 3, 1}, {"s3://a/\xff", 5, 1}, {"g", 0, 0},       {"\xff", 0, 0}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const grv_tracked_list list = {
            .prefix = grv_bytes_of(wanted[i].prefix, strlen(wanted[i].prefix))};
        size_t count = test_list_tracked(self->tracker, &list, 2, some, LISTED + 1);
        assert_int_equal(count, wanted[i].count);
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(
                grv_locator_compare(&some[k].locator, &all[wanted[i].first + k].locator), 0);
        }
    }
}

static void calls_that_were_given_up_change_nothing(void **state)
{
    tracker_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    const grv_call call = {.cancel = &cancel};
    grv_locator locator = test_locator("s3://b/p");
    merge(self->tracker, &locator, 1, 0, 10);
    assert_grv_status(grv_range_tracker_merge(&call, self->tracker, &locator, 1,
                                              (grv_range){20, 30}, NULL, NULL, &error),
                      GRV_CANCELLED);
    assert_grv_status(grv_range_tracker_reset(&call, self->tracker, &locator, 2, &error),
                      GRV_CANCELLED);
    assert_grv_status(grv_range_tracker_remove(&call, self->tracker, &locator, &error),
                      GRV_CANCELLED);
    tracker_case_turn(self);
    test_check_ranges(self->tracker, &locator, 1, (const grv_range[]){{0, 10}}, 1);
}

static const tracker_test tracker_tests[] = {
    TRACKER_TEST(a_locator_never_heard_of_has_no_ranges),
    TRACKER_TEST(a_merge_says_the_whole_and_what_was_new),
    TRACKER_TEST(a_newer_generation_starts_anew_and_an_older_one_is_refused),
    TRACKER_TEST(reset_keeps_the_generation_and_remove_forgets_it),
    TRACKER_TEST(what_is_not_valid_is_refused),
    TRACKER_TEST(the_longest_locator_is_taken_and_no_longer_one),
    TRACKER_TEST(lists_are_in_order_by_prefix_and_resume),
    TRACKER_TEST(calls_that_were_given_up_change_nothing),
};
#define OWN_TESTS (sizeof tracker_tests / sizeof tracker_tests[0])

static int case_setup(void **state)
{
    tracker_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_temp_make(self->directory);
    if (self->fixture->open(self->directory, &self->context, &self->tracker, &error)) {
        print_error("%s: %s\n", self->name, error.message);
        return -1;
    }
    return 0;
}

static int case_teardown(void **state)
{
    tracker_case *self = *state;
    self->fixture->close(self->tracker, &self->context, true);
    self->tracker = NULL;
    test_temp_remove(self->directory);
    return 0;
}

int main(void)
{
    size_t per_fixture = OWN_TESTS + tracker_model_test_count;
    size_t total = 2 * tracker_fixture_count * per_fixture;
    struct CMUnitTest *units = calloc(total, sizeof *units);
    tracker_case *cases = calloc(total, sizeof *cases);
    if (!units || !cases) {
        abort();
    }
    for (size_t n = 0; n < total; n++) {
        size_t at = n % per_fixture;
        const tracker_test *test =
            at < OWN_TESTS ? &tracker_tests[at] : &tracker_model_tests[at - OWN_TESTS];
        cases[n].fixture = &tracker_fixtures[n / (2 * per_fixture)];
        cases[n].reopen = n / per_fixture % 2;
        snprintf(cases[n].name, sizeof cases[n].name, "%s, %s: %s", cases[n].fixture->name,
                 cases[n].reopen ? "reopened" : "fresh", test->name);
        units[n] =
            (struct CMUnitTest){cases[n].name, test->run, case_setup, case_teardown, &cases[n]};
        if (cases[n].fixture->postgres) {
            test_postgres_unit(&units[n]);
        }
    }
    int failed = _cmocka_run_group_tests("range_tracker", units, total, NULL, NULL);
    free(cases);
    free(units);
    return failed;
}
