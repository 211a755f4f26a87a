/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding an object's file. Directories are entered one by one, so that no link is followed on the
 * way; one that is made, or was made by somebody who may have died since, is made durable in its
 * parent before anything is put below it.
 */
#include "backend/fs/objects.h"
#include "os/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ORIGIN GRV_FS_OBJECTS_ORIGIN

/* As openat, tried again when interrupted. */
static int open_quietly(int parent, const char *name, int flags)
{
    int fd;
    do {
        fd = grv_file_calls()->openat(parent, name, flags | O_CLOEXEC | O_NOFOLLOW, 0);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* O_NOFOLLOW says ELOOP of a link, and with O_DIRECTORY ENOTDIR. */
static bool is_something_else(int errno_value)
{
    return errno_value == ENOTDIR || errno_value == ELOOP;
}

grv_status grv_fs_objects_open_directory(int parent, const char *name, int *ret_fd,
                                         grv_error *error)
{
    int fd = open_quietly(parent, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno != ENOENT && !is_something_else(errno)) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot open directory %s", name);
    }
    *ret_fd = fd < 0 ? -1 : fd;
    return GRV_OK;
}

/* ---- durable directories ---- */

static grv_fs_settled *settled_slot(grv_fs_objects *store, const struct stat *st)
{
    return &store->settled[(st->st_ino ^ st->st_dev) % GRV_FS_SETTLED];
}

/* Makes the entry of the directory open at `fd` durable in `parent`, unless that is known. */
static grv_status settle(grv_fs_objects *store, int parent, int fd, const char *name,
                         grv_error *error)
{
    struct stat st;
    if (grv_file_calls()->fstat(fd, &st)) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot look at directory %s", name);
    }
    grv_fs_settled *slot = settled_slot(store, &st);
    pthread_mutex_lock(&store->lock);
    bool known = slot->inode == st.st_ino && slot->device == st.st_dev;
    pthread_mutex_unlock(&store->lock);
    if (known) {
        return GRV_OK;
    }
    grv_status status = grv_directory_sync(parent, name, error);
    if (status) {
        __atomic_store_n(&store->sync_failed, 1, __ATOMIC_RELEASE);
        return status;
    }
    pthread_mutex_lock(&store->lock);
    *slot = (grv_fs_settled){.device = st.st_dev, .inode = st.st_ino};
    pthread_mutex_unlock(&store->lock);
    return GRV_OK;
}

/* Opens directory `name` in `parent`, made if need be, and durable. */
static grv_status step_create(grv_fs_objects *store, int parent, const char *name, int *ret_fd,
                              grv_error *error)
{
    int fd = open_quietly(parent, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == ENOENT) {
        if (grv_file_calls()->mkdirat(parent, name, 0777) && errno != EEXIST) {
            return grv_error_set_errno(error, errno, ORIGIN, "cannot make directory %s", name);
        }
        fd = open_quietly(parent, name, O_RDONLY | O_DIRECTORY);
    }
    if (fd < 0 && is_something_else(errno)) {
        return grv_error_set(error, GRV_CONFLICT, ORIGIN,
                             "something that is no directory has the name %s", name);
    }
    if (fd < 0) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot open directory %s", name);
    }
    grv_status status = settle(store, parent, fd, name, error);
    if (status) {
        (void)grv_file_close(fd, name, NULL); /* it was open to read */
        return status;
    }
    *ret_fd = fd;
    return GRV_OK;
}

/* ---- places ---- */

void grv_fs_place_close(grv_fs_place *place)
{
    if (place->fd >= 0 && place->fd != place->root) {
        (void)grv_file_close(place->fd, place->name, NULL); /* it was open to read */
    }
    place->fd = -1;
}

grv_status grv_fs_place_open(grv_fs_objects *store, const grv_fs_objects_bucket *bucket,
                             const char *path, bool create, grv_fs_place *ret_place,
                             grv_error *error)
{
    grv_fs_place place = {.fd = bucket->fd, .root = bucket->fd};
    size_t at = 0;
    for (;;) {
        grv_fs_piece piece = grv_fs_piece_next(path, &at);
        grv_fs_piece_print(&piece, place.name);
        if (piece.kind == GRV_FS_PIECE_FILE || place.fd < 0) {
            break;
        }
        int next = -1;
        grv_status status = create
                                ? step_create(store, place.fd, place.name, &next, error)
                                : grv_fs_objects_open_directory(place.fd, place.name, &next, error);
        grv_fs_place_close(&place);
        if (status) {
            return status;
        }
        place.fd = next;
    }
    *ret_place = place;
    return GRV_OK;
}

