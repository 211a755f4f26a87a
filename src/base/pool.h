/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fixed pool of worker threads over one queue. Tasks are embedded in the caller's own structures,
 * so submitting allocates nothing and cannot fail.
 */
#ifndef GRV_BASE_POOL_H
#define GRV_BASE_POOL_H

#include <graviton/error.h>

typedef struct grv_pool grv_pool;
typedef struct grv_task grv_task;

/* One piece of work. The memory is the caller's and must stay until `run` was entered; `run` may
 * then free or submit it again. */
struct grv_task {
    void (*run)(grv_task *task);
    grv_task *next; /* the pool's */
};

/* Most threads in a pool. */
#define GRV_POOL_THREADS_MAX 256u

/* The cores that this process may use. */
unsigned grv_pool_threads_default(void);

/* Starts `threads` workers (0: one a usable core). GRV_LIMIT_EXCEEDED or GRV_UNAVAILABLE where
 * threads or memory are short. */
grv_status grv_pool_new(unsigned threads, grv_pool **ret_pool, grv_error *error);

/* Queues a task; tasks begin in the order they were queued. Thread-safe. */
void grv_pool_submit(grv_pool *pool, grv_task *task);

/* Number of workers. */
unsigned grv_pool_threads(const grv_pool *pool);

/* Runs what is queued, then ends the workers. NULL is allowed. */
void grv_pool_free(grv_pool *pool);

#endif
