/* SPDX-License-Identifier: Apache-2.0 */
/* Call contexts: the clock they are measured on and the question whether to go on. */
#include <graviton/call.h>
#include <time.h>

uint64_t grv_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

grv_status grv_call_check(const grv_call *call, const char *origin, grv_error *error)
{
    if (!call) {
        return GRV_OK;
    }
    if (call->cancel && __atomic_load_n(&call->cancel->raised, __ATOMIC_ACQUIRE)) {
        return grv_error_set(error, GRV_CANCELLED, origin, "cancelled");
    }
    if (call->deadline_ns && grv_now_ns() >= call->deadline_ns) {
        return grv_error_set(error, GRV_TIMEOUT, origin, "deadline passed");
    }
    return GRV_OK;
}

grv_status grv_call_would_wait(const char *origin, grv_error *error)
{
    return grv_error_set(error, GRV_UNAVAILABLE, origin, "the answer would have to be waited for");
}
