/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One try of a request, driven by the thread that wants it: it lasts as long as calls drive it, and
 * between two calls the bytes wait in the system's buffers. No redirects are followed, so that the
 * token goes to nobody but the server that was named.
 */
#include "backend/remote/line.h"
#include "base/digits.h"
#include "os/random.h"

#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Bytes kept of the body of a refusal. */
#define REFUSAL_MAX      ((size_t)64 << 10)
#define REFUSAL_PATIENCE ((uint64_t)16 << 20)
/* What curl takes from a socket, and hands to one, at a time. */
#define CHUNK_SIZE (256L << 10)
#define CONNECT_MS 5000L
/* How often a call that can be given up looks whether it was, and how often others look around. */
#define LOOK_MS  100
#define RELAX_MS 1000

/* ---- What curl calls ---- */

static bool is_success(int http)
{
    return http >= 200 && http < 300;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    grv_remote_transfer *transfer = context;
    transfer->moved++;
    grv_remote_head_line(&transfer->head, grv_bytes_of(data, size * count));
    /* The server had the blob when it saw the headers. curl would send the body all the same. */
    if (transfer->head.is_whole && is_success(transfer->head.http) &&
        transfer->request->is_stream && transfer->out_total == 0) {
        transfer->stop = GRV_REMOTE_STOP_EARLY;
        return 0;
    }
    return size * count;
}

/* Bytes of an answer. Returning less than all of them ends the try. */
static size_t on_write(char *data, size_t size, size_t count, void *context)
{
    grv_remote_transfer *transfer = context;
    size_t length = size * count;
    transfer->moved++;
    if (!is_success(transfer->head.http)) {
        /* What does not fit is not missed; but it has to end. */
        transfer->refused += length;
        if (transfer->refused > REFUSAL_PATIENCE) {
            transfer->stop = GRV_REMOTE_STOP_LONG;
            return 0;
        }
        size_t room = REFUSAL_MAX - transfer->refusal.size;
        size_t kept = length < room ? length : room;
        (void)grv_buffer_append(&transfer->refusal, grv_bytes_of(data, kept), NULL);
        return length;
    }
    if (transfer->window.data) {
        if (length > transfer->window.size && transfer->window_used == 0) {
            transfer->stop = GRV_REMOTE_STOP_LONG;
            return 0;
        }
        if (length > transfer->window.size - transfer->window_used) {
            transfer->in_paused = true;
            return CURL_WRITEFUNC_PAUSE;
        }
        memcpy(transfer->window.data + transfer->window_used, data, length);
        transfer->window_used += length;
        return length;
    }
    if (transfer->into && grv_buffer_append(transfer->into, grv_bytes_of(data, length), NULL)) {
        transfer->stop = GRV_REMOTE_STOP_LONG;
        return 0;
    }
    return length;
}

static size_t on_read(char *data, size_t size, size_t count, void *context)
{
    grv_remote_transfer *transfer = context;
    size_t left = transfer->out.size - transfer->out_sent;
    size_t length = size * count < left ? size * count : left;
    if (length == 0 && !transfer->out_ended) {
        transfer->out_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    transfer->moved++;
    if (length > 0) {
        memcpy(data, transfer->out.data + transfer->out_sent, length);
        transfer->out_sent += length;
        transfer->out_total += length;
    }
    return length;
}

/* curl begins the body anew: on a connection that had been kept and turned out to be closed. */
static int on_seek(void *context, curl_off_t offset, int origin)
{
    grv_remote_transfer *transfer = context;
    bool is_held = transfer->out_total == transfer->out_sent;
    if (origin != SEEK_SET || offset < 0 || !is_held || (size_t)offset > transfer->out.size) {
        return CURL_SEEKFUNC_CANTSEEK;
    }
    transfer->out_sent = (size_t)offset;
    transfer->out_total = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* A request is about to be sent. Twice in one try: curl does it again by itself, and nobody knows
 * what became of the first. */
static int on_request(void *context, char *remote_ip, char *local_ip, int remote_port,
                      int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    grv_remote_transfer *transfer = context;
    transfer->unsure = transfer->unsure || transfer->went;
    transfer->went = true;
    transfer->moved++;
    return CURL_PREREQFUNC_OK;
}

/* ---- Making it ready ---- */

static grv_status add_line(grv_remote_transfer *transfer, const char *line, grv_error *error)
{
    struct curl_slist *lines = curl_slist_append(transfer->lines, line);
    if (!lines) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN,
                             "no memory for a request");
    }
    transfer->lines = lines;
    return GRV_OK;
}

