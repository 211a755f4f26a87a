/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the HTTP server: what its parts and its front ends share. docs/http.md is what
 * clients see. Three kinds of threads:
 *
 *   event threads    libmicrohttpd's; they parse, copy bytes, and never wait for a store
 *   workers          run routes and read and fill streams, and may wait; see streams.c
 *   the watch        wakes every second: closes connections that are too slow, gives up waits,
 *                    feeds event streams, begins jobs that are due
 *
 * An exchange, one request and its answer, is always in the hands of one of them: an event thread
 * while bytes move, a worker while the connection is suspended.
 */
#ifndef GRV_HTTP_HTTP_H
#define GRV_HTTP_HTTP_H

#include "base/pool.h"

#include <graviton/store.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdatomic.h>

#define HTTP_REQUEST_ID_SIZE 17u               /* 16 hex digits and NUL */
#define HTTP_SEGMENTS_MAX    8u                /* of a path */
#define HTTP_PARAMS_MAX      2u                /* in a route's pattern */
#define HTTP_JSON_MAX        ((size_t)2 << 20) /* of a JSON body: 10,000 ids and then some */

typedef struct http_server http_server;
typedef struct http_exchange http_exchange;

/* What a token may allow; a route names one, or HTTP_SCOPE_NONE for everyone. */
typedef enum http_scope {
    HTTP_SCOPE_NONE = 0,
    HTTP_SCOPE_READ = 1,
    HTTP_SCOPE_WRITE = 2,
    HTTP_SCOPE_DELETE = 4,
    HTTP_SCOPE_ADMIN = 8
} http_scope;

/* Bodies of answers up to this are copied out of the store's memory, which comes free at once. */
#define HTTP_COPY_MAX ((size_t)256 << 10)

/* What becomes of a request's body. */
typedef enum http_body_kind {
    HTTP_BODY_NONE = 0,  /* there must be none */
    HTTP_BODY_SMALL = 1, /* gathered in exchange->body, at most HTTP_JSON_MAX bytes */
    HTTP_BODY_STREAM = 2 /* into a sink */
} http_body_kind;

/*
 * One route. A front end is a table of them, ended by one whose method is NULL; several tables may
 * be served beside one another (http_server_config.fronts). In the pattern a segment in braces
 * takes any one segment: "/api/blobs/{}".
 */
typedef struct http_route {
    const char *method; /* "GET" answers HEAD as well: the core leaves the body out */
    const char *pattern;
    const char *name; /* label in metrics, such as "blob_get" */
    http_scope scope;
    http_body_kind body;
    bool is_stream; /* holds a share of the store's memory budget while it runs: takes a turn in
                       streams.c first. Set it where `body` is HTTP_BODY_STREAM */
    bool is_quick;  /* `run` waits for nothing: it is called on the event thread, so that it answers
                       while all workers wait for the store. Not with a stream */
    bool may_be_quick; /* where the store can say that it would wait (GRV_BLOB_CAP_NO_WAIT), `run`
                          is tried on the event thread first, with call.no_wait; it may be called
                          again on a worker, as if it had not been. Without a body */
    /*
     * HTTP_BODY_STREAM: on an event thread when the headers are there, so it must not wait; looks
     * at them and keeps what it needs in exchange->front. A failure, or a reply that it makes, is
     * the answer, before any of the body is asked for. NULL: nothing to look at.
     */
    grv_status (*begin)(http_exchange *exchange, grv_error *error);
    /* HTTP_BODY_STREAM: on a worker without a turn, where the client sent `Expect: 100-continue`
     * and waits: makes the answer that saves sending the body, or none (reply.status stays 0): then
     * the client is told to go on. NULL: it is told so at once. */
    grv_status (*expect)(http_exchange *exchange, grv_error *error);
    /* HTTP_BODY_STREAM: on a worker, when enough of the body has come that it is worth it (all of
     * it, if that is little): opens the sink that the body goes into. Where it makes a reply
     * instead (*ret_sink NULL), the body is read and dropped. */
    grv_status (*open)(http_exchange *exchange, grv_sink **ret_sink, grv_error *error);
    /* HTTP_BODY_STREAM: on a worker, each piece of the body in order, before the sink has it; may
     * make the reply, and then nothing more is read into the sink. NULL: not wanted. */
    grv_status (*piece)(http_exchange *exchange, grv_bytes piece, grv_error *error);
    /* On a worker, unless the route is or may be quick, when the whole body has been gathered, or
     * written to the sink (which it commits; the core frees it): makes the reply. Not GRV_OK: a
     * problem document takes its place. */
    grv_status (*run)(http_exchange *exchange, grv_error *error);
    /* Frees exchange->front, when the exchange is over; NULL: nothing to free. Any thread. */
    void (*done)(http_exchange *exchange);
} http_route;

