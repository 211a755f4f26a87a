/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on its way: what is computed once, in the thread that submits it, and each try as
 * curl is told it. Bodies go between curl and the caller's memory, with no other buffer in between.
 */
#include "backend/s3/client.h"
#include "os/clock.h"

#include <graviton/digest.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/* Most bytes of a URL's path or query, and of one header line. */
#define URL_MAX    ((size_t)64 << 10)
#define HEADER_MAX ((size_t)16 << 10)
/* Most bytes that are kept of the body of a refusal; the code comes early. */
#define REFUSAL_MAX ((size_t)64 << 10)
/* What curl takes from a socket, and hands to one, at a time. */
#define CHUNK_SIZE (256L << 10)

#define CONNECT_MS 5000L

/* ---- Once ---- */

static bool is_header(const grv_s3_pair *pair)
{
    size_t name_size = strlen(pair->name);
    if (name_size == 0 ||
        strspn(pair->name, "abcdefghijklmnopqrstuvwxyz0123456789-") != name_size) {
        return false;
    }
    for (const char *c = pair->value; *c; c++) {
        if (*c < ' ' || *c > '~') {
            return false;
        }
    }
    return strlen(pair->value) < HEADER_MAX / 2;
}

static grv_status check_request(const grv_s3_request *request, grv_error *error)
{
    if (!request->bucket || !*request->bucket || (request->key && !*request->key)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                             "the name of a bucket or of a key is empty");
    }
    if (request->header_count > GRV_S3_HEADERS_MAX - 8) {
        return grv_error_set(error, GRV_INTERNAL, "s3", "%zu headers are too many",
                             request->header_count);
    }
    for (size_t i = 0; i < request->header_count; i++) {
        if (!is_header(&request->headers[i])) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                                 "header %s: a value that is not printable ASCII, or is too long",
                                 request->headers[i].name);
        }
    }
    return GRV_OK;
}

/* Where the range begins that a header "bytes=FIRST-LAST" asks for; "bytes=-SIZE" says none. */
static void note_range(grv_s3_transfer *transfer)
{
    const grv_s3_request *request = transfer->request;
    for (size_t i = 0; i < request->header_count; i++) {
        const char *value = request->headers[i].value;
        if (strcmp(request->headers[i].name, "range") == 0 && strncmp(value, "bytes=", 6) == 0) {
            char first[24];
            size_t size = strcspn(value + 6, "-");
            snprintf(first, sizeof first, "%.*s", (int)size, value + 6);
            transfer->is_ranged = grv_s3_number_parse(first, &transfer->range_first);
        }
    }
}

static grv_status hash_body(grv_s3_transfer *transfer, grv_error *error)
{
    const grv_s3_request *request = transfer->request;
    if (request->body_sha256) {
        transfer->payload = request->body_sha256;
    } else if (request->body.size == 0) {
        transfer->payload = EMPTY_HASH;
    } else {
        grv_digest digest;
        grv_status status = grv_digest_of(GRV_HASH_SHA256, request->body, &digest, error);
        if (status) {
            return status;
        }
        grv_digest_hex(&digest, transfer->payload_digits);
        transfer->payload = transfer->payload_digits;
    }
    if (request->md5) {
        uint8_t hash[EVP_MAX_MD_SIZE];
        size_t size = 0;
        if (EVP_Q_digest(NULL, "MD5", NULL, request->body.data, request->body.size, hash, &size) !=
                1 ||
            size != 16) {
            return grv_error_set(error, GRV_UNSUPPORTED, "s3", "this OpenSSL has no MD5");
        }
        EVP_EncodeBlock((unsigned char *)transfer->md5, hash, (int)size);
    }
    return GRV_OK;
}

/* What the buffer holds, as a string of the caller's. */
static grv_status take_text(grv_buffer *buffer, char **ret_text, grv_error *error)
{
    grv_status status = grv_buffer_append(buffer, grv_bytes_of("", 1), error);
    if (!status) {
        *ret_text = (char *)buffer->data;
        grv_buffer_init(buffer, buffer->max);
    }
    return status;
}