/* traceparent (W3C Trace Context): the call's trace, of which this request is a part. */
static grv_status add_trace(const grv_call *call, grv_remote_transfer *transfer, grv_error *error)
{
    static const uint8_t none[sizeof call->trace_id];
    uint8_t part[8];
    char trace[2 * sizeof call->trace_id + 1];
    char digits[2 * sizeof part + 1];
    char line[sizeof trace + sizeof digits + 32];
    if (!call || grv_bytes_compare(grv_bytes_of(call->trace_id, sizeof none),
                                   grv_bytes_of(none, sizeof none)) == 0) {
        return GRV_OK;
    }
    grv_status status = grv_random_fill(part, sizeof part, error);
    if (status) {
        return status;
    }
    part[0] |= 1; /* 0 is no id */
    grv_hex_print(call->trace_id, sizeof call->trace_id, trace);
    grv_hex_print(part, sizeof part, digits);
    snprintf(line, sizeof line, "traceparent: 00-%s-%s-01", trace, digits);
    return add_line(transfer, line, error);
}

static grv_status add_lines(grv_remote_transfer *transfer, grv_error *error)
{
    const grv_remote_request *request = transfer->request;
    const char *token = transfer->remote->settings.token;
    char line[256];
    grv_status status = GRV_OK;
    if (token) {
        size_t size = strlen(token) + sizeof "Authorization: Bearer ";
        char *bearer = malloc(size);
        if (bearer) {
            snprintf(bearer, size, "Authorization: Bearer %s", token);
            status = add_line(transfer, bearer, error);
        } else {
            status = grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN,
                                   "no memory for a request");
        }
        free(bearer);
    }
    if (!status && request->type) {
        snprintf(line, sizeof line, "Content-Type: %s", request->type);
        status = add_line(transfer, line, error);
    }
    if (!status) {
        /* What is streamed cannot be sent twice, so the server may refuse it before. */
        status = add_line(transfer, request->is_stream ? "Expect: 100-continue" : "Expect:", error);
    }
    const size_t max = sizeof request->lines / sizeof request->lines[0];
    for (size_t i = 0; i < max && request->lines[i] && !status; i++) {
        status = add_line(transfer, request->lines[i], error);
    }
    return status;
}

static int set_url(const grv_remote_transfer *transfer, CURL *easy)
{
    const char *where = transfer->remote->settings.where;
    size_t size = strlen(where) + strlen(transfer->request->path) + 1;
    char *url = malloc(size);
    if (!url) {
        return CURLE_OUT_OF_MEMORY;
    }
    snprintf(url, size, "%s%s", where, transfer->request->path);
    int failed = (int)curl_easy_setopt(easy, CURLOPT_URL, url);
    free(url);
    return failed;
}

static int set_method(const grv_remote_transfer *transfer, CURL *easy)
{
    const grv_remote_request *request = transfer->request;
    if (!request->has_body) {
        return strcmp(request->method, "GET") == 0
                   ? (int)curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L)
                   : (int)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    }
    curl_off_t length = (curl_off_t)request->body.size;
    if (request->is_stream) {
        length = request->has_length ? (curl_off_t)request->length : -1; /* chunked */
    }
    int failed = (int)curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, length);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, CHUNK_SIZE);
    return failed;
}

