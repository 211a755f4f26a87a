/* SPDX-License-Identifier: Apache-2.0 */
/* The object_store suite: lists against a sorted array of the same paths. */
#include "object_store_suite.h"
#include "temp.h"

#include <stdio.h>
#include <stdlib.h>

#define PATHS 150u

/* A path of few different bytes, so that paths begin alike, end in "/", and have empty segments. */
static void random_path(const object_case *self, uint64_t *random,
                        char ret_path[GRV_LOCATOR_PATH_MAX + 1])
{
    static const char *const parts[] = {"/", "/", "a", "a", "b",    "-",        "0",
                                        ".", "+", "~", " ", "\x01", "\xc3\xa9", "\xe2\x82\xac",
                                        "="};
    const bool any = self->store->capabilities & GRV_OBJECT_CAP_ANY_PATH;
    size_t count = 1 + test_random(random) % 7;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const char *part = parts[test_random(random) % (sizeof parts / sizeof parts[0])];
        size_t times = test_random(random) % 20 == 0 ? 79 + test_random(random) % 3 : 1;
        part = any && part[0] == '=' ? "\xff" : part;
        size_t size = strlen(part);
        for (size_t k = 0; k < times && used + size <= GRV_LOCATOR_PATH_MAX; k++) {
            memcpy(ret_path + used, part, size);
            used += size;
        }
    }
    ret_path[used] = '\0';
}

static int strings_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Stores up to PATHS objects under random paths; `paths` gets them sorted, malloc'ed. */
static size_t store_random(object_case *self, uint64_t seed, char *paths[PATHS])
{
    uint64_t random = seed;
    size_t count = 0;
    while (count < PATHS) {
        char path[GRV_LOCATOR_PATH_MAX + 1];
        random_path(self, &random, path);
        bool known = false;
        for (size_t i = 0; i < count && !known; i++) {
            known = strcmp(paths[i], path) == 0;
        }
        if (!known) {
            object_put(self, path, count, count % 3);
            paths[count++] = strdup(path);
        }
    }
    qsort(paths, count, sizeof *paths, strings_order);
    return count;
}

static grv_bytes text(const char *string)
{
    return grv_bytes_of(string, strlen(string));
}

/* Compares a list with those of `paths` that fit. */
static void check_list(object_case *self, char *const paths[], size_t count, const char *prefix,
                       const char *after, size_t capacity)
{
    object_paths list = object_list_in(self, OBJECT_BUCKET, text(prefix), text(after), capacity);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(paths[i], prefix, strlen(prefix)) == 0 && strcmp(paths[i], after) > 0) {
            assert_true(at < list.count);
            assert_string_equal(list.paths[at], paths[i]);
            at++;
        }
    }
    assert_int_equal(list.count, at);
    object_paths_free(&list);
}

static void lists_are_in_path_order_and_resume_anywhere(void **state)
{
    object_case *self = *state;
    char *paths[PATHS];
    size_t count = store_random(self, 1, paths);
    object_case_turn(self);
    check_list(self, paths, count, "", "", 1);
    check_list(self, paths, count, "", "", 64);
    check_list(self, paths, count, "", "", 100);
    uint64_t random = 2;
    for (size_t i = 0; i < count; i += 3) {
        char other[GRV_LOCATOR_PATH_MAX + 1];
        check_list(self, paths, count, "", paths[i], 100);
        check_list(self, paths, count, paths[i], "", 7);
        random_path(self, &random, other);
        check_list(self, paths, count, "", other, 100);
        other[1 + strlen(other) / 2] = '\0';
        check_list(self, paths, count, other, paths[i], 3);
        check_list(self, paths, count, other, other, 100);
    }
    for (size_t i = 0; i < count; i++) {
        free(paths[i]);
    }
}

