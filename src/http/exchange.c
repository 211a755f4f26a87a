/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of an exchange: from the request line to the log. The handler below is called by an event
 * thread with the headers, then with each piece of the body, then once more when the body is there,
 * and again after each resume; what it does is decided by the state alone.
 *
 * Three properties of libmicrohttpd 0.9.75 shape it. An answer given in the call for the headers
 * ends the connection, so it waits for the last call wherever there is no body. No answer can be
 * given between the two, so a body that nobody wants is read to its end. And the call that suspends
 * must not consume any of the body.
 */
#include "http/exchange.h"

#include "base/digits.h"
#include "core/wire.h"
#include "http/auth.h"
#include "http/daemon.h"
#include "http/fields.h"
#include "http/guard.h"
#include "http/log.h"
#include "http/metrics.h"
#include "http/origin.h"
#include "http/rate.h"
#include "http/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Beginning and end ---- */

/* A number that looks random and is not met twice: splitmix64 of a counter. */
static uint64_t serial_mix(uint64_t serial)
{
    serial *= UINT64_C(0x9e3779b97f4a7c15);
    serial = (serial ^ serial >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    serial = (serial ^ serial >> 27) * UINT64_C(0x94d049bb133111eb);
    return serial ^ serial >> 31;
}

/* Splits the target of a request: "http://host" before the path is of no interest. */
static void exchange_target(http_transfer *transfer, const char *uri, size_t size)
{
    char *path = transfer->text;
    memcpy(path, uri, size + 1);
    if (strncasecmp(path, "http://", 7) == 0 || strncasecmp(path, "https://", 8) == 0) {
        char *rest = strpbrk(strchr(path, '/') + 2, "/?");
        path = rest && *rest == '/' ? rest : path;
    }
    char *query = strchr(path, '?');
    if (query) {
        *query = '\0';
        transfer->query = query + 1;
    }
    transfer->exchange.path = path;
    transfer->decoded = transfer->text + size + 1;
    memcpy(transfer->decoded, path, strlen(path) + 1);
}

void *http_exchange_begin(void *server, const char *uri, struct MHD_Connection *connection)
{
    http_server *self = server;
    const union MHD_ConnectionInfo *context =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    http_peer *peer = context ? context->socket_context : NULL;
    uri = uri ? uri : "";
    size_t size = strlen(uri);
    http_transfer *transfer = peer ? calloc(1, sizeof *transfer + 2 * (size + 1)) : NULL;
    if (!transfer) {
        return NULL;
    }
    transfer->exchange.server = self;
    transfer->exchange.transfer = transfer;
    transfer->exchange.call.cancel = &self->cancel;
    transfer->exchange.method = "-";
    transfer->connection = connection;
    transfer->peer = peer;
    transfer->target_size = size;
    transfer->started_ns = grv_now_ns();
    transfer->drop_max = HTTP_DROP_MAX;
    uint64_t serial = atomic_fetch_add_explicit(&self->daemon->serial, 1, memory_order_relaxed);
    uint8_t id[8];
    grv_wire_put_u64be(id, serial_mix(self->daemon->seed + serial));
    grv_hex_print(id, sizeof id, transfer->exchange.request_id);
    grv_buffer_init(&transfer->exchange.reply.text, SIZE_MAX);
    grv_buffer_init(&transfer->exchange.reply.headers, HTTP_JSON_MAX);
    exchange_target(transfer, uri, size);
    atomic_store_explicit(&peer->phase, HTTP_PHASE_HEADERS, memory_order_relaxed);
    atomic_fetch_add(&self->daemon->exchanges, 1);
    return transfer;
}

static void transfer_free(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    if (exchange->route && exchange->route->done) {
        exchange->route->done(exchange);
    }
    grv_buffer_done(&transfer->gathered);
    grv_buffer_done(&exchange->reply.text);
    grv_buffer_done(&exchange->reply.headers);
    free(transfer->arguments);
    free(transfer);
}

void http_exchange_release(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    grv_sink_free(exchange->sink);
    exchange->sink = NULL;
    grv_source_free(exchange->reply.source);
    exchange->reply.source = NULL;
    transfer->view_count = 0;
    transfer->window = (grv_span){0};
    http_streams_leave(exchange->server->streams, &transfer->turn);
}

/* On a worker, when the connection is gone: what it held goes back. */
static void cleanup_run(grv_task *task)
{
    http_transfer *transfer =
        (http_transfer *)(void *)((char *)task - offsetof(http_transfer, turn.task));
    struct http_daemon *daemon = transfer->exchange.server->daemon;
    http_exchange_release(transfer);
    transfer_free(transfer);
    atomic_fetch_sub(&daemon->cleanups, 1);
}

void http_exchange_count(http_transfer *transfer, grv_status status)
{
    http_metrics_store(transfer->exchange.server->metrics, status);
}

/* The line in the log, and the figures. An answer that did not get through says so. */
static void exchange_record(http_transfer *transfer, enum MHD_RequestTerminationCode code)
{
    http_exchange *exchange = &transfer->exchange;
    http_server *server = exchange->server;
    bool is_sent = transfer->state == HTTP_STATE_SENDING;
    unsigned status = is_sent ? exchange->reply.status : 0;
    uint64_t duration = grv_now_ns() - transfer->started_ns;
    uint64_t in = transfer->received + transfer->dropped;
    uint64_t out = transfer->sent;
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK && is_sent && !exchange->is_head) {
        out = exchange->reply.source ? exchange->reply.length : exchange->reply.text.size;
    }
    if (exchange->reply.event_period_ms > 0) {
        out = transfer->sent;
    } else if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK && !transfer->cause.status) {
        grv_error_set(&transfer->cause, GRV_CANCELLED, "http",
                      code == MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN
                          ? "given up: the server stopped"
                          : "the connection ended before its time");
    }
    if (transfer->is_metered) {
        http_metrics_end(server->metrics, exchange->route, status, duration, in, out);
    }
    http_log_request(server, exchange, status, in, out, duration, transfer->peer->client,
                     transfer->cause.status ? &transfer->cause : NULL);
}

