/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting on a condition within a call: no longer than its deadline, and noticing its cancel flag.
 */
#ifndef GRV_BASE_WAIT_H
#define GRV_BASE_WAIT_H

#include <graviton/call.h>
#include <pthread.h>

/* Initialises a condition on the monotonic clock, as grv_wait needs it. */
void grv_wait_init(pthread_cond_t *condition);

/*
 * Waits on `condition` with `lock` held, once: until it is signalled, the deadline has passed, or
 * (for a call that can be given up, every 100 ms) it is time to look. The caller loops over its own
 * predicate and asks grv_call_check in between.
 */
void grv_wait(const grv_call *call, pthread_cond_t *condition, pthread_mutex_t *lock);

#endif
