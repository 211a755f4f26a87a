/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A put. Bytes gather in a window and are hashed; a blob that fits in it is asked for by its key
 * and sent only where the server lacks it. A larger one is sent as it comes: under the key that the
 * caller expects, after asking for that, or without a key. What the server says it stored is
 * compared with what was hashed here.
 *
 * While the first window is still held, a try that fails can be made again. Later ones cannot: then
 * the put fails, and nothing of it is visible.
 */
#include "backend/remote/client.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Attributes go into a header up to so many bytes; servers bound those. */
#define HEADER_MAX ((size_t)8 << 10)

typedef enum sink_mode {
    SINK_GATHER = 0, /* in the window; nothing was sent */
    SINK_SEND,       /* a transfer takes them */
    SINK_SKIP        /* the server has the blob, or never will: they are hashed alone */
} sink_mode;

typedef struct remote_sink {
    grv_blob_sink blob;
    grv_remote *remote;
    bool has_expected;
    bool is_absent; /* the caller says so */
    grv_blob_key expected;
    void (*told)(void *context, uint64_t bytes, uint64_t duplicate_bytes); /* or NULL */
    void *told_context;
    bool has_attributes;
    grv_attributes attributes;
    char *attributes_line; /* NULL: they are set after the put */
    sink_mode mode;
    bool is_first;         /* the window holds the blob's first bytes */
    grv_put_result result; /* once it is known, but for its key */
    grv_hasher hasher;
    uint64_t total;
    uint8_t *window;
    size_t used;
    char path[GRV_REMOTE_PATH_SIZE];
    char doing[GRV_REMOTE_DOING_SIZE];
    grv_remote_request request;
    grv_remote_transfer transfer;
    bool is_open; /* the transfer is */
    grv_buffer answer;
} remote_sink;

static remote_sink *sink_of(grv_sink *base)
{
    return (remote_sink *)(void *)base;
}

static void transfer_end(remote_sink *sink)
{
    if (sink->is_open) {
        grv_remote_transfer_end(&sink->transfer);
        sink->is_open = false;
    }
}

/* ---- What is asked ---- */

/* The request that stores bytes: under `key`, or whatever key they have (NULL). */
static void request_make(remote_sink *sink, const grv_blob_key *key)
{
    char id[GRV_KEY_TEXT_SIZE];
    if (key) {
        grv_blob_key_print(key, id);
        grv_remote_blob_path(key, "", sink->path);
        snprintf(sink->doing, sizeof sink->doing, "cannot store blob %s", id);
    } else {
        snprintf(sink->path, sizeof sink->path, "/api/blobs");
        snprintf(sink->doing, sizeof sink->doing, "cannot store a blob");
    }
    sink->request = (grv_remote_request){
        .method = key ? "PUT" : "POST",
        .path = sink->path,
        .has_body = true,
        .lines = {sink->attributes_line},
    };
}

/* The result of a put of what the server has. */
static grv_put_result result_of_info(const grv_blob_info *info)
{
    return (grv_put_result){
        .already_stored = true,
        .blocks = info->block_count,
        .duplicate_bytes = info->key.size,
    };
}

/* Whether the server has a blob: then its result is made. */
static grv_status look_for(const grv_call *call, remote_sink *sink, const grv_blob_key *key,
                           bool *ret_found, grv_error *error)
{
    grv_blob_info info;
    grv_status status = grv_remote_stat(call, sink->remote, key, &info, error);
    *ret_found = status == GRV_OK;
    if (!status) {
        sink->result = result_of_info(&info);
    }
    return status == GRV_NOT_FOUND ? GRV_OK : status;
}

static grv_status refuse_key(const remote_sink *sink, const grv_blob_key *key, grv_error *error)
{
    char has[GRV_KEY_TEXT_SIZE];
    char wants[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, has);
    grv_blob_key_print(&sink->expected, wants);
    return grv_error_set(error, GRV_CONFLICT, GRV_REMOTE_ORIGIN,
                         "the bytes have key %s, not %s: nothing was stored", has, wants);
}

/* ---- Sending as it goes ---- */

static grv_status send_begin(const grv_call *call, remote_sink *sink, grv_error *error)
{
    sink->answer.size = 0;
    sink->transfer.into = &sink->answer;
    grv_status status =
        grv_remote_transfer_begin(call, sink->remote, &sink->request, &sink->transfer, error);
    sink->is_open = status == GRV_OK;
    return status;
}

