/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which directories are meant by fs://NAME/: --root NAME=DIR, as often as need be, or else
 * GRAVITON_ROOTS="NAME=DIR:NAME=DIR". Where there is a flag the variable says nothing.
 */
#ifndef GRAVITON_CLI_ROOTS_H
#define GRAVITON_CLI_ROOTS_H

#include "cli/options.h"

#include <graviton/backend/fs.h>

/* The roots of a run. Zero-initialised has none. */
typedef struct cli_roots {
    grv_fs_bucket *buckets; /* texts are in `text` */
    size_t count;
    char *text;
} cli_roots;

/* Reads options and environment. GRV_INVALID_ARGUMENT names what is malformed or named twice.
 * cli_roots_done frees it. */
grv_status cli_roots_init(cli_roots *ret_roots, const cli_options *options, grv_error *error);

/* Frees what init took. */
void cli_roots_done(cli_roots *roots);

/* The root of that name, or GRV_INVALID_ARGUMENT saying how to name its directory. */
grv_status cli_roots_find(const cli_roots *roots, const char *name, const grv_fs_bucket **ret_root,
                          grv_error *error);

#endif
