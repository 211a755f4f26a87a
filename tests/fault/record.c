/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library to be preloaded: it records what a process does to the files under one directory, in
 * the order in which it was done, so that tests/fault/disk.py can work out what a power loss at
 * any moment may leave. Libraries are recorded too, RocksDB among them.
 *
 *   GRAVITON_RECORD_ROOT   the directory, as realpath has it
 *   GRAVITON_RECORD_LOG    the log, appended to, outside of it
 *   GRAVITON_RECORD_KILL   N: the process kills itself in place of its Nth recorded call;
 *                          KIND:PATH: in place of its first call of that kind on that path
 *
 * Invariant: one lock is held over each call and its record, so the log's order is the order of
 * the calls, and a record says what has happened. What this library does not understand (writable
 * shared mappings, symbolic links, files without a name) ends the process: a hole in the record
 * would make the proof say more than it knows. Calls that libc makes within itself are not seen;
 * who reads the log compares its end with the real files.
 *
 * A record is a line "KIND OFFSET SIZE SIZE SIZE" and then that many bytes of path, second path
 * and data. Paths are relative to the root. What was written to descriptor 1 is recorded as
 * "stdout": that is how acknowledgements get their place in the order.
 */
/* Both names of each call are defined below, open and open64: neither may stand for the other. */
#undef _FILE_OFFSET_BITS

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#pragma GCC visibility push(default)
/* libc's names for the parameters are reserved. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_size; /* 0: nothing is recorded */
static int log_fd = -1;
static const char *kill_at;
static unsigned long recorded;

/* A path as the calls get it, and what it is under the root. */
typedef struct place {
    char path[PATH_MAX];
    const char *inside; /* relative to the root; NULL: not under it */
} place;

static void die(const char *what)
{
    char text[PATH_MAX + 64];
    int size = snprintf(text, sizeof text, "record: %s\n", what);
    syscall(SYS_write, 2, text, (size_t)size);
    abort();
}

__attribute__((constructor)) static void record_begin(void)
{
    const char *where = getenv("GRAVITON_RECORD_ROOT");
    const char *to = getenv("GRAVITON_RECORD_LOG");
    if (!where || !to) {
        return;
    }
    if (!realpath(where, root)) {
        die("GRAVITON_RECORD_ROOT is no directory");
    }
    log_fd =
        (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log_fd < 0) {
        die("cannot open GRAVITON_RECORD_LOG");
    }
    kill_at = getenv("GRAVITON_RECORD_KILL");
    root_size = strlen(root);
}

/* ---- Places ---- */

static void place_set_inside(place *at)
{
    at->inside = NULL;
    if (root_size && strncmp(at->path, root, root_size) == 0) {
        if (at->path[root_size] == '/') {
            at->inside = at->path + root_size + 1;
        } else if (!at->path[root_size]) {
            at->inside = at->path + root_size;
        }
    }
}

/* Where an open file is by now; nothing inside for one without a name, whose bytes no crash
 * leaves. */
static void place_of_fd(int fd, place *ret_at)
{
    static const char gone[] = " (deleted)";
    char link[64];
    ret_at->inside = NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = root_size ? readlink(link, ret_at->path, sizeof ret_at->path - 1) : -1;
    if (size < 0) {
        return;
    }
    ret_at->path[size] = '\0';
    place_set_inside(ret_at);
    size_t tail = sizeof gone - 1;
    if (ret_at->inside && (size_t)size > tail && strcmp(ret_at->path + size - tail, gone) == 0) {
        struct stat st;
        if (fstat(fd, &st) == 0 && st.st_nlink > 0 && !S_ISDIR(st.st_mode)) {
            die("a file is used whose first name was removed and which has another");
        }
        ret_at->inside = NULL;
    }
}

/* Where a name is: its folder resolved, itself not followed. */
static void place_of_name(int dir, const char *name, place *ret_at)
{
    char text[PATH_MAX] = "";
    ret_at->inside = NULL;
    if (!root_size) {
        return;
    }
    if (name[0] != '/' && dir != AT_FDCWD) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t size = readlink(link, text, sizeof text - 2);
        if (size < 0) {
            return;
        }
        text[size] = '/';
        text[size + 1] = '\0';
    }
    size_t size = strlen(text);
    if (snprintf(text + size, sizeof text - size, "%s", name) >= (int)(sizeof text - size)) {
        return;
    }
    size = strlen(text);
    while (size > 1 && text[size - 1] == '/') {
        text[--size] = '\0';
    }
    char *last = strrchr(text, '/');
    char folder[PATH_MAX];
    if (last) {
        *last = '\0';
    }
    if (!realpath(!last ? "." : last == text ? "/" : text, folder)) {
        return;
    }
    int wrote =
        snprintf(ret_at->path, sizeof ret_at->path, "%s/%s", folder, last ? last + 1 : text);
    if (wrote > 0 && (size_t)wrote < sizeof ret_at->path) {
        place_set_inside(ret_at);
    }
}

