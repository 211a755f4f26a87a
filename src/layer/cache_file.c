/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache's file: made once, under the lock file, with a temporary name first, and replaced only
 * by somebody who finds nobody using it. A user holds a shared lock on the file itself as long as
 * it has it open; so a file in use is never replaced, and the bound holds for all.
 */
#include "layer/cache_file.h"

#include "core/wire.h"
#include "layer/cache.h"
#include "os/clock.h"
#include "os/file.h"

#include <errno.h>
#include <graviton/call.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#define ORIGIN "cache"

/* How long opening waits for somebody who is making the file. */
#define OPEN_PATIENCE_NS UINT64_C(2000000000)
/* Bytes of the cache for each slot of the index. */
#define INDEX_UNIT 3072u
/* Between two tries for the lock. */
#define LOCK_PAUSE_NS UINT64_C(200000)

/* The header: magic, version, size, digest of all that. */
#define HEADER_VERSION 1u
#define HEADER_SUMMED  32u
#define HEADER_SIZE    (HEADER_SUMMED + GRV_DIGEST_SIZE)

static const char header_magic[17] = "graviton cache\r\n";

/* ---- Shape ---- */

static uint64_t round_up(uint64_t number, uint64_t unit)
{
    return (number + unit - 1) / unit * unit;
}

/*
 * Segments of a sixteenth of the cache up to 16 MiB, the largest block; larger ones only to keep
 * their number bounded. Slots of the index for blocks of 4 KiB and a third more, so that hardly a
 * bucket is full; with smaller blocks the index is what is full first.
 */
static grv_cache_shape shape_of(uint64_t size)
{
    grv_cache_shape shape = {.size = size};
    uint64_t segment = size / 16;
    segment = segment > GRV_BLOCK_SIZE_MAX ? GRV_BLOCK_SIZE_MAX : segment;
    if (size / segment >= GRV_CACHE_SEGMENTS_MAX) {
        segment = size / GRV_CACHE_SEGMENTS_MAX + GRV_CACHE_PAGE;
    }
    segment = segment / GRV_CACHE_PAGE * GRV_CACHE_PAGE;
    shape.segment_size = (uint32_t)segment;
    shape.buckets = size / INDEX_UNIT / GRV_CACHE_BUCKET_SLOTS + 1;
    shape.table_at = UINT64_C(2) * GRV_CACHE_PAGE;
    shape.index_at = shape.table_at + round_up(size / segment * 16, GRV_CACHE_PAGE);
    shape.data_at =
        shape.index_at + round_up(shape.buckets * GRV_CACHE_BUCKET_SIZE, GRV_CACHE_PAGE);
    shape.segments = (uint32_t)((size - shape.data_at) / segment);
    return shape;
}

bool grv_cache_place_fits(const grv_cache_shape *shape, const grv_cache_place *place, uint32_t size)
{
    return place->segment < shape->segments && place->offset <= shape->segment_size &&
           size <= shape->segment_size - place->offset;
}

uint64_t grv_cache_place_offset(const grv_cache_shape *shape, const grv_cache_place *place)
{
    return shape->data_at + (uint64_t)place->segment * shape->segment_size + place->offset;
}

/* ---- Reading and writing ---- */

grv_status grv_cache_file_read(const grv_cache_file *file, uint64_t offset, void *ret_data,
                               size_t size, grv_error *error)
{
    uint8_t *data = ret_data;
    size_t done = 0;
    while (done < size) {
        ssize_t got =
            grv_file_calls()->pread(file->fd, data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return grv_error_set_errno(error, errno, ORIGIN, "cannot read %s", GRV_CACHE_FILE);
        }
        if (got == 0) {
            memset(data + done, 0, size - done);
            break;
        }
        done += (size_t)got;
    }
    return GRV_OK;
}

grv_status grv_cache_file_write(const grv_cache_file *file, uint64_t offset, const void *data,
                                size_t size, grv_error *error)
{
    const uint8_t *bytes = data;
    size_t done = 0;
    while (done < size) {
        ssize_t put =
            grv_file_calls()->pwrite(file->fd, bytes + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return grv_error_set_errno(error, put < 0 ? errno : EIO, ORIGIN, "cannot write %s",
                                       GRV_CACHE_FILE);
        }
        done += (size_t)put;
    }
    return GRV_OK;
}

/* ---- Locks ---- */

/* Takes a lock on `fd` without waiting; *ret_taken tells whether. */
static grv_status lock_try(int fd, int kind, bool *ret_taken, grv_error *error)
{
    int failed;
    do {
        failed = grv_file_calls()->flock(fd, kind | LOCK_NB);
    } while (failed && errno == EINTR);
    *ret_taken = !failed;
    if (failed && errno != EWOULDBLOCK) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot lock %s", GRV_CACHE_LOCK);
    }
    return GRV_OK;
}