/* The server answered before all was sent. A success: it had the blob. */
static grv_status send_ended(remote_sink *sink, bool *ret_again, grv_error *error)
{
    grv_status status = grv_remote_judge(&sink->transfer, sink->doing, ret_again, error);
    if (status) {
        return status;
    }
    if (!sink->has_expected) {
        return grv_remote_no_server(sink->remote, sink->doing, "a success before all was sent",
                                    error);
    }
    sink->mode = SINK_SKIP;
    return GRV_OK;
}

/* Sends the window, trying again while it is the first one. `ended`: and then the body's end, and
 * waits for the answer. */
static grv_status send_window(const grv_call *call, remote_sink *sink, bool ended, grv_error *error)
{
    grv_remote_tries tries = {0};
    grv_remote_tries_begin(&tries);
    for (;;) {
        grv_status status = sink->is_open ? GRV_OK : send_begin(call, sink, error);
        if (status) {
            return status;
        }
        grv_remote_transfer *transfer = &sink->transfer;
        if (ended) { /* what was sent is made durable now, which may take its time */
            transfer->stall_ns = 4 * sink->remote->settings.patience_ns;
        }
        grv_remote_transfer_feed(transfer, grv_bytes_of(sink->window, sink->used), ended);
        status =
            grv_remote_transfer_drive(call, transfer, ended ? NULL : grv_remote_is_sent, error);
        if (status || !transfer->done) {
            return status;
        }
        if (ended && transfer->stop != GRV_REMOTE_STOP_EARLY && transfer->result == CURLE_OK &&
            transfer->head.http / 100 == 2) {
            return GRV_OK;
        }
        bool again = false;
        uint64_t retry_after_s = transfer->head.retry_after_s;
        grv_error why = GRV_ERROR_INIT;
        status = send_ended(sink, &again, &why);
        transfer_end(sink);
        bool goes_on = false;
        if (status && again && sink->is_first) {
            grv_status stopped =
                grv_remote_tries_wait(call, sink->remote, &tries, retry_after_s, &goes_on, &why);
            goes_on = goes_on && !stopped;
            status = stopped ? stopped : status;
        }
        if (!goes_on) {
            if (status && error) {
                *error = why;
            }
            return status;
        }
    }
}

/* The window is full and more may come: decides what becomes of the bytes. */
static grv_status send_decide(const grv_call *call, remote_sink *sink, grv_error *error)
{
    const grv_blob_key *expected = sink->has_expected ? &sink->expected : NULL;
    if (expected &&
        (expected->digest.hash != sink->remote->info.hash || expected->size < sink->total)) {
        sink->mode = SINK_SKIP; /* the commit will refuse them */
        return GRV_OK;
    }
    if (expected && !sink->is_absent) {
        bool found;
        grv_status status = look_for(call, sink, expected, &found, error);
        if (status || found) {
            sink->mode = SINK_SKIP;
            return status;
        }
    }
    request_make(sink, expected);
    sink->request.is_stream = true;
    sink->request.has_length = expected != NULL;
    sink->request.length = expected ? expected->size : 0;
    sink->mode = SINK_SEND;
    return GRV_OK;
}

/* Makes room in the window. */
static grv_status flush(const grv_call *call, remote_sink *sink, grv_error *error)
{
    grv_status status = GRV_OK;
    if (sink->mode == SINK_GATHER) {
        status = send_decide(call, sink, error);
    }
    if (!status && sink->mode == SINK_SEND && sink->has_expected &&
        sink->total > sink->expected.size) {
        transfer_end(sink); /* more bytes than were told of: the commit will refuse them */
        sink->mode = SINK_SKIP;
    }
    if (!status && sink->mode == SINK_SEND) {
        status = send_window(call, sink, false, error);
    }
    if (!status) {
        sink->used = 0;
        sink->is_first = false;
    }
    return status;
}

static grv_status sink_reserve(const grv_call *call, grv_sink *base, grv_span *ret_window,
                               grv_error *error)
{
    remote_sink *sink = sink_of(base);
    grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
    if (!status && sink->used == GRV_REMOTE_WINDOW) {
        status = flush(call, sink, error);
    }
    if (!status) {
        *ret_window = (grv_span){sink->window + sink->used, GRV_REMOTE_WINDOW - sink->used};
    }
    return status;
}