/* A route's answer, made by `run`. Use it through http_reply_*. */
typedef struct http_reply {
    unsigned status;    /* HTTP's; 0: none yet */
    grv_buffer text;    /* the body, if it is neither of the others */
    grv_source *source; /* the body, if not NULL: freed when it is sent or given up */
    uint64_t length;    /* of the source's bytes */
    /* Not 0: an event stream; `make_event` is called on a worker every so many milliseconds, the
     * first time at once, and appends to the buffer. It lasts until the client goes. */
    unsigned event_period_ms;
    grv_status (*make_event)(http_exchange *exchange, grv_buffer *ret_event, grv_error *error);
    grv_buffer headers; /* NAME NUL VALUE NUL …; through http_reply_header alone */
} http_reply;

/* A request and its answer. Routes read the first part, and own `front`. */
struct http_exchange {
    http_server *server;
    const http_route *route; /* NULL: none matched */
    grv_call call;           /* deadline of the store's calls, trace id, cancelled by a stop */
    const char *method;
    const char *path;              /* as sent, without the query; for the log */
    char *params[HTTP_PARAMS_MAX]; /* decoded, in the order of the pattern's braces */
    bool is_head;
    bool expects_continue; /* the client waits with the body for a word */
    bool has_length;
    uint64_t length; /* of the body, where it was announced */
    grv_bytes body;  /* HTTP_BODY_SMALL */
    grv_sink *sink;  /* HTTP_BODY_STREAM, from open on */
    void *front;     /* the route's own */
    char request_id[HTTP_REQUEST_ID_SIZE];
    const char *token_name; /* whose token it was, for the log; NULL: nobody's */
    http_reply reply;
    struct http_transfer *transfer; /* the core's own: exchange.c */
};

/* ---- What routes may ask (any thread that has the exchange) ---- */

/* A header field's value, names compared without case; NULL where there is none, and the first
 * where there are several. Valid as long as the exchange. */
const char *http_header(http_exchange *exchange, const char *name);
/* All lines of a list field joined by ", " (RFC 9110, 5.3); NULL where there is none. Malloc'ed:
 * the caller frees it. GRV_LIMIT_EXCEEDED without memory. */
grv_status http_header_joined(http_exchange *exchange, const char *name, char **ret_value,
                              grv_error *error);
/* A query argument, decoded; NULL where there is none. GRV_INVALID_ARGUMENT where it is twice. */
grv_status http_query(http_exchange *exchange, const char *name, const char **ret_value,
                      grv_error *error);
/* As http_query, a number from `min` to `max`; `fallback` where there is none. */
grv_status http_query_number(http_exchange *exchange, const char *name, uint64_t min, uint64_t max,
                             uint64_t fallback, uint64_t *ret_value, grv_error *error);
/* The body as a JSON object; {} where it is empty. GRV_INVALID_ARGUMENT where it is none. Freed
 * with json_decref. */
grv_status http_body_json(http_exchange *exchange, json_t **ret_object, grv_error *error);
/* params[index] as a blob's id: GRV_INVALID_ARGUMENT where it is none. */
grv_status http_param_blob(http_exchange *exchange, unsigned index, grv_blob_key *ret_key,
                           grv_error *error);

/* ---- The reply ---- */

/* Adds a header line. GRV_INTERNAL for a value with a control character in it. */
grv_status http_reply_header(http_exchange *exchange, const char *name, const char *value,
                             grv_error *error);
/* Takes `object` over and sends it; NULL (no memory) is GRV_LIMIT_EXCEEDED. */
grv_status http_reply_json(http_exchange *exchange, unsigned status, json_t *object,
                           grv_error *error);
/* A body of text, copied. */
grv_status http_reply_text(http_exchange *exchange, unsigned status, const char *type,
                           grv_bytes text, grv_error *error);
/* No body. */
grv_status http_reply_empty(http_exchange *exchange, unsigned status, grv_error *error);
/* Takes `source` over, which gives `length` bytes and then its end; it is read on workers. The
 * first view was read before the status goes out, so that an error there is still a problem
 * document. */
grv_status http_reply_source(http_exchange *exchange, unsigned status, grv_source *source,
                             uint64_t length, grv_error *error);
/*
 * Makes the reply a problem document. `type` is one of docs/http.md's without the "urn:…:". What
 * `detail` says is shown to the client, so it is about what the client sent and nothing else.
 * Returns GRV_OK: the reply is made.
 */
grv_status http_reply_problem(http_exchange *exchange, const char *type, const char *detail,
                              grv_error *error);
/* problem.c: the same for a failure. Of errors whose origin is "http", "key", "range" the client
 * sees the message; of a store's, a sentence of the status, and the log has the message. */
grv_status http_reply_failure(http_exchange *exchange, const grv_error *failure, grv_error *error);
/* The HTTP status of a problem type, 0 for one that is unknown; and the type of a status. */
unsigned http_problem_status(const char *type);
const char *http_problem_of_status(grv_status status);
/* What a client may read of a failure. Lives as long as `failure`. */
const char *http_problem_detail(const grv_error *failure);

/* ---- Streams: turns at the store's memory (streams.c) ---- */

/*
 * Of the exchanges that hold memory of the store, no more run at once than there are workers for
 * them, so that one that waits for memory never keeps a worker from one that would give some back.
 * Puts can be paused, for work that has the store to itself.
 */
typedef struct http_streams http_streams;

