/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker pool: one intrusive queue, one lock, held only to link and unlink.
 *
 * Waking a thread costs more than many a task, so no more are woken than are of use: the worker
 * that has waited least, whose memory is still in a cache, and no second one before the first has
 * begun. That one wakes the next where more is queued. Invariant: while tasks are queued, a worker
 * is on its way to them or none is idle.
 */
#include "base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

typedef struct pool_worker {
    grv_pool *pool;
    pthread_t thread;
    pthread_cond_t wake;
    bool woken;
    struct pool_worker *below; /* of the idle ones */
} pool_worker;

struct grv_pool {
    pthread_mutex_t lock;
    grv_task *head;
    grv_task **tail;
    pool_worker *idle; /* the last to become so on top */
    unsigned waking;   /* were woken and have not begun */
    unsigned waking_max;
    bool closing;
    unsigned threads;
    pool_worker workers[];
};

/* Wakes an idle worker, unless enough are on their way. The lock is held: the pool may be gone once
 * it is not. */
static void pool_wake(grv_pool *pool)
{
    pool_worker *worker = pool->idle;
    if (worker && pool->waking < pool->waking_max) {
        pool->idle = worker->below;
        pool->waking++;
        worker->woken = true;
        pthread_cond_signal(&worker->wake);
    }
}

/* Waits until there is something to do. The lock is held. */
static void worker_idle(pool_worker *self)
{
    grv_pool *pool = self->pool;
    self->woken = false;
    self->below = pool->idle;
    pool->idle = self;
    while (!self->woken) {
        pthread_cond_wait(&self->wake, &pool->lock);
    }
    pool->waking--;
}

static void *worker_run(void *argument)
{
    pool_worker *self = argument;
    grv_pool *pool = self->pool;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->head && !pool->closing) {
            worker_idle(self);
        }
        grv_task *task = pool->head;
        if (!task) {
            break;
        }
        pool->head = task->next;
        if (pool->head) {
            pool_wake(pool);
        } else {
            pool->tail = &pool->head;
        }
        pthread_mutex_unlock(&pool->lock);
        task->run(task);
        pthread_mutex_lock(&pool->lock);
    }
    pool_wake(pool); /* where it ends: the others one after another */
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

unsigned grv_pool_threads_default(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    int cores = CPU_COUNT(&set);
    return cores < 1 ? 1 : (unsigned)cores;
}

/* Starts the workers with every signal blocked: signals belong to the program's own threads. */
static int pool_start(grv_pool *pool, unsigned threads)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    while (pool->threads < threads) {
        pool_worker *worker = &pool->workers[pool->threads];
        worker->pool = pool;
        pthread_cond_init(&worker->wake, NULL);
        failed = pthread_create(&worker->thread, NULL, worker_run, worker);
        if (failed) {
            pthread_cond_destroy(&worker->wake);
            break;
        }
        pool->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

grv_status grv_pool_new(unsigned threads, grv_pool **ret_pool, grv_error *error)
{
    if (threads == 0) {
        threads = grv_pool_threads_default();
    }
    if (threads > GRV_POOL_THREADS_MAX) {
        threads = GRV_POOL_THREADS_MAX;
    }
    grv_pool *pool = calloc(1, sizeof *pool + threads * sizeof pool->workers[0]);
    if (!pool) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pool", "no memory for a worker pool");
    }
    pool->tail = &pool->head;
    pool->waking_max = grv_pool_threads_default();
    pthread_mutex_init(&pool->lock, NULL);
    int failed = pool_start(pool, threads);
    if (failed) {
        grv_pool_free(pool);
        return grv_error_set_errno(error, failed, "pool", "cannot start %u threads", threads);
    }
    *ret_pool = pool;
    return GRV_OK;
}

void grv_pool_submit(grv_pool *pool, grv_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&pool->lock);
    assert(!pool->closing);
    *pool->tail = task;
    pool->tail = &task->next;
    pool_wake(pool);
    pthread_mutex_unlock(&pool->lock);
}

unsigned grv_pool_threads(const grv_pool *pool)
{
    return pool->threads;
}

void grv_pool_free(grv_pool *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pool_wake(pool);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < pool->threads; i++) {
        pthread_cond_destroy(&pool->workers[i].wake);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
