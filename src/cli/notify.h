/* SPDX-License-Identifier: Apache-2.0 */
/* Telling whoever started the program how it stands, as systemd's sd_notify does. */
#ifndef GRAVITON_CLI_NOTIFY_H
#define GRAVITON_CLI_NOTIFY_H

#include <graviton/error.h>

/* Sends a state such as "READY=1" to the socket that NOTIFY_SOCKET names; GRV_OK where there is
 * none. */
grv_status cli_notify(const char *state, grv_error *error);

#endif
