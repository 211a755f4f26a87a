/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program prints: rows on stdout, as tab-separated text or one JSON object a line, and
 * errors and warnings on stderr. A write that fails is never forgotten: every later call and the
 * final flush give its status again.
 */
#ifndef GRAVITON_CLI_OUTPUT_H
#define GRAVITON_CLI_OUTPUT_H

#include "cli/progress.h"

#include <graviton/bytes.h>
#include <graviton/call.h>
#include <jansson.h>

/* Standard output. Used by the main thread alone. */
typedef struct cli_output {
    bool json;
    cli_progress *progress; /* cleared before anything is shown; not NULL */
    const grv_call *call;   /* a write that blocks is given up with it */
    grv_error failed;       /* first failure; status GRV_OK while there is none */
    size_t used;
    uint8_t buffer[1u << 16];
} cli_output;

/* Writes all of `bytes` to a descriptor; `name` is for messages, "standard output" for 1. */
grv_status cli_write_all(const grv_call *call, int fd, grv_bytes bytes, const char *name,
                         grv_error *error);

/* Adds bytes as they are. */
grv_status cli_output_write(cli_output *output, grv_bytes bytes, grv_error *error);

/* Adds formatted text (ids, numbers: nothing that needs an escape), at most 1023 bytes. */
grv_status cli_output_text(cli_output *output, grv_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Adds one row: `lead` (no newline), a tab, `name` escaped as sha256sum does, a newline; a row with
 * an escape begins with a backslash.
 */
grv_status cli_output_named_row(cli_output *output, const char *lead, grv_bytes name,
                                grv_error *error);

/* Adds one object and a newline, and takes the caller's reference. NULL: memory ran out. */
grv_status cli_output_json(cli_output *output, json_t *object, grv_error *error);

/* Writes out what was added. */
grv_status cli_output_flush(cli_output *output, grv_error *error);

/* True where an error says that stdout's reader went away (as with "| head"). */
bool cli_error_is_broken_pipe(const grv_error *error);

/* Shows an error on stderr: "graviton: MESSAGE", or {"error":{"status":…,"message":…}}. */
void cli_report_error(cli_output *output, const grv_error *error);

/* Shows a warning on stderr; it changes no exit code. */
void cli_report_warning(cli_output *output, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Shows a remark on stderr, in text mode only, such as a summary. */
void cli_report_note(cli_output *output, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