static grv_status make_path(const grv_s3_request *request, bool is_virtual, char **ret_path,
                            grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, URL_MAX);
    grv_status status = grv_buffer_append(&text, grv_bytes_of("/", 1), error);
    if (!status && !is_virtual) {
        status = grv_s3_encode(request->bucket, false, &text, error);
        if (!status && request->key) {
            status = grv_buffer_append(&text, grv_bytes_of("/", 1), error);
        }
    }
    if (!status && request->key) {
        status = grv_s3_encode(request->key, true, &text, error);
    }
    if (!status) {
        status = take_text(&text, ret_path, error);
    }
    grv_buffer_done(&text);
    return status;
}

static grv_status make_address(grv_s3_transfer *transfer, grv_error *error)
{
    const grv_s3_request *request = transfer->request;
    const grv_s3_settings *settings = &transfer->s3->settings;
    bool is_virtual = grv_s3_is_virtual(settings, request->bucket);
    char host[1024];
    snprintf(host, sizeof host, "%s%s%s", is_virtual ? request->bucket : "", is_virtual ? "." : "",
             settings->authority);
    transfer->host = strdup(host);
    if (!transfer->host) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a request");
    }
    grv_status status = make_path(request, is_virtual, &transfer->path, error);
    if (status) {
        return status;
    }
    grv_buffer text;
    grv_buffer_init(&text, URL_MAX);
    status = grv_s3_encode_query(request->query, request->query_count, &text, error);
    if (!status) {
        status = take_text(&text, &transfer->query, error);
    }
    grv_buffer_done(&text);
    return status;
}

grv_status grv_s3_transfer_new(grv_s3 *s3, grv_s3_request *request, grv_s3_transfer **ret_transfer,
                               grv_error *error)
{
    grv_status status = check_request(request, error);
    if (status) {
        return status;
    }
    grv_s3_transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a request");
    }
    transfer->s3 = s3;
    transfer->request = request;
    transfer->out_start = request->out ? request->out->size : 0;
    grv_buffer_init(&transfer->refusal, REFUSAL_MAX);
    note_range(transfer);
    status = hash_body(transfer, error);
    if (!status) {
        status = make_address(transfer, error);
    }
    if (status) {
        grv_s3_transfer_free(transfer);
        return status;
    }
    *ret_transfer = transfer;
    return GRV_OK;
}

void grv_s3_transfer_free(grv_s3_transfer *transfer)
{
    grv_buffer_done(&transfer->refusal);
    free(transfer->host);
    free(transfer->path);
    free(transfer->query);
    free(transfer);
}

/* ---- What curl calls ---- */

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    grv_s3_transfer *transfer = context;
    transfer->moved++;
    grv_s3_head_line(&transfer->head, grv_bytes_of(data, size * count));
    return size * count;
}

static bool is_success(int http)
{
    return http >= 200 && http < 300;
}

/* Room at once for an answer whose size is known. */
static grv_status reserve(grv_s3_transfer *transfer)
{
    grv_buffer *out = transfer->request->out;
    uint64_t length = transfer->head.answer.content_length;
    if (transfer->received > 0 || !transfer->head.has_length || length > out->max - out->size) {
        return GRV_OK;
    }
    return grv_buffer_reserve(out, (size_t)length, &transfer->request->error);
}

/* Bytes of an answer. Returning less than all of them ends the try. */
static size_t on_write(char *data, size_t size, size_t count, void *context)
{
    grv_s3_transfer *transfer = context;
    grv_s3_request *request = transfer->request;
    size_t length = size * count;
    transfer->moved++;
    if (!is_success(transfer->head.answer.http)) {
        /* What does not fit is not missed. */
        size_t room = REFUSAL_MAX - transfer->refusal.size;
        size_t kept = length < room ? length : room;
        (void)grv_buffer_append(&transfer->refusal, grv_bytes_of(data, kept), NULL);
        return length;
    }
    if (request->out) {
        if (reserve(transfer) ||
            grv_buffer_append(request->out, grv_bytes_of(data, length), &request->error)) {
            transfer->stop = GRV_S3_STOP_BUFFER;
            return 0;
        }
    } else if (request->into.size > 0) {
        if (length > request->into.size - transfer->received) {
            transfer->stop = GRV_S3_STOP_LONG;
            return 0;
        }
        memcpy(request->into.data + transfer->received, data, length);
    }
    transfer->received += length;
    return length;
}

