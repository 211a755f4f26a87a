/* SPDX-License-Identifier: Apache-2.0 */
/* Health, readiness, metrics, statistics and the dashboard. */
#include "http/auth.h"
#include "http/metrics.h"
#include "http/status.h"
#include "http/text.h"
#include "os/clock.h"

#include <stdlib.h>
#include <string.h>

#define STATUS_METRICS_MAX ((size_t)4 << 20)
#define STATUS_EVENT_MS    2000

/* None of these answers is true for long. */
static grv_status reply_fresh(http_exchange *exchange, grv_error *error)
{
    return http_reply_header(exchange, "Cache-Control", "no-store", error);
}

/*
 * Asks for a scope that the route's table cannot: it depends on the configuration or the query.
 * Where the client lacks it the reply is made, and *ret_allowed false.
 */
static grv_status scope_ask(http_exchange *exchange, http_scope wanted, bool *ret_allowed,
                            grv_error *error)
{
    http_server *server = exchange->server;
    const char *name;
    *ret_allowed = true;
    if (!server->auth) {
        return GRV_OK;
    }
    switch (http_auth_check(server->auth, http_header(exchange, "Authorization"), wanted, &name)) {
    case HTTP_AUTH_OK:
        return GRV_OK;
    case HTTP_AUTH_FORBIDDEN:
        *ret_allowed = false;
        return http_reply_problem(exchange, "forbidden", "the token lacks the scope for this",
                                  error);
    case HTTP_AUTH_MISSING:
    case HTTP_AUTH_UNKNOWN:
        break;
    }
    *ret_allowed = false;
    return http_reply_problem(exchange, "unauthorized", "this wants a token that is known", error);
}

static grv_status health_run(http_exchange *exchange, grv_error *error)
{
    grv_status status = http_reply_json(exchange, 200, json_pack("{s:s}", "status", "ok"), error);
    return status ? status : reply_fresh(exchange, error);
}

static grv_status ready_run(http_exchange *exchange, grv_error *error)
{
    http_server *server = exchange->server;
    grv_error failure = GRV_ERROR_INIT;
    grv_status status;
    if (atomic_load(&server->is_draining)) {
        status = http_reply_problem(exchange, "unavailable", "the server is stopping", error);
    } else if (http_census_ready(server->census, &failure)) {
        status = http_reply_problem(exchange, "unavailable", http_problem_detail(&failure), error);
    } else {
        status = http_reply_json(exchange, 200, json_pack("{s:s}", "status", "ready"), error);
    }
    return status ? status : reply_fresh(exchange, error);
}

static grv_status metrics_run(http_exchange *exchange, grv_error *error)
{
    http_server *server = exchange->server;
    if (server->config.metrics_scope) {
        bool allowed;
        grv_status status = scope_ask(exchange, HTTP_SCOPE_READ, &allowed, error);
        if (status || !allowed) {
            return status;
        }
    }
    grv_buffer text;
    grv_buffer_init(&text, STATUS_METRICS_MAX);
    grv_status status = http_metrics_render(server, &text, error);
    if (!status) {
        status = http_reply_text(exchange, 200, "text/plain; version=0.0.4; charset=utf-8",
                                 grv_buffer_bytes(&text), error);
    }
    grv_buffer_done(&text);
    return status ? status : reply_fresh(exchange, error);
}

/* Whether the query has exact=true or exact=1. */
static grv_status exact_parse(http_exchange *exchange, bool *ret_exact, grv_error *error)
{
    const char *text;
    grv_status status = http_query(exchange, "exact", &text, error);
    if (status) {
        return status;
    }
    bool yes = text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
    bool no = !text || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
    if (!yes && !no) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "exact is true or false");
    }
    *ret_exact = yes;
    return GRV_OK;
}

static grv_status stats_run(http_exchange *exchange, grv_error *error)
{
    http_server *server = exchange->server;
    http_count count;
    bool exact = false;
    bool allowed = true;
    grv_status status = exact_parse(exchange, &exact, error);
    if (!status && exact) {
        status = scope_ask(exchange, HTTP_SCOPE_ADMIN, &allowed, error);
    }
    if (status || !allowed) {
        return status;
    }
    if (exact) {
        status = http_census_wait(&exchange->call, server->census, &count, error);
        if (status) {
            return status;
        }
    } else {
        http_census_ask(server->census, &count);
    }
    json_t *object = json_object();
    json_t *own = json_object();
    bool whole = http_status_store(object, &count) && http_status_server(own, server);
    if (!whole || json_object_set(object, "server", own) < 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(own);
    status = http_reply_json(exchange, 200, object, error);
    return status ? status : reply_fresh(exchange, error);
}

/* ---- The dashboard ---- */

static json_t *dashboard_json(http_server *server)
{
    http_count count;
    http_census_ask(server->census, &count);
    json_t *object = json_object();
    bool whole = http_json_set(object, "time", http_json_time(grv_clock_realtime_ns())) &&
                 http_status_store(object, &count) && http_status_server(object, server);
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static grv_status dashboard_run(http_exchange *exchange, grv_error *error)
{
    grv_status status = http_reply_json(exchange, 200, dashboard_json(exchange->server), error);
    return status ? status : reply_fresh(exchange, error);
}

/* One event: a line of data, which JSON without line breaks is, and an empty line. */
static grv_status dashboard_event(http_exchange *exchange, grv_buffer *ret_event, grv_error *error)
{
    json_t *object = dashboard_json(exchange->server);
    char *text = object ? json_dumps(object, JSON_PRESERVE_ORDER | JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "status", "no memory for an event");
    }
    grv_status status = grv_buffer_append(ret_event, grv_bytes_of("data: ", 6), error);
    if (!status) {
        status = grv_buffer_append(ret_event, grv_bytes_of(text, strlen(text)), error);
    }
    if (!status) {
        status = grv_buffer_append(ret_event, grv_bytes_of("\n\n", 2), error);
    }
    free(text);
    return status;
}

static grv_status dashboard_stream_run(http_exchange *exchange, grv_error *error)
{
    grv_status status = http_reply_empty(exchange, 200, error);
    if (!status) {
        status = http_reply_header(exchange, "Content-Type", "text/event-stream", error);
    }
    if (!status) {
        /* nginx would gather the events otherwise. */
        status = http_reply_header(exchange, "X-Accel-Buffering", "no", error);
    }
    exchange->reply.event_period_ms = STATUS_EVENT_MS;
    exchange->reply.make_event = dashboard_event;
    return status ? status : reply_fresh(exchange, error);
}

const http_route http_front_status[] = {
    {
        .method = "GET",
        .pattern = "/api/health",
        .name = "health",
        .is_quick = true,
        .run = health_run,
    },
    {.method = "GET", .pattern = "/api/ready", .name = "ready", .run = ready_run},
    {
        .method = "GET",
        .pattern = "/metrics",
        .name = "metrics",
        .is_quick = true,
        .run = metrics_run,
    },
    {
        .method = "GET",
        .pattern = "/api/stats",
        .name = "stats",
        .scope = HTTP_SCOPE_READ,
        .run = stats_run,
    },
    {
        .method = "GET",
        .pattern = "/api/datalake/dashboard",
        .name = "dashboard",
        .scope = HTTP_SCOPE_READ,
        .run = dashboard_run,
    },
    {
        .method = "GET",
        .pattern = "/api/datalake/dashboard/stream",
        .name = "dashboard_stream",
        .scope = HTTP_SCOPE_READ,
        .run = dashboard_stream_run,
    },
    {.method = NULL},
};
