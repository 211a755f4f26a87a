/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of file calls, and the helpers over one file. They guard two rules: a sync is tried
 * once and its failure is final, and close is never tried again (Linux frees the descriptor even
 * where it says EINTR, and another thread may have it by then).
 */
#include "os/file.h"

#include "os/random.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static int system_openat(int dir, const char *path, int flags, mode_t mode)
{
    return openat(dir, path, flags, mode);
}

static int system_start_writeback(int fd)
{
    return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

const grv_file_ops grv_file_ops_system = {
    .openat = system_openat,
    .close = close,
    .read = read,
    .pread = pread,
    .write = write,
    .pwrite = pwrite,
    .start_writeback = system_start_writeback,
    .futimens = futimens,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .syncfs = syncfs,
    .renameat = renameat,
    .linkat = linkat,
    .unlinkat = unlinkat,
    .mkdirat = mkdirat,
    .fstatat = fstatat,
    .fstat = fstat,
    .flock = flock,
    .fallocate = fallocate,
    .ftruncate = ftruncate,
    .fstatvfs = fstatvfs,
    .fdopendir = fdopendir,
    .readdir = readdir,
    .closedir = closedir,
};

static const grv_file_ops *file_calls = &grv_file_ops_system;

const grv_file_ops *grv_file_calls(void)
{
    return __atomic_load_n(&file_calls, __ATOMIC_ACQUIRE);
}

const grv_file_ops *grv_file_calls_set(const grv_file_ops *ops)
{
    return __atomic_exchange_n(&file_calls, ops ? ops : &grv_file_ops_system, __ATOMIC_ACQ_REL);
}

grv_status grv_file_open(int dir, const char *path, int flags, mode_t mode, int *ret_fd,
                         grv_error *error)
{
    int fd;
    do {
        fd = grv_file_calls()->openat(dir, path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        /* Something else in a directory's place must not read as "nothing there". */
        if (errno == ENOTDIR) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "os", "%s: not a directory", path);
        }
        return grv_error_set_errno(error, errno, "os", "cannot open %s", path);
    }
    *ret_fd = fd;
    return GRV_OK;
}

grv_status grv_file_close(int fd, const char *name, grv_error *error)
{
    if (grv_file_calls()->close(fd) && errno != EINTR) {
        return grv_error_set_errno(error, errno, "os", "cannot close %s", name);
    }
    return GRV_OK;
}

grv_status grv_file_write_all(int fd, grv_bytes bytes, const char *name, grv_error *error)
{
    size_t done = 0;
    while (done < bytes.size) {
        ssize_t wrote = grv_file_calls()->write(fd, bytes.data + done, bytes.size - done);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0) {
            return grv_error_set_errno(error, errno, "os", "cannot write %s", name);
        }
        if (wrote == 0) {
            return grv_error_set_errno(error, EIO, "os", "a write to %s took no bytes", name);
        }
        done += (size_t)wrote;
    }
    return GRV_OK;
}

grv_status grv_file_read_all(int fd, grv_span span, size_t *ret_size, const char *name,
                             grv_error *error)
{
    size_t done = 0;
    while (done < span.size) {
        ssize_t got = grv_file_calls()->pread(fd, span.data + done, span.size - done, (off_t)done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return grv_error_set_errno(error, errno, "os", "cannot read %s", name);
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *ret_size = done;
    return GRV_OK;
}

grv_status grv_file_sync(int fd, const char *name, grv_error *error)
{
    if (grv_file_calls()->fdatasync(fd)) {
        return grv_error_set_errno(error, errno, "os", "cannot sync %s", name);
    }
    return GRV_OK;
}

/* Appends what an open file holds, which must be at most `max` bytes: one more is read to see. */
static grv_status read_bounded(int fd, const char *name, size_t max, grv_buffer *out,
                               grv_error *error)
{
    size_t room = out->max - out->size;
    room = room < max ? room : max;
    grv_status status = grv_buffer_reserve(out, room, error);
    if (status) {
        return status;
    }
    size_t got = 0;
    status = grv_file_read_all(fd, (grv_span){out->data + out->size, room}, &got, name, error);
    if (status) {
        return status;
    }
    uint8_t more;
    ssize_t past;
    do {
        past = grv_file_calls()->pread(fd, &more, 1, (off_t)got);
    } while (past < 0 && errno == EINTR);
    if (past < 0) {
        return grv_error_set_errno(error, errno, "os", "cannot read %s", name);
    }
    if (past > 0) {
        return grv_error_set(error, GRV_CORRUPT, "os", "%s has more than %zu bytes", name, room);
    }
    out->size += got;
    return GRV_OK;
}

grv_status grv_file_read_small(int dir, const char *name, size_t max, grv_buffer *out,
                               grv_error *error)
{
    int fd;
    grv_status status = grv_file_open(dir, name, O_RDONLY, 0, &fd, error);
    if (status) {
        return status;
    }
    size_t before = out->size;
    status = read_bounded(fd, name, max, out, error);
    grv_status closed = grv_file_close(fd, name, status ? NULL : error);
    if (!status && closed) {
        out->size = before;
        status = closed;
    }
    return status;
}

/* Writes and syncs a new file `temp`, which is removed again where that fails. */
static grv_status write_temp(int dir, const char *temp, grv_bytes bytes, grv_error *error)
{
    int fd;
    grv_status status = grv_file_open(dir, temp, O_WRONLY | O_CREAT | O_EXCL, 0666, &fd, error);
    if (status) {
        return status;
    }
    status = grv_file_write_all(fd, bytes, temp, error);
    if (!status) {
        status = grv_file_sync(fd, temp, error);
    }
    grv_status closed = grv_file_close(fd, temp, status ? NULL : error);
    status = status ? status : closed;
    if (status) {
        (void)grv_file_calls()->unlinkat(dir, temp, 0); /* the failure to tell is the first */
    }
    return status;
}

/* Gives the synced file `temp` its name. link refuses where the name is taken, atomically. */
static grv_status place_temp(int dir, const char *temp, const char *name, bool exclusive,
                             grv_error *error)
{
    const grv_file_ops *calls = grv_file_calls();
    grv_status status = GRV_OK;
    if (!exclusive) {
        if (calls->renameat(dir, temp, dir, name) == 0) {
            return GRV_OK;
        }
        status = grv_error_set_errno(error, errno, "os", "cannot rename %s to %s", temp, name);
    } else if (calls->linkat(dir, temp, dir, name, 0)) {
        status = grv_error_set_errno(error, errno, "os", "cannot link %s as %s", temp, name);
    }
    if (calls->unlinkat(dir, temp, 0) && !status) {
        status = grv_error_set_errno(error, errno, "os", "cannot remove %s", temp);
    }
    return status;
}

grv_status grv_file_write_small(int dir, const char *name, grv_bytes bytes, bool exclusive,
                                grv_error *error)
{
    uint64_t random;
    grv_status status = grv_random_fill(&random, sizeof random, error);
    if (status) {
        return status;
    }
    char temp[256];
    int length = snprintf(temp, sizeof temp, ".%s.%016llx.tmp", name, (unsigned long long)random);
    if (length < 0 || (size_t)length >= sizeof temp) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "os", "file name too long: %s", name);
    }
    status = write_temp(dir, temp, bytes, error);
    if (!status) {
        status = place_temp(dir, temp, name, exclusive, error);
    }
    if (!status) {
        status = grv_directory_sync(dir, name, error);
    }
    return status;
}
