/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server has done since it started, counted: for Prometheus, the statistics and the
 * dashboard. Each thread counts in a part of its own (threads beyond a few share), so counting
 * takes no lock and hardly ever meets another core; reading adds the parts up.
 */
#ifndef GRV_HTTP_METRICS_H
#define GRV_HTTP_METRICS_H

#include "http/http.h"

/* Bounds of the histogram of durations, in nanoseconds; one more is without bound. */
#define HTTP_METRICS_BOUNDS 16u

/* Figures for a route of the given tables, and for requests that have none. The tables outlive
 * them. GRV_LIMIT_EXCEEDED without memory. Free with http_metrics_free. */
grv_status http_metrics_new(const http_route *const *fronts, http_metrics **ret_metrics,
                            grv_error *error);
void http_metrics_free(http_metrics *metrics); /* NULL is allowed */

/* All of these are thread-safe and wait for nothing. */

/* A request's headers are there. */
void http_metrics_begin(http_metrics *metrics);
/* A request is over, whose begin was counted. `route`: NULL where none matched. A status of 0, no
 * answer because the client went, counts as 499. */
void http_metrics_end(http_metrics *metrics, const http_route *route, unsigned status,
                      uint64_t duration_ns, uint64_t bytes_in, uint64_t bytes_out);
/* A call, or a row of them, on the store came to this. */
void http_metrics_store(http_metrics *metrics, grv_status status);
/* A put was committed. */
void http_metrics_put(http_metrics *metrics, const grv_put_result *result);

/* Sums since the start. */
typedef struct http_metrics_totals {
    uint64_t requests;
    uint64_t client_errors; /* answered 4xx */
    uint64_t server_errors; /* answered 5xx */
    uint64_t bytes_in;      /* of bodies */
    uint64_t bytes_out;
    uint64_t in_flight; /* now */
    uint64_t puts;
    uint64_t puts_already_stored; /* of those */
    uint64_t put_bytes_fresh;
    uint64_t put_bytes_duplicate;
    uint64_t put_bytes_stored; /* what the fresh ones take */
    uint64_t store[GRV_STATUS_COUNT];
} http_metrics_totals;

void http_metrics_total(const http_metrics *metrics, http_metrics_totals *ret_totals);

/* One route's. */
typedef struct http_metrics_route {
    uint64_t codes[500];                      /* by status less 100; others count as 599 */
    uint64_t bounds[HTTP_METRICS_BOUNDS + 1]; /* not added up: each has those up to its own bound */
    uint64_t duration_ns;
    uint64_t bytes_in;
    uint64_t bytes_out;
} http_metrics_route;

/* Number of rows: one a route, and the last for requests without. */
size_t http_metrics_rows(const http_metrics *metrics);
/* The label of a row. */
const char *http_metrics_label(const http_metrics *metrics, size_t row);
void http_metrics_sum(const http_metrics *metrics, size_t row, http_metrics_route *ret_sums);

extern const uint64_t http_metrics_bounds_ns[HTTP_METRICS_BOUNDS];

/* metrics_text.c: the whole page for Prometheus (text format 0.0.4), the server's gauges, the
 * cache's and the process's among it. `ret_text` is initialised by the caller. */
grv_status http_metrics_render(http_server *server, grv_buffer *ret_text, grv_error *error);

#endif
