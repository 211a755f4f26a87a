/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several jobs at once, such as the puts of many small files: their waits for the disk overlap, and
 * commits that run together share their syncs. Jobs come back in the order they went in; the window
 * between the oldest and the newest is bounded.
 */
#ifndef GRAVITON_CLI_JOB_POOL_H
#define GRAVITON_CLI_JOB_POOL_H

#include "cli/progress.h"

#include <graviton/error.h>

/* What every job begins with. */
typedef struct cli_job {
    bool is_large;     /* or of unknown size: only few of these run at once */
    bool is_settled;   /* there is nothing to run; it only keeps its place in the order */
    bool is_abandoned; /* set by the pool: was never begun */
} cli_job;

typedef struct cli_job_pool cli_job_pool;

/* What a pool does. `run` is called on the pool's threads, once a job. */
typedef struct cli_job_work {
    void (*run)(const void *context, cli_job *job);
    const void *context;
    unsigned large_max;     /* large jobs that may run at once */
    cli_progress *progress; /* drawn while the main thread waits */
} cli_job_work;

/* Makes a pool without threads yet; they start as jobs come. GRV_LIMIT_EXCEEDED without memory. */
grv_status cli_job_pool_new(const cli_job_work *work, cli_job_pool **ret_pool, grv_error *error);

/* True while no job fits; take one out first. */
bool cli_job_pool_is_full(const cli_job_pool *pool);

/*
 * Adds a job to a pool that isn't full, and lends it to the pool until it is taken out.
 * GRV_LIMIT_EXCEEDED where not even one thread can be started.
 */
grv_status cli_job_pool_add(cli_job_pool *pool, cli_job *job, grv_error *error);

/*
 * Takes the oldest job out once it is done: NULL where there is none, or `wait` is not set and it
 * is not done. While it waits the progress line goes on.
 */
cli_job *cli_job_pool_take(cli_job_pool *pool, bool wait);

/* Gives up the jobs that no thread has begun; they come out marked so. */
void cli_job_pool_abandon(cli_job_pool *pool);

/* Ends the threads and frees the pool, which must be empty. NULL is allowed. */
void cli_job_pool_free(cli_job_pool *pool);

#endif
