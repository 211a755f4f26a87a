/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock file: one holder at a time among processes and within one, and its file says who holds
 * it. The lock is the kernel's (flock), so a holder that dies frees it, whatever its file says.
 */
#ifndef GRV_OS_LOCK_H
#define GRV_OS_LOCK_H

#include <graviton/error.h>
#include <stdbool.h>

typedef struct grv_lock {
    int fd;
} grv_lock;

/*
 * Takes the lock of file `name` in directory `dir`, making the file where there is none, and
 * writes this process's id and command into it. Does not wait: GRV_UNAVAILABLE "`what` is in use
 * by pid N (command)" where it is held. For a holder that is `read_only` a file that may not be
 * written will do: it is locked and goes on saying what it says, so the message names no process
 * as the holder that is not there. Ends with grv_lock_close.
 */
grv_status grv_lock_open(int dir, const char *name, const char *what, bool read_only,
                         grv_lock *ret_lock, grv_error *error);

/* Gives the lock back. The file stays: removing it would let two holders have one each. */
void grv_lock_close(grv_lock *lock);

#endif
