/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's exit codes, and how several outcomes of one run become one. The numbers are
 * documented in graviton(1) and never change.
 */
#ifndef GRAVITON_CLI_EXIT_H
#define GRAVITON_CLI_EXIT_H

#include <graviton/status.h>

typedef enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_OTHER = 1, /* anything else, and a run that succeeded only in part */
    CLI_EXIT_USAGE = 2,
    CLI_EXIT_NOT_FOUND = 3,
    CLI_EXIT_CORRUPT = 4,
    CLI_EXIT_UNAVAILABLE = 5, /* also: in use, timed out */
    CLI_EXIT_FULL = 6,
    CLI_EXIT_PERMISSION = 7,
    CLI_EXIT_CONFLICT = 8, /* also: a store that is not the one expected */
    CLI_EXIT_SIGNAL = 128  /* plus the signal's number */
} cli_exit;

/* The exit code that a status stands for. */
int cli_exit_of_status(grv_status status);

/* The outcomes of one run over several operands. Zero-initialise. */
typedef struct cli_tally {
    unsigned long succeeded;
    unsigned long failed;
    int code; /* of the failures while they agree, CLI_EXIT_OTHER once they differ */
} cli_tally;

/* Counts a success, or a failure with its exit code. */
void cli_tally_success(cli_tally *tally);
void cli_tally_failure(cli_tally *tally, int code);

/* 0 if nothing failed, the failures' code if all failed alike, else CLI_EXIT_OTHER. */
int cli_tally_code(const cli_tally *tally);

#endif
