/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest_repo suite: named records, and the sweep of what no root names. */
#include "manifest_repo_suite.h"

static void state_is(manifest_case *self, const char *name, const char *want)
{
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_buffer_init(&out, GRV_STATE_MAX);
    grv_status status = grv_manifest_repo_state_get(NULL, self->repo, name, &out, &error);
    assert_grv_status(status, want ? GRV_OK : GRV_NOT_FOUND);
    assert_int_equal(out.size, want ? strlen(want) : 0);
    assert_memory_equal(out.data ? (const void *)out.data : "", want ? want : "", out.size);
    grv_buffer_done(&out);
}

static grv_status state_set(manifest_case *self, const char *name, const char *expected,
                            const char *state)
{
    const grv_bytes before = grv_bytes_of(expected, expected ? strlen(expected) : 0);
    return grv_manifest_repo_state_set(NULL, self->repo, name, expected ? &before : NULL,
                                       grv_bytes_of(state, strlen(state)), NULL);
}

static void records_are_compared_and_set(void **state)
{
    manifest_case *self = *state;
    state_is(self, "scrub", NULL);
    assert_grv_status(state_set(self, "scrub", "a", "b"), GRV_CONFLICT);
    assert_grv_status(state_set(self, "scrub", NULL, "one"), GRV_OK);
    assert_grv_status(state_set(self, "other-1", NULL, "two"), GRV_OK);
    manifest_case_turn(self);
    assert_grv_status(state_set(self, "scrub", NULL, "x"), GRV_CONFLICT);
    assert_grv_status(state_set(self, "scrub", "two", "x"), GRV_CONFLICT);
    assert_grv_status(state_set(self, "scrub", "two", ""), GRV_CONFLICT);
    state_is(self, "scrub", "one");
    assert_grv_status(state_set(self, "scrub", "one", "three"), GRV_OK);
    manifest_case_turn(self);
    state_is(self, "scrub", "three");
    state_is(self, "other-1", "two");
    state_is(self, "scru", NULL);
    assert_grv_status(state_set(self, "scrub", "three", ""), GRV_OK);
    manifest_case_turn(self);
    state_is(self, "scrub", NULL);
    state_is(self, "other-1", "two");
    assert_grv_status(state_set(self, "scrub", NULL, "again"), GRV_OK);
    state_is(self, "scrub", "again");
}

static void records_have_bounds(void **state)
{
    manifest_case *self = *state;
    static char large[GRV_STATE_MAX + 2];
    char name[GRV_STATE_NAME_MAX + 2];
    memset(large, 'x', GRV_STATE_MAX + 1);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_grv_status(state_set(self, "big", NULL, large), GRV_INVALID_ARGUMENT);
    assert_grv_status(state_set(self, name, NULL, "x"), GRV_INVALID_ARGUMENT);
    large[GRV_STATE_MAX] = '\0';
    name[GRV_STATE_NAME_MAX] = '\0';
    assert_grv_status(state_set(self, name, NULL, large), GRV_OK);
    manifest_case_turn(self);
    state_is(self, name, large);
    static const char *const bad[] = {"", "A", "a/b", "a b", "a_b", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_grv_status(state_set(self, bad[i], NULL, "x"), GRV_INVALID_ARGUMENT);
    }
    assert_grv_status(state_set(self, "none", NULL, ""), GRV_INVALID_ARGUMENT);
    /* The descriptor is no such record, and no such record is the descriptor. */
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_buffer_init(&out, GRV_DESCRIPTOR_MAX);
    assert_grv_status(state_set(self, "descriptor", NULL, "x"), GRV_OK);
    assert_grv_status(grv_manifest_repo_descriptor_get(NULL, self->repo, &out, &error),
                      GRV_NOT_FOUND);
    grv_buffer_done(&out);
}