grv_status grv_cache_file_lock(const grv_cache_file *file, uint64_t patience_ns, grv_error *error)
{
    uint64_t end = 0;
    for (;;) {
        bool taken = false;
        grv_status status = lock_try(file->lock_fd, LOCK_EX, &taken, error);
        if (status || taken) {
            return status;
        }
        uint64_t now = grv_now_ns();
        end = end ? end : now + patience_ns;
        if (now >= end) {
            return grv_error_set(error, GRV_UNAVAILABLE, ORIGIN, "%s is held by somebody",
                                 GRV_CACHE_LOCK);
        }
        grv_clock_sleep(LOCK_PAUSE_NS);
    }
}

void grv_cache_file_unlock(const grv_cache_file *file)
{
    (void)grv_file_calls()->flock(file->lock_fd, LOCK_UN);
}

/* ---- The header ---- */

/* Writes the header of a cache of `size` bytes. */
static grv_status header_encode(uint64_t size, uint8_t ret_header[HEADER_SIZE], grv_error *error)
{
    grv_digest digest;
    memset(ret_header, 0, HEADER_SIZE);
    memcpy(ret_header, header_magic, 16);
    grv_wire_put_u32(ret_header + 16, HEADER_VERSION);
    grv_wire_put_u64(ret_header + 24, size);
    grv_status status =
        grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(ret_header, HEADER_SUMMED), &digest, error);
    if (!status) {
        memcpy(ret_header + HEADER_SUMMED, digest.bytes, GRV_DIGEST_SIZE);
    }
    return status;
}

/* The size that the header of an open file says; 0 where it is not one that this version wrote. */
static grv_status header_read(const grv_cache_file *file, uint64_t *ret_size, grv_error *error)
{
    uint8_t header[HEADER_SIZE];
    uint8_t wanted[HEADER_SIZE];
    *ret_size = 0;
    grv_status status = grv_cache_file_read(file, 0, header, sizeof header, error);
    if (status) {
        return status;
    }
    uint64_t size = grv_wire_get_u64(header + 24);
    status = header_encode(size, wanted, error);
    if (!status && memcmp(header, wanted, sizeof header) == 0 && size >= GRV_CACHE_SIZE_MIN &&
        size <= GRV_CACHE_SIZE_MAX) {
        *ret_size = size;
    }
    return status;
}

/* ---- Opening ---- */

/* Closes a descriptor that nothing was promised about. */
static void drop_fd(int *fd)
{
    if (*fd >= 0) {
        (void)grv_file_close(*fd, GRV_CACHE_FILE, NULL);
    }
    *fd = -1;
}

/* Refuses what is no regular file: nothing else is read, written or replaced. */
static grv_status check_regular(int fd, const char *name, grv_error *error)
{
    struct stat info;
    if (grv_file_calls()->fstat(fd, &info)) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot stat %s", name);
    }
    if (!S_ISREG(info.st_mode)) {
        return grv_error_set(error, GRV_CONFLICT, ORIGIN, "%s is not a regular file", name);
    }
    return GRV_OK;
}

static bool is_refused(grv_status status, const grv_error *error)
{
    return status == GRV_PERMISSION || (status && error->native_code == EROFS);
}

/* Opens a file for writing, or where that is refused for reading. */
static grv_status open_either(int dir, const char *name, int flags, int *ret_fd, bool *ret_writable,
                              grv_error *error)
{
    const int always = O_NOFOLLOW | O_NONBLOCK;
    grv_error cause = GRV_ERROR_INIT;
    *ret_writable = true;
    grv_status status = grv_file_open(dir, name, O_RDWR | always | flags, 0600, ret_fd, &cause);
    if (is_refused(status, &cause)) {
        *ret_writable = false;
        status = grv_file_open(dir, name, O_RDONLY | always, 0, ret_fd, &cause);
    }
    if (!status) {
        status = check_regular(*ret_fd, name, &cause);
        if (status) {
            drop_fd(ret_fd);
        }
    }
    if (status && error) {
        *error = cause;
    }
    return status;
}

/* Takes the size that the open file has, and makes the file that long: one that was cut short has
 * zeros behind its end, which hash to nothing. */
static grv_status adopt(grv_cache_file *file, uint64_t size, grv_error *error)
{
    struct stat info;
    file->shape = shape_of(size);
    if (!file->writable) {
        return GRV_OK;
    }
    if (grv_file_calls()->fstat(file->fd, &info)) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot stat %s", GRV_CACHE_FILE);
    }
    if ((uint64_t)info.st_size != size && grv_file_calls()->ftruncate(file->fd, (off_t)size)) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot set the size of %s",
                                   GRV_CACHE_FILE);
    }
    return GRV_OK;
}

