/* SPDX-License-Identifier: Apache-2.0 */
/* Wrappers of every file call. Calls come from several threads: the countdown is atomic. */
#include "file_faults.h"

#include "os/file.h"

#include <errno.h>

static struct {
    file_fault fault;
    bool persistent;
    uint64_t countdown;
    uint64_t fired;
} faults;

/* True where this call is to fail, errno set. */
static bool fails(unsigned kind)
{
    if (!(faults.fault.kinds & kind)) {
        return false;
    }
    uint64_t left = __atomic_load_n(&faults.countdown, __ATOMIC_ACQUIRE);
    uint64_t next;
    do {
        if (left == 0) {
            return false;
        }
        next = left == 1 && faults.persistent ? 1 : left - 1;
    } while (!__atomic_compare_exchange_n(&faults.countdown, &left, next, true, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    if (left > 1) {
        return false;
    }
    __atomic_fetch_add(&faults.fired, 1, __ATOMIC_RELEASE);
    errno = faults.fault.errno_value;
    return true;
}

/* For reads and writes: false where the call fails, else how much it may do. */
static bool part(unsigned kind, size_t *size)
{
    if (!fails(kind)) {
        return true;
    }
    if (faults.fault.errno_value) {
        return false;
    }
    *size -= *size / 2;
    return true;
}

static int fault_openat(int dir, const char *path, int flags, mode_t mode)
{
    return fails(FILE_OPENAT) ? -1 : grv_file_ops_system.openat(dir, path, flags, mode);
}

static int fault_close(int fd)
{
    bool failed = fails(FILE_CLOSE);
    int closed = grv_file_ops_system.close(fd);
    if (!failed) {
        return closed;
    }
    errno = faults.fault.errno_value;
    return -1;
}

static ssize_t fault_read(int fd, void *data, size_t size)
{
    return part(FILE_READ, &size) ? grv_file_ops_system.read(fd, data, size) : -1;
}

static ssize_t fault_pread(int fd, void *data, size_t size, off_t offset)
{
    return part(FILE_READ, &size) ? grv_file_ops_system.pread(fd, data, size, offset) : -1;
}

static ssize_t fault_write(int fd, const void *data, size_t size)
{
    return part(FILE_WRITE, &size) ? grv_file_ops_system.write(fd, data, size) : -1;
}

static ssize_t fault_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return part(FILE_WRITE, &size) ? grv_file_ops_system.pwrite(fd, data, size, offset) : -1;
}

static int fault_fdatasync(int fd)
{
    return fails(FILE_SYNC) ? -1 : grv_file_ops_system.fdatasync(fd);
}

/* Not done in truth: nothing here loses power, and the machine is shared. */
static int fault_syncfs(int fd)
{
    (void)fd;
    return fails(FILE_SYNC) ? -1 : 0;
}

static int fault_fsync(int fd)
{
    return fails(FILE_DIRSYNC) ? -1 : grv_file_ops_system.fsync(fd);
}

static int fault_renameat(int old_dir, const char *old_path, int new_dir, const char *new_path)
{
    return fails(FILE_RENAME) ? -1
                              : grv_file_ops_system.renameat(old_dir, old_path, new_dir, new_path);
}

static int fault_linkat(int old_dir, const char *old_path, int new_dir, const char *new_path,
                        int flags)
{
    return fails(FILE_LINK)
               ? -1
               : grv_file_ops_system.linkat(old_dir, old_path, new_dir, new_path, flags);
}

static int fault_unlinkat(int dir, const char *path, int flags)
{
    return fails(FILE_UNLINK) ? -1 : grv_file_ops_system.unlinkat(dir, path, flags);
}

static int fault_mkdirat(int dir, const char *path, mode_t mode)
{
    return fails(FILE_MKDIR) ? -1 : grv_file_ops_system.mkdirat(dir, path, mode);
}

static int fault_fstatat(int dir, const char *path, struct stat *ret_stat, int flags)
{
    return fails(FILE_STAT) ? -1 : grv_file_ops_system.fstatat(dir, path, ret_stat, flags);
}

static int fault_fstat(int fd, struct stat *ret_stat)
{
    return fails(FILE_STAT) ? -1 : grv_file_ops_system.fstat(fd, ret_stat);
}

static int fault_flock(int fd, int operation)
{
    return fails(FILE_FLOCK) ? -1 : grv_file_ops_system.flock(fd, operation);
}

static int fault_fstatvfs(int fd, struct statvfs *ret_stat)
{
    return fails(FILE_STAT) ? -1 : grv_file_ops_system.fstatvfs(fd, ret_stat);
}

static int fault_fallocate(int fd, int mode, off_t offset, off_t size)
{
    return fails(FILE_ROOM) ? -1 : grv_file_ops_system.fallocate(fd, mode, offset, size);
}

static int fault_ftruncate(int fd, off_t size)
{
    return fails(FILE_ROOM) ? -1 : grv_file_ops_system.ftruncate(fd, size);
}

static int fault_futimens(int fd, const struct timespec times[2])
{
    return fails(FILE_ROOM) ? -1 : grv_file_ops_system.futimens(fd, times);
}

static DIR *fault_fdopendir(int fd)
{
    return fails(FILE_READDIR) ? NULL : grv_file_ops_system.fdopendir(fd);
}

static struct dirent *fault_readdir(DIR *dir)
{
    return fails(FILE_READDIR) ? NULL : grv_file_ops_system.readdir(dir);
}

static int fault_closedir(DIR *dir)
{
    bool failed = fails(FILE_READDIR);
    int closed = grv_file_ops_system.closedir(dir);
    if (!failed) {
        return closed;
    }
    errno = faults.fault.errno_value;
    return -1;
}

void file_faults_begin(const file_fault *fault, uint64_t n, bool persistent)
{
    static grv_file_ops table;
    table = grv_file_ops_system;
    table.openat = fault_openat;
    table.close = fault_close;
    table.read = fault_read;
    table.pread = fault_pread;
    table.write = fault_write;
    table.pwrite = fault_pwrite;
    table.fdatasync = fault_fdatasync;
    table.syncfs = fault_syncfs;
    table.fsync = fault_fsync;
    table.renameat = fault_renameat;
    table.linkat = fault_linkat;
    table.unlinkat = fault_unlinkat;
    table.mkdirat = fault_mkdirat;
    table.fstatat = fault_fstatat;
    table.fstat = fault_fstat;
    table.flock = fault_flock;
    table.fstatvfs = fault_fstatvfs;
    table.fallocate = fault_fallocate;
    table.ftruncate = fault_ftruncate;
    table.futimens = fault_futimens;
    table.fdopendir = fault_fdopendir;
    table.readdir = fault_readdir;
    table.closedir = fault_closedir;
    faults.fault = *fault;
    faults.persistent = persistent;
    faults.fired = 0;
    __atomic_store_n(&faults.countdown, n, __ATOMIC_RELEASE);
    grv_file_calls_set(&table);
}

uint64_t file_faults_end(void)
{
    grv_file_calls_set(NULL);
    __atomic_store_n(&faults.countdown, 0, __ATOMIC_RELEASE);
    return __atomic_load_n(&faults.fired, __ATOMIC_ACQUIRE);
}