/* ---- Records ---- */

/* Called with the lock held, before the call itself. */
static void record_count(const char *kind, const char *inside)
{
    recorded++;
    if (!kill_at) {
        return;
    }
    char *end;
    unsigned long number = strtoul(kill_at, &end, 10);
    if (!*end) {
        if (number == recorded) {
            raise(SIGKILL);
        }
        return;
    }
    size_t size = strlen(kind);
    if (strncmp(kill_at, kind, size) == 0 && kill_at[size] == ':' &&
        strcmp(kill_at + size + 1, inside) == 0) {
        raise(SIGKILL);
    }
}

/* Called with the lock held, after the call succeeded. */
static void record_add(const char *kind, const char *inside, const char *second, uint64_t offset,
                       const struct iovec data[], int data_count, size_t data_size)
{
    char line[128];
    size_t size = strlen(inside);
    size_t second_size = second ? strlen(second) : 0;
    int line_size = snprintf(line, sizeof line, "%s %llu %zu %zu %zu\n", kind,
                             (unsigned long long)offset, size, second_size, data_size);
    struct iovec parts[3] = {
        {line, (size_t)line_size}, {(void *)(uintptr_t)inside, size}, {NULL, second_size}};
    parts[2].iov_base = (void *)(uintptr_t)second;
    size_t total = (size_t)line_size + size + second_size;
    if (syscall(SYS_writev, log_fd, parts, 3) != (long)total) {
        die("cannot write the log");
    }
    for (int i = 0; i < data_count && data_size > 0; i++) {
        size_t take = data[i].iov_len < data_size ? data[i].iov_len : data_size;
        const char *at = data[i].iov_base;
        data_size -= take;
        while (take > 0) {
            long wrote = syscall(SYS_write, log_fd, at, take);
            if (wrote <= 0) {
                die("cannot write the log");
            }
            at += wrote;
            take -= (size_t)wrote;
        }
    }
}

