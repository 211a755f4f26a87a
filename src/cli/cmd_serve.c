/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve: the store over HTTP. Reads the options, opens the store, starts the server, and waits for
 * signals: the first SIGTERM or SIGINT lets what is in flight end, the second ends at once, SIGHUP
 * reads tokens and certificate again.
 */
#include "cli/cli.h"
#include "cli/notify.h"
#include "cli/signals.h"
#include "http/admin.h"
#include "http/api.h"
#include "http/log.h"
#include "http/status.h"

#include <errno.h>
#include <fcntl.h>
#include <graviton/backend/cas.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVE_PORT_DEFAULT "8081"
#define SERVE_THREADS_MAX  64u
#define SERVE_COUNT_MAX    1000000u
#define SERVE_SIZE_MAX     (UINT64_C(1) << 62)
/* Buffers of streams from this on go back to the system when they are freed: left to itself malloc
 * would keep as much again in each thread's arena. */
#define SERVE_MALLOC_KEEP (512 << 10)

static const http_route *const serve_fronts[] = {http_front_api, http_front_status,
                                                 http_front_admin, NULL};

/* ---- Options ---- */

typedef struct serve_number {
    const char *text;
    const char *name;
    uint64_t max;
    unsigned *field;
} serve_number;

typedef struct serve_quantity {
    const char *text;
    const char *name;
    uint64_t *field;
} serve_quantity;

static grv_status numbers_parse(const cli_options *options, http_server_config *config,
                                grv_error *error)
{
    const serve_number numbers[] = {
        {options->connections, "--connections", SERVE_COUNT_MAX, &config->connections},
        {options->client_connections, "--client-connections", SERVE_COUNT_MAX,
         &config->client_connections},
        {options->client_rate, "--client-rate", SERVE_COUNT_MAX, &config->client_rate},
        {options->event_threads, "--event-threads", SERVE_THREADS_MAX, &config->event_threads},
        {options->streams, "--streams", GRV_POOL_THREADS_MAX, &config->streams},
        {options->queue, "--queue", SERVE_COUNT_MAX, &config->queue},
    };
    grv_status status = GRV_OK;
    for (size_t i = 0; !status && i < sizeof numbers / sizeof *numbers; i++) {
        uint64_t number = 0;
        if (numbers[i].text) {
            status = cli_number_parse(numbers[i].text, numbers[i].name, 1, numbers[i].max, &number,
                                      error);
            *numbers[i].field = (unsigned)number;
        }
    }
    return status;
}

static grv_status quantities_parse(const cli_options *options, http_server_config *config,
                                   uint64_t *memory, grv_error *error)
{
    const serve_quantity times[] = {
        {options->idle_timeout, "--idle-timeout", &config->idle_ns},
        {options->store_timeout, "--store-timeout", &config->store_timeout_ns},
        {options->drain, "--drain", &config->drain_ns},
        {options->gc_every, "--gc-every", &config->gc_period_ns},
        {options->scrub_every, "--scrub-every", &config->scrub_period_ns},
    };
    const serve_quantity sizes[] = {
        {options->max_body, "--max-body", &config->body_max},
        {options->rate_min, "--rate-min", &config->rate_min},
        {options->scrub_rate, "--scrub-rate", &config->scrub_rate_bytes},
        {options->memory, "--memory", memory},
    };
    grv_status status = GRV_OK;
    for (size_t i = 0; !status && i < sizeof times / sizeof *times; i++) {
        if (times[i].text) {
            status = cli_duration_parse(times[i].text, times[i].name, times[i].field, error);
        }
    }
    for (size_t i = 0; !status && i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t min = sizes[i].field == memory ? GRV_CAS_BUDGET_MIN : 1;
        if (sizes[i].text) {
            status = cli_size_parse(sizes[i].text, sizes[i].name, min, SERVE_SIZE_MAX,
                                    sizes[i].field, error);
        }
    }
    return status;
}

/* Where to listen: the option, the socket that systemd passed, or the loopback interface. */
static grv_status listen_choose(const cli_options *options, char *room, size_t room_size,
                                const char **ret_listen, grv_error *error)
{
    const char *passed = getenv("LISTEN_FDS");
    const char *port = getenv("GRAVITON_HTTP_PORT");
    uint64_t number = 0;
    if (options->listen || (passed && *passed)) {
        *ret_listen = options->listen;
        return GRV_OK;
    }
    port = port && *port ? port : SERVE_PORT_DEFAULT;
    grv_status status = cli_number_parse(port, "GRAVITON_HTTP_PORT", 0, UINT16_MAX, &number, error);
    if (!status) {
        snprintf(room, room_size, "127.0.0.1:%s", port);
        *ret_listen = room;
    }
    return status;
}