grv_status grv_fs_place_sync(grv_fs_objects *store, const grv_fs_place *place, grv_error *error)
{
    grv_status status = grv_directory_sync(place->fd, "of an object", error);
    if (status) {
        __atomic_store_n(&store->sync_failed, 1, __ATOMIC_RELEASE);
    }
    return status;
}

grv_object_info grv_fs_object_info(const struct stat *st)
{
    grv_object_info info = {
        .size_bytes = (uint64_t)st->st_size,
        .modified_ns = st->st_mtim.tv_sec < 0
                           ? 0
                           : (uint64_t)st->st_mtim.tv_sec * UINT64_C(1000000000) +
                                 (uint64_t)st->st_mtim.tv_nsec,
    };
    snprintf(info.tag, sizeof info.tag, "%" PRIx64 "-%" PRIx64 "-%" PRIx64, (uint64_t)st->st_ino,
             info.modified_ns, info.size_bytes);
    return info;
}

grv_status grv_fs_place_look(const grv_fs_place *place, grv_object_info *ret_info, bool *ret_there,
                             grv_error *error)
{
    struct stat st;
    if (place->fd < 0) {
        *ret_there = false;
        return GRV_OK;
    }
    if (grv_file_calls()->fstatat(place->fd, place->name, &st, AT_SYMLINK_NOFOLLOW)) {
        if (errno != ENOENT) {
            return grv_error_set_errno(error, errno, ORIGIN, "cannot look at %s", place->name);
        }
        *ret_there = false;
        return GRV_OK;
    }
    *ret_there = S_ISREG(st.st_mode);
    if (*ret_there) {
        *ret_info = grv_fs_object_info(&st);
    }
    return GRV_OK;
}

/* ---- reading ---- */

grv_status grv_fs_object_absent(const grv_locator *locator, grv_error *error)
{
    return grv_error_set(error, GRV_NOT_FOUND, ORIGIN, "no object %s://%s/%.200s", locator->scheme,
                         locator->bucket, locator->path);
}

/* Opens the file of a place; *ret_fd is -1 where no regular file is there. */
static grv_status file_open(const grv_fs_place *place, int *ret_fd, struct stat *ret_st,
                            grv_error *error)
{
    *ret_fd = -1;
    if (place->fd < 0) {
        return GRV_OK;
    }
    /* Opening a pipe or device to read could wait or do something; this does neither. */
    int fd = open_quietly(place->fd, place->name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENXIO || is_something_else(errno)) {
            return GRV_OK;
        }
        return grv_error_set_errno(error, errno, ORIGIN, "cannot open %s", place->name);
    }
    grv_status status = GRV_OK;
    if (grv_file_calls()->fstat(fd, ret_st)) {
        status = grv_error_set_errno(error, errno, ORIGIN, "cannot look at %s", place->name);
    }
    if (status || !S_ISREG(ret_st->st_mode)) {
        (void)grv_file_close(fd, place->name, NULL); /* it was open to read */
        return status;
    }
    *ret_fd = fd;
    return GRV_OK;
}

grv_status grv_fs_object_open(grv_fs_objects *store, const grv_locator *locator, int *ret_fd,
                              grv_object_info *ret_info, grv_error *error)
{
    grv_fs_objects_bucket *bucket;
    grv_fs_place place;
    grv_status status = grv_fs_objects_find(store, locator->bucket, &bucket, error);
    if (!status) {
        status = grv_fs_place_open(store, bucket, locator->path, false, &place, error);
    }
    if (status) {
        return status;
    }
    int fd = -1;
    struct stat st;
    status = file_open(&place, &fd, &st, error);
    grv_fs_place_close(&place);
    if (status) {
        return status;
    }
    if (fd < 0) {
        return grv_fs_object_absent(locator, error);
    }
    *ret_fd = fd;
    *ret_info = grv_fs_object_info(&st);
    return GRV_OK;
}

grv_status grv_fs_object_read(int fd, grv_span span, uint64_t offset, size_t *ret_size,
                              grv_error *error)
{
    ssize_t got;
    do {
        got = grv_file_calls()->pread(fd, span.data, span.size, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot read an object's file");
    }
    *ret_size = (size_t)got;
    return GRV_OK;
}
