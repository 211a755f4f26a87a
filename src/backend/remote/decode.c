/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server answers, as values. A server may be anything, so each member is checked for its
 * type and its bounds; what does not fit makes the whole answer one that no graviton server gives.
 */
#include "backend/remote/client.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static grv_status odd(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_UNAVAILABLE, GRV_REMOTE_ORIGIN,
                         "the answer is not one of a graviton server: %s", what);
}

static grv_status no_memory(grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN, "no memory for an answer");
}

grv_status grv_remote_json_parse(grv_bytes body, json_t **ret_json, grv_error *error)
{
    json_error_t why;
    json_t *json = json_loadb((const char *)body.data, body.size,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (!json) {
        return odd("it is no JSON", error);
    }
    *ret_json = json;
    return GRV_OK;
}

/* ---- Members ---- */

bool grv_remote_text_of(const json_t *object, const char *name, grv_bytes *ret_text)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) {
        return false;
    }
    *ret_text = grv_bytes_of(json_string_value(value), json_string_length(value));
    return true;
}

/* The same as a string of C: false for one with a NUL in it. */
const char *grv_remote_string_of(const json_t *object, const char *name)
{
    grv_bytes text;
    return grv_remote_text_of(object, name, &text) && !memchr(text.data, '\0', text.size)
               ? (const char *)text.data
               : NULL;
}

bool grv_remote_number_of(const json_t *object, const char *name, uint64_t *ret_number)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *ret_number = (uint64_t)json_integer_value(value);
    return true;
}

static bool is_absent(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return !value || json_is_null(value);
}

