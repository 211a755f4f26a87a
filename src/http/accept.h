/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that accepts connections and hands them to the event threads. */
#ifndef GRV_HTTP_ACCEPT_H
#define GRV_HTTP_ACCEPT_H

#include "http/daemon.h"

typedef struct http_accept http_accept;

/*
 * Begins to accept what comes to server->daemon->listen_fd. While as many connections are open as
 * the settings allow, others wait in the system's backlog. The server's daemon, log and watch must
 * be there, and outlive it. GRV_LIMIT_EXCEEDED without memory, GRV_IO without a thread.
 */
grv_status http_accept_new(http_server *server, http_accept **ret_accept, grv_error *error);

/*
 * Accepts what has come until now, ends the thread and frees it; NULL is allowed. The caller closes
 * the socket after that.
 */
void http_accept_free(http_accept *accept);

#endif
