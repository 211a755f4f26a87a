/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The regular files under a directory, in the byte order of their paths. Links and special files
 * are told of, not followed; so is the store itself, where it lies under the directory.
 */
#ifndef GRAVITON_CLI_PUT_WALK_H
#define GRAVITON_CLI_PUT_WALK_H

#include "store/place.h"

typedef struct cli_walk cli_walk;

typedef enum cli_walk_kind {
    CLI_WALK_END = 0,
    CLI_WALK_FILE = 1,    /* a regular file of `size_bytes` */
    CLI_WALK_SKIPPED = 2, /* left out, `why` says what it is */
    CLI_WALK_FAILED = 3   /* could not be looked into: `errno_value` */
} cli_walk_kind;

/* One thing the walk came by; texts are valid until the next step. */
typedef struct cli_walk_item {
    cli_walk_kind kind;
    const char *path;
    uint64_t size_bytes;
    const char *why;
    int errno_value;
} cli_walk_item;

/* Begins a walk under `root`; the directories of the store in `place` are left out. */
grv_status cli_walk_open(const char *root, const grv_place *place, cli_walk **ret_walk,
                         grv_error *error);

/* The next thing; CLI_WALK_END at the end. */
grv_status cli_walk_next(cli_walk *walk, cli_walk_item *ret_item, grv_error *error);

/* Ends a walk. NULL is allowed. */
void cli_walk_close(cli_walk *walk);

#endif