/* Ends a call: the record of a success, the lock, and errno as the call left it. */
static void record_end(const char *kind, const place *at, const place *second, bool done,
                       uint64_t offset)
{
    int saved = errno;
    if (at->inside && done) {
        record_add(kind, at->inside, second ? second->inside : NULL, offset, NULL, 0, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
}

/* ---- Opening ---- */

/* Whether open with these flags has a mode. */
static bool opens_new(int flags)
{
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

static int record_open(int dir, const char *name, int flags, mode_t mode)
{
    if (!root_size || !(opens_new(flags) || flags & O_TRUNC)) {
        return (int)syscall(SYS_openat, dir, name, flags, mode);
    }
    pthread_mutex_lock(&lock);
    place before;
    place_of_name(dir, name, &before);
    if (before.inside && (flags & O_TMPFILE) == O_TMPFILE) {
        die("a file without a name is not understood");
    }
    bool existed = faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (before.inside && (!existed || flags & O_TRUNC)) {
        record_count(existed ? "truncate" : "create", before.inside);
    }
    int fd = (int)syscall(SYS_openat, dir, name, flags, mode);
    int saved = errno;
    place at = {.inside = NULL};
    if (fd >= 0) {
        place_of_fd(fd, &at);
    }
    if (at.inside && !existed) {
        record_add("create", at.inside, NULL, 0, NULL, 0, 0);
    } else if (at.inside && (flags & O_TRUNC)) {
        record_add("truncate", at.inside, NULL, 0, NULL, 0, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

/* The mode, which is there only where a file may be made. */
#define RECORD_MODE(mode, last, flags)                                                             \
    do {                                                                                           \
        if (opens_new(flags)) {                                                                    \
            va_list more;                                                                          \
            va_start(more, last);                                                                  \
            (mode) = va_arg(more, mode_t);                                                         \
            va_end(more);                                                                          \
        }                                                                                          \
    } while (0)

int open(const char *name, int flags, ...)
{
    mode_t mode = 0;
    RECORD_MODE(mode, flags, flags);
    return record_open(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
    mode_t mode = 0;
    RECORD_MODE(mode, flags, flags);
    return record_open(AT_FDCWD, name, flags, mode);
}

int openat(int dir, const char *name, int flags, ...)
{
    mode_t mode = 0;
    RECORD_MODE(mode, flags, flags);
    return record_open(dir, name, flags, mode);
}

int openat64(int dir, const char *name, int flags, ...)
{
    mode_t mode = 0;
    RECORD_MODE(mode, flags, flags);
    return record_open(dir, name, flags, mode);
}

int creat(const char *name, mode_t mode)
{
    return record_open(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *name, mode_t mode)
{
    return record_open(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* ---- Writing ---- */

/* One write, at `offset` or, where that is negative, at the file's own position. */
static ssize_t record_writev(int fd, const struct iovec parts[], int count, off_t offset)
{
    pthread_mutex_lock(&lock);
    place at;
    place_of_fd(fd, &at);
    bool to_stdout = root_size && fd == STDOUT_FILENO;
    if (to_stdout) {
        at.inside = "";
    }
    if (!at.inside) {
        pthread_mutex_unlock(&lock);
    } else {
        record_count(to_stdout ? "stdout" : "write", at.inside);
    }
    ssize_t done = offset < 0 ? syscall(SYS_writev, fd, parts, count)
                              : syscall(SYS_pwritev, fd, parts, count, offset, 0);
    if (!at.inside) {
        return done;
    }
    int saved = errno;
    if (done > 0) {
        off_t where = offset < 0 && !to_stdout ? lseek(fd, 0, SEEK_CUR) - done : offset;
        record_add(to_stdout ? "stdout" : "write", at.inside, NULL, to_stdout ? 0 : (uint64_t)where,
                   parts, count, (size_t)done);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return record_writev(fd, &part, 1, -1);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return record_writev(fd, &part, 1, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return record_writev(fd, &part, 1, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return record_writev(fd, parts, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return record_writev(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return record_writev(fd, parts, count, offset);
}

/* ---- Other changes of a file ---- */

static int record_resize(int fd, const char *kind, long number, long mode, off_t offset, off_t size)
{
    pthread_mutex_lock(&lock);
    place at;
    place_of_fd(fd, &at);
    if (at.inside) {
        record_count(kind, at.inside);
    }
    long done = number == SYS_ftruncate ? syscall(SYS_ftruncate, fd, size)
                                        : syscall(SYS_fallocate, fd, mode, offset, size);
    record_end(kind, &at, NULL, done == 0, (uint64_t)(offset + size));
    return (int)done;
}

int ftruncate(int fd, off_t size)
{
    return record_resize(fd, "truncate", SYS_ftruncate, 0, 0, size);
}

int ftruncate64(int fd, off64_t size)
{
    return record_resize(fd, "truncate", SYS_ftruncate, 0, 0, size);
}

/* Room set aside behind the end changes nothing that a reader sees. */
int fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (mode == FALLOC_FL_KEEP_SIZE) {
        return (int)syscall(SYS_fallocate, fd, mode, offset, size);
    }
    place at;
    place_of_fd(fd, &at);
    if (at.inside && mode != 0) {
        die("this way of fallocate is not understood");
    }
    return record_resize(fd, "extend", SYS_fallocate, mode, offset, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    return fallocate(fd, mode, offset, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    int saved = errno;
    int failed = fallocate(fd, 0, offset, size) ? errno : 0;
    errno = saved;
    return failed;
}

ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t size,
                        unsigned flags)
{
    place at;
    place_of_fd(to, &at);
    if (at.inside) {
        die("copy_file_range is not understood");
    }
    return syscall(SYS_copy_file_range, from, from_offset, to, to_offset, size, flags);
}

static void *record_mmap(void *address, size_t size, int protection, int flags, int fd,
                         off_t offset)
{
    if (fd >= 0 && (protection & PROT_WRITE) && !(flags & MAP_PRIVATE)) {
        place at;
        place_of_fd(fd, &at);
        if (at.inside) {
            die("a writable shared mapping is not understood");
        }
    }
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return record_mmap(address, size, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset)
{
    return record_mmap(address, size, protection, flags, fd, offset);
}

/* ---- Syncing ---- */

/* sync_file_range is left to libc: it starts writing, and promises nothing. */

static int record_sync(int fd, long number)
{
    pthread_mutex_lock(&lock);
    place at;
    place_of_fd(fd, &at);
    struct stat st;
    const char *kind = "sync";
    if (number == SYS_syncfs) {
        kind = "syncall";
    } else if (at.inside && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        kind = "syncdir";
    }
    if (at.inside) {
        record_count(kind, at.inside);
    }
    long done = syscall(number, fd);
    record_end(kind, &at, NULL, done == 0, 0);
    return (int)done;
}

int fsync(int fd)
{
    return record_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return record_sync(fd, SYS_fdatasync);
}

int syncfs(int fd)
{
    return record_sync(fd, SYS_syncfs);
}

void sync(void)
{
    pthread_mutex_lock(&lock);
    place at = {.inside = root_size ? "" : NULL};
    syscall(SYS_sync);
    record_end("syncall", &at, NULL, true, 0);
}

/* ---- Names ---- */

static int record_rename(int old_dir, const char *old_name, int new_dir, const char *new_name,
                         unsigned flags)
{
    pthread_mutex_lock(&lock);
    place from;
    place to;
    place_of_name(old_dir, old_name, &from);
    place_of_name(new_dir, new_name, &to);
    if (!from.inside != !to.inside) {
        die("a rename into the recorded directory, or out of it, is not understood");
    }
    if (from.inside && (flags & RENAME_EXCHANGE)) {
        die("an exchanging rename is not understood");
    }
    if (to.inside) {
        record_count("rename", to.inside);
    }
    long done = syscall(SYS_renameat2, old_dir, old_name, new_dir, new_name, flags);
    record_end("rename", &from, &to, done == 0, 0);
    return (int)done;
}

int rename(const char *old_name, const char *new_name)
{
    return record_rename(AT_FDCWD, old_name, AT_FDCWD, new_name, 0);
}

int renameat(int old_dir, const char *old_name, int new_dir, const char *new_name)
{
    return record_rename(old_dir, old_name, new_dir, new_name, 0);
}

int renameat2(int old_dir, const char *old_name, int new_dir, const char *new_name, unsigned flags)
{
    return record_rename(old_dir, old_name, new_dir, new_name, flags);
}

int linkat(int old_dir, const char *old_name, int new_dir, const char *new_name, int flags)
{
    pthread_mutex_lock(&lock);
    place from;
    place to;
    place_of_name(old_dir, old_name, &from);
    place_of_name(new_dir, new_name, &to);
    if (!from.inside != !to.inside) {
        die("a link into the recorded directory, or out of it, is not understood");
    }
    if (to.inside) {
        record_count("link", to.inside);
    }
    long done = syscall(SYS_linkat, old_dir, old_name, new_dir, new_name, flags);
    record_end("link", &from, &to, done == 0, 0);
    return (int)done;
}

int link(const char *old_name, const char *new_name)
{
    return linkat(AT_FDCWD, old_name, AT_FDCWD, new_name, 0);
}

int unlinkat(int dir, const char *name, int flags)
{
    pthread_mutex_lock(&lock);
    place at;
    place_of_name(dir, name, &at);
    if (at.inside) {
        record_count("unlink", at.inside);
    }
    long done = syscall(SYS_unlinkat, dir, name, flags);
    record_end("unlink", &at, NULL, done == 0, 0);
    return (int)done;
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

int rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

int remove(const char *name)
{
    int done = unlinkat(AT_FDCWD, name, 0);
    return done && errno == EISDIR ? unlinkat(AT_FDCWD, name, AT_REMOVEDIR) : done;
}

int mkdirat(int dir, const char *name, mode_t mode)
{
    pthread_mutex_lock(&lock);
    place at;
    place_of_name(dir, name, &at);
    if (at.inside) {
        record_count("mkdir", at.inside);
    }
    long done = syscall(SYS_mkdirat, dir, name, mode);
    record_end("mkdir", &at, NULL, done == 0, 0);
    return (int)done;
}

int mkdir(const char *name, mode_t mode)
{
    return mkdirat(AT_FDCWD, name, mode);
}

int symlinkat(const char *target, int dir, const char *name)
{
    place at;
    place_of_name(dir, name, &at);
    if (at.inside) {
        die("a symbolic link is not understood");
    }
    return (int)syscall(SYS_symlinkat, target, dir, name);
}

int symlink(const char *target, const char *name)
{
    return symlinkat(target, AT_FDCWD, name);
}

int truncate(const char *name, off_t size)
{
    int fd = record_open(AT_FDCWD, name, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int done = ftruncate(fd, size);
    int saved = errno;
    close(fd);
    errno = saved;
    return done;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
#pragma GCC visibility pop
