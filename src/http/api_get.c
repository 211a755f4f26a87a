/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET and HEAD /api/blobs/ID: conditions, then ranges, then the bytes. A blob never changes, so its
 * id is a strong entity tag and its answer may be kept for ever; what could change, its attributes,
 * is only ever printed through fields.h, which lets nothing through that a browser would run or
 * that ends a header line.
 */
#include "http/api.h"
#include "http/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_DEFAULT "application/octet-stream"

/* What is known of a blob that is asked for. */
typedef struct get_state {
    grv_blob_key key;
    bool is_known; /* looked up: it is there, and `type` and `disposition` are its own */
    char etag[GRV_KEY_TEXT_SIZE + 2];
    char type[HTTP_MEDIA_TYPE_MAX + 1];
    char disposition[HTTP_DISPOSITION_SIZE];
    http_ranges ranges;
} get_state;

/* Looks the blob up, unless that was done before; its attributes as headers show them.
 * `has_opened` as in grv_call. */
static grv_status get_look_up(http_exchange *exchange, get_state *get, bool has_opened,
                              grv_error *error)
{
    if (get->is_known) {
        return GRV_OK;
    }
    grv_call call = exchange->call;
    grv_attributes attributes;
    call.has_opened = has_opened;
    grv_attributes_init(&attributes);
    grv_status status = grv_blob_store_attributes_get(&call, exchange->server->blobs, &get->key,
                                                      &attributes, error);
    if (!status) {
        const grv_attribute *type = grv_attributes_get(&attributes, GRV_ATTRIBUTE_CONTENT_TYPE);
        const grv_attribute *name = grv_attributes_get(&attributes, GRV_ATTRIBUTE_FILE_NAME);
        grv_bytes shown = grv_bytes_of(TYPE_DEFAULT, sizeof TYPE_DEFAULT - 1);
        if (type && http_media_type_is_valid(grv_bytes_of(type->value, type->value_size))) {
            shown = grv_bytes_of(type->value, type->value_size);
        }
        memcpy(get->type, shown.data, shown.size);
        get->type[shown.size] = '\0';
        http_disposition_print(name ? grv_bytes_of(name->value, name->value_size)
                                    : grv_bytes_of("", 0),
                               get->disposition);
        get->is_known = true;
    }
    grv_attributes_done(&attributes);
    return http_api_blob_failure(&get->key, status, error);
}

/* ---- Headers ---- */

static grv_status headers_add(http_exchange *exchange, const char *const lines[][2], size_t count,
                              grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = http_reply_header(exchange, lines[i][0], lines[i][1], error);
    }
    return status;
}

/* What a 304 has, too. */
static grv_status headers_of_cache(http_exchange *exchange, const get_state *get, grv_error *error)
{
    const char *const lines[][2] = {
        {"ETag", get->etag},
        {"Cache-Control", exchange->server->auth ? "private, max-age=31536000, immutable"
                                                 : "max-age=31536000, immutable"},
    };
    return headers_add(exchange, lines, sizeof lines / sizeof lines[0], error);
}

/* What every answer with the blob's bytes has; `type` is the body's. */
static grv_status headers_of_bytes(http_exchange *exchange, const get_state *get, const char *type,
                                   grv_error *error)
{
    char digest[HTTP_DIGEST_TEXT_SIZE];
    http_digest_print(&get->key.digest, digest);
    const char *const lines[][2] = {
        {"Content-Type", type},
        {"Content-Disposition", get->disposition},
        {"Accept-Ranges", "bytes"},
        {"Repr-Digest", digest},
        {"X-Content-Type-Options", "nosniff"},
        {"Content-Security-Policy", "default-src 'none'; sandbox"},
    };
    grv_status status = headers_add(exchange, lines, sizeof lines / sizeof lines[0], error);
    return status ? status : headers_of_cache(exchange, get, error);
}

/* ---- Answers ---- */

static grv_status reply_not_satisfiable(http_exchange *exchange, const get_state *get,
                                        grv_error *error)
{
    char value[48];
    snprintf(value, sizeof value, "bytes */%" PRIu64, get->key.size);
    grv_status status =
        http_reply_problem(exchange, "range-not-satisfiable",
                           "none of the ranges asked for is within the blob", error);
    return status ? status : http_reply_header(exchange, "Content-Range", value, error);
}

/* One stretch of the blob, or all of it. Its attributes are read after it was opened: what was
 * put before is seen whole. */
static grv_status reply_bytes(http_exchange *exchange, get_state *get, unsigned status_code,
                              grv_range range, grv_error *error)
{
    grv_source *source;
    grv_status status = grv_blob_store_open_get(&exchange->call, exchange->server->blobs, &get->key,
                                                range, &source, error);
    if (status) {
        return http_api_blob_failure(&get->key, status, error);
    }
    status = get_look_up(exchange, get, true, error);
    if (!status) {
        status = headers_of_bytes(exchange, get, get->type, error);
    }
    if (!status && status_code == 206) {
        char value[80];
        snprintf(value, sizeof value, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
                 range.end - 1, get->key.size);
        status = http_reply_header(exchange, "Content-Range", value, error);
    }
    if (status) {
        grv_source_free(source);
        return status;
    }
    return http_reply_source(exchange, status_code, source, range.end - range.first, error);
}

