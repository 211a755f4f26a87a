/* SPDX-License-Identifier: Apache-2.0 */
/* Base64, hex digits, tokens and UTF-8: what header fields are made of. */
#include "http/fields.h"

#include <string.h>

int http_hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return -1;
}

bool http_is_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* ---- Base64 ---- */

grv_status http_base64_encode(grv_bytes bytes, bool url, grv_buffer *out, grv_error *error)
{
    const char *digits = url ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                             : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t groups = bytes.size / 3 + 1;
    grv_status status = groups > SIZE_MAX / 4 ? GRV_LIMIT_EXCEEDED : GRV_OK;
    if (status) {
        return grv_error_set(error, status, "http", "%zu bytes are too many for base64",
                             bytes.size);
    }
    status = grv_buffer_reserve(out, 4 * groups, error);
    if (status) {
        return status;
    }
    uint8_t *to = out->data + out->size;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        unsigned b0 = bytes.data[i];
        unsigned b1 = left > 1 ? bytes.data[i + 1] : 0u;
        unsigned b2 = left > 2 ? bytes.data[i + 2] : 0u;
        *to++ = (uint8_t)digits[b0 >> 2];
        *to++ = (uint8_t)digits[(b0 & 3) << 4 | b1 >> 4];
        if (left > 1) {
            *to++ = (uint8_t)digits[(b1 & 15) << 2 | b2 >> 6];
        } else if (!url) {
            *to++ = '=';
        }
        if (left > 2) {
            *to++ = (uint8_t)digits[b2 & 63];
        } else if (!url) {
            *to++ = '=';
        }
    }
    out->size = (size_t)(to - out->data);
    return GRV_OK;
}

static int base64_value(uint8_t c, bool url)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == (url ? '-' : '+')) {
        return 62;
    }
    return c == (url ? '_' : '/') ? 63 : -1;
}

grv_status http_base64_decode(grv_bytes text, bool url, grv_buffer *out, grv_error *error)
{
    size_t digits = text.size;
    while (digits > 0 && text.size - digits < 2 && text.data[digits - 1] == '=') {
        digits--;
    }
    if (digits % 4 == 1 || (digits < text.size && text.size % 4 != 0)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "base64 of a wrong length");
    }
    grv_status status = grv_buffer_reserve(out, digits / 4 * 3 + 3, error);
    if (status) {
        return status;
    }
    uint8_t *to = out->data + out->size;
    uint32_t bits = 0;
    for (size_t i = 0; i < digits; i++) {
        int value = base64_value(text.data[i], url);
        if (value < 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                                 "a character that is not base64's");
        }
        bits = bits << 6 | (uint32_t)value;
        switch (i % 4) {
        case 1:
            *to++ = (uint8_t)(bits >> 4);
            break;
        case 2:
            *to++ = (uint8_t)(bits >> 2);
            break;
        case 3:
            *to++ = (uint8_t)bits;
            break;
        default:
            break;
        }
    }
    out->size = (size_t)(to - out->data);
    return GRV_OK;
}
