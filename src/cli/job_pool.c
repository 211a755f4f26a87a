/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of jobs, filled and emptied in order by the main thread, worked on in any order by up to
 * eight others. Jobs from `head` to `tail` are in the ring; each is waiting, running or done.
 */
#include "cli/job_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POOL_THREADS           8u
#define POOL_WINDOW            256u
#define POOL_TICK_NS           100000000
#define POOL_SLOT(pool, index) (&(pool)->slots[(index) % POOL_WINDOW])

typedef enum pool_state { POOL_WAITING, POOL_RUNNING, POOL_DONE } pool_state;

typedef struct pool_slot {
    pool_state state;
    cli_job *job;
} pool_slot;

struct cli_job_pool {
    cli_job_work jobs;
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job was added, or a large one ended, or the pool closes */
    pthread_cond_t done; /* a job is done */
    uint64_t head;
    uint64_t tail;
    uint64_t fresh; /* no job before this one is waiting */
    unsigned waiting;
    unsigned idle;
    unsigned large_count; /* large jobs that run */
    bool closing;
    unsigned thread_count;
    pthread_t threads[POOL_THREADS];
    pool_slot slots[POOL_WINDOW];
};

/* Under the lock: the first job that may run now, or NULL. */
static pool_slot *pool_claim(cli_job_pool *pool)
{
    pool->fresh = pool->fresh < pool->head ? pool->head : pool->fresh;
    while (pool->fresh < pool->tail && POOL_SLOT(pool, pool->fresh)->state != POOL_WAITING) {
        pool->fresh++;
    }
    for (uint64_t index = pool->fresh; index < pool->tail; index++) {
        pool_slot *slot = POOL_SLOT(pool, index);
        bool may_run = !slot->job->is_large || pool->large_count < pool->jobs.large_max;
        if (slot->state == POOL_WAITING && may_run) {
            slot->state = POOL_RUNNING;
            pool->waiting--;
            pool->large_count += slot->job->is_large;
            return slot;
        }
    }
    return NULL;
}

static void *pool_work(void *argument)
{
    cli_job_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    while (!pool->closing) {
        pool_slot *slot = pool_claim(pool);
        if (!slot) {
            pool->idle++;
            pthread_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
            continue;
        }
        pthread_mutex_unlock(&pool->lock);
        pool->jobs.run(pool->jobs.context, slot->job);
        pthread_mutex_lock(&pool->lock);
        slot->state = POOL_DONE;
        if (slot->job->is_large) {
            pool->large_count--;
            pthread_cond_signal(&pool->work);
        }
        pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

grv_status cli_job_pool_new(const cli_job_work *work, cli_job_pool **ret_pool, grv_error *error)
{
    cli_job_pool *pool = calloc(1, sizeof *pool);
    if (!pool) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "jobs", "no memory for the work queue");
    }
    pool->jobs = *work;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *ret_pool = pool;
    return GRV_OK;
}

bool cli_job_pool_is_full(const cli_job_pool *pool)
{
    return pool->tail - pool->head == POOL_WINDOW; /* both are the main thread's to change */
}

/* Under the lock. Signals stay the main thread's. */
static grv_status pool_grow(cli_job_pool *pool, grv_error *error)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&pool->threads[pool->thread_count], NULL, pool_work, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) {
        pool->thread_count++;
    } else if (pool->thread_count == 0) {
        return grv_error_set_errno(error, failed, "jobs", "cannot start a thread");
    }
    return GRV_OK;
}

grv_status cli_job_pool_add(cli_job_pool *pool, cli_job *job, grv_error *error)
{
    grv_status status = GRV_OK;
    pthread_mutex_lock(&pool->lock);
    if (!job->is_settled && pool->waiting >= pool->idle && pool->thread_count < POOL_THREADS) {
        status = pool_grow(pool, error);
    }
    if (!status) {
        *POOL_SLOT(pool, pool->tail) =
            (pool_slot){.state = job->is_settled ? POOL_DONE : POOL_WAITING, .job = job};
        pool->tail++;
    }
    if (!status && !job->is_settled) {
        pool->waiting++;
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}

/* Waits under the lock until `slot` is done, drawing the progress line now and then. */
static void pool_wait(cli_job_pool *pool, const pool_slot *slot)
{
    while (slot->state != POOL_DONE) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += POOL_TICK_NS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&pool->done, &pool->lock, &until);
        if (slot->state != POOL_DONE) {
            pthread_mutex_unlock(&pool->lock);
            cli_progress_tick(pool->jobs.progress);
            pthread_mutex_lock(&pool->lock);
        }
    }
}

cli_job *cli_job_pool_take(cli_job_pool *pool, bool wait)
{
    cli_job *job = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->head < pool->tail) {
        pool_slot *slot = POOL_SLOT(pool, pool->head);
        if (wait) {
            pool_wait(pool, slot);
        }
        if (slot->state == POOL_DONE) {
            job = slot->job;
            slot->job = NULL;
            pool->head++;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    cli_progress_tick(pool->jobs.progress);
    return job;
}

void cli_job_pool_abandon(cli_job_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    for (uint64_t index = pool->head; index < pool->tail; index++) {
        pool_slot *slot = POOL_SLOT(pool, index);
        if (slot->state == POOL_WAITING) {
            slot->state = POOL_DONE;
            slot->job->is_abandoned = true;
            pool->waiting--;
        }
    }
    pthread_mutex_unlock(&pool->lock);
}

void cli_job_pool_free(cli_job_pool *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
