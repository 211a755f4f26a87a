/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of blobs: both orders, any page size, resumed, and while blobs come and go. */
#include "blob_store_suite.h"

#include <stdio.h>
#include <stdlib.h>

#define BLOBS 60

/* Puts BLOBS small blobs; ret_infos gets their infos in the order they were stored. */
static void put_many(suite_env *env, grv_blob_info ret_infos[BLOBS])
{
    grv_error error = GRV_ERROR_INIT;
    for (int i = 0; i < BLOBS; i++) {
        char text[32];
        int size = snprintf(text, sizeof text, "blob %d", i);
        grv_blob_key key = suite_put(env, grv_bytes_of(text, (size_t)size)).key;
        assert_grv_ok(grv_blob_store_stat(NULL, env->store, &key, &ret_infos[i], &error));
    }
}

static int compare_keys(const void *a, const void *b)
{
    return grv_blob_key_compare(&((const grv_blob_info *)a)->key, &((const grv_blob_info *)b)->key);
}

/* Sorts infos into the order a list shows them in. */
static void sort_infos(grv_blob_info infos[BLOBS], grv_list_order order)
{
    if (order == GRV_ORDER_KEY) {
        qsort(infos, BLOBS, sizeof infos[0], compare_keys);
        return;
    }
    for (size_t i = 0; i < BLOBS / 2; i++) {
        grv_blob_info first = infos[i];
        infos[i] = infos[BLOBS - 1 - i];
        infos[BLOBS - 1 - i] = first;
    }
}

/* Asserts that the list shows want[0, count), page by page, and then stays at its end. */
static void check_list(suite_env *env, const grv_blob_list *list, const grv_blob_info want[],
                       size_t count, size_t page)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_cursor *cursor;
    grv_blob_info infos[BLOBS + 1];
    size_t at = 0;
    size_t got;
    assert_grv_ok(grv_blob_store_open_list(NULL, env->store, list, &cursor, &error));
    for (;;) {
        assert_grv_ok(grv_blob_cursor_next(NULL, cursor, infos, page, &got, &error));
        if (got == 0) {
            break;
        }
        for (size_t i = 0; i < got; i++, at++) {
            assert_true(at < count);
            assert_int_equal(grv_blob_key_compare(&infos[i].key, &want[at].key), 0);
            assert_int_equal(infos[i].sequence, want[at].sequence);
            assert_int_equal(infos[i].created_ns, want[at].created_ns);
            assert_int_equal(infos[i].block_count, want[at].block_count);
        }
    }
    assert_int_equal(at, count);
    assert_grv_ok(grv_blob_cursor_next(NULL, cursor, infos, page, &got, &error));
    assert_int_equal(got, 0);
    grv_blob_cursor_free(cursor);
}

static void an_empty_store_lists_nothing(void **state)
{
    suite_env *env = *state;
    suite_reopen(env);
    check_list(env, &(grv_blob_list){.order = GRV_ORDER_KEY}, NULL, 0, 3);
    if (env->store->capabilities & GRV_BLOB_CAP_NEWEST) {
        check_list(env, &(grv_blob_list){.order = GRV_ORDER_NEWEST}, NULL, 0, 3);
    }
}

static void lists_by_key_resume_anywhere(void **state)
{
    suite_env *env = *state;
    static const size_t pages[] = {1, 7, BLOBS, BLOBS + 1};
    grv_blob_info infos[BLOBS];
    put_many(env, infos);
    sort_infos(infos, GRV_ORDER_KEY);
    suite_reopen(env);
    for (size_t p = 0; p < sizeof pages / sizeof pages[0]; p++) {
        check_list(env, &(grv_blob_list){.order = GRV_ORDER_KEY}, infos, BLOBS, pages[p]);
    }
    for (size_t i = 0; i < BLOBS; i++) {
        grv_blob_list list = {.order = GRV_ORDER_KEY, .start = &infos[i].key};
        check_list(env, &list, infos + i, BLOBS - i, 11);
        list.after_start = true;
        check_list(env, &list, infos + i + 1, BLOBS - i - 1, 11);
        /* A start that is no blob: the next greater one comes first. */
        grv_blob_key between = infos[i].key;
        between.size++;
        list.start = &between;
        check_list(env, &list, infos + i + 1, BLOBS - i - 1, 11);
        list.after_start = false;
        check_list(env, &list, infos + i + 1, BLOBS - i - 1, 11);
    }
}

