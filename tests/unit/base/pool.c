/* SPDX-License-Identifier: Apache-2.0 */
/* The worker pool and the byte budget: every task runs once, and waiting ends as promised. */
#include "base/pool.h"
#include "test.h"

#include "base/budget.h"

typedef struct counter {
    grv_task task;
    int *total;
} counter;

static void count_one(grv_task *task)
{
    counter *one = (counter *)(void *)task;
    __atomic_fetch_add(one->total, 1, __ATOMIC_RELAXED);
}

static void every_task_runs_once(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_pool *pool = NULL;
    int total = 0;
    static counter counters[10000];
    assert_grv_ok(grv_pool_new(4, &pool, &error));
    assert_int_equal(grv_pool_threads(pool), 4);
    for (size_t i = 0; i < 10000; i++) {
        counters[i] = (counter){.task.run = count_one, .total = &total};
        grv_pool_submit(pool, &counters[i].task);
    }
    grv_pool_free(pool);
    assert_int_equal(total, 10000);
}

static void default_pool_has_workers(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_pool *pool = NULL;
    assert_grv_ok(grv_pool_new(0, &pool, &error));
    assert_true(grv_pool_threads(pool) >= 1);
    grv_pool_free(pool);
    grv_pool_free(NULL);
}

static void budget_is_bounded(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_budget budget;
    grv_budget_init(&budget, 100);
    assert_true(grv_budget_try(&budget, 60));
    assert_false(grv_budget_try(&budget, 41));
    assert_true(grv_budget_try(&budget, 40));
    assert_grv_status(grv_budget_take(NULL, &budget, 101, &error), GRV_LIMIT_EXCEEDED);
    grv_call late = {.deadline_ns = grv_now_ns() + 20000000};
    assert_grv_status(grv_budget_take(&late, &budget, 1, &error), GRV_TIMEOUT);
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    grv_call cancelled = {.cancel = &cancel};
    assert_grv_status(grv_budget_take(&cancelled, &budget, 1, &error), GRV_CANCELLED);
    grv_budget_give(&budget, 100);
    assert_grv_ok(grv_budget_take(NULL, &budget, 100, &error));
    grv_budget_give(&budget, 100);
    grv_budget_done(&budget);
}

typedef struct giver {
    grv_task task;
    grv_budget *budget;
} giver;

static void give_all(grv_task *task)
{
    grv_budget_give(((giver *)(void *)task)->budget, 100);
}

static void a_waiter_gets_what_another_gives_back(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_budget budget;
    grv_pool *pool = NULL;
    giver one = {.task.run = give_all, .budget = &budget};
    grv_budget_init(&budget, 100);
    assert_grv_ok(grv_pool_new(1, &pool, &error));
    assert_true(grv_budget_try(&budget, 100));
    grv_pool_submit(pool, &one.task);
    assert_grv_ok(grv_budget_take(NULL, &budget, 100, &error));
    grv_pool_free(pool);
    grv_budget_give(&budget, 100);
    grv_budget_done(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(default_pool_has_workers),
        cmocka_unit_test(budget_is_bounded),
        cmocka_unit_test(a_waiter_gets_what_another_gives_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
