/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Killing the process at a chosen call. The functions below stand before libc's for the whole
 * program, RocksDB included, and go straight to the kernel; the armed one raises SIGKILL instead.
 * Files change through these calls alone, so every state that a killed process can leave behind is
 * one of those before a call, or within a write.
 *
 * A kill, other than a power cut, loses nothing that was written, synced or not. So syncing has no
 * effect here to wait for: the calls are points to be killed at and nothing else.
 */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SEEN __attribute__((visibility("default")))

static atomic_llong calls_left; /* the process is killed at the call that takes it from 1 to 0 */
static atomic_bool tears;

void model_kill_arm(model_run *run, uint64_t nth, bool torn)
{
    run->shared->kill_planned = nth > 0;
    atomic_store(&tears, torn);
    atomic_store(&calls_left, (long long)nth);
}

/* True if this call is the one. */
static bool is_hit(void)
{
    return atomic_load_explicit(&calls_left, memory_order_relaxed) > 0 &&
           atomic_fetch_sub(&calls_left, 1) == 1;
}

static void die(void)
{
    model_lock();
    kill(getpid(), SIGKILL);
    for (;;) {
        pause();
    }
}

static void die_if_hit(void)
{
    if (is_hit()) {
        die();
    }
}

/* libc's headers name their parameters otherwise.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

SEEN ssize_t write(int fd, const void *data, size_t size)
{
    if (is_hit()) {
        if (atomic_load(&tears)) {
            syscall(SYS_write, fd, data, size / 2);
        }
        die();
    }
    return syscall(SYS_write, fd, data, size);
}

SEEN ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (is_hit()) {
        if (atomic_load(&tears)) {
            syscall(SYS_pwrite64, fd, data, size / 2, offset);
        }
        die();
    }
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

SEEN int fsync(int fd)
{
    (void)fd;
    die_if_hit();
    return 0;
}

SEEN int fdatasync(int fd)
{
    (void)fd;
    die_if_hit();
    return 0;
}

SEEN int syncfs(int fd)
{
    (void)fd;
    die_if_hit();
    return 0;
}

SEEN int sync_file_range(int fd, off_t from, off_t size, unsigned flags)
{
    (void)fd;
    (void)from;
    (void)size;
    (void)flags;
    return 0;
}

/* Room reserved beyond a file's end is not seen by anyone, and takes long to make. */
SEEN int fallocate(int fd, int mode, off_t from, off_t size)
{
    if (mode & FALLOC_FL_KEEP_SIZE && !(mode & FALLOC_FL_PUNCH_HOLE)) {
        return 0;
    }
    die_if_hit();
    return (int)syscall(SYS_fallocate, fd, mode, from, size);
}

SEEN int ftruncate(int fd, off_t size)
{
    die_if_hit();
    return (int)syscall(SYS_ftruncate, fd, size);
}

SEEN int rename(const char *from, const char *to)
{
    die_if_hit();
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

SEEN int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    die_if_hit();
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

SEEN int link(const char *from, const char *to)
{
    die_if_hit();
    return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

SEEN int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    die_if_hit();
    return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

SEEN int unlink(const char *path)
{
    die_if_hit();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

SEEN int unlinkat(int dir, const char *path, int flags)
{
    die_if_hit();
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

SEEN int rmdir(const char *path)
{
    die_if_hit();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

SEEN int mkdir(const char *path, mode_t mode)
{
    die_if_hit();
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

SEEN int mkdirat(int dir, const char *path, mode_t mode)
{
    die_if_hit();
    return (int)syscall(SYS_mkdirat, dir, path, mode);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
