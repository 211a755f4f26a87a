/* SPDX-License-Identifier: Apache-2.0 */
/* The shared byte budget: a counter, and a condition for those who wait. */
#include "base/budget.h"

#include "base/wait.h"

#include <assert.h>

void grv_budget_init(grv_budget *budget, size_t total)
{
    pthread_mutex_init(&budget->lock, NULL);
    grv_wait_init(&budget->freed);
    budget->total = total;
    budget->taken = 0;
}

void grv_budget_done(grv_budget *budget)
{
    assert(budget->taken == 0);
    pthread_cond_destroy(&budget->freed);
    pthread_mutex_destroy(&budget->lock);
}

static bool budget_try_locked(grv_budget *budget, size_t size)
{
    if (size > budget->total - budget->taken) {
        return false;
    }
    budget->taken += size;
    return true;
}

bool grv_budget_try(grv_budget *budget, size_t size)
{
    pthread_mutex_lock(&budget->lock);
    bool taken = budget_try_locked(budget, size);
    pthread_mutex_unlock(&budget->lock);
    return taken;
}

grv_status grv_budget_take(const grv_call *call, grv_budget *budget, size_t size, grv_error *error)
{
    uint64_t patience_ns = grv_now_ns() + GRV_BUDGET_PATIENCE_NS;
    grv_status status = GRV_OK;
    pthread_mutex_lock(&budget->lock);
    while (!budget_try_locked(budget, size)) {
        bool out_of_patience = !(call && call->deadline_ns) && grv_now_ns() >= patience_ns;
        if (size > budget->total || out_of_patience) {
            status = grv_error_set(error, GRV_LIMIT_EXCEEDED, "budget",
                                   "a stream needs %zu bytes, but the memory budget of %zu bytes "
                                   "has %zu taken by other streams",
                                   size, budget->total, budget->taken);
            break;
        }
        status = grv_call_check(call, "budget", error);
        if (status) {
            break;
        }
        grv_wait(call, &budget->freed, &budget->lock);
    }
    pthread_mutex_unlock(&budget->lock);
    return status;
}

void grv_budget_give(grv_budget *budget, size_t size)
{
    pthread_mutex_lock(&budget->lock);
    assert(size <= budget->taken);
    budget->taken -= size;
    pthread_cond_broadcast(&budget->freed);
    pthread_mutex_unlock(&budget->lock);
}