static grv_status reply_parts(http_exchange *exchange, const get_state *get, grv_error *error)
{
    char boundary[HTTP_BOUNDARY_SIZE];
    grv_source *source;
    uint64_t length;
    grv_status status = http_boundary_make(boundary, error);
    if (!status) {
        status = http_ranges_open(exchange->server->blobs, &get->key, &get->ranges, get->type,
                                  boundary, &source, &length, error);
    }
    if (status) {
        return status;
    }
    char type[HTTP_BOUNDARY_SIZE + 40];
    snprintf(type, sizeof type, "multipart/byteranges; boundary=%s", boundary);
    status = headers_of_bytes(exchange, get, type, error);
    if (status) {
        grv_source_free(source);
        return status;
    }
    return http_reply_source(exchange, 206, source, length, error);
}

/* ---- The request ---- */

/* Conditions (RFC 9110, 13.2.2); *ret_answered where one of them is the answer. */
static grv_status conditions_check(http_exchange *exchange, const get_state *get,
                                   bool *ret_answered, grv_error *error)
{
    const struct {
        const char *name;
        bool weak;
    } conditions[] = {{"If-Match", false}, {"If-None-Match", true}};
    bool listed[2] = {true, false};
    for (unsigned i = 0; i < 2; i++) {
        char *field = NULL;
        grv_status status = http_header_joined(exchange, conditions[i].name, &field, error);
        if (status) {
            return status;
        }
        if (field) {
            listed[i] = http_etag_listed(field, get->etag, conditions[i].weak);
            free(field);
        }
    }
    *ret_answered = !listed[0] || listed[1];
    if (!listed[0]) {
        return http_reply_problem(exchange, "precondition-failed",
                                  "If-Match names none that this blob has", error);
    }
    if (listed[1]) {
        grv_status status = headers_of_cache(exchange, get, error);
        exchange->reply.length = get->key.size; /* what a 200 would have (RFC 9110, 8.6) */
        return status ? status : http_reply_empty(exchange, 304, error);
    }
    return GRV_OK;
}

/* What of the blob is asked for. HEAD knows no ranges (RFC 9110, 14.2); two fields are malformed.
 */
static grv_status range_wanted(http_exchange *exchange, get_state *get, http_range_kind *ret_kind,
                               grv_error *error)
{
    char *range = NULL;
    const char *if_range = http_header(exchange, "If-Range");
    grv_status status = http_header_joined(exchange, "Range", &range, error);
    if (status) {
        return status;
    }
    *ret_kind = HTTP_RANGE_NONE;
    if (range && !exchange->is_head && (!if_range || strcmp(if_range, get->etag) == 0)) {
        *ret_kind = http_range_parse(range, get->key.size, &get->ranges);
    }
    free(range);
    return GRV_OK;
}

/* Whether all that is asked for is the blob: to open it is to see whether it is there. */
static bool is_plain(http_exchange *exchange)
{
    return !http_header(exchange, "If-Match") && !http_header(exchange, "If-None-Match") &&
           !http_header(exchange, "Range");
}

grv_status http_api_get_run(http_exchange *exchange, grv_error *error)
{
    get_state get;
    get.is_known = false;
    grv_status status = http_param_blob(exchange, 0, &get.key, error);
    if (status) {
        return status;
    }
    get.etag[0] = '"';
    grv_blob_key_print(&get.key, get.etag + 1);
    size_t size = strlen(get.etag);
    memcpy(get.etag + size, "\"", 2);
    bool plain = is_plain(exchange);
    if (exchange->call.no_wait && (!plain || get.key.size > HTTP_COPY_MAX)) {
        return grv_call_would_wait("get", error);
    }
    if (plain) {
        return reply_bytes(exchange, &get, 200, (grv_range){0, get.key.size}, error);
    }
    bool answered = false;
    status = get_look_up(exchange, &get, false, error);
    if (!status) {
        status = conditions_check(exchange, &get, &answered, error);
    }
    if (status || answered) {
        return status;
    }
    http_range_kind kind;
    status = range_wanted(exchange, &get, &kind, error);
    if (status) {
        return status;
    }
    switch (kind) {
    case HTTP_RANGE_UNSATISFIABLE:
        return reply_not_satisfiable(exchange, &get, error);
    case HTTP_RANGE_SOME:
        return get.ranges.count > 1 ? reply_parts(exchange, &get, error)
                                    : reply_bytes(exchange, &get, 206, get.ranges.ranges[0], error);
    default:
        return reply_bytes(exchange, &get, 200, (grv_range){0, get.key.size}, error);
    }
}
