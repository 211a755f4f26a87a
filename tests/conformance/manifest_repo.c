/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every manifest_repo promises (include/graviton/port/manifest_repo.h): manifests, attributes
 * and the descriptor. Lists are in manifest_repo_lists.c, named records and the
 * sweep in manifest_repo_sweep.c, threads in manifest_repo_threads.c.
 */
#include "manifest_repo_suite.h"
#include "postgres_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void an_empty_blob_is_a_blob(void **state)
{
    manifest_case *self = *state;
    test_blob blob = test_blob_make(1, 0);
    assert_int_equal(blob.key.size, 0);
    grv_blob_info info = test_put_new(self->repo, &blob);
    manifest_case_turn(self);
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info got;
    assert_grv_ok(grv_manifest_repo_stat(NULL, self->repo, &blob.key, &got, &error));
    test_check_info(&got, &info);
    assert_int_equal(got.block_count, 0);
    test_check_whole(self->repo, &blob);
    grv_blob_info listed[2];
    assert_int_equal(test_list(self->repo, &(grv_blob_list){0}, 2, listed, 2), 1);
    test_check_info(&listed[0], &info);
}

static uint64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void blobs_of_any_size_come_back(void **state)
{
    manifest_case *self = *state;
    static const uint64_t counts[] = {1, 2, 3, 4, 20, 77, 78, 255, 256, 257, 1024, 1025, 3000};
    enum { COUNT = sizeof counts / sizeof counts[0] };
    test_blob blobs[COUNT];
    grv_blob_info infos[COUNT];
    grv_manifest_plan plan = test_plan();
    uint64_t before = wall_ns();
    for (size_t i = 0; i < COUNT; i++) {
        blobs[i] = test_blob_make(i, counts[i]);
        infos[i] = test_put_new(self->repo, &blobs[i]);
        assert_int_equal(infos[i].block_count, counts[i]);
        assert_int_equal(infos[i].block_hash, plan.block_hash);
        assert_true(grv_chunker_spec_equal(&infos[i].chunker, &plan.chunker));
        assert_true(infos[i].created_ns >= before && infos[i].created_ns <= wall_ns());
        assert_true(infos[i].sequence > (i ? infos[i - 1].sequence : 0));
    }
    manifest_case_turn(self);
    for (size_t i = 0; i < COUNT; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_blob_info got;
        assert_grv_ok(grv_manifest_repo_stat(NULL, self->repo, &blobs[i].key, &got, &error));
        test_check_info(&got, &infos[i]);
        assert_grv_ok(test_read_refs(self->repo, &blobs[i], 0, 0, 1 + i * 37, &error));
    }
}

static void references_begin_where_they_are_asked_to(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    uint64_t count = self->fixture->blocks_max;
    test_blob blob = test_blob_make(9, count);
    test_put_new(self->repo, &blob);
    manifest_case_turn(self);
    for (uint64_t n = 0; n < count; n += count / 15 + 1) {
        uint64_t first = test_blocks_size(blob.seed, n);
        uint64_t last = test_blocks_size(blob.seed, n + 1) - 1;
        assert_grv_ok(test_read_refs(self->repo, &blob, first, n, 512, &error));
        assert_grv_ok(test_read_refs(self->repo, &blob, last, n, 300, &error));
    }
    uint64_t size = blob.key.size;
    assert_grv_ok(test_read_refs(self->repo, &blob, size - 1, count - 1, 1, &error));
    assert_grv_ok(test_read_refs(self->repo, &blob, size, count, 1, &error));
    grv_ref_cursor *cursor = NULL;
    assert_grv_status(
        grv_manifest_repo_open_refs(NULL, self->repo, &blob.key, size + 1, &cursor, &error),
        GRV_INVALID_ARGUMENT);
    assert_null(cursor);
}

