/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One algorithm's directory. It guards the rule that nobody relies on an entry that a power loss
 * could take back: neither on one's own, nor on one that another batch, another process or one
 * that was killed has renamed and not synced yet.
 */
#include "backend/fs/fs.h"

#include "os/file.h"

#include <errno.h>

/* A file system's time stamps advance in steps of a timer tick, at most 10 ms. */
#define STAMP_STEP_NS INT64_C(100000000)

grv_status grv_fs_directory_init(grv_fs_directory *directory, grv_fs_store *store, grv_hash hash,
                                 grv_error *error)
{
    directory->name = grv_hash_name(hash);
    directory->fd = -1;
    int failed = pthread_mutex_init(&directory->lock, NULL);
    if (failed) {
        return grv_error_set_errno(error, failed, "fs", "no mutex");
    }
    grv_status status = grv_fs_cond_init(&directory->ended_changed, error);
    if (status) {
        pthread_mutex_destroy(&directory->lock);
        return status;
    }
    directory->store = store; /* marks it as set up, for done */
    return GRV_OK;
}

void grv_fs_directory_done(grv_fs_directory *directory)
{
    if (!directory->store) {
        return;
    }
    if (directory->fd >= 0) {
        (void)grv_file_close(directory->fd, directory->name, NULL); /* it was open to read */
    }
    pthread_cond_destroy(&directory->ended_changed);
    pthread_mutex_destroy(&directory->lock);
}

grv_fs_directory *grv_fs_directory_of(grv_fs_store *store, grv_hash hash)
{
    return &store->directories[hash == GRV_HASH_SHA256];
}

/* Makes the directory unless it is there. Its entry becomes durable with the first sync of it. */
static grv_status directory_make(grv_fs_directory *directory, grv_error *error)
{
    int prefix_fd = directory->store->prefix_fd;
    if (grv_file_calls()->mkdirat(prefix_fd, directory->name, 0777) && errno != EEXIST) {
        return grv_error_set_errno(error, errno, "fs", "cannot make directory %s", directory->name);
    }
    return GRV_OK;
}

