/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conformance suite of port replica_index, over every implementation, fresh and reopened: what
 * each slot promises. replica_index_model.c has the random tests and the threads.
 */
#include "postgres_store.h"
#include "replica_index_fixtures.h"
#include "temp.h"

static void a_key_never_heard_of_has_no_replicas(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_key key = test_replica_key(1);
    grv_locator locator = test_locator("s3://b/p");
    grv_locator_set set;
    grv_locator_set_init(&set);
    assert_grv_ok(grv_locator_set_add(&set, &locator, &error));
    assert_grv_ok(grv_replica_index_replicas(NULL, self->index, &key, &set, &error));
    assert_int_equal(set.count, 0); /* what was in it is replaced */
    assert_grv_ok(grv_replica_index_remove(NULL, self->index, &key, &locator, &error));
    assert_grv_ok(grv_replica_index_update(NULL, self->index, &key, &set, &error));
    replica_case_turn(self);
    test_check_replicas(self->index, &key, NULL, 0);
    grv_replica item;
    assert_int_equal(test_list_replicas(self->index, &(grv_replica_list){0}, 1, &item, 1), 0);
    grv_locator_set_done(&set);
}

static void locators_come_and_go_one_by_one(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_key key = test_replica_key(2);
    grv_replica_key other = test_replica_key(3);
    grv_locator b = test_locator("fs://b/p");
    grv_locator a = test_locator("fs://a/p");
    grv_locator c = test_locator("fs://b/p/q");
    assert_grv_ok(grv_replica_index_add(NULL, self->index, &key, &b, &error));
    assert_grv_ok(grv_replica_index_add(NULL, self->index, &key, &a, &error));
    assert_grv_ok(grv_replica_index_add(NULL, self->index, &key, &c, &error));
    assert_grv_ok(grv_replica_index_add(NULL, self->index, &key, &b, &error));
    assert_grv_ok(grv_replica_index_add(NULL, self->index, &other, &b, &error));
    replica_case_turn(self);
    static const char *const all[] = {"fs://a/p", "fs://b/p", "fs://b/p/q"};
    test_check_replicas(self->index, &key, all, 3);
    test_check_replicas(self->index, &other, all + 1, 1);
    assert_grv_ok(grv_replica_index_remove(NULL, self->index, &key, &a, &error));
    assert_grv_ok(grv_replica_index_remove(NULL, self->index, &key, &a, &error));
    replica_case_turn(self);
    test_check_replicas(self->index, &key, all + 1, 2);
    assert_grv_ok(grv_replica_index_remove(NULL, self->index, &key, &b, &error));
    assert_grv_ok(grv_replica_index_remove(NULL, self->index, &key, &c, &error));
    replica_case_turn(self);
    test_check_replicas(self->index, &key, NULL, 0);
    test_check_replicas(self->index, &other, all + 1, 1);
    grv_replica items[3];
    assert_int_equal(test_list_replicas(self->index, &(grv_replica_list){0}, 2, items, 3), 1);
    assert_int_equal(grv_replica_key_compare(&items[0].key, &other), 0);
}

static void an_update_replaces_the_whole_set(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_key key = test_replica_key(4);
    static const char *const first[] = {"fs://a/1", "fs://a/2", "fs://a/3"};
    static const char *const second[] = {"fs://a/0", "fs://a/2", "fs://a/4"};
    grv_locator_set set;
    grv_locator_set_init(&set);
    for (size_t i = 0; i < 3; i++) {
        grv_locator locator = test_locator(first[2 - i]);
        assert_grv_ok(grv_locator_set_add(&set, &locator, &error));
    }
    assert_grv_ok(grv_replica_index_update(NULL, self->index, &key, &set, &error));
    assert_grv_ok(grv_replica_index_update(NULL, self->index, &key, &set, &error));
    test_check_replicas(self->index, &key, first, 3);
    grv_locator_set_done(&set);
    for (size_t i = 0; i < 3; i++) {
        grv_locator locator = test_locator(second[i]);
        assert_grv_ok(grv_locator_set_add(&set, &locator, &error));
    }
    assert_grv_ok(grv_replica_index_update(NULL, self->index, &key, &set, &error));
    replica_case_turn(self);
    test_check_replicas(self->index, &key, second, 3);
    grv_replica items[4];
    assert_int_equal(test_list_replicas(self->index, &(grv_replica_list){0}, 4, items, 4), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(grv_locator_compare(&items[i].locator, &set.locators[i]), 0);
    }
    grv_locator_set_done(&set);
    assert_grv_ok(grv_replica_index_update(NULL, self->index, &key, &set, &error));
    replica_case_turn(self);
    test_check_replicas(self->index, &key, NULL, 0);
    assert_int_equal(test_list_replicas(self->index, &(grv_replica_list){0}, 4, items, 4), 0);
}

