/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGINT, SIGTERM and SIGHUP become a raised cancel flag, so that every call ends in order and
 * leaves no temporary file; a second signal of the kind ends the process at once.
 */
#ifndef GRAVITON_CLI_SIGNALS_H
#define GRAVITON_CLI_SIGNALS_H

#include <graviton/call.h>

/* Installs the handlers; SIGPIPE is ignored, so that writes see EPIPE. Once, at the start. */
grv_status cli_signals_init(grv_error *error);

/* The flag that a signal raises. */
const grv_cancel *cli_signals_cancel(void);

/* The first signal that came, or 0. */
int cli_signals_raised(void);

/* A descriptor that becomes readable, for good, with the first signal: for poll beside others. */
int cli_signals_fd(void);

#endif
