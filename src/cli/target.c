/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: the temporary file, its rename, and what is written directly. */
#include "cli/target.h"

#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define TARGET_ORIGIN "get"
#define NAME_ATTEMPTS 16

/* Opens a fresh file beside `path`, whose name is random: other gets may run at once. */
static grv_status temporary_open(cli_target *target, grv_error *error)
{
    const char *slash = strrchr(target->path, '/');
    int directory = slash ? (int)(slash - target->path) + 1 : 0;
    for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
            return grv_error_set_errno(error, errno, TARGET_ORIGIN, "no random bytes");
        }
        char *name;
        if (asprintf(&name, "%.*s.graviton-%016" PRIx64 ".tmp", directory, target->path, random) <
            0) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, TARGET_ORIGIN,
                                 "no memory for a file's name");
        }
        target->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
        if (target->fd >= 0) {
            target->temporary = name;
            return GRV_OK;
        }
        free(name);
        if (errno != EEXIST) {
            break;
        }
    }
    return grv_error_set_errno(error, errno, TARGET_ORIGIN, "cannot create a file beside %s",
                               target->name);
}

static grv_status direct_open(cli_target *target, grv_error *error)
{
    target->fd = open(target->name, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (target->fd < 0) {
        return grv_error_set_errno(error, errno, TARGET_ORIGIN, "cannot open %s", target->name);
    }
    return GRV_OK;
}

/* The path of the file itself: a rename over a link would replace the link. */
static grv_status path_resolve(cli_target *target, bool exists, grv_error *error)
{
    struct stat link;
    if (lstat(target->name, &link) == 0 && S_ISLNK(link.st_mode)) {
        if (!exists) {
            return grv_error_set(error, GRV_NOT_FOUND, TARGET_ORIGIN, "%s is a dangling link",
                                 target->name);
        }
        target->path = realpath(target->name, NULL);
        if (!target->path) {
            return grv_error_set_errno(error, errno, TARGET_ORIGIN, "cannot follow the link %s",
                                       target->name);
        }
        return GRV_OK;
    }
    target->path = strdup(target->name);
    if (!target->path) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, TARGET_ORIGIN,
                             "no memory for a file's name");
    }
    return GRV_OK;
}

grv_status cli_target_open(const char *path, cli_target *ret_target, grv_error *error)
{
    if (!path || strcmp(path, "-") == 0) {
        *ret_target = (cli_target){.fd = STDOUT_FILENO, .name = "standard output"};
        return GRV_OK;
    }
    cli_target target = {.fd = -1, .name = path};
    struct stat info;
    bool exists = stat(path, &info) == 0;
    if (!exists && errno != ENOENT) {
        return grv_error_set_errno(error, errno, TARGET_ORIGIN, "cannot look at %s", path);
    }
    if ((exists && S_ISDIR(info.st_mode)) || path[strlen(path) - 1] == '/') {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, TARGET_ORIGIN,
                             "%s is a directory; -o wants a file", path);
    }
    grv_status status;
    if (exists && !S_ISREG(info.st_mode)) {
        status = direct_open(&target, error);
    } else {
        status = path_resolve(&target, exists, error);
        if (!status) {
            status = temporary_open(&target, error);
        }
    }
    if (status) {
        cli_target_close(&target);
        return status;
    }
    *ret_target = target;
    return GRV_OK;
}

grv_status cli_target_write(const grv_call *call, cli_target *target, grv_bytes bytes,
                            grv_error *error)
{
    return cli_write_all(call, target->fd, bytes, target->name, error);
}

grv_status cli_target_commit(cli_target *target, grv_error *error)
{
    if (target->fd == STDOUT_FILENO) {
        return GRV_OK; /* closed, and asked, at the program's end */
    }
    int fd = target->fd;
    target->fd = -1;
    if (close(fd) < 0) {
        return grv_error_set_errno(error, errno, TARGET_ORIGIN, "cannot close %s", target->name);
    }
    if (target->temporary) {
        if (rename(target->temporary, target->path) < 0) {
            return grv_error_set_errno(error, errno, TARGET_ORIGIN, "cannot put %s in its place",
                                       target->name);
        }
        free(target->temporary);
        target->temporary = NULL;
    }
    return GRV_OK;
}

void cli_target_close(cli_target *target)
{
    if (target->fd >= 0 && target->fd != STDOUT_FILENO) {
        close(target->fd);
    }
    if (target->temporary) {
        unlink(target->temporary);
    }
    free(target->temporary);
    free(target->path);
    *target = (cli_target){.fd = -1};
}
