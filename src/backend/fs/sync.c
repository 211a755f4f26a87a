/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that makes groups of new files durable. It takes all that wait and syncs them as one,
 * so that batches at the same time share a sync, and it does so while puts go on writing. Its rule:
 * a failed sync is never tried again; every file written before it is given up.
 */
#include "backend/fs/fs.h"

#include "os/file.h"

#include <errno.h>
#include <signal.h>

/* How long a wait lasts before its call is asked whether to go on. */
#define WAIT_NS UINT64_C(50000000)

grv_status grv_fs_cond_init(pthread_cond_t *cond, grv_error *error)
{
    pthread_condattr_t attributes;
    int failed = pthread_condattr_init(&attributes);
    if (!failed) {
        failed = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        if (!failed) {
            failed = pthread_cond_init(cond, &attributes);
        }
        pthread_condattr_destroy(&attributes);
    }
    return failed ? grv_error_set_errno(error, failed, "fs", "no condition variable") : GRV_OK;
}

grv_status grv_fs_cond_wait(const grv_call *call, pthread_cond_t *cond, pthread_mutex_t *lock,
                            grv_error *error)
{
    if (!call) {
        pthread_cond_wait(cond, lock);
        return GRV_OK;
    }
    grv_status status = grv_call_check(call, "fs", error);
    if (!status) {
        uint64_t until_ns = grv_now_ns() + WAIT_NS;
        if (call->deadline_ns && call->deadline_ns < until_ns) {
            until_ns = call->deadline_ns;
        }
        struct timespec until = {.tv_sec = (time_t)(until_ns / UINT64_C(1000000000)),
                                 .tv_nsec = (long)(until_ns % UINT64_C(1000000000))};
        pthread_cond_timedwait(cond, lock, &until);
    }
    return status;
}

grv_status grv_fs_sync_init(grv_fs_sync *sync, grv_error *error)
{
    int failed = pthread_mutex_init(&sync->lock, NULL);
    if (failed) {
        return grv_error_set_errno(error, failed, "fs", "no mutex");
    }
    grv_status status = grv_fs_cond_init(&sync->queue_changed, error);
    if (status) {
        pthread_mutex_destroy(&sync->lock);
        return status;
    }
    status = grv_fs_cond_init(&sync->group_changed, error);
    if (status) {
        pthread_cond_destroy(&sync->queue_changed);
        pthread_mutex_destroy(&sync->lock);
    }
    return status;
}

void grv_fs_sync_done(grv_fs_sync *sync)
{
    pthread_mutex_lock(&sync->lock);
    sync->stopping = true;
    bool started = sync->started;
    pthread_cond_broadcast(&sync->queue_changed);
    pthread_mutex_unlock(&sync->lock);
    if (started) {
        pthread_join(sync->thread, NULL);
    }
    pthread_cond_destroy(&sync->group_changed);
    pthread_cond_destroy(&sync->queue_changed);
    pthread_mutex_destroy(&sync->lock);
}

/* A few files one by one. Starting them all first lets them share the file system's journal
 * commit; that start may fail without harm, the sync then does all of it. */
static grv_status sync_each(grv_fs_group *first, grv_error *error)
{
    for (grv_fs_group *group = first; group; group = group->queue_next) {
        for (size_t i = 0; i < group->fd_count; i++) {
            (void)grv_file_calls()->start_writeback(group->fds[i]);
        }
    }
    for (grv_fs_group *group = first; group; group = group->queue_next) {
        for (size_t i = 0; i < group->fd_count; i++) {
            grv_status status = grv_file_sync(group->fds[i], "a new block file", error);
            if (status) {
                return status;
            }
        }
    }
    return GRV_OK;
}

/* Makes all files of the groups durable. */
static grv_status sync_groups(grv_fs_store *store, grv_fs_group *first, grv_error *error)
{
    size_t files = 0;
    size_t held = 0;
    for (grv_fs_group *group = first; group; group = group->queue_next) {
        files += group->count;
        held += group->fd_count;
    }
    if (held == files && files <= GRV_FS_FEW) {
        return sync_each(first, error);
    }
    if (grv_file_calls()->syncfs(store->prefix_fd)) {
        return grv_error_set_errno(error, errno, "fs", "cannot sync %zu new block files", files);
    }
    return GRV_OK;
}

/* Takes all that wait, but for groups nobody wants. Called with the lock held. */
static grv_fs_group *sync_take(grv_fs_sync *sync)
{
    grv_fs_group *taken = NULL;
    grv_fs_group **end = &taken;
    for (grv_fs_group *group = sync->first; group;) {
        grv_fs_group *next = group->queue_next;
        group->queue_next = NULL;
        if (group->abandoned) {
            group->state = GRV_FS_GIVEN_UP;
            pthread_cond_broadcast(&sync->group_changed);
        } else {
            *end = group;
            end = &group->queue_next;
        }
        group = next;
    }
    sync->first = NULL;
    sync->last = NULL;
    return taken;
}