static void sweep_finds(manifest_case *self, bool dry_run, const grv_manifest_sweep *want)
{
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_sweep found = {99, 99};
    assert_grv_ok(grv_manifest_repo_sweep(NULL, self->repo, dry_run, &found, &error));
    assert_int_equal(found.pages, want->pages);
    assert_int_equal(found.sequences, want->sequences);
}

static void a_sweep_of_nothing_finds_nothing(void **state)
{
    manifest_case *self = *state;
    static const grv_manifest_sweep nothing = {0};
    sweep_finds(self, false, &nothing);
    test_blob blobs[3] = {test_blob_make(1, 0), test_blob_make(2, 2), test_blob_make(3, 3000)};
    for (size_t i = 0; i < 3; i++) {
        test_put_new(self->repo, &blobs[i]);
    }
    manifest_case_turn(self);
    sweep_finds(self, true, &nothing);
    sweep_finds(self, false, &nothing);
    for (size_t i = 0; i < 3; i++) {
        test_check_whole(self->repo, &blobs[i]);
    }
}

static void a_sweep_takes_what_no_root_names_and_nothing_else(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    enum { BLOBS = 40 };
    test_blob blobs[BLOBS];
    for (size_t i = 0; i < BLOBS; i++) {
        blobs[i] = test_blob_make(100 + i, i * i * 2);
        test_put_new(self->repo, &blobs[i]);
    }
    for (size_t i = 0; i < BLOBS; i += 3) {
        assert_grv_ok(grv_manifest_repo_remove(NULL, self->repo, &blobs[i].key, &error));
    }
    grv_manifest_sweep left = {0};
    assert_grv_ok(self->fixture->leave(self->context, 1000, &left, &error));
    assert_grv_ok(self->fixture->leave(self->context, 2000, &left, &error));
    assert_true(left.pages > 0);
    manifest_case_turn(self);
    sweep_finds(self, true, &left);
    sweep_finds(self, true, &left); /* the first one removed nothing */
    sweep_finds(self, false, &left);
    manifest_case_turn(self);
    sweep_finds(self, false, &(grv_manifest_sweep){0});
    size_t kept = 0;
    for (size_t i = 0; i < BLOBS; i++) {
        if (i % 3) {
            test_check_whole(self->repo, &blobs[i]);
            kept++;
        } else {
            test_check_absent(self->repo, &blobs[i].key);
        }
    }
    static grv_blob_info infos[BLOBS + 1];
    const grv_blob_list newest = {.order = GRV_ORDER_NEWEST};
    assert_int_equal(test_list(self->repo, &newest, 7, infos, BLOBS), kept);
    /* A sequence that was there when the repository was opened is not given out again. */
    manifest_case_turn(self);
    uint64_t above = self->reopen ? 2000 : BLOBS;
    assert_true(test_put_new(self->repo, &blobs[0]).sequence > above);
}

static void a_sweep_that_is_given_up_removes_no_blob(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob blob = test_blob_make(8, 700);
    test_put_new(self->repo, &blob);
    grv_manifest_sweep left = {0};
    assert_grv_ok(self->fixture->leave(self->context, 1000, &left, &error));
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    const grv_call call = {.cancel = &cancel};
    grv_manifest_sweep found = {.pages = 77};
    assert_grv_status(grv_manifest_repo_sweep(&call, self->repo, false, &found, &error),
                      GRV_CANCELLED);
    assert_int_equal(found.pages, 77);
    manifest_case_turn(self);
    test_check_whole(self->repo, &blob);
    sweep_finds(self, false, &left);
}

const manifest_test manifest_sweep_tests[] = {
    MANIFEST_TEST(records_are_compared_and_set),
    MANIFEST_TEST(records_have_bounds),
    MANIFEST_TEST(a_sweep_of_nothing_finds_nothing),
    MANIFEST_TEST(a_sweep_takes_what_no_root_names_and_nothing_else),
    MANIFEST_TEST(a_sweep_that_is_given_up_removes_no_blob),
};
const size_t manifest_sweep_test_count =
    sizeof manifest_sweep_tests / sizeof manifest_sweep_tests[0];