static size_t on_read(char *data, size_t size, size_t count, void *context)
{
    grv_s3_transfer *transfer = context;
    grv_bytes body = transfer->request->body;
    size_t left = body.size - transfer->sent;
    size_t length = size * count < left ? size * count : left;
    transfer->moved++;
    if (length > 0) {
        memcpy(data, body.data + transfer->sent, length);
        transfer->sent += length;
    }
    return length;
}

/* curl begins the body anew: on a connection that had been kept and turned out to be closed. */
static int on_seek(void *context, curl_off_t offset, int origin)
{
    grv_s3_transfer *transfer = context;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > transfer->request->body.size) {
        return CURL_SEEKFUNC_FAIL;
    }
    transfer->sent = (uint64_t)offset;
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
    grv_s3_transfer *transfer = context;
    if (transfer->went) {
        transfer->request->unsure = true;
    }
    transfer->went = true;
    transfer->moved++;
    return CURL_PREREQFUNC_OK;
}

/* ---- A try ---- */

static const char *method_name(grv_s3_method method)
{
    switch (method) {
    case GRV_S3_GET:
        return "GET";
    case GRV_S3_HEAD:
        return "HEAD";
    case GRV_S3_PUT:
        return "PUT";
    case GRV_S3_POST:
        return "POST";
    case GRV_S3_DELETE:
        return "DELETE";
    }
    return "";
}

static grv_status add_raw(grv_s3_transfer *transfer, const char *line, grv_error *error)
{
    struct curl_slist *lines = curl_slist_append(transfer->lines, line);
    if (!lines) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a request");
    }
    transfer->lines = lines;
    return GRV_OK;
}

static grv_status add_line(grv_s3_transfer *transfer, const char *name, const char *value,
                           grv_error *error)
{
    char line[HEADER_MAX];
    int size = *value ? snprintf(line, sizeof line, "%s: %s", name, value)
                      : snprintf(line, sizeof line, "%s;", name); /* curl's sign for "no value" */
    if (size < 0 || (size_t)size >= sizeof line) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3", "header %s is too long", name);
    }
    return add_raw(transfer, line, error);
}

/* The signing key lasts for a day of the service's clock. */
static grv_status refresh_key(grv_s3 *s3, const char *time, grv_error *error)
{
    if (memcmp(s3->key_time, time, 8) == 0) {
        return GRV_OK;
    }
    grv_status status =
        grv_s3_signing_key(s3->settings.secret, time, s3->settings.region, "s3", s3->key, error);
    if (!status) {
        memcpy(s3->key_time, time, sizeof s3->key_time);
    }
    return status;
}

static grv_status add_signature(grv_s3_transfer *transfer, const grv_s3_pair headers[],
                                size_t count, const char *time, grv_error *error)
{
    grv_s3 *s3 = transfer->s3;
    grv_s3_signing signing = {.method = method_name(transfer->request->method),
                              .path = transfer->path,
                              .query = transfer->query,
                              .headers = headers,
                              .header_count = count,
                              .payload = transfer->payload,
                              .time = time,
                              .region = s3->settings.region,
                              .service = "s3",
                              .key_id = s3->settings.key_id};
    grv_buffer value;
    grv_buffer_init(&value, HEADER_MAX / 2);
    grv_status status = refresh_key(s3, time, error);
    if (!status) {
        status = grv_s3_sign(&signing, s3->key, &value, error);
    }
    if (!status) {
        status = grv_buffer_append(&value, grv_bytes_of("", 1), error);
    }
    if (!status) {
        status = add_line(transfer, "authorization", (const char *)value.data, error);
    }
    grv_buffer_done(&value);
    return status;
}