/* A blob and a block may have the same digest and size: they are two things. */
static void kinds_of_keys_are_kept_apart(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_key block = test_replica_key(1);
    assert_int_equal(block.kind, GRV_REPLICA_BLOCK);
    grv_replica_key blob = {
        .kind = GRV_REPLICA_BLOB,
        .of.blob = {.digest = block.of.block.digest, .size = block.of.block.size},
    };
    grv_replica_key pack = {.kind = GRV_REPLICA_PACK, .of.pack.number = UINT64_MAX};
    static const char *const texts[] = {"s3://b/blob", "s3://b/block", "s3://b/pack"};
    const grv_replica_key *keys[] = {&blob, &block, &pack};
    for (size_t i = 0; i < 3; i++) {
        grv_locator locator = test_locator(texts[i]);
        assert_grv_ok(grv_replica_index_add(NULL, self->index, keys[i], &locator, &error));
    }
    replica_case_turn(self);
    grv_replica items[4];
    assert_int_equal(test_list_replicas(self->index, &(grv_replica_list){0}, 1, items, 4), 3);
    for (size_t i = 0; i < 3; i++) {
        test_check_replicas(self->index, keys[i], texts + i, 1);
        assert_int_equal(items[i].key.kind, keys[i]->kind);
        assert_int_equal(grv_replica_key_compare(&items[i].key, keys[i]), 0);
    }
    pack.of.pack.number--;
    test_check_replicas(self->index, &pack, NULL, 0);
}

/* A locator of the longest text there may be, told apart by its last byte. */
static grv_locator long_locator(char last)
{
    char text[GRV_REPLICA_LOCATOR_MAX + 1];
    memset(text, 'x', sizeof text);
    memcpy(text, "s3://b/", 7);
    text[GRV_REPLICA_LOCATOR_MAX - 1] = last;
    text[GRV_REPLICA_LOCATOR_MAX] = '\0';
    return test_locator(text);
}

static void the_bounds_are_taken_and_no_more(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_key key = test_replica_key(7);
    grv_locator locator = long_locator('a');
    grv_locator_set set;
    grv_locator_set_init(&set);
    assert_grv_ok(grv_locator_set_add(&set, &locator, &error));
    for (unsigned i = 1; i < GRV_LOCATOR_SET_MAX; i++) {
        snprintf(locator.path, sizeof locator.path, "%u", i);
        assert_grv_ok(grv_locator_set_add(&set, &locator, &error));
    }
    assert_grv_ok(grv_replica_index_update(NULL, self->index, &key, &set, &error));
    grv_locator more = test_locator("s3://b/more");
    assert_grv_status(grv_replica_index_add(NULL, self->index, &key, &more, &error),
                      GRV_LIMIT_EXCEEDED);
    assert_grv_ok(grv_replica_index_add(NULL, self->index, &key, &set.locators[77], &error));
    replica_case_turn(self);
    grv_locator_set got;
    grv_locator_set_init(&got);
    assert_grv_ok(grv_replica_index_replicas(NULL, self->index, &key, &got, &error));
    assert_int_equal(got.count, GRV_LOCATOR_SET_MAX);
    for (size_t i = 0; i < got.count; i++) {
        assert_int_equal(grv_locator_compare(&got.locators[i], &set.locators[i]), 0);
    }
    assert_grv_ok(grv_replica_index_remove(NULL, self->index, &key, &set.locators[3], &error));
    assert_grv_ok(grv_replica_index_add(NULL, self->index, &key, &more, &error));
    grv_locator_set_done(&got);
    grv_locator_set_done(&set);
    assert_grv_ok(grv_replica_index_update(NULL, self->index, &key, &set, &error));
    grv_replica item;
    assert_int_equal(test_list_replicas(self->index, &(grv_replica_list){0}, 1, &item, 1), 0);
}

