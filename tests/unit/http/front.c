/* SPDX-License-Identifier: Apache-2.0 */
#include "front.h"
#include "test.h"

#include "os/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define VIEW_MAX ((size_t)1 << 20)

atomic_int front_open;
atomic_bool front_gate;
atomic_int front_held;

/* ---- Sources ---- */

typedef struct front_source {
    grv_source base;
    uint64_t at;
    uint64_t size;
    uint64_t fails_at; /* UINT64_MAX: never */
    uint8_t *view;
} front_source;

static grv_status source_next(const grv_call *call, grv_source *base, size_t max,
                              grv_bytes *ret_view, grv_error *error)
{
    front_source *source = (front_source *)(void *)base;
    grv_status status = grv_call_check(call, "front", error);
    if (status) {
        return status;
    }
    if (source->at >= source->fails_at) {
        return grv_error_set(error, GRV_CORRUPT, "front", "the block /secret/path is wrong");
    }
    size_t take = max < VIEW_MAX ? max : VIEW_MAX;
    take = source->size - source->at < take ? (size_t)(source->size - source->at) : take;
    for (size_t i = 0; i < take; i++) {
        source->view[i] = front_byte(source->at + i);
    }
    source->at += take;
    *ret_view = grv_bytes_of(source->view, take);
    return GRV_OK;
}

static void source_free(grv_source *base)
{
    front_source *source = (front_source *)(void *)base;
    free(source->view);
    free(source);
    atomic_fetch_sub(&front_open, 1);
}

static const grv_source_ops source_ops = {
    .name = "front", .next = source_next, .free = source_free};

static grv_status source_reply(http_exchange *exchange, uint64_t size, uint64_t fails_at,
                               grv_error *error)
{
    front_source *source = calloc(1, sizeof *source);
    assert_non_null(source);
    *source = (front_source){{&source_ops}, 0, size, fails_at, malloc(VIEW_MAX)};
    atomic_fetch_add(&front_open, 1);
    grv_status status = http_reply_header(exchange, "ETag", "\"x\"", error);
    return status ? status : http_reply_source(exchange, 200, &source->base, size, error);
}

/* ---- Sinks ---- */

typedef struct front_sink {
    grv_sink base;
    uint64_t size;
    uint64_t sum;
    uint64_t fails_at;
    uint8_t window[100000];
    bool committed;
} front_sink;

static grv_status sink_reserve(const grv_call *call, grv_sink *base, grv_span *ret_window,
                               grv_error *error)
{
    front_sink *sink = (front_sink *)(void *)base;
    (void)call;
    (void)error;
    *ret_window = (grv_span){sink->window, sizeof sink->window};
    return GRV_OK;
}

static grv_status sink_advance(const grv_call *call, grv_sink *base, size_t size, grv_error *error)
{
    front_sink *sink = (front_sink *)(void *)base;
    (void)call;
    for (size_t i = 0; i < size; i++) {
        sink->sum += (uint64_t)sink->window[i] * ((sink->size + i) % 1000 + 1);
    }
    sink->size += size;
    if (sink->size > sink->fails_at) {
        return grv_error_set(error, GRV_OUT_OF_SPACE, "front", "no room in /secret/path");
    }
    return GRV_OK;
}

static grv_status sink_commit(const grv_call *call, grv_sink *base, grv_error *error)
{
    (void)call;
    (void)error;
    ((front_sink *)(void *)base)->committed = true;
    return GRV_OK;
}

static void sink_free(grv_sink *base)
{
    free(base);
    atomic_fetch_sub(&front_open, 1);
}

static const grv_sink_ops sink_ops = {"front", sink_reserve, sink_advance, sink_commit, sink_free};

static grv_status sink_open(grv_sink **ret_sink, uint64_t fails_at)
{
    front_sink *sink = calloc(1, sizeof *sink);
    assert_non_null(sink);
    sink->base.ops = &sink_ops;
    sink->fails_at = fails_at;
    atomic_fetch_add(&front_open, 1);
    *ret_sink = &sink->base;
    return GRV_OK;
}

/* ---- Routes ---- */

