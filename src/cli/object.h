/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the object commands share: locators as people type them, the stores that they lead to, and
 * how an object is printed.
 */
#ifndef GRAVITON_CLI_OBJECT_H
#define GRAVITON_CLI_OBJECT_H

#include "cli/cli.h"

#include <graviton/backend/pg.h>
#include <graviton/backend/s3.h>

/* Parses a locator of a scheme that there is; GRV_INVALID_ARGUMENT for any other. With `prefix` the
 * path may be left out, or be empty. */
grv_status cli_object_parse(const char *text, bool prefix, grv_locator *ret_locator,
                            grv_error *error);

/* The stores that a command's locators lead to: one a scheme. Zero-initialised has none. */
typedef struct cli_object_stores {
    grv_mutable_object_store *fs;
    grv_mutable_object_store *pg;
    grv_mutable_object_store *s3;
    grv_pg *database; /* what pg is in */
    grv_s3 *service;  /* what s3 is in */
} cli_object_stores;

/*
 * Opens what all of the locators need. `writes`: those under pg:// are written, too, so a database
 * that may only be read will not do. End with cli_object_stores_close, also after a failure.
 */
grv_status cli_object_stores_open(cli_run *cli, const grv_locator locators[], size_t count,
                                  bool writes, cli_object_stores *stores, grv_error *error);
void cli_object_stores_close(cli_object_stores *stores);

/* The store that a locator of those leads to. */
grv_mutable_object_store *cli_object_store_of(const cli_object_stores *stores,
                                              const grv_locator *locator);

/* Prints an object as one row: size in bytes, time, locator. */
grv_status cli_object_print(cli_run *cli, const grv_locator *locator, const grv_object_info *info,
                            grv_error *error);

/* Prints all that is known of an object: a name, a tab and a value a line. */
grv_status cli_object_print_all(cli_run *cli, const grv_locator *locator,
                                const grv_object_info *info, grv_error *error);

#endif
