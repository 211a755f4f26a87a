/* SPDX-License-Identifier: Apache-2.0 */
/* The shared byte budget: a counter, a condition for those who wait, and a stack of buffers. */
#include "base/budget.h"

#include "base/wait.h"

#include <assert.h>
#include <stdlib.h>

/* A buffer nobody uses; its first bytes. */
struct grv_budget_spare {
    grv_budget_spare *next;
};

void grv_budget_init(grv_budget *budget, size_t total)
{
    pthread_mutex_init(&budget->lock, NULL);
    grv_wait_init(&budget->freed);
    budget->total = total;
    budget->taken = 0;
    budget->waiting = 0;
    budget->spares = NULL;
    budget->spare_count = 0;
}

/* Takes the spare buffer that was left last out of the stack; there is one. */
static grv_budget_spare *spare_pop(grv_budget *budget)
{
    grv_budget_spare *spare = budget->spares;
    budget->spares = spare->next;
    budget->spare_count--;
    return spare;
}

/* Frees a spare buffer and gives its share back. */
static void spare_drop(grv_budget *budget)
{
    free(spare_pop(budget));
    budget->taken -= GRV_BUDGET_SPARE_SIZE;
}

void grv_budget_done(grv_budget *budget)
{
    while (budget->spares) {
        spare_drop(budget);
    }
    assert(budget->taken == 0);
    pthread_cond_destroy(&budget->freed);
    pthread_mutex_destroy(&budget->lock);
}

static bool budget_try_locked(grv_budget *budget, size_t size)
{
    while (budget->spares && size > budget->total - budget->taken) {
        spare_drop(budget);
    }
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
        budget->waiting++;
        grv_wait(call, &budget->freed, &budget->lock);
        budget->waiting--;
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

void *grv_budget_spare_take(grv_budget *budget)
{
    pthread_mutex_lock(&budget->lock);
    void *buffer = budget->spares ? spare_pop(budget) : NULL;
    pthread_mutex_unlock(&budget->lock);
    return buffer;
}

void grv_budget_spare_give(grv_budget *budget, void *buffer)
{
    grv_budget_spare *spare = buffer;
    pthread_mutex_lock(&budget->lock);
    bool kept = budget->waiting == 0 && budget->spare_count < GRV_BUDGET_SPARES_MAX;
    if (kept) {
        spare->next = budget->spares;
        budget->spares = spare;
        budget->spare_count++;
    }
    pthread_mutex_unlock(&budget->lock);
    if (!kept) {
        free(buffer);
        grv_budget_give(budget, GRV_BUDGET_SPARE_SIZE);
    }
}