static int set_callbacks(grv_remote_transfer *transfer, CURL *easy)
{
    int failed = (int)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_HEADERDATA, (void *)transfer);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_WRITEDATA, (void *)transfer);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_READDATA, (void *)transfer);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_SEEKDATA, (void *)transfer);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_PREREQDATA, (void *)transfer);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_text);
    return failed;
}

/* Nothing but what a request says. A connection that was idle for longer than servers keep one is
 * not used again. */
static int set_manners(const grv_remote_transfer *transfer, CURL *easy)
{
    const char *bundle = transfer->remote->settings.ca_bundle;
    int failed = (int)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    failed |= (int)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, 30L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, CHUNK_SIZE); /* only a wish */
    failed |= (int)curl_easy_setopt(easy, CURLOPT_USERAGENT, "graviton/" GRV_VERSION);
    if (transfer->remote->settings.is_local) {
        /* What is sent to this machine stays on it, whatever proxy there is for the others. */
        failed |= (int)curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    }
    if (bundle) {
        failed |= (int)curl_easy_setopt(easy, CURLOPT_CAINFO, bundle);
    }
    return failed;
}

static grv_status prepare(const grv_call *call, grv_remote_transfer *transfer, grv_error *error)
{
    grv_status status = add_lines(transfer, error);
    if (!status) {
        status = add_trace(call, transfer, error);
    }
    if (status) {
        return status;
    }
    CURL *easy = transfer->line->easy;
    int failed = set_url(transfer, easy);
    failed |= set_method(transfer, easy);
    failed |= set_callbacks(transfer, easy);
    failed |= set_manners(transfer, easy);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->lines);
    if (failed || curl_multi_add_handle(transfer->line->multi, easy) != CURLM_OK) {
        return grv_error_set(error, GRV_INTERNAL, GRV_REMOTE_ORIGIN, "curl takes no request");
    }
    return GRV_OK;
}

grv_status grv_remote_transfer_begin(const grv_call *call, grv_remote *remote,
                                     const grv_remote_request *request,
                                     grv_remote_transfer *transfer, grv_error *error)
{
    transfer->remote = remote;
    transfer->request = request;
    transfer->head = (grv_remote_head){0};
    grv_buffer_init(&transfer->refusal, REFUSAL_MAX);
    transfer->refused = 0;
    transfer->out = request->is_stream ? (grv_bytes){0} : request->body;
    transfer->out_sent = 0;
    transfer->out_total = 0;
    transfer->out_ended = !request->is_stream;
    transfer->out_paused = false;
    transfer->in_paused = false;
    transfer->window_used = 0;
    transfer->went = false;
    transfer->unsure = false;
    transfer->done = false;
    transfer->result = CURLE_OK;
    transfer->stop = GRV_REMOTE_STOP_NONE;
    transfer->moved_seen = transfer->moved;
    transfer->curl_text[0] = '\0';
    /* Half of the patience: a try that stands still leaves time for another. */
    transfer->stall_ns = remote->settings.patience_ns / 2;
    grv_status status = grv_remote_line_take(remote, &transfer->line, error);
    if (!status) {
        status = prepare(call, transfer, error);
    }
    if (status) {
        grv_remote_transfer_end(transfer);
    }
    return status;
}

/* ---- Driving it ---- */

bool grv_remote_has_head(const grv_remote_transfer *transfer)
{
    return transfer->head.is_whole;
}

bool grv_remote_is_sent(const grv_remote_transfer *transfer)
{
    return transfer->out_sent == transfer->out.size;
}

void grv_remote_transfer_feed(grv_remote_transfer *transfer, grv_bytes bytes, bool ended)
{
    transfer->out = bytes;
    transfer->out_sent = 0;
    transfer->out_ended = ended;
    if (transfer->out_paused && !transfer->done) {
        transfer->out_paused = false;
        /* What goes wrong in it shows when the transfer is driven. */
        (void)curl_easy_pause(transfer->line->easy, CURLPAUSE_CONT);
    }
}