static grv_status text_run(http_exchange *exchange, grv_error *error)
{
    const char *name = NULL;
    char text[64];
    grv_status status = http_query(exchange, "name", &name, error);
    if (status) {
        return status;
    }
    int size = snprintf(text, sizeof text, "hello %s", name ? name : "you");
    return http_reply_text(exchange, 200, "text/plain", grv_bytes_of(text, (size_t)size), error);
}

static uint64_t param(const http_exchange *exchange)
{
    return strtoull(exchange->params[0], NULL, 10);
}

static grv_status bytes_run(http_exchange *exchange, grv_error *error)
{
    return source_reply(exchange, param(exchange), UINT64_MAX, error);
}

static grv_status broken_run(http_exchange *exchange, grv_error *error)
{
    return source_reply(exchange, param(exchange), VIEW_MAX, error);
}

static grv_status early_run(http_exchange *exchange, grv_error *error)
{
    return source_reply(exchange, 100, 0, error);
}

static grv_status slow_run(http_exchange *exchange, grv_error *error)
{
    uint64_t end = grv_now_ns() + param(exchange) * 1000000;
    while (grv_now_ns() < end) {
        grv_status status = grv_call_check(&exchange->call, "front", error);
        if (status) {
            return status;
        }
        grv_clock_sleep(1000000);
    }
    return http_reply_text(exchange, 200, "text/plain", grv_bytes_of("slow", 4), error);
}

static grv_status held_run(http_exchange *exchange, grv_error *error)
{
    grv_status status = GRV_OK;
    atomic_fetch_add(&front_held, 1);
    while (!status && !atomic_load(&front_gate)) {
        grv_clock_sleep(1000000);
        status = grv_call_check(&exchange->call, "front", error);
    }
    atomic_fetch_sub(&front_held, 1);
    return status ? status
                  : http_reply_text(exchange, 200, "text/plain", grv_bytes_of("held", 4), error);
}

static grv_status quick_run(http_exchange *exchange, grv_error *error)
{
    return http_reply_text(exchange, 200, "text/plain", grv_bytes_of("quick", 5), error);
}

static grv_status sum_open(http_exchange *exchange, grv_sink **ret_sink, grv_error *error)
{
    (void)exchange;
    (void)error;
    return sink_open(ret_sink, UINT64_MAX);
}

static grv_status sum_piece(http_exchange *exchange, grv_bytes piece, grv_error *error)
{
    (void)error;
    exchange->front = exchange->front ? exchange->front : calloc(1, sizeof(uint64_t));
    assert_non_null(exchange->front);
    *(uint64_t *)exchange->front += piece.size;
    return GRV_OK;
}

static grv_status sum_run(http_exchange *exchange, grv_error *error)
{
    const front_sink *sink = (const front_sink *)(void *)exchange->sink;
    grv_status status = grv_sink_commit(&exchange->call, exchange->sink, error);
    uint64_t pieces = exchange->front ? *(uint64_t *)exchange->front : 0;
    char text[96];
    int size = snprintf(text, sizeof text, "%llu %llu %llu", (unsigned long long)sink->size,
                        (unsigned long long)sink->sum, (unsigned long long)pieces);
    return status ? status
                  : http_reply_text(exchange, 201, "text/plain", grv_bytes_of(text, (size_t)size),
                                    error);
}

static void sum_done(http_exchange *exchange)
{
    free(exchange->front);
}

static grv_status full_open(http_exchange *exchange, grv_sink **ret_sink, grv_error *error)
{
    (void)exchange;
    (void)ret_sink;
    return grv_error_set(error, GRV_OUT_OF_SPACE, "front", "no room in /secret/path");
}

static grv_status spoiled_open(http_exchange *exchange, grv_sink **ret_sink, grv_error *error)
{
    (void)exchange;
    (void)error;
    return sink_open(ret_sink, 400000);
}

static grv_status wanted_expect(http_exchange *exchange, grv_error *error)
{
    return http_reply_text(exchange, 200, "text/plain", grv_bytes_of("have it", 7), error);
}

static grv_status ended_piece(http_exchange *exchange, grv_bytes piece, grv_error *error)
{
    grv_status status = sum_piece(exchange, piece, error);
    if (!status && *(uint64_t *)exchange->front > 350000) {
        status = http_reply_problem(exchange, "conflict", "enough of it", error);
    }
    return status;
}

