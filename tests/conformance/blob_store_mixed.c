/* SPDX-License-Identifier: Apache-2.0 */
/* Many at once: interleaved sinks, threads, and random operations against a model. */
#include "blob_store_suite.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SINKS 16

static void many_sinks_take_turns(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    const size_t size = 150000;
    uint64_t seed = 40;
    uint8_t *data = suite_lines(40, size + SINKS * 1000);
    grv_blob_sink *sinks[SINKS];
    size_t written[SINKS] = {0};
    /* The deadline turns a wait for one another's memory into a failure. */
    const grv_call call = {.deadline_ns = grv_now_ns() + UINT64_C(300000000000)};
    for (size_t i = 0; i < SINKS; i++) {
        assert_grv_ok(grv_blob_store_open_put(&call, env->store, &plan, &sinks[i], &error));
    }
    for (size_t left = SINKS * size; left > 0;) {
        uint64_t word = test_random(&seed);
        size_t i = (size_t)(word % SINKS);
        size_t take = 1 + (size_t)(word >> 8) % 20000;
        take = take < size - written[i] ? take : size - written[i];
        grv_bytes piece = grv_bytes_of(data + 1000 * i + written[i], take);
        assert_grv_ok(grv_sink_write(&call, &sinks[i]->base, piece, &error));
        written[i] += take;
        left -= take;
    }
    for (size_t i = SINKS; i-- > 0;) {
        if (i % 4 != 1) {
            assert_grv_ok(grv_sink_commit(&call, &sinks[i]->base, &error));
        }
        grv_sink_free(&sinks[i]->base);
    }
    suite_reopen(env);
    for (size_t i = 0; i < SINKS; i++) {
        const grv_bytes bytes = {data + 1000 * i, size};
        grv_blob_key key = suite_key(env, bytes);
        if (i % 4 == 1) {
            suite_check_absent(env, &key);
        } else {
            suite_check_blob(env, &key, bytes);
        }
    }
    free(data);
}

static void many_sources_take_turns(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const size_t size = 300000;
    uint8_t *data = suite_lines(41, size);
    const grv_call call = {.deadline_ns = grv_now_ns() + UINT64_C(300000000000)};
    grv_source *sources[SINKS];
    size_t at[SINKS];
    grv_blob_key key = suite_put(env, grv_bytes_of(data, size)).key;
    suite_reopen(env);
    for (size_t i = 0; i < SINKS; i++) {
        at[i] = 7000 * i;
        assert_grv_ok(grv_blob_store_open_get(&call, env->store, &key,
                                              (grv_range){at[i], UINT64_MAX}, &sources[i], &error));
    }
    for (size_t open = SINKS; open > 0;) {
        for (size_t i = 0; i < SINKS; i++) {
            grv_bytes view;
            if (!sources[i]) {
                continue;
            }
            assert_grv_ok(grv_source_next(&call, sources[i], 5000 + i, &view, &error));
            assert_memory_equal(view.data, data + at[i], view.size);
            at[i] += view.size;
            if (view.size == 0) {
                assert_int_equal(at[i], size);
                grv_source_free(sources[i]);
                sources[i] = NULL;
                open--;
            }
        }
    }
    free(data);
}

#define THREADS 8
#define ROUNDS  12
#define SHARED  10 /* different slices that all threads put */
#define SLICE   120000

typedef struct worker {
    pthread_t thread;
    grv_blob_store *store;
    grv_hash hash;
    const uint8_t *data;
    uint64_t seed;
    int number;
    char failure[256]; /* empty while all is well; cmocka's asserts are for the main thread */
} worker;

static bool worker_failed(worker *it, const char *what, grv_status status, const grv_error *error)
{
    snprintf(it->failure, sizeof it->failure, "thread %d: %s: %s: %.150s", it->number, what,
             grv_status_name(status), error->message);
    return false;
}

