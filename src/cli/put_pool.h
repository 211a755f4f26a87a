/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts of several files at once, for many small ones: their waits for the disk overlap, and commits
 * that run together share their syncs. Results come back in the order the jobs went in; the window
 * between the oldest and the newest is bounded.
 */
#ifndef GRAVITON_CLI_PUT_POOL_H
#define GRAVITON_CLI_PUT_POOL_H

#include "cli/put_file.h"

typedef struct cli_put_pool cli_put_pool;

/* Makes a pool without threads yet; they start as jobs come. GRV_LIMIT_EXCEEDED without memory. */
grv_status cli_put_pool_new(const cli_put_context *context, cli_put_pool **ret_pool,
                            grv_error *error);

/* True while no job fits; take one out first. */
bool cli_put_pool_is_full(const cli_put_pool *pool);

/*
 * Adds a job to a pool that isn't full. The pool owns job->path on GRV_OK. GRV_LIMIT_EXCEEDED where
 * not even one thread can be started.
 */
grv_status cli_put_pool_add(cli_put_pool *pool, const cli_put_job *job, grv_error *error);

/*
 * Moves the oldest job out once it is done: false where there is none, or `wait` is not set and it
 * is not done. The caller frees ret_job->path. While it waits the progress line goes on.
 */
bool cli_put_pool_take(cli_put_pool *pool, bool wait, cli_put_job *ret_job);

/* Gives up the jobs that no thread has begun; they come out marked so. */
void cli_put_pool_abandon(cli_put_pool *pool);

/* Ends the threads and frees the pool, which must be empty. NULL is allowed. */
void cli_put_pool_free(cli_put_pool *pool);

#endif