static grv_status begin_refuses(http_exchange *exchange, grv_error *error)
{
    (void)exchange;
    return grv_error_set(error, GRV_CONFLICT, "http", "not this one");
}

static grv_status json_run(http_exchange *exchange, grv_error *error)
{
    json_t *object = NULL;
    grv_status status = http_body_json(exchange, &object, error);
    if (status) {
        return status;
    }
    json_t *answer = json_pack("{s:I}", "members", (json_int_t)json_object_size(object));
    json_decref(object);
    return http_reply_json(exchange, 200, answer, error);
}

static grv_status events_make(http_exchange *exchange, grv_buffer *ret_event, grv_error *error)
{
    (void)exchange;
    return grv_buffer_append(ret_event, grv_bytes_of("data: x\n\n", 9), error);
}

static grv_status events_run(http_exchange *exchange, grv_error *error)
{
    grv_status status =
        http_reply_text(exchange, 200, "text/event-stream", grv_bytes_of("", 0), error);
    exchange->reply.event_period_ms = 20;
    exchange->reply.make_event = events_make;
    return status;
}

static const http_route routes[] = {
    {.method = "GET", .pattern = "/text", .name = "text", .run = text_run},
    {.method = "GET", .pattern = "/bytes/{}", .name = "bytes", .is_stream = true, .run = bytes_run},
    {.method = "GET",
     .pattern = "/broken/{}",
     .name = "broken",
     .is_stream = true,
     .run = broken_run},
    {.method = "GET", .pattern = "/early", .name = "early", .is_stream = true, .run = early_run},
    {.method = "GET", .pattern = "/slow/{}", .name = "slow", .is_stream = true, .run = slow_run},
    {.method = "GET", .pattern = "/held", .name = "held", .is_stream = true, .run = held_run},
    {.method = "GET", .pattern = "/parked", .name = "parked", .run = held_run},
    {.method = "GET", .pattern = "/quick", .name = "quick", .is_quick = true, .run = quick_run},
    {.method = "GET", .pattern = "/events", .name = "events", .run = events_run},
    {.method = "POST",
     .pattern = "/sum",
     .name = "sum",
     .body = HTTP_BODY_STREAM,
     .is_stream = true,
     .open = sum_open,
     .piece = sum_piece,
     .run = sum_run,
     .done = sum_done},
    {.method = "POST",
     .pattern = "/full",
     .name = "full",
     .body = HTTP_BODY_STREAM,
     .is_stream = true,
     .open = full_open,
     .run = sum_run},
    {.method = "POST",
     .pattern = "/spoiled",
     .name = "spoiled",
     .body = HTTP_BODY_STREAM,
     .is_stream = true,
     .open = spoiled_open,
     .run = sum_run},
    {.method = "POST",
     .pattern = "/wanted",
     .name = "wanted",
     .body = HTTP_BODY_STREAM,
     .is_stream = true,
     .expect = wanted_expect,
     .open = sum_open,
     .run = sum_run},
    {.method = "POST",
     .pattern = "/ended",
     .name = "ended",
     .body = HTTP_BODY_STREAM,
     .is_stream = true,
     .open = sum_open,
     .piece = ended_piece,
     .run = sum_run,
     .done = sum_done},
    {.method = "POST",
     .pattern = "/refused",
     .name = "refused",
     .body = HTTP_BODY_STREAM,
     .is_stream = true,
     .begin = begin_refuses,
     .open = sum_open,
     .run = sum_run},
    {.method = "POST",
     .pattern = "/json",
     .name = "json",
     .body = HTTP_BODY_SMALL,
     .run = json_run},
    {.method = "GET",
     .pattern = "/secret",
     .name = "secret",
     .scope = HTTP_SCOPE_ADMIN,
     .run = text_run},
    {.method = NULL},
};

const http_route *const front_routes[] = {routes, NULL};

/* ---- Server and client ---- */