static void nothing_is_visible_before_the_commit(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob blob = test_blob_make(3, 500);
    grv_manifest_plan plan = test_plan();
    grv_manifest_put *put = NULL;
    assert_grv_ok(grv_manifest_repo_open_put(NULL, self->repo, &plan, &put, &error));
    assert_grv_ok(test_append(put, &blob, 0, blob.blocks, &error));
    test_check_absent(self->repo, &blob.key);
    grv_blob_info infos[2];
    assert_int_equal(test_list(self->repo, &(grv_blob_list){0}, 1, infos, 2), 0);
    grv_manifest_put_free(put);
    manifest_case_turn(self);
    test_check_absent(self->repo, &blob.key);
    assert_int_equal(test_list(self->repo, &(grv_blob_list){0}, 1, infos, 2), 0);
    test_put_new(self->repo, &blob);
    test_check_whole(self->repo, &blob);
}

static void a_blob_that_is_there_keeps_its_first_manifest(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob blob = test_blob_make(4, 300);
    grv_blob_info first = test_put_new(self->repo, &blob);
    manifest_case_turn(self);
    /* The same blob in other blocks: two of 50 bytes as often as it takes, and the rest. */
    grv_manifest_plan plan = test_plan();
    plan.chunker = grv_chunker_default();
    grv_manifest_put *put = NULL;
    assert_grv_ok(grv_manifest_repo_open_put(NULL, self->repo, &plan, &put, &error));
    grv_block_key key = test_block(77, 0);
    for (uint64_t left = blob.key.size; left > 0; left -= key.size) {
        key.size = left < 50 ? (uint32_t)left : 50;
        assert_grv_ok(grv_manifest_put_append(NULL, put, &key, 1, &error));
    }
    grv_manifest_commit commit;
    assert_grv_ok(grv_manifest_put_commit(NULL, put, &blob.key, NULL, &commit, &error));
    assert_true(commit.already_stored);
    test_check_info(&commit.info, &first);
    grv_manifest_put_free(put);
    manifest_case_turn(self);
    test_check_whole(self->repo, &blob);
    grv_blob_info infos[2];
    assert_int_equal(test_list(self->repo, &(grv_blob_list){0}, 1, infos, 2), 1);
    assert_int_equal(
        test_list(self->repo, &(grv_blob_list){.order = GRV_ORDER_NEWEST}, 1, infos, 2), 1);
}

