/* SPDX-License-Identifier: Apache-2.0 */
/* One blob's details: info, manifest, attributes; its removal; and what the front end's other files
 * share with these. */
#include "base/utf8.h"
#include "http/api.h"
#include "http/fields.h"
#include "http/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MANIFEST_LIMIT         1000u
#define MANIFEST_LIMIT_MAX     10000u
#define MANIFEST_BATCH         256u
#define ATTRIBUTE_PAIR_HEADER  3u  /* of a pair as it is stored: its sizes */
#define ATTRIBUTES_FIXED_BYTES 16u /* header and checksum of the record */

/* ---- What others share ---- */

grv_status http_api_blob_failure(const grv_blob_key *key, grv_status status, grv_error *error)
{
    if (status != GRV_NOT_FOUND) {
        return status;
    }
    char id[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, id);
    return grv_error_set(error, status, "http", "there is no blob %s", id);
}

json_t *http_api_blob_json(const grv_blob_info *info)
{
    char id[GRV_KEY_TEXT_SIZE];
    char chunker[GRV_CHUNKER_TEXT_SIZE];
    bool is_chunked = info->chunker.kind != 0;
    grv_blob_key_print(&info->key, id);
    if (is_chunked) {
        grv_chunker_spec_print(&info->chunker, chunker);
    }
    json_t *object = json_object();
    bool whole =
        http_json_set(object, "id", json_string(id)) &&
        http_json_set(object, "size_bytes", http_json_number(info->key.size)) &&
        http_json_set(object, "blocks", http_json_number(info->block_count)) &&
        http_json_set(object, "block_hash", json_string(grv_hash_name(info->block_hash))) &&
        http_json_set(object, "chunker", is_chunked ? json_string(chunker) : json_null()) &&
        http_json_set(object, "created", http_json_time(info->created_ns)) &&
        http_json_set(object, "sequence", http_json_number(info->sequence));
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}

grv_status http_api_attribute_set(grv_attributes *attributes, const char *name, grv_bytes value,
                                  grv_error *error)
{
    size_t size = ATTRIBUTES_FIXED_BYTES + ATTRIBUTE_PAIR_HEADER + strlen(name) + value.size;
    for (size_t i = 0; i < attributes->count; i++) {
        const grv_attribute *pair = &attributes->pairs[i];
        size += strcmp(pair->name, name) == 0
                    ? 0
                    : ATTRIBUTE_PAIR_HEADER + strlen(pair->name) + pair->value_size;
    }
    /* The bounds are looked at here so that what is left of GRV_LIMIT_EXCEEDED is memory. */
    if (value.size > GRV_ATTRIBUTE_VALUE_MAX || size > GRV_ATTRIBUTES_BYTES_MAX ||
        (attributes->count == GRV_ATTRIBUTES_MAX && !grv_attributes_get(attributes, name))) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "attributes have at most %u bytes a value, %u pairs, and %u bytes "
                             "together",
                             GRV_ATTRIBUTE_VALUE_MAX, GRV_ATTRIBUTES_MAX, GRV_ATTRIBUTES_BYTES_MAX);
    }
    grv_status status = grv_attributes_set(attributes, name, value, error);
    if (status == GRV_INVALID_ARGUMENT) {
        return grv_error_set(error, status, "http",
                             "an attribute's name has 1 to %u characters of a-z 0-9 . _ -",
                             GRV_ATTRIBUTE_NAME_MAX);
    }
    return status;
}

/* ---- Info and manifest ---- */

grv_status http_api_info_run(http_exchange *exchange, grv_error *error)
{
    grv_blob_key key;
    grv_blob_info info;
    grv_status status = http_param_blob(exchange, 0, &key, error);
    if (status) {
        return status;
    }
    status = grv_blob_store_stat(&exchange->call, exchange->server->blobs, &key, &info, error);
    if (status) {
        return http_api_blob_failure(&key, status, error);
    }
    return http_reply_json(exchange, 200, http_api_blob_json(&info), error);
}