void grv_remote_transfer_drain(grv_remote_transfer *transfer)
{
    transfer->window_used = 0;
    if (transfer->in_paused && !transfer->done) {
        transfer->in_paused = false;
        (void)curl_easy_pause(transfer->line->easy, CURLPAUSE_CONT);
    }
}

/* How many bytes the system has still to send, which change while it does. */
static uint64_t unsent(const grv_remote_transfer *transfer)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    int count = 0;
    if (curl_easy_getinfo(transfer->line->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD || ioctl(fd, SIOCOUTQ, &count) < 0 || count < 0) {
        return 0;
    }
    return (uint64_t)count;
}

/* Ends a try in which nothing has moved for too long. */
static void look_for_stall(grv_remote_transfer *transfer, uint64_t *last_unsent)
{
    uint64_t now = grv_now_ns();
    uint64_t waiting = unsent(transfer);
    if (transfer->moved != transfer->moved_seen || waiting != *last_unsent) {
        transfer->moved_seen = transfer->moved;
        transfer->progress_ns = now;
        *last_unsent = waiting;
    } else if (now - transfer->progress_ns >= transfer->stall_ns) {
        transfer->stop = GRV_REMOTE_STOP_STALL;
        transfer->done = true;
        transfer->result = CURLE_OPERATION_TIMEDOUT;
    }
}

/* Milliseconds until it is time to look around. */
static int patience_ms(const grv_call *call)
{
    int wait = call && call->cancel ? LOOK_MS : RELAX_MS;
    if (call && call->deadline_ns > 0) {
        uint64_t now = grv_now_ns();
        uint64_t left_ms =
            call->deadline_ns > now ? (call->deadline_ns - now) / UINT64_C(1000000) + 1 : 1;
        wait = left_ms < (uint64_t)wait ? (int)left_ms : wait;
    }
    return wait;
}

static void note_end(grv_remote_transfer *transfer)
{
    int left = 0;
    const CURLMsg *message;
    while ((message = curl_multi_info_read(transfer->line->multi, &left))) {
        if (message->msg == CURLMSG_DONE) {
            transfer->done = true;
            transfer->result = message->data.result;
        }
    }
}

grv_status grv_remote_transfer_drive(const grv_call *call, grv_remote_transfer *transfer,
                                     bool (*enough)(const grv_remote_transfer *transfer),
                                     grv_error *error)
{
    CURLM *multi = transfer->line->multi;
    uint64_t last_unsent = UINT64_MAX;
    transfer->progress_ns = grv_now_ns();
    for (;;) {
        grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
        if (status) {
            return status;
        }
        int running = 0;
        if (!transfer->done) {
            CURLMcode code = curl_multi_perform(multi, &running);
            if (code != CURLM_OK) {
                return grv_error_set(error, GRV_INTERNAL, GRV_REMOTE_ORIGIN, "curl: %s",
                                     curl_multi_strerror(code));
            }
            note_end(transfer);
        }
        if (transfer->done || (enough && enough(transfer))) {
            return GRV_OK;
        }
        look_for_stall(transfer, &last_unsent);
        if (!transfer->done) {
            (void)curl_multi_poll(multi, NULL, 0, patience_ms(call), NULL);
        }
    }
}

void grv_remote_transfer_end(grv_remote_transfer *transfer)
{
    grv_remote_line *line = transfer->line;
    if (line) {
        (void)curl_multi_remove_handle(line->multi, line->easy);
        curl_easy_reset(line->easy); /* it must not remember what is freed now */
        grv_remote_line_give(transfer->remote, line);
    }
    curl_slist_free_all(transfer->lines);
    grv_buffer_done(&transfer->refusal);
    transfer->line = NULL;
    transfer->lines = NULL;
}
