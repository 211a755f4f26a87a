/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of blobs, a page at a time, and which of some ids are absent.
 *
 * A cursor names the last blob shown, not a place in some list kept here, so it stays good whatever
 * is stored or removed meanwhile, on every server over the store, and for ever. A record that
 * cannot be read is shown in front of the next blob, or at the end, and counts against no limit:
 * else a page of nothing else would have nowhere to go on from.
 */
#include "http/api.h"
#include "http/fields.h"
#include "http/log.h"
#include "http/text.h"

#include <graviton/maintain.h>
#include <stdlib.h>
#include <string.h>

#define LIST_LIMIT      100u
#define LIST_LIMIT_MAX  1000u
#define LIST_BATCH      128u
#define LIST_ERRORS_MAX 1000u /* records of a page that cannot be read */
#define MISSING_MAX     10000u

/* A cursor as bytes: version, order, then the last key or sequence. Written as base64 for URLs. */
#define CURSOR_VERSION   1u
#define CURSOR_HEAD      2u
#define CURSOR_KEY_SIZE  (CURSOR_HEAD + GRV_KEY_BYTES_SIZE)
#define CURSOR_SEQ_SIZE  (CURSOR_HEAD + 8u)
#define CURSOR_BYTES_MAX CURSOR_KEY_SIZE
#define CURSOR_TEXT_MAX  (4u * (CURSOR_BYTES_MAX / 3u + 2u))

/* ---- Cursors ---- */

/* The cursor behind a blob, as a JSON string; NULL without memory. */
static json_t *cursor_json(grv_list_order order, const grv_blob_info *last)
{
    uint8_t bytes[CURSOR_BYTES_MAX] = {CURSOR_VERSION, (uint8_t)order};
    uint8_t room[CURSOR_TEXT_MAX];
    grv_buffer text = {room, 0, sizeof room, sizeof room};
    size_t size = order == GRV_ORDER_KEY ? CURSOR_KEY_SIZE : CURSOR_SEQ_SIZE;
    if (order == GRV_ORDER_KEY) {
        grv_blob_key_encode(&last->key, bytes + CURSOR_HEAD);
    } else {
        for (unsigned i = 0; i < 8; i++) {
            bytes[CURSOR_HEAD + i] = (uint8_t)(last->sequence >> (56 - 8 * i));
        }
    }
    /* The room is for the largest, so that this cannot fail. */
    (void)http_base64_encode(grv_bytes_of(bytes, size), true, &text, NULL);
    return http_json_text(grv_buffer_bytes(&text));
}

static grv_status cursor_refuse(const char *why, grv_error *error)
{
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "bad cursor: %s", why);
}

/* Sets the list up to go on behind a cursor; `key` is where its key goes. */
static grv_status cursor_parse(const char *text, grv_blob_list *list, grv_blob_key *key,
                               grv_error *error)
{
    uint8_t room[CURSOR_TEXT_MAX];
    grv_buffer bytes = {room, 0, sizeof room, sizeof room};
    size_t length = strnlen(text, CURSOR_TEXT_MAX);
    if (length == CURSOR_TEXT_MAX ||
        http_base64_decode(grv_bytes_of(text, length), true, &bytes, NULL) ||
        bytes.size < CURSOR_HEAD || room[0] != CURSOR_VERSION) {
        return cursor_refuse("it is none that a list has given", error);
    }
    if (room[1] != (uint8_t)list->order) {
        return cursor_refuse("it is of a list in another order", error);
    }
    if (list->order == GRV_ORDER_KEY) {
        if (grv_blob_key_decode(grv_bytes_of(room + CURSOR_HEAD, bytes.size - CURSOR_HEAD), key,
                                NULL)) {
            return cursor_refuse("it is none that a list has given", error);
        }
        list->start = key;
        list->after_start = true;
        return GRV_OK;
    }
    for (unsigned i = 0; i < 8 && bytes.size == CURSOR_SEQ_SIZE; i++) {
        list->below_sequence = list->below_sequence << 8 | room[CURSOR_HEAD + i];
    }
    return list->below_sequence > 0 ? GRV_OK
                                    : cursor_refuse("it is none that a list has given", error);
}

/* ---- The list ---- */