static int digits_of(const char *text, size_t count)
{
    int number = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

/* Days since 1970 of a date of the Gregorian calendar, as it has been since before. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool grv_remote_time_parse(const char *text, uint64_t *ret_time_ns)
{
    static const char form[] = "0000-00-00T00:00:00";
    size_t size = strlen(text);
    if (size < sizeof form) {
        return false;
    }
    for (size_t i = 0; form[i]; i++) {
        if (form[i] != '0' && text[i] != form[i]) {
            return false;
        }
    }
    int year = digits_of(text, 4);
    int month = digits_of(text + 5, 2);
    int day = digits_of(text + 8, 2);
    int hour = digits_of(text + 11, 2);
    int minute = digits_of(text + 14, 2);
    int second = digits_of(text + 17, 2);
    if (year < 1970 || year > 2500 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
        return false;
    }
    uint64_t fraction = 0;
    const char *at = text + sizeof form - 1;
    if (*at == '.') {
        size_t count = strspn(at + 1, "0123456789");
        if (count == 0 || count > 9) {
            return false;
        }
        for (size_t i = 0; i < 9; i++) {
            fraction = fraction * 10 + (i < count ? (uint64_t)(at[1 + i] - '0') : 0);
        }
        at += 1 + count;
    }
    if (strcmp(at, "Z") != 0) {
        return false;
    }
    uint64_t seconds = (uint64_t)days_of(year, month, day) * 86400u + (uint64_t)hour * 3600u +
                       (uint64_t)minute * 60u + (uint64_t)second;
    *ret_time_ns = seconds * UINT64_C(1000000000) + fraction;
    return true;
}

static bool time_of(const json_t *object, const char *name, uint64_t *ret_time_ns)
{
    const char *text = grv_remote_string_of(object, name);
    return text && grv_remote_time_parse(text, ret_time_ns);
}

static bool hash_of(const json_t *object, const char *name, grv_hash *ret_hash)
{
    grv_bytes text;
    if (is_absent(object, name)) {
        *ret_hash = GRV_HASH_NONE;
        return true;
    }
    if (grv_remote_text_of(object, name, &text) && text.size == 4 &&
        memcmp(text.data, "none", 4) == 0) {
        *ret_hash = GRV_HASH_NONE;
        return true;
    }
    return grv_remote_text_of(object, name, &text) && !grv_hash_parse(text, ret_hash, NULL);
}

static bool chunker_of(const json_t *object, const char *name, grv_chunker_spec *ret_spec)
{
    grv_bytes text;
    if (is_absent(object, name)) {
        *ret_spec = (grv_chunker_spec){0};
        return true;
    }
    return grv_remote_text_of(object, name, &text) && !grv_chunker_spec_parse(text, ret_spec, NULL);
}

/* ---- The store ---- */

static bool id_of(const json_t *object, uint8_t ret_id[16])
{
    static const char digits[] = "0123456789abcdef";
    grv_bytes text;
    if (!grv_remote_text_of(object, "id", &text) || text.size != 32) {
        return false;
    }
    for (size_t i = 0; i < 32; i++) {
        const char *digit = text.data[i] ? strchr(digits, text.data[i]) : NULL;
        if (!digit) {
            return false;
        }
        unsigned value = (unsigned)(digit - digits);
        ret_id[i / 2] = (uint8_t)(i % 2 ? ret_id[i / 2] | value : value << 4);
    }
    return true;
}

static uint64_t capabilities_of(const json_t *json)
{
    uint64_t capabilities = GRV_BLOB_CAP_DISTANT;
    const json_t *orders = json_object_get(json, "orders");
    for (size_t i = 0; i < json_array_size(orders); i++) {
        const char *order = json_string_value(json_array_get(orders, i));
        if (order && strcmp(order, "newest") == 0) {
            capabilities |= GRV_BLOB_CAP_NEWEST;
        }
    }
    if (json_is_true(json_object_get(json, "references"))) {
        capabilities |= GRV_BLOB_CAP_REFS;
    }
    return capabilities;
}

grv_status grv_remote_decode_store(const json_t *json, grv_remote_info *ret_info,
                                   uint64_t *ret_capabilities, grv_error *error)
{
    grv_remote_info info = {0};
    uint64_t version;
    uint64_t format;
    grv_bytes program;
    const json_t *read_only = json_object_get(json, "read_only");
    if (!json_is_object(json) || !grv_remote_number_of(json, "version", &version)) {
        return odd("it tells of no store", error);
    }
    if (version != 1) {
        return grv_error_set(error, GRV_UNSUPPORTED, GRV_REMOTE_ORIGIN,
                             "the server speaks version %llu of the interface, this program "
                             "version 1: use a graviton of the server's version",
                             (unsigned long long)version);
    }
    if (!id_of(json, info.store_id) || !grv_remote_number_of(json, "format_version", &format) ||
        format > UINT32_MAX || !hash_of(json, "hash", &info.hash) ||
        !chunker_of(json, "chunker", &info.chunker) || !json_is_boolean(read_only) ||
        !grv_remote_text_of(json, "program", &program)) {
        return odd("it tells of a store what none is", error);
    }
    /* A store that was not made by graviton has no such time. */
    if (!is_absent(json, "created") && !time_of(json, "created", &info.created_ns)) {
        return odd("the time at which the store was made", error);
    }
    info.format_version = (uint32_t)format;
    info.read_only = json_is_true(read_only);
    grv_remote_text_copy(info.program, sizeof info.program, (const char *)program.data,
                         program.size);
    *ret_info = info;
    *ret_capabilities = capabilities_of(json);
    return GRV_OK;
}

/* ---- Blobs ---- */

grv_status grv_remote_decode_info(const json_t *json, grv_blob_info *ret_info, grv_error *error)
{
    grv_blob_info info = {0};
    grv_bytes id;
    uint64_t size;
    if (!json_is_object(json) || !grv_remote_text_of(json, "id", &id) ||
        grv_blob_key_parse(id, &info.key, NULL)) {
        return odd("a blob without an id", error);
    }
    if (!grv_remote_number_of(json, "size_bytes", &size) || size != info.key.size ||
        !grv_remote_number_of(json, "blocks", &info.block_count) ||
        !grv_remote_number_of(json, "sequence", &info.sequence) ||
        !hash_of(json, "block_hash", &info.block_hash) ||
        !chunker_of(json, "chunker", &info.chunker) ||
        !time_of(json, "created", &info.created_ns)) {
        return odd("what is told of a blob", error);
    }
    *ret_info = info;
    return GRV_OK;
}

/* {"error": {"type": …, "detail": …}} */
static bool entry_error(const json_t *json, grv_remote_entry *entry)
{
    const json_t *failure = json_object_get(json, "error");
    const char *type = grv_remote_string_of(failure, "type");
    grv_bytes detail;
    if (!type || !grv_remote_text_of(failure, "detail", &detail)) {
        return false;
    }
    static const char scheme[] = "urn:graviton:problem:";
    type += strncmp(type, scheme, sizeof scheme - 1) == 0 ? sizeof scheme - 1 : 0;
    grv_status status;
    bool newer = grv_remote_problem_status(type, &status) && status == GRV_UNSUPPORTED;
    entry->status = newer ? GRV_UNSUPPORTED : GRV_CORRUPT;
    grv_remote_text_copy(entry->message, sizeof entry->message, (const char *)detail.data,
                         detail.size);
    return true;
}

grv_status grv_remote_decode_page(const json_t *json, size_t max, grv_remote_page *ret_page,
                                  grv_error *error)
{
    grv_remote_page page = {0};
    const json_t *blobs = json_object_get(json, "blobs");
    size_t count = json_array_size(blobs);
    if (!json_is_array(blobs) || count > max) {
        return odd("a page of a list", error);
    }
    if (!is_absent(json, "cursor")) {
        const char *cursor = grv_remote_string_of(json, "cursor");
        if (!cursor || !*cursor || strlen(cursor) > 1024) {
            return odd("the place in a list", error);
        }
        page.cursor = strdup(cursor);
    }
    page.entries = calloc(count + 1, sizeof *page.entries);
    if (!page.entries || (!page.cursor && !is_absent(json, "cursor"))) {
        grv_remote_page_done(&page);
        return no_memory(error);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *blob = json_array_get(blobs, i);
        grv_remote_entry *entry = &page.entries[page.count++];
        grv_status status = GRV_OK;
        if (!entry_error(blob, entry)) {
            status = grv_remote_decode_info(blob, &entry->info, error);
        }
        if (status) {
            grv_remote_page_done(&page);
            return status;
        }
    }
    *ret_page = page;
    return GRV_OK;
}

void grv_remote_page_done(grv_remote_page *page)
{
    free(page->entries);
    free(page->cursor);
    *page = (grv_remote_page){0};
}

static bool ref_of(const json_t *json, grv_block_ref *ret_ref)
{
    grv_bytes block;
    return grv_remote_text_of(json, "block", &block) &&
           !grv_block_key_parse(block, &ret_ref->key, NULL) &&
           grv_remote_number_of(json, "offset_bytes", &ret_ref->offset);
}

grv_status grv_remote_decode_refs(const json_t *json, grv_remote_refs *ret_refs, grv_error *error)
{
    grv_remote_refs page = {0};
    const json_t *refs = json_object_get(json, "references");
    size_t count = json_array_size(refs);
    if (!json_is_array(refs) || count > GRV_REMOTE_REFS_MAX) {
        return odd("a page of a manifest", error);
    }
    if (!is_absent(json, "next_offset_bytes")) {
        page.has_next = grv_remote_number_of(json, "next_offset_bytes", &page.next_offset);
        if (!page.has_next) {
            return odd("the place in a manifest", error);
        }
    }
    page.refs = calloc(count + 1, sizeof *page.refs);
    if (!page.refs) {
        return no_memory(error);
    }
    for (size_t i = 0; i < count; i++) {
        if (!ref_of(json_array_get(refs, i), &page.refs[page.count++])) {
            grv_remote_refs_done(&page);
            return odd("a block of a manifest", error);
        }
    }
    *ret_refs = page;
    return GRV_OK;
}

void grv_remote_refs_done(grv_remote_refs *refs)
{
    free(refs->refs);
    *refs = (grv_remote_refs){0};
}

/* ---- Attributes ---- */

/* Base64 of RFC 4648 with its padding, at most a value's size. */
static bool base64_of(grv_bytes text, uint8_t *ret_bytes, size_t *ret_size)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (text.size % 4 || text.size / 4 * 3 > GRV_ATTRIBUTE_VALUE_MAX + 2) {
        return false;
    }
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=') {
        padding++;
    }
    for (size_t i = 0; i + padding < text.size; i++) {
        if (!text.data[i] || !strchr(letters, text.data[i])) {
            return false;
        }
    }
    int size = EVP_DecodeBlock(ret_bytes, text.data, (int)text.size);
    if (size < 0 || (size_t)size < padding) {
        return false;
    }
    *ret_size = (size_t)size - padding;
    return true;
}