/* All headers, signed for this moment. */
static grv_status add_lines(grv_s3_transfer *transfer, grv_error *error)
{
    const grv_s3_request *request = transfer->request;
    const grv_s3_settings *settings = &transfer->s3->settings;
    char time[17];
    int64_t now_s = (int64_t)(grv_clock_realtime_ns() / UINT64_C(1000000000));
    now_s += transfer->s3->skew_s;
    grv_s3_time_print(now_s > 0 ? (uint64_t)now_s : 0, time);
    grv_s3_pair headers[GRV_S3_HEADERS_MAX];
    size_t count = 0;
    headers[count++] = (grv_s3_pair){"host", transfer->host};
    headers[count++] = (grv_s3_pair){"x-amz-content-sha256", transfer->payload};
    headers[count++] = (grv_s3_pair){"x-amz-date", time};
    if (settings->token) {
        headers[count++] = (grv_s3_pair){"x-amz-security-token", settings->token};
    }
    if (request->md5) {
        headers[count++] = (grv_s3_pair){"content-md5", transfer->md5};
    }
    for (size_t i = 0; i < request->header_count; i++) {
        headers[count++] = request->headers[i];
    }
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = add_line(transfer, headers[i].name, headers[i].value, error);
    }
    return status ? status : add_signature(transfer, headers, count, time, error);
}

static int set_url(grv_s3_transfer *transfer, CURL *easy)
{
    const char *scheme = transfer->s3->settings.tls ? "https://" : "http://";
    size_t size = strlen(scheme) + strlen(transfer->host) + strlen(transfer->path) +
                  strlen(transfer->query) + 2;
    char *url = malloc(size);
    if (!url) {
        return CURLE_OUT_OF_MEMORY;
    }
    snprintf(url, size, "%s%s%s%s%s", scheme, transfer->host, transfer->path,
             *transfer->query ? "?" : "", transfer->query);
    int failed = (int)curl_easy_setopt(easy, CURLOPT_URL, url);
    free(url);
    return failed;
}

static int set_method(const grv_s3_transfer *transfer, CURL *easy)
{
    const grv_s3_request *request = transfer->request;
    switch (request->method) {
    case GRV_S3_GET:
        return (int)curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    case GRV_S3_HEAD:
        return (int)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    case GRV_S3_DELETE:
        return (int)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
    case GRV_S3_PUT:
    case GRV_S3_POST:
        break;
    }
    int failed = (int)curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method_name(request->method));
    failed |= (int)curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body.size);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, CHUNK_SIZE);
    return failed;
}

static int set_callbacks(grv_s3_transfer *transfer, CURL *easy)
{
    int failed = (int)curl_easy_setopt(easy, CURLOPT_PRIVATE, (void *)transfer);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
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

/*
 * Nothing but what a request says: no redirects, no other protocols, no signals. A connection that
 * was idle for longer than services keep one is not used again. QUICK_EXIT: a name that does not
 * resolve must not hold the engine up when its request is given up.
 */
static int set_manners(const grv_s3_transfer *transfer, CURL *easy)
{
    const grv_s3_settings *settings = &transfer->s3->settings;
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
    /* Refused where a buffer of that size is left of a try that never got as far as a connection.
     */
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, CHUNK_SIZE);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_USERAGENT, "graviton/" GRV_VERSION);
    if (settings->ca_bundle) {
        failed |= (int)curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_bundle);
    }
    return failed;
}

grv_status grv_s3_transfer_prepare(grv_s3_transfer *transfer, CURL *easy, grv_error *error)
{
    transfer->easy = easy;
    transfer->head = (grv_s3_head){0};
    transfer->refusal.size = 0;
    transfer->received = 0;
    transfer->sent = 0;
    transfer->went = false;
    transfer->stop = GRV_S3_STOP_NONE;
    transfer->moved_seen = transfer->moved;
    transfer->unsent_seen = 0;
    transfer->curl_text[0] = '\0';
    if (transfer->request->out) {
        transfer->request->out->size = transfer->out_start;
    }
    grv_status status = add_lines(transfer, error);
    if (!status) {
        status = add_raw(transfer, "Expect:", error); /* no pause to be told to go on */
    }
    if (status) {
        return status;
    }
    int failed = set_url(transfer, easy);
    failed |= set_method(transfer, easy);
    failed |= set_callbacks(transfer, easy);
    failed |= set_manners(transfer, easy);
    failed |= (int)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->lines);
    if (failed) {
        return grv_error_set(error, GRV_INTERNAL, "s3", "curl does not take an option");
    }
    return GRV_OK;
}

void grv_s3_transfer_ended(grv_s3_transfer *transfer)
{
    curl_easy_reset(transfer->easy); /* it must not remember what is freed now */
    curl_slist_free_all(transfer->lines);
    transfer->lines = NULL;
    transfer->easy = NULL;
}
