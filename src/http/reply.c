/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies that go. What its source gives at once goes out from there, or is copied if it is small;
 * of a longer one libmicrohttpd copies view after view, and while a worker reads the next ones the
 * connection is suspended. A source that fails, or ends before the length that was
 * announced, has the connection cut.
 */
#include "http/exchange.h"

#include "http/daemon.h"

#include <stdlib.h>
#include <string.h>

/* Most bytes asked of a source at once; it gives what it has in memory. */
#define REPLY_VIEW_MAX ((size_t)GRV_BLOCK_SIZE_MAX)
/* What libmicrohttpd has for copying: of a source, and of an event. */
#define REPLY_BLOCK ((size_t)128 << 10)
#define EVENT_BLOCK ((size_t)16 << 10)
#define EVENT_MAX   ((size_t)1 << 20)
/* Bytes of the headers of most answers, at most. */
#define HEADERS_USUAL ((size_t)1024)

/* ---- What routes call ---- */

static bool value_is_clean(const char *value, size_t size)
{
    bool clean = true;
    for (size_t i = 0; i < size; i++) {
        clean &= ((unsigned char)value[i] >= 0x20 || value[i] == '\t') & (value[i] != 0x7f);
    }
    return clean;
}

grv_status http_reply_header(http_exchange *exchange, const char *name, const char *value,
                             grv_error *error)
{
    grv_buffer *headers = &exchange->reply.headers;
    size_t name_size = strlen(name) + 1;
    size_t value_size = strlen(value) + 1;
    if (!value_is_clean(value, value_size - 1)) {
        return grv_error_set(error, GRV_INTERNAL, "reply", "header %s has a control character",
                             name);
    }
    /* Mostly there are several: room for all of them at the first. */
    size_t room = name_size + value_size;
    if (headers->capacity == 0 && room < HEADERS_USUAL) {
        room = HEADERS_USUAL;
    }
    grv_status status = grv_buffer_reserve(headers, room, error);
    if (status) {
        return status;
    }
    memcpy(headers->data + headers->size, name, name_size);
    memcpy(headers->data + headers->size + name_size, value, value_size);
    headers->size += name_size + value_size;
    return GRV_OK;
}

/* Begins a reply. */
static void reply_begin(http_exchange *exchange, unsigned status)
{
    exchange->reply.status = status;
    exchange->reply.text.size = 0;
}

grv_status http_reply_json(http_exchange *exchange, unsigned status, json_t *object,
                           grv_error *error)
{
    char *text =
        object ? json_dumps(object, JSON_PRESERVE_ORDER | JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "reply", "no memory for an answer");
    }
    grv_status failed = http_reply_text(exchange, status, "application/json",
                                        grv_bytes_of(text, strlen(text)), error);
    free(text);
    return failed;
}

grv_status http_reply_text(http_exchange *exchange, unsigned status, const char *type,
                           grv_bytes text, grv_error *error)
{
    reply_begin(exchange, status);
    grv_status failed = grv_buffer_append(&exchange->reply.text, text, error);
    return failed ? failed : http_reply_header(exchange, "Content-Type", type, error);
}

grv_status http_reply_empty(http_exchange *exchange, unsigned status, grv_error *error)
{
    (void)error;
    reply_begin(exchange, status);
    return GRV_OK;
}

grv_status http_reply_source(http_exchange *exchange, unsigned status, grv_source *source,
                             uint64_t length, grv_error *error)
{
    (void)error;
    reply_begin(exchange, status);
    exchange->reply.source = source;
    exchange->reply.length = length;
    return GRV_OK;
}

void http_reply_drop(http_exchange *exchange)
{
    http_reply *reply = &exchange->reply;
    grv_source_free(reply->source);
    reply->source = NULL;
    reply->length = 0;
    reply->status = 0;
    reply->text.size = 0;
    reply->headers.size = 0;
    reply->event_period_ms = 0;
    reply->make_event = NULL;
    exchange->transfer->view_count = 0;
}

/* ---- The source: on a worker, or where it need not be waited for ---- */

/* The next views of the source. An end before the length that was announced is a failure. */
static grv_status reply_read(http_transfer *transfer, grv_error *error)
{
    http_exchange *exchange = &transfer->exchange;
    uint64_t left = exchange->reply.length - transfer->read_bytes;
    size_t max = left < REPLY_VIEW_MAX ? (size_t)left : REPLY_VIEW_MAX;
    size_t count = 0;
    grv_status status = grv_source_gather(&exchange->call, exchange->reply.source, max,
                                          transfer->views, HTTP_VIEWS, &count, error);
    if (!status && count == 0) {
        status = grv_error_set(error, GRV_INTERNAL, "reply",
                               "route %s announced more bytes than it gave", exchange->route->name);
    }
    if (status) {
        return status;
    }
    transfer->view_next = 0;
    transfer->view_count = count;
    for (size_t i = 0; i < count; i++) {
        transfer->read_bytes += transfer->views[i].size;
    }
    return GRV_OK;
}

