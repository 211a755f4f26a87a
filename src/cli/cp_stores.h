/* SPDX-License-Identifier: Apache-2.0 */
/* The two stores of a copy: which ones are meant, and opening them. */
#ifndef GRAVITON_CLI_CP_STORES_H
#define GRAVITON_CLI_CP_STORES_H

#include "cli/cli.h"

/* The target, beside the source, which is the run's own store. Zero-initialise. */
typedef struct cli_cp_target {
    cli_config config;
    grv_store *store; /* NULL until it is opened */
    bool is_stand_in; /* there is none yet, and none is to be made: an empty one in memory */
} cli_cp_target;

/*
 * Reads which two stores are meant, before anything is opened. GRV_INVALID_ARGUMENT where no target
 * is named or the options contradict each other, GRV_CONFLICT where both are one store.
 * cli_cp_target_done frees what it took.
 */
grv_status cli_cp_configure(cli_run *cli, cli_cp_target *target, grv_error *error);

/* Opens the source, for reading only. */
grv_status cli_cp_open_source(cli_run *cli, grv_error *error);

/*
 * Opens the target, once the source is open. Where there is none it is made, with the source's hash
 * and chunker unless options say otherwise; in a dry run nothing is written and an empty store
 * stands in for it. GRV_CONFLICT where blobs cannot be copied from one to the other.
 */
grv_status cli_cp_open_target(cli_run *cli, cli_cp_target *target, grv_error *error);

/* Closes the target and frees what configuring took. */
void cli_cp_target_done(cli_cp_target *target);

#endif
