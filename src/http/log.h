/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: a line a request and a line an event, as logfmt or JSON. No line holds a query's values,
 * a token or a header. Values are escaped, so that no client can forge a line or move a terminal's
 * cursor.
 *
 * A line is one write of less than 4 KiB, so lines of several threads stay apart in a pipe too.
 * Where nobody reads, a line waits for at most 50 ms and is then dropped; the next that gets
 * through tells how many were.
 */
#ifndef GRV_HTTP_LOG_H
#define GRV_HTTP_LOG_H

#include "http/http.h"

/* A log on descriptor `fd`, which stays the caller's and open. With lines for the journal (each
 * begins with its priority) where the environment says that `fd` leads there. */
grv_status http_log_new(bool json, int fd, http_log **ret_log, grv_error *error);

/* Frees. NULL is allowed. */
void http_log_free(http_log *log);

/*
 * Writes a line about something that happened. `level` is "debug", "info", "warning" or "error";
 * debug lines are left out unless the environment has GRAVITON_DEBUG. Thread-safe.
 */
void http_log_event(http_log *log, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Writes the line of a request that is over. `client` is its address. `cause`: NULL, or what went
 * wrong, in words that the client was perhaps not told. Thread-safe.
 */
void http_log_request(http_server *server, const http_exchange *exchange, unsigned status,
                      uint64_t bytes_in, uint64_t bytes_out, uint64_t duration_ns,
                      const char *client, const grv_error *cause);

#endif