static void puts_that_do_not_add_up_are_refused(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob blob = test_blob_make(5, 10);
    grv_manifest_plan plan = test_plan();
    grv_manifest_put *put = NULL;
    grv_manifest_commit commit;
    assert_grv_ok(grv_manifest_repo_open_put(NULL, self->repo, &plan, &put, &error));
    assert_grv_ok(test_append(put, &blob, 0, 9, &error));
    assert_grv_status(grv_manifest_put_commit(NULL, put, &blob.key, NULL, &commit, &error),
                      GRV_INVALID_ARGUMENT);
    test_check_absent(self->repo, &blob.key);
    grv_block_key other = test_block(5, 9);
    other.digest.hash = GRV_HASH_BLAKE3;
    assert_grv_status(grv_manifest_put_append(NULL, put, &other, 1, &error), GRV_INVALID_ARGUMENT);
    other = (grv_block_key){.digest = {.hash = GRV_HASH_SHA256}, .size = 0};
    assert_grv_status(grv_manifest_put_append(NULL, put, &other, 1, &error), GRV_INVALID_ARGUMENT);
    other.size = GRV_BLOCK_SIZE_MAX + 1;
    assert_grv_status(grv_manifest_put_append(NULL, put, &other, 1, &error), GRV_INVALID_ARGUMENT);
    /* None of this spoilt the put. */
    assert_grv_ok(test_append(put, &blob, 9, 10, &error));
    assert_grv_ok(grv_manifest_put_commit(NULL, put, &blob.key, NULL, &commit, &error));
    assert_false(commit.already_stored);
    assert_grv_status(grv_manifest_put_commit(NULL, put, &blob.key, NULL, &commit, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(test_append(put, &blob, 0, 1, &error), GRV_INVALID_ARGUMENT);
    grv_manifest_put_free(put);
    manifest_case_turn(self);
    test_check_whole(self->repo, &blob);

    put = NULL;
    plan.block_hash = GRV_HASH_NONE;
    assert_grv_status(grv_manifest_repo_open_put(NULL, self->repo, &plan, &put, &error),
                      GRV_INVALID_ARGUMENT);
    plan = test_plan();
    plan.chunker.size = 0;
    assert_grv_status(grv_manifest_repo_open_put(NULL, self->repo, &plan, &put, &error),
                      GRV_INVALID_ARGUMENT);
    assert_null(put);
}

static void unknown_blobs_are_not_found(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob there = test_blob_make(6, 5);
    test_put_new(self->repo, &there);
    manifest_case_turn(self);
    test_blob missing = there;
    missing.key.digest.bytes[31] ^= 1;
    test_check_absent(self->repo, &missing.key);
    missing = there;
    missing.key.size++; /* the size is part of the name */
    test_check_absent(self->repo, &missing.key);
    assert_grv_status(grv_manifest_repo_remove(NULL, self->repo, &missing.key, &error),
                      GRV_NOT_FOUND);
    test_check_whole(self->repo, &there);
}

static void a_removed_blob_is_gone_and_can_come_back(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob blob = test_blob_make(7, 400);
    test_blob other = test_blob_make(8, 400);
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_ok(grv_attributes_set(&attributes, "a", grv_bytes_of("x", 1), &error));
    grv_manifest_commit first;
    assert_grv_ok(test_put(self->repo, &blob, &attributes, &first, &error));
    test_put_new(self->repo, &other);
    manifest_case_turn(self);
    assert_grv_ok(grv_manifest_repo_remove(NULL, self->repo, &blob.key, &error));
    test_check_absent(self->repo, &blob.key);
    manifest_case_turn(self);
    test_check_absent(self->repo, &blob.key);
    assert_grv_status(grv_manifest_repo_remove(NULL, self->repo, &blob.key, &error), GRV_NOT_FOUND);
    test_check_whole(self->repo, &other);

    grv_blob_info again = test_put_new(self->repo, &blob);
    assert_true(again.sequence > first.info.sequence);
    manifest_case_turn(self);
    test_check_whole(self->repo, &blob);
    assert_grv_ok(
        grv_manifest_repo_attributes_get(NULL, self->repo, &blob.key, &attributes, &error));
    assert_int_equal(attributes.count, 0);
    grv_attributes_done(&attributes);
}

/* A reader that meets a removal gives all references or GRV_NOT_FOUND, never a clean short end. */
static void a_reader_of_a_removed_blob_never_ends_early(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob blob = test_blob_make(10, 500);
    for (int again = 0; again < 2; again++) {
        test_put_new(self->repo, &blob);
        grv_ref_cursor *cursor = NULL;
        assert_grv_ok(grv_manifest_repo_open_refs(NULL, self->repo, &blob.key, 0, &cursor, &error));
        grv_block_ref refs[5];
        uint64_t total = 0;
        size_t count = 0;
        assert_grv_ok(grv_ref_cursor_next(NULL, cursor, refs, 5, &count, &error));
        total += count;
        assert_grv_ok(grv_manifest_repo_remove(NULL, self->repo, &blob.key, &error));
        if (again) {
            test_put_new(self->repo, &blob);
        }
        grv_status status = GRV_OK;
        while (!status && count > 0) {
            status = grv_ref_cursor_next(NULL, cursor, refs, 5, &count, &error);
            total += status ? 0 : count;
        }
        grv_ref_cursor_free(cursor);
        if (status) {
            assert_grv_status(status, GRV_NOT_FOUND);
        } else {
            assert_int_equal(total, blob.blocks);
        }
    }
}

static void set_attribute(manifest_case *self, const grv_blob_key *key, const char *value)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_ok(grv_attributes_set(&attributes, "v", grv_bytes_of(value, strlen(value)), &error));
    assert_grv_ok(grv_manifest_repo_attributes_set(NULL, self->repo, key, &attributes, &error));
    grv_attributes_done(&attributes);
}

/* Fails unless the blob's attributes are the one pair v=value, or none for NULL. */
static void check_attribute(manifest_case *self, const grv_blob_key *key, const char *value)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_ok(grv_attributes_set(&attributes, "old", grv_bytes_of("x", 1), &error));
    assert_grv_ok(grv_manifest_repo_attributes_get(NULL, self->repo, key, &attributes, &error));
    assert_int_equal(attributes.count, value ? 1 : 0);
    if (value) {
        assert_string_equal(attributes.pairs[0].name, "v");
        assert_int_equal(attributes.pairs[0].value_size, strlen(value));
        assert_memory_equal(attributes.pairs[0].value, value, strlen(value));
    }
    grv_attributes_done(&attributes);
}

