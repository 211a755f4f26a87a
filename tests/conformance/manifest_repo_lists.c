/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest_repo suite: lists by key and by newest, whole, resumed, and across changes. */
#include "manifest_repo_suite.h"

#include <stdlib.h>

#define BLOBS 48u

typedef struct listing {
    test_blob blobs[BLOBS]; /* by key once sorted */
    grv_blob_info infos[BLOBS];
} listing;

static int by_key(const void *a, const void *b)
{
    return grv_blob_key_compare(&((const grv_blob_info *)a)->key, &((const grv_blob_info *)b)->key);
}

static int by_newest(const void *a, const void *b)
{
    uint64_t x = ((const grv_blob_info *)a)->sequence;
    uint64_t y = ((const grv_blob_info *)b)->sequence;
    return (x < y) - (x > y);
}

/* Stores BLOBS blobs of different sizes; infos in the order that `compare` gives. */
static void fill(manifest_case *self, listing *all, int (*compare)(const void *, const void *))
{
    for (size_t i = 0; i < BLOBS; i++) {
        all->blobs[i] = test_blob_make(100 + i, i % 9);
        all->infos[i] = test_put_new(self->repo, &all->blobs[i]);
    }
    qsort(all->infos, BLOBS, sizeof all->infos[0], compare);
    manifest_case_turn(self);
}

static void check_list(manifest_case *self, const grv_blob_list *list, size_t capacity,
                       const grv_blob_info want[], size_t count)
{
    static grv_blob_info got[2 * BLOBS];
    assert_int_equal(test_list(self->repo, list, capacity, got, 2 * BLOBS), count);
    for (size_t i = 0; i < count; i++) {
        test_check_info(&got[i], &want[i]);
    }
}

static void lists_by_key_are_whole_and_resume(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    static listing all;
    fill(self, &all, by_key);
    static const size_t capacities[] = {1, 3, 15, 16, 17, 64};
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        check_list(self, &(grv_blob_list){0}, capacities[i], all.infos, BLOBS);
    }
    for (size_t i = 0; i < BLOBS; i += 7) {
        const grv_blob_key *start = &all.infos[i].key;
        check_list(self, &(grv_blob_list){.start = start}, 10, all.infos + i, BLOBS - i);
        check_list(self, &(grv_blob_list){.start = start, .after_start = true}, 10,
                   all.infos + i + 1, BLOBS - i - 1);
    }
    /* The item to resume after may be gone by then. */
    grv_blob_key gone = all.infos[20].key;
    assert_grv_ok(grv_manifest_repo_remove(NULL, self->repo, &gone, &error));
    manifest_case_turn(self);
    check_list(self, &(grv_blob_list){.start = &gone, .after_start = true}, 10, all.infos + 21,
               BLOBS - 21);
    check_list(self, &(grv_blob_list){.start = &gone}, 10, all.infos + 21, BLOBS - 21);
}

static void lists_by_newest_are_whole_and_resume(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    if (!(self->repo->capabilities & GRV_MANIFEST_CAP_NEWEST)) {
        grv_blob_cursor *cursor = NULL;
        const grv_blob_list list = {.order = GRV_ORDER_NEWEST};
        assert_grv_status(grv_manifest_repo_open_list(NULL, self->repo, &list, &cursor, &error),
                          GRV_UNSUPPORTED);
        return;
    }
    static listing all;
    fill(self, &all, by_newest);
    static const size_t capacities[] = {1, 14, 15, 16, 64};
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        check_list(self, &(grv_blob_list){.order = GRV_ORDER_NEWEST}, capacities[i], all.infos,
                   BLOBS);
    }
    for (size_t i = 0; i < BLOBS; i += 7) {
        const grv_blob_list list = {.order = GRV_ORDER_NEWEST,
                                    .below_sequence = all.infos[i].sequence};
        check_list(self, &list, 10, all.infos + i + 1, BLOBS - i - 1);
    }
    const grv_blob_list none = {.order = GRV_ORDER_NEWEST, .below_sequence = 1};
    check_list(self, &none, 1, NULL, 0);
    /* Gone items are gone; one that was stored anew comes first. */
    for (size_t i = 10; i < 40; i++) {
        assert_grv_ok(grv_manifest_repo_remove(NULL, self->repo, &all.infos[i].key, &error));
    }
    test_blob again = test_blob_make(99, 3);
    memmove(all.infos + 11, all.infos + 40, (BLOBS - 40) * sizeof all.infos[0]);
    memmove(all.infos + 1, all.infos, 10 * sizeof all.infos[0]);
    all.infos[0] = test_put_new(self->repo, &again);
    manifest_case_turn(self);
    check_list(self, &(grv_blob_list){.order = GRV_ORDER_NEWEST}, 6, all.infos, 11 + BLOBS - 40);
}

/* What neither came nor went while a list was read is shown exactly once. */
static void lists_show_what_stays_though_others_change(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    for (int order = GRV_ORDER_KEY; order <= GRV_ORDER_NEWEST; order++) {
        if (order == GRV_ORDER_NEWEST && !(self->repo->capabilities & GRV_MANIFEST_CAP_NEWEST)) {
            continue;
        }
        static listing all;
        fill(self, &all, order == GRV_ORDER_KEY ? by_key : by_newest);
        unsigned seen[BLOBS] = {0};
        grv_blob_cursor *cursor = NULL;
        const grv_blob_list list = {.order = (grv_list_order)order};
        assert_grv_ok(grv_manifest_repo_open_list(NULL, self->repo, &list, &cursor, &error));
        size_t count = 1;
        for (size_t step = 0; count > 0; step++) {
            grv_blob_info infos[5];
            assert_grv_ok(grv_blob_cursor_next(NULL, cursor, infos, 5, &count, &error));
            for (size_t i = 0; i < count; i++) {
                for (size_t k = 0; k < BLOBS; k++) {
                    seen[k] += grv_blob_key_compare(&all.infos[k].key, &infos[i].key) == 0;
                }
            }
            if (step < BLOBS / 2) { /* even ones go while the list is read */
                assert_grv_ok(
                    grv_manifest_repo_remove(NULL, self->repo, &all.infos[2 * step].key, &error));
            }
        }
        grv_blob_cursor_free(cursor);
        for (size_t k = 0; k < BLOBS; k++) {
            assert_true(k % 2 ? seen[k] == 1 : seen[k] <= 1);
        }
        for (size_t k = 0; k < BLOBS; k++) {
            grv_status status =
                grv_manifest_repo_remove(NULL, self->repo, &all.infos[k].key, &error);
            assert_true(!status || status == GRV_NOT_FOUND);
        }
    }
}

static void sequences_are_never_given_out_again(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    uint64_t last = 0;
    for (uint64_t i = 0; i < 6; i++) {
        test_blob blob = test_blob_make(200 + i, i);
        grv_blob_info info = test_put_new(self->repo, &blob);
        assert_true(info.sequence > last);
        last = info.sequence;
        if (i != 2) {
            assert_grv_ok(grv_manifest_repo_remove(NULL, self->repo, &blob.key, &error));
        }
        manifest_case_turn(self);
    }
}

const manifest_test manifest_list_tests[] = {
    MANIFEST_TEST(lists_by_key_are_whole_and_resume),
    MANIFEST_TEST(lists_by_newest_are_whole_and_resume),
    MANIFEST_TEST(lists_show_what_stays_though_others_change),
    MANIFEST_TEST(sequences_are_never_given_out_again),
};
const size_t manifest_list_test_count = sizeof manifest_list_tests / sizeof manifest_list_tests[0];
