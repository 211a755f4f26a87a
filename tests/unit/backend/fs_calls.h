/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of file calls for tests that passes everything on, and meanwhile keeps a model of what a
 * power loss would leave: which file's data a sync has covered since it was written, which name a
 * directory sync has covered since it was given. It can make one kind of call fail or last long.
 */
#ifndef GRV_TESTS_FS_CALLS_H
#define GRV_TESTS_FS_CALLS_H

#include "os/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CALLS_MAX = 8192, CALLS_FDS = 4096 };

/* A file by the name it was written under, and by the name it got. Times are of calls_clock. */
typedef struct calls_file {
    char temp[64];
    char name[96];
    uint64_t written;      /* its last write ended */
    uint64_t synced;       /* the latest successful sync over it began */
    uint64_t renamed;      /* it got its name; 0: not yet */
    uint64_t entry_synced; /* the latest successful directory sync since began */
} calls_file;

typedef enum calls_kind {
    CALLS_NONE,
    CALLS_WRITE,
    CALLS_PREAD,
    CALLS_FDATASYNC,
    CALLS_SYNCFS,
    CALLS_FSYNC,
    CALLS_RENAMEAT,
    CALLS_KINDS
} calls_kind;

static struct {
    pthread_mutex_t lock;
    uint64_t clock;
    calls_file files[CALLS_MAX];
    size_t count;
    int fd_file[CALLS_FDS]; /* index + 1 of the file open to write at a descriptor */
    size_t counts[CALLS_KINDS];
    size_t early_renames; /* renames of a file with data that no sync covers */
    /* Orders: the `fail_at`-th call of `fail_kind` from now on (1 = next) fails with fail_errno,
     * and all later ones too where `fail_ever`. */
    calls_kind fail_kind;
    size_t fail_at;
    bool fail_ever;
    int fail_errno;
    bool write_in_pieces; /* 7 bytes a write, every third one interrupted */
    unsigned sync_us;     /* how long each sync lasts at least */
    size_t sync_awaits;   /* each sync lasts until so many writes were made and 20 ms more */
    bool stamps_ahead;    /* every open file's ctime is the same and in the future */
} calls = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline uint64_t calls_now(void)
{
    return ++calls.clock;
}

/* Counts a call; true where it is to fail, errno set. Called with the lock held. */
static inline bool calls_fails(calls_kind kind)
{
    calls.counts[kind]++;
    if (calls.fail_kind != kind || calls.fail_at == 0) {
        return false;
    }
    if (--calls.fail_at > 0) {
        return false;
    }
    calls.fail_at = calls.fail_ever ? 1 : 0;
    errno = calls.fail_errno;
    return true;
}

static inline int calls_openat(int dir, const char *path, int flags, mode_t mode)
{
    int fd = openat(dir, path, flags, mode);
    if (fd >= 0 && fd < CALLS_FDS) {
        pthread_mutex_lock(&calls.lock);
        calls.fd_file[fd] = 0;
        if (flags & O_CREAT && calls.count < CALLS_MAX) {
            calls_file *file = &calls.files[calls.count++];
            *file = (calls_file){0};
            snprintf(file->temp, sizeof file->temp, "%s", path);
            calls.fd_file[fd] = (int)calls.count;
        }
        pthread_mutex_unlock(&calls.lock);
    }
    return fd;
}

