/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines. Each is built on the stack within a fixed size: values that are too long are cut, so
 * that no request makes a line that a pipe would tear.
 */
#include "http/log.h"
#include "base/digits.h"
#include "base/utf8.h"
#include "http/text.h"
#include "os/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_LINE_MAX    4000u /* a pipe takes 4096 at once or none */
#define LOG_TEXT_MAX    1200u /* of one value, escaped */
#define LOG_NAME_MAX    128u  /* of one that is short by nature */
#define LOG_PATIENCE_MS 50

struct http_log {
    int fd;
    bool json;
    bool journal;
    bool debug;
    bool is_file;         /* a write to it waits for nobody */
    pthread_mutex_t lock; /* a write: a pipe that has room for one line need not have it for two */
    unsigned dropped;     /* lines since the last that was written */
};

typedef struct log_line {
    bool json;
    size_t used;
    char text[LOG_LINE_MAX + 8];
} log_line;

/* ---- Where it goes ---- */

/* Whether the journal reads `fd`: systemd says which file that would be. */
static bool journal_reads(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    char name[64];
    if (!stream || fstat(fd, &st) < 0) {
        return false;
    }
    snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, name) == 0;
}

grv_status http_log_new(bool json, int fd, http_log **ret_log, grv_error *error)
{
    const char *debug = getenv("GRAVITON_DEBUG");
    http_log *log = calloc(1, sizeof *log);
    if (!log) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "log", "no memory for the log");
    }
    pthread_mutex_init(&log->lock, NULL);
    log->fd = fd;
    log->json = json;
    log->journal = journal_reads(fd);
    log->debug = debug && *debug;
    struct stat st;
    log->is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    *ret_log = log;
    return GRV_OK;
}

void http_log_free(http_log *log)
{
    if (!log) {
        return;
    }
    pthread_mutex_destroy(&log->lock);
    free(log);
}

/* ---- Building a line ---- */

static void line_put(log_line *line, const char *text, size_t size)
{
    size_t room = LOG_LINE_MAX - line->used;
    size_t taken = size < room ? size : room;
    memcpy(line->text + line->used, text, taken);
    line->used += taken;
}

/* Appends one character of `text`, escaped where a line of JSON wants that; returns how many bytes
 * of the text it took. Longest escape: 6. */
static size_t char_escape(grv_bytes text, char ret_out[8], size_t *ret_size)
{
    uint8_t c = text.data[0];
    size_t length = grv_utf8_length(text, NULL);
    bool is_control = c < 0x20 || c == 0x7f || (length == 2 && c == 0xc2 && text.data[1] < 0xa0);
    if (c == '"' || c == '\\') {
        ret_out[0] = '\\';
        ret_out[1] = (char)c;
        *ret_size = 2;
    } else if (length == 0) {
        memcpy(ret_out, "\\ufffd", 6);
        *ret_size = 6;
        length = 1;
    } else if (is_control) {
        snprintf(ret_out, 8, "\\u%04x", length == 2 ? text.data[1] : c);
        *ret_size = 6;
    } else {
        memcpy(ret_out, text.data, length);
        *ret_size = length;
    }
    return length;
}

static void line_quote(log_line *line, grv_bytes text, size_t max)
{
    size_t limit = line->used + max;
    line_put(line, "\"", 1);
    while (text.size > 0 && line->used < limit) {
        char out[8];
        size_t size;
        size_t taken = char_escape(text, out, &size);
        line_put(line, out, size);
        text = (grv_bytes){text.data + taken, text.size - taken};
    }
    line_put(line, text.size > 0 ? "...\"" : "\"", text.size > 0 ? 4 : 1);
}

/* Whether logfmt takes it without quotes. */
static bool is_plain(const char *text, size_t size)
{
    bool good = size > 0;
    for (size_t i = 0; i < size; i++) { /* all of them at once, where the processor can */
        char c = text[i];
        good &= ((c >= 'a') & (c <= 'z')) | ((c >= '+') & (c <= ':')) | ((c >= '@') & (c <= '[')) |
                (c == '_') | (c == '%') | (c == ']');
    }
    return good;
}

static void line_name(log_line *line, const char *name)
{
    if (line->json) {
        line_put(line, line->used > 0 && line->text[line->used - 1] != '{' ? ",\"" : "\"",
                 line->used > 0 && line->text[line->used - 1] != '{' ? 2 : 1);
        line_put(line, name, strlen(name));
        line_put(line, "\":", 2);
    } else {
        line_put(line, " ", 1);
        line_put(line, name, strlen(name));
        line_put(line, "=", 1);
    }
}

/* A text value; nothing where there is none. */
static void line_text(log_line *line, const char *name, const char *value, size_t max)
{
    if (!value) {
        return;
    }
    size_t size = strlen(value);
    line_name(line, name);
    if (size <= max && is_plain(value, size)) {
        line_put(line, "\"", line->json);
        line_put(line, value, size);
        line_put(line, "\"", line->json);
    } else {
        line_quote(line, grv_bytes_of(value, size), max);
    }
}