static grv_status sink_advance(const grv_call *call, grv_sink *base, size_t size, grv_error *error)
{
    remote_sink *sink = sink_of(base);
    grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
    if (status) {
        return status;
    }
    if (size > GRV_REMOTE_WINDOW - sink->used) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, GRV_REMOTE_ORIGIN,
                             "more bytes than the window has");
    }
    if (size > GRV_BLOB_SIZE_MAX - sink->total) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN, "the blob is too large");
    }
    status = grv_hasher_update(&sink->hasher, grv_bytes_of(sink->window + sink->used, size), error);
    if (!status) {
        sink->used += size;
        sink->total += size;
    }
    return status;
}

/* ---- The commit ---- */

/* What the server says of a put, against what is known here. */
static grv_status take_answer(remote_sink *sink, const grv_blob_key *key,
                              const grv_remote_head *head, grv_bytes body, grv_error *error)
{
    json_t *json;
    grv_status status = grv_remote_json_parse(body, &json, error);
    if (status) {
        grv_error_prefix(error, "%s at %s", sink->doing, sink->remote->settings.where);
        return status;
    }
    grv_blob_key said;
    if (!json_is_string(json) ||
        grv_blob_key_parse(grv_bytes_of(json_string_value(json), json_string_length(json)), &said,
                           NULL)) {
        status = grv_remote_no_server(sink->remote, sink->doing, "it names no blob", error);
    } else if (grv_blob_key_compare(&said, key) != 0) {
        char text[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(key, text);
        status = grv_error_set(error, GRV_CORRUPT, GRV_REMOTE_ORIGIN,
                               "%s at %s: what arrived there is not what was sent, %s", sink->doing,
                               sink->remote->settings.where, text);
    }
    json_decref(json);
    if (!status) {
        sink->result = head->put;
    }
    return status;
}

/* Sends a blob that the window holds whole. */
static grv_status commit_small(const grv_call *call, remote_sink *sink, const grv_blob_key *key,
                               grv_error *error)
{
    request_make(sink, key);
    sink->request.body = grv_bytes_of(sink->window, sink->used);
    const grv_remote_ask ask = {.doing = sink->doing, .request = sink->request, .is_long = true};
    grv_remote_answer answer = {0};
    grv_status status = grv_remote_ask_for(call, sink->remote, &ask, &answer, error);
    if (!status) {
        status = take_answer(sink, key, &answer.head, grv_buffer_bytes(&answer.body), error);
    }
    grv_remote_answer_done(&answer);
    return status;
}

/* Ends the body that is being sent. */
static grv_status commit_stream(const grv_call *call, remote_sink *sink, const grv_blob_key *key,
                                grv_error *error)
{
    grv_status status = send_window(call, sink, true, error);
    if (!status && sink->mode == SINK_SEND) {
        status =
            take_answer(sink, key, &sink->transfer.head, grv_buffer_bytes(&sink->answer), error);
    }
    transfer_end(sink);
    return status;
}

/* The server had the blob when it was asked, and so nothing was sent. It is asked again where that
 * was before the last byte: it may have been removed since. */
static grv_status commit_present(const grv_call *call, remote_sink *sink, const grv_blob_key *key,
                                 grv_error *error)
{
    bool found;
    char id[GRV_KEY_TEXT_SIZE];
    grv_status status = look_for(call, sink, key, &found, error);
    if (status || found) {
        return status;
    }
    grv_blob_key_print(key, id);
    return grv_error_set(error, GRV_UNAVAILABLE, GRV_REMOTE_ORIGIN,
                         "blob %s was removed while it was being put: put it again", id);
}

static grv_status commit_bytes(const grv_call *call, remote_sink *sink, const grv_blob_key *key,
                               bool *ret_attributes_sent, grv_error *error)
{
    *ret_attributes_sent = sink->attributes_line != NULL;
    switch (sink->mode) {
    case SINK_SEND:
        return commit_stream(call, sink, key, error);
    case SINK_SKIP:
        *ret_attributes_sent = false;
        return commit_present(call, sink, key, error);
    case SINK_GATHER:
        break;
    }
    if (!sink->is_absent) {
        bool found;
        grv_status status = look_for(call, sink, key, &found, error);
        if (status || found) {
            *ret_attributes_sent = false;
            return status;
        }
    }
    return commit_small(call, sink, key, error);
}

static grv_status sink_commit(const grv_call *call, grv_sink *base, grv_error *error)
{
    remote_sink *sink = sink_of(base);
    grv_blob_key key = {.size = sink->total};
    grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
    if (!status) {
        status = grv_hasher_final(&sink->hasher, &key.digest, error);
    }
    if (!status && sink->has_expected && grv_blob_key_compare(&key, &sink->expected) != 0) {
        sink->blob.result.key = key;
        status = refuse_key(sink, &key, error);
    }
    bool sent = false;
    if (!status) {
        status = commit_bytes(call, sink, &key, &sent, error);
    }
    if (!status && sink->has_attributes && !sent) {
        status = grv_remote_attributes_set(call, sink->remote, &key, &sink->attributes, error);
    }
    if (status) {
        transfer_end(sink);
        return status;
    }
    sink->blob.result = sink->result;
    sink->blob.result.key = key;
    if (sink->told) { /* only the server knows of blocks, and it tells at the end */
        sink->told(sink->told_context, key.size, sink->blob.result.duplicate_bytes);
    }
    return GRV_OK;
}

static void sink_free(grv_sink *base)
{
    remote_sink *sink = sink_of(base);
    transfer_end(sink);
    grv_hasher_done(&sink->hasher);
    grv_attributes_done(&sink->attributes);
    grv_buffer_done(&sink->answer);
    free(sink->attributes_line);
    free(sink->window);
    free(sink);
}

static const grv_sink_ops sink_ops = {
    .name = "remote",
    .reserve = sink_reserve,
    .advance = sink_advance,
    .commit = sink_commit,
    .free = sink_free,
};

/* ---- Opening ---- */

/* Keeps the attributes, and makes their header line where they are small enough. */
static grv_status take_attributes(remote_sink *sink, const grv_attributes *attributes,
                                  grv_error *error)
{
    static const char name[] = "Graviton-Attributes: ";
    grv_buffer record;
    grv_buffer_init(&record, GRV_ATTRIBUTES_BYTES_MAX);
    sink->has_attributes = true;
    grv_status status = grv_attributes_encode(attributes, &record, error);
    if (!status) {
        status = grv_attributes_decode(grv_buffer_bytes(&record), &sink->attributes, error);
    }
    size_t encoded = (record.size + 2) / 3 * 4;
    if (!status && encoded <= HEADER_MAX) {
        sink->attributes_line = malloc(sizeof name + encoded);
        if (sink->attributes_line) {
            memcpy(sink->attributes_line, name, sizeof name);
            EVP_EncodeBlock((unsigned char *)sink->attributes_line + sizeof name - 1, record.data,
                            (int)record.size);
        } else {
            status = grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN,
                                   "no memory for attributes");
        }
    }
    grv_buffer_done(&record);
    return status;
}

