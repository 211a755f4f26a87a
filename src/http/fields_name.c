/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File names in Content-Disposition (RFC 6266, RFC 8187). A name that comes in loses all but its
 * last component; one that goes out is quoted or percent-encoded so that no byte of it can end the
 * header line, its quotes, or name a folder.
 */
#include "base/utf8.h"
#include "http/fields.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static grv_status malformed(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                         "Content-Disposition is malformed: %s", what);
}

static const char *skip_space(const char *at)
{
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    return at;
}

/* What is after the last "/" or "\"; empty for what can be no file's name. */
static grv_bytes last_component(grv_bytes name)
{
    size_t from = name.size;
    if (from == 0) {
        return name; /* perhaps without data, which may not be added to */
    }
    while (from > 0 && name.data[from - 1] != '/' && name.data[from - 1] != '\\') {
        from--;
    }
    grv_bytes last = {name.data + from, name.size - from};
    if ((last.size == 1 && last.data[0] == '.') ||
        (last.size == 2 && last.data[0] == '.' && last.data[1] == '.')) {
        last.size = 0;
    }
    return last;
}

/* ---- In ---- */

/* Appends a byte of ISO 8859-1 as UTF-8. */
static grv_status latin_append(uint8_t byte, grv_buffer *out, grv_error *error)
{
    uint8_t form[2] = {byte, 0};
    if (byte < 0x80) {
        return grv_buffer_append(out, grv_bytes_of(form, 1), error);
    }
    form[0] = (uint8_t)(0xC0 | byte >> 6);
    form[1] = (uint8_t)(0x80 | (byte & 0x3F));
    return grv_buffer_append(out, grv_bytes_of(form, 2), error);
}

/* Appends a name's bytes: UTF-8, or else taken for ISO 8859-1. */
static grv_status name_append(grv_bytes name, grv_buffer *out, grv_error *error)
{
    if (memchr(name.size ? name.data : (const uint8_t *)"", '\0', name.size)) {
        return malformed("a name with NUL", error);
    }
    if (grv_utf8_is_valid(name)) {
        return grv_buffer_append(out, name, error);
    }
    grv_status status = GRV_OK;
    for (size_t i = 0; i < name.size && !status; i++) {
        status = latin_append(name.data[i], out, error);
    }
    return status;
}

/* Reads a token or a quoted string into `value`, without its escapes. */
static grv_status value_read(const char **at, grv_buffer *value, grv_error *error)
{
    grv_status status = GRV_OK;
    value->size = 0;
    if (**at != '"') {
        const char *from = *at;
        while (http_is_token(**at) || (unsigned char)**at >= 0x80) {
            (*at)++;
        }
        return *at == from
                   ? malformed("a value was expected", error)
                   : grv_buffer_append(value, grv_bytes_of(from, (size_t)(*at - from)), error);
    }
    for ((*at)++; **at != '"' && !status; (*at)++) {
        if (**at == '\\' && (*at)[1] != '\0') {
            (*at)++;
        }
        if (**at == '\0') {
            return malformed("a quoted string has no end", error);
        }
        status = grv_buffer_append(value, grv_bytes_of(*at, 1), error);
    }
    if (!status) {
        (*at)++;
    }
    return status;
}