/* Makes no put begin, and waits until none is open; those that come wait, and are 503 after
 * HTTP_PAUSE_PATIENCE. Reads go on. GRV_CANCELLED, GRV_TIMEOUT: puts go on too. */
grv_status http_puts_pause(const grv_call *call, http_server *server, grv_error *error);
void http_puts_resume(http_server *server);

/* ---- The server ---- */

/* Zero-initialise, then set; borrowed until http_server_stop. */
typedef struct http_server_config {
    grv_store *store;
    const http_route *const *fronts; /* tables of routes, ended by NULL */
    const char *listen;              /* ADDRESS:PORT, [ADDRESS]:PORT, unix:PATH, or NULL: the socket
                                        that was passed (systemd's LISTEN_FDS) */
    const char *tls_cert;            /* PEM files; NULL: plain HTTP */
    const char *tls_key;
    const char *tokens; /* file; NULL: everything is allowed to everyone */
    bool insecure;      /* listen anywhere without tokens */
    bool metrics_scope; /* /metrics asks for a token with read */
    bool log_json;
    uint64_t body_max;           /* bytes of a blob's upload; 0: any */
    unsigned connections;        /* at once; 0: HTTP_CONNECTIONS_DEFAULT */
    unsigned client_connections; /* of one address; 0: any */
    unsigned client_rate;        /* requests a second of one token or address; 0: any */
    unsigned event_threads;      /* 0: one a core */
    unsigned streams;            /* 0: HTTP_STREAMS_DEFAULT */
    unsigned queue;              /* exchanges that wait for a turn; 0: HTTP_QUEUE_DEFAULT */
    uint64_t idle_ns;            /* 0: HTTP_IDLE_DEFAULT */
    uint64_t rate_min;         /* bytes a second of a body, on average; 0: HTTP_RATE_MIN_DEFAULT */
    uint64_t store_timeout_ns; /* of one call of the store; 0: HTTP_STORE_TIMEOUT_DEFAULT */
    uint64_t drain_ns;         /* 0: HTTP_DRAIN_DEFAULT */
    const char *backup_directory; /* NULL: no backups over HTTP */
    uint64_t gc_period_ns;        /* of automatic runs; 0: none */
    uint64_t scrub_period_ns;
    uint64_t scrub_rate_bytes;
} http_server_config;

#define HTTP_CONNECTIONS_DEFAULT   4096u
#define HTTP_STREAMS_DEFAULT       192u
#define HTTP_QUEUE_DEFAULT         1024u
#define HTTP_IDLE_DEFAULT          (UINT64_C(60) * 1000000000u)
#define HTTP_RATE_MIN_DEFAULT      UINT64_C(1024)
#define HTTP_STORE_TIMEOUT_DEFAULT (UINT64_C(120) * 1000000000u)
#define HTTP_DRAIN_DEFAULT         (UINT64_C(30) * 1000000000u)
#define HTTP_PAUSE_PATIENCE        (UINT64_C(10) * 1000000000u)

typedef struct http_metrics http_metrics; /* metrics.h */
typedef struct http_jobs http_jobs;       /* jobs.h */
typedef struct http_census http_census;   /* census.h */
typedef struct http_lend http_lend;       /* lend.h */
typedef struct http_log http_log;         /* log.h */
typedef struct http_auth http_auth;       /* auth.h */
typedef struct http_rate http_rate;       /* rate.h */
typedef struct http_tls http_tls;         /* tls.h */
typedef struct http_router http_router;   /* router.h */
typedef struct http_watch http_watch;     /* watch.h */

struct http_server {
    http_server_config config; /* defaults filled in */
    grv_store *store;
    grv_blob_store *blobs;
    http_metrics *metrics;
    http_jobs *jobs;
    http_census *census;
    http_lend *lend;
    http_log *log;
    http_auth *auth; /* NULL: everything is allowed */
    http_rate *rate; /* NULL: any rate */
    http_tls *tls;   /* NULL: plain */
    http_router *router;
    http_streams *streams;
    http_watch *watch;
    grv_pool *workers; /* for what takes no turn */
    grv_cancel cancel; /* raised when a stop has lost its patience */
    atomic_bool is_draining;
    uint64_t started_ns;        /* since 1970 */
    struct http_daemon *daemon; /* the core's own: server.c */
};

/* Starts: listens, and answers. Every part has its own message where it cannot. */
grv_status http_server_start(const http_server_config *config, http_server **ret_server,
                             grv_error *error);
/* "http://127.0.0.1:8081": where it can be reached; lives as long as the server. */
const char *http_server_where(const http_server *server);
/* Connections that are open now. */
unsigned http_server_connections(const http_server *server);
/* Reads the tokens and the certificate again. Where they are wrong, what was there stays in force;
 * both outcomes are logged. */
void http_server_reload(http_server *server);
/*
 * Stops: no connection is accepted any more, what is in flight may finish for config.drain_ns or
 * until `hurry` is raised, the rest is given up. Returns how many were.
 */
unsigned http_server_stop(http_server *server, const grv_cancel *hurry);

#endif
