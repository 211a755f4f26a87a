/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's start and end. The parts are made in the order in which they rely on one another and
 * ended in the reverse one; the event threads come last and end before everything else.
 *
 * A stop waits for what is in flight. Invariant: libmicrohttpd is stopped only when no connection
 * is suspended, and the pools only when no exchange holds anything of the store.
 */
#include "base/wait.h"
#include "http/accept.h"
#include "http/auth.h"
#include "http/census.h"
#include "http/exchange.h"
#include "http/jobs.h"
#include "http/lend.h"
#include "http/listen.h"
#include "http/log.h"
#include "http/metrics.h"
#include "http/rate.h"
#include "http/router.h"
#include "http/tls.h"
#include "os/clock.h"
#include "os/random.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SERVER_WORKERS     16u
#define SERVER_MEMORY      ((size_t)64 << 10) /* of a connection: its headers must fit */
#define SERVER_EVENTS_MAX  64u
#define SERVER_SLACK       1024u /* connections that are accepted and not yet counted */
#define SERVER_ARRIVE_NS   UINT64_C(1000000000)
#define SERVER_LOOK_NS     UINT64_C(5000000)
#define SERVER_MHD_OPTIONS 16

/* ---- What libmicrohttpd calls ---- */

static void connection_notify(void *context, struct MHD_Connection *connection,
                              void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    http_server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = http_watch_add(server->watch, connection);
        atomic_fetch_add(&server->daemon->arrived, 1);
    } else if (*socket_context) {
        http_watch_remove(server->watch, *socket_context);
        *socket_context = NULL;
    }
}

/* Escapes are for the router. */
static size_t text_leave(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

static void daemon_log(void *context, const char *format, va_list arguments)
{
    const http_server *server = context;
    char text[512];
    if (vsnprintf(text, sizeof text, format, arguments) < 0) {
        return;
    }
    text[strcspn(text, "\n")] = '\0';
    http_log_event(server->log, "debug", "libmicrohttpd: %s", text);
}

/* ---- Start ---- */

static void config_complete(http_server_config *config)
{
    config->connections = config->connections ? config->connections : HTTP_CONNECTIONS_DEFAULT;
    config->streams = config->streams ? config->streams : HTTP_STREAMS_DEFAULT;
    config->queue = config->queue ? config->queue : HTTP_QUEUE_DEFAULT;
    config->idle_ns = config->idle_ns ? config->idle_ns : HTTP_IDLE_DEFAULT;
    config->rate_min = config->rate_min ? config->rate_min : HTTP_RATE_MIN_DEFAULT;
    config->store_timeout_ns =
        config->store_timeout_ns ? config->store_timeout_ns : HTTP_STORE_TIMEOUT_DEFAULT;
    config->drain_ns = config->drain_ns ? config->drain_ns : HTTP_DRAIN_DEFAULT;
    if (config->event_threads == 0) {
        config->event_threads = grv_pool_threads_default();
    }
    if (config->event_threads > SERVER_EVENTS_MAX) {
        config->event_threads = SERVER_EVENTS_MAX;
    }
}

/* As many descriptors as the system allows: connections and the store's files need them. */
static void files_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static grv_status daemon_start(http_server *server, grv_error *error)
{
    const http_server_config *config = &server->config;
    struct http_daemon *daemon = server->daemon;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
                     MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem options[SERVER_MHD_OPTIONS];
    size_t count = 0;
    if (config->event_threads > 1) {
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE,
                                                   (intptr_t)config->event_threads, NULL};
    }
    if (config->client_connections > 0) {
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                                                   (intptr_t)config->client_connections, NULL};
    }
    if (server->tls) {
        flags |= MHD_USE_TLS;
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK2, 0,
                                                   (void *)(intptr_t)http_tls_retrieve};
        options[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, HTTP_TLS_PRIORITIES};
    }
    options[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    daemon->mhd = MHD_start_daemon(flags, 0, NULL, NULL, http_exchange_handle, server, //
                                   MHD_OPTION_EXTERNAL_LOGGER, daemon_log, server,     //
                                   MHD_OPTION_CONNECTION_LIMIT,                        //
                                   config->connections + SERVER_SLACK,                 //
                                   MHD_OPTION_CONNECTION_MEMORY_LIMIT, SERVER_MEMORY,  //
                                   MHD_OPTION_STRICT_FOR_CLIENT, 1,                    //
                                   MHD_OPTION_URI_LOG_CALLBACK, http_exchange_begin, server,
                                   MHD_OPTION_UNESCAPE_CALLBACK, text_leave, NULL, //
                                   MHD_OPTION_NOTIFY_COMPLETED, http_exchange_end, server,
                                   MHD_OPTION_NOTIFY_CONNECTION, connection_notify, server,
                                   MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!daemon->mhd) {
        return grv_error_set(error, GRV_INTERNAL, "server",
                             "libmicrohttpd does not start; GRAVITON_DEBUG=1 shows what it says");
    }
    return GRV_OK;
}

