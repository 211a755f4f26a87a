/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a server that renames finished files into their place, so that what it answers is
 * durable: the file before the rename, its directory after it. Without that a comparison with a
 * store whose answers are durable would compare two different things.
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int sync_path(const char *path, int flags)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0) {
        return -1;
    }
    int failed = fsync(fd);
    return close(fd) < 0 || failed ? -1 : 0;
}

__attribute__((visibility("default"))) int rename(const char *old, const char *new)
{
    char directory[PATH_MAX];
    if (snprintf(directory, sizeof directory, "%s", new) >= (int)sizeof directory) {
        return -1;
    }
    if (sync_path(old, 0) || renameat(AT_FDCWD, old, AT_FDCWD, new)) {
        return -1;
    }
    return sync_path(dirname(directory), O_DIRECTORY);
}