void http_exchange_end(void *server, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode code)
{
    http_server *self = server;
    http_transfer *transfer = *context;
    (void)connection;
    if (!transfer) {
        return;
    }
    *context = NULL;
    exchange_record(transfer, code);
    http_peer_reset(transfer->peer, HTTP_PHASE_IDLE);
    http_exchange *exchange = &transfer->exchange;
    if (exchange->sink || exchange->reply.source) {
        atomic_fetch_add(&self->daemon->cleanups, 1);
        atomic_fetch_sub(&self->daemon->exchanges, 1);
        transfer->turn.task.run = cleanup_run;
        http_streams_again(self->streams, &transfer->turn);
        return;
    }
    http_streams_leave(self->streams, &transfer->turn);
    transfer_free(transfer);
    atomic_fetch_sub(&self->daemon->exchanges, 1);
}

/* ---- Answers to what failed ---- */

void http_exchange_answered(http_transfer *transfer)
{
    transfer->state = transfer->is_complete ? HTTP_STATE_READY : HTTP_STATE_DROP;
}

/* Without memory even for a problem document. */
static void exchange_bare(http_transfer *transfer)
{
    http_reply_drop(&transfer->exchange);
    transfer->exchange.reply.status = MHD_HTTP_INTERNAL_SERVER_ERROR;
}

void http_exchange_fail(http_transfer *transfer, const grv_error *failure)
{
    grv_error error = GRV_ERROR_INIT;
    transfer->cause = *failure;
    http_reply_drop(&transfer->exchange);
    if (http_reply_failure(&transfer->exchange, failure, &error)) {
        exchange_bare(transfer);
    }
    http_exchange_answered(transfer);
}

void http_exchange_refuse(http_transfer *transfer, const char *type, const char *detail)
{
    grv_error error = GRV_ERROR_INIT;
    http_reply_drop(&transfer->exchange);
    if (http_reply_problem(&transfer->exchange, type, detail, &error)) {
        exchange_bare(transfer);
    }
    http_exchange_answered(transfer);
}

/* ---- Workers ---- */

void http_exchange_arm(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    exchange->call.deadline_ns = grv_now_ns() + exchange->server->config.store_timeout_ns;
}

static void step_run(grv_task *task)
{
    http_transfer *transfer =
        (http_transfer *)(void *)((char *)task - offsetof(http_transfer, turn.task));
    http_exchange_arm(transfer);
    transfer->step(transfer);
    http_exchange_resume(transfer);
}