static inline ssize_t calls_write(int fd, const void *data, size_t size)
{
    pthread_mutex_lock(&calls.lock);
    bool fails = calls_fails(CALLS_WRITE);
    size_t turn = calls.counts[CALLS_WRITE];
    pthread_mutex_unlock(&calls.lock);
    if (fails) {
        return -1;
    }
    if (calls.write_in_pieces && turn % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    ssize_t wrote = write(fd, data, calls.write_in_pieces && size > 7 ? 7 : size);
    pthread_mutex_lock(&calls.lock);
    if (calls.fd_file[fd]) {
        calls.files[calls.fd_file[fd] - 1].written = calls_now();
    }
    pthread_mutex_unlock(&calls.lock);
    return wrote;
}

static inline ssize_t calls_pread(int fd, void *data, size_t size, off_t offset)
{
    pthread_mutex_lock(&calls.lock);
    bool fails = calls_fails(CALLS_PREAD);
    pthread_mutex_unlock(&calls.lock);
    return fails ? -1 : pread(fd, data, size, offset);
}

static inline size_t calls_writes(void)
{
    pthread_mutex_lock(&calls.lock);
    size_t writes = calls.counts[CALLS_WRITE];
    pthread_mutex_unlock(&calls.lock);
    return writes;
}

/* Begins a sync: its time, or 0 where it fails. */
static inline uint64_t calls_sync_begin(calls_kind kind)
{
    pthread_mutex_lock(&calls.lock);
    uint64_t begun = calls_fails(kind) ? 0 : calls_now();
    pthread_mutex_unlock(&calls.lock);
    if (begun && calls.sync_awaits) {
        for (unsigned ms = 0; ms < 10000 && calls_writes() < calls.sync_awaits; ms++) {
            usleep(1000);
        }
        usleep(200000); /* until those that were woken by the one before have come, too */
    }
    if (begun && calls.sync_us) {
        usleep(calls.sync_us);
    }
    return begun;
}

static inline int calls_fdatasync(int fd)
{
    uint64_t begun = calls_sync_begin(CALLS_FDATASYNC);
    if (!begun || fdatasync(fd)) {
        return -1;
    }
    pthread_mutex_lock(&calls.lock);
    if (calls.fd_file[fd]) {
        calls.files[calls.fd_file[fd] - 1].synced = begun;
    }
    pthread_mutex_unlock(&calls.lock);
    return 0;
}

/* Does not sync in truth: the model alone is asked, and the machine is shared. */
static inline int calls_syncfs(int fd)
{
    (void)fd;
    uint64_t begun = calls_sync_begin(CALLS_SYNCFS);
    if (!begun) {
        return -1;
    }
    pthread_mutex_lock(&calls.lock);
    for (size_t i = 0; i < calls.count; i++) {
        calls.files[i].synced = begun;
    }
    pthread_mutex_unlock(&calls.lock);
    return 0;
}

/* One directory has all names in these tests: a sync of any covers them. The prefix's own sync
 * always comes with one of the directory. */
static inline int calls_fsync(int fd)
{
    uint64_t begun = calls_sync_begin(CALLS_FSYNC);
    if (!begun || fsync(fd)) {
        return -1;
    }
    pthread_mutex_lock(&calls.lock);
    for (size_t i = 0; i < calls.count; i++) {
        calls.files[i].entry_synced = begun;
    }
    pthread_mutex_unlock(&calls.lock);
    return 0;
}

static inline int calls_fstat(int fd, struct stat *ret_stat)
{
    int failed = fstat(fd, ret_stat);
    if (!failed && calls.stamps_ahead) {
        ret_stat->st_ctim = (struct timespec){.tv_sec = (time_t)1 << 36};
    }
    return failed;
}

static inline int calls_renameat(int old_dir, const char *old_path, int new_dir,
                                 const char *new_path)
{
    pthread_mutex_lock(&calls.lock);
    bool fails = calls_fails(CALLS_RENAMEAT);
    calls_file *file = NULL;
    for (size_t i = 0; i < calls.count && !fails; i++) {
        if (strcmp(calls.files[i].temp, old_path) == 0) {
            file = &calls.files[i];
        }
    }
    if (file && file->synced <= file->written) {
        calls.early_renames++;
    }
    /* Under the lock, so that a directory sync begins before it or after it, never meanwhile. */
    int failed = fails ? -1 : renameat(old_dir, old_path, new_dir, new_path);
    if (file && !failed) {
        snprintf(file->name, sizeof file->name, "%s", new_path);
        file->renamed = calls_now();
    }
    pthread_mutex_unlock(&calls.lock);
    return failed;
}

/* True where the file of this name, data and entry, would be there after a power loss. */
static inline bool calls_is_durable(const char *name)
{
    pthread_mutex_lock(&calls.lock);
    bool durable = false;
    for (size_t i = 0; i < calls.count; i++) {
        const calls_file *file = &calls.files[i];
        durable |= strcmp(file->name, name) == 0 && file->synced > file->written &&
                   file->entry_synced > file->renamed;
    }
    pthread_mutex_unlock(&calls.lock);
    return durable;
}

static grv_file_ops calls_ops;

/* Puts the table in use, with an empty model and no orders. */
static inline void calls_begin(void)
{
    memset(calls.fd_file, 0, sizeof calls.fd_file);
    memset(calls.counts, 0, sizeof calls.counts);
    calls.clock = 0;
    calls.count = 0;
    calls.early_renames = 0;
    calls.fail_kind = CALLS_NONE;
    calls.fail_at = 0;
    calls.fail_ever = false;
    calls.write_in_pieces = false;
    calls.sync_us = 0;
    calls.sync_awaits = 0;
    calls.stamps_ahead = false;
    calls_ops = grv_file_ops_system;
    calls_ops.openat = calls_openat;
    calls_ops.write = calls_write;
    calls_ops.pread = calls_pread;
    calls_ops.fdatasync = calls_fdatasync;
    calls_ops.syncfs = calls_syncfs;
    calls_ops.fsync = calls_fsync;
    calls_ops.fstat = calls_fstat;
    calls_ops.renameat = calls_renameat;
    grv_file_calls_set(&calls_ops);
}

static inline void calls_end(void)
{
    grv_file_calls_set(NULL);
}

/* Makes the `at`-th call of a kind fail, once or ever after. */
static inline void calls_fail(calls_kind kind, size_t at, bool ever, int errno_value)
{
    pthread_mutex_lock(&calls.lock);
    calls.fail_kind = kind;
    calls.fail_at = at;
    calls.fail_ever = ever;
    calls.fail_errno = errno_value;
    pthread_mutex_unlock(&calls.lock);
}

#endif