/* The first of the source's bytes. All of them where they are few; then the source is done. */
static grv_status reply_open(http_transfer *transfer, grv_error *error)
{
    http_reply *reply = &transfer->exchange.reply;
    if (transfer->exchange.is_head || reply->length == 0) {
        http_exchange_release(transfer);
        return GRV_OK;
    }
    grv_status status = reply_read(transfer, error);
    if (status || reply->length > HTTP_COPY_MAX) {
        return status;
    }
    status = grv_buffer_reserve(&reply->text, (size_t)reply->length, error);
    while (!status) {
        for (size_t i = 0; i < transfer->view_count && !status; i++) {
            status = grv_buffer_append(&reply->text, transfer->views[i], error);
        }
        if (status || transfer->read_bytes == reply->length) {
            break;
        }
        status = reply_read(transfer, error);
    }
    http_exchange_release(transfer);
    return status;
}

void http_reply_prepare(http_transfer *transfer)
{
    grv_error error = GRV_ERROR_INIT;
    if (!transfer->exchange.reply.source) {
        http_exchange_release(transfer);
        return;
    }
    http_exchange_arm(transfer);
    if (reply_open(transfer, &error)) {
        http_exchange_release(transfer);
        http_exchange_fail(transfer, &error);
    }
}

bool http_reply_prepare_quickly(http_transfer *transfer)
{
    grv_error error = GRV_ERROR_INIT;
    const http_reply *reply = &transfer->exchange.reply;
    bool good = !reply->source || reply->length <= HTTP_COPY_MAX;
    if (good && reply->source) {
        good = !reply_open(transfer, &error) && !reply->source;
    }
    if (!good) {
        http_reply_drop(&transfer->exchange);
        transfer->read_bytes = 0;
    }
    return good;
}

static void step_read(http_transfer *transfer)
{
    grv_error error = GRV_ERROR_INIT;
    if (reply_read(transfer, &error)) {
        transfer->cause = error;
        transfer->is_cut = true;
        http_exchange_release(transfer);
    }
}

/* ---- On an event thread: what libmicrohttpd reads ---- */

/* Copies from the views; 0: they are used up. */
static ssize_t view_copy(http_transfer *transfer, char *buffer, size_t max)
{
    size_t take = 0;
    while (take < max && transfer->view_next < transfer->view_count) {
        grv_bytes *view = &transfer->views[transfer->view_next];
        size_t part = view->size < max - take ? view->size : max - take;
        memcpy(buffer + take, view->data, part);
        take += part;
        *view = (grv_bytes){view->data + part, view->size - part};
        transfer->view_next += view->size == 0;
    }
    transfer->sent += take;
    atomic_store_explicit(&transfer->peer->moved, transfer->sent, memory_order_relaxed);
    return (ssize_t)take;
}

static ssize_t source_read(void *context, uint64_t position, char *buffer, size_t max)
{
    http_transfer *transfer = context;
    (void)position;
    ssize_t size = view_copy(transfer, buffer, max);
    if (size > 0) {
        return size;
    }
    if (transfer->is_cut || !http_exchange_submit(transfer, step_read, true)) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    return 0;
}