/* On the watch: the exchange waited for a turn in vain. */
static void step_refuse(http_turn *turn, grv_status why)
{
    http_transfer *transfer =
        (http_transfer *)(void *)((char *)turn - offsetof(http_transfer, turn));
    grv_error error = GRV_ERROR_INIT;
    if (why == GRV_CANCELLED) {
        grv_error_set(&error, why, "http", "the server stopped before this request had its turn");
    } else {
        grv_error_set(&error, why, "http", "no turn came free in time; try again");
    }
    http_exchange_fail(transfer, &error);
    http_exchange_resume(transfer);
}

bool http_exchange_suspend(http_transfer *transfer, void (*step)(http_transfer *transfer))
{
    http_server *server = transfer->exchange.server;
    atomic_fetch_add(&server->daemon->suspended, 1);
    if (atomic_load(&server->daemon->is_closing)) {
        atomic_fetch_sub(&server->daemon->suspended, 1);
        return false;
    }
    http_peer_turn_to(transfer->peer, HTTP_PHASE_SERVER);
    transfer->step = step;
    transfer->turn.task.run = step_run;
    MHD_suspend_connection(transfer->connection);
    return true;
}

bool http_exchange_submit(http_transfer *transfer, void (*step)(http_transfer *transfer),
                          bool with_turn)
{
    http_server *server = transfer->exchange.server;
    if (!http_exchange_suspend(transfer, step)) {
        return false;
    }
    if (!with_turn) {
        grv_pool_submit(server->workers, &transfer->turn.task);
    } else if (transfer->turn.is_held) {
        http_streams_again(server->streams, &transfer->turn);
    } else {
        transfer->turn.refuse = step_refuse;
        transfer->turn.is_put = transfer->exchange.route->body == HTTP_BODY_STREAM;
        if (!http_streams_enter(server->streams, &transfer->turn)) {
            grv_error error = GRV_ERROR_INIT;
            grv_error_set(&error, GRV_LIMIT_EXCEEDED, "http",
                          "too many requests wait for a turn; try again");
            http_exchange_fail(transfer, &error);
            http_exchange_resume(transfer);
        }
    }
    return true;
}

void http_exchange_resume(http_transfer *transfer)
{
    struct http_daemon *daemon = transfer->exchange.server->daemon;
    struct MHD_Connection *connection = transfer->connection;
    http_state state = transfer->state;
    if (state == HTTP_STATE_FLOW || state == HTTP_STATE_DROP) {
        http_peer_turn_to(transfer->peer, HTTP_PHASE_BODY);
    } else if (state == HTTP_STATE_SENDING) {
        http_peer_turn_to(transfer->peer, HTTP_PHASE_ANSWER);
    }
    MHD_resume_connection(connection);
    atomic_fetch_sub(&daemon->suspended, 1);
}

/* ---- Headers ---- */

static void refuse_methods(http_transfer *transfer, const char *allow)
{
    grv_error error = GRV_ERROR_INIT;
    http_exchange *exchange = &transfer->exchange;
    bool asks = strcmp(exchange->method, "OPTIONS") == 0;
    if (asks) {
        if (http_reply_empty(exchange, MHD_HTTP_NO_CONTENT, &error)) {
            exchange_bare(transfer);
        }
        http_exchange_answered(transfer);
    } else {
        http_exchange_refuse(transfer, "method-not-allowed",
                             "this path is there, but not for this method");
    }
    if (http_reply_header(exchange, "Allow", allow, &error)) {
        exchange_bare(transfer);
    }
}

/* Finds the route. False: refused. */
static bool headers_route(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    char allow[HTTP_ALLOW_SIZE];
    const http_route *route = NULL;
    exchange->is_head = strcmp(exchange->method, "HEAD") == 0;
    switch (http_router_find(exchange->server->router, exchange->method, transfer->decoded, &route,
                             exchange->params, allow)) {
    case HTTP_FOUND:
        break;
    case HTTP_FOUND_METHODS:
        refuse_methods(transfer, allow);
        return false;
    case HTTP_FOUND_BAD_PATH:
        http_exchange_refuse(transfer, "bad-request",
                             "the path has an empty segment, \".\", \"..\", a NUL, an escaped "
                             "slash or a wrong escape");
        return false;
    case HTTP_FOUND_NOTHING:
    case HTTP_FOUND_TOO_DEEP:
        http_exchange_refuse(transfer, "not-found", "there is no such route");
        return false;
    }
    exchange->route = route;
    return true;
}