static void lists_say_what_head_says(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    object_put(self, "a", 1, 0);
    object_put(self, "a/b", 1, 70000);
    object_put(self, "b", 1, 1);
    object_case_turn(self);
    object_paths list = object_list_all(self);
    assert_int_equal(list.count, 3);
    for (size_t i = 0; i < list.count; i++) {
        grv_object_info head;
        grv_locator locator = object_locator(self->store, OBJECT_BUCKET, list.paths[i]);
        assert_grv_ok(grv_object_store_head(NULL, &self->store->base, &locator, &head, &error));
        object_check_info(&list.infos[i], &head);
    }
    object_paths_free(&list);
}

static void wrong_lists_are_refused(void **state)
{
    object_case *self = *state;
    static const uint8_t many[GRV_LOCATOR_PATH_MAX + 1] = {0};
    static const grv_object_list wrong[] = {
        {.bucket = "nobucket"},
        {.bucket = OBJECT_BUCKET, .prefix = {many, sizeof many}},
        {.bucket = OBJECT_BUCKET, .after = {many, sizeof many}},
        {.bucket = OBJECT_BUCKET, .prefix = {many, 1}},
        {.bucket = OBJECT_BUCKET, .after = {many, 1}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_object_cursor *cursor = NULL;
        assert_grv_status(
            grv_object_store_open_list(NULL, &self->store->base, &wrong[i], &cursor, &error),
            GRV_INVALID_ARGUMENT);
        assert_null(cursor);
    }
}

static void numbered(char path[64], size_t i)
{
    snprintf(path, 64, "%s%03zu", i % 3 == 0 ? "d/" : i % 3 == 1 ? "e/f/" : "", i);
}

/* Every second object goes while the list is read, and others come; those that stay are shown. */
static void what_stays_is_shown_exactly_once(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    enum { COUNT = 90 };
    char path[64];
    for (size_t i = 0; i < COUNT; i++) {
        numbered(path, i);
        object_put(self, path, i, 5);
    }
    object_case_turn(self);
    const grv_object_list plan = {.bucket = OBJECT_BUCKET};
    grv_object_cursor *cursor = NULL;
    assert_grv_ok(grv_object_store_open_list(NULL, &self->store->base, &plan, &cursor, &error));
    unsigned shown[COUNT] = {0};
    char last[GRV_LOCATOR_PATH_MAX + 1] = "";
    size_t count = 1;
    for (size_t turn = 0; count > 0; turn++) {
        grv_object_entry entries[4];
        assert_grv_ok(grv_object_cursor_next(NULL, cursor, entries, 4, &count, &error));
        for (size_t i = 0; i < count; i++) {
            assert_true(strcmp(last, entries[i].path) < 0);
            snprintf(last, sizeof last, "%s", entries[i].path);
            for (size_t k = 0; k < COUNT; k++) {
                numbered(path, k);
                shown[k] += strcmp(path, entries[i].path) == 0;
            }
        }
        if (turn < COUNT / 2) {
            numbered(path, 2 * turn + 1);
            grv_locator locator = object_locator(self->store, OBJECT_BUCKET, path);
            assert_grv_ok(grv_mutable_object_store_remove(NULL, self->store, &locator, &error));
            snprintf(path, sizeof path, "%s-new/%zu", turn % 2 ? "a" : "f", turn);
            object_put(self, path, turn, 3);
            numbered(path, 2 * turn); /* replaced, so it is there at every moment */
            object_put(self, path, turn, 6);
        }
    }
    grv_object_cursor_free(cursor);
    for (size_t k = 0; k < COUNT; k++) {
        assert_true(k % 2 ? shown[k] <= 1 : shown[k] == 1);
    }
}

const object_test object_list_tests[] = {
    OBJECT_TEST(lists_are_in_path_order_and_resume_anywhere),
    OBJECT_TEST(lists_say_what_head_says),
    OBJECT_TEST(wrong_lists_are_refused),
    OBJECT_TEST(what_stays_is_shown_exactly_once),
};
const size_t object_list_test_count = sizeof object_list_tests / sizeof object_list_tests[0];