/* At least `least` digits. */
static void line_digits(log_line *line, uint64_t value, unsigned least)
{
    char text[20];
    size_t at = sizeof text;
    while (value > 0 || sizeof text - at < least) {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    }
    line_put(line, text + at, sizeof text - at);
}

static void line_number(log_line *line, const char *name, uint64_t value)
{
    line_name(line, name);
    line_digits(line, value, 1);
}

static const char *level_priority(const char *level)
{
    switch (level[0]) {
    case 'd':
        return "<7>";
    case 'w':
        return "<4>";
    case 'e':
        return "<3>";
    default:
        return "<6>";
    }
}

static void line_begin(const http_log *log, log_line *line, const char *level, const char *what)
{
    char now[HTTP_TIME_TEXT_SIZE];
    line->json = log->json;
    line->used = 0;
    if (log->journal) {
        line_put(line, level_priority(level), 3);
    }
    http_time_print(grv_clock_realtime_ns(), now);
    if (line->json) {
        line_put(line, "{", 1);
        line_text(line, "time", now, LOG_NAME_MAX);
    } else {
        line_put(line, "time=", 5);
        line_put(line, now, strlen(now));
    }
    line_text(line, "level", level, LOG_NAME_MAX);
    line_text(line, "msg", what, LOG_TEXT_MAX);
}

/* Writes the line, or counts it among those that could not be. */
static void line_end(http_log *log, log_line *line)
{
    struct pollfd room = {.fd = log->fd, .events = POLLOUT};
    pthread_mutex_lock(&log->lock);
    unsigned dropped = log->dropped;
    if (dropped > 0) {
        line_number(line, "lines_dropped", dropped);
    }
    if (line->json) {
        line->text[line->used++] = '}';
    }
    line->text[line->used++] = '\n';
    /* Once a line had to be dropped, none waits until one has got through. */
    int ready = log->is_file ? 1 : poll(&room, 1, dropped > 0 ? 0 : LOG_PATIENCE_MS);
    ssize_t wrote = -1;
    if (ready > 0) {
        do {
            wrote = write(log->fd, line->text, line->used);
        } while (wrote < 0 && errno == EINTR);
    }
    log->dropped = wrote < 0 ? dropped + 1 : 0;
    pthread_mutex_unlock(&log->lock);
}

/* ---- The two kinds of lines ---- */

void http_log_event(http_log *log, const char *level, const char *format, ...)
{
    char message[1024];
    log_line line;
    va_list arguments;
    if (level[0] == 'd' && !log->debug) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    line_begin(log, &line, level, message);
    line_end(log, &line);
}

/* Errors are what somebody should look into, such as an answer that had to be cut; a server that
 * refuses for a while is a warning. */
static const char *request_level(unsigned status, const grv_error *cause)
{
    bool is_cut =
        status < 400 && cause && cause->status != GRV_OK && cause->status != GRV_CANCELLED;
    if (is_cut || (status >= 500 && status != 503)) {
        return "error";
    }
    return status == 503 ? "warning" : "info";
}

static void line_trace(log_line *line, const grv_call *call)
{
    char text[2 * sizeof call->trace_id + 1];
    uint8_t any = 0;
    for (size_t i = 0; i < sizeof call->trace_id; i++) {
        any |= call->trace_id[i];
    }
    if (any) {
        grv_hex_print(call->trace_id, sizeof call->trace_id, text);
        line_text(line, "trace_id", text, LOG_NAME_MAX);
    }
}

static void line_milliseconds(log_line *line, const char *name, uint64_t duration_ns)
{
    line_name(line, name);
    line_digits(line, duration_ns / 1000000u, 1);
    line_put(line, ".", 1);
    line_digits(line, duration_ns / 1000u % 1000u, 3);
}

void http_log_request(http_server *server, const http_exchange *exchange, unsigned status,
                      uint64_t bytes_in, uint64_t bytes_out, uint64_t duration_ns,
                      const char *client, const grv_error *cause)
{
    http_log *log = server->log;
    log_line line;
    line_begin(log, &line, request_level(status, cause), "request");
    line_text(&line, "request_id", exchange->request_id, LOG_NAME_MAX);
    line_trace(&line, &exchange->call);
    line_text(&line, "client", client, LOG_NAME_MAX);
    line_text(&line, "token", exchange->token_name, LOG_NAME_MAX);
    line_text(&line, "method", exchange->method, LOG_NAME_MAX);
    line_text(&line, "path", exchange->path, LOG_TEXT_MAX);
    line_text(&line, "route", exchange->route ? exchange->route->name : NULL, LOG_NAME_MAX);
    line_number(&line, "status", status);
    line_number(&line, "bytes_in", bytes_in);
    line_number(&line, "bytes_out", bytes_out);
    line_milliseconds(&line, "duration_ms", duration_ns);
    if (cause && cause->status) {
        line_text(&line, "cause", grv_status_name(cause->status), LOG_NAME_MAX);
        line_text(&line, "origin", cause->origin[0] ? cause->origin : NULL, LOG_NAME_MAX);
        line_text(&line, "error", cause->message, LOG_TEXT_MAX);
    }
    line_end(log, &line);
}