/* Tells the groups how it went. Called with the lock held. */
static void sync_end(grv_fs_sync *sync, grv_fs_group *first, const grv_error *failure)
{
    if (failure->status) {
        __atomic_fetch_add(&sync->failures, 1, __ATOMIC_RELEASE);
    }
    for (grv_fs_group *group = first; group;) {
        grv_fs_group *next = group->queue_next; /* once ended, the group is its batch's again */
        if (group->failures == sync->failures) {
            group->state = GRV_FS_SYNCED;
        } else {
            group->state = GRV_FS_GIVEN_UP;
            if (failure->status) {
                group->failure = *failure;
            } else {
                grv_error_set(&group->failure, GRV_UNAVAILABLE, "fs",
                              "a sync failed while this batch was being written, which may have "
                              "lost some of it; put it again");
            }
        }
        group = next;
    }
    pthread_cond_broadcast(&sync->group_changed);
}

static void *sync_run(void *argument)
{
    grv_fs_store *store = argument;
    grv_fs_sync *sync = &store->sync;
    pthread_mutex_lock(&sync->lock);
    for (;;) {
        while (!sync->first && !sync->stopping) {
            pthread_cond_wait(&sync->queue_changed, &sync->lock);
        }
        if (!sync->first) {
            break;
        }
        grv_fs_group *groups = sync_take(sync);
        if (!groups) {
            continue;
        }
        pthread_mutex_unlock(&sync->lock);
        grv_error failure = GRV_ERROR_INIT;
        grv_status status = sync_groups(store, groups, &failure);
        for (grv_fs_group *group = groups; group; group = group->queue_next) {
            grv_status closed = grv_fs_group_close(store, group, status ? NULL : &failure);
            status = status ? status : closed;
        }
        failure.status = status;
        pthread_mutex_lock(&sync->lock);
        sync_end(sync, groups, &failure);
    }
    pthread_mutex_unlock(&sync->lock);
    return NULL;
}

grv_status grv_fs_sync_start(grv_fs_store *store, grv_error *error)
{
    grv_fs_sync *sync = &store->sync;
    grv_status status = GRV_OK;
    pthread_mutex_lock(&sync->lock);
    if (!sync->started) {
        /* Signals are the program's affair: its handlers never run on this thread. */
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int failed = pthread_create(&sync->thread, NULL, sync_run, store);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        sync->started = !failed;
        if (failed) {
            status = grv_error_set_errno(error, failed, "fs", "cannot start the sync thread");
        }
    }
    pthread_mutex_unlock(&sync->lock);
    return status;
}

uint64_t grv_fs_sync_failures(grv_fs_store *store)
{
    return __atomic_load_n(&store->sync.failures, __ATOMIC_ACQUIRE);
}

bool grv_fs_sync_hold(grv_fs_store *store)
{
    if (__atomic_fetch_add(&store->sync.held, 1, __ATOMIC_RELAXED) < GRV_FS_HELD_MAX) {
        return true;
    }
    grv_fs_sync_unhold(store);
    return false;
}

void grv_fs_sync_unhold(grv_fs_store *store)
{
    __atomic_fetch_sub(&store->sync.held, 1, __ATOMIC_RELAXED);
}

void grv_fs_sync_submit(grv_fs_store *store, grv_fs_group *group)
{
    grv_fs_sync *sync = &store->sync;
    pthread_mutex_lock(&sync->lock);
    group->state = GRV_FS_QUEUED;
    group->queue_next = NULL;
    if (sync->last) {
        sync->last->queue_next = group;
    } else {
        sync->first = group;
    }
    sync->last = group;
    pthread_cond_signal(&sync->queue_changed);
    pthread_mutex_unlock(&sync->lock);
}

grv_status grv_fs_sync_wait(const grv_call *call, grv_fs_store *store, grv_fs_group *group,
                            grv_error *error)
{
    grv_fs_sync *sync = &store->sync;
    grv_status status = GRV_OK;
    pthread_mutex_lock(&sync->lock);
    while (!status && group->state == GRV_FS_QUEUED) {
        status = grv_fs_cond_wait(call, &sync->group_changed, &sync->lock, error);
    }
    if (!status && group->state == GRV_FS_GIVEN_UP) {
        status = group->failure.status;
        if (error) {
            *error = group->failure;
        }
    }
    pthread_mutex_unlock(&sync->lock);
    return status;
}

void grv_fs_sync_abandon(grv_fs_store *store, grv_fs_group *group)
{
    grv_fs_sync *sync = &store->sync;
    pthread_mutex_lock(&sync->lock);
    group->abandoned = true;
    while (group->state == GRV_FS_QUEUED) {
        pthread_cond_wait(&sync->group_changed, &sync->lock);
    }
    pthread_mutex_unlock(&sync->lock);
}
