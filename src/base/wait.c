/* SPDX-License-Identifier: Apache-2.0 */
/* A cancel flag can be raised from a signal handler, which may not signal a condition; so a call
 * that has one looks at it ten times a second. */
#include "base/wait.h"

#include <time.h>

#define WAIT_LOOK_NS UINT64_C(100000000)
#define WAIT_LONG_NS UINT64_C(1000000000)

void grv_wait_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

void grv_wait(const grv_call *call, pthread_cond_t *condition, pthread_mutex_t *lock)
{
    uint64_t until_ns = grv_now_ns() + (call && call->cancel ? WAIT_LOOK_NS : WAIT_LONG_NS);
    if (call && call->deadline_ns && call->deadline_ns < until_ns) {
        until_ns = call->deadline_ns;
    }
    struct timespec until = {
        .tv_sec = (time_t)(until_ns / UINT64_C(1000000000)),
        .tv_nsec = (long)(until_ns % UINT64_C(1000000000)),
    };
    pthread_cond_timedwait(condition, lock, &until);
}
