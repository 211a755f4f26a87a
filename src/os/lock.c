/* SPDX-License-Identifier: Apache-2.0 */
/* Lock files. What stands in one is for a message alone and may be anything: it is bounded and
 * cleaned before it is shown, and never decides whether the lock is held. */
#include "os/lock.h"

#include "os/file.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Bytes of a lock file that are looked at. */
#define LOCK_TEXT_MAX 120

/* False where the process that a lock file names is not one that can be seen: it is gone and the
 * holder is a reader that could not write its own name, or it runs where pids are others. */
static bool is_running(const char *text)
{
    char *end;
    errno = 0;
    long pid = strtol(text, &end, 10);
    return !errno && !*end && pid > 0 && pid <= INT_MAX && (!kill((pid_t)pid, 0) || errno == EPERM);
}

static grv_status refuse(int fd, const char *what, grv_error *error)
{
    uint8_t text[LOCK_TEXT_MAX + 1];
    size_t size = 0;
    grv_status status =
        grv_file_read_all(fd, (grv_span){text, LOCK_TEXT_MAX}, &size, "lock file", NULL);
    if (status) {
        size = 0;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n') {
            size = i;
        } else if (text[i] < 0x20 || text[i] > 0x7e) {
            text[i] = '?';
        }
    }
    text[size] = 0;
    char *command = strchr((char *)text, ' ');
    if (!command || command == (char *)text) {
        return grv_error_set(error, GRV_UNAVAILABLE, "lock", "%s is in use by another process",
                             what);
    }
    *command = 0;
    if (!is_running((char *)text)) {
        return grv_error_set(error, GRV_UNAVAILABLE, "lock",
                             "%s is in use by another process; the last one to leave its name was "
                             "pid %s (%s)",
                             what, (char *)text, command + 1);
    }
    return grv_error_set(error, GRV_UNAVAILABLE, "lock", "%s is in use by pid %s (%s)", what,
                         (char *)text, command + 1);
}

static grv_status write_holder(int fd, const char *what, grv_error *error)
{
    char text[LOCK_TEXT_MAX];
    snprintf(text, sizeof text, "%ld %.80s\n", (long)getpid(), program_invocation_short_name);
    /* Over what is there and not emptied first: so a full disk has room for it as before. Where it
     * has none, in a new file, the lock is held all the same, by nobody that a message can name. */
    grv_status status = grv_file_write_all(fd, (grv_bytes){(const uint8_t *)text, strlen(text)},
                                           "lock file", error);
    if (status == GRV_OUT_OF_SPACE) {
        return GRV_OK;
    }
    if (!status && grv_file_calls()->ftruncate(fd, (off_t)strlen(text))) {
        return grv_error_set_errno(error, errno, "lock", "cannot cut the lock file of %s", what);
    }
    return status;
}

grv_status grv_lock_open(int dir, const char *name, const char *what, bool read_only,
                         grv_lock *ret_lock, grv_error *error)
{
    int fd = -1;
    grv_status status = grv_file_open(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW, 0666, &fd, error);
    bool writable = status == GRV_OK;
    if (status == GRV_PERMISSION && read_only &&
        grv_file_open(dir, name, O_RDONLY | O_NOFOLLOW, 0, &fd, NULL) == GRV_OK) {
        status = GRV_OK;
    }
    if (status) {
        grv_error_prefix(error, "cannot lock %s", what);
        return status;
    }
    int failed;
    do {
        failed = grv_file_calls()->flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    } while (failed == EINTR);
    if (failed == EWOULDBLOCK) {
        status = refuse(fd, what, error);
    } else if (failed) {
        status = grv_error_set_errno(error, failed, "lock", "cannot lock %s", what);
    } else if (writable) {
        status = write_holder(fd, what, error);
    }
    if (status) {
        grv_file_calls()->close(fd);
        return status;
    }
    *ret_lock = (grv_lock){fd};
    return GRV_OK;
}

void grv_lock_close(grv_lock *lock)
{
    /* Nothing that matters was written, so a failure to close loses nothing. */
    grv_file_calls()->close(lock->fd);
    lock->fd = -1;
}