static void the_last_writer_of_attributes_wins(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob blob = test_blob_make(11, 2);
    test_put_new(self->repo, &blob);
    check_attribute(self, &blob.key, NULL);
    set_attribute(self, &blob.key, "one");
    set_attribute(self, &blob.key, "two");
    manifest_case_turn(self);
    check_attribute(self, &blob.key, "two");
    /* A put without attributes leaves them; one with them replaces them, though the blob stays. */
    grv_manifest_commit commit;
    assert_grv_ok(test_put(self->repo, &blob, NULL, &commit, &error));
    check_attribute(self, &blob.key, "two");
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_ok(grv_attributes_set(&attributes, "v", grv_bytes_of("three", 5), &error));
    assert_grv_ok(test_put(self->repo, &blob, &attributes, &commit, &error));
    assert_true(commit.already_stored);
    manifest_case_turn(self);
    check_attribute(self, &blob.key, "three");
    grv_attributes_done(&attributes);
    assert_grv_ok(test_put(self->repo, &blob, &attributes, &commit, &error));
    manifest_case_turn(self);
    check_attribute(self, &blob.key, NULL);
}

static void the_descriptor_is_compared_and_set(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_bytes one = grv_bytes_of("one", 3);
    const grv_bytes two = grv_bytes_of("twice", 5);
    grv_buffer out;
    grv_buffer_init(&out, GRV_DESCRIPTOR_MAX);
    assert_grv_status(grv_manifest_repo_descriptor_get(NULL, self->repo, &out, &error),
                      GRV_NOT_FOUND);
    assert_grv_status(grv_manifest_repo_descriptor_set(NULL, self->repo, &one, two, &error),
                      GRV_CONFLICT);
    assert_grv_status(
        grv_manifest_repo_descriptor_set(NULL, self->repo, NULL, (grv_bytes){0}, &error),
        GRV_INVALID_ARGUMENT);
    assert_grv_ok(grv_manifest_repo_descriptor_set(NULL, self->repo, NULL, one, &error));
    manifest_case_turn(self);
    assert_grv_status(grv_manifest_repo_descriptor_set(NULL, self->repo, NULL, two, &error),
                      GRV_CONFLICT);
    assert_grv_status(grv_manifest_repo_descriptor_set(NULL, self->repo, &two, two, &error),
                      GRV_CONFLICT);
    assert_grv_ok(grv_manifest_repo_descriptor_get(NULL, self->repo, &out, &error));
    assert_grv_ok(grv_manifest_repo_descriptor_set(NULL, self->repo, &one, two, &error));
    manifest_case_turn(self);
    assert_grv_ok(grv_manifest_repo_descriptor_get(NULL, self->repo, &out, &error));
    assert_int_equal(out.size, 8); /* appended */
    assert_memory_equal(out.data, "onetwice", 8);
    /* A descriptor that is there may change though there are blobs. */
    test_blob blob = test_blob_make(12, 1);
    test_put_new(self->repo, &blob);
    assert_grv_ok(grv_manifest_repo_descriptor_set(NULL, self->repo, &two, one, &error));
    grv_buffer_done(&out);
}

static void blobs_without_a_descriptor_get_none(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob blob = test_blob_make(13, 1);
    test_put_new(self->repo, &blob);
    manifest_case_turn(self);
    assert_grv_status(
        grv_manifest_repo_descriptor_set(NULL, self->repo, NULL, grv_bytes_of("d", 1), &error),
        GRV_CONFLICT);
    grv_buffer out;
    grv_buffer_init(&out, GRV_DESCRIPTOR_MAX);
    assert_grv_status(grv_manifest_repo_descriptor_get(NULL, self->repo, &out, &error),
                      GRV_NOT_FOUND);
    grv_buffer_done(&out);
    assert_grv_ok(grv_manifest_repo_remove(NULL, self->repo, &blob.key, &error));
    assert_grv_ok(
        grv_manifest_repo_descriptor_set(NULL, self->repo, NULL, grv_bytes_of("d", 1), &error));
}