/* While the server drains, only those who look after it are answered. True: refused. */
static bool headers_drain(http_transfer *transfer)
{
    const http_exchange *exchange = &transfer->exchange;
    if (!atomic_load_explicit(&exchange->server->is_draining, memory_order_relaxed) ||
        exchange->route->scope == HTTP_SCOPE_NONE) {
        return false;
    }
    http_exchange_refuse(transfer, "unavailable", "the server is stopping");
    return true;
}

/* Whether it is no web page that asks behind its user's back. False: refused. */
static bool headers_origin(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    const http_server *server = exchange->server;
    if (server->auth || server->config.insecure || !transfer->peer->is_tcp) {
        return true;
    }
    const char *fault =
        http_origin_fault(http_header(exchange, "Host"), http_header(exchange, "Sec-Fetch-Site"),
                          http_header(exchange, "Origin"));
    if (fault) {
        http_exchange_refuse(transfer, "forbidden", fault);
    }
    return !fault;
}

/* Whether the client may ask for this. False: refused. */
static bool headers_auth(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    http_server *server = exchange->server;
    http_scope scope = exchange->route->scope;
    if (server->config.metrics_scope && strcmp(exchange->route->name, "metrics") == 0) {
        scope = HTTP_SCOPE_READ;
    }
    if (!server->auth) {
        return true;
    }
    switch (http_auth_check(server->auth, http_header(exchange, "Authorization"), scope,
                            &exchange->token_name)) {
    case HTTP_AUTH_OK:
        return true;
    case HTTP_AUTH_MISSING:
        http_exchange_refuse(transfer, "unauthorized", "this needs a token");
        return false;
    case HTTP_AUTH_UNKNOWN:
        http_exchange_refuse(transfer, "unauthorized", "the token is not known");
        return false;
    case HTTP_AUTH_FORBIDDEN:
        break;
    }
    http_exchange_refuse(transfer, "forbidden", "the token does not allow this");
    return false;
}

/* Whether the client asks no more often than it may. False: refused. */
static bool headers_rate(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    const http_server *server = exchange->server;
    grv_bytes client = grv_bytes_of(transfer->peer->rate_key, transfer->peer->rate_key_size);
    unsigned seconds = 0;
    if (exchange->token_name) {
        client = grv_bytes_of(exchange->token_name, strlen(exchange->token_name));
    }
    if (!server->rate || http_rate_take(server->rate, client, transfer->started_ns, &seconds)) {
        return true;
    }
    grv_error error = GRV_ERROR_INIT;
    char text[16];
    snprintf(text, sizeof text, "%u", seconds);
    http_exchange_refuse(transfer, "too-many-requests", "more requests than a client may make");
    if (http_reply_header(exchange, "Retry-After", text, &error)) {
        exchange_bare(transfer);
    }
    return false;
}

static bool is_json(const char *type)
{
    static const char *const good[] = {"application/json", "application/x-www-form-urlencoded"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t size = strlen(good[i]);
        if (strncasecmp(type, good[i], size) == 0 && (!type[size] || strchr("; \t", type[size]))) {
            return true;
        }
    }
    return false;
}

/* Whether the body is one that the route takes. False: refused. */
static bool headers_body(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    const http_route *route = exchange->route;
    uint64_t max = exchange->server->config.body_max;
    const char *coding = http_header(exchange, "Content-Encoding");
    const char *type = http_header(exchange, "Content-Type");
    if (route->body == HTTP_BODY_NONE && transfer->has_body) {
        http_exchange_refuse(transfer, "bad-request", "this request takes no body");
        return false;
    }
    if (!transfer->has_body) {
        return true;
    }
    if (coding && strcasecmp(coding, "identity") != 0) {
        http_exchange_refuse(transfer, "unsupported-media-type",
                             "a Content-Encoding other than identity");
        return false;
    }
    if (route->body == HTTP_BODY_SMALL && type && !is_json(type)) {
        http_exchange_refuse(transfer, "unsupported-media-type", "the body must be JSON");
        return false;
    }
    if (route->body == HTTP_BODY_SMALL) {
        max = HTTP_JSON_MAX;
    }
    if (max > 0 && exchange->has_length && exchange->length > max) {
        http_exchange_refuse(transfer, "content-too-large", "the body is too long");
        return false;
    }
    return true;
}

/* Everything that is decided by the headers. Afterwards the state is GATHER, or there is an
 * answer. */
