/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch over connections: it knows each one's socket and what it waits for, shuts down those
 * whose client is too slow, refuses those that wait too long for a turn, and wakes event streams.
 *
 * A connection's figures are written by the thread that has its exchange and read by the watch:
 * atomics, each meaningful alone.
 */
#ifndef GRV_HTTP_WATCH_H
#define GRV_HTTP_WATCH_H

#include "http/http.h"

#define HTTP_CLIENT_SIZE 64u

/* Whom a connection waits for. */
typedef enum http_phase {
    HTTP_PHASE_IDLE = 0,    /* for the client: the first byte of a request */
    HTTP_PHASE_HEADERS = 1, /* for the client: the rest of its headers */
    HTTP_PHASE_BODY = 2,    /* for the client: its body */
    HTTP_PHASE_SERVER = 3,  /* for us */
    HTTP_PHASE_ANSWER = 4,  /* for the client: to take our answer */
    HTTP_PHASE_EVENTS = 5   /* an event stream: between events */
} http_phase;

typedef struct http_peer http_peer;

/* A connection. */
struct http_peer {
    http_peer *next; /* the watch's */
    http_peer **link;
    http_server *server;
    int fd;
    bool is_tcp;
    atomic_uint phase;
    atomic_uint_fast64_t since_ns; /* of the phase */
    atomic_uint_fast64_t spent_ns; /* in earlier phases like this one of the same body */
    atomic_uint_fast64_t moved;    /* bytes of the body that came, or of the answer that went out */
    atomic_uint_fast64_t serial;   /* counts requests and answers */
    uint64_t seen_serial;          /* the watch's: the one that `acked` is about */
    uint64_t acked;                /* the watch's: bytes that TCP had delivered when it began */
    bool is_shut;                  /* the watch's */
    char client[HTTP_CLIENT_SIZE]; /* address and port, for the log; or "unix" */
    uint8_t rate_key[16]; /* the client's address; of IPv6 the network, which is one customer's */
    size_t rate_key_size;
};

/* Starts the watch over `server`. */
grv_status http_watch_new(http_server *server, http_watch **ret_watch, grv_error *error);

/* Ends its thread; no connection is left. NULL is allowed. */
void http_watch_free(http_watch *watch);

/* A connection came: NULL without memory. Event thread. */
http_peer *http_watch_add(http_watch *watch, struct MHD_Connection *connection);

/* It is about to be closed. Event thread. */
void http_watch_remove(http_watch *watch, http_peer *peer);

/* The connection waits for something else from now on. */
void http_peer_turn_to(http_peer *peer, http_phase phase);

/* A new request or answer begins: no time was spent on it. */
void http_peer_reset(http_peer *peer, http_phase phase);

/* An event stream that is to be woken at `due_ns`: `wake` is called by the watch, once. */
typedef struct http_alarm {
    void (*wake)(struct http_alarm *alarm);
    uint64_t due_ns;
    struct http_alarm *next;
} http_alarm;
void http_watch_alarm(http_watch *watch, http_alarm *alarm);

/* Connections that are open. */
unsigned http_watch_count(http_watch *watch);

/* Wakes the watch now: the server drains, so connections that are idle are closed and alarms ring.
 */
void http_watch_hurry(http_watch *watch);

#endif
