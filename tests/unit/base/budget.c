/* SPDX-License-Identifier: Apache-2.0 */
/* The shared byte budget: that what is spare never stands in anyone's way. */
#include "base/budget.h"

#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define SPARE GRV_BUDGET_SPARE_SIZE

/* Takes one buffer's share, fills the buffer and leaves it. */
static void leave_one(grv_budget *budget)
{
    void *buffer = malloc(SPARE);
    assert_non_null(buffer);
    memset(buffer, 0xa5, SPARE);
    assert_true(grv_budget_try(budget, SPARE));
    grv_budget_spare_give(budget, buffer);
}

static void a_buffer_left_is_the_next_ones(void **state)
{
    (void)state;
    grv_budget budget;
    grv_budget_init(&budget, 4 * SPARE);
    assert_null(grv_budget_spare_take(&budget));
    leave_one(&budget);
    void *buffer = grv_budget_spare_take(&budget);
    assert_non_null(buffer);
    assert_null(grv_budget_spare_take(&budget));
    assert_true(grv_budget_try(&budget, 3 * SPARE)); /* its share came with it */
    assert_false(grv_budget_try(&budget, 1));
    grv_budget_give(&budget, 3 * SPARE);
    grv_budget_spare_give(&budget, buffer);
    grv_budget_done(&budget); /* frees it */
}

static void what_is_spare_gives_way(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_budget budget;
    grv_budget_init(&budget, 4 * SPARE);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(grv_budget_try(&budget, SPARE));
    }
    for (unsigned i = 0; i < 4; i++) {
        void *buffer = malloc(SPARE);
        assert_non_null(buffer);
        grv_budget_spare_give(&budget, buffer);
    }
    assert_true(grv_budget_try(&budget, 2 * SPARE + 1)); /* three of the four go */
    void *last = grv_budget_spare_take(&budget);
    assert_non_null(last);
    assert_null(grv_budget_spare_take(&budget));
    grv_budget_spare_give(&budget, last);
    assert_grv_ok(grv_budget_take(NULL, &budget, 2 * SPARE - 1, &error));
    assert_null(grv_budget_spare_take(&budget));
    grv_budget_give(&budget, 4 * SPARE);
    grv_budget_done(&budget);
}

static void no_more_than_enough_are_kept(void **state)
{
    (void)state;
    grv_budget budget;
    size_t total = 2 * (size_t)GRV_BUDGET_SPARES_MAX * SPARE;
    grv_budget_init(&budget, total);
    void *buffers[GRV_BUDGET_SPARES_MAX + 1];
    assert_true(grv_budget_try(&budget, (GRV_BUDGET_SPARES_MAX + 1) * SPARE));
    for (unsigned i = 0; i <= GRV_BUDGET_SPARES_MAX; i++) {
        buffers[i] = malloc(SPARE);
        assert_non_null(buffers[i]);
    }
    for (unsigned i = 0; i <= GRV_BUDGET_SPARES_MAX; i++) {
        grv_budget_spare_give(&budget, buffers[i]);
    }
    assert_int_equal(budget.spare_count, GRV_BUDGET_SPARES_MAX);
    assert_int_equal(budget.taken, GRV_BUDGET_SPARES_MAX * SPARE);
    grv_budget_done(&budget);
}

static void *taker(void *context)
{
    grv_error error = GRV_ERROR_INIT;
    grv_budget *budget = context;
    return grv_budget_take(NULL, budget, 2 * SPARE, &error) ? context : NULL;
}

/* Whoever waits gets the share of a buffer that is left, not the buffer's memory beside it. */
static void who_waits_comes_before_what_is_spare(void **state)
{
    (void)state;
    grv_budget budget;
    grv_budget_init(&budget, 2 * SPARE);
    void *buffers[2] = {malloc(SPARE), malloc(SPARE)};
    assert_true(buffers[0] && buffers[1]);
    assert_true(grv_budget_try(&budget, 2 * SPARE));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, taker, &budget), 0);
    for (unsigned waiting = 0; waiting == 0; usleep(1000)) {
        pthread_mutex_lock(&budget.lock);
        waiting = budget.waiting;
        pthread_mutex_unlock(&budget.lock);
    }
    grv_budget_spare_give(&budget, buffers[0]);
    grv_budget_spare_give(&budget, buffers[1]);
    void *failed;
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_null(grv_budget_spare_take(&budget));
    grv_budget_give(&budget, 2 * SPARE);
    grv_budget_done(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_left_is_the_next_ones),
        cmocka_unit_test(what_is_spare_gives_way),
        cmocka_unit_test(no_more_than_enough_are_kept),
        cmocka_unit_test(who_waits_comes_before_what_is_spare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