static void headers_judge(http_transfer *transfer, const char *url, const char *version)
{
    http_exchange *exchange = &transfer->exchange;
    http_framing framing = {0};
    const char *fault =
        http_guard_check(transfer->connection, exchange->method, url, version, &framing);
    if (!fault && version != url + transfer->target_size + 1) {
        fault = "the request's target has a NUL";
    }
    if (fault) {
        transfer->must_close = true;
        http_exchange_refuse(transfer, "bad-request", fault);
        return;
    }
    transfer->is_chunked = framing.is_chunked;
    transfer->has_body = framing.is_chunked || framing.length > 0;
    exchange->has_length = framing.has_length;
    exchange->length = framing.length;
    exchange->expects_continue = framing.expect && transfer->has_body &&
                                 strcasecmp(framing.expect, "100-continue") == 0 &&
                                 strcmp(version, "HTTP/1.1") == 0;
    if (framing.expect && strcasecmp(framing.expect, "100-continue") != 0) {
        transfer->must_close =
            true; /* the client may wait with its body, for what it will not get */
        http_exchange_refuse(transfer, "expectation-failed", "only 100-continue can be expected");
        return;
    }
    const char *parent = http_header(exchange, "traceparent");
    if (parent) {
        http_traceparent_parse(parent, exchange->call.trace_id);
    }
    /* What is refused counts as much as what is not; and nobody learns more than that. */
    bool may = headers_origin(transfer) && headers_route(transfer) && headers_auth(transfer);
    if (!headers_rate(transfer) || !may || headers_drain(transfer) || !headers_body(transfer)) {
        return;
    }
    grv_error error = GRV_ERROR_INIT;
    if (exchange->route->begin && exchange->route->begin(exchange, &error)) {
        http_exchange_fail(transfer, &error);
        return;
    }
    if (exchange->reply.status) {
        http_exchange_answered(transfer);
        return;
    }
    transfer->state = HTTP_STATE_GATHER;
}

static void step_expect(http_transfer *transfer)
{
    grv_error error = GRV_ERROR_INIT;
    if (transfer->exchange.route->expect(&transfer->exchange, &error)) {
        http_exchange_fail(transfer, &error);
        transfer->state = HTTP_STATE_EXPECT;
    }
}

/* The first call of the handler. False: the connection is to be closed. */
static bool exchange_headers(http_transfer *transfer, const char *url, const char *version)
{
    http_exchange *exchange = &transfer->exchange;
    http_metrics_begin(exchange->server->metrics);
    transfer->is_metered = true;
    headers_judge(transfer, url, version);
    if (transfer->state == HTTP_STATE_GATHER) {
        if (exchange->expects_continue && exchange->route->expect) {
            transfer->state = HTTP_STATE_EXPECT;
            return http_exchange_submit(transfer, step_expect, false);
        }
        http_peer_reset(transfer->peer, HTTP_PHASE_BODY);
        return true;
    }
    transfer->drop_max = HTTP_DROP_REFUSED;
    if (transfer->must_close || exchange->expects_continue ||
        (exchange->has_length && exchange->length > transfer->drop_max)) {
        return http_reply_queue(transfer);
    }
    http_peer_reset(transfer->peer, HTTP_PHASE_BODY);
    return true;
}

/* ---- The handler ---- */

static bool exchange_go_on(http_transfer *transfer, const char *url, const char *version,
                           const char *data, size_t *size)
{
    switch (transfer->state) {
    case HTTP_STATE_NEW:
        return exchange_headers(transfer, url, version);
    case HTTP_STATE_EXPECT:
        if (transfer->exchange.reply.status) {
            return http_reply_queue(transfer);
        }
        transfer->state = HTTP_STATE_GATHER;
        http_peer_reset(transfer->peer, HTTP_PHASE_BODY);
        return true;
    case HTTP_STATE_GATHER:
    case HTTP_STATE_FLOW:
    case HTTP_STATE_DROP:
        return *size > 0 ? http_upload_take(transfer, data, size) : http_upload_end(transfer);
    case HTTP_STATE_READY:
        return http_reply_queue(transfer);
    case HTTP_STATE_SENDING:
        break;
    }
    return false;
}

enum MHD_Result http_exchange_handle(void *server, struct MHD_Connection *connection,
                                     const char *url, const char *method, const char *version,
                                     const char *data, size_t *size, void **context)
{
    http_transfer *transfer = *context;
    (void)server;
    (void)connection;
    if (!transfer) {
        return MHD_NO;
    }
    transfer->exchange.method = method;
    return exchange_go_on(transfer, url, version, data, size) ? MHD_YES : MHD_NO;
}