static grv_status order_parse(http_exchange *exchange, grv_list_order *ret_order, grv_error *error)
{
    const char *order;
    grv_status status = http_query(exchange, "order", &order, error);
    if (status) {
        return status;
    }
    if (!order || strcmp(order, "key") == 0) {
        *ret_order = GRV_ORDER_KEY;
        return GRV_OK;
    }
    if (strcmp(order, "newest") == 0) {
        *ret_order = GRV_ORDER_NEWEST;
        return GRV_OK;
    }
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "order is key or newest");
}

/* What is asked for; `key` is where the list's start goes. */
static grv_status list_parse(http_exchange *exchange, grv_blob_list *list, grv_blob_key *key,
                             uint64_t *ret_limit, grv_error *error)
{
    const char *cursor = NULL;
    const char *from = NULL;
    grv_status status =
        http_query_number(exchange, "limit", 1, LIST_LIMIT_MAX, LIST_LIMIT, ret_limit, error);
    if (!status) {
        status = order_parse(exchange, &list->order, error);
    }
    if (!status) {
        status = http_query(exchange, "cursor", &cursor, error);
    }
    if (!status) {
        status = http_query(exchange, "from", &from, error);
    }
    if (!status && from) {
        if (list->order != GRV_ORDER_KEY) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                                 "from goes with order=key only");
        }
        status = grv_blob_key_parse(grv_bytes_of(from, strlen(from)), key, error);
        list->start = key;
    }
    if (!status && cursor) {
        status = cursor_parse(cursor, list, key, error);
    }
    return status;
}

/* Adds a record that cannot be read. What a store says of it is for the log. */
static grv_status list_add_error(http_exchange *exchange, json_t *blobs, const grv_error *why,
                                 grv_error *error)
{
    http_log_event(exchange->server->log, "error", "list: %s", why->message);
    json_t *object =
        json_pack("{s:{s:s,s:s}}", "error", "type", http_problem_of_status(why->status), "detail",
                  "a blob's record cannot be read; the server's log says which");
    if (!object || json_array_append_new(blobs, object) != 0) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "api", "no memory for a list");
    }
    return GRV_OK;
}

/* The end of one page. */
typedef struct list_page {
    json_t *blobs;
    uint64_t limit;
    uint64_t shown;
    size_t errors;
    bool has_more;
    grv_blob_info last; /* where shown > 0 */
} list_page;

/* Adds blobs to the page; what is one too many tells that there are more. */
static grv_status page_add(list_page *page, const grv_blob_info infos[], size_t count,
                           grv_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (page->shown == page->limit) {
            page->has_more = true;
            return GRV_OK;
        }
        if (json_array_append_new(page->blobs, http_api_blob_json(&infos[i])) != 0) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "api", "no memory for a list");
        }
        page->shown++;
        page->last = infos[i];
    }
    return GRV_OK;
}

static grv_status page_read(http_exchange *exchange, grv_blob_cursor *cursor, list_page *page,
                            grv_error *error)
{
    grv_blob_info infos[LIST_BATCH];
    grv_status status = GRV_OK;
    while (!status && !page->has_more) {
        uint64_t want = page->limit - page->shown + 1;
        size_t count = 0;
        grv_error why = GRV_ERROR_INIT;
        status = grv_blob_cursor_next(&exchange->call, cursor, infos,
                                      want < LIST_BATCH ? (size_t)want : LIST_BATCH, &count, &why);
        bool is_record = status == GRV_CORRUPT || status == GRV_UNSUPPORTED;
        if (is_record && page->shown == page->limit) {
            page->has_more = true; /* it is shown on the next page */
            return GRV_OK;
        }
        if (is_record && page->errors++ < LIST_ERRORS_MAX) {
            status = list_add_error(exchange, page->blobs, &why, error);
        } else if (status == GRV_INVALID_ARGUMENT && page->errors > 0) {
            return grv_error_set(error, GRV_CORRUPT, "api", "the list of blobs cannot go on");
        } else if (status) {
            return grv_error_set(error, status, why.origin, "%s", why.message);
        } else if (count == 0) {
            return GRV_OK;
        } else {
            status = page_add(page, infos, count, error);
        }
    }
    return status;
}

