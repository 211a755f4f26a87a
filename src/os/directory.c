/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories: opening by path, making them durably, reading their entries. A directory is only
 * used once its own entry is durable in its parent, so nothing below it can be lost with it.
 */
#include "os/file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

grv_status grv_directory_sync(int fd, const char *name, grv_error *error)
{
    if (grv_file_calls()->fsync(fd)) {
        return grv_error_set_errno(error, errno, "os", "cannot sync directory %s", name);
    }
    return GRV_OK;
}

/* Makes the entries of `parent` durable, which may be open as a mere path. */
static grv_status parent_sync(int parent, const char *name, grv_error *error)
{
    int fd;
    grv_status status = grv_file_open(parent, ".", O_RDONLY | O_DIRECTORY, 0, &fd, error);
    if (status) {
        grv_error_prefix(error, "parent of new directory %s", name);
        return status;
    }
    status = grv_directory_sync(fd, name, error);
    grv_status closed = grv_file_close(fd, name, status ? NULL : error);
    return status ? status : closed;
}

/* Makes directory `name` in `parent`, durably; one that came to be meanwhile is as good. */
static grv_status directory_make(int parent, const char *name, grv_error *error)
{
    if (grv_file_calls()->mkdirat(parent, name, 0777) && errno != EEXIST) {
        return grv_error_set_errno(error, errno, "os", "cannot make directory %s", name);
    }
    return parent_sync(parent, name, error);
}

/*
 * Makes the entry of a directory found in `parent` durable: who made it may have been killed
 * before that. A mount point has no such entry; and a parent that may not be read, or is on a file
 * system that cannot sync it, is none in which this program made anything.
 */
static grv_status directory_keep(int parent, int child, const char *name, grv_error *error)
{
    struct stat above;
    struct stat below;
    if (grv_file_calls()->fstat(parent, &above) || grv_file_calls()->fstat(child, &below)) {
        return grv_error_set_errno(error, errno, "os", "cannot look at directory %s", name);
    }
    if (above.st_dev != below.st_dev) {
        return GRV_OK;
    }
    grv_error failure = GRV_ERROR_INIT;
    grv_status status = parent_sync(parent, name, &failure);
    if (status == GRV_PERMISSION || (status && failure.native_code == EINVAL)) {
        return GRV_OK;
    }
    if (status && error) {
        *error = failure;
    }
    return status;
}

/* Steps into `name`, made if need be: *fd is replaced, and closed either way. */
static grv_status directory_step(int *fd, const char *name, bool create, grv_error *error)
{
    int next = -1;
    grv_status status = grv_file_open(*fd, name, O_PATH | O_DIRECTORY, 0, &next, error);
    if (status == GRV_NOT_FOUND && create) {
        status = directory_make(*fd, name, error);
        if (!status) {
            status = grv_file_open(*fd, name, O_PATH | O_DIRECTORY, 0, &next, error);
        }
    } else if (!status && create) {
        status = directory_keep(*fd, next, name, error);
    }
    grv_status closed = grv_file_close(*fd, name, status ? NULL : error);
    *fd = next;
    return status ? status : closed;
}

static grv_status directory_walk(int *fd, const char *path, bool create, grv_error *error)
{
    const char *at = path;
    while (*at) {
        size_t length = strcspn(at, "/");
        if (length > 0) {
            char name[NAME_MAX + 1];
            if (length > NAME_MAX) {
                return grv_error_set_errno(error, ENAMETOOLONG, "os", "%.64s", at);
            }
            memcpy(name, at, length);
            name[length] = '\0';
            grv_status status = directory_step(fd, name, create, error);
            if (status) {
                return status;
            }
        }
        at += length;
        at += strspn(at, "/");
    }
    return GRV_OK;
}

grv_status grv_directory_open(int base, const char *path, bool create, int *ret_fd,
                              grv_error *error)
{
    int at = -1;
    grv_status status =
        grv_file_open(base, path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY, 0, &at, error);
    if (!status) {
        status = directory_walk(&at, path, create, error);
    }
    int fd = -1;
    if (!status) {
        status = grv_file_open(at, ".", O_RDONLY | O_DIRECTORY, 0, &fd, error);
    }
    if (at >= 0) {
        grv_status closed = grv_file_close(at, path, status ? NULL : error);
        status = status ? status : closed;
    }
    if (status) {
        if (fd >= 0) {
            (void)grv_file_close(fd, path, NULL);
        }
        grv_error_prefix(error, "directory %s", path);
        return status;
    }
    *ret_fd = fd;
    return GRV_OK;
}

grv_status grv_directory_entries(int fd, const char *name, DIR **ret_entries, grv_error *error)
{
    int own; /* a description of its own, so that readers do not share a position */
    grv_status status = grv_file_open(fd, ".", O_RDONLY | O_DIRECTORY, 0, &own, error);
    if (status) {
        grv_error_prefix(error, "directory %s", name);
        return status;
    }
    DIR *entries = grv_file_calls()->fdopendir(own);
    if (!entries) {
        status = grv_error_set_errno(error, errno, "os", "cannot read directory %s", name);
        (void)grv_file_close(own, name, NULL);
        return status;
    }
    *ret_entries = entries;
    return GRV_OK;
}

grv_status grv_directory_next(DIR *entries, const char *name, const char **ret_name,
                              grv_error *error)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = grv_file_calls()->readdir(entries);
        if (!entry && errno) {
            return grv_error_set_errno(error, errno, "os", "cannot read directory %s", name);
        }
        if (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)) {
            continue;
        }
        *ret_name = entry ? entry->d_name : NULL;
        return GRV_OK;
    }
}

void grv_directory_close(DIR *entries)
{
    if (entries) {
        (void)grv_file_calls()->closedir(entries); /* opened to read: nothing can be lost */
    }
}
