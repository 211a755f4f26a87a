/* SPDX-License-Identifier: Apache-2.0 */
/* Counting: rows of routes, bounds of durations, and threads that count at once. */
#include "http/metrics.h"

#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

static const http_route front_one[] = {
    {.method = "GET", .pattern = "/a", .name = "a"},
    {.method = "GET", .pattern = "/b", .name = "b"},
    {.method = NULL},
};
static const http_route front_two[] = {
    {.method = "PUT", .pattern = "/c", .name = "c"},
    {.method = NULL},
};
static const http_route *const fronts[] = {front_one, front_two, NULL};

static void a_request_counts_in_its_row(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_metrics *metrics;
    http_metrics_route sums;
    http_metrics_totals totals;
    assert_grv_ok(http_metrics_new(fronts, &metrics, &error));
    assert_int_equal(http_metrics_rows(metrics), 4);
    assert_string_equal(http_metrics_label(metrics, 0), "a");
    assert_string_equal(http_metrics_label(metrics, 2), "c");
    assert_string_equal(http_metrics_label(metrics, 3), "none");
    for (int i = 0; i < 6; i++) {
        http_metrics_begin(metrics);
    }
    http_metrics_end(metrics, &front_two[0], 201, 500000, 10, 20);
    http_metrics_end(metrics, &front_two[0], 507, 500001, 1, 2);
    http_metrics_end(metrics, NULL, 404, UINT64_C(61000000000), 0, 3);
    http_metrics_end(metrics, &front_one[1], 7, 0, 0, 0);
    http_metrics_end(metrics, &front_one[0], 0, 0, 0, 0);
    http_metrics_sum(metrics, 0, &sums);
    assert_int_equal(sums.codes[399], 1);
    http_metrics_sum(metrics, 2, &sums);
    assert_int_equal(sums.codes[101], 1);
    assert_int_equal(sums.codes[407], 1);
    assert_int_equal(sums.bounds[0], 1); /* a bound is part of its bucket */
    assert_int_equal(sums.bounds[1], 1);
    assert_int_equal(sums.duration_ns, 1000001);
    assert_int_equal(sums.bytes_in, 11);
    assert_int_equal(sums.bytes_out, 22);
    http_metrics_sum(metrics, 3, &sums);
    assert_int_equal(sums.codes[304], 1);
    assert_int_equal(sums.bounds[HTTP_METRICS_BOUNDS], 1);
    http_metrics_total(metrics, &totals);
    assert_int_equal(totals.requests, 5);
    assert_int_equal(totals.client_errors, 2);
    assert_int_equal(totals.server_errors, 2);
    assert_int_equal(totals.in_flight, 1);
    assert_int_equal(totals.bytes_in, 11);
    assert_int_equal(totals.bytes_out, 25);
    http_metrics_free(metrics);
}

static void puts_and_the_store_count(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_metrics *metrics;
    http_metrics_totals totals;
    const grv_put_result fresh = {.fresh_bytes = 100, .duplicate_bytes = 7, .stored_bytes = 60};
    const grv_put_result again = {.already_stored = true, .duplicate_bytes = 107};
    assert_grv_ok(http_metrics_new(fronts, &metrics, &error));
    http_metrics_put(metrics, &fresh);
    http_metrics_put(metrics, &again);
    http_metrics_store(metrics, GRV_OK);
    http_metrics_store(metrics, GRV_CORRUPT);
    http_metrics_store(metrics, (grv_status)99);
    http_metrics_total(metrics, &totals);
    assert_int_equal(totals.puts, 2);
    assert_int_equal(totals.puts_already_stored, 1);
    assert_int_equal(totals.put_bytes_fresh, 100);
    assert_int_equal(totals.put_bytes_duplicate, 114);
    assert_int_equal(totals.put_bytes_stored, 60);
    assert_int_equal(totals.store[GRV_OK], 1);
    assert_int_equal(totals.store[GRV_CORRUPT], 1);
    assert_int_equal(totals.store[GRV_INTERNAL], 1);
    http_metrics_free(metrics);
}

#define THREADS  4
#define REQUESTS 20000

static atomic_uint counted; /* requests that have ended */

static void *thread_count(void *context)
{
    for (int i = 0; i < REQUESTS; i++) {
        http_metrics_begin(context);
        http_metrics_end(context, &front_one[i % 2], 200, 1, 1, 2);
        atomic_fetch_add(&counted, 1);
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_metrics *metrics;
    http_metrics_totals totals;
    pthread_t threads[THREADS];
    assert_grv_ok(http_metrics_new(fronts, &metrics, &error));
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, thread_count, metrics), 0);
    }
    for (int i = 0; i < 100; i++) {
        /* Ends are read before beginnings: what came between the two may count. */
        unsigned before = atomic_load(&counted);
        http_metrics_total(metrics, &totals);
        assert_true(totals.in_flight <= atomic_load(&counted) - before + 2 * THREADS);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    http_metrics_total(metrics, &totals);
    assert_int_equal(totals.requests, THREADS * REQUESTS);
    assert_int_equal(totals.bytes_out, 2 * THREADS * REQUESTS);
    assert_int_equal(totals.in_flight, 0);
    http_metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_counts_in_its_row),
        cmocka_unit_test(puts_and_the_store_count),
        cmocka_unit_test(threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