static bool reference_add(json_t *references, const grv_block_ref *ref)
{
    char block[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(&ref->key, block);
    json_t *object = json_object();
    bool whole = http_json_set(object, "block", json_string(block)) &&
                 http_json_set(object, "offset_bytes", http_json_number(ref->offset));
    if (!whole) {
        json_decref(object);
        return false;
    }
    return json_array_append_new(references, object) == 0;
}

/* Up to `limit` references; *ret_next is the offset of the one behind them, UINT64_MAX at the end.
 */
static grv_status references_read(http_exchange *exchange, grv_ref_cursor *cursor, uint64_t limit,
                                  json_t *references, uint64_t *ret_next, grv_error *error)
{
    grv_block_ref refs[MANIFEST_BATCH];
    for (;;) {
        uint64_t want = limit < MANIFEST_BATCH ? limit + 1 : MANIFEST_BATCH;
        size_t count = 0;
        grv_status status =
            grv_ref_cursor_next(&exchange->call, cursor, refs, (size_t)want, &count, error);
        if (status) {
            return status;
        }
        for (size_t i = 0; i < count; i++) {
            if (limit == 0) {
                *ret_next = refs[i].offset;
                return GRV_OK;
            }
            limit--;
            if (!reference_add(references, &refs[i])) {
                return grv_error_set(error, GRV_LIMIT_EXCEEDED, "api", "no memory for a manifest");
            }
        }
        if (count == 0) {
            *ret_next = UINT64_MAX;
            return GRV_OK;
        }
    }
}

static grv_status manifest_reply(http_exchange *exchange, const grv_blob_info *info,
                                 grv_ref_cursor *cursor, uint64_t limit, grv_error *error)
{
    json_t *object = http_api_blob_json(info);
    json_t *references = json_array();
    uint64_t next = UINT64_MAX;
    if (!http_json_set(object, "references", references)) {
        json_decref(object);
        return http_reply_json(exchange, 200, NULL, error);
    }
    grv_status status = references_read(exchange, cursor, limit, references, &next, error);
    if (status) {
        json_decref(object);
        return http_api_blob_failure(&info->key, status, error);
    }
    if (!http_json_set(object, "next_offset_bytes",
                       next == UINT64_MAX ? json_null() : http_json_number(next))) {
        json_decref(object);
        object = NULL;
    }
    return http_reply_json(exchange, 200, object, error);
}

grv_status http_api_manifest_run(http_exchange *exchange, grv_error *error)
{
    grv_blob_key key;
    grv_blob_info info;
    uint64_t offset = 0;
    uint64_t limit = 0;
    grv_status status = http_param_blob(exchange, 0, &key, error);
    if (!status) {
        status = http_query_number(exchange, "offset", 0, GRV_BLOB_SIZE_MAX, 0, &offset, error);
    }
    if (!status) {
        status = http_query_number(exchange, "limit", 1, MANIFEST_LIMIT_MAX, MANIFEST_LIMIT, &limit,
                                   error);
    }
    if (status) {
        return status;
    }
    if (offset > key.size) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "offset is past the blob's %" PRIu64 " bytes", key.size);
    }
    const grv_call *call = &exchange->call;
    grv_blob_store *blobs = exchange->server->blobs;
    grv_ref_cursor *cursor;
    status = grv_blob_store_stat(call, blobs, &key, &info, error);
    if (!status) {
        status = grv_blob_store_open_refs(call, blobs, &key, offset, &cursor, error);
    }
    if (status) {
        return http_api_blob_failure(&key, status, error);
    }
    status = manifest_reply(exchange, &info, cursor, limit, error);
    grv_ref_cursor_free(cursor);
    return status;
}

/* ---- Attributes ---- */

static bool attribute_add(json_t *list, const grv_attribute *pair)
{
    grv_bytes value = {pair->value, pair->value_size};
    json_t *object = json_object();
    bool whole = http_json_set(object, "name", json_string(pair->name));
    /* NUL is UTF-8, but much that reads JSON cuts text there. */
    bool is_text =
        grv_utf8_is_valid(value) && (value.size == 0 || !memchr(value.data, '\0', value.size));
    if (is_text) {
        whole = whole && http_json_set(object, "value", http_json_text(value));
    } else {
        grv_buffer text;
        grv_buffer_init(&text, 2 * GRV_ATTRIBUTE_VALUE_MAX);
        whole = whole && !http_base64_encode(value, false, &text, NULL) &&
                http_json_set(object, "value_base64", http_json_text(grv_buffer_bytes(&text)));
        grv_buffer_done(&text);
    }
    if (!whole) {
        json_decref(object);
        return false;
    }
    return json_array_append_new(list, object) == 0;
}

