/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest_repo suite: many threads on one repository. Threads only record what they saw; the
 * checks come after they have ended, since a cmocka failure belongs to the main thread.
 */
#include "manifest_repo_suite.h"
#include "temp.h"

#include <pthread.h>
#include <stdlib.h>

#define THREADS 8u
#define ROUNDS  12u

typedef struct worker {
    pthread_t thread;
    unsigned number;
    grv_manifest_repo *repo;
    grv_status status; /* the first that was not expected */
    grv_error error;
    grv_manifest_commit own[ROUNDS];
    grv_manifest_commit shared[ROUNDS];
} worker;

static void run_workers(worker workers[THREADS], grv_manifest_repo *repo, void *(*run)(void *))
{
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.number = i, .repo = repo};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        if (workers[i].status) {
            fail_msg("thread %u: %s: %s", i, grv_status_name(workers[i].status),
                     workers[i].error.message);
        }
    }
}

static test_blob own_blob(unsigned number, unsigned round)
{
    return test_blob_make(1000 + number * ROUNDS + round, round * 40);
}

static test_blob shared_blob(unsigned round)
{
    return test_blob_make(5000 + round, round * 40);
}

static void *put_own_and_shared(void *argument)
{
    worker *self = argument;
    for (unsigned round = 0; round < ROUNDS && !self->status; round++) {
        test_blob own = own_blob(self->number, round);
        test_blob shared = shared_blob(round);
        self->status = test_put(self->repo, &own, NULL, &self->own[round], &self->error);
        if (!self->status) {
            self->status = test_put(self->repo, &shared, NULL, &self->shared[round], &self->error);
        }
    }
    return NULL;
}

static void many_threads_store_each_blob_once(void **state)
{
    manifest_case *self = *state;
    static worker workers[THREADS];
    run_workers(workers, self->repo, put_own_and_shared);
    manifest_case_turn(self);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned stored = 0;
        for (unsigned i = 0; i < THREADS; i++) {
            stored += !workers[i].shared[round].already_stored;
            assert_int_equal(workers[i].shared[round].info.sequence,
                             workers[0].shared[round].info.sequence);
            assert_false(workers[i].own[round].already_stored);
            test_blob own = own_blob(i, round);
            test_check_whole(self->repo, &own);
        }
        assert_int_equal(stored, 1);
        test_blob shared = shared_blob(round);
        test_check_whole(self->repo, &shared);
    }
    enum { TOTAL = ROUNDS * (THREADS + 1) };
    static grv_blob_info infos[TOTAL + 1];
    assert_int_equal(test_list(self->repo, &(grv_blob_list){0}, 64, infos, TOTAL + 1), TOTAL);
    if (self->repo->capabilities & GRV_MANIFEST_CAP_NEWEST) {
        const grv_blob_list newest = {.order = GRV_ORDER_NEWEST};
        assert_int_equal(test_list(self->repo, &newest, 64, infos, TOTAL + 1), TOTAL);
        for (size_t i = 1; i < TOTAL; i++) {
            assert_true(infos[i].sequence < infos[i - 1].sequence);
        }
    }
}

static grv_status set_number(worker *self, const grv_blob_key *key)
{
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    uint8_t value = (uint8_t)self->number;
    grv_status status =
        grv_attributes_set(&attributes, "number", grv_bytes_of(&value, 1), &self->error);
    if (!status) {
        status = grv_manifest_repo_attributes_set(NULL, self->repo, key, &attributes, &self->error);
    }
    if (!status) {
        status = grv_manifest_repo_attributes_get(NULL, self->repo, key, &attributes, &self->error);
    }
    grv_attributes_done(&attributes);
    return status;
}

static void *do_anything(void *argument)
{
    worker *self = argument;
    uint64_t random = self->number;
    for (unsigned i = 0; i < 150 && !self->status; i++) {
        uint64_t pick = test_random(&random);
        test_blob blob = test_blob_make(pick % 5, pick % 5 * 60);
        grv_manifest_commit commit;
        grv_blob_info info;
        grv_status status = GRV_OK;
        switch (pick >> 32 & 7) {
        case 0:
            status = grv_manifest_repo_remove(NULL, self->repo, &blob.key, &self->error);
            break;
        case 1:
            status = grv_manifest_repo_stat(NULL, self->repo, &blob.key, &info, &self->error);
            break;
        case 2:
            status = set_number(self, &blob.key);
            break;
        case 3:
        case 4:
            status = test_read_refs(self->repo, &blob, 0, 0, 13, &self->error);
            break;
        default:
            status = test_put(self->repo, &blob, NULL, &commit, &self->error);
            self->status = status;
            break;
        }
        if (status != GRV_NOT_FOUND) {
            self->status = status;
        }
    }
    return NULL;
}

/* Whatever the order, every blob is whole or absent, for every thread at every moment. */
static void many_threads_never_see_half_a_blob(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    static worker workers[THREADS];
    run_workers(workers, self->repo, do_anything);
    manifest_case_turn(self);
    size_t there = 0;
    for (uint64_t i = 0; i < 5; i++) {
        test_blob blob = test_blob_make(i, i * 60);
        grv_status status = test_read_refs(self->repo, &blob, 0, 0, 100, &error);
        assert_true(!status || status == GRV_NOT_FOUND);
        there += !status;
    }
    grv_blob_info infos[6];
    assert_int_equal(test_list(self->repo, &(grv_blob_list){0}, 2, infos, 6), there);
    if (self->repo->capabilities & GRV_MANIFEST_CAP_NEWEST) {
        const grv_blob_list newest = {.order = GRV_ORDER_NEWEST};
        assert_int_equal(test_list(self->repo, &newest, 2, infos, 6), there);
    }
}

const manifest_test manifest_thread_tests[] = {
    MANIFEST_TEST(many_threads_store_each_blob_once),
    MANIFEST_TEST(many_threads_never_see_half_a_blob),
};
const size_t manifest_thread_test_count =
    sizeof manifest_thread_tests / sizeof manifest_thread_tests[0];