/* HEAD and 304: the length is what matters, and nothing is read. */
static ssize_t head_read(void *context, uint64_t position, char *buffer, size_t max)
{
    (void)context;
    (void)position;
    (void)buffer;
    (void)max;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* ---- Event streams ---- */

static void step_event(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    grv_error error = GRV_ERROR_INIT;
    transfer->alarm.due_ns = grv_now_ns() + exchange->reply.event_period_ms * UINT64_C(1000000);
    exchange->reply.text.size = 0;
    if (exchange->reply.make_event(exchange, &exchange->reply.text, &error)) {
        transfer->cause = error;
        transfer->is_cut = true;
        return;
    }
    transfer->views[0] = grv_buffer_bytes(&exchange->reply.text);
    transfer->view_next = 0;
    transfer->view_count = transfer->views[0].size > 0;
}

/* On the watch. */
static void event_wake(http_alarm *alarm)
{
    http_transfer *transfer =
        (http_transfer *)(void *)((char *)alarm - offsetof(http_transfer, alarm));
    http_server *server = transfer->exchange.server;
    if (atomic_load(&server->is_draining)) {
        http_exchange_resume(transfer);
        return;
    }
    grv_pool_submit(server->workers, &transfer->turn.task);
}

static ssize_t event_read(void *context, uint64_t position, char *buffer, size_t max)
{
    http_transfer *transfer = context;
    http_server *server = transfer->exchange.server;
    (void)position;
    ssize_t size = view_copy(transfer, buffer, max);
    if (size > 0) {
        return size;
    }
    if (atomic_load(&server->is_draining)) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (transfer->is_cut || !http_exchange_suspend(transfer, step_event)) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    transfer->alarm.wake = event_wake;
    http_peer_turn_to(transfer->peer, HTTP_PHASE_EVENTS);
    http_watch_alarm(server->watch, &transfer->alarm);
    return 0;
}

/* ---- The response ---- */

/* Whether the body of an answer that has a source lies there whole. */
static bool is_whole(const http_transfer *transfer)
{
    const http_reply *reply = &transfer->exchange.reply;
    return reply->source && transfer->read_bytes == reply->length;
}

/* A body that lies there whole, in one place or in several. */
static struct MHD_Response *response_of_views(const http_transfer *transfer)
{
    if (transfer->view_count == 1) {
        union {
            const uint8_t *read;
            void *write;
        } bytes = {.read = transfer->views[0].data};
        return MHD_create_response_from_buffer(transfer->views[0].size, bytes.write,
                                               MHD_RESPMEM_PERSISTENT);
    }
    struct MHD_IoVec places[HTTP_VIEWS];
    for (size_t i = 0; i < transfer->view_count; i++) {
        places[i] = (struct MHD_IoVec){transfer->views[i].data, transfer->views[i].size};
    }
    return MHD_create_response_from_iovec(places, (unsigned)transfer->view_count, NULL, NULL);
}

static struct MHD_Response *response_make(http_transfer *transfer)
{
    const http_exchange *exchange = &transfer->exchange;
    const http_reply *reply = &exchange->reply;
    void *data = reply->text.data;
    if (reply->event_period_ms > 0) {
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EVENT_BLOCK, event_read,
                                                 transfer, NULL);
    }
    if ((exchange->is_head || reply->status == MHD_HTTP_NOT_MODIFIED) && reply->length > 0) {
        return MHD_create_response_from_callback(reply->length, 1, head_read, transfer, NULL);
    }
    if (!reply->source) {
        return MHD_create_response_from_buffer(reply->text.size, data, MHD_RESPMEM_PERSISTENT);
    }
    if (is_whole(transfer)) {
        return response_of_views(transfer);
    }
    return MHD_create_response_from_callback(reply->length, REPLY_BLOCK, source_read, transfer,
                                             NULL);
}

static bool response_headers(http_transfer *transfer, struct MHD_Response *response)
{
    const http_exchange *exchange = &transfer->exchange;
    const char *at = (const char *)exchange->reply.headers.data;
    const char *end = at ? at + exchange->reply.headers.size : at;
    bool good = MHD_add_response_header(response, "Request-Id", exchange->request_id) == MHD_YES;
    while (good && at < end) {
        const char *value = at + strlen(at) + 1;
        good = MHD_add_response_header(response, at, value) == MHD_YES;
        at = value + strlen(value) + 1;
    }
    /* Of a chunk's size libmicrohttpd takes lines that end with a bare line feed: who takes them
     * for something else sees the next request begin elsewhere. */
    if (transfer->must_close || transfer->is_chunked ||
        atomic_load_explicit(&exchange->server->is_draining, memory_order_relaxed)) {
        good = good && MHD_add_response_header(response, "Connection", "close") == MHD_YES;
    }
    return good;
}

bool http_reply_queue(http_transfer *transfer)
{
    struct MHD_Response *response = response_make(transfer);
    if (!response) {
        return false;
    }
    http_peer_reset(transfer->peer, HTTP_PHASE_ANSWER);
    if (is_whole(transfer)) {
        atomic_store_explicit(&transfer->peer->moved, transfer->exchange.reply.length,
                              memory_order_relaxed);
    }
    transfer->state = HTTP_STATE_SENDING;
    bool queued = response_headers(transfer, response) &&
                  MHD_queue_response(transfer->connection, transfer->exchange.reply.status,
                                     response) == MHD_YES;
    MHD_destroy_response(response);
    return queued;
}
