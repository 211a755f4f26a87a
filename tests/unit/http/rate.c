/* SPDX-License-Identifier: Apache-2.0 */
/* A client's rate: its burst, its pace, its word of when to come again, and many clients. */
#include "http/rate.h"

#include "test.h"

#include <stdio.h>

#define SECOND UINT64_C(1000000000)

static grv_bytes name_of(const char *name)
{
    return grv_bytes_of(name, strlen(name));
}

static void a_burst_then_a_pace(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_rate *rate;
    unsigned after = 0;
    uint64_t now = 1000 * SECOND;
    assert_grv_ok(http_rate_new(10, &rate, &error));
    for (int i = 0; i < 20; i++) {
        assert_true(http_rate_take(rate, name_of("a"), now, &after));
    }
    assert_false(http_rate_take(rate, name_of("a"), now, &after));
    assert_int_equal(after, 1);
    assert_true(http_rate_take(rate, name_of("b"), now, &after));
    assert_false(http_rate_take(rate, name_of("a"), now + SECOND / 10 - 1, &after));
    assert_true(http_rate_take(rate, name_of("a"), now + SECOND / 10, &after));
    assert_false(http_rate_take(rate, name_of("a"), now + SECOND / 10, &after));
    /* Over ten seconds of trying all the time: ten a second, and nothing for trying. */
    unsigned taken = 0;
    now += SECOND / 10;
    for (int i = 0; i < 10000; i++) {
        now += SECOND / 1000;
        taken += http_rate_take(rate, name_of("a"), now, &after);
    }
    assert_int_equal(taken, 100);
    /* A rest gives a burst, and not more. */
    now += 100 * SECOND;
    for (int i = 0; i < 20; i++) {
        assert_true(http_rate_take(rate, name_of("a"), now, &after));
    }
    assert_false(http_rate_take(rate, name_of("a"), now, &after));
    http_rate_free(rate);
}

static void whoever_waits_as_told_is_let_in(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    for (unsigned per_second = 1; per_second <= 1000; per_second = per_second * 3 + 1) {
        http_rate *rate;
        unsigned after = 0;
        uint64_t now = SECOND;
        assert_grv_ok(http_rate_new(per_second, &rate, &error));
        while (http_rate_take(rate, name_of("a"), now, &after)) {
        }
        assert_true(after >= 1 && after <= 2);
        assert_true(http_rate_take(rate, name_of("a"), now + after * SECOND, &after));
        http_rate_free(rate);
    }
}

static void strangers_do_not_push_a_busy_client_out(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_rate *rate;
    unsigned after;
    uint64_t now = SECOND;
    unsigned taken = 0;
    assert_grv_ok(http_rate_new(5, &rate, &error));
    for (unsigned i = 0; i < 100000; i++) {
        char name[32];
        snprintf(name, sizeof name, "stranger %u", i);
        assert_true(http_rate_take(rate, name_of(name), now, &after));
        if (i % 10 == 0) {
            taken += http_rate_take(rate, name_of("busy"), now, &after);
        }
        now += SECOND / 10000;
    }
    /* Ten seconds: its burst of 10, and 5 a second. */
    assert_in_range(taken, 55, 61);
    http_rate_free(rate);
}

static void a_rate_of_nothing_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_rate *rate;
    assert_grv_status(http_rate_new(0, &rate, &error), GRV_INVALID_ARGUMENT);
    assert_grv_status(http_rate_new(1000001, &rate, &error), GRV_INVALID_ARGUMENT);
    http_rate_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_then_a_pace),
        cmocka_unit_test(whoever_waits_as_told_is_let_in),
        cmocka_unit_test(strangers_do_not_push_a_busy_client_out),
        cmocka_unit_test(a_rate_of_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
