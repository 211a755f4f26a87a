/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies that come. The first bytes are gathered here, so that clients that send little or slowly
 * hold nothing of the store's; then a turn is taken, the route opens its sink, and the event thread
 * copies the rest straight into the sink's windows.
 *
 * Invariant: a call takes all of the bytes that it is given, or suspends the connection and takes
 * none. What does not fit a window any more waits in `gathered`, which is less than one piece.
 */
#include "http/exchange.h"

#include <string.h>

/* ---- On a worker ---- */

/* Shows a piece to the route. It may make the answer then: *ret_ended. */
static grv_status upload_show(http_transfer *transfer, grv_bytes piece, bool *ret_ended,
                              grv_error *error)
{
    http_exchange *exchange = &transfer->exchange;
    grv_status status = GRV_OK;
    if (piece.size > 0 && exchange->route->piece) {
        status = exchange->route->piece(exchange, piece, error);
    }
    *ret_ended = exchange->reply.status != 0;
    return status;
}

/* What is in the window becomes part of the sink. */
static grv_status upload_advance(http_transfer *transfer, bool *ret_ended, grv_error *error)
{
    http_exchange *exchange = &transfer->exchange;
    grv_bytes piece = {transfer->window.data, transfer->filled};
    transfer->window = (grv_span){0};
    transfer->filled = 0;
    grv_status status = upload_show(transfer, piece, ret_ended, error);
    if (status || *ret_ended || piece.size == 0) {
        return status;
    }
    return grv_sink_advance(&exchange->call, exchange->sink, piece.size, error);
}

/* What was gathered goes into the sink. */
static grv_status upload_flush(http_transfer *transfer, bool *ret_ended, grv_error *error)
{
    http_exchange *exchange = &transfer->exchange;
    grv_bytes piece = grv_buffer_bytes(&transfer->gathered);
    grv_status status = upload_show(transfer, piece, ret_ended, error);
    if (!status && !*ret_ended) {
        status = grv_sink_write(&exchange->call, exchange->sink, piece, error);
    }
    grv_buffer_done(&transfer->gathered);
    return status;
}

static void upload_fail(http_transfer *transfer, grv_status status, const grv_error *error)
{
    http_exchange_release(transfer);
    http_exchange_count(transfer, status);
    http_exchange_fail(transfer, error);
}

/* The route's answer. */
static void upload_answer(http_transfer *transfer, grv_error *error)
{
    http_exchange *exchange = &transfer->exchange;
    http_exchange_arm(transfer);
    grv_status status = exchange->route->run(exchange, error);
    if (!status && exchange->reply.status == 0) {
        status = grv_error_set(error, GRV_INTERNAL, "exchange", "route %s made no answer",
                               exchange->route->name);
    }
    if (status) {
        upload_fail(transfer, status, error);
        return;
    }
    http_exchange_count(transfer, GRV_OK);
    grv_sink_free(exchange->sink);
    exchange->sink = NULL;
    transfer->state = HTTP_STATE_READY;
    http_reply_prepare(transfer);
}

static void step_answer(http_transfer *transfer)
{
    grv_error error = GRV_ERROR_INIT;
    transfer->exchange.body = grv_buffer_bytes(&transfer->gathered);
    upload_answer(transfer, &error);
}

/* The next window to fill. */
static grv_status upload_reserve(http_transfer *transfer, grv_error *error)
{
    transfer->filled = 0;
    transfer->state = HTTP_STATE_FLOW;
    return grv_sink_reserve(&transfer->exchange.call, transfer->exchange.sink, &transfer->window,
                            error);
}

/* Goes on with the body, or ends it; `ended`: the route has made its answer before that. */
static void upload_proceed(http_transfer *transfer, grv_status status, bool ended, grv_error *error)
{
    if (!status && ended) {
        http_exchange_release(transfer);
        http_exchange_answered(transfer);
        return;
    }
    if (!status && transfer->is_complete) {
        upload_answer(transfer, error);
        return;
    }
    if (!status) {
        status = upload_reserve(transfer, error);
    }
    if (status) {
        upload_fail(transfer, status, error);
    }
}

static void step_open(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    grv_error error = GRV_ERROR_INIT;
    bool ended = false;
    grv_status status = exchange->route->open(exchange, &exchange->sink, &error);
    if (!status && !exchange->sink) {
        ended = exchange->reply.status != 0;
        status = ended ? GRV_OK
                       : grv_error_set(&error, GRV_INTERNAL, "exchange", "route %s opened no sink",
                                       exchange->route->name);
    } else if (!status) {
        status = upload_flush(transfer, &ended, &error);
    }
    upload_proceed(transfer, status, ended, &error);
}

static void step_window(http_transfer *transfer)
{
    grv_error error = GRV_ERROR_INIT;
    bool ended = false;
    grv_status status = upload_advance(transfer, &ended, &error);
    if (!status && !ended) {
        status = upload_flush(transfer, &ended, &error);
    }
    upload_proceed(transfer, status, ended, &error);
}