grv_status grv_fs_directory_open(grv_fs_directory *directory, bool create, int *ret_fd,
                                 grv_error *error)
{
    int fd = __atomic_load_n(&directory->fd, __ATOMIC_ACQUIRE);
    if (fd >= 0) {
        *ret_fd = fd;
        return GRV_OK;
    }
    if (create) {
        grv_status made = directory_make(directory, error);
        if (made) {
            return made;
        }
    }
    grv_status status = grv_file_open(directory->store->prefix_fd, directory->name,
                                      O_RDONLY | O_DIRECTORY, 0, &fd, error);
    if (status == GRV_NOT_FOUND && !create) {
        *ret_fd = -1;
        return GRV_OK;
    }
    if (status) {
        grv_error_prefix(error, "directory of the block store");
        return status;
    }
    int before = -1;
    if (!__atomic_compare_exchange_n(&directory->fd, &before, fd, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        status = grv_file_close(fd, directory->name, error);
        fd = before;
    }
    *ret_fd = fd;
    return status;
}

grv_status grv_fs_block_present(int fd, const grv_block_key *key, bool *ret_present,
                                grv_error *error)
{
    char name[GRV_BLOCK_NAME_SIZE];
    grv_block_name_print(key, name);
    struct stat st;
    if (grv_file_calls()->fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        *ret_present = S_ISREG(st.st_mode) && st.st_size == (off_t)key->size;
        return GRV_OK;
    }
    if (errno == ENOENT) {
        *ret_present = false;
        return GRV_OK;
    }
    return grv_error_set_errno(error, errno, "fs", "cannot look for block file %s", name);
}

void grv_fs_directory_changed(grv_fs_directory *directory)
{
    __atomic_fetch_add(&directory->changes, 1, __ATOMIC_RELEASE);
}

static bool stamps_equal(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* True where `stamp` is so old that a change made from now on cannot get the same. */
static bool stamp_is_past(const struct timespec *stamp)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t seconds = (int64_t)now.tv_sec - (int64_t)stamp->tv_sec;
    if (seconds > 3600 || seconds < 0) {
        return seconds > 0;
    }
    return seconds * INT64_C(1000000000) + now.tv_nsec - stamp->tv_nsec > STAMP_STEP_NS;
}

static grv_status directory_stamp(const grv_fs_directory *directory, int fd,
                                  struct timespec *ret_stamp, grv_error *error)
{
    struct stat st;
    if (grv_file_calls()->fstat(fd, &st)) {
        return grv_error_set_errno(error, errno, "fs", "cannot look at directory %s",
                                   directory->name);
    }
    *ret_stamp = st.st_ctim;
    return GRV_OK;
}

/* Syncs the directory, and the first time its own entry in the prefix too: whoever made it may
 * have died before that was durable. */
static grv_status directory_sync(const grv_fs_directory *directory, int fd, bool anchored,
                                 grv_error *error)
{
    if (!anchored) {
        grv_status status =
            grv_directory_sync(directory->store->prefix_fd, "of the block store", error);
        if (status) {
            return status;
        }
    }
    return grv_directory_sync(fd, directory->name, error);
}

/* One sync, for all who came before it began. Called with the lock held, which it gives up
 * meanwhile. Returns a failure that came before the sync, so that others may try again. */
static grv_status directory_lead(grv_fs_directory *directory, int fd, grv_error *error)
{
    directory->running = true;
    uint64_t mine = ++directory->begun;
    bool anchored = directory->ended > 0;
    pthread_mutex_unlock(&directory->lock);

    uint64_t changes = __atomic_load_n(&directory->changes, __ATOMIC_ACQUIRE);
    struct timespec stamp;
    grv_status status = directory_stamp(directory, fd, &stamp, error);
    bool past = !status && stamp_is_past(&stamp);
    grv_error failure = GRV_ERROR_INIT;
    grv_status synced = status ? status : directory_sync(directory, fd, anchored, &failure);

    pthread_mutex_lock(&directory->lock);
    directory->running = false;
    if (status) {
        /* nothing was tried */
    } else if (synced) {
        directory->failure = failure;
    } else {
        directory->ended = mine;
        directory->synced_changes = changes;
        directory->marked = past;
        directory->mark = stamp;
    }
    pthread_cond_broadcast(&directory->ended_changed);
    return status;
}

/*
 * A sync is left out where the directory is as a sync found it: this store has changed nothing
 * since, and the directory's ctime is the same as before that sync and was old by then, so no one
 * else has either. That makes a put of known blocks cost no sync a call.
 */
grv_status grv_fs_directory_settle(const grv_call *call, grv_fs_directory *directory,
                                   grv_error *error)
{
    int fd;
    grv_status status = grv_fs_directory_open(directory, false, &fd, error);
    if (status || fd < 0) {
        return status;
    }
    struct timespec stamp;
    status = directory_stamp(directory, fd, &stamp, error);
    if (status) {
        return status;
    }
    uint64_t changes = __atomic_load_n(&directory->changes, __ATOMIC_ACQUIRE);
    pthread_mutex_lock(&directory->lock);
    uint64_t ticket = directory->begun + 1;
    bool clean = directory->marked && directory->synced_changes == changes &&
                 stamps_equal(&directory->mark, &stamp);
    while (!clean && !status && !directory->failure.status && directory->ended < ticket) {
        if (directory->running) {
            status = grv_fs_cond_wait(call, &directory->ended_changed, &directory->lock, error);
        } else {
            status = directory_lead(directory, fd, error);
        }
    }
    if (!status && directory->failure.status) {
        status = directory->failure.status;
        if (error) {
            *error = directory->failure;
            grv_error_prefix(error, "what was put may not be durable; open the store again");
        }
    }
    pthread_mutex_unlock(&directory->lock);
    return status;
}