grv_status http_api_list_run(http_exchange *exchange, grv_error *error)
{
    grv_blob_list list = {0};
    grv_blob_key key;
    list_page page = {0};
    grv_status status = list_parse(exchange, &list, &key, &page.limit, error);
    if (status) {
        return status;
    }
    grv_blob_cursor *cursor;
    status =
        grv_blob_store_open_list(&exchange->call, exchange->server->blobs, &list, &cursor, error);
    if (status) {
        return status;
    }
    json_t *object = json_object();
    page.blobs = json_array();
    bool whole = http_json_set(object, "blobs", page.blobs);
    if (whole) {
        status = page_read(exchange, cursor, &page, error);
    }
    grv_blob_cursor_free(cursor);
    if (status) {
        json_decref(object);
        return status;
    }
    json_t *next = whole && page.has_more ? cursor_json(list.order, &page.last) : json_null();
    if (!http_json_set(object, "cursor", next) || !whole) {
        json_decref(object);
        object = NULL;
    }
    return http_reply_json(exchange, 200, object, error);
}

/* ---- Missing ---- */

/* An id that was asked for, and where in the request. */
typedef struct asked_id {
    grv_blob_key key;
    size_t place;
} asked_id;

/* What is asked about; `asked` is brought into the order of keys. */
typedef struct missing_run {
    size_t count;
    asked_id *asked;
    grv_blob_key *keys; /* ascending */
    bool *present;      /* by the keys' order */
    bool *is_missing;   /* by the request's */
} missing_run;

static int asked_compare(const void *a, const void *b)
{
    return grv_blob_key_compare(&((const asked_id *)a)->key, &((const asked_id *)b)->key);
}

static void missing_done(missing_run *run)
{
    free(run->asked);
    free(run->keys);
    free(run->present);
    free(run->is_missing);
}

/* False without memory; done in any case. */
static bool missing_init(missing_run *run, size_t count)
{
    size_t room = count ? count : 1;
    *run = (missing_run){
        .count = count,
        .asked = calloc(room, sizeof *run->asked),
        .keys = calloc(room, sizeof *run->keys),
        .present = calloc(room, sizeof *run->present),
        .is_missing = calloc(room, sizeof *run->is_missing),
    };
    return run->asked && run->keys && run->present && run->is_missing;
}

static grv_status missing_parse(const json_t *ids, missing_run *run, grv_error *error)
{
    for (size_t i = 0; i < run->count; i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_string(id)) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "ids[%zu] is no string", i);
        }
        grv_status status = grv_blob_key_parse(
            grv_bytes_of(json_string_value(id), json_string_length(id)), &run->asked[i].key, error);
        if (status) {
            grv_error_prefix(error, "ids[%zu]", i);
            return status;
        }
        run->asked[i].place = i;
    }
    return GRV_OK;
}

static grv_status missing_look(http_exchange *exchange, missing_run *run, grv_error *error)
{
    qsort(run->asked, run->count, sizeof *run->asked, asked_compare);
    for (size_t i = 0; i < run->count; i++) {
        run->keys[i] = run->asked[i].key;
    }
    grv_status status = grv_blob_store_present(&exchange->call, exchange->server->blobs, run->keys,
                                               run->count, run->present, error);
    for (size_t i = 0; i < run->count && !status; i++) {
        run->is_missing[run->asked[i].place] = !run->present[i];
    }
    return status;
}

/* The ids that are missing, as they were written. */
static json_t *missing_json(json_t *ids, const missing_run *run)
{
    json_t *object = json_object();
    json_t *missing = json_array();
    bool whole = http_json_set(object, "missing", missing);
    for (size_t i = 0; i < run->count && whole; i++) {
        whole = !run->is_missing[i] || json_array_append(missing, json_array_get(ids, i)) == 0;
    }
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static grv_status missing_reply(http_exchange *exchange, json_t *ids, grv_error *error)
{
    missing_run run;
    if (!json_is_array(ids) || json_array_size(ids) > MISSING_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "the body must be {\"ids\": [...]} with at most %u ids", MISSING_MAX);
    }
    if (!missing_init(&run, json_array_size(ids))) {
        missing_done(&run);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "api", "no memory for %zu ids", run.count);
    }
    grv_status status = missing_parse(ids, &run, error);
    if (!status) {
        status = missing_look(exchange, &run, error);
    }
    if (!status) {
        status = http_reply_json(exchange, 200, missing_json(ids, &run), error);
    }
    missing_done(&run);
    return status;
}

grv_status http_api_missing_run(http_exchange *exchange, grv_error *error)
{
    json_t *body;
    grv_status status = http_body_json(exchange, &body, error);
    if (status) {
        return status;
    }
    status = missing_reply(exchange, json_object_get(body, "ids"), error);
    json_decref(body);
    return status;
}
