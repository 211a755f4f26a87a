/* SPDX-License-Identifier: Apache-2.0 */
/* Escapes, UTF-8 and base64 for names, and times as text. */
#include "cli/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
#define PADDING     64u            /* base64's "=" behind its 64 digits */

bool cli_name_needs_escape(grv_bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '\n' || name.data[i] == '\r' || name.data[i] == '\\') {
            return true;
        }
    }
    return false;
}

grv_status cli_name_escape(grv_bytes name, grv_buffer *out, grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < name.size && !status; i++) {
        switch (name.data[i]) {
        case '\n':
            status = grv_buffer_append(out, grv_bytes_of("\\n", 2), error);
            break;
        case '\r':
            status = grv_buffer_append(out, grv_bytes_of("\\r", 2), error);
            break;
        case '\\':
            status = grv_buffer_append(out, grv_bytes_of("\\\\", 2), error);
            break;
        default:
            status = grv_buffer_append(out, grv_bytes_of(name.data + i, 1), error);
            break;
        }
    }
    return status;
}

grv_status cli_text_sanitise(grv_bytes text, grv_buffer *out, grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < text.size && !status; i++) {
        uint8_t byte = text.data[i];
        char form[8];
        if (byte == '\n' || byte == '\r' || byte == '\t') {
            snprintf(form, sizeof form, "\\%c", byte == '\n' ? 'n' : byte == '\r' ? 'r' : 't');
        } else if (byte < 0x20 || byte == 0x7f) {
            snprintf(form, sizeof form, "\\x%02x", byte);
        } else {
            snprintf(form, sizeof form, "%c", byte);
        }
        status = grv_buffer_append(out, grv_bytes_of(form, strlen(form)), error);
    }
    return status;
}

/*
 * Length of the well-formed character at the start of `text` (not empty), or 0; then *ret_bad is
 * how many bytes one replacement character stands for (Unicode's "maximal subpart").
 */
static size_t utf8_length(grv_bytes text, size_t *ret_bad)
{
    uint8_t first = text.data[0];
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    size_t length;
    *ret_bad = 1;
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xC2 && first <= 0xDF) {
        length = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
        length = 3;
        low = first == 0xE0 ? 0xA0 : 0x80;
        high = first == 0xED ? 0x9F : 0xBF;
    } else if (first >= 0xF0 && first <= 0xF4) {
        length = 4;
        low = first == 0xF0 ? 0x90 : 0x80;
        high = first == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if (i >= text.size || text.data[i] < low || text.data[i] > high) {
            *ret_bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

bool cli_text_is_utf8(grv_bytes text)
{
    while (text.size > 0) {
        size_t bad;
        size_t length = utf8_length(text, &bad);
        if (length == 0) {
            return false;
        }
        text = (grv_bytes){text.data + length, text.size - length};
    }
    return true;
}

json_t *cli_json_text(grv_bytes text)
{
    /* Each bad byte grows to three at most. */
    size_t capacity;
    if (__builtin_mul_overflow(text.size, (size_t)3, &capacity)) {
        return NULL;
    }
    char *clean = malloc(capacity + 1);
    if (!clean) {
        return NULL;
    }
    size_t used = 0;
    while (text.size > 0) {
        size_t bad;
        size_t length = utf8_length(text, &bad);
        size_t taken = length > 0 ? length : bad;
        const void *from = length > 0 ? (const void *)text.data : (const void *)REPLACEMENT;
        size_t add = length > 0 ? length : sizeof REPLACEMENT - 1;
        memcpy(clean + used, from, add);
        used += add;
        text = (grv_bytes){text.data + taken, text.size - taken};
    }
    json_t *string = json_stringn(clean, used);
    free(clean);
    return string;
}

static json_t *json_base64(grv_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                 "0123456789+/=";
    char *text = malloc(bytes.size / 3 * 4 + 5);
    if (!text) {
        return NULL;
    }
    size_t used = 0;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        unsigned b0 = bytes.data[i];
        unsigned b1 = left > 1 ? bytes.data[i + 1] : 0u;
        unsigned b2 = left > 2 ? bytes.data[i + 2] : 0u;
        text[used++] = digits[b0 >> 2];
        text[used++] = digits[(b0 & 3) << 4 | b1 >> 4];
        text[used++] = digits[left > 1 ? (b1 & 15) << 2 | b2 >> 6 : PADDING];
        text[used++] = digits[left > 2 ? b2 & 63 : PADDING];
    }
    json_t *string = json_stringn(text, used);
    free(text);
    return string;
}

bool cli_json_set_name(json_t *object, const char *key, grv_bytes name)
{
    if (json_object_set_new(object, key, cli_json_text(name)) < 0) {
        return false;
    }
    if (cli_text_is_utf8(name)) {
        return true;
    }
    char exact[300];
    snprintf(exact, sizeof exact, "%s_base64", key);
    return json_object_set_new(object, exact, json_base64(name)) == 0;
}

json_int_t cli_json_integer(uint64_t number)
{
    return number > (uint64_t)INT64_MAX ? (json_int_t)INT64_MAX : (json_int_t)number;
}

void cli_time_print(uint64_t time_ns, char ret_text[CLI_TIME_TEXT_SIZE])
{
    time_t seconds = (time_t)(time_ns / UINT64_C(1000000000));
    unsigned milliseconds = (unsigned)(time_ns / 1000000 % 1000);
    struct tm parts;
    char date[24];
    /* 2^64 ns end in the year 2554, so neither call can fail. */
    gmtime_r(&seconds, &parts);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(ret_text, CLI_TIME_TEXT_SIZE, "%s.%03uZ", date, milliseconds);
}
