/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A get: one request for all the bytes, into a window that views are lent of. A connection that is
 * cut is taken up where it broke, by a request for the rest. The server has checked each block; a
 * read of the whole blob is hashed here too, and its last bytes are held back until that agrees, so
 * that nothing between the server's disk and this program goes unseen.
 */
#include "backend/remote/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct remote_source {
    grv_source base;
    grv_remote *remote;
    grv_blob_key key;
    char doing[GRV_REMOTE_DOING_SIZE];
    char path[GRV_REMOTE_PATH_SIZE];
    char range_line[80];
    grv_remote_request request;
    grv_remote_transfer transfer;
    bool is_open; /* the transfer is */
    bool is_whole;
    grv_hasher hasher; /* where it is whole */
    uint64_t first;    /* of the range */
    uint64_t end;
    uint64_t asked;    /* the first byte that the transfer asked for */
    uint64_t received; /* the place in the blob up to which bytes have come, */
    uint64_t given;    /* and been given */
    size_t at;         /* in the window: what was given */
    grv_remote_tries tries;
    grv_error failed; /* what every call gives from now on */
    uint8_t *window;
    size_t window_size;
} remote_source;

static grv_status begin(const grv_call *call, remote_source *source, grv_error *error)
{
    source->request = (grv_remote_request){.method = "GET", .path = source->path};
    if (source->received > 0 || source->end < source->key.size) {
        snprintf(source->range_line, sizeof source->range_line, "Range: bytes=%" PRIu64 "-%" PRIu64,
                 source->received, source->end - 1);
        source->request.lines[0] = source->range_line;
    }
    source->transfer.window = (grv_span){source->window, source->window_size};
    source->at = 0;
    source->asked = source->received;
    grv_status status =
        grv_remote_transfer_begin(call, source->remote, &source->request, &source->transfer, error);
    source->is_open = status == GRV_OK;
    return status;
}

static void finish(remote_source *source)
{
    if (source->is_open) {
        grv_remote_transfer_end(&source->transfer);
        source->is_open = false;
    }
}

/* Whether a success is the part that was asked for. */
static grv_status check_head(const remote_source *source, grv_error *error)
{
    const grv_remote_head *head = &source->transfer.head;
    uint64_t size = source->end - source->asked;
    char why[128];
    if (source->request.lines[0]) {
        if (head->http == 206 && head->has_range && head->range_first == source->asked &&
            head->range_last == source->end - 1 && head->range_total == source->key.size &&
            (!head->has_length || head->length == size)) {
            return GRV_OK;
        }
        snprintf(why, sizeof why, "HTTP %d, and not the part that was asked for", head->http);
    } else {
        if (head->http == 200 && head->has_length && head->length == size) {
            return GRV_OK;
        }
        snprintf(why, sizeof why, "HTTP %d, and not %" PRIu64 " bytes", head->http, size);
    }
    return grv_remote_no_server(source->remote, source->doing, why, error);
}

static bool has_bytes(const grv_remote_transfer *transfer)
{
    return transfer->head.is_whole && transfer->window_used > 0;
}

/* Takes note of what has come into the window; the last bytes of the whole are checked. */
static grv_status account(remote_source *source, grv_error *error)
{
    size_t size = source->transfer.window_used;
    if (size == 0) {
        return GRV_OK;
    }
    if (size > source->end - source->received) {
        return grv_remote_no_server(source->remote, source->doing, "more bytes than were told of",
                                    error);
    }
    source->received += size;
    if (!source->is_whole) {
        return GRV_OK;
    }
    grv_status status =
        grv_hasher_update(&source->hasher, grv_bytes_of(source->window, size), error);
    if (status || source->received < source->end) {
        return status;
    }
    grv_digest digest;
    status = grv_hasher_final(&source->hasher, &digest, error);
    if (!status && grv_digest_compare(&digest, &source->key.digest) != 0) {
        status = grv_error_set(error, GRV_CORRUPT, GRV_REMOTE_ORIGIN,
                               "%s at %s: the bytes that came are not the blob's", source->doing,
                               source->remote->settings.where);
    }
    return status;
}

/* A try has ended before the last byte: begins another one, where that may help. */
static grv_status resume(const grv_call *call, remote_source *source, bool again, grv_status failed,
                         const grv_error *why, grv_error *error)
{
    uint64_t retry_after_s = source->transfer.head.retry_after_s;
    bool goes_on = false;
    finish(source);
    if (again) {
        grv_status status = grv_remote_tries_wait(call, source->remote, &source->tries,
                                                  retry_after_s, &goes_on, error);
        if (status) {
            return status;
        }
    }
    if (!goes_on) {
        if (error) {
            *error = *why;
        }
        return failed;
    }
    return begin(call, source, error);
}

/* Fills the window, which is empty, with what comes next; tries again where the connection fails.
 */