static grv_status attribute_of(const json_t *json, grv_attributes *attributes, grv_error *error)
{
    uint8_t decoded[GRV_ATTRIBUTE_VALUE_MAX + 8];
    const char *name = grv_remote_string_of(json, "name");
    grv_bytes value;
    if (!name) {
        return odd("an attribute without a name", error);
    }
    if (!grv_remote_text_of(json, "value", &value)) {
        grv_bytes text;
        size_t size = 0;
        if (!grv_remote_text_of(json, "value_base64", &text) || !base64_of(text, decoded, &size)) {
            return odd("the value of an attribute", error);
        }
        value = grv_bytes_of(decoded, size);
    }
    if (grv_attributes_get(attributes, name)) {
        return odd("an attribute that is there twice", error);
    }
    grv_status status = grv_attributes_set(attributes, name, value, error);
    return status == GRV_LIMIT_EXCEEDED || !status ? status : odd("an attribute", error);
}

grv_status grv_remote_decode_attributes(const json_t *json, grv_attributes *attributes,
                                        grv_error *error)
{
    grv_attributes found;
    const json_t *list = json_object_get(json, "attributes");
    if (!json_is_array(list) || json_array_size(list) > GRV_ATTRIBUTES_MAX) {
        return odd("a list of attributes", error);
    }
    grv_attributes_init(&found);
    for (size_t i = 0; i < json_array_size(list); i++) {
        grv_status status = attribute_of(json_array_get(list, i), &found, error);
        if (status) {
            grv_attributes_done(&found);
            return status;
        }
    }
    grv_attributes_done(attributes);
    *attributes = found;
    return GRV_OK;
}

