/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object_store suite: many threads on one store. Threads only record what they saw; the checks
 * come after they have ended, since a cmocka failure belongs to the main thread.
 */
#include "object_store_suite.h"
#include "temp.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 8u
#define ROUNDS  20u

typedef struct worker {
    pthread_t thread;
    unsigned number;
    grv_mutable_object_store *store;
    pthread_barrier_t *barrier;
    grv_status status; /* the first that was not expected */
    grv_error error;
    bool won[ROUNDS];
} worker;

static void run_workers(worker workers[THREADS], grv_mutable_object_store *store,
                        void *(*run)(void *))
{
    pthread_barrier_t barrier;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.number = i, .store = store, .barrier = &barrier};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    pthread_barrier_destroy(&barrier);
    for (unsigned i = 0; i < THREADS; i++) {
        if (workers[i].status) {
            fail_msg("thread %u: %s: %s", i, grv_status_name(workers[i].status),
                     workers[i].error.message);
        }
    }
}

static void race_path(char path[64], unsigned round)
{
    snprintf(path, 64, "race/%u/%u", round % 3, round);
}

static void *put_if_absent(void *argument)
{
    worker *self = argument;
    for (unsigned round = 0; round < ROUNDS; round++) {
        char path[64];
        race_path(path, round);
        pthread_barrier_wait(self->barrier);
        grv_status status = object_try_put(self->store, path, self->number + 1, 3000 + self->number,
                                           true, NULL, &self->error);
        self->won[round] = status == GRV_OK;
        if (status && status != GRV_ALREADY_EXISTS && !self->status) {
            self->status = status;
        }
    }
    return NULL;
}

static void one_of_many_puts_if_absent_wins(void **state)
{
    object_case *self = *state;
    if (!(self->store->capabilities & GRV_OBJECT_CAP_IF_ABSENT)) {
        return;
    }
    static worker workers[THREADS];
    run_workers(workers, self->store, put_if_absent);
    object_case_turn(self);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned winners = 0;
        unsigned winner = 0;
        for (unsigned i = 0; i < THREADS; i++) {
            winners += workers[i].won[round];
            winner = workers[i].won[round] ? i : winner;
        }
        assert_int_equal(winners, 1);
        char path[64];
        race_path(path, round);
        object_check(self, path, winner + 1, 3000 + winner);
    }
}

/* The size tells whose bytes they are, so that a mixture shows. */
static grv_status read_any(worker *self, const char *path)
{
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET, path);
    grv_object_info info = {0};
    grv_source *source = NULL;
    grv_status status = grv_object_store_open_get(NULL, &self->store->base, &locator, GRV_RANGE_ALL,
                                                  &info, &source, &self->error);
    if (status) {
        return status;
    }
    status = object_read(source, info.size_bytes, 0, info.size_bytes, &self->error);
    grv_source_free(source);
    return status;
}

static grv_status list_any(worker *self)
{
    const grv_object_list plan = {.bucket = OBJECT_BUCKET};
    grv_object_cursor *cursor = NULL;
    grv_status status =
        grv_object_store_open_list(NULL, &self->store->base, &plan, &cursor, &self->error);
    if (status) {
        return status;
    }
    size_t count = 1;
    bool kept = false;
    while (!status && count > 0) {
        grv_object_entry entries[3];
        status = grv_object_cursor_next(NULL, cursor, entries, 3, &count, &self->error);
        for (size_t i = 0; !status && i < count; i++) {
            kept |= strcmp(entries[i].path, "kept") == 0;
        }
    }
    grv_object_cursor_free(cursor);
    if (!status && !kept) {
        status = grv_error_set(&self->error, GRV_INTERNAL, "test", "an object is not shown");
    }
    return status;
}

static void *do_anything(void *argument)
{
    worker *self = argument;
    uint64_t random = self->number;
    for (unsigned i = 0; i < 120 && !self->status; i++) {
        uint64_t pick = test_random(&random);
        uint64_t size = pick >> 40 & 0xfffff;
        char path[64];
        char other[64];
        snprintf(path, sizeof path, "p%u/x", (unsigned)(pick % 3));
        snprintf(other, sizeof other, "p%u/x", (unsigned)(pick % 3 + 1) % 3);
        grv_locator locator = object_locator(self->store, OBJECT_BUCKET, path);
        grv_locator target = object_locator(self->store, OBJECT_BUCKET, other);
        grv_status status = GRV_OK;
        switch (pick >> 32 & 7) {
        case 0:
            status = grv_mutable_object_store_remove(NULL, self->store, &locator, &self->error);
            break;
        case 1:
            status = grv_mutable_object_store_copy(NULL, self->store, &locator, &target, false,
                                                   NULL, &self->error);
            break;
        case 2:
            status = list_any(self);
            break;
        case 3:
        case 4:
        case 5:
            status = read_any(self, path);
            break;
        default:
            status = object_try_put(self->store, path, size, size, false, NULL, &self->error);
            break;
        }
        self->status = status == GRV_NOT_FOUND || status == GRV_CONFLICT ? GRV_OK : status;
    }
    return NULL;
}

static void many_threads_never_see_half_an_object(void **state)
{
    object_case *self = *state;
    static worker workers[THREADS];
    object_put(self, "kept", 1, 10);
    run_workers(workers, self->store, do_anything);
    object_case_turn(self);
    workers[0].store = self->store;
    object_paths list = object_list_all(self);
    assert_true(list.count >= 1 && list.count <= 4);
    assert_string_equal(list.paths[0], "kept");
    for (size_t i = 1; i < list.count; i++) {
        assert_grv_status(read_any(&workers[0], list.paths[i]), GRV_OK);
    }
    object_paths_free(&list);
}

const object_test object_thread_tests[] = {
    OBJECT_TEST(one_of_many_puts_if_absent_wins),
    OBJECT_TEST(many_threads_never_see_half_an_object),
};
const size_t object_thread_test_count = sizeof object_thread_tests / sizeof object_thread_tests[0];