static grv_status parts_start(http_server *server, grv_error *error)
{
    const http_server_config *config = &server->config;
    grv_status status = http_log_new(config->log_json, STDERR_FILENO, &server->log, error);
    if (!status) {
        status = http_router_new(config->fronts, &server->router, error);
    }
    if (!status) {
        status = http_metrics_new(config->fronts, &server->metrics, error);
    }
    if (!status && config->tokens) {
        status = http_auth_load(config->tokens, &server->auth, error);
    }
    if (!status && config->client_rate > 0) {
        status = http_rate_new(config->client_rate, &server->rate, error);
    }
    if (!status && config->tls_cert) {
        status = http_tls_new(config->tls_cert, config->tls_key, &server->tls, error);
    }
    if (!status) {
        status = grv_random_fill(&server->daemon->seed, sizeof server->daemon->seed, error);
    }
    if (!status) {
        status = http_listen_open(config, server->daemon, error);
    }
    if (!status) {
        status = grv_pool_new(SERVER_WORKERS, &server->workers, error);
    }
    if (!status) {
        status = http_streams_new(config->streams, config->queue, &server->streams, error);
    }
    if (!status && server->store) {
        status = http_census_new(server, &server->census, error);
    }
    if (!status && server->store) {
        status = http_jobs_new(server, &server->jobs, error);
    }
    if (!status && server->store) {
        status = http_lend_new(server, &server->lend, error);
    }
    if (!status) {
        status = http_watch_new(server, &server->watch, error);
    }
    if (!status) {
        status = daemon_start(server, error);
    }
    if (!status) {
        status = http_accept_new(server, &server->daemon->accept, error);
    }
    return status;
}

/* Ends whatever was made. */
static void server_free(http_server *server)
{
    if (server->daemon->mhd) {
        MHD_stop_daemon(server->daemon->mhd);
    }
    http_listen_close(server->daemon);
    http_watch_free(server->watch);
    http_jobs_free(server->jobs);
    http_lend_free(server->lend);
    http_census_free(server->census);
    http_streams_free(server->streams);
    grv_pool_free(server->workers);
    http_tls_free(server->tls);
    http_rate_free(server->rate);
    http_auth_free(server->auth);
    http_metrics_free(server->metrics);
    http_router_free(server->router);
    http_log_free(server->log);
    free(server->daemon);
    free(server);
}

grv_status http_server_start(const http_server_config *config, http_server **ret_server,
                             grv_error *error)
{
    http_server *server = calloc(1, sizeof *server);
    struct http_daemon *daemon = calloc(1, sizeof *daemon);
    if (!server || !daemon) {
        free(server);
        free(daemon);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "server", "no memory for a server");
    }
    daemon->listen_fd = -1;
    server->daemon = daemon;
    server->config = *config;
    server->store = config->store;
    server->blobs = config->store ? grv_store_blobs(config->store) : NULL;
    server->started_ns = grv_clock_realtime_ns();
    config_complete(&server->config);
    files_raise();
    /* Signals belong to the program's own threads, so those made here inherit a full mask. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    grv_status status = parts_start(server, error);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status) {
        server_free(server);
        return status;
    }
    *ret_server = server;
    return GRV_OK;
}

const char *http_server_where(const http_server *server)
{
    return server->daemon->where;
}

unsigned http_server_connections(const http_server *server)
{
    return http_watch_count(server->watch);
}

/* ---- Reload ---- */

static void reload_tell(const http_server *server, const char *what, const char *path,
                        grv_status status, const grv_error *error)
{
    if (status) {
        http_log_event(server->log, "error", "%s not reloaded, the old ones stay: %s", what,
                       error->message);
    } else {
        http_log_event(server->log, "info", "%s reloaded from %s", what, path);
    }
}

void http_server_reload(http_server *server)
{
    const http_server_config *config = &server->config;
    grv_error error = GRV_ERROR_INIT;
    if (server->auth) {
        grv_status status = http_auth_reload(server->auth, config->tokens, &error);
        reload_tell(server, "tokens", config->tokens, status, &error);
    }
    if (server->tls) {
        grv_status status = http_tls_reload(server->tls, config->tls_cert, config->tls_key, &error);
        reload_tell(server, "certificate and key", config->tls_cert, status, &error);
    }
}

/* ---- Stop ---- */

/* Waits until a count is zero, or, for a `call`, until that is over. */
static void count_wait(const grv_call *call, atomic_uint *count)
{
    while (atomic_load(count) > 0 && (!call || !grv_call_check(call, "server", NULL))) {
        grv_clock_sleep(SERVER_LOOK_NS);
    }
}

/* Waits a little until who came last has been seen: until then nothing counts its request. */
static void arrivals_wait(http_server *server, const grv_call *patience)
{
    struct http_daemon *daemon = server->daemon;
    uint64_t until = grv_now_ns() + SERVER_ARRIVE_NS;
    while ((atomic_load(&daemon->arrived) < atomic_load(&daemon->accepted) ||
            http_watch_count(server->watch) > atomic_load(&daemon->exchanges)) &&
           grv_now_ns() < until && !grv_call_check(patience, "server", NULL)) {
        grv_clock_sleep(SERVER_LOOK_NS);
    }
}

unsigned http_server_stop(http_server *server, const grv_cancel *hurry)
{
    struct http_daemon *daemon = server->daemon;
    const grv_call patience = {.deadline_ns = grv_now_ns() + server->config.drain_ns,
                               .cancel = hurry};
    atomic_store(&server->is_draining, true);
    http_accept_free(daemon->accept);
    daemon->accept = NULL;
    http_listen_close(daemon);
    http_watch_hurry(server->watch);
    arrivals_wait(server, &patience);
    count_wait(&patience, &daemon->exchanges);
    count_wait(&patience, &daemon->cleanups);
    unsigned given_up = atomic_load(&daemon->exchanges);
    grv_cancel_raise(&server->cancel);
    atomic_store(&daemon->is_closing, true);
    http_watch_hurry(server->watch);
    count_wait(NULL, &daemon->suspended);
    MHD_stop_daemon(daemon->mhd);
    daemon->mhd = NULL;
    count_wait(NULL, &daemon->cleanups);
    server_free(server);
    return given_up;
}
