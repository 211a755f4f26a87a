/* SPDX-License-Identifier: Apache-2.0 */
/* The core's own part of a server: libmicrohttpd's daemon, and what a stop has to wait for. */
#ifndef GRV_HTTP_DAEMON_H
#define GRV_HTTP_DAEMON_H

#include "http/http.h"

struct http_daemon {
    struct MHD_Daemon *mhd;
    struct http_accept *accept;
    int listen_fd;
    char where[256];               /* http_server_where */
    char unix_path[108];           /* of a socket that we made; "" for none */
    atomic_uint_fast64_t accepted; /* connections handed to event threads, and */
    atomic_uint_fast64_t arrived;  /* taken up by them */
    atomic_uint exchanges;         /* begun and not over */
    atomic_uint suspended;         /* connections that a worker will resume */
    atomic_uint cleanups;          /* exchanges that are over but hold something of the store */
    atomic_bool is_closing;        /* no connection is suspended any more: it is cut instead */
    atomic_uint_fast64_t serial;   /* of requests, for their ids */
    uint64_t seed;
};

#endif
