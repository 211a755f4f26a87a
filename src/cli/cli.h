/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's one context and its commands. Everything here runs on the main thread unless a
 * comment says otherwise. No storage logic lives in this folder: commands call the ports.
 */
#ifndef GRAVITON_CLI_CLI_H
#define GRAVITON_CLI_CLI_H

#include "cli/config.h"
#include "cli/exit.h"
#include "cli/id.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/target.h"

#include <graviton/graviton.h>

/* One run of the program. */
typedef struct cli_run {
    cli_options options;
    const char *command; /* its name */
    cli_config config;   /* set by cli_store_open */
    cli_output output;
    cli_progress progress;
    grv_call call;    /* carries the flag that signals raise */
    grv_store *store; /* NULL until cli_store_open */
    grv_blob_store *blobs;
    size_t budget_bytes;  /* of the store's memory, for CLI_SERVE; 0: what suits its kind */
    bool is_incompatible; /* the store needs a newer program */
} cli_run;

/* Says on stderr what whoever looks after the store ought to know, if there is anything. */
void cli_warn_of_store(cli_run *cli, const grv_store *store);

/* One subcommand. */
typedef struct cli_command {
    const char *name;
    const char *summary;       /* for the list of commands; NULL: not listed */
    const char *help;          /* the whole text of --help */
    const cli_option *options; /* its own; NULL: none */
    size_t operands_min;
    size_t operands_max;
    int (*run)(cli_run *cli); /* returns the exit code; has shown what failed */
} cli_command;

extern const cli_command cli_command_put;
extern const cli_command cli_command_get;
extern const cli_command cli_command_stat;
extern const cli_command cli_command_ls;
extern const cli_command cli_command_manifest;
extern const cli_command cli_command_rm;
extern const cli_command cli_command_verify;
extern const cli_command cli_command_stats;
extern const cli_command cli_command_gc;
extern const cli_command cli_command_backup;
extern const cli_command cli_command_cp;
extern const cli_command cli_command_object;
extern const cli_command cli_command_scrub;
extern const cli_command cli_command_migrate;
extern const cli_command cli_command_serve;
extern const cli_command cli_command_token;
extern const cli_command cli_command_help;
extern const cli_command cli_command_version;
extern const cli_command cli_command_completion;

/* The text about options that every command's help ends with. */
extern const char cli_help_common[];

/* The command of that name, or NULL. */
const cli_command *cli_command_find(const char *name);

/* Prints the overview, or one command's help, to stdout. */
grv_status cli_help_print(cli_run *cli, const cli_command *command, grv_error *error);

/* What a command will do with the store. */
typedef enum cli_access {
    CLI_READ,   /* nothing is written */
    CLI_WRITE,  /* the store is there; for commands that make room, on a full disk as well */
    CLI_CREATE, /* it is made where there is none */
    CLI_SERVE   /* both of these, and for many streams at once */
} cli_access;

/* Opens the configured store. */
grv_status cli_store_open(cli_run *cli, cli_access access, grv_error *error);

/* Shows an error and returns its exit code. A reader of stdout that went away is not reported. */
int cli_fail(cli_run *cli, const grv_error *error);

/* Writes a source to its end into a target, and shows the progress. */
grv_status cli_source_copy(cli_run *cli, grv_source *source, cli_target *target, grv_error *error);

/*
 * Parses the operands as ids before the store is opened, so that a malformed one costs nothing.
 * *ret_ids is malloc'ed, options.operand_count long.
 */
grv_status cli_ids_parse(const cli_run *cli, cli_id **ret_ids, grv_error *error);

/*
 * Runs `each` for every operand as an id, in order, going on after a failure; opens the store
 * first. Returns the exit code of all. `each` reports through its status and error; after an error
 * of stdout or a cancelled call the rest is left out.
 */
int cli_each_id(cli_run *cli, cli_access access,
                grv_status (*each)(cli_run *cli, const grv_blob_key *key, grv_error *error));

#endif
