/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digest fields (RFC 9530): dictionaries of RFC 8941, read in full so that what is malformed is
 * told of, though nothing but byte sequences of known algorithms is kept.
 */
#include "http/fields.h"

#include <string.h>

/* Where a parser is. */
typedef struct field_reader {
    const char *at;
    const char *name; /* of the field, for messages */
} field_reader;

/* A bare item: a byte sequence's base64, or something else. */
typedef struct field_item {
    bool is_bytes;
    grv_bytes base64;
} field_item;

static grv_status reader_refuse(const field_reader *reader, const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "%s is malformed: %s", reader->name,
                         what);
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void skip(field_reader *reader, const char *these)
{
    reader->at += strspn(reader->at, these);
}

/* A key: of a dictionary's member, or a parameter. */
static grv_status key_read(field_reader *reader, grv_bytes *ret_key, grv_error *error)
{
    const char *from = reader->at;
    if (!is_lower(*from) && *from != '*') {
        return reader_refuse(reader, "a key was expected", error);
    }
    while (is_lower(*reader->at) || is_digit(*reader->at) ||
           (*reader->at && strchr("_-.*", *reader->at))) {
        reader->at++;
    }
    *ret_key = grv_bytes_of(from, (size_t)(reader->at - from));
    return GRV_OK;
}

static grv_status bytes_read(field_reader *reader, field_item *ret_item, grv_error *error)
{
    const char *from = ++reader->at;
    const char *end = strchr(from, ':');
    if (!end) {
        return reader_refuse(reader, "a byte sequence has no end", error);
    }
    *ret_item = (field_item){true, grv_bytes_of(from, (size_t)(end - from))};
    reader->at = end + 1;
    return GRV_OK;
}

static grv_status string_read(field_reader *reader, grv_error *error)
{
    for (reader->at++; *reader->at != '"'; reader->at++) {
        if (*reader->at == '\\') {
            reader->at++;
            if (*reader->at != '"' && *reader->at != '\\') {
                return reader_refuse(reader, "a string escapes what it may not", error);
            }
        }
        if (*reader->at < ' ' || *reader->at > '~') {
            return reader_refuse(reader, "a string has no end", error);
        }
    }
    reader->at++;
    return GRV_OK;
}

/* Integers and decimals. */
static grv_status number_read(field_reader *reader, grv_error *error)
{
    if (*reader->at == '-') {
        reader->at++;
    }
    size_t whole = strspn(reader->at, "0123456789");
    reader->at += whole;
    size_t fraction = 0;
    bool has_point = *reader->at == '.';
    if (has_point) {
        reader->at++;
        fraction = strspn(reader->at, "0123456789");
        reader->at += fraction;
    }
    if (whole == 0 || whole > (has_point ? 12 : 15) || (has_point && fraction == 0) ||
        fraction > 3) {
        return reader_refuse(reader, "a number is out of form", error);
    }
    return GRV_OK;
}

static grv_status item_read(field_reader *reader, field_item *ret_item, grv_error *error)
{
    char c = *reader->at;
    *ret_item = (field_item){0};
    if (c == ':') {
        return bytes_read(reader, ret_item, error);
    }
    if (c == '"') {
        return string_read(reader, error);
    }
    if (c == '-' || is_digit(c)) {
        return number_read(reader, error);
    }
    if (c == '?' && (reader->at[1] == '0' || reader->at[1] == '1')) {
        reader->at += 2;
        return GRV_OK;
    }
    if (c == '*' || is_lower(c) || (c >= 'A' && c <= 'Z')) {
        while (http_is_token(*reader->at) || *reader->at == ':' || *reader->at == '/') {
            reader->at++;
        }
        return GRV_OK;
    }
    return reader_refuse(reader, "a value was expected", error);
}

static grv_status parameters_read(field_reader *reader, grv_error *error)
{
    while (*reader->at == ';') {
        reader->at++;
        skip(reader, " ");
        grv_bytes key;
        grv_status status = key_read(reader, &key, error);
        if (status) {
            return status;
        }
        if (*reader->at == '=') {
            reader->at++;
            field_item item;
            status = item_read(reader, &item, error);
            if (status) {
                return status;
            }
        }
    }
    return GRV_OK;
}

