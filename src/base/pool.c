/* SPDX-License-Identifier: Apache-2.0 */
/* The worker pool: one intrusive queue, one lock, held only to link and unlink. */
#include "base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

struct grv_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    grv_task *head;
    grv_task **tail;
    bool closing;
    unsigned threads;
    pthread_t workers[];
};

static void *pool_worker(void *argument)
{
    grv_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->head && !pool->closing) {
            pthread_cond_wait(&pool->work, &pool->lock);
        }
        grv_task *task = pool->head;
        if (!task) {
            break;
        }
        pool->head = task->next;
        if (!pool->head) {
            pool->tail = &pool->head;
        }
        pthread_mutex_unlock(&pool->lock);
        task->run(task);
        pthread_mutex_lock(&pool->lock);
    }
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
        failed = pthread_create(&pool->workers[pool->threads], NULL, pool_worker, pool);
        if (failed) {
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
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
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
    pthread_cond_signal(&pool->work);
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
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++) {
        pthread_join(pool->workers[i], NULL);
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
