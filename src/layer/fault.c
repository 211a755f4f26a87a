/* SPDX-License-Identifier: Apache-2.0 */
/* The plan that fault layers share: counting calls, choosing those that fail, delaying them. */
#include "layer/fault.h"

#include <time.h>

/* A delayed call looks this often whether it was given up. */
#define LOOK_NS UINT64_C(5000000)

uint64_t grv_fault_fired(const grv_fault_plan *plan)
{
    return __atomic_load_n(&plan->fired, __ATOMIC_ACQUIRE);
}

/* Counts down; true where this call's turn to fail has come. */
static bool plan_count(grv_fault_plan *plan)
{
    __atomic_fetch_add(&plan->calls, 1, __ATOMIC_RELAXED);
    uint64_t left = __atomic_load_n(&plan->countdown, __ATOMIC_ACQUIRE);
    uint64_t next;
    do {
        if (left == 0) {
            return false;
        }
        next = left == 1 && plan->persistent ? 1 : left - 1;
    } while (!__atomic_compare_exchange_n(&plan->countdown, &left, next, true, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    if (left > 1) {
        return false;
    }
    __atomic_fetch_add(&plan->fired, 1, __ATOMIC_RELEASE);
    return true;
}

/* Waits as long as the plan says, or until the call is given up. */
static grv_status plan_delay(const grv_call *call, const grv_fault_plan *plan, grv_error *error)
{
    uint64_t until = grv_now_ns() + plan->delay_ns;
    for (uint64_t now = grv_now_ns(); now < until; now = grv_now_ns()) {
        grv_status status = grv_call_check(call, "fault", error);
        if (status) {
            return status;
        }
        uint64_t rest = until - now < LOOK_NS ? until - now : LOOK_NS;
        struct timespec pause = {.tv_nsec = (long)rest};
        nanosleep(&pause, NULL);
    }
    return GRV_OK;
}

grv_status grv_fault_fail(const grv_fault_plan *plan, const char *what, grv_error *error)
{
    return grv_error_set(error, plan->status, "fault", "%s was made to fail", what);
}

grv_status grv_fault_end(const grv_fault_plan *plan, grv_fault_action action, const char *what,
                         grv_status status, grv_error *error)
{
    return !status && action == GRV_FAULT_FORGET ? grv_fault_fail(plan, what, error) : status;
}

grv_fault_action grv_fault_begin(const grv_call *call, grv_fault_plan *plan, const char *what,
                                 grv_status *ret_status, grv_error *error)
{
    if (!plan_count(plan)) {
        return GRV_FAULT_PASS;
    }
    grv_status status = plan_delay(call, plan, error);
    if (status) {
        *ret_status = status;
        return GRV_FAULT_STOP;
    }
    if (plan->kind == GRV_FAULT_CUT) {
        return GRV_FAULT_SPOIL;
    }
    if (!plan->status) {
        return GRV_FAULT_PASS;
    }
    if (plan->kind == GRV_FAULT_LOSE) {
        return GRV_FAULT_FORGET;
    }
    *ret_status = grv_fault_fail(plan, what, error);
    return GRV_FAULT_STOP;
}