static json_t *attributes_json(const grv_attributes *attributes)
{
    json_t *object = json_object();
    json_t *list = json_array();
    bool whole = http_json_set(object, "attributes", list);
    for (size_t i = 0; i < attributes->count && whole; i++) {
        whole = attribute_add(list, &attributes->pairs[i]);
    }
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}

grv_status http_api_attributes_get_run(http_exchange *exchange, grv_error *error)
{
    grv_blob_key key;
    grv_status status = http_param_blob(exchange, 0, &key, error);
    if (status) {
        return status;
    }
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    status = grv_blob_store_attributes_get(&exchange->call, exchange->server->blobs, &key,
                                           &attributes, error);
    status = status ? http_api_blob_failure(&key, status, error)
                    : http_reply_json(exchange, 200, attributes_json(&attributes), error);
    grv_attributes_done(&attributes);
    return status;
}

/* Reads one {"name": …, "value": …} or {"name": …, "value_base64": …}. */
static grv_status attribute_read(const json_t *object, grv_attributes *attributes, grv_error *error)
{
    const char *name = json_string_value(json_object_get(object, "name"));
    const json_t *text = json_object_get(object, "value");
    const json_t *base64 = json_object_get(object, "value_base64");
    const json_t *value = text ? text : base64;
    if (!name || !json_is_string(value) || (text && base64)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "an attribute is {\"name\": TEXT, \"value\": TEXT} or "
                             "{\"name\": TEXT, \"value_base64\": TEXT}");
    }
    if (grv_attributes_get(attributes, name)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "two attributes have one name");
    }
    grv_bytes bytes = grv_bytes_of(json_string_value(value), json_string_length(value));
    if (text) {
        return http_api_attribute_set(attributes, name, bytes, error);
    }
    grv_buffer decoded;
    grv_buffer_init(&decoded, HTTP_JSON_MAX);
    grv_status status = http_base64_decode(bytes, false, &decoded, error);
    if (!status) {
        status = http_api_attribute_set(attributes, name, grv_buffer_bytes(&decoded), error);
    }
    grv_buffer_done(&decoded);
    return status;
}

static grv_status attributes_read(http_exchange *exchange, grv_attributes *attributes,
                                  grv_error *error)
{
    json_t *body;
    grv_status status = http_body_json(exchange, &body, error);
    if (status) {
        return status;
    }
    const json_t *list = json_object_get(body, "attributes");
    if (!json_is_array(list)) {
        status = grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                               "the body must be {\"attributes\": [...]}");
    }
    for (size_t i = 0; i < json_array_size(list) && !status; i++) {
        status = attribute_read(json_array_get(list, i), attributes, error);
    }
    json_decref(body);
    return status;
}

grv_status http_api_attributes_put_run(http_exchange *exchange, grv_error *error)
{
    grv_blob_key key;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    grv_status status = http_param_blob(exchange, 0, &key, error);
    if (!status) {
        status = attributes_read(exchange, &attributes, error);
    }
    if (!status) {
        status = grv_blob_store_attributes_set(&exchange->call, exchange->server->blobs, &key,
                                               &attributes, error);
        status = status ? http_api_blob_failure(&key, status, error)
                        : http_reply_empty(exchange, 204, error);
    }
    grv_attributes_done(&attributes);
    return status;
}

/* ---- Removal ---- */

grv_status http_api_delete_run(http_exchange *exchange, grv_error *error)
{
    grv_blob_key key;
    grv_status status = http_param_blob(exchange, 0, &key, error);
    if (status) {
        return status;
    }
    status = grv_blob_store_remove(&exchange->call, exchange->server->blobs, &key, error);
    return status ? http_api_blob_failure(&key, status, error)
                  : http_reply_empty(exchange, 204, error);
}
