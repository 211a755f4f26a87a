/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a get writes: standard output, a file that appears whole or not at all, or something that
 * is no regular file (a device, a pipe) and is written directly.
 */
#ifndef GRAVITON_CLI_TARGET_H
#define GRAVITON_CLI_TARGET_H

#include <graviton/bytes.h>
#include <graviton/call.h>

/* An open target. */
typedef struct cli_target {
    int fd;
    const char *name; /* borrowed, for messages */
    char *path;       /* the file to replace in the end; NULL: written directly */
    char *temporary;  /* beside it; NULL: written directly */
} cli_target;

/*
 * Opens `path` (NULL or "-": standard output). A regular or absent file is written as a temporary
 * file in the same directory, its mode from the umask; a symbolic link is followed first. `path` is
 * borrowed until close.
 */
grv_status cli_target_open(const char *path, cli_target *ret_target, grv_error *error);

/* Writes all of `bytes`. */
grv_status cli_target_write(const grv_call *call, cli_target *target, grv_bytes bytes,
                            grv_error *error);

/* Puts the finished file in its place. After an error the file that was there is untouched. */
grv_status cli_target_commit(cli_target *target, grv_error *error);

/* Closes; a temporary file that was not committed goes. */
void cli_target_close(cli_target *target);

#endif