static void step_too_long(http_transfer *transfer)
{
    http_exchange_release(transfer);
    http_exchange_refuse(transfer, "content-too-large", "the body is longer than the server takes");
}

/* ---- On an event thread ---- */

static bool upload_drop(http_transfer *transfer, size_t *size)
{
    transfer->dropped += *size;
    *size = 0;
    return transfer->dropped <= transfer->drop_max;
}

/* Keeps a piece. False: an answer was made instead. */
static bool upload_keep(http_transfer *transfer, grv_bytes piece)
{
    grv_error error = GRV_ERROR_INIT;
    if (!transfer->gathered.max) {
        grv_buffer_init(&transfer->gathered, HTTP_JSON_MAX);
    }
    if (grv_buffer_append(&transfer->gathered, piece, &error)) {
        http_exchange_fail(transfer, &error);
        return false;
    }
    return true;
}

static bool upload_gather(http_transfer *transfer, const char *data, size_t *size)
{
    http_exchange *exchange = &transfer->exchange;
    size_t target = HTTP_GATHER_CHUNKED;
    if (exchange->route->body == HTTP_BODY_SMALL) {
        if (transfer->gathered.size + *size > HTTP_JSON_MAX) {
            http_exchange_refuse(transfer, "content-too-large", "the body is too long");
            return upload_drop(transfer, size);
        }
        target = SIZE_MAX;
    } else if (exchange->has_length) {
        target = HTTP_GATHER_LENGTH;
    }
    if (transfer->gathered.size >= target) {
        return http_exchange_submit(transfer, step_open, true);
    }
    if (!upload_keep(transfer, grv_bytes_of(data, *size))) {
        return upload_drop(transfer, size);
    }
    transfer->received += *size;
    *size = 0;
    return true;
}

static bool upload_flow(http_transfer *transfer, const char *data, size_t *size)
{
    size_t room = transfer->window.size - transfer->filled;
    if (room == 0) {
        return http_exchange_submit(transfer, step_window, true);
    }
    size_t take = *size < room ? *size : room;
    memcpy(transfer->window.data + transfer->filled, data, take);
    transfer->filled += take;
    if (take < *size && !upload_keep(transfer, grv_bytes_of(data + take, *size - take))) {
        /* The sink is freed when the exchange ends: nothing of it is waited for here. */
        return upload_drop(transfer, size);
    }
    transfer->received += *size;
    *size = 0;
    return true;
}

bool http_upload_take(http_transfer *transfer, const char *data, size_t *size)
{
    const http_exchange *exchange = &transfer->exchange;
    uint64_t max = exchange->server->config.body_max;
    atomic_store_explicit(&transfer->peer->moved, transfer->received + transfer->dropped,
                          memory_order_relaxed);
    if (transfer->state == HTTP_STATE_DROP) {
        return upload_drop(transfer, size);
    }
    if (max > 0 && exchange->route->body == HTTP_BODY_STREAM && transfer->received + *size > max) {
        return http_exchange_submit(transfer, step_too_long, false);
    }
    return transfer->state == HTTP_STATE_GATHER ? upload_gather(transfer, data, size)
                                                : upload_flow(transfer, data, size);
}

/* Makes the answer here and now; false where a worker has to. */
static bool answer_quickly(http_transfer *transfer)
{
    http_exchange *exchange = &transfer->exchange;
    grv_error error = GRV_ERROR_INIT;
    if (!exchange->route->may_be_quick || exchange->is_head ||
        !(exchange->server->blobs->capabilities & GRV_BLOB_CAP_NO_WAIT)) {
        return false;
    }
    http_exchange_arm(transfer);
    exchange->call.no_wait = true;
    bool made = false;
    if (exchange->route->run(exchange, &error)) {
        http_reply_drop(exchange);
    } else {
        made = exchange->reply.status != 0 && http_reply_prepare_quickly(transfer);
    }
    exchange->call.no_wait = false;
    if (made) {
        http_exchange_count(transfer, GRV_OK);
        transfer->state = HTTP_STATE_READY;
    }
    return made;
}

bool http_upload_end(http_transfer *transfer)
{
    const http_route *route = transfer->exchange.route;
    transfer->is_complete = true;
    if (transfer->state == HTTP_STATE_DROP) {
        return http_reply_queue(transfer);
    }
    if (transfer->state == HTTP_STATE_FLOW) {
        return http_exchange_submit(transfer, step_window, true);
    }
    if (route->is_quick) {
        step_answer(transfer);
        return http_reply_queue(transfer);
    }
    if (answer_quickly(transfer)) {
        return http_reply_queue(transfer);
    }
    return route->body == HTTP_BODY_STREAM
               ? http_exchange_submit(transfer, step_open, true)
               : http_exchange_submit(transfer, step_answer, route->is_stream);
}
