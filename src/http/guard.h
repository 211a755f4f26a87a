/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands before everything else: requests that another program on the way could read in
 * another manner than libmicrohttpd did are refused, since whoever makes the two disagree smuggles
 * requests. It also tells how the body is framed.
 */
#ifndef GRV_HTTP_GUARD_H
#define GRV_HTTP_GUARD_H

#include "http/http.h"

/* How a request's body comes. */
typedef struct http_framing {
    bool is_chunked;
    bool has_length;
    uint64_t length;
    const char *expect; /* the field, NULL: none */
} http_framing;

/* Checks the headers of the request that the connection has, in the handler's first call; `method`,
 * `url` and `version` as they were given there: they point into what was received. NULL: sound, and
 * `ret_framing` is filled; else why not, for the client. */
const char *http_guard_check(struct MHD_Connection *connection, const char *method, const char *url,
                             const char *version, http_framing *ret_framing);

#endif