static grv_status inner_list_read(field_reader *reader, grv_error *error)
{
    reader->at++;
    for (;;) {
        skip(reader, " ");
        if (*reader->at == ')') {
            reader->at++;
            return GRV_OK;
        }
        field_item item;
        grv_status status = item_read(reader, &item, error);
        if (!status) {
            status = parameters_read(reader, error);
        }
        if (status) {
            return status;
        }
        if (*reader->at != ' ' && *reader->at != ')') {
            return reader_refuse(reader, "an inner list has no end", error);
        }
    }
}

/* One member: its key and its value, which is true where none is written. */
static grv_status member_read(field_reader *reader, grv_bytes *ret_key, field_item *ret_item,
                              grv_error *error)
{
    *ret_item = (field_item){0};
    grv_status status = key_read(reader, ret_key, error);
    if (!status && *reader->at == '=') {
        reader->at++;
        status = *reader->at == '(' ? inner_list_read(reader, error)
                                    : item_read(reader, ret_item, error);
    }
    return status ? status : parameters_read(reader, error);
}

/* ---- Digests ---- */

/* Where a known algorithm's digest goes; NULL for another. */
static uint8_t *digest_place(http_digests *digests, grv_bytes key, size_t *ret_size, bool **ret_has)
{
    const struct {
        const char *name;
        uint8_t *bytes;
        size_t size;
        bool *has;
    } known[] = {
        {"sha-256", digests->sha256, sizeof digests->sha256, &digests->has_sha256},
        {"sha-512", digests->sha512, sizeof digests->sha512, &digests->has_sha512},
        {"blake3", digests->blake3, sizeof digests->blake3, &digests->has_blake3},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) == key.size && memcmp(known[i].name, key.data, key.size) == 0) {
            *ret_size = known[i].size;
            *ret_has = known[i].has;
            return known[i].bytes;
        }
    }
    return NULL;
}

static grv_status digest_keep(const field_reader *reader, http_digests *digests, grv_bytes key,
                              const field_item *item, grv_error *error)
{
    size_t size = 0;
    bool *has = NULL;
    uint8_t *place = digest_place(digests, key, &size, &has);
    if (!place) {
        return GRV_OK;
    }
    uint8_t room[HTTP_SHA512_SIZE + 8];
    grv_buffer bytes = {room, 0, sizeof room, sizeof room};
    /* The reader of base64 asks for no more room than this has. */
    if (!item->is_bytes || item->base64.size > 4 * (size + 2) / 3 ||
        http_base64_decode(item->base64, false, &bytes, NULL) || bytes.size != size) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "%s is malformed: %.*s must be %zu bytes between colons, in base64",
                             reader->name, (int)key.size, (const char *)key.data, size);
    }
    memcpy(place, room, size);
    *has = true;
    return GRV_OK;
}

grv_status http_digests_parse(const char *name, const char *field, http_digests *ret_digests,
                              grv_error *error)
{
    field_reader reader = {field, name};
    http_digests digests = {0};
    skip(&reader, " ");
    while (*reader.at) {
        grv_bytes key = {0};
        field_item item;
        grv_status status = member_read(&reader, &key, &item, error);
        if (!status) {
            status = digest_keep(&reader, &digests, key, &item, error);
        }
        if (status) {
            return status;
        }
        skip(&reader, " \t");
        if (*reader.at == '\0') {
            break;
        }
        if (*reader.at != ',') {
            return reader_refuse(&reader, "a comma was expected", error);
        }
        reader.at++;
        skip(&reader, " \t");
        if (*reader.at == '\0') {
            return reader_refuse(&reader, "it ends with a comma", error);
        }
    }
    *ret_digests = digests;
    return GRV_OK;
}

void http_digest_print(const grv_digest *digest, char ret_text[HTTP_DIGEST_TEXT_SIZE])
{
    const char *name = digest->hash == GRV_HASH_SHA256 ? "sha-256=:" : "blake3=:";
    size_t used = strlen(name);
    memcpy(ret_text, name, used);
    size_t room = 4 * (GRV_DIGEST_SIZE / 3 + 1);
    grv_buffer text = {(uint8_t *)ret_text + used, 0, room, room};
    /* 32 bytes fill the room, so that this cannot fail. */
    (void)http_base64_encode(grv_bytes_of(digest->bytes, sizeof digest->bytes), false, &text, NULL);
    memcpy(ret_text + used + text.size, ":", 2);
}