static grv_status config_parse(cli_run *cli, http_server_config *config, grv_error *error)
{
    static char room[32];
    const cli_options *options = &cli->options;
    uint64_t memory = 0;
    config->fronts = serve_fronts;
    config->tls_cert = options->tls_cert;
    config->tls_key = options->tls_key;
    config->tokens = options->tokens;
    config->insecure = options->insecure;
    config->metrics_scope = options->metrics_scope;
    config->backup_directory = options->backup_dir;
    config->log_json = cli->output.json;
    grv_status status = numbers_parse(options, config, error);
    if (!status) {
        status = quantities_parse(options, config, &memory, error);
    }
    if (!status) {
        status = listen_choose(options, room, sizeof room, &config->listen, error);
    }
    if (status) {
        return status;
    }
    cli->budget_bytes = (size_t)memory;
    if (options->log) {
        config->log_json = strcmp(options->log, "json") == 0;
        if (!config->log_json && strcmp(options->log, "logfmt") != 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                                 "bad --log \"%s\": want logfmt or json", options->log);
        }
    }
    if (!options->tls_cert != !options->tls_key) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                             "--tls-cert and --tls-key go together");
    }
    if (options->metrics_scope && !options->tokens) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                             "--metrics-scope needs --tokens");
    }
    return GRV_OK;
}

/* ---- Signals ---- */

static volatile sig_atomic_t serve_ending;
static int serve_pipe[2] = {-1, -1};

static void serve_handle(int number)
{
    int saved = errno;
    bool reloads = number == SIGHUP;
    if (!reloads && serve_ending) {
        _exit(CLI_EXIT_SIGNAL + number);
    }
    serve_ending = serve_ending || !reloads;
    /* A full pipe has enough to say already. */
    ssize_t written = write(serve_pipe[1], reloads ? "h" : "e", 1);
    (void)written;
    errno = saved;
}

static grv_status signals_take(grv_error *error)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    if (pipe2(serve_pipe, O_CLOEXEC) < 0 || fcntl(serve_pipe[1], F_SETFL, O_NONBLOCK) < 0) {
        return grv_error_set_errno(error, errno, "serve", "cannot make a pipe");
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        struct sigaction handle = {.sa_handler = serve_handle, .sa_flags = SA_RESTART};
        if (sigaction(numbers[i], NULL, &before) < 0) {
            return grv_error_set_errno(error, errno, "serve", "cannot ask for signal %d",
                                       numbers[i]);
        }
        /* A shell has its jobs in the background ignore SIGINT. */
        bool stays = before.sa_handler == SIG_IGN && numbers[i] == SIGINT;
        if (!stays && sigaction(numbers[i], &handle, NULL) < 0) {
            return grv_error_set_errno(error, errno, "serve", "cannot catch signal %d", numbers[i]);
        }
    }
    return GRV_OK;
}

/* The next signal: 'h' or 'e'. It waits in poll: a thread that stands in read gets its signals late
 * under ThreadSanitizer, which is never. */
static char signal_wait(void)
{
    struct pollfd wait = {.fd = serve_pipe[0], .events = POLLIN};
    char byte = 'e';
    int ready;
    do {
        ready = poll(&wait, 1, -1);
    } while (ready < 0 && errno == EINTR);
    if (ready != 1 || read(serve_pipe[0], &byte, 1) != 1) {
        byte = 'e';
    }
    return byte;
}

/* ---- The command ---- */

/* A store's address without what may be secret in it. */
static void address_show(const char *url, char *room, size_t room_size)
{
    const char *host = strstr(url, "://");
    const char *at = host ? strrchr(host, '@') : NULL;
    const char *query = host ? strchr(host, '?') : NULL;
    if (at && query && query < at) {
        /* A query with an @ in it, or a password with a question mark: which, nobody can tell. */
        snprintf(room, room_size, "%.*s…", (int)(host + 3 - url), url);
        return;
    }
    int head = host && at ? (int)(host + 3 - url) : 0;
    const char *rest = host && at ? at + 1 : url;
    snprintf(room, room_size, "%.*s%.*s", head, url, (int)strcspn(rest, "?"), rest);
}

static void store_show(const grv_store_config *store, char *room, size_t room_size)
{
    char blocks[256];
    char meta[256];
    if (store->directory) {
        address_show(store->directory, room, room_size);
        return;
    }
    address_show(store->blocks, blocks, sizeof blocks);
    address_show(store->meta, meta, sizeof meta);
    snprintf(room, room_size, "%s with %s", blocks, meta);
}

static void serve_tell(http_server *server, const char *state)
{
    grv_error error = GRV_ERROR_INIT;
    if (cli_notify(state, &error)) {
        http_log_event(server->log, "warning", "%s", error.message);
    }
}

/* Serves until a signal ends it. */
static void serve_loop(cli_run *cli, http_server *server)
{
    char store[600];
    store_show(&cli->config.store, store, sizeof store);
    http_log_event(server->log, "info", "graviton serves %s at %s", store,
                   http_server_where(server));
    serve_tell(server, "READY=1");
    while (signal_wait() == 'h') {
        serve_tell(server, "RELOADING=1");
        http_server_reload(server);
        serve_tell(server, "READY=1");
    }
    http_log_event(server->log, "info",
                   "stopping: what is in flight may end; another signal ends at once");
    serve_tell(server, "STOPPING=1");
    unsigned given_up = http_server_stop(server, NULL);
    if (given_up > 0) {
        cli_report_warning(&cli->output, "stopped; %u requests were given up", given_up);
    }
}