static bool worker_put(worker *it, grv_bytes bytes, grv_blob_key *ret_key)
{
    const grv_put_plan plan = {0};
    grv_error error = GRV_ERROR_INIT;
    grv_blob_sink *sink;
    grv_status status = grv_blob_store_open_put(NULL, it->store, &plan, &sink, &error);
    if (status) {
        return worker_failed(it, "open_put", status, &error);
    }
    status = suite_write(&sink->base, bytes, SUITE_ODD, &error);
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, &error);
    }
    *ret_key = sink->result.key;
    uint64_t counted = sink->result.fresh_bytes + sink->result.duplicate_bytes;
    grv_sink_free(&sink->base);
    if (status) {
        return worker_failed(it, "put", status, &error);
    }
    if (counted != bytes.size || ret_key->size != bytes.size) {
        return worker_failed(it, "miscounted", status, &error);
    }
    return true;
}

static bool worker_read(worker *it, const grv_blob_key *key, grv_bytes want, uint64_t first)
{
    grv_error error = GRV_ERROR_INIT;
    grv_source *source;
    grv_status status = grv_blob_store_open_get(NULL, it->store, key,
                                                (grv_range){first, UINT64_MAX}, &source, &error);
    if (status) {
        return worker_failed(it, "open_get", status, &error);
    }
    size_t at = (size_t)first;
    grv_bytes view;
    do {
        status = grv_source_next(NULL, source, 50000, &view, &error);
        if (status || view.size > want.size - at ||
            memcmp(view.data ? view.data : want.data, want.data + at, view.size) != 0) {
            grv_source_free(source);
            return worker_failed(it, "read", status, &error);
        }
        at += view.size;
    } while (view.size > 0);
    grv_source_free(source);
    return at == want.size || worker_failed(it, "short read", status, &error);
}

/* One round: a slice that others put too, and a blob of its own that comes and goes. */
static bool worker_round(worker *it)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_key key;
    grv_blob_info info;
    uint64_t word = test_random(&it->seed);
    const grv_bytes slice = {it->data + 5000 * (word % SHARED), SLICE};
    if (!worker_put(it, slice, &key) || !worker_read(it, &key, slice, word >> 32 & 0xffff) ||
        !worker_read(it, &key, slice, 0)) {
        return false;
    }
    uint8_t own[3000];
    test_random_fill(&it->seed, own, sizeof own);
    if (!worker_put(it, grv_bytes_of(own, sizeof own), &key) ||
        !worker_read(it, &key, grv_bytes_of(own, sizeof own), 0)) {
        return false;
    }
    grv_status status = grv_blob_store_stat(NULL, it->store, &key, &info, &error);
    if (!status) {
        status = grv_blob_store_remove(NULL, it->store, &key, &error);
    }
    if (status) {
        return worker_failed(it, "own blob", status, &error);
    }
    status = grv_blob_store_stat(NULL, it->store, &key, &info, &error);
    return status == GRV_NOT_FOUND || worker_failed(it, "removed blob", status, &error);
}

static void *worker_run(void *argument)
{
    worker *it = argument;
    for (int i = 0; i < ROUNDS && worker_round(it); i++) {
    }
    return NULL;
}

static void threads_share_a_store(void **state)
{
    suite_env *env = *state;
    worker workers[THREADS] = {0};
    uint8_t *data = suite_lines(42, 5000 * SHARED + SLICE);
    for (int i = 0; i < THREADS; i++) {
        workers[i].store = env->store;
        workers[i].data = data;
        workers[i].seed = (uint64_t)i + 1000;
        workers[i].number = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_string_equal(workers[i].failure, "");
    }
    suite_reopen(env);
    size_t stored = 0;
    for (size_t i = 0; i < SHARED; i++) {
        const grv_bytes slice = {data + 5000 * i, SLICE};
        grv_error error = GRV_ERROR_INIT;
        grv_blob_info info;
        grv_blob_key key = suite_key(env, slice);
        if (grv_blob_store_stat(NULL, env->store, &key, &info, &error) == GRV_OK) {
            suite_check_blob(env, &key, slice);
            stored++;
        }
    }
    assert_int_equal(suite_count(env), stored);
    free(data);
}

const suite_test suite_mixed_tests[] = {
    SUITE_REOPEN(many_sinks_take_turns),
    SUITE_REOPEN(many_sources_take_turns),
    SUITE_REOPEN(threads_share_a_store),
};
const size_t suite_mixed_test_count = sizeof suite_mixed_tests / sizeof suite_mixed_tests[0];