/* Makes a new file and puts it in the place of any other. */
static grv_status make_file(int dir, grv_cache_file *file, uint64_t size, grv_error *error)
{
    uint8_t header[HEADER_SIZE];
    drop_fd(&file->fd);
    file->writable = true;
    grv_status status = header_encode(size, header, error);
    if (!status) {
        status = grv_file_open(dir, GRV_CACHE_TEMPORARY, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
                               0600, &file->fd, error);
    }
    if (!status) {
        status = adopt(file, size, error);
    }
    if (!status) {
        status = grv_cache_file_write(file, 0, header, sizeof header, error);
    }
    bool taken = true;
    if (!status) {
        status = lock_try(file->fd, LOCK_SH, &taken, error);
    }
    if (!status && grv_file_calls()->renameat(dir, GRV_CACHE_TEMPORARY, dir, GRV_CACHE_FILE)) {
        status =
            grv_error_set_errno(error, errno, ORIGIN, "cannot put %s in place", GRV_CACHE_FILE);
    }
    if (status) {
        (void)grv_file_calls()->unlinkat(dir, GRV_CACHE_TEMPORARY, 0);
    }
    return status;
}

/* Opens the file that is there, or makes one. The lock file is held, unless all is read-only. */
static grv_status find_file(int dir, grv_cache_file *file, uint64_t size, bool locked,
                            grv_error *error)
{
    grv_status status = open_either(dir, GRV_CACHE_FILE, 0, &file->fd, &file->writable, error);
    if (status == GRV_NOT_FOUND && locked) {
        return make_file(dir, file, size, error);
    }
    if (status == GRV_NOT_FOUND) {
        return grv_error_set(error, GRV_PERMISSION, ORIGIN,
                             "there is no %s, and none can be made: nothing can be written there",
                             GRV_CACHE_FILE);
    }
    uint64_t has = 0;
    if (!status) {
        status = header_read(file, &has, error);
    }
    bool alone = false;
    if (!status && has != size && locked && file->writable) {
        status = lock_try(file->fd, LOCK_EX, &alone, error);
    }
    if (!status && alone) {
        return make_file(dir, file, size, error);
    }
    if (!status && has == 0) {
        status = grv_error_set(error, GRV_CORRUPT, ORIGIN,
                               "%s is damaged, or another version's, and in use", GRV_CACHE_FILE);
    }
    bool taken = false;
    if (!status) {
        status = lock_try(file->fd, LOCK_SH, &taken, error);
    }
    if (!status && !taken) { /* without the lock file's protection: it is being replaced */
        status =
            grv_error_set(error, GRV_UNAVAILABLE, ORIGIN, "%s is being made anew", GRV_CACHE_FILE);
    }
    return status ? status : adopt(file, has, error);
}

static grv_status open_in(int dir, grv_cache_file *file, uint64_t size, grv_error *error)
{
    bool writable = false;
    grv_status status = open_either(dir, GRV_CACHE_LOCK, O_CREAT, &file->lock_fd, &writable, error);
    if (status) {
        return status == GRV_NOT_FOUND || status == GRV_PERMISSION
                   ? find_file(dir, file, size, false, error)
                   : status;
    }
    if (!writable) {
        status = find_file(dir, file, size, false, error);
    } else {
        status = grv_cache_file_lock(file, OPEN_PATIENCE_NS, error);
        if (!status) {
            if (grv_file_calls()->unlinkat(dir, GRV_CACHE_TEMPORARY, 0) && errno != ENOENT) {
                status = grv_error_set_errno(error, errno, ORIGIN, "cannot remove %s",
                                             GRV_CACHE_TEMPORARY);
            }
            if (!status) {
                status = find_file(dir, file, size, true, error);
            }
            grv_cache_file_unlock(file);
        }
    }
    file->writable = file->writable && writable;
    return status;
}

grv_status grv_cache_file_init(grv_cache_file *file, const char *directory, uint64_t size,
                               grv_error *error)
{
    int dir = -1;
    *file = (grv_cache_file){.fd = -1, .lock_fd = -1};
    int failed = pthread_mutex_init(&file->lock, NULL);
    if (failed) {
        return grv_error_set_errno(error, failed, ORIGIN, "no mutex");
    }
    grv_status status = grv_directory_open(AT_FDCWD, directory, false, &dir, error);
    if (status == GRV_NOT_FOUND) {
        status = grv_directory_open(AT_FDCWD, directory, true, &dir, error);
    }
    if (!status) {
        status = open_in(dir, file, size, error);
    }
    drop_fd(&dir);
    if (!status) {
        file->table = malloc((size_t)file->shape.segments * 16);
        if (!file->table) {
            status = grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a cache");
        }
    }
    if (status) {
        drop_fd(&file->fd);
        drop_fd(&file->lock_fd);
        grv_error_prefix(error, "in %s", directory);
    }
    return status;
}

void grv_cache_file_done(grv_cache_file *file)
{
    drop_fd(&file->fd);
    drop_fd(&file->lock_fd);
    free(file->table);
    file->table = NULL;
    pthread_mutex_destroy(&file->lock);
}