static void calls_that_were_given_up_change_nothing(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_blob blob = test_blob_make(14, 3);
    test_blob fresh = test_blob_make(15, 3);
    grv_blob_info info = test_put_new(self->repo, &blob);
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    const grv_call call = {.cancel = &cancel};
    assert_grv_status(grv_manifest_repo_remove(&call, self->repo, &blob.key, &error),
                      GRV_CANCELLED);
    grv_manifest_plan plan = test_plan();
    grv_manifest_put *put = NULL;
    grv_manifest_commit commit;
    assert_grv_ok(grv_manifest_repo_open_put(NULL, self->repo, &plan, &put, &error));
    assert_grv_ok(test_append(put, &fresh, 0, 3, &error));
    assert_grv_status(grv_manifest_put_commit(&call, put, &fresh.key, NULL, &commit, &error),
                      GRV_CANCELLED);
    grv_manifest_put_free(put);
    manifest_case_turn(self);
    test_check_absent(self->repo, &fresh.key);
    grv_blob_info got;
    assert_grv_ok(grv_manifest_repo_stat(NULL, self->repo, &blob.key, &got, &error));
    test_check_info(&got, &info);
}

static const manifest_test manifest_tests[] = {
    MANIFEST_TEST(an_empty_blob_is_a_blob),
    MANIFEST_TEST(blobs_of_any_size_come_back),
    MANIFEST_TEST(references_begin_where_they_are_asked_to),
    MANIFEST_TEST(nothing_is_visible_before_the_commit),
    MANIFEST_TEST(a_blob_that_is_there_keeps_its_first_manifest),
    MANIFEST_TEST(puts_that_do_not_add_up_are_refused),
    MANIFEST_TEST(unknown_blobs_are_not_found),
    MANIFEST_TEST(a_removed_blob_is_gone_and_can_come_back),
    MANIFEST_TEST(a_reader_of_a_removed_blob_never_ends_early),
    MANIFEST_TEST(the_last_writer_of_attributes_wins),
    MANIFEST_TEST(the_descriptor_is_compared_and_set),
    MANIFEST_TEST(blobs_without_a_descriptor_get_none),
    MANIFEST_TEST(calls_that_were_given_up_change_nothing),
};

/* Every test of the suite's parts in one list. */
static size_t gather(const manifest_test *all[], size_t capacity)
{
    const struct {
        const manifest_test *tests;
        size_t count;
    } parts[] = {
        {manifest_tests, sizeof manifest_tests / sizeof manifest_tests[0]},
        {manifest_list_tests, manifest_list_test_count},
        {manifest_sweep_tests, manifest_sweep_test_count},
        {manifest_thread_tests, manifest_thread_test_count},
    };
    size_t total = 0;
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        for (size_t i = 0; i < parts[p].count && total < capacity; i++) {
            all[total++] = &parts[p].tests[i];
        }
    }
    return total;
}

int main(void)
{
    const manifest_test *all[64];
    size_t per_fixture = gather(all, 64);
    size_t total = 2 * manifest_fixture_count * per_fixture;
    struct CMUnitTest *units = calloc(total, sizeof *units);
    manifest_case *cases = calloc(total, sizeof *cases);
    if (!units || !cases) {
        abort();
    }
    for (size_t n = 0; n < total; n++) {
        const manifest_fixture *fixture = &manifest_fixtures[n / (2 * per_fixture)];
        const manifest_test *test = all[n % per_fixture];
        cases[n].fixture = fixture;
        cases[n].reopen = n / per_fixture % 2;
        snprintf(cases[n].name, sizeof cases[n].name, "%s, %s: %s", fixture->name,
                 cases[n].reopen ? "reopened" : "fresh", test->name);
        units[n] = (struct CMUnitTest){cases[n].name, test->run, manifest_case_setup,
                                       manifest_case_teardown, &cases[n]};
        if (fixture->postgres) {
            test_postgres_unit(&units[n]);
        }
    }
    int failed = _cmocka_run_group_tests("manifest_repo", units, total, NULL, NULL);
    free(cases);
    free(units);
    return failed;
}
