/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the object commands share: locators as people type them, the stores that they lead to, and
 * how an object is printed.
 */
#ifndef GRAVITON_CLI_OBJECT_H
#define GRAVITON_CLI_OBJECT_H

#include "cli/cli.h"

/* Parses a locator of a scheme that this version has: GRV_UNSUPPORTED for one that comes later,
 * GRV_INVALID_ARGUMENT for any other. With `prefix` the path may be left out, or be empty. */
grv_status cli_object_parse(const char *text, bool prefix, grv_locator *ret_locator,
                            grv_error *error);

/* Opens one store for all of the locators' buckets. */
grv_status cli_object_store_open(cli_run *cli, const grv_locator locators[], size_t count,
                                 grv_mutable_object_store **ret_store, grv_error *error);

/* Prints an object as one row: size in bytes, time, locator. */
grv_status cli_object_print(cli_run *cli, const grv_locator *locator, const grv_object_info *info,
                            grv_error *error);

/* Prints all that is known of an object: a name, a tab and a value a line. */
grv_status cli_object_print_all(cli_run *cli, const grv_locator *locator,
                                const grv_object_info *info, grv_error *error);

#endif