static void what_is_not_valid_is_refused(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_index *index = self->index;
    grv_replica_key key = test_replica_key(8);
    grv_replica_key bad = {.kind = (grv_replica_kind)4};
    grv_locator locator = test_locator("s3://b/p");
    grv_locator empty = {.scheme = "s3", .bucket = "b"};
    grv_locator too_long = long_locator('a');
    too_long.path[strlen(too_long.path)] = 'y';
    assert_grv_status(grv_replica_index_add(NULL, index, &bad, &locator, &error),
                      GRV_INVALID_ARGUMENT);
    bad = (grv_replica_key){.kind = GRV_REPLICA_BLOCK, .of.block = key.of.block};
    bad.of.block.size = 0;
    assert_grv_status(grv_replica_index_add(NULL, index, &bad, &locator, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_replica_index_add(NULL, index, &key, &empty, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_replica_index_remove(NULL, index, &key, &empty, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_replica_index_add(NULL, index, &key, &too_long, &error),
                      GRV_LIMIT_EXCEEDED);
    grv_locator twice[] = {locator, locator};
    grv_locator_set set = {twice, 2, 2};
    assert_grv_status(grv_replica_index_update(NULL, index, &key, &set, &error),
                      GRV_INVALID_ARGUMENT);
    set.count = GRV_LOCATOR_SET_MAX + 1;
    assert_grv_status(grv_replica_index_update(NULL, index, &key, &set, &error),
                      GRV_LIMIT_EXCEEDED);
    uint8_t prefix[GRV_REPLICA_LOCATOR_MAX + 1] = {0};
    grv_replica_cursor *cursor = NULL;
    const grv_replica_list list = {.prefix = {prefix, sizeof prefix}};
    assert_grv_status(grv_replica_index_open_list(NULL, index, &list, &cursor, &error),
                      GRV_INVALID_ARGUMENT);
    replica_case_turn(self);
    test_check_replicas(self->index, &key, NULL, 0);
}

/* Locators whose order as texts is not that of their parts, under keys of all kinds. */
static const char *const listed[] = {
    "fs+x://a/1", "fs://a!/1", "fs://a-b/1", "fs://a/1",        "fs://a/1/",
    "fs://a/10",  "fs://a/2",  "s3://a/1",   "s3://a/\xff\xff", "s3://a\xff/1",
};
#define LISTED      (sizeof listed / sizeof listed[0])
#define LISTED_KEYS 6u

static void fill_listed(grv_replica_index *index)
{
    grv_error error = GRV_ERROR_INIT;
    for (unsigned k = 0; k < LISTED_KEYS; k++) {
        grv_replica_key key = test_replica_key(k);
        for (size_t i = 0; i < LISTED; i++) {
            grv_locator locator = test_locator(listed[LISTED - 1 - i]);
            assert_grv_ok(grv_replica_index_add(NULL, index, &key, &locator, &error));
        }
    }
}

static void lists_are_in_order_and_resume_anywhere(void **state)
{
    replica_case *self = *state;
    fill_listed(self->index);
    replica_case_turn(self);
    static grv_replica all[LISTED * LISTED_KEYS + 1];
    static grv_replica some[LISTED * LISTED_KEYS + 1];
    const size_t total = LISTED * LISTED_KEYS;
    for (size_t capacity = 1; capacity <= 61; capacity += 20) {
        assert_int_equal(
            test_list_replicas(self->index, &(grv_replica_list){0}, capacity, all, total + 1),
            total);
        for (size_t i = 0; i < total; i++) {
            char text[GRV_LOCATOR_TEXT_SIZE];
            grv_locator_print(&all[i].locator, text);
            assert_string_equal(text, listed[i / LISTED_KEYS]);
            assert_true(i == 0 || test_replica_compare(&all[i - 1], &all[i]) < 0);
        }
    }
    for (size_t i = 0; i < total; i++) {
        for (size_t after = 0; after < 2; after++) {
            const grv_replica_list list = {.start = &all[i], .after_start = after};
            size_t count = test_list_replicas(self->index, &list, 7, some, total + 1);
            assert_int_equal(count, total - i - after);
            assert_true(count == 0 || test_replica_compare(&some[0], &all[i + after]) == 0);
        }
    }
    /* From an item that is not there. */
    const grv_replica between = {.locator = test_locator("fs://a/1/0"), .key = all[0].key};
    const grv_replica_list list = {.start = &between, .after_start = true};
    assert_int_equal(test_list_replicas(self->index, &list, 7, some, total + 1), 5 * LISTED_KEYS);
}

static void lists_show_what_begins_with_a_prefix(void **state)
{
    replica_case *self = *state;
    fill_listed(self->index);
    replica_case_turn(self);
    static const struct {
        const char *prefix;
        size_t first;
        size_t count;
    } wanted[] = {
        {"f", 0, 7},          {"fs:", 1, 6},       {"fs://a", 1, 6},     {"fs://a/", 3, 4},
        {"fs://a/1", 3, 3},   {"fs://a/1/", 4, 1}, {"fs://a/1/2", 0, 0}, {"s3://a/\xff", 8, 1},
        {"s3://a\xff", 9, 1}, {"t", 0, 0},         {"\xff", 0, 0},       {"S3", 0, 0},
    };
    static grv_replica items[LISTED * LISTED_KEYS + 1];
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        grv_replica_list list = {.prefix =
                                     grv_bytes_of(wanted[i].prefix, strlen(wanted[i].prefix))};
        size_t count = test_list_replicas(self->index, &list, 3, items, LISTED * LISTED_KEYS + 1);
        assert_int_equal(count, wanted[i].count * LISTED_KEYS);
        for (size_t k = 0; k < count; k++) {
            char text[GRV_LOCATOR_TEXT_SIZE];
            grv_locator_print(&items[k].locator, text);
            assert_string_equal(text, listed[wanted[i].first + k / LISTED_KEYS]);
        }
        /* A start before the prefix changes nothing, one behind it leaves nothing. */
        const grv_replica before = {.locator = test_locator("a://a/a"), .key = test_replica_key(0)};
        const grv_replica behind = {.locator = test_locator("z://z/z"), .key = test_replica_key(0)};
        list.start = &before;
        assert_int_equal(
            test_list_replicas(self->index, &list, 64, items, LISTED * LISTED_KEYS + 1), count);
        list.start = &behind;
        assert_int_equal(test_list_replicas(self->index, &list, 64, items, 1), 0);
    }
}

static void a_list_outlives_changes(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    fill_listed(self->index);
    grv_replica_cursor *cursor = NULL;
    assert_grv_ok(
        grv_replica_index_open_list(NULL, self->index, &(grv_replica_list){0}, &cursor, &error));
    grv_replica last = {0};
    size_t kept = 0;
    size_t count = 1;
    const grv_replica_key stays = test_replica_key(1);
    for (unsigned step = 0; count > 0; step++) {
        grv_replica items[4];
        assert_grv_ok(grv_replica_cursor_next(NULL, cursor, items, 4, &count, &error));
        for (size_t i = 0; i < count; i++) {
            assert_true((step == 0 && i == 0) || test_replica_compare(&last, &items[i]) < 0);
            last = items[i];
            kept += grv_replica_key_compare(&last.key, &stays) == 0;
        }
        grv_replica_key goes = test_replica_key(step % LISTED_KEYS);
        grv_locator_set none = {0};
        if (grv_replica_key_compare(&goes, &stays) != 0) {
            assert_grv_ok(grv_replica_index_update(NULL, self->index, &goes, &none, &error));
        }
    }
    grv_replica_cursor_free(cursor);
    assert_int_equal(kept, LISTED);
}

static void calls_that_were_given_up_change_nothing(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    const grv_call call = {.cancel = &cancel};
    grv_replica_key key = test_replica_key(5);
    grv_locator locator = test_locator("s3://b/p");
    assert_grv_status(grv_replica_index_add(&call, self->index, &key, &locator, &error),
                      GRV_CANCELLED);
    char text[GRV_REPLICA_KEY_TEXT_SIZE];
    grv_replica_key_print(&key, text);
    assert_non_null(strstr(error.message, text));
    test_check_replicas(self->index, &key, NULL, 0);
    assert_grv_ok(grv_replica_index_add(NULL, self->index, &key, &locator, &error));
    assert_grv_status(grv_replica_index_remove(&call, self->index, &key, &locator, &error),
                      GRV_CANCELLED);
    grv_locator_set set = {0};
    assert_grv_status(grv_replica_index_update(&call, self->index, &key, &set, &error),
                      GRV_CANCELLED);
    assert_grv_status(grv_replica_index_replicas(&call, self->index, &key, &set, &error),
                      GRV_CANCELLED);
    assert_int_equal(set.count, 0);
    replica_case_turn(self);
    test_check_replicas(self->index, &key, (const char *const[]){"s3://b/p"}, 1);
}

static const replica_test replica_tests[] = {
    REPLICA_TEST(a_key_never_heard_of_has_no_replicas),
    REPLICA_TEST(locators_come_and_go_one_by_one),
    REPLICA_TEST(an_update_replaces_the_whole_set),
    REPLICA_TEST(kinds_of_keys_are_kept_apart),
    REPLICA_TEST(the_bounds_are_taken_and_no_more),
    REPLICA_TEST(what_is_not_valid_is_refused),
    REPLICA_TEST(lists_are_in_order_and_resume_anywhere),
    REPLICA_TEST(lists_show_what_begins_with_a_prefix),
    REPLICA_TEST(a_list_outlives_changes),
    REPLICA_TEST(calls_that_were_given_up_change_nothing),
};
#define OWN_TESTS (sizeof replica_tests / sizeof replica_tests[0])

static int case_setup(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_temp_make(self->directory);
    if (self->fixture->open(self->directory, &self->context, &self->index, &error)) {
        print_error("%s: %s\n", self->name, error.message);
        return -1;
    }
    return 0;
}

static int case_teardown(void **state)
{
    replica_case *self = *state;
    self->fixture->close(self->index, &self->context, true);
    self->index = NULL;
    test_temp_remove(self->directory);
    return 0;
}

int main(void)
{
    size_t per_fixture = OWN_TESTS + replica_model_test_count;
    size_t total = 2 * replica_fixture_count * per_fixture;
    struct CMUnitTest *units = calloc(total, sizeof *units);
    replica_case *cases = calloc(total, sizeof *cases);
    if (!units || !cases) {
        abort();
    }
    for (size_t n = 0; n < total; n++) {
        size_t at = n % per_fixture;
        const replica_test *test =
            at < OWN_TESTS ? &replica_tests[at] : &replica_model_tests[at - OWN_TESTS];
        cases[n].fixture = &replica_fixtures[n / (2 * per_fixture)];
        cases[n].reopen = n / per_fixture % 2;
        snprintf(cases[n].name, sizeof cases[n].name, "%s, %s: %s", cases[n].fixture->name,
                 cases[n].reopen ? "reopened" : "fresh", test->name);
        units[n] =
            (struct CMUnitTest){cases[n].name, test->run, case_setup, case_teardown, &cases[n]};
        if (cases[n].fixture->postgres) {
            test_postgres_unit(&units[n]);
        }
    }
    int failed = _cmocka_run_group_tests("replica_index", units, total, NULL, NULL);
    free(cases);
    free(units);
    return failed;
}