static grv_status sink_open(remote_sink *sink, const grv_put_plan *plan, grv_error *error)
{
    grv_hash hash = sink->remote->info.hash;
    if (hash == GRV_HASH_NONE) {
        return grv_error_set(error, GRV_UNSUPPORTED, GRV_REMOTE_ORIGIN,
                             "the store at %s can only be read", sink->remote->settings.where);
    }
    sink->window = malloc(GRV_REMOTE_WINDOW);
    if (!sink->window) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN, "no memory for a put");
    }
    grv_status status = grv_hasher_init(&sink->hasher, hash, error);
    if (!status && plan->attributes) {
        status = take_attributes(sink, plan->attributes, error);
    }
    return status;
}

grv_status grv_remote_open_put(const grv_call *call, grv_blob_store *store,
                               const grv_put_plan *plan, grv_blob_sink **ret_sink, grv_error *error)
{
    grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
    if (status) {
        return status;
    }
    remote_sink *sink = calloc(1, sizeof *sink);
    if (!sink) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN, "no memory for a put");
    }
    sink->blob.base.ops = &sink_ops;
    sink->remote = ((grv_remote_blobs *)(void *)store)->remote;
    sink->is_first = true;
    sink->is_absent = plan->is_absent;
    sink->told = plan->progress;
    sink->told_context = plan->progress_context;
    sink->has_expected = plan->expected != NULL;
    if (plan->expected) {
        sink->expected = *plan->expected;
    }
    grv_attributes_init(&sink->attributes);
    grv_buffer_init(&sink->answer, GRV_REMOTE_JSON_MAX);
    status = sink_open(sink, plan, error);
    if (status) {
        sink_free(&sink->blob.base);
        return status;
    }
    *ret_sink = &sink->blob;
    return GRV_OK;
}