static int serve_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    http_server_config config = {0};
    http_server *server = NULL;
    mallopt(M_MMAP_THRESHOLD, SERVE_MALLOC_KEEP);
    if (config_parse(cli, &config, &error) || cli_store_open(cli, CLI_SERVE, &error) ||
        signals_take(&error)) {
        return cli_fail(cli, &error);
    }
    config.store = cli->store;
    if (cli_signals_raised()) {
        grv_error_set(&error, GRV_CANCELLED, "serve", "stopped before it began");
        return cli_fail(cli, &error);
    }
    if (http_server_start(&config, &server, &error)) {
        return cli_fail(cli, &error);
    }
    serve_loop(cli, server);
    return CLI_EXIT_OK;
}

#define TEXT(name, field)                                                                          \
    {                                                                                              \
        name, 0, CLI_OPTION_TEXT, offsetof(cli_options, field)                                     \
    }
#define FLAG(name, field)                                                                          \
    {                                                                                              \
        name, 0, CLI_OPTION_FLAG, offsetof(cli_options, field)                                     \
    }

static const cli_option serve_options[] = {
    TEXT("listen", listen),
    TEXT("tls-cert", tls_cert),
    TEXT("tls-key", tls_key),
    TEXT("tokens", tokens),
    FLAG("insecure", insecure),
    FLAG("metrics-scope", metrics_scope),
    TEXT("max-body", max_body),
    TEXT("connections", connections),
    TEXT("client-connections", client_connections),
    TEXT("client-rate", client_rate),
    TEXT("event-threads", event_threads),
    TEXT("streams", streams),
    TEXT("queue", queue),
    TEXT("idle-timeout", idle_timeout),
    TEXT("rate-min", rate_min),
    TEXT("store-timeout", store_timeout),
    TEXT("drain", drain),
    TEXT("memory", memory),
    TEXT("log", log),
    TEXT("backup-dir", backup_dir),
    TEXT("gc-every", gc_every),
    TEXT("scrub-every", scrub_every),
    TEXT("scrub-rate", scrub_rate),
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char serve_help[] =
    "usage: graviton serve [--listen ADDRESS:PORT] [OPTION…]\n"
    "\n"
    "Serves the store over HTTP, and makes it where there is none: POST /api/blobs stores a body\n"
    "and answers its id, GET /api/blobs/ID gives it back. The program's own commands work through\n"
    "it too. docs/http.md has every route. The log is on stderr, a line a request.\n"
    "\n"
    "SIGTERM and SIGINT end it when what is in flight has ended, a second one at once; SIGHUP has\n"
    "it read the tokens and the certificate again.\n"
    "\n"
    "options:\n"
    "  --listen WHERE       ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH (default 127.0.0.1:8081, or\n"
    "                       GRAVITON_HTTP_PORT; or the socket that systemd passes)\n"
    "  --tls-cert FILE      serve HTTPS with this certificate (PEM, the chain behind it)\n"
    "  --tls-key FILE       and its key\n"
    "  --tokens FILE        ask for a token with every request; FILE has their hashes\n"
    "  --insecure           without tokens, be reachable from other machines, and under any name,\n"
    "                       all the same\n"
    "  --metrics-scope      ask for a token with scope read at /metrics too\n"
    "  --max-body SIZE      refuse to store more than so many bytes as one blob (default: any)\n"
    "  --connections N      open at once (default 4096)\n"
    "  --client-connections N  of one address (default: any)\n"
    "  --client-rate N      requests a second of one token or address (default: any)\n"
    "  --event-threads N    that move bytes (default: one a core)\n"
    "  --streams N          uploads and downloads that hold memory at once (default 192)\n"
    "  --queue N            that wait for that (default 1024)\n"
    "  --idle-timeout TIME  for a request's headers, and before a body is too slow (default 60s)\n"
    "  --rate-min SIZE      bytes a second that a client must manage on average (default 1K)\n"
    "  --store-timeout TIME for one call of the store (default 120s)\n"
    "  --drain TIME         that requests in flight have when it is stopped (default 30s)\n"
    "  --memory SIZE        for the bytes of all streams (default 128M; with S3 256M)\n"
    "  --log FORMAT         logfmt or json\n"
    "  --backup-dir DIR     where backups over HTTP are made (default: none can be)\n"
    "  --gc-every TIME      collect garbage so often (default: when it is asked for)\n"
    "  --scrub-every TIME   read and check every block so often\n"
    "  --scrub-rate SIZE    at most so many bytes a second\n"
    "\n"
    "examples:\n"
    "  graviton serve\n"
    "  curl --data-binary @photo.jpg http://127.0.0.1:8081/api/blobs\n"
    "  graviton serve --listen 0.0.0.0:8443 --tokens tokens --tls-cert c.pem --tls-key k.pem\n";

const cli_command cli_command_serve = {
    .name = "serve",
    .summary = "serve the store over HTTP",
    .help = serve_help,
    .options = serve_options,
    .operands_max = 0,
    .run = serve_execute,
};