/* ---- What is missing ---- */

grv_status grv_remote_decode_missing(const json_t *json, const grv_blob_key keys[], size_t count,
                                     bool ret_present[], grv_error *error)
{
    const json_t *missing = json_object_get(json, "missing");
    size_t missing_count = json_array_size(missing);
    if (!json_is_array(missing) || missing_count > count) {
        return odd("a list of what is missing", error);
    }
    /* They come in the order in which they were asked for. */
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        grv_blob_key key;
        const json_t *id = json_array_get(missing, at);
        bool is_missing =
            json_is_string(id) &&
            !grv_blob_key_parse(grv_bytes_of(json_string_value(id), json_string_length(id)), &key,
                                NULL) &&
            grv_blob_key_compare(&key, &keys[i]) == 0;
        ret_present[i] = !is_missing;
        at += is_missing;
    }
    return at == missing_count ? GRV_OK : odd("something missing that was not asked for", error);
}

/* ---- Problems ---- */

static const struct {
    const char *type;
    grv_status status;
} problems[] = {
    {"bad-request", GRV_INVALID_ARGUMENT},
    {"digest-mismatch", GRV_CORRUPT},
    {"unauthorized", GRV_PERMISSION},
    {"forbidden", GRV_PERMISSION},
    {"not-found", GRV_NOT_FOUND},
    {"method-not-allowed", GRV_UNSUPPORTED},
    {"request-timeout", GRV_UNAVAILABLE},
    {"already-exists", GRV_ALREADY_EXISTS},
    {"conflict", GRV_CONFLICT},
    {"busy", GRV_UNAVAILABLE},
    {"key-mismatch", GRV_CONFLICT},
    {"precondition-failed", GRV_CONFLICT},
    {"content-too-large", GRV_LIMIT_EXCEEDED},
    {"uri-too-long", GRV_INVALID_ARGUMENT},
    {"unsupported-media-type", GRV_UNSUPPORTED},
    {"range-not-satisfiable", GRV_INVALID_ARGUMENT},
    {"expectation-failed", GRV_UNSUPPORTED},
    {"too-many-requests", GRV_UNAVAILABLE},
    {"headers-too-large", GRV_LIMIT_EXCEEDED},
    {"internal", GRV_INTERNAL},
    {"corrupt", GRV_CORRUPT},
    {"permission", GRV_PERMISSION},
    {"unsupported", GRV_UNSUPPORTED},
    {"limit-exceeded", GRV_LIMIT_EXCEEDED},
    {"unavailable", GRV_UNAVAILABLE},
    {"cancelled", GRV_UNAVAILABLE}, /* the server's work was, not ours */
    {"timeout", GRV_TIMEOUT},
    {"out-of-space", GRV_OUT_OF_SPACE},
};

bool grv_remote_problem_status(const char *type, grv_status *ret_status)
{
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++) {
        if (strcmp(problems[i].type, type) == 0) {
            *ret_status = problems[i].status;
            return true;
        }
    }
    return false;
}

bool grv_remote_decode_problem(grv_bytes body, grv_remote_problem *ret_problem)
{
    static const char scheme[] = "urn:graviton:problem:";
    json_t *json;
    if (grv_remote_json_parse(body, &json, NULL)) {
        return false;
    }
    grv_remote_problem problem = {0};
    const char *type = grv_remote_string_of(json, "type");
    bool is_ours = type && strncmp(type, scheme, sizeof scheme - 1) == 0;
    if (is_ours) {
        type += sizeof scheme - 1;
        grv_bytes detail = {0};
        if (!grv_remote_text_of(json, "detail", &detail)) {
            (void)grv_remote_text_of(json, "title", &detail);
        }
        grv_remote_text_copy(problem.type, sizeof problem.type, type, strlen(type));
        grv_remote_text_copy(problem.detail, sizeof problem.detail, (const char *)detail.data,
                             detail.size);
        problem.is_known = grv_remote_problem_status(problem.type, &problem.status);
        *ret_problem = problem;
    }
    json_decref(json);
    return is_ours;
}