http_server *front_start(const http_server_config *config)
{
    grv_error error = GRV_ERROR_INIT;
    http_server *server = NULL;
    http_server_config mine = config ? *config : (http_server_config){0};
    mine.fronts = front_routes;
    mine.listen = mine.listen ? mine.listen : "127.0.0.1:0";
    mine.event_threads = 2;
    mine.streams = mine.streams ? mine.streams : 8;
    assert_grv_ok(http_server_start(&mine, &server, &error));
    return server;
}

int front_connect(const http_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct timeval limit = {.tv_sec = 30};
    const char *port = strrchr(http_server_where(server), ':');
    address.sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&address, sizeof address), 0);
    return fd;
}

bool front_send(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Reads until the buffer has `wanted` bytes; false at the end of the stream. */
static bool fill(int fd, grv_buffer *buffer, size_t wanted)
{
    grv_error error = GRV_ERROR_INIT;
    while (buffer->size < wanted) {
        char piece[65536];
        size_t room = wanted - buffer->size < sizeof piece ? wanted - buffer->size : sizeof piece;
        ssize_t got = recv(fd, piece, room, 0);
        if (got < 0 && errno == EAGAIN) {
            fail_msg("no answer within the time");
        }
        if (got <= 0) {
            return false;
        }
        assert_grv_ok(grv_buffer_append(buffer, grv_bytes_of(piece, (size_t)got), &error));
    }
    return true;
}

static bool head_is_there(grv_buffer *buffer)
{
    return buffer->size >= 4 && memcmp(buffer->data + buffer->size - 4, "\r\n\r\n", 4) == 0;
}

static void read_chunks(int fd, front_answer *answer, grv_buffer *body)
{
    for (;;) {
        grv_buffer line;
        grv_buffer_init(&line, SIZE_MAX);
        while (fill(fd, &line, line.size + 1) && line.data[line.size - 1] != '\n') {
        }
        size_t size = line.size > 0 ? strtoull((char *)line.data, NULL, 16) : 0;
        bool broken = line.size == 0;
        grv_buffer_done(&line);
        if (broken || !fill(fd, body, body->size + size + 2)) {
            return;
        }
        body->size -= 2;
        if (size == 0) {
            answer->whole = true;
            return;
        }
    }
}

front_answer front_read(int fd, bool is_head)
{
    front_answer answer = {0};
    grv_buffer head;
    grv_buffer body;
    grv_buffer_init(&head, SIZE_MAX);
    grv_buffer_init(&body, SIZE_MAX);
    do {
        head.size = 0;
        while (!head_is_there(&head) && fill(fd, &head, head.size + 1)) {
        }
    } while (head.size > 12 && memcmp(head.data, "HTTP/1.1 100", 12) == 0);
    if (!head_is_there(&head)) {
        answer.closed = true;
        grv_buffer_done(&head);
        return answer;
    }
    head.data[head.size - 1] = '\0';
    answer.memory = answer.head = (char *)head.data;
    answer.status = (unsigned)strtoul(answer.head + 9, NULL, 10);
    const char *length = front_header(&answer, "Content-Length");
    const char *coding = front_header(&answer, "Transfer-Encoding");
    if (is_head || answer.status == 204 || answer.status == 304) {
        answer.whole = true;
    } else if (length) {
        answer.whole = fill(fd, &body, strtoull(length, NULL, 10));
    } else if (coding) {
        read_chunks(fd, &answer, &body);
    }
    answer.body = body.data;
    answer.body_size = body.size;
    return answer;
}

void front_done(front_answer *answer)
{
    free(answer->memory);
    free(answer->body);
    *answer = (front_answer){0};
}

front_answer front_ask(const http_server *server, const char *text)
{
    int fd = front_connect(server);
    assert_true(front_send(fd, text, strlen(text)));
    front_answer answer = front_read(fd, strncmp(text, "HEAD", 4) == 0);
    close(fd);
    return answer;
}

const char *front_header(const front_answer *answer, const char *name)
{
    static char value[512];
    size_t size = strlen(name);
    for (const char *line = answer->head; line; line = strstr(line, "\r\n")) {
        line += line == answer->head ? 0 : 2;
        if (strncasecmp(line, name, size) == 0 && line[size] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + size + 2, "\r"),
                     line + size + 2);
            return value;
        }
    }
    return NULL;
}
