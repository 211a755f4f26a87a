/* SPDX-License-Identifier: Apache-2.0 */
/* Escapes, UTF-8 and base64 for names, and times as text. */
#include "cli/text.h"
#include "base/utf8.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

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
        size_t length = grv_utf8_length(text, &bad);
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
    /* OpenSSL counts in int. Names of files are far from that. */
    if (bytes.size > INT_MAX / 4 * 3 - 3) {
        return NULL;
    }
    char *text = malloc((bytes.size + 2) / 3 * 4 + 1);
    if (!text) {
        return NULL;
    }
    (void)EVP_EncodeBlock((unsigned char *)text, bytes.data, (int)bytes.size);
    json_t *string = json_string(text);
    free(text);
    return string;
}

bool cli_json_set_name(json_t *object, const char *key, grv_bytes name)
{
    if (json_object_set_new(object, key, cli_json_text(name)) < 0) {
        return false;
    }
    if (grv_utf8_is_valid(name)) {
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
