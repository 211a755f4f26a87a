/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests a second one client may make. A table of fixed size, so that no number of
 * clients costs memory: where too many are active at once, the one that has gone longest without a
 * request is forgotten, which only gives it its burst back.
 */
#ifndef GRV_HTTP_RATE_H
#define GRV_HTTP_RATE_H

#include "http/http.h"

/* Seconds' worth of requests that a client may make at once. */
#define HTTP_RATE_BURST_S 2u

/* A table for `per_second` (1 to a million) requests of each client. GRV_LIMIT_EXCEEDED without
 * memory. Free with http_rate_free. */
grv_status http_rate_new(unsigned per_second, http_rate **ret_rate, grv_error *error);

/*
 * Whether the client of this name (a token's, or an address) may make a request at `now_ns`
 * (grv_now_ns), which then counts. False: not yet, and *ret_retry_after_s is the number of whole
 * seconds, at least 1, after which it may. Thread-safe; holds a lock for some ten instructions.
 */
bool http_rate_take(http_rate *rate, grv_bytes client, uint64_t now_ns,
                    unsigned *ret_retry_after_s);

/* Frees a table. NULL is allowed. */
void http_rate_free(http_rate *rate);

#endif
