/* SPDX-License-Identifier: Apache-2.0 */
/* A front end for tests of the server's core: sinks that sum, sources that are made up, and
 * failures at every point; and a client that speaks bytes over a loopback socket. */
#ifndef GRV_TESTS_UNIT_HTTP_FRONT_H
#define GRV_TESTS_UNIT_HTTP_FRONT_H

#include "http/http.h"

#include <sys/socket.h>

/* GET /text, /secret (scope admin), /bytes/N, /broken/N (fails after the first view), /early (fails
 * at once), /slow/MS, /held, /parked, /quick, /events; POST /sum (sums a
 * stream), /json, /full (open fails), /spoiled (the sink fails after 400,000 bytes), /wanted
 * (refuses an expected body), /ended (the third piece makes the answer). */
extern const http_route *const front_routes[];

/* The byte at a place of /bytes/N. */
static inline uint8_t front_byte(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

/* Sinks and sources that are open now. */
extern atomic_int front_open;

/* GET /held, and without a turn /parked, are answered once this is set; so many wait for it. */
extern atomic_bool front_gate;
extern atomic_int front_held;

/* What came back. */
typedef struct front_answer {
    unsigned status; /* 0: nothing that is an answer */
    char *head;      /* status line and headers */
    uint8_t *body;
    size_t body_size;
    bool whole;  /* as long as it was announced */
    bool closed; /* the server closed the connection behind it */
    char *memory;
} front_answer;

/* Starts a server of front_routes on a free port; `config` (may be NULL) gives the limits. */
http_server *front_start(const http_server_config *config);

/* Connects to it. */
int front_connect(const http_server *server);

/* Sends all of it; false where the server closed. */
bool front_send(int fd, const void *data, size_t size);

/* Reads one answer; `is_head` expects no body. The connection stays open. */
front_answer front_read(int fd, bool is_head);
void front_done(front_answer *answer);

/* Sends a text on a connection of its own and reads the answer. */
front_answer front_ask(const http_server *server, const char *text);

/* The value of a header of the answer, NULL where there is none; valid until the next call. */
const char *front_header(const front_answer *answer, const char *name);

#endif