static grv_status pump(const grv_call *call, remote_source *source, grv_error *error)
{
    grv_remote_transfer *transfer = &source->transfer;
    grv_status status = source->is_open ? GRV_OK : begin(call, source, error);
    grv_remote_tries_begin(&source->tries);
    while (!status) {
        status = grv_remote_transfer_drive(call, transfer, has_bytes, error);
        if (status) {
            break;
        }
        if (transfer->head.is_whole && transfer->head.http / 100 == 2) {
            status = check_head(source, error);
            if (!status) {
                status = account(source, error);
            }
            if (status || transfer->window_used > 0) {
                break;
            }
        }
        grv_error why = GRV_ERROR_INIT;
        bool again = false;
        grv_status failed = grv_remote_judge(transfer, source->doing, &again, &why);
        if (!failed) {
            failed = grv_error_set(&why, GRV_UNAVAILABLE, GRV_REMOTE_ORIGIN,
                                   "%s at %s: the answer ended too early", source->doing,
                                   source->remote->settings.where);
            again = true;
        }
        status = resume(call, source, again, failed, &why, error);
    }
    return status;
}

static grv_status give(const grv_call *call, remote_source *source, size_t max, grv_bytes *ret_view,
                       grv_error *error)
{
    if (source->given == source->end) {
        *ret_view = (grv_bytes){0};
        return GRV_OK;
    }
    if (source->at == source->transfer.window_used) {
        source->at = 0;
        source->transfer.window_used = 0;
        if (source->is_open) {
            grv_remote_transfer_drain(&source->transfer);
        }
        /* What curl had kept back may be in the window already: then that is all it does. */
        grv_status status = pump(call, source, error);
        if (status) {
            return status;
        }
    }
    size_t left = source->transfer.window_used - source->at;
    size_t size = left < max ? left : max;
    *ret_view = grv_bytes_of(source->window + source->at, size);
    source->at += size;
    source->given += size;
    if (source->given == source->end) {
        /* The connection is free again, if the answer has come to its end by now. */
        if (source->is_open && !source->transfer.done) {
            /* Every byte is there: what becomes of the connection changes nothing. */
            (void)grv_remote_transfer_drive(call, &source->transfer, NULL, NULL);
        }
        finish(source);
    }
    return GRV_OK;
}

static grv_status source_next(const grv_call *call, grv_source *base, size_t max,
                              grv_bytes *ret_view, grv_error *error)
{
    remote_source *source = (remote_source *)(void *)base;
    if (source->failed.status) {
        if (error) {
            *error = source->failed;
        }
        return source->failed.status;
    }
    grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, &source->failed);
    if (!status) {
        status = give(call, source, max, ret_view, &source->failed);
    }
    source->failed.status = status;
    if (status) {
        finish(source);
        if (error) {
            *error = source->failed;
        }
    }
    return status;
}

static void source_free(grv_source *base)
{
    remote_source *source = (remote_source *)(void *)base;
    finish(source);
    grv_hasher_done(&source->hasher);
    free(source->window);
    free(source);
}

static const grv_source_ops source_ops = {
    .name = "remote",
    .next = source_next,
    .free = source_free,
};

/* Nothing is to be read: only whether the blob is there is asked. */
static grv_status open_empty(const grv_call *call, remote_source *source, grv_error *error)
{
    grv_blob_info info;
    return grv_remote_stat(call, source->remote, &source->key, &info, error);
}

static grv_status source_open(const grv_call *call, remote_source *source, grv_error *error)
{
    if (source->first == source->end) {
        return open_empty(call, source, error);
    }
    if (source->is_whole) {
        grv_status status = grv_hasher_init(&source->hasher, source->key.digest.hash, error);
        if (status) {
            return status;
        }
    }
    uint64_t size = source->end - source->first;
    source->window_size = size < GRV_REMOTE_WINDOW ? (size_t)size : GRV_REMOTE_WINDOW;
    source->window = malloc(source->window_size);
    if (!source->window) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN, "no memory for a read");
    }
    return pump(call, source, error);
}

grv_status grv_remote_open_get(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                               grv_range range, grv_source **ret_source, grv_error *error)
{
    char id[GRV_KEY_TEXT_SIZE];
    remote_source *source = calloc(1, sizeof *source);
    if (!source) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN, "no memory for a read");
    }
    source->base.ops = &source_ops;
    source->remote = ((grv_remote_blobs *)(void *)store)->remote;
    source->key = *key;
    source->first = range.first;
    source->received = range.first;
    source->given = range.first;
    source->end = range.end;
    source->is_whole = range.first == 0 && range.end == key->size;
    grv_blob_key_print(key, id);
    snprintf(source->doing, sizeof source->doing, "cannot read blob %s", id);
    grv_remote_blob_path(key, "", source->path);
    grv_remote_tries_begin(&source->tries);
    grv_status status = source_open(call, source, error);
    if (status) {
        source_free(&source->base);
        return status;
    }
    *ret_source = &source->base;
    return GRV_OK;
}