static void lists_by_newest_resume_anywhere(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_cursor *cursor = NULL;
    grv_blob_list list = {.order = GRV_ORDER_NEWEST};
    if (!(env->store->capabilities & GRV_BLOB_CAP_NEWEST)) {
        assert_grv_status(grv_blob_store_open_list(NULL, env->store, &list, &cursor, &error),
                          GRV_UNSUPPORTED);
        assert_null(cursor);
        return;
    }
    static const size_t pages[] = {1, 7, BLOBS, BLOBS + 1};
    grv_blob_info infos[BLOBS];
    put_many(env, infos);
    sort_infos(infos, GRV_ORDER_NEWEST);
    suite_reopen(env);
    for (size_t p = 0; p < sizeof pages / sizeof pages[0]; p++) {
        check_list(env, &list, infos, BLOBS, pages[p]);
    }
    for (size_t i = 0; i < BLOBS; i++) {
        list.below_sequence = infos[i].sequence;
        check_list(env, &list, infos + i + 1, BLOBS - i - 1, 11);
        list.below_sequence = infos[i].sequence + 1;
        check_list(env, &list, infos + i, BLOBS - i, 11);
    }
}

static void an_unknown_order_is_refused(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_cursor *cursor = NULL;
    const grv_blob_list list = {.order = (grv_list_order)7};
    assert_grv_status(grv_blob_store_open_list(NULL, env->store, &list, &cursor, &error),
                      GRV_INVALID_ARGUMENT);
    assert_null(cursor);
}

/* Counts one shown blob; blobs of another put are not counted. */
static void count_shown(const grv_blob_info infos[BLOBS], const grv_blob_info *shown,
                        unsigned counts[BLOBS])
{
    for (size_t i = 0; i < BLOBS; i++) {
        if (grv_blob_key_compare(&infos[i].key, &shown->key) == 0) {
            counts[i]++;
        }
    }
}

/* Lists five at a time; after each page removes one of the first 24 blobs stored and adds one. */
static void list_while_changing(suite_env *env, grv_list_order order)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_blob_list list = {.order = order};
    grv_blob_info infos[BLOBS];
    unsigned counts[BLOBS] = {0};
    put_many(env, infos);
    suite_reopen(env);
    grv_blob_cursor *cursor;
    grv_blob_info page[5];
    size_t removed = 0;
    size_t added = 0;
    size_t got;
    assert_grv_ok(grv_blob_store_open_list(NULL, env->store, &list, &cursor, &error));
    do {
        assert_grv_ok(grv_blob_cursor_next(NULL, cursor, page, 5, &got, &error));
        for (size_t i = 0; i < got; i++) {
            count_shown(infos, &page[i], counts);
        }
        if (removed < 24) {
            assert_grv_ok(grv_blob_store_remove(NULL, env->store, &infos[removed++].key, &error));
            char text[32];
            int size = snprintf(text, sizeof text, "added %zu", added++);
            suite_put(env, grv_bytes_of(text, (size_t)size));
        }
    } while (got > 0);
    grv_blob_cursor_free(cursor);
    for (size_t i = 0; i < BLOBS; i++) {
        assert_true(i < removed ? counts[i] <= 1 : counts[i] == 1);
    }
    assert_int_equal(suite_count(env), BLOBS - removed + added);
}

static void lists_by_key_bear_changes(void **state)
{
    list_while_changing(*state, GRV_ORDER_KEY);
}

static void lists_by_newest_bear_changes(void **state)
{
    suite_env *env = *state;
    if (env->store->capabilities & GRV_BLOB_CAP_NEWEST) {
        list_while_changing(env, GRV_ORDER_NEWEST);
    }
}

const suite_test suite_list_tests[] = {
    SUITE_REOPEN(an_empty_store_lists_nothing),    SUITE_REOPEN(lists_by_key_resume_anywhere),
    SUITE_REOPEN(lists_by_newest_resume_anywhere), SUITE_FRESH(an_unknown_order_is_refused),
    SUITE_REOPEN(lists_by_key_bear_changes),       SUITE_REOPEN(lists_by_newest_bear_changes),
};
const size_t suite_list_test_count = sizeof suite_list_tests / sizeof suite_list_tests[0];