/* Decodes CHARSET'LANGUAGE'PERCENT-ENCODED in place. */
static grv_status extended_decode(grv_buffer *value, grv_error *error)
{
    const char *text = (const char *)value->data;
    const uint8_t *first = value->size ? memchr(value->data, '\'', value->size) : NULL;
    size_t charset = first ? (size_t)(first - value->data) : 0;
    const uint8_t *second = first ? memchr(first + 1, '\'', value->size - charset - 1) : NULL;
    bool is_known = (charset == 5 && strncasecmp(text, "utf-8", 5) == 0) ||
                    (charset == 10 && strncasecmp(text, "iso-8859-1", 10) == 0);
    if (!second || !is_known) {
        return malformed("filename* wants UTF-8''NAME", error);
    }
    size_t used = 0;
    for (size_t i = (size_t)(second - value->data) + 1; i < value->size; i++) {
        uint8_t c = value->data[i];
        if (c == '%') {
            int high = value->size - i > 2 ? http_hex_value((char)value->data[i + 1]) : -1;
            int low = value->size - i > 2 ? http_hex_value((char)value->data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return malformed("\"%\" without two hex digits", error);
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        value->data[used++] = c; /* never past what was read */
    }
    value->size = used;
    if (charset == 5 && !grv_utf8_is_valid(grv_buffer_bytes(value))) {
        return malformed("filename* is not UTF-8", error);
    }
    return GRV_OK;
}

/* One parameter: its value into `value`; *ret_rank 0 where it is no file name, 2 for filename*. */
static grv_status parameter_read(const char **at, grv_buffer *value, int *ret_rank,
                                 grv_error *error)
{
    const char *name = *at;
    while (http_is_token(**at)) {
        (*at)++;
    }
    size_t length = (size_t)(*at - name);
    *at = skip_space(*at);
    if (length == 0 || **at != '=') {
        return malformed("NAME=VALUE was expected", error);
    }
    *at = skip_space(*at + 1);
    grv_status status = value_read(at, value, error);
    *ret_rank = length == 8 && strncasecmp(name, "filename", 8) == 0    ? 1
                : length == 9 && strncasecmp(name, "filename*", 9) == 0 ? 2
                                                                        : 0;
    return status || *ret_rank < 2 ? status : extended_decode(value, error);
}

/* Keeps the best name of the parameters in `name`. */
static grv_status parameters_read(const char *at, grv_buffer *value, grv_buffer *name,
                                  grv_error *error)
{
    int best = 0;
    for (;;) {
        at = skip_space(at);
        if (*at == '\0') {
            return GRV_OK;
        }
        if (*at != ';') {
            return malformed("\";\" was expected", error);
        }
        at = skip_space(at + 1);
        if (*at == '\0' || *at == ';') {
            continue;
        }
        int rank = 0;
        grv_status status = parameter_read(&at, value, &rank, error);
        if (status) {
            return status;
        }
        if (rank > best) {
            best = rank;
            name->size = 0;
            status = grv_buffer_append(name, grv_buffer_bytes(value), error);
            if (status) {
                return status;
            }
        }
    }
}

grv_status http_disposition_parse(const char *field, grv_buffer *out, grv_error *error)
{
    const char *at = skip_space(field);
    const char *type = at;
    while (http_is_token(*at)) {
        at++;
    }
    if (at == type) {
        return malformed("a type such as attachment was expected", error);
    }
    grv_buffer value;
    grv_buffer name;
    grv_buffer_init(&value, strlen(field) + 1);
    grv_buffer_init(&name, strlen(field) + 1);
    grv_status status = parameters_read(at, &value, &name, error);
    if (!status) {
        status = name_append(last_component(grv_buffer_bytes(&name)), out, error);
    }
    grv_buffer_done(&value);
    grv_buffer_done(&name);
    return status;
}

/* ---- Out ---- */

static bool is_plain(uint8_t c)
{
    return c >= ' ' && c <= '~';
}

/* A name's first HTTP_FILE_NAME_MAX bytes, no character of UTF-8 cut in two. */
static grv_bytes name_cut(grv_bytes name)
{
    if (name.size > HTTP_FILE_NAME_MAX) {
        name.size = HTTP_FILE_NAME_MAX;
        while (name.size > 0 && (name.data[name.size] & 0xC0) == 0x80) {
            name.size--;
        }
    }
    return name;
}

/* Characters that RFC 8187 leaves as they are. */
static bool is_attribute_char(uint8_t c)
{
    return http_is_token((char)c) && !strchr("*'%", c);
}

void http_disposition_print(grv_bytes name, char ret_text[HTTP_DISPOSITION_SIZE])
{
    static const char hex[] = "0123456789ABCDEF";
    name = name_cut(last_component(name));
    static const char kind[] = "attachment";
    memcpy(ret_text, kind, sizeof kind);
    if (name.size == 0) {
        return;
    }
    size_t used = sizeof kind - 1;
    used += (size_t)snprintf(ret_text + used, HTTP_DISPOSITION_SIZE - used, "; filename=\"");
    bool is_ascii = true;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        /* Some clients take "%41" in quotes for "A": those get the other form too. */
        is_ascii = is_ascii && c < 0x80 && c != '%';
        if (c == '"') {
            ret_text[used++] = '\\';
        }
        ret_text[used++] = (char)(is_plain(c) && c != '%' ? c : '_');
    }
    ret_text[used++] = '"';
    if (!is_ascii && grv_utf8_is_valid(name)) {
        used +=
            (size_t)snprintf(ret_text + used, HTTP_DISPOSITION_SIZE - used, "; filename*=UTF-8''");
        for (size_t i = 0; i < name.size; i++) {
            uint8_t c = name.data[i];
            c = c < ' ' || c == 0x7f ? '_' : c;
            if (is_attribute_char(c)) {
                ret_text[used++] = (char)c;
            } else {
                ret_text[used++] = '%';
                ret_text[used++] = hex[c >> 4];
                ret_text[used++] = hex[c & 15];
            }
        }
    }
    ret_text[used] = '\0';
}
