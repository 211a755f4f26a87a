/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's own view of an exchange, for the files that carry one from its headers to its log
 * line: exchange.c (the way of a request), upload.c (bodies that come), reply.c (bodies that go).
 * Routes see http.h alone.
 */
#ifndef GRV_HTTP_EXCHANGE_H
#define GRV_HTTP_EXCHANGE_H

#include "http/streams.h"
#include "http/watch.h"

/* Of a body that streams, so much is gathered before the store is asked for anything: of one whose
 * length is known, and of a chunked one. */
#define HTTP_GATHER_LENGTH  ((size_t)256 << 10)
#define HTTP_GATHER_CHUNKED ((size_t)64 << 10)
/* Most stretches of memory that go out together. */
#define HTTP_VIEWS 64u
/* Of a body that nobody wants any more, so much is read before the connection is closed. */
#define HTTP_DROP_MAX ((uint64_t)1 << 30)
/* The same of a request that was refused by its headers. */
#define HTTP_DROP_REFUSED ((uint64_t)16 << 20)

/* Where an exchange is. What comes after a state is the handler's business: exchange.c. */
typedef enum http_state {
    HTTP_STATE_NEW = 0,    /* the headers are coming */
    HTTP_STATE_EXPECT = 1, /* a worker looks whether the body is wanted; the client waits */
    HTTP_STATE_GATHER = 2, /* the body goes into `gathered` */
    HTTP_STATE_FLOW = 3,   /* the body goes into the sink's window */
    HTTP_STATE_DROP = 4,   /* the answer is made, the rest of the body is of no interest */
    HTTP_STATE_READY = 5,  /* the answer is made */
    HTTP_STATE_SENDING = 6 /* libmicrohttpd has it */
} http_state;

typedef struct http_transfer http_transfer;

struct http_transfer {
    http_exchange exchange; /* first: what routes have a pointer to */
    struct MHD_Connection *connection;
    http_peer *peer;
    http_state state;
    http_turn turn; /* its task runs `step` on a worker */
    void (*step)(http_transfer *transfer);
    uint64_t started_ns;
    size_t target_size; /* of the request's target, up to a NUL */
    bool is_chunked;
    bool has_body;
    bool must_close;   /* the connection ends with this answer */
    bool is_complete;  /* the body is there whole */
    bool is_cut;       /* the answer cannot be gone on with */
    bool is_metered;   /* its begin was counted */
    uint64_t received; /* bytes of the body */
    uint64_t sent;     /* bytes of the answer's body, as far as libmicrohttpd asked for them */
    uint64_t dropped;  /* bytes that nobody wanted */
    uint64_t drop_max;
    grv_buffer gathered;
    grv_span window; /* of the sink, filled so far: */
    size_t filled;
    grv_bytes views[HTTP_VIEWS]; /* of the source */
    size_t view_count;
    size_t view_next;    /* the first that is not yet taken whole; it is what is left of it */
    uint64_t read_bytes; /* of the source, the views included */
    http_alarm alarm;    /* of an event stream: when the next event is made */
    grv_error cause;     /* what went wrong, for the log; GRV_OK: nothing */
    char *query;         /* raw, or NULL; taken apart at its first use */
    struct {
        const char *name;
        const char *value;
    } * arguments;
    size_t argument_count;
    bool query_is_parsed;
    char *decoded; /* the path's copy that the router takes apart */
    char text[];   /* path, query and `decoded` */
};

static inline http_transfer *http_transfer_of(http_exchange *exchange)
{
    return exchange->transfer;
}

/* ---- exchange.c: what libmicrohttpd calls ---- */

/* The request line is there: begins an exchange. NULL without memory. */
void *http_exchange_begin(void *server, const char *uri, struct MHD_Connection *connection);

/* Headers, pieces of the body, its end: MHD_AccessHandlerCallback. */
enum MHD_Result http_exchange_handle(void *server, struct MHD_Connection *connection,
                                     const char *url, const char *method, const char *version,
                                     const char *data, size_t *size, void **context);

/* The exchange is over, one way or another. */
void http_exchange_end(void *server, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode code);

/* ---- exchange.c: for the other two ---- */

/* Suspends the connection and has a worker run `step`, `with_turn` one of the streams', and resume
 * it. False: the server is closing, and so is the connection to be. Event thread. */
bool http_exchange_submit(http_transfer *transfer, void (*step)(http_transfer *transfer),
                          bool with_turn);

/* The same, but somebody else submits turn.task to a worker, or resumes it. */
bool http_exchange_suspend(http_transfer *transfer, void (*step)(http_transfer *transfer));

/* The connection's event thread goes on, and the transfer is its own again. */
void http_exchange_resume(http_transfer *transfer);

/* An answer was made: sets the state to what comes before it goes out. */
void http_exchange_answered(http_transfer *transfer);

/* Makes the answer to a failure, and sets the state; never fails itself. Any thread that has the
 * exchange. */
void http_exchange_fail(http_transfer *transfer, const grv_error *failure);
/* The same for a problem that is the client's. */
void http_exchange_refuse(http_transfer *transfer, const char *type, const char *detail);

/* The deadline of the next call of the store. */
void http_exchange_arm(http_transfer *transfer);

/* Counts what a step of the store's came to. */
void http_exchange_count(http_transfer *transfer, grv_status status);

/* Gives back what is the store's: sink, source, turn. A worker's, or where none of them is held but
 * a source that need not be waited for. */
void http_exchange_release(http_transfer *transfer);

/* ---- upload.c ---- */

/* Takes bytes of the body; *size is what is left of them. False: the connection is to be closed. */
bool http_upload_take(http_transfer *transfer, const char *data, size_t *size);

/* The body is there whole. False: the connection is to be closed. */
bool http_upload_end(http_transfer *transfer);

/* ---- reply.c ---- */

/* Forgets what was put into the reply, and frees its source. */
void http_reply_drop(http_exchange *exchange);

/* After `run`: reads the first of a source's bytes, so that a failure can still be told. Worker. */
void http_reply_prepare(http_transfer *transfer);

/* The same on an event thread, for what was made with call.no_wait. False: nothing is left of the
 * answer, and a worker is to make it. */
bool http_reply_prepare_quickly(http_transfer *transfer);

/* Gives the answer to libmicrohttpd. False: the connection is to be closed. Event thread. */
bool http_reply_queue(http_transfer *transfer);

#endif
