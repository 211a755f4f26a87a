/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that a server listens on. */
#ifndef GRV_HTTP_LISTEN_H
#define GRV_HTTP_LISTEN_H

#include "http/daemon.h"

/* Connections that the system accepts before we do. */
#define HTTP_LISTEN_BACKLOG 4096

/*
 * Opens what config->listen names, or takes the socket that systemd passed: fills the socket's part
 * of `daemon`. GRV_INVALID_ARGUMENT for a malformed address, GRV_PERMISSION where others than this
 * machine's could reach a server without tokens that is not told `insecure`, GRV_UNAVAILABLE where
 * the address is in use.
 */
grv_status http_listen_open(const http_server_config *config, struct http_daemon *daemon,
                            grv_error *error);

/* Closes it; a unix socket's name goes with it. Harmless twice. */
void http_listen_close(struct http_daemon *daemon);

#endif
