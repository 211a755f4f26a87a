/* SPDX-License-Identifier: Apache-2.0 */
/* Which route a request is for: the front ends' tables, checked once and then read by all threads.
 */
#ifndef GRV_HTTP_ROUTER_H
#define GRV_HTTP_ROUTER_H

#include "http/http.h"

/* What came of a look-up. */
typedef enum http_found {
    HTTP_FOUND = 0,
    HTTP_FOUND_NOTHING = 1,  /* no pattern has this path */
    HTTP_FOUND_METHODS = 2,  /* one has, for other methods */
    HTTP_FOUND_BAD_PATH = 3, /* "." or "..", an empty segment, %00, %2F, a wrong escape */
    HTTP_FOUND_TOO_DEEP = 4  /* more segments than any pattern may have */
} http_found;

/* Room for the methods of a path as Allow writes them. */
#define HTTP_ALLOW_SIZE 64u

/* Makes a router over tables that outlive it. GRV_INTERNAL for a table that contradicts itself:
 * each mistake has its own message. */
grv_status http_router_new(const http_route *const *fronts, http_router **ret_router,
                           grv_error *error);

/* Ends it. NULL is allowed. */
void http_router_free(http_router *router);

/*
 * Finds the route of `method` (HEAD counts as GET) for `path`, which is decoded in place: of
 * HTTP_FOUND the parameters point into it, of HTTP_FOUND_METHODS `ret_allow` is filled.
 * Thread-safe.
 */
http_found http_router_find(const http_router *router, const char *method, char *path,
                            const http_route **ret_route, char *ret_params[HTTP_PARAMS_MAX],
                            char ret_allow[HTTP_ALLOW_SIZE]);

/* How many routes there are, and the number of one: 0 to that. */
size_t http_router_count(const http_router *router);
const http_route *http_router_at(const http_router *router, size_t index);

/* Decodes percent escapes of `size` bytes in place and ends them with NUL; *ret_size is what is
 * left. False for a wrong escape, and for bytes that become NUL. */
bool http_percent_decode(char *text, size_t size, size_t *ret_size);

#endif
